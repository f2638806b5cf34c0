/* work.h: running the program's own Python code on the worker of a connection. */
#ifndef LP_WORK_H
#define LP_WORK_H

#include "aconn.h"

/* One piece of Python code of the program that a worker is in; on its stack, in the list st->working. */
typedef struct lp_working lp_working;
struct lp_working {
    lp_working *next, **link;
    unsigned long thread; /* as PyThread_get_thread_ident() */
    const lp_conn *
        conn; /* who cannot do anything else meanwhile; NULL: nobody. Not followed, only compared */
    PyObject *entered; /* NULL: none was */
    /* what was before, on this thread */
    lp_working *around;
    PyObject *context;
};

/* Before and after code of the program runs on this thread. `conn`: which connection this thread has meanwhile, may
 * be NULL. `context` is entered, unless it is already; NULL: none. With the GIL. 0, or -1 with an exception and
 * nothing to end. */
int lp_working_begin(lp_state *st, lp_working *working, const lp_conn *conn, PyObject *context);
void lp_working_end(lp_working *working);

/* Whether this thread is in such a piece for that connection: then it owns the sqlite3.Connection. */
bool lp_working_here(const lp_conn *conn);

/* 0; -1 with a RuntimeError if it is so: a call that waits for the connection would wait for ever. */
int lp_working_check(const lp_conn *conn);

/* The atexit hook, behind the interruption of all connections: waits a little for what workers are in, then
 * asks it to end by raising SystemExit there. False: some of it did not, and its worker has to be left behind. */
bool lp_working_end_all(lp_state *st);

/* A call of `callable(*args, **kwargs)` on the connection's worker, in its turn, in a copy of the context of who
 * awaits it. `callable` may be a str: a method of the sqlite3.Connection. `kwargs` may be NULL. */
PyObject *lp_work_new(lp_conn *conn, const lp_op *op, PyObject *callable, PyObject *args,
                      PyObject *kwargs);

/* The steps of all these calls, for the ops of other files. */
lp_step lp_work_start(lp_call *call);
lp_step lp_work_finish(lp_call *call);

/* Adds methods to a type that exists. 0 or -1. */
int lp_methods_add(PyTypeObject *type, PyMethodDef *defs, size_t count);

int lp_work_init(PyObject *module, lp_state *st);

#endif
