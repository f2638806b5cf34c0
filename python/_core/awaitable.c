/* awaitable.c: the one awaitable.
 *
 * Every call of Connection and Cursor returns an lp_call. It does nothing before its first await, as a
 * coroutine does; then its op (awaitable.h) says what to submit and how the finished request becomes a
 * Python object:
 *
 *            send(None)                      dispatch: the request
 *     NEW ----------------> start() --WAIT-> WAITING --has called back, send()--> finish() --> OVER
 *                              |                ^                                    |
 *                              |                +--------------- WAIT ---------------+
 *                              +--AGAIN or DONE: finished at once, nothing is yielded
 *                                               YIELDED <-- YIELD -------------------+
 *
 * WAITING: a future of the running loop is yielded the way asyncio's own futures yield themselves
 * (_asyncio_future_blocking), so the task waits for it; the callback of the request resolves it.
 * YIELDED: a bare None, by which the task is merely scheduled again: decoding many rows lets others run.
 *
 * Both ways a frame can drive it are fast: am_send (3.10, 3.11, and Task itself in all versions) and
 * tp_iternext (await in 3.12 and later).
 *
 * Cancellation: a task that is cancelled throws CancelledError in here. The request is cancelled (but
 * for shielded ones), and the task waits on, on a new future, until it is known what became of the
 * statement: the exception then carries `looplite_outcome`. A second cancellation does not wait: the
 * outcome is "unknown". Whatever else is thrown (GeneratorExit) does not wait either.
 *
 * Under trio a task waits in trio's own functions instead (trio.c); the states are the same.
 *
 * A call whose request was accepted stays alive until the callback: pending.c. */
#include "awaitable.h"

#include "closed.h"
#include "errors.h"
#include "hook.h"
#include "trio.h"

/* ---- steps ------------------------------------------------------------------------------------- */

/* It begins, or never will. */
static void sate(lp_call *call)
{
    if (call->starving)
        call->loop->starving--;
    call->starving = false;
}

void lp_call_over(lp_call *call)
{
    call->phase = LP_OVER;
    sate(call);
    Py_CLEAR(call->future);
    if (LP_UNLIKELY(call->uncommon))
        Py_CLEAR(call->trap);
    Py_CLEAR(call->thrown);
    Py_CLEAR(call->delegate);
    if (!call->list) {
        lp_params_done(&call->params);
        ll_request_unref(call->request);
        call->request = NULL;
    }
}

PyObject *lp_call_answer(lp_call *call, PyObject *value)
{
    if (call->keep)
        Py_XSETREF(call->kept, Py_NewRef(value));
    lp_call_over(call);
    return value;
}

/* What to yield in order to wait until resolve(): a new future of the running loop. */
static PyObject *new_future(lp_call *call)
{
    if (lp_trio_awaits(call))
        return lp_trio_wait(call);
    PyObject *loop = lp_loop_object(call->loop);
    PyObject *future = loop ? PyObject_CallMethodNoArgs(loop, call->st->names.create_future) : NULL;
    Py_XDECREF(loop);
    if (future && PyObject_SetAttr(future, call->st->names._asyncio_future_blocking, Py_True) < 0)
        Py_CLEAR(future);
    if (!future)
        return NULL;
    Py_XSETREF(call->future, Py_NewRef(future));
    call->phase = LP_WAITING;
    return future;
}

/* What to yield in order to let the loop turn once. */
static PyObject *new_turn(lp_call *call)
{
    return lp_trio_awaits(call) ? lp_trio_checkpoint(call) : Py_NewRef(Py_None);
}

/* Sets exc.looplite_outcome, and raises it; takes the reference. */
static void raise_cancelled(lp_call *call, PyObject *exc, const char *outcome)
{
    PyObject *text = PyUnicode_FromString(outcome);
    if (!text || PyObject_SetAttr(exc, call->st->names.looplite_outcome, text) < 0)
        PyErr_Clear(); /* the cancellation counts more */
    Py_XDECREF(text);
    lp_exc_give(exc);
}

const char *lp_outcome_name(ll_outcome outcome)
{
    switch (outcome) {
    case LL_APPLIED:
        return "applied";
    case LL_NOT_APPLIED:
        return "not applied";
    default:
        return "unknown";
    }
}

