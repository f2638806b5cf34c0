/* work.c: the program's own Python code on the worker of a connection; Connection._execute().
 *
 *     await --> start(): context copied, ll_conn_call() --> worker: enter Python, callable(*args, **kwargs)
 *                                                                          |
 *     raise, or give the result <-- finish() <-- dispatch <-- result or exception left in the call
 *
 * Order: it is a request like any other, so it runs behind what was started before on that connection, and what is
 * started later waits for it. The worker owns the connection meanwhile: the code may use the sqlite3.Connection as
 * it likes.
 *
 * Cancellation: as with aiosqlite the code runs all the same, whether or not it has begun, and a cancelled task does
 * not wait for it: nobody can say how long it takes. The exception's `looplite_outcome` is then "unknown". (What
 * looplite itself runs here, such as create_function(), is waited for, as a commit is.)
 *
 * StopIteration cannot leave a coroutine; it becomes RuntimeError, as it does there.
 *
 * Exit: no code of the program may keep it from ending. What runs is given half a second, then SystemExit is raised in
 * it, which ends loops of Python; what does not end even then (it sleeps in C) is left behind with its thread,
 * which Python stops when it asks for the GIL. */
#include "work.h"

#include "errors.h"
#include "generic.h"

#include <time.h>

/* ---- what workers are in ------------------------------------------------------------------------ */

static _Thread_local lp_working *innermost; /* of this thread */
static _Thread_local PyObject *inside;      /* the context that was entered last; borrowed */

int lp_working_begin(lp_state *st, lp_working *working, const lp_conn *conn, PyObject *context)
{
    working->entered = context && context != inside ? Py_NewRef(context) : NULL;
    if (working->entered && PyContext_Enter(context) < 0) {
        Py_DECREF(working->entered);
        return -1;
    }
    working->conn = conn;
    working->around = innermost;
    innermost = working;
    working->context = inside;
    if (working->entered)
        inside = context;
    working->thread = PyThread_get_thread_ident();
    working->next = st->working;
    working->link = &st->working;
    if (st->working)
        st->working->link = &working->next;
    st->working = working;
    return 0;
}

void lp_working_end(lp_working *working)
{
    *working->link = working->next;
    if (working->next)
        working->next->link = working->link;
    innermost = working->around;
    inside = working->context;
    if (!working->entered)
        return;
    PyObject *exc = lp_exc_take();
    if (PyContext_Exit(working->entered) < 0) /* what was called has left another one entered */
        PyErr_WriteUnraisable(working->entered);
    Py_DECREF(working->entered);
    if (exc)
        lp_exc_give(exc);
}

bool lp_working_here(const lp_conn *conn)
{
    for (const lp_working *working = innermost; working; working = working->around)
        if (working->conn == conn)
            return true;
    return false;
}

int lp_working_check(const lp_conn *conn)
{
    if (!conn->st->working || !lp_working_here(conn))
        return 0;
    PyErr_SetString(
        PyExc_RuntimeError,
        "called from a function that runs on this connection's worker, for which it would "
        "wait: what is called there needs `_conn`, the sqlite3.Connection, or another "
        "connection");
    return -1;
}

/* (What a source of Arrow data does, may be code of the program, too.) */
static bool is_working(lp_state *st)
{
    return st->working || atomic_load_explicit(&st->loading, memory_order_relaxed) > 0;
}

/* Lets others run until nothing of the program is left on a worker, half a second at most. */
static bool wait_for_working(lp_state *st)
{
    enum {
        LOOKS = 500
    };
    static const struct timespec pause = {.tv_nsec = 1000000};
    for (int i = 0; i < LOOKS && is_working(st); i++) {
        Py_BEGIN_ALLOW_THREADS nanosleep(&pause, NULL);
        Py_END_ALLOW_THREADS
    }
    return !is_working(st);
}

bool lp_working_end_all(lp_state *st)
{
    if (wait_for_working(st))
        return true;
    for (lp_working *working = st->working; working; working = working->next)
        (void)PyThreadState_SetAsyncExc(working->thread, PyExc_SystemExit);
    return wait_for_working(st);
}

/* ---- the call ----------------------------------------------------------------------------------- */

/* What lp_call's fields are here: sql = the callable or the name of a method, argument = the positional arguments,
 * iterator = the named ones, late = what it raised. */

PyObject *lp_work_new(lp_conn *conn, const lp_op *op, PyObject *callable, PyObject *args,
                      PyObject *kwargs)
{
    if (!conn->st) {
        PyErr_SetString(PyExc_RuntimeError, "Connection.__init__() was not called");
        return NULL;
    }
    PyObject *call = lp_call_new(conn->st, op, (PyObject *)conn, callable, args);
    if (call)
        ((lp_call *)call)->iterator = Py_XNewRef(kwargs);
    return call;
}

/* Runs it; with the GIL, on the worker. */
static void run(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    ll_conn *handle = conn->handle; /* its request keeps it */
    lp_working working;
    if (lp_working_begin(call->st, &working, conn, call->context) == 0) {
        ll_conn_wait_begin(handle); /* it may wait for anything */
        call->result = PyObject_Call(call->sql, call->argument, call->iterator);
        ll_conn_wait_end(handle);
        lp_working_end(&working);
    }
    call->late = lp_exc_take();
}

