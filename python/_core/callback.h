/* callback.h: the program's callables that SQLite calls, and what they know of the call that led to them. */
#ifndef LP_CALLBACK_H
#define LP_CALLBACK_H

#include "work.h"

/* What a sqlite3.Connection of ours and its callbacks know of the looplite connection it belongs to. */
typedef struct lp_link {
    PyObject_HEAD
    /* fixed after creation */
    lp_state *st;
    PyObject *module; /* keeps st alive */

    /* GIL */
    ll_conn *handle; /* NULL: not open through looplite, not yet or not any more */
    struct lp_conn *conn;
    unsigned own;      /* LL_OWN_*: what has been registered */
    unsigned outside;  /* how often ll_conn_enter() was called and not left */
    unsigned awaited;  /* coroutines that its worker waits for */
    bool pooled;       /* a pool opens and closes it */
    bool closed;       /* the sqlite3.Connection was closed by us */
    PyObject *context; /* of the request that called back last, or NULL */
} lp_link;

lp_link *lp_link_new(PyObject *module, lp_state *st);

/* It is open now, as this Connection; and it is not. */
void lp_link_begin(lp_link *link, struct lp_conn *conn, ll_conn *handle);
void lp_link_end(lp_link *link);

/* Tells what was registered (`add`) or taken away. */
void lp_link_own(lp_link *link, unsigned add, unsigned remove);

typedef enum lp_callback_kind {
    LP_CALLBACK_PLAIN,     /* a function, a collation, an authorizer, a trace callback, a method */
    LP_CALLBACK_AGGREGATE, /* makes instances, whose methods are called */
    LP_CALLBACK_INSTANCE,  /* such an instance */
    LP_CALLBACK_PROGRESS   /* a progress handler: in SQLite's only slot, so it does our work, too */
} lp_callback_kind;

/* A callable that calls `target` in the context of the request that SQLite works for. What is no callable is
 * returned as it is, for sqlite3 to refuse. A new reference. */
PyObject *lp_callback_new(lp_link *link, lp_callback_kind kind, PyObject *target);

/* Of a progress handler: every how many of its calls the program's own is due. */
void lp_callback_set_every(PyObject *callback, unsigned long every);

/* 0; -1 with a RuntimeError if the connection waits for a function of the program, `async def` or not, and who asks is
 * inside it, so that the call would never end. */
int lp_callback_check(const struct lp_conn *conn);

int lp_callback_init(PyObject *module, lp_state *st);

#endif
