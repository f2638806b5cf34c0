/* shell.c: the names of aiosqlite's Connection that are private or older than 0.22, and stop().
 *
 * Programs reach for `_thread` (to make it a daemon, to see whether it lives, to join it), `_tx` (to run something in
 * the connection's turn without awaiting), `_running`, stop() and, from the days when a Connection was a
 * thread itself, start(), is_alive(), join() and `daemon`. Here a connection has no thread of its own, so
 * `_thread` is made when somebody asks for it: a threading.Thread that is never started and answers for the
 * connection (looplite/_thread.py); the opener tells it when the connection was opened and when it has ended.
 * On the generic path (generic.c) the same object is the real thread.
 *
 * stop() needs neither a loop nor the loop's thread. The closing is submitted without a callback, on the
 * root engine, and whoever waits (a future, a join()) is told by the opener, on the worker. A request of the
 * root engine is let go by its dispatch, so what has finished is dispatched before the next one. */
#include "docs.h"
#include "errors.h"
#include "generic.h"
#include "work.h"

/* ---- _thread ----------------------------------------------------------------------------------- */

void lp_thread_tell(PyObject *thread, const char *method)
{
    PyObject *exc = lp_exc_take();
    PyObject *done = PyObject_CallMethod(thread, method, NULL);
    if (!done)
        PyErr_WriteUnraisable(thread);
    Py_XDECREF(done);
    if (exc)
        lp_exc_give(exc);
}

void lp_thread_opened(PyObject *thread, unsigned long worker)
{
    PyObject *done = PyObject_CallMethod(thread, "opened", "k", worker);
    if (!done)
        PyErr_WriteUnraisable(thread);
    Py_XDECREF(done);
}

/* Whether what stop() began has ended. */
static bool is_over(const lp_conn *conn)
{
    PyObject *over = conn->thread ? PyObject_CallMethod(conn->thread, "is_over", NULL) : NULL;
    bool yes = over == Py_True || !conn->thread;
    PyErr_Clear();
    Py_XDECREF(over);
    return yes;
}

void lp_raise_inactive(const lp_conn *conn)
{
    if (conn->stopped && !is_over(conn))
        lp_raise_connection_closed();
    else
        lp_raise_no_connection();
}

PyObject *lp_conn_thread(lp_conn *conn)
{
    if (conn->thread)
        return conn->thread;
    PyObject *module = PyImport_ImportModule("looplite._thread");
    conn->thread = module ? PyObject_CallMethod(module, "WorkerThread", NULL) : NULL;
    Py_XDECREF(module);
    if (!conn->thread || conn->generic)
        return conn->thread;
    if (conn->started)
        lp_thread_tell(conn->thread, "begin");
    if (conn->opener)
        lp_opener_watch(conn->opener, conn->thread);
    else if (conn->phase == LP_CONN_CLOSED)
        lp_thread_tell(conn->thread, "end");
    return conn->thread;
}

static bool is_ready(const lp_conn *conn)
{
    if (!conn->st)
        PyErr_SetString(PyExc_RuntimeError, "Connection.__init__() was not called");
    return conn->st != NULL;
}

static PyObject *get_thread(PyObject *op, void *unused)
{
    (void)unused;
    lp_conn *conn = (lp_conn *)op;
    return is_ready(conn) ? Py_XNewRef(lp_conn_thread(conn)) : NULL;
}

static PyObject *get_of_thread(PyObject *op, void *name)
{
    PyObject *thread = get_thread(op, NULL);
    PyObject *value = thread ? PyObject_GetAttrString(thread, name) : NULL;
    Py_XDECREF(thread);
    return value;
}

static int set_of_thread(PyObject *op, PyObject *value, void *name)
{
    PyObject *thread = get_thread(op, NULL);
    int rc = thread ? PyObject_SetAttrString(thread, name, value) : -1;
    Py_XDECREF(thread);
    return rc;
}

static PyObject *get_running(PyObject *op, void *unused)
{
    (void)unused;
    const lp_conn *conn = (lp_conn *)op;
    return PyBool_FromLong(!conn->stopped && conn->phase != LP_CONN_CLOSING &&
                           conn->phase != LP_CONN_CLOSED);
}

/* ---- stop() ------------------------------------------------------------------------------------ */

/* Lets go of the root engine's requests that have finished; none of them calls back. */
static void drain_root(lp_state *st)
{
    if (st->root && ll_engine_dispatch(st->root, NULL) < 0)
        PyErr_Clear();
}

/* Asks the core to close, behind what was submitted. */
static void submit_close(lp_conn *conn)
{
    ll_request *request = NULL;
    ll_submit how = {.flags = LL_SUBMIT_SHIELD | LL_SUBMIT_NO_INLINE};
    drain_root(conn->st);
    if (ll_conn_close(conn->handle, &how, &request) >= 0)
        ll_request_unref(request);
}

