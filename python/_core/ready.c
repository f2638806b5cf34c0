/* ready.c: an awaitable whose answer is there already.
 *
 * What __anext__() gives when the row is at hand: no loop, no request, nothing to cancel. It is never
 * part of a cycle for longer than an await, so the collector need not know it. */
#include "awaitable.h"

typedef struct ready {
    PyObject_HEAD PyObject *value;
} ready;

PyObject *lp_ready_new(lp_state *st, PyObject *value)
{
    ready *self = PyObject_New(ready, st->ready_type);
    if (!self) {
        Py_DECREF(value);
        return NULL;
    }
    self->value = value;
    return (PyObject *)self;
}

static void ready_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    Py_XDECREF(((ready *)op)->value);
    PyObject_Free(op);
    Py_DECREF(type);
}

static PySendResult ready_am_send(PyObject *op, PyObject *value, PyObject **ret)
{
    (void)value;
    ready *self = (ready *)op;
    *ret = self->value;
    self->value = NULL;
    if (*ret)
        return PYGEN_RETURN;
    PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited __anext__()");
    return PYGEN_ERROR;
}

static PyObject *ready_iternext(PyObject *op)
{
    PyObject *value;
    if (ready_am_send(op, Py_None, &value) == PYGEN_RETURN) {
        lp_stop_iteration(value);
        Py_DECREF(value);
    }
    return NULL;
}

static PyObject *ready_send(PyObject *op, PyObject *value)
{
    (void)value;
    return ready_iternext(op);
}

static PyObject *ready_throw(PyObject *op, PyObject *const *args, Py_ssize_t count)
{
    Py_CLEAR(((ready *)op)->value);
    PyObject *exc = lp_exception_of(args, count);
    if (exc)
        lp_exc_give(exc);
    return NULL;
}

static PyObject *ready_close(PyObject *op, PyObject *unused)
{
    (void)unused;
    Py_CLEAR(((ready *)op)->value);
    Py_RETURN_NONE;
}

static PyMethodDef ready_methods[] = {
    {"send", ready_send, METH_O, NULL},
    {"throw", (PyCFunction)(void (*)(void))ready_throw, METH_FASTCALL, NULL},
    {"close", ready_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot ready_slots[] = {
    {Py_tp_dealloc, ready_dealloc},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, ready_iternext},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, ready_am_send},
    {Py_tp_methods, ready_methods},
    {0, NULL},
};

static PyType_Spec ready_spec = {
    .name = "looplite._core._Ready",
    .basicsize = sizeof(ready),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = ready_slots,
};

int lp_ready_init(PyObject *module, lp_state *st)
{
    st->ready_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &ready_spec, NULL);
    return st->ready_type ? lp_register_coroutine(st->ready_type) : -1;
}
