/* delegate.c: a call whose work is done by a Python coroutine.
 *
 * Two things need it. Result(coroutine) is public in aiosqlite: methods of one's own are decorated with
 * context.contextmanager, which gives one. And the generic path (generic.c) does everything through
 * coroutines: a connector of one's own, a replaced _execute(). The call is what the program holds, so it is
 * the same Result on both paths, with the same `async with`; send(), throw() and close() go through. */
#include "awaitable.h"

#include "errors.h"

lp_step lp_delegate_to(lp_call *call, PyObject *awaitable)
{
    if (PyObject_HasAttrString(awaitable, "send")) {
        call->delegate = awaitable;
    } else {
        call->delegate = PyObject_CallMethod(awaitable, "__await__", NULL);
        Py_DECREF(awaitable);
    }
    return call->delegate ? LP_DELEGATE : LP_ERROR;
}

/* The coroutine returned `value`, whose reference is taken, or raised (NULL). */
static PySendResult ended(lp_call *call, PyObject *value, PyObject **ret)
{
    if (value) {
        *ret = lp_call_answer(call, value);
        return PYGEN_RETURN;
    }
    PyObject *exc = lp_exc_take();
    lp_call_over(call);
    lp_exc_give(exc);
    return PYGEN_ERROR;
}

PySendResult lp_delegate_send(lp_call *call, PyObject *value, PyObject **ret)
{
    PyObject *coroutine = Py_NewRef(call->delegate);
    PyObject *got = NULL;
    Py_INCREF((PyObject *)call);
    PySendResult sent = PyIter_Send(coroutine, value, &got);
    if (sent == PYGEN_NEXT)
        *ret = got;
    else if (call->phase == LP_DELEGATED)
        sent = ended(call, got, ret);
    else
        *ret = got; /* it was closed from inside */
    Py_DECREF(coroutine);
    Py_DECREF((PyObject *)call);
    return sent;
}

/* The value of the StopIteration that is set; NULL, and nothing changed, if it is something else. */
static PyObject *stop_value(void)
{
    if (!PyErr_ExceptionMatches(PyExc_StopIteration))
        return NULL;
    PyObject *exc = lp_exc_take();
    PyObject *value = PyObject_GetAttrString(exc, "value");
    Py_DECREF(exc);
    return value;
}

PyObject *lp_delegate_throw(lp_call *call, PyObject *exc)
{
    PyObject *coroutine = Py_NewRef(call->delegate);
    int cancelled = PyObject_IsInstance(exc, call->st->cancelled_error);
    PyObject *unknown = cancelled > 0 && !PyObject_HasAttr(exc, call->st->names.looplite_outcome)
                          ? PyUnicode_FromString("unknown")
                          : NULL;
    if (unknown && PyObject_SetAttr(exc, call->st->names.looplite_outcome, unknown) < 0)
        PyErr_Clear(); /* the cancellation counts more */
    Py_XDECREF(unknown);
    Py_INCREF((PyObject *)call);
    PyObject *got = PyObject_CallMethod(coroutine, "throw", "O", exc);
    Py_DECREF(exc);
    if (!got) {
        PyObject *value = stop_value(), *answer = NULL;
        if (call->phase == LP_DELEGATED && ended(call, value, &answer) == PYGEN_RETURN) {
            lp_stop_iteration(answer);
            Py_DECREF(answer);
        }
    }
    Py_DECREF(coroutine);
    Py_DECREF((PyObject *)call);
    return got;
}

int lp_delegate_close(lp_call *call)
{
    PyObject *coroutine = call->delegate;
    call->delegate = NULL;
    call->phase = LP_OVER;
    PyObject *closed = PyObject_CallMethod(coroutine, "close", NULL);
    Py_DECREF(coroutine);
    Py_XDECREF(closed);
    return closed ? 0 : -1;
}

static const lp_op op_result = {
    .name = "Result",
};

PyObject *lp_delegate_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char name[] = "coro";
    static char *names[] = {name, NULL};
    PyObject *coroutine;
    lp_state *st = lp_state_of(type);
    if (!st || !PyArg_ParseTupleAndKeywords(args, kwargs, "O:Result", names, &coroutine))
        return NULL;
    if (!PyObject_HasAttrString(coroutine, "send") || !PyObject_HasAttrString(coroutine, "throw")) {
        PyErr_Format(PyExc_TypeError, "Result() takes a coroutine, not '%s'",
                     Py_TYPE(coroutine)->tp_name);
        return NULL;
    }
    lp_call *call = (lp_call *)lp_call_new(st, &op_result, Py_None, NULL, NULL);
    if (call) {
        call->delegate = Py_NewRef(coroutine);
        call->phase = LP_DELEGATED;
    }
    return (PyObject *)call;
}
