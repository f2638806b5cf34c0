/* callback.c: the program's callables that SQLite calls: functions, aggregates, collations, hooks.
 *
 * They are registered with the real sqlite3.Connection, so who calls them is CPython's own code, with its own
 * conversion of values and its own way with exceptions. What is registered is not the callable itself but one of ours
 * around it, because of what CPython's code cannot know:
 *
 *   context     the request that SQLite works for belongs to a task: its context variables (lp_call.context)
 *   async def   a coroutine is run on the loop of that task, while this worker waits without the GIL
 *   attempts    nothing of the program may run on the loop in the middle of a statement. What may call it is not
 *               admitted there, but some functions are called while a statement is prepared: then it refuses
 *   exit        from the exit hook on nothing of the program is begun any more
 *   progress    SQLite has one slot; the handler there asks the core first, which ends cancelled statements
 *
 * In all else it looks like what it stands for: attributes and repr() are the target's.
 *
 * Deadlock: a coroutine that awaits the connection that waits for it would wait for ever. Each invocation notes itself
 * in a context variable, which the coroutine and the tasks it starts inherit; a call on a connection that is
 * noted there, while it waits, is refused. A plain function that runs a loop of its own would wait for itself
 * likewise: it is known by its thread (lp_working_check()).
 *
 * The wait ends with the coroutine. It is looked up now and then whether it should end before: the request was cancelled
 * or interrupted, the loop is closed, the program ends. Then the coroutine is cancelled, and the function fails. */
#include "callback.h"

#include "errors.h"

typedef struct callback {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    /* fixed after creation */
    lp_link *link;
    PyObject *target;
    lp_callback_kind kind;
    unsigned long every;
    /* GIL */
    unsigned long calls;
} callback;

/* ---- the link ----------------------------------------------------------------------------------- */

lp_link *lp_link_new(PyObject *module, lp_state *st)
{
    lp_link *link = (lp_link *)lp_new(st->link_type);
    if (link) {
        link->st = st;
        link->module = Py_NewRef(module);
    }
    return link;
}

void lp_link_begin(lp_link *link, lp_conn *conn, ll_conn *handle)
{
    link->conn = conn;
    link->handle = handle;
    ll_conn_own_code(handle, link->own | LL_OWN_TOLD, 0);
}

void lp_link_end(lp_link *link)
{
    link->conn = NULL;
    link->handle = NULL;
}

void lp_link_own(lp_link *link, unsigned add, unsigned remove)
{
    link->own = (link->own & ~remove) | add;
    ll_conn_own_code(link->handle, add, remove);
}

static int link_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((lp_link *)op)->module);
    Py_VISIT(((lp_link *)op)->context);
    return 0;
}

static int link_clear(PyObject *op)
{
    Py_CLEAR(((lp_link *)op)->context);
    return 0;
}

static void link_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)link_clear(op);
    PyObject *module = ((lp_link *)op)->module;
    type->tp_free(op);
    Py_DECREF(type);
    Py_XDECREF(module);
}

static PyType_Slot link_slots[] = {
    {Py_tp_traverse, link_traverse},
    {Py_tp_clear, link_clear},
    {Py_tp_dealloc, link_dealloc},
    {0, NULL},
};

static PyType_Spec link_spec = {
    .name = "looplite._core._Link",
    .basicsize = sizeof(lp_link),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = link_slots,
};

/* ---- async def ---------------------------------------------------------------------------------- */

/* How often it is looked whether a wait should end before the coroutine does. */
static const double look_seconds = 0.02;

int lp_callback_check(const lp_conn *conn)
{
    lp_state *st = conn->st;
    if (lp_working_check(conn) < 0)
        return -1;
    if (st->awaited == 0 || !conn->link)
        return 0;
    PyObject *chain = NULL;
    bool found = false;
    if (PyContextVar_Get(st->inside, NULL, &chain) == 0 && chain && PyTuple_Check(chain)) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(chain) && !found; i++) {
            PyObject *waiting = PyTuple_GET_ITEM(chain, i); /* [link], empty once it has ended */
            found = PyList_GET_SIZE(waiting) > 0 &&
                    PyList_GET_ITEM(waiting, 0) == (PyObject *)conn->link;
        }
    }
    PyErr_Clear();
    Py_XDECREF(chain);
    if (found)
        PyErr_SetString(
            PyExc_RuntimeError,
            "this connection waits for the asynchronous function that awaits it: what is "
            "called by SQL needs another connection");
    return found ? -1 : 0;
}

/* Starts the coroutine on the loop, with `waiting` noted in its context. The concurrent.futures.Future. */
static PyObject *start_coroutine(lp_state *st, PyObject *loop, PyObject *coroutine,
                                 PyObject *waiting)
{
    PyObject *before = NULL, *chain = NULL, *token = NULL, *future = NULL;
    if (PyContextVar_Get(st->inside, st->empty_tuple, &before) < 0)
        return NULL;
    PyObject *last = PyTuple_Pack(1, waiting);
    chain = last ? PySequence_Concat(before, last) : NULL;
    token = chain ? PyContextVar_Set(st->inside, chain) : NULL;
    if (token) {
        PyObject *asyncio = PyImport_ImportModule("asyncio");
        future = asyncio
                   ? PyObject_CallMethod(asyncio, "run_coroutine_threadsafe", "OO", coroutine, loop)
                   : NULL;
        Py_XDECREF(asyncio);
        PyObject *exc = lp_exc_take();
        if (PyContextVar_Reset(st->inside, token) < 0)
            PyErr_Clear();
        if (exc)
            lp_exc_give(exc);
    }
    Py_XDECREF(token);
    Py_XDECREF(chain);
    Py_XDECREF(last);
    Py_XDECREF(before);
    return future;
}

