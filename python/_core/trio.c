/* trio.c: waiting as trio wants it.
 *
 * Under asyncio a call yields a future. trio's tasks yield messages to its scheduler, which only its own
 * functions make; so a call that has to wait there makes the coroutine of such a function and drives it:
 *
 *     user's task -> await call -> lp_call -> trap: wait_task_rescheduled(abort)    for an answer
 *                                             trap: checkpoint()                    in place of a turn's yield
 *                                             trap: checkpoint_if_cancelled()       after what happens all the same
 *
 * call->trap is that coroutine, call->future the task to be rescheduled. What trio sends goes into the trap first; when
 * it returns the call goes on as under asyncio (awaitable.c), when it raises the call is given up.
 *
 * Cancellation follows the table of awaitable.c. trio tells of it by calling `abort`:
 *   - a request of its own is in flight: it is cancelled (unless it is a commit, rollback or close), the task waits on,
 *     and when it is known what became of the statement, raise_cancel() makes the exception (call->thrown holds it);
 *   - there is none (it stands behind another fetch), or nobody waits for it (connect): the wait ends at once.
 * A call that is begun under a cancellation which is pending does not begin: that is the checkpoint that trio demands of
 * each await. commit, rollback and close are done all the same, and the cancellation is raised afterwards.
 *
 * The engine of a trio run is dispatched by a system task of that run (looplite._trio.Host); in the run's last moments,
 * when it takes no system tasks any more, by the helper thread (helper.c) through TrioToken.run_sync_soon().
 *
 * trio as a guest of asyncio: both run in one thread, and the engine is that of the asyncio loop. Only the waiting
 * differs, so who awaits is asked when a call has to wait, not before: where trio was never imported that is one
 * look into a dictionary. */
#include "trio.h"

/* ---- what is used of trio ---------------------------------------------------------------------- */

