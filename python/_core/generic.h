/* generic.h: connections and cursors that go through Python. */
#ifndef LP_GENERIC_H
#define LP_GENERIC_H

#include "acursor.h"
#include "thread.h"

/* Which of the methods that others of ours go through are not ours any more: replaced on the object, by
 * its class or on our class. */
enum {
    LP_OWN_EXECUTE = 1u << 0,
    LP_OWN_CONNECT = 1u << 1,
    LP_OWN_STOP = 1u << 2,
    LP_OWN_FETCHMANY = 1u << 3 /* of a Cursor */
};

/* The slow way to ask: looks all of them up. */
unsigned lp_conn_replaced_look(lp_conn *conn);
unsigned lp_cursor_replaced_look(lp_cursor *cursor);

static inline bool lp_seen_as_is(const lp_seen *seen, const PyTypeObject *type, PyObject *dict)
{
    return type == seen->type && type->tp_version_tag == seen->version && seen->version != 0 &&
           (!dict || PyDict_GET_SIZE(dict) == 0);
}

/* LP_OWN_* */
static inline unsigned lp_conn_replaced(lp_conn *conn)
{
    const lp_seen *seen = &conn->st->seen_conn;
    return lp_seen_as_is(seen, Py_TYPE(conn), conn->dict) ? seen->replaced
                                                          : lp_conn_replaced_look(conn);
}

static inline unsigned lp_cursor_replaced(lp_cursor *cursor)
{
    const lp_seen *seen = &cursor->st->seen_cursor;
    return lp_seen_as_is(seen, Py_TYPE(cursor), cursor->dict) ? seen->replaced
                                                              : lp_cursor_replaced_look(cursor);
}

/* Whether a call of this Connection has to take the generic path. */
static inline bool lp_conn_is_generic(lp_conn *conn)
{
    return conn->generic || lp_conn_replaced(conn) & LP_OWN_EXECUTE;
}

/* The coroutine function of looplite._generic for this call does it. LP_DELEGATE or LP_ERROR. */
lp_step lp_generic(lp_call *call);

/* A function of looplite._generic; a new reference. */
PyObject *lp_generic_get(lp_state *st, const char *name);

/* The object behind conn._thread, made if need be; borrowed. */
PyObject *lp_conn_thread(lp_conn *conn);

/* lp_conn_let_go() of a generic connection. */
void lp_generic_let_go(lp_conn *conn);

/* sqlite3.connect() as it is now, as the facade's module `core` shows it; a new reference. */
PyObject *lp_generic_connect(lp_state *st);

/* ValueError("Connection closed") between stop() and its end, else "no active connection". */
void lp_raise_inactive(const lp_conn *conn);

/* Adds what is in generic.c and shell.c to the module and to Connection. */
int lp_generic_init(PyObject *module, lp_state *st);
int lp_shell_init(PyObject *module, lp_state *st);

#endif
