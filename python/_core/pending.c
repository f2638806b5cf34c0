/* pending.c: the requests behind calls: how they are submitted, the lists of those in flight, and their end.
 *
 * A call whose request was accepted is in its loop's list, which holds a reference until the callback. It owns
 * the memory that the worker reads, so nothing may free it earlier: not the task, not the garbage collector,
 * not the end of the loop. When a loop goes, its calls become orphans: nobody is told any more, and they are
 * let go when a sweep finds that their requests have finished. */
#include "awaitable.h"

#include "errors.h"
#include "hook.h"
#include "trio.h"

/* ---- lists of calls ---------------------------------------------------------------------------- */

static void link_call(lp_call *call, lp_call **list)
{
    Py_INCREF((PyObject *)call);
    call->list = list;
    call->previous = NULL;
    call->next = *list;
    if (*list)
        (*list)->previous = call;
    *list = call;
}

/* Takes a call out of its list; the caller owns the list's reference. */
static void unlink_call(lp_call *call)
{
    if (call->previous)
        call->previous->next = call->next;
    else
        *call->list = call->next;
    if (call->next)
        call->next->previous = call->previous;
    call->list = NULL;
    call->previous = call->next = NULL;
}

void lp_calls_orphan(lp_state *st, lp_call **list)
{
    while (*list) {
        lp_call *call = *list;
        unlink_call(call);
        if (!(call->op->flags & LP_OP_SHIELD) && ll_request_cancel(call->request) < 0)
            continue; /* a fork: the memory is never given back */
        call->phase = LP_OVER;
        Py_CLEAR(call->future);
        Py_CLEAR(call->trap);
        Py_CLEAR(call->hook); /* there is no loop to be told on */
        if (call->op->cancelled)
            call->op->cancelled(call);
        link_call(call, &st->orphans);
        Py_DECREF((PyObject *)call);
    }
}

void lp_calls_sweep(lp_call **orphans)
{
    for (lp_call *call = *orphans; call;) {
        lp_call *next = call->next;
        if (ll_request_is_done(call->request)) {
            unlink_call(call);
            Py_DECREF((PyObject *)call); /* may run Python, which may sweep: start anew */
            next = *orphans;
        }
        call = next;
    }
}

/* ---- requests ---------------------------------------------------------------------------------- */

/* The request has finished: notes how, and lets the op note the rest. */
static void settle(lp_call *call)
{
    call->finished = true;
    call->status = ll_request_status(call->request);
    call->outcome = ll_request_outcome(call->request);
    if (call->op->record)
        call->op->record(call);
}

/* Lets the task go on that waits for the call. */
static void resolve(lp_call *call)
{
    if (call->trap) {
        lp_trio_wake(call);
        return;
    }
    PyObject *future = call->future;
    call->future = NULL;
    if (!future)
        return;
    PyObject *set = PyObject_CallMethodOneArg(future, call->st->names.set_result, Py_None);
    /* Without memory it may succeed a moment later, and nobody else would wake the task. A future that is done
     * refuses: its task was cancelled a moment ago, and throw() is on its way. */
    for (int more = 2; !set && more > 0 && PyErr_ExceptionMatches(PyExc_MemoryError); more--) {
        PyErr_Clear();
        set = PyObject_CallMethodOneArg(future, call->st->names.set_result, Py_None);
    }
    if (!set && PyErr_ExceptionMatches(PyExc_MemoryError))
        PyErr_WriteUnraisable(future);
    PyErr_Clear();
    Py_XDECREF(set);
    Py_DECREF(future);
}

void lp_call_wake(lp_call *call)
{
    if (call->phase != LP_WAITING || call->list)
        return;
    call->finished = true;
    call->status = LL_OK;
    resolve(call);
}

lp_step lp_call_wait(lp_call *call)
{
    ll_request_unref(call->request);
    call->request = NULL;
    call->finished = false;
    return LP_WAIT;
}

/* ll_done_fn: from dispatch, on the loop's thread, with the GIL. */
static void on_done(ll_request *request, void *user)
{
    (void)request;
    lp_call *call = user;
    unlink_call(call);
    settle(call);
    resolve(call);
    if (LP_UNLIKELY(call->hook != NULL))
        lp_hook_tell(call);
    Py_DECREF((PyObject *)call);
}

int lp_call_how(lp_call *call, unsigned flags, ll_submit *ret_how)
{
    if (lp_loop_watch(call->loop) < 0)
        return -1;
    ll_request_unref(call->request);
    call->request = NULL;
    call->finished = false;
    *ret_how = (ll_submit){
        .done = on_done,
        .user = call,
        .engine = call->loop->engine,
        .flags = flags | (call->op->flags & LP_OP_SHIELD ? LL_SUBMIT_SHIELD : 0),
    };
    return 0;
}

lp_step lp_call_submitted(lp_call *call, ll_status status)
{
    if (status == LL_PENDING) {
        link_call(call, &call->loop->pending);
        /* A callback waits for the GIL until it is there. */
        if (call->st->has_callbacks && !call->context && !(call->context = PyContext_CopyCurrent()))
            PyErr_Clear();
        if (LP_UNLIKELY(call->hook != NULL))
            lp_hook_keep_context(call);
        return LP_WAIT;
    }
    if (status == LL_OK) {
        settle(call);
        if (LP_UNLIKELY(call->hook != NULL))
            lp_hook_tell(call);
        return LP_AGAIN;
    }
    Py_CLEAR(call->hook); /* nothing was run */
    lp_raise_refused(call->st, status);
    return LP_ERROR;
}

int lp_call_check(lp_call *call)
{
    if (!call->finished || call->status >= 0)
        return 0;
    lp_raise_request(call->st, call->request, &call->params);
    return -1;
}
