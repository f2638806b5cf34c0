/* adopt.h: opening the interpreter's own sqlite3.Connection and taking its handle. */
#ifndef LP_ADOPT_H
#define LP_ADOPT_H

#include "state.h"

#include <looplite/sqlite.h>

typedef struct lp_opener lp_opener;

/* What looplite.connect(database, **kwargs) shall open. Converts the path, so it may raise what
 * os.fspath() raises. `options` gets what the core has to know. NULL with an exception. */
lp_opener *lp_opener_new(PyObject *module, lp_state *st, PyObject *database, PyObject *kwargs,
                         ll_open_options *ret_options);

/* A `database` argument as sqlite3.connect() is to get it: str as it is, bytes decoded, a path or anything else by
 * str(), as aiosqlite does. A new reference; NULL with an exception. */
PyObject *lp_database_text(PyObject *database);

/* What _thread shows (looplite._thread) is told when the connection has ended. */
void lp_opener_watch(lp_opener *opener, PyObject *thread);

/* The hooks for ll_conn_open_adopted(), which holds a reference of its own from here on, until it
 * calls adopt->release. */
ll_adopt lp_opener_adopt(lp_opener *opener);

/* Opens one more connection in the opener's way, which the opener knows nothing of, and gives its handle; on the thread
 * that asks. A new reference; NULL with an exception. */
PyObject *lp_opener_open_one(lp_opener *opener, sqlite3 **ret_db);
/* Closes one that is not to be used after all, under the exception that says why, and gives up the reference. */
void lp_opener_discard(lp_state *st, PyObject *connection);

/* The sqlite3.Connection that was opened; borrowed, NULL before and after. GIL. */
PyObject *lp_opener_connection(const lp_opener *opener);

/* What that one and looplite know of each other; borrowed, NULL before, after, and if it is of no class of ours. GIL. */
struct lp_link *lp_opener_link(const lp_opener *opener);

/* Raises the exception of the last open or close that failed in Python. 1: raised. 0: none. */
int lp_opener_raise(lp_opener *opener);

/* One reference less. GIL. */
void lp_opener_unref(lp_opener *opener);

/* Takes the GIL, on any thread, held or not; PyGILState_Release() gives it back. False: Python is gone, touch
 * nothing of it. */
bool lp_worker_enter(PyGILState_STATE *ret_gil);

/* The interpreter is about to go: from now on nothing that runs on a worker touches Python. */
void lp_adopt_exit(void);

#endif