/* Nobody waits any more; what was submitted ends by itself. */
static void detach(lp_call *call)
{
    if (call->list && !(call->op->flags & LP_OP_SHIELD) && ll_request_cancel(call->request) < 0)
        PyErr_Clear(); /* only after a fork, and then nothing runs */
    lp_call_over(call);
    if (call->op->cancelled)
        call->op->cancelled(call);
}

/* Whether it has to let the loop turn before it begins. A task that makes one call after the other would
 * have each turn for itself: it is the first to go on when time is whole again, and all others find it
 * spent. So who has given way often goes first, and those who have not wait for the next turn. */
static bool gives_way(const lp_call *call)
{
    lp_loop *loop = call->loop;
    if (loop->starving > 0 && !call->starving)
        return true;
    return call->op->flags & LP_OP_SMALL && !call->starving ? lp_loop_turn_over_small(loop)
                                                            : lp_loop_turn_over(loop);
}

static void give_way(lp_call *call)
{
    enum {
        PATIENCE = 16
    };
    call->awaited = true;
    if (!call->starving && ++call->gave_way >= PATIENCE) {
        call->starving = true;
        call->loop->starving++;
    }
}

/* `now`: even if this turn's time is spent. */
static lp_step start(lp_call *call, bool now)
{
    if (call->st->exiting) {
        PyErr_SetString(PyExc_RuntimeError, "looplite cannot be used while the interpreter exits");
        return LP_ERROR;
    }
    if (LP_UNLIKELY(call->loop && call->loop->host && !call->loop->engine) && !call->starving)
        Py_CLEAR(call->loop); /* it gave way in a trio run that is ending */
    if (!call->loop)
        call->loop = lp_loop_running(call->st);
    if (!call->loop)
        return LP_ERROR;
    if (LP_UNLIKELY(call->loop->host != NULL) && lp_trio_is_cancelled(call)) {
        if ((call->op->flags & (LP_OP_SHIELD | LP_OP_DETACH)) != LP_OP_SHIELD)
            return LP_TURN; /* where it is raised: the call does not begin */
        call->owed = true;
    }
    /* All calls give way alike, so those of one connection keep their order. */
    if (!now && gives_way(call) && !lp_closed_before(call))
        return LP_TURN;
    sate(call);
    if (lp_loop_turn_begin(call->loop) < 0)
        return LP_ERROR;
    call->phase = LP_WAITING;
    lp_step step = call->op->start(call);
    if (step == LP_WAIT && call->list && lp_call_linger(call))
        step = LP_AGAIN;
    /* What did not wait may have used time of this turn. */
    if (step != LP_WAIT && step != LP_ERROR && step != LP_SHUN && !call->loop->turn_posted &&
        lp_loop_turn_end(call->loop) < 0)
        PyErr_Clear(); /* the loop is closing: what was done is done */
    return step;
}

static lp_step finish(lp_call *call)
{
    if (call->op->finish)
        return call->op->finish(call);
    return lp_call_check(call) < 0 ? LP_ERROR : LP_DONE;
}

/* Resumed before the request has called back: a second task awaits it, which would leave the first one
 * alone for ever; or its future was cancelled, and it waits on a new one. */