/* Gives a future of the running loop, or None when no loop runs; done when the connection has ended. */
static PyObject *conn_stop(PyObject *op, PyObject *unused)
{
    (void)unused;
    lp_conn *conn = (lp_conn *)op;
    PyObject *thread = is_ready(conn) ? lp_conn_thread(conn) : NULL;
    if (!thread)
        return NULL;
    Py_INCREF(thread);
    bool ours = conn->generation == conn->st->generation; /* not the parent's, after a fork */
    PyObject *future = PyObject_CallMethod(thread, conn->generic ? "stop" : "future", NULL);
    conn->stopped = true;
    if (!future) { /* the thread has to end all the same */
        PyObject *exc = lp_exc_take();
        lp_thread_tell(thread, conn->generic ? "leave" : "end");
        lp_exc_give(exc);
    }
    if (!conn->generic) {
        if (conn->leased)
            lp_thread_tell(thread, "end");
        else if (conn->handle && ours && !conn->st->exiting)
            submit_close(conn);
        else if (!conn->handle && conn->phase == LP_CONN_NEW)
            lp_thread_tell(thread, "end");
        lp_conn_let_go(conn);
    }
    conn->phase = LP_CONN_CLOSED;
    if (conn->generic)
        Py_CLEAR(conn->sqlite);
    Py_DECREF(thread);
    return future;
}

static PyObject *conn_stop_running(PyObject *op, PyObject *unused)
{
    (void)unused;
    PyObject *future = is_ready((lp_conn *)op)
                         ? PyObject_CallMethodNoArgs(op, ((lp_conn *)op)->st->names.stop)
                         : NULL;
    if (!future)
        return NULL;
    Py_DECREF(future);
    Py_RETURN_NONE;
}

/* ---- _tx --------------------------------------------------------------------------------------- */

/* What _tx.put_nowait() gave: owns itself until it has run. */
typedef struct job {
    lp_conn *conn;
    PyObject *thread, *future, *function;
} job;

static void job_free(job *what)
{
    Py_XDECREF((PyObject *)what->conn);
    Py_XDECREF(what->thread);
    Py_XDECREF(what->future);
    Py_XDECREF(what->function);
    PyMem_Free(what);
}

/* WorkerThread.run_item(future, function): calls and answers. True: the sentinel that stops the worker. */
static void run(job *what)
{
    lp_working working;
    if (lp_working_begin(what->conn->st, &working, what->conn, NULL) < 0) {
        PyErr_WriteUnraisable(what->function);
        return;
    }
    PyObject *stop = PyObject_CallMethod(what->thread, "run_item", "OO", what->future,
                                         what->function);
    lp_working_end(&working);
    if (!stop)
        PyErr_WriteUnraisable(what->function);
    if (stop == Py_True)
        Py_XDECREF(conn_stop((PyObject *)what->conn, NULL));
    PyErr_Clear();
    Py_XDECREF(stop);
}

/* ll_call_fn: on the worker, without the GIL. */
static int job_run(sqlite3 *db, void *arg)
{
    (void)db;
    PyGILState_STATE gil;
    if (!lp_worker_enter(&gil))
        return SQLITE_INTERRUPT;
    run(arg);
    job_free(arg);
    PyGILState_Release(gil);
    return SQLITE_OK;
}

/* _put(conn, future, function): runs it on the worker, in its turn. */
static PyObject *core_put(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    lp_state *st = PyModule_GetState(module);
    if (count != 3 || !PyObject_TypeCheck(args[0], st->conn_type)) {
        PyErr_SetString(PyExc_TypeError, "_put() takes a Connection, a future and a callable");
        return NULL;
    }
    lp_conn *conn = (lp_conn *)args[0];
    PyObject *thread = is_ready(conn) ? lp_conn_thread(conn) : NULL;
    if (!thread)
        return NULL;
    if (conn->phase != LP_CONN_CONNECTING && lp_conn_need(conn) < 0)
        return NULL;
    job *what = PyMem_Calloc(1, sizeof *what);
    if (!what)
        return PyErr_NoMemory();
    what->conn = (lp_conn *)Py_NewRef(args[0]);
    what->thread = Py_NewRef(thread);
    what->future = Py_NewRef(args[1]);
    what->function = Py_NewRef(args[2]);
    ll_request *request = NULL;
    ll_submit how = {.flags = LL_SUBMIT_SHIELD | LL_SUBMIT_NO_INLINE};
    drain_root(st);
    ll_status status = ll_conn_call(conn->handle, job_run, what, &how, &request);
    if (status < 0) {
        job_free(what);
        lp_raise_refused(st, status);
        return NULL;
    }
    ll_request_unref(request);
    Py_RETURN_NONE;
}