/* ll_call_fn: on the worker, without the GIL. The call is in its loop's list, which keeps it. */
static int work(sqlite3 *db, void *arg)
{
    (void)db;
    PyGILState_STATE gil;
    if (!lp_worker_enter(&gil))
        return SQLITE_INTERRUPT;
    run(arg);
    bool raised = ((lp_call *)arg)->late != NULL;
    PyGILState_Release(gil);
    return raised ? SQLITE_ABORT : SQLITE_OK; /* which says that the outcome is not known */
}

static int find_method(lp_call *call)
{
    if (!PyUnicode_Check(call->sql))
        return 0;
    PyObject *method = PyObject_GetAttr(((lp_conn *)call->owner)->sqlite, call->sql);
    if (!method)
        return -1;
    Py_SETREF(call->sql, method);
    return 0;
}

static lp_step submit(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    ll_submit how;
    if (lp_conn_need(conn) < 0)
        return LP_ERROR;
    if (lp_conn_must_wait(conn, call))
        return LP_YIELD;
    if (find_method(call) < 0)
        return LP_ERROR;
    if (!call->context)
        call->context = PyContext_CopyCurrent();
    if (!call->context || lp_call_how(call, 0, &how) < 0)
        return LP_ERROR;
    call->begun = true;
    return lp_call_submitted(call, ll_conn_call(conn->handle, work, call, &how, &call->request));
}

lp_step lp_work_start(lp_call *call)
{
    return lp_conn_is_generic((lp_conn *)call->owner) ? lp_generic(call) : submit(call);
}

/* Raises what the code raised. */
static lp_step raise_late(lp_call *call)
{
    PyObject *exc = call->late;
    call->late = NULL;
    if (PyErr_GivenExceptionMatches(exc, PyExc_StopIteration)) {
        PyErr_SetString(PyExc_RuntimeError, "coroutine raised StopIteration");
        PyObject *outer = lp_exc_take();
        PyException_SetCause(outer, Py_NewRef(exc));
        PyException_SetContext(outer, exc);
        exc = outer;
    }
    lp_exc_give(exc);
    return LP_ERROR;
}

lp_step lp_work_finish(lp_call *call)
{
    if (!call->begun)
        return call->op->start(call);
    if (call->late)
        return raise_late(call);
    return lp_call_check(call) < 0 ? LP_ERROR : LP_DONE;
}

/* ---- Connection._execute() ---------------------------------------------------------------------- */

/* As aiosqlite says it here, and only here. */
static lp_step execute_start(lp_call *call)
{
    const lp_conn *conn = (lp_conn *)call->owner;
    if (conn->generic)
        return lp_generic(call);
    if (conn->phase != LP_CONN_OPEN && conn->phase != LP_CONN_CLOSING) {
        lp_raise_connection_closed();
        return LP_ERROR;
    }
    return submit(call);
}

static const lp_op op_execute = {
    .name = "Connection._execute",
    .start = execute_start,
    .finish = lp_work_finish,
    .flags = LP_OP_SHIELD | LP_OP_LEAVE,
};

static PyObject *conn_execute_private(PyObject *op, PyObject *args, PyObject *kwargs)
{
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    if (count == 0) {
        PyErr_SetString(PyExc_TypeError, "_execute() missing required argument 'fn'");
        return NULL;
    }
    if (!PyCallable_Check(PyTuple_GET_ITEM(args, 0))) {
        PyErr_Format(PyExc_TypeError, "_execute() needs a callable, not %.200s",
                     Py_TYPE(PyTuple_GET_ITEM(args, 0))->tp_name);
        return NULL;
    }
    PyObject *rest = PyTuple_GetSlice(args, 1, count);
    PyObject *call = rest ? lp_work_new((lp_conn *)op, &op_execute, PyTuple_GET_ITEM(args, 0), rest,
                                        kwargs)
                          : NULL;
    Py_XDECREF(rest);
    return call;
}

static PyMethodDef methods[] = {
    {"_execute", (PyCFunction)(void (*)(void))conn_execute_private, METH_VARARGS | METH_KEYWORDS,
     "_execute($self, fn, /, *args, **kwargs)\n--\n\nCalls fn on the connection's worker, in its turn; "
     "fn may use `_conn`. Gives its result, or raises what it raised."},
};

int lp_methods_add(PyTypeObject *type, PyMethodDef *defs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        PyObject *method = PyDescr_NewMethod(type, &defs[i]);
        int rc = method ? PyObject_SetAttrString((PyObject *)type, defs[i].ml_name, method) : -1;
        Py_XDECREF(method);
        if (rc < 0)
            return -1;
    }
    return 0;
}

int lp_work_init(PyObject *module, lp_state *st)
{
    (void)module;
    return lp_methods_add(st->conn_type, methods, sizeof methods / sizeof *methods);
}