static lp_step still_waiting(lp_call *call)
{
    PyObject *done = call->future ? PyObject_CallMethodNoArgs(call->future, call->st->names.done)
                                  : NULL;
    int is_done = done ? PyObject_IsTrue(done) : -1;
    Py_XDECREF(done);
    if (is_done == 0)
        PyErr_Format(PyExc_RuntimeError, "%s() is being awaited already", call->op->name);
    else if (is_done < 0 && !PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
    return is_done == 1 ? LP_WAIT : LP_SHUN;
}

/* `given` goes to the loop, unless it could not be made. */
static PySendResult suspended(lp_call *call, const PyObject *given)
{
    if (given)
        return PYGEN_NEXT;
    detach(call);
    return PYGEN_ERROR;
}

/* What became of it, if it is given up now. */
static const char *outcome_now(const lp_call *call)
{
    switch (call->phase) {
    case LP_NEW:
        return "not applied";
    case LP_YIELDED: /* before anything was submitted, or while rows were being decoded */
        return call->begun ? "applied" : "not applied";
    case LP_DELIVERING:
        return "applied";
    case LP_WAITING:
        if (call->finished)
            return lp_outcome_name(call->outcome);
        if (!call->list) /* nothing of its own is in flight: it waits for another call */
            return "not applied";
        break;
    default:
        break;
    }
    return call->op->flags & LP_OP_DETACH ? "not applied" : "unknown";
}

/* Suspended by trio, and sent `value`. PYGEN_RETURN: goes on. */
static PySendResult resume_trio(lp_call *call, PyObject *value, PyObject **ret)
{
    bool raised;
    PySendResult sent = lp_trio_resume(call, value, ret, &raised);
    if (raised) {
        PyObject *exc = lp_exc_take();
        const char *outcome = outcome_now(call);
        if (call->phase != LP_OVER)
            detach(call);
        raise_cancelled(call, exc, outcome);
    }
    return sent;
}

/* One send(). What is yielded or returned is a new reference in *ret. */
static PySendResult advance(lp_call *call, PyObject *value, PyObject **ret)
{
    lp_step step;
    *ret = NULL;
    if (call->phase == LP_DELEGATED)
        return lp_delegate_send(call, value ? value : Py_None, ret);
    if (call->running) {
        PyErr_Format(PyExc_RuntimeError, "%s() is being awaited already", call->op->name);
        return PYGEN_ERROR;
    }
    if (LP_UNLIKELY(call->trap != NULL)) {
        PySendResult resumed = resume_trio(call, value, ret);
        if (resumed != PYGEN_RETURN)
            return resumed;
    }
    call->running = true;
    Py_INCREF((PyObject *)call);
    switch (call->phase) {
    case LP_NEW:
        step = start(call, false);
        break;
    case LP_WAITING:
        if (!call->finished) {
            step = still_waiting(call);
        } else if (call->thrown) {
            PyObject *exc = call->thrown;
            call->thrown = NULL;
            if (!PyExceptionInstance_Check(exc))
                exc = lp_trio_raised(exc);
            raise_cancelled(call, exc, lp_outcome_name(call->outcome));
            step = LP_ERROR;
        } else {
            step = finish(call);
        }
        break;
    case LP_YIELDED:
        step = finish(call);
        break;
    case LP_DELIVERING:
        step = LP_DONE;
        break;
    default:
        PyErr_Format(PyExc_RuntimeError, "cannot reuse already awaited %s()", call->op->name);
        step = LP_ERROR;
        break;
    }
    while (step == LP_AGAIN)
        step = finish(call);
    PySendResult sent = PYGEN_ERROR;
    switch (step) {
    case LP_WAIT:
        *ret = new_future(call);
        sent = suspended(call, *ret);
        break;
    case LP_TURN: /* the phase is still NEW: who is cancelled now has not begun */
        give_way(call);
        *ret = new_turn(call);
        sent = suspended(call, *ret);
        break;
    case LP_YIELD:
        call->phase = LP_YIELDED;
        *ret = new_turn(call);
        sent = suspended(call, *ret);
        break;
    case LP_DONE:
        if (LP_UNLIKELY(call->owed)) {
            call->owed = false;
            call->phase = LP_DELIVERING;
            *ret = lp_trio_deliver(call);
            sent = suspended(call, *ret);
            break;
        }
        *ret = call->result ? call->result : Py_NewRef(Py_None);
        call->result = NULL;
        (void)lp_call_answer(call, *ret);
        sent = PYGEN_RETURN;
        break;
    case LP_DELEGATE:
        call->phase = LP_DELEGATED;
        call->running = false;
        sent = lp_delegate_send(call, Py_None, ret);
        break;
    case LP_SHUN: /* whoever awaited it first goes on */
        break;
    default:
        lp_call_over(call);
        break;
    }
    call->running = false;
    Py_DECREF((PyObject *)call);
    return sent;
}

/* PyErr_SetObject() would take a tuple or an exception apart. */
void lp_stop_iteration(PyObject *value)
{
    if (!PyTuple_Check(value) && !PyExceptionInstance_Check(value)) {
        PyErr_SetObject(PyExc_StopIteration, value);
        return;
    }
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, value);
    if (stop) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
}

/* ---- the type: a coroutine's methods ----------------------------------------------------------- */

static PySendResult call_am_send(PyObject *op, PyObject *value, PyObject **ret)
{
    lp_call *call = (lp_call *)op;
    if (call->phase == LP_NEW && value && value != Py_None && !call->trap) {
        PyErr_Format(PyExc_TypeError, "can't send non-None value to a just-started %s()",
                     call->op->name);
        *ret = NULL;
        return PYGEN_ERROR;
    }
    return advance(call, value, ret);
}

