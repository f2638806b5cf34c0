/* compat.h: what differs between CPython 3.10 and 3.14, in one place. */
#ifndef LP_COMPAT_H
#define LP_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stddef.h>
#include <structmember.h>

#if PY_VERSION_HEX < 0x030A0000
#    error "looplite needs CPython 3.10 or newer"
#endif

/* Slots of the module that say what it supports. Neither subinterpreters nor free threading have
 * been tested yet, so both are refused by name instead of crashing one day. */
#if PY_VERSION_HEX >= 0x030C0000
#    define LP_SLOT_INTERPRETERS \
        {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#else
#    define LP_SLOT_INTERPRETERS
#endif
#if PY_VERSION_HEX >= 0x030D0000
#    define LP_SLOT_GIL {Py_mod_gil, Py_MOD_GIL_USED},
#else
#    define LP_SLOT_GIL
#endif

#define LP_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Whether this thread has the GIL. (PyGILState_Check() says yes without looking once a subinterpreter was made.) */
static inline bool lp_has_gil(void)
{
    const PyThreadState *own = PyGILState_GetThisThreadState();
#if PY_VERSION_HEX >= 0x030D0000
    return own && own == PyThreadState_GetUnchecked();
#else
    return own && own == _PyThreadState_UncheckedGet();
#endif
}

/* Takes the exception that is set, normalised; NULL when none is. */
static inline PyObject *lp_exc_take(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (!type)
        return NULL;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(traceback);
    Py_DECREF(type);
    return value;
#endif
}

/* Sets an exception that lp_exc_take() gave; takes the reference. */
static inline void lp_exc_give(PyObject *exc)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(exc);
#else
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exc)), exc, PyException_GetTraceback(exc));
#endif
}

/* The object a weak reference points to, as a new reference; NULL when it is gone. */
static inline PyObject *lp_weakref_get(PyObject *ref)
{
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *object = NULL;
    if (PyWeakref_GetRef(ref, &object) < 0)
        PyErr_Clear();
    return object;
#else
    PyObject *object = PyWeakref_GetObject(ref);
    return object && object != Py_None ? Py_NewRef(object) : NULL;
#endif
}

/* The module that a type, or the nearest of its bases, was made by; NULL with an exception. Borrowed.
 * (PyType_GetModuleByDef() came with 3.11.) */
static inline PyObject *lp_type_module(PyTypeObject *type, struct PyModuleDef *def)
{
#if PY_VERSION_HEX >= 0x030B0000
    return PyType_GetModuleByDef(type, def);
#else
    PyObject *mro = type->tp_mro;
    for (Py_ssize_t i = 0; mro && i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        if (!PyType_HasFeature(base, Py_TPFLAGS_HEAPTYPE))
            continue;
        PyObject *module = ((PyHeapTypeObject *)base)->ht_module;
        if (module && PyModule_GetDef(module) == def)
            return module;
    }
    PyErr_Format(PyExc_TypeError, "%s is not a type of looplite", type->tp_name);
    return NULL;
#endif
}

/* A new object of a type of ours or one derived from it. */
static inline PyObject *lp_new(PyTypeObject *type)
{
    return type->tp_alloc(type, 0);
}

#if defined(LP_CAPI_FAULTS) && LP_CAPI_FAULTS
#    include "capi_faults.h"
#endif

#endif