/* _tx_empty(conn): whether nothing is queued or running. */
static PyObject *core_tx_empty(PyObject *module, PyObject *op)
{
    lp_state *st = PyModule_GetState(module);
    if (!PyObject_TypeCheck(op, st->conn_type)) {
        PyErr_SetString(PyExc_TypeError, "_tx_empty() takes a Connection");
        return NULL;
    }
    ll_conn_state state = {.idle = true};
    if (((lp_conn *)op)->handle)
        ll_conn_get_state(((lp_conn *)op)->handle, &state);
    return PyBool_FromLong(state.idle);
}

/* _close(conn): close() as it is without what may have been replaced. */
static PyObject *core_close(PyObject *module, PyObject *op)
{
    lp_state *st = PyModule_GetState(module);
    if (!PyObject_TypeCheck(op, st->conn_type)) {
        PyErr_SetString(PyExc_TypeError, "_close() takes a Connection");
        return NULL;
    }
    return is_ready((lp_conn *)op) ? lp_call_new(st, &lp_op_close_direct, op, NULL, NULL) : NULL;
}

static PyObject *get_tx(PyObject *op, void *unused)
{
    (void)unused;
    lp_conn *conn = (lp_conn *)op;
    if (!is_ready(conn))
        return NULL;
    if (conn->generic) {
        PyObject *thread = lp_conn_thread(conn);
        return thread ? PyObject_GetAttrString(thread, "tx") : NULL;
    }
    PyObject *module = PyImport_ImportModule("looplite._thread");
    PyObject *tx = module ? PyObject_CallMethod(module, "Tx", "O", op) : NULL;
    Py_XDECREF(module);
    return tx;
}

/* ---- before 0.22 ------------------------------------------------------------------------------- */

static PyObject *conn_start(PyObject *op, PyObject *unused)
{
    (void)unused;
    lp_conn *conn = (lp_conn *)op;
    if (!is_ready(conn))
        return NULL;
    if (conn->started) {
        PyErr_SetString(PyExc_RuntimeError, "threads can only be started once");
        return NULL;
    }
    conn->started = true;
    if (conn->thread && !conn->generic)
        lp_thread_tell(conn->thread, "begin");
    Py_RETURN_NONE;
}

static PyObject *conn_is_alive(PyObject *op, PyObject *unused)
{
    (void)unused;
    PyObject *thread = get_thread(op, NULL);
    PyObject *alive = thread ? PyObject_CallMethod(thread, "is_alive", NULL) : NULL;
    Py_XDECREF(thread);
    return alive;
}

static char join_name[] = "join";

static PyObject *conn_join(PyObject *op, PyObject *args, PyObject *kwargs)
{
    PyObject *join = get_of_thread(op, join_name);
    PyObject *done = join ? PyObject_Call(join, args, kwargs) : NULL;
    Py_XDECREF(join);
    return done;
}

/* ---- tables ------------------------------------------------------------------------------------ */

static char daemon_name[] = "daemon";

static PyMethodDef shell_methods[] = {
    {"stop", conn_stop, METH_NOARGS, "stop($self, /)\n--\n\n" DOC_STOP},
    {"_stop_running", conn_stop_running, METH_NOARGS, "_stop_running($self, /)\n--\n\nstop()"},
    {"start", conn_start, METH_NOARGS, "start($self, /)\n--\n\n" DOC_START},
    {"is_alive", conn_is_alive, METH_NOARGS, "is_alive($self, /)\n--\n\n" DOC_IS_ALIVE},
    {"join", (PyCFunction)(void (*)(void))conn_join, METH_VARARGS | METH_KEYWORDS,
     "join($self, /, timeout=None)\n--\n\n" DOC_JOIN},
};

static PyGetSetDef shell_getset[] = {
    {"_thread", get_thread, NULL, "A threading.Thread that stands for the connection.", NULL},
    {"_tx", get_tx, NULL, "put_nowait((future or None, callable)) runs it in its turn.", NULL},
    {"_running", get_running, NULL, "Whether neither stop() nor close() was called.", NULL},
    {"daemon", get_of_thread, set_of_thread, DOC_DAEMON, daemon_name},
};

static PyMethodDef shell_defs[] = {
    {"_put", (PyCFunction)(void (*)(void))core_put, METH_FASTCALL, NULL},
    {"_tx_empty", core_tx_empty, METH_O, NULL},
    {"_close", core_close, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

int lp_shell_init(PyObject *module, lp_state *st)
{
    for (size_t i = 0; i < sizeof shell_getset / sizeof *shell_getset; i++) {
        PyObject *attribute = PyDescr_NewGetSet(st->conn_type, &shell_getset[i]);
        int rc = attribute ? PyObject_SetAttrString((PyObject *)st->conn_type, shell_getset[i].name,
                                                    attribute)
                           : -1;
        Py_XDECREF(attribute);
        if (rc < 0)
            return -1;
    }
    if (lp_methods_add(st->conn_type, shell_methods, sizeof shell_methods / sizeof *shell_methods) <
        0)
        return -1;
    return PyModule_AddFunctions(module, shell_defs);
}