static PyObject *call_iternext(PyObject *op)
{
    PyObject *value;
    switch (advance((lp_call *)op, Py_None, &value)) {
    case PYGEN_NEXT:
        return value;
    case PYGEN_RETURN:
        if (value != Py_None) /* NULL without an exception is StopIteration(None) */
            lp_stop_iteration(value);
        Py_DECREF(value);
        return NULL;
    default:
        return NULL;
    }
}

static PyObject *call_send(PyObject *op, PyObject *value)
{
    PyObject *got;
    switch (call_am_send(op, value, &got)) {
    case PYGEN_NEXT:
        return got;
    case PYGEN_RETURN:
        lp_stop_iteration(got);
        Py_DECREF(got);
        return NULL;
    default:
        return NULL;
    }
}

/* The exception that throw(type[, value[, traceback]]) means; a new reference. */
PyObject *lp_exception_of(PyObject *const *args, Py_ssize_t count)
{
    if (count < 1 || count > 3) {
        PyErr_Format(PyExc_TypeError, "throw expected 1 to 3 arguments, got %zd", count);
        return NULL;
    }
    PyObject *type = args[0], *value = count > 1 ? args[1] : Py_None;
    PyObject *exc;
    if (PyExceptionInstance_Check(type))
        exc = Py_NewRef(type);
    else if (!PyExceptionClass_Check(type))
        exc = NULL;
    else if (PyExceptionInstance_Check(value))
        exc = Py_NewRef(value);
    else if (value == Py_None)
        exc = PyObject_CallNoArgs(type);
    else if (PyTuple_Check(value))
        exc = PyObject_Call(type, value, NULL);
    else
        exc = PyObject_CallOneArg(type, value);
    if (exc && !PyExceptionInstance_Check(exc))
        Py_CLEAR(exc);
    if (!exc && !PyErr_Occurred())
        PyErr_SetString(PyExc_TypeError, "exceptions must be classes or instances deriving from "
                                         "BaseException");
    if (exc && count > 2 && args[2] != Py_None && PyException_SetTraceback(exc, args[2]) < 0)
        Py_CLEAR(exc);
    return exc;
}

static PyObject *call_throw(PyObject *op, PyObject *const *args, Py_ssize_t count)
{
    lp_call *call = (lp_call *)op;
    PyObject *exc = lp_exception_of(args, count);
    if (!exc)
        return NULL;
    /* One way or another the call must end here: this cannot fail. */
    bool cancelled = PyErr_GivenExceptionMatches(exc, call->st->cancelled_error) != 0;
    if (call->running) {
        Py_DECREF(exc);
        PyErr_Format(PyExc_RuntimeError, "%s() is being awaited already", call->op->name);
        return NULL;
    }
    if (call->phase == LP_DELEGATED)
        return lp_delegate_throw(call, exc);
    if (!cancelled) {
        if (call->phase != LP_OVER)
            detach(call);
        lp_exc_give(exc);
        return NULL;
    }
    const char *outcome = outcome_now(call);
    switch (call->phase) {
    case LP_NEW:
        if (call->awaited && (call->op->flags & (LP_OP_SHIELD | LP_OP_DETACH)) == LP_OP_SHIELD) {
            /* It gave way before it began, but happens all the same (an opening does not: who would close?). */
            lp_step step = start(call, true);
            while (step == LP_AGAIN)
                step = finish(call);
            if (step == LP_WAIT && call->list && call->op->flags & LP_OP_LEAVE) {
                outcome = "unknown";
                break;
            }
            if (step == LP_DELEGATE) { /* begins, and is told then */
                PyObject *got;
                call->phase = LP_DELEGATED;
                if (lp_delegate_send(call, Py_None, &got) == PYGEN_NEXT) {
                    Py_DECREF(got);
                    return lp_delegate_throw(call, exc);
                }
                Py_XDECREF(got);
                PyErr_Clear(); /* the cancellation counts more */
                outcome = "unknown";
                break;
            }
            if (step == LP_WAIT && call->list) {
                PyObject *future = new_future(call);
                if (future)
                    call->thrown = exc;
                else
                    Py_DECREF(exc);
                return future;
            }
            PyErr_Clear(); /* the cancellation counts more; the outcome says it */
            outcome = step == LP_DONE ? "applied" : "not applied";
            break;
        }
        break;
    case LP_WAITING:
        if (!call->finished && call->list && !(call->op->flags & (LP_OP_DETACH | LP_OP_LEAVE)) &&
            (!call->thrown || lp_is_repeated(call->thrown, exc))) {
            if (!(call->op->flags & LP_OP_SHIELD) && ll_request_cancel(call->request) < 0)
                break; /* after a fork: nothing will call back */
            PyObject *future = new_future(call);
            if (!future) {
                Py_DECREF(exc);
                return NULL;
            }
            Py_XSETREF(call->thrown, exc);
            return future;
        }
        break;
    default:
        break;
    }
    if (call->phase != LP_OVER)
        detach(call);
    raise_cancelled(call, exc, outcome);
    return NULL;
}