/* 1: loaded; 0: nobody has imported trio. */
static int load(lp_state *st)
{
    if (st->trio.Host)
        return 1;
    PyObject *modules = PyImport_GetModuleDict();
    if (!PyDict_GetItemWithError(modules, st->names.trio)) {
        PyErr_Clear();
        return 0;
    }
    PyObject *module = PyImport_ImportModule("looplite._trio");
    int rc = module ? 1 : 0;
#define X(name)                                                                           \
    if (rc && !st->trio.name && !(st->trio.name = PyObject_GetAttrString(module, #name))) \
        rc = 0;
    LP_TRIO(X)
#undef X
    Py_XDECREF(module);
    if (!rc) /* some other module of that name, or one that is being imported at this moment */
        PyErr_Clear();
    return rc;
}

bool lp_trio_token(lp_state *st, PyObject **loop)
{
    if (!load(st))
        return false;
    PyObject *token = PyObject_CallNoArgs(st->trio.current_trio_token);
    if (!token) {
        PyErr_Clear(); /* RuntimeError: not in a run */
        return false;
    }
    Py_SETREF(*loop, token);
    return true;
}

PyObject *lp_trio_host(PyObject *entry, PyObject *token)
{
    PyObject *lost = PyObject_GetAttrString(entry, "_unwatched");
    PyObject *host = lost ? PyObject_CallFunctionObjArgs(((lp_loop *)entry)->st->trio.Host, token,
                                                         lost, NULL)
                          : NULL;
    Py_XDECREF(lost);
    return host;
}

bool lp_trio_awaits(lp_call *call)
{
    if (call->loop->host)
        return true;
    if (!load(call->st))
        return false;
    PyObject *guest = PyObject_CallNoArgs(call->st->trio.is_guest_task);
    bool is = guest == Py_True;
    PyErr_Clear();
    Py_XDECREF(guest);
    return is;
}

bool lp_trio_is_cancelled(lp_call *call)
{
    PyObject *deadline = PyObject_CallNoArgs(call->st->trio.current_effective_deadline);
    bool is = deadline && PyFloat_Check(deadline) && PyFloat_AS_DOUBLE(deadline) == -Py_HUGE_VAL;
    PyErr_Clear(); /* not in a task: it will be said when it waits */
    Py_XDECREF(deadline);
    return is;
}

/* ---- suspending -------------------------------------------------------------------------------- */

/* Enters a coroutine of trio's, whose reference it takes. */
static PyObject *enter(lp_call *call, PyObject *trap)
{
    PyObject *message = NULL;
    if (!trap)
        return NULL;
    PySendResult sent = PyIter_Send(trap, Py_None, &message);
    if (sent == PYGEN_NEXT) {
        call->uncommon = true;
        Py_XSETREF(call->trap, trap);
        return message;
    }
    Py_DECREF(trap);
    if (sent ==
        PYGEN_RETURN) { /* nothing to wait for: trio's functions used here never say so but one */
        Py_DECREF(message);
        PyErr_SetString(PyExc_RuntimeError, "trio did not suspend the task");
    }
    return NULL;
}

/* abort_fn of trio.lowlevel.wait_task_rescheduled(). */
static PyObject *abort_wait(PyObject *op, PyObject *raise_cancel)
{
    lp_call *call = (lp_call *)op;
    lp_state *st = call->st;
    bool shielded = (call->op->flags & LP_OP_SHIELD) != 0;
    if (!call->list || (call->op->flags & LP_OP_DETACH) ||
        (!shielded && ll_request_cancel(call->request) < 0)) {
        Py_CLEAR(call->future); /* trio reschedules it itself */
        return Py_NewRef(st->trio.SUCCEEDED);
    }
    Py_XSETREF(call->thrown, Py_NewRef(raise_cancel));
    return Py_NewRef(st->trio.FAILED);
}

static PyMethodDef abort_def = {"abort", abort_wait, METH_O, NULL};

PyObject *lp_trio_wait(lp_call *call)
{
    lp_state *st = call->st;
    PyObject *task = PyObject_CallNoArgs(st->trio.current_task);
    PyObject *abort = task ? PyCFunction_New(&abort_def, (PyObject *)call) : NULL;
    PyObject *message = abort
                          ? enter(call, PyObject_CallOneArg(st->trio.wait_task_rescheduled, abort))
                          : NULL;
    Py_XDECREF(abort);
    if (message) {
        Py_XSETREF(call->future, Py_NewRef(task));
        call->phase = LP_WAITING;
    }
    Py_XDECREF(task);
    return message;
}

PyObject *lp_trio_checkpoint(lp_call *call)
{
    bool shielded = (call->op->flags & (LP_OP_SHIELD | LP_OP_DETACH)) == LP_OP_SHIELD;
    return enter(call, PyObject_CallNoArgs(shielded ? call->st->trio.cancel_shielded_checkpoint
                                                    : call->st->trio.checkpoint));
}

PyObject *lp_trio_deliver(lp_call *call)
{
    return enter(call, PyObject_CallNoArgs(call->st->trio.checkpoint));
}

void lp_trio_wake(lp_call *call)
{
    lp_state *st = call->st;
    PyObject *task = call->future;
    call->future = NULL;
    if (!task)
        return;
    /* From inside the run; a guest's task is woken from a callback of its host. */
    PyObject *how = call->loop->host ? st->trio.reschedule : st->trio.reschedule_guest;
    PyObject *done = PyObject_CallOneArg(how, task);
    if (!done)
        PyErr_WriteUnraisable((PyObject *)call);
    Py_XDECREF(done);
    Py_DECREF(task);
}

/* ---- resuming ---------------------------------------------------------------------------------- */

PySendResult lp_trio_resume(lp_call *call, PyObject *value, PyObject **ret, bool *ret_raised)
{
    *ret_raised = false;
    if (!value || value == Py_None) { /* trio always sends something */
        PyErr_Format(PyExc_RuntimeError, "%s() is being awaited already", call->op->name);
        return PYGEN_ERROR;
    }
    PyObject *trap = call->trap;
    call->trap = NULL;
    PySendResult sent = PyIter_Send(trap, value, ret);
    if (sent == PYGEN_NEXT) { /* a checkpoint that has more to say */
        call->trap = trap;
        return sent;
    }
    Py_DECREF(trap);
    if (sent == PYGEN_RETURN)
        Py_CLEAR(*ret);
    else
        *ret_raised = true;
    return sent;
}

/* (anyio's scopes name themselves in the text.) */
bool lp_is_repeated(PyObject *first, PyObject *exc)
{
    PyObject *texts[2] = {NULL, NULL};
    PyObject *both[2] = {first, exc};
    for (int i = 0; i < 2; i++) {
        if (!PyExceptionInstance_Check(both[i]))
            return false;
        PyObject *args = ((PyBaseExceptionObject *)both[i])->args;
        if (args && PyTuple_GET_SIZE(args) == 1 && PyUnicode_Check(PyTuple_GET_ITEM(args, 0)))
            texts[i] = PyTuple_GET_ITEM(args, 0);
    }
    if (!texts[0] || !texts[1] || PyUnicode_Compare(texts[0], texts[1]) != 0)
        return false;
    const char *text = PyUnicode_AsUTF8(texts[0]);
    PyErr_Clear();
    return text && strncmp(text, "Cancelled ", 10) == 0 && strstr(text, " cancel scope ");
}

PyObject *lp_trio_raised(PyObject *raise_cancel)
{
    PyObject *nothing = PyObject_CallNoArgs(raise_cancel);
    Py_DECREF(raise_cancel);
    if (nothing) {
        Py_DECREF(nothing);
        PyErr_SetString(PyExc_RuntimeError, "trio raised no cancellation");
    }
    return lp_exc_take();
}