/* Whether the future is done; -1 with an exception. */
static int is_done(PyObject *future)
{
    PyObject *done = PyObject_CallMethod(future, "done", NULL);
    int result = done ? PyObject_IsTrue(done) : -1;
    Py_XDECREF(done);
    return result;
}

static bool is_gone(lp_state *st, PyObject *loop)
{
    PyObject *closed = PyObject_CallMethodNoArgs(loop, st->names.is_closed);
    bool gone = !closed || closed == Py_True;
    Py_XDECREF(closed);
    PyErr_Clear();
    return gone;
}

/* Why nobody should wait any longer, or NULL. A coroutine whose loop is there is cancelled. */
static const char *why_give_up(lp_link *link, ll_conn *handle, PyObject *loop, PyObject *future)
{
    const char *why = NULL;
    if (is_gone(link->st, loop))
        return "the event loop is closed";
    if (link->st->exiting)
        why = "the program ends";
    else if (ll_conn_must_stop(handle))
        why = "the statement was interrupted";
    if (why)
        Py_XDECREF(PyObject_CallMethod(future, "cancel", NULL));
    return why;
}

/* Waits for the future; its result. */
static PyObject *wait_for(lp_link *link, ll_conn *handle, PyObject *loop, PyObject *future)
{
    for (;;) {
        PyObject *result = PyObject_CallMethod(future, "result", "d", look_seconds);
        if (result || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
            return result;
        PyObject *exc = lp_exc_take();
        int done = is_done(future);
        if (done != 0) {
            if (done > 0)
                lp_exc_give(exc);
            else
                Py_DECREF(exc);
            return NULL;
        }
        Py_DECREF(exc); /* the time was over */
        const char *why = why_give_up(link, handle, loop, future);
        if (!why)
            continue;
        PyErr_Format(PyExc_RuntimeError, "an asynchronous function called by SQL was given up: %s",
                     why);
        return NULL;
    }
}

/* Runs a coroutine that a callable returned, on the loop of `call`. Takes the reference. */
static PyObject *run_coroutine(lp_link *link, const lp_call *call, PyObject *coroutine)
{
    lp_state *st = link->st;
    ll_conn *handle = link->handle;
    PyObject *result = NULL, *future = NULL;
    PyObject *loop = call && call->loop ? lp_loop_object(call->loop) : NULL;
    PyObject *waiting = PyList_New(0);
    if (!loop && !PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError,
                        "an asynchronous function needs an event loop: it can only be called by a "
                        "statement that was awaited");
    link->awaited++;
    st->awaited++; /* before the coroutine can begin */
    if (loop && waiting && PyList_Append(waiting, (PyObject *)link) == 0)
        future = start_coroutine(st, loop, coroutine, waiting);
    if (future) {
        ll_conn_wait_begin(handle);
        result = wait_for(link, handle, loop, future);
        ll_conn_wait_end(handle);
    } else { /* it never began: that is no mistake of who wrote it */
        PyObject *exc = lp_exc_take();
        Py_XDECREF(PyObject_CallMethodNoArgs(coroutine, st->names.close));
        PyErr_Clear();
        if (exc)
            lp_exc_give(exc);
    }
    st->awaited--;
    link->awaited--;
    if (waiting) {
        PyObject *exc = lp_exc_take();
        if (PyList_SetSlice(waiting, 0, 1, NULL) < 0)
            PyErr_Clear();
        if (exc)
            lp_exc_give(exc);
    }
    Py_XDECREF(waiting);
    Py_XDECREF(loop);
    Py_XDECREF(future);
    Py_DECREF(coroutine);
    return result;
}

/* ---- the call ----------------------------------------------------------------------------------- */

/* The context to run in: that of the request, else of the last one; NULL: none is known. A new reference. */
static PyObject *context_of(lp_link *link, const lp_call *call)
{
    if (call && call->context && call->context != link->context)
        Py_XSETREF(link->context, Py_NewRef(call->context));
    return !link->handle || (!call && link->outside > 0) ? NULL : Py_XNewRef(link->context);
}

/* Nothing of the program may be run; sets the exception. */
static bool refused(lp_state *st)
{
    if (ll_refuses_own_code())
        PyErr_SetString(st->sqlite3.OperationalError, "not on the event loop");
    else if (st->exiting)
        PyErr_SetString(PyExc_RuntimeError, "the program ends");
    else
        return false;
    return true;
}

/* Of a progress handler: 1: the statement has to end, 0: nothing is due, -1: the program's own is. */
static int progress(callback *self, ll_conn *handle)
{
    if (handle && ll_conn_must_stop(handle))
        return 1;
    return ++self->calls % self->every == 0 ? -1 : 0;
}

static PyObject *callback_vectorcall(PyObject *op, PyObject *const *args, size_t count,
                                     PyObject *names)
{
    callback *self = (callback *)op;
    lp_link *link = (lp_link *)Py_NewRef((PyObject *)self->link);
    PyObject *target = Py_NewRef(self->target), *context = NULL, *call = NULL, *result = NULL;
    lp_callback_kind kind = self->kind;
    ll_conn *handle = link->handle;
    int due = kind == LP_CALLBACK_PROGRESS ? progress(self, handle) : -1;
    if (due >= 0) {
        result = PyBool_FromLong(due);
        goto out;
    }
    if (refused(link->st))
        goto out;
    call = Py_XNewRef(handle ? ll_conn_running(handle) : NULL);
    lp_working working;
    context = context_of(link, (lp_call *)call);
    if (lp_working_begin(link->st, &working, handle ? link->conn : NULL, context) < 0)
        goto out;
    result = PyObject_Vectorcall(target, args, count, names);
    if (result && PyCoro_CheckExact(result))
        result = run_coroutine(link, (lp_call *)call, result);
    lp_working_end(&working);
    if (result && kind == LP_CALLBACK_AGGREGATE)
        Py_SETREF(result, lp_callback_new(link, LP_CALLBACK_INSTANCE, result));
out:
    Py_XDECREF(context);
    Py_XDECREF(call);
    Py_DECREF(target);
    Py_DECREF(link);
    return result;
}

PyObject *lp_callback_new(lp_link *link, lp_callback_kind kind, PyObject *target)
{
    lp_state *st = link->st;
    if (kind != LP_CALLBACK_INSTANCE && !PyCallable_Check(target))
        return Py_NewRef(target);
    callback *self = (callback *)lp_new(st->callback_type);
    if (!self)
        return NULL;
    st->has_callbacks = 1;
    self->vectorcall = callback_vectorcall;
    self->link = (lp_link *)Py_NewRef((PyObject *)link);
    self->target = Py_NewRef(target);
    self->kind = kind;
    self->every = 1;
    return (PyObject *)self;
}

void lp_callback_set_every(PyObject *op, unsigned long every)
{
    ((callback *)op)->every = every;
}

/* ---- the type ----------------------------------------------------------------------------------- */

#if PY_VERSION_HEX < 0x030B0000
/* Python 3.10 leaves the exception set when an aggregate lacks a method, which is for whoever runs Python next on
 * that thread. Here that would be another request; so the method is there, and raises. */
static PyObject *lacks(PyObject *error, PyObject *args)
{
    (void)args;
    lp_exc_give(Py_NewRef(error));
    return NULL;
}

static PyMethodDef lacks_def = {"lacks", lacks, METH_VARARGS, NULL};
#endif

/* Of an instance of an aggregate the methods are called: those are callbacks, too. */
static PyObject *callback_getattro(PyObject *op, PyObject *name)
{
    callback *self = (callback *)op;
    PyObject *value = PyObject_GetAttr(self->target, name);
#if PY_VERSION_HEX < 0x030B0000
    if (!value && self->kind == LP_CALLBACK_INSTANCE) {
        PyObject *error = lp_exc_take();
        value = PyCFunction_New(&lacks_def, error);
        Py_DECREF(error);
    }
#endif
    if (value && self->kind == LP_CALLBACK_INSTANCE && PyCallable_Check(value))
        Py_SETREF(value, lp_callback_new(self->link, LP_CALLBACK_PLAIN, value));
    return value;
}

static PyObject *callback_repr(PyObject *op)
{
    return PyObject_Repr(((callback *)op)->target);
}

static int callback_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)((callback *)op)->link);
    Py_VISIT(((callback *)op)->target);
    return 0;
}

static int callback_clear(PyObject *op)
{
    Py_CLEAR(((callback *)op)->target);
    return 0;
}

static void callback_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)callback_clear(op);
    PyObject *link = (PyObject *)((callback *)op)->link;
    type->tp_free(op);
    Py_XDECREF(link);
    Py_DECREF(type);
}

static PyMemberDef callback_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(callback, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot callback_slots[] = {
    {Py_tp_call, PyVectorcall_Call},   {Py_tp_getattro, callback_getattro},
    {Py_tp_repr, callback_repr},       {Py_tp_traverse, callback_traverse},
    {Py_tp_clear, callback_clear},     {Py_tp_dealloc, callback_dealloc},
    {Py_tp_members, callback_members}, {0, NULL},
};

static PyType_Spec callback_spec = {
    .name = "looplite._core._Callback",
    .basicsize = sizeof(callback),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = callback_slots,
};

int lp_callback_init(PyObject *module, lp_state *st)
{
    st->link_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &link_spec, NULL);
    st->callback_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &callback_spec, NULL);
    st->inside = PyContextVar_New("looplite_inside", NULL);
    return st->link_type && st->callback_type && st->inside ? 0 : -1;
}