static PyObject *call_close(PyObject *op, PyObject *unused)
{
    (void)unused;
    lp_call *call = (lp_call *)op;
    if (call->running) {
        PyErr_Format(PyExc_RuntimeError, "%s() is being awaited already", call->op->name);
        return NULL;
    }
    if (call->phase == LP_DELEGATED && lp_delegate_close(call) < 0)
        return NULL;
    if (call->phase != LP_OVER)
        detach(call);
    Py_RETURN_NONE;
}

static PyObject *call_aenter(PyObject *op, PyObject *unused)
{
    (void)unused;
    ((lp_call *)op)->keep = true;
    return Py_NewRef(op);
}

/* Closes the Connection, Cursor or Blob that the call gave, by its own close(), which a subclass may have
 * replaced; anything else needs no end. */
static PyObject *call_aexit(PyObject *op, PyObject *const *args, Py_ssize_t count)
{
    (void)args;
    (void)count;
    lp_call *call = (lp_call *)op;
    if (!call->kept) {
        PyErr_Format(PyExc_RuntimeError, "%s() was not entered", call->op->name);
        return NULL;
    }
    PyObject *value = call->kept;
    call->kept = NULL;
    PyObject *closing = PyObject_TypeCheck(value, call->st->cursor_type) ||
                                PyObject_TypeCheck(value, call->st->conn_type) ||
                                PyObject_TypeCheck(value, call->st->blob_type)
                          ? PyObject_CallMethodNoArgs(value, call->st->names.close)
                          : lp_ready_new(call->st, Py_NewRef(Py_None));
    Py_DECREF(value);
    return closing;
}

static PyObject *call_repr(PyObject *op)
{
    return PyUnicode_FromFormat("<%s() at %p>", ((lp_call *)op)->op->name, (void *)op);
}

static PyObject *call_get_qualname(PyObject *op, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(((lp_call *)op)->op->name);
}

static PyObject *call_get_name(PyObject *op, void *unused)
{
    (void)unused;
    const char *name = strrchr(((lp_call *)op)->op->name, '.');
    return PyUnicode_FromString(name ? name + 1 : ((lp_call *)op)->op->name);
}

static PyObject *call_get_running(PyObject *op, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((lp_call *)op)->running);
}

/* ---- the type: memory -------------------------------------------------------------------------- */

PyObject *lp_call_new(lp_state *st, const lp_op *op, PyObject *owner, PyObject *sql,
                      PyObject *argument)
{
    enum { /* the array of values needs no zeros */
        CLEARED = offsetof(lp_call, params) + offsetof(lp_params, few) - sizeof(PyObject)
    };
    lp_call *call = (lp_call *)lp_spare_take(&st->calls, st->call_type, CLEARED);
    if (!call)
        return NULL;
    call->st = st;
    call->op = op;
    call->owner = Py_NewRef(owner);
    call->sql = Py_XNewRef(sql);
    call->argument = Py_XNewRef(argument);
    return (PyObject *)call;
}

