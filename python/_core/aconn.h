/* aconn.h: the asynchronous connection, as its cursors see it. */
#ifndef LP_ACONN_H
#define LP_ACONN_H

#include "adopt.h"
#include "awaitable.h"
#include "state.h"

typedef enum lp_conn_phase {
    LP_CONN_NEW,        /* not awaited yet */
    LP_CONN_CONNECTING, /* being opened */
    LP_CONN_OPEN,
    LP_CONN_CLOSING,
    LP_CONN_CLOSED /* or never opened: failed, cancelled */
} lp_conn_phase;

typedef struct lp_conn lp_conn;
struct lp_conn {
    PyObject_HEAD
    /* fixed after __init__ */
    lp_state *st;
    PyObject *module; /* keeps st alive */
    PyObject *connector;
    Py_ssize_t chunk; /* iter_chunk_size */
    int detect_types; /* set by the first await */

    /* GIL */
    PyObject *dict, *weakrefs;
    PyObject *thread; /* what _thread shows, once somebody has asked for it (shell.c) */
    bool generic; /* not ours: everything goes through Python (generic.c); `handle` stays NULL */
    bool leased;  /* of a pool, which opens and closes it (pool.c) */
    bool started; /* awaited, or start() was called */
    bool stopped; /* stop() was called */
    lp_conn_phase phase;
    ll_conn *handle;
    lp_opener *opener;
    PyObject *sqlite; /* the sqlite3.Connection (generic: what the connector gave), while open */
    PyObject *last_text_factory; /* that one's, after the end: rows may still be on their way */
    struct lp_link *link;        /* what that one knows of this one, while open; NULL: nothing */
    lp_loop *home;               /* the loop that opened it, while open: counts it */
    PyObject *types;             /* type adapters that cursors begin with (typed.h), or NULL */
    PyObject *on_statement;      /* is told of each statement (hook.c), or NULL */
    const lp_call *collecting;   /* an executemany() that is still reading its rows; others wait */
    lp_conn *previous, *next;    /* of the open ones, for the atexit hook */
    bool warned;                 /* that it was not closed */
    uint64_t generation;         /* of the process (fork) that opened it */
    uint64_t closed_turn;        /* closed within that turn of a loop (closed.c); 0: not so */
    uintptr_t closed_by;         /* the task that did; only compared */
};

/* 0 when statements can be submitted; else -1 and the exception that Connection's methods raise. */
int lp_conn_need(const lp_conn *conn);

/* An attribute of the sqlite3.Connection that its C type keeps as a plain member at `offset` (0: not known);
 * a new reference. Of a connection that was closed: the text factory it had last. */
PyObject *lp_conn_get(const lp_conn *conn, Py_ssize_t offset, PyObject *name);

/* Which transaction the next DML statement shall open, by the connection's isolation_level and
 * autocommit. 0, or -1 with an exception. */
int lp_conn_begin_mode(const lp_conn *conn, ll_begin *ret_begin);

/* Whether executescript() commits first. 1, 0, or -1 with an exception. */
int lp_conn_is_legacy(const lp_conn *conn);

/* Whether a call has to let the rows of another one's executemany() go first. */
static inline bool lp_conn_must_wait(const lp_conn *conn, const lp_call *call)
{
    return conn->collecting && conn->collecting != call;
}

/* aopen.c: the first await; quiet when it is dropped. */
extern const lp_op lp_op_connect, lp_op_connect_private;
int lp_connect_init(PyObject *module, lp_state *st);

/* close() as it is without what may have been replaced (generic.c). */
extern const lp_op lp_op_close_direct;

/* Notes that a connection is being opened. */
void lp_conn_link(lp_conn *conn);

/* Open, or about to be: gives back what belongs to that. */
void lp_conn_let_go(lp_conn *conn);

/* Warns of the open connections: the atexit hook's, while Python can still say where they were made. */
void lp_conns_warn(lp_state *st);

/* Interrupts what runs on all open connections: the atexit hook's. */
void lp_conns_interrupt(lp_state *st);

/* In the child of a fork: what was opened before is not ours. */
void lp_conns_forget(lp_state *st);

/* Arguments of a method: up to two, by position or by these names; those beyond `required` may be
 * missing (NULL). Borrowed. 0, or -1 with a TypeError. */
int lp_parse(const char *method, PyObject *const *args, Py_ssize_t count, PyObject *keywords,
             const char *const names[2], int required, PyObject *ret_args[2]);

#endif
