/* guarded.h: the sqlite3.Connection behind a looplite connection, used directly. */
#ifndef LP_GUARDED_H
#define LP_GUARDED_H

#include "callback.h"

/* The class to open instead of `factory` (NULL: sqlite3.Connection): derived from it, and knowing of looplite; a new
 * reference. NULL without an exception: it is no class, or cannot be derived from. */
PyObject *lp_guarded_class(lp_state *st, PyObject *factory);

/* What a connection of such a class and looplite know of each other; a new reference. NULL without an exception: it is
 * of no such class. */
lp_link *lp_guarded_link(lp_state *st, PyObject *connection);

/* Takes the handle of a looplite connection for this thread (ll_conn_enter()), if the link has one; waits without the
 * GIL. 0, or -1 with an exception; then lp_guarded_leave(). */
typedef struct lp_entry {
    lp_link *link;
    ll_conn *handle;
} lp_entry;
int lp_guarded_enter(lp_link *link, lp_entry *entry);
void lp_guarded_leave(lp_entry *entry);

/* isolation_level or autocommit (as in st->names), without the way through ours; a new reference. */
PyObject *lp_guarded_get(const lp_state *st, PyObject *connection, PyObject *name);

int lp_guarded_init(PyObject *module, lp_state *st);
int lp_guarded_state_init(PyObject *module, lp_state *st);

#endif