static int call_traverse(PyObject *op, visitproc visit, void *arg)
{
    lp_call *call = (lp_call *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(call->owner);
    Py_VISIT(call->sql);
    Py_VISIT(call->argument);
    Py_VISIT((PyObject *)call->loop);
    Py_VISIT(call->future);
    Py_VISIT(call->trap);
    Py_VISIT(call->result);
    Py_VISIT(call->kept);
    Py_VISIT(call->thrown);
    Py_VISIT(call->iterator);
    Py_VISIT(call->late);
    Py_VISIT(call->target);
    Py_VISIT(call->hook);
    Py_VISIT(call->hook_context);
    Py_VISIT(call->context);
    Py_VISIT(call->delegate);
    return lp_params_traverse(&call->params, visit, arg);
}

/* Only reached when nobody but a cycle holds it, so no request is in flight (its list would). */
static int call_clear(PyObject *op)
{
    lp_call *call = (lp_call *)op;
    sate(call);
    ll_request_unref(call->request);
    call->request = NULL;
    lp_params_done(&call->params);
    Py_CLEAR(call->owner);
    Py_CLEAR(call->sql);
    Py_CLEAR(call->argument);
    Py_CLEAR(call->loop);
    Py_CLEAR(call->future);
    Py_CLEAR(call->result);
    Py_CLEAR(call->kept);
    Py_CLEAR(call->thrown);
    Py_CLEAR(call->iterator);
    Py_CLEAR(call->late);
    Py_CLEAR(call->target);
    Py_CLEAR(call->context);
    if (LP_UNLIKELY(call->uncommon)) {
        Py_CLEAR(call->trap);
        Py_CLEAR(call->hook);
        Py_CLEAR(call->hook_context);
    }
    Py_CLEAR(call->delegate);
    return 0;
}

static void call_finalize(PyObject *op)
{
    lp_call *call = (lp_call *)op;
    if (call->phase != LP_NEW || call->awaited || (call->op->flags & LP_OP_QUIET) ||
        call->st->exiting)
        return;
    PyObject *exc = lp_exc_take();
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine '%s' was never awaited",
                         call->op->name) < 0)
        PyErr_WriteUnraisable(op);
    if (exc)
        lp_exc_give(exc);
}

static void call_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    if (((lp_call *)op)->phase == LP_NEW && PyObject_CallFinalizerFromDealloc(op) < 0)
        return;
    PyObject_GC_UnTrack(op);
    if (((lp_call *)op)->phase == LP_YIELDED && ((lp_call *)op)->op->cancelled)
        ((lp_call *)op)->op->cancelled((lp_call *)op);
    (void)call_clear(op);
    lp_spare_give(&((lp_call *)op)->st->calls, op);
    Py_DECREF(type);
}

static PyMethodDef call_methods[] = {
    {"send", call_send, METH_O,
     "send($self, value, /)\n--\n\nGoes on until something has to be waited for."},
    {"throw", (PyCFunction)(void (*)(void))call_throw, METH_FASTCALL,
     "Raises an exception where it waits; a cancelled statement is waited for."},
    {"close", call_close, METH_NOARGS, "close($self, /)\n--\n\nGives it up."},
    {"__aenter__", call_aenter, METH_NOARGS, "Awaits the call; its result is closed at the end."},
    {"__aexit__", (PyCFunction)(void (*)(void))call_aexit, METH_FASTCALL, "Closes the result."},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "Result[T], for annotations."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef call_getset[] = {
    {"__name__", call_get_name, NULL, "The name of the method.", NULL},
    {"__qualname__", call_get_qualname, NULL, "The name of the method with its class.", NULL},
    {"cr_running", call_get_running, NULL, "Whether it is inside a step at this moment.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static char call_doc[] =
    "What every asynchronous call returns: await it, or enter it with `async with`.";

static PyType_Slot call_slots[] = {
    {Py_tp_doc, call_doc},           {Py_tp_new, lp_delegate_new},
    {Py_tp_traverse, call_traverse}, {Py_tp_clear, call_clear},
    {Py_tp_finalize, call_finalize}, {Py_tp_dealloc, call_dealloc},
    {Py_tp_repr, call_repr},         {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, call_iternext}, {Py_am_await, PyObject_SelfIter},
    {Py_am_send, call_am_send},      {Py_tp_methods, call_methods},
    {Py_tp_getset, call_getset},     {0, NULL},
};

static PyType_Spec call_spec = {
    .name = "looplite.Result",
    .basicsize = sizeof(lp_call),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = call_slots,
};

/* Makes asyncio.iscoroutine() and create_task() accept a type. */
int lp_register_coroutine(PyTypeObject *type)
{
    PyObject *abc = PyImport_ImportModule("collections.abc");
    PyObject *base = abc ? PyObject_GetAttrString(abc, "Coroutine") : NULL;
    PyObject *done = base ? PyObject_CallMethod(base, "register", "O", type) : NULL;
    Py_XDECREF(done);
    Py_XDECREF(base);
    Py_XDECREF(abc);
    return done ? 0 : -1;
}

int lp_awaitable_init(PyObject *module, lp_state *st)
{
    st->call_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &call_spec, NULL);
    if (!st->call_type || lp_register_coroutine(st->call_type) < 0 || lp_ready_init(module, st) < 0)
        return -1;
    return PyModule_AddObjectRef(module, "Result", (PyObject *)st->call_type);
}
