/* capi_faults.h: every call of the extension into CPython that can fail, made to fail on request. Test builds only.
 *
 * With -Dcapi_faults=true compat.h includes this after Python's own headers: the name of each function below
 * becomes a macro that asks lp_capi_fault() first, which knows the place of the call (file and line), and
 * gives the function's own way to say "failed" without calling it when that place was armed. The
 * idea is apsw's and SQLite's: a path that handles a failure is worth what it was tested for.
 * tests/python/faults goes through all places that a scenario passes. A call that memory could fail in
 * practice only sets no exception, as its function does not.
 *
 * A call that cannot fail where it stands, say because its result is cached, is written (function)(arguments):
 * a name in brackets is no macro.
 *
 * Left out: what cannot fail, what has to undo something (PyContext_Exit), what is used inside of error
 * handling only, and macros of Python's date and time. */
#ifndef LP_CAPI_FAULTS_H
#define LP_CAPI_FAULTS_H

#include <stdbool.h>

/* Whether the call at this place fails now; the exception of the fault is set then. GIL. */
bool lp_capi_fault(const char *function, const char *file, int line);
/* The same for calls that set no exception and may come without the GIL. */
bool lp_capi_fault_bare(const char *function, const char *file, int line);

/* Adds the functions that arm and read the faults to the module. 0 or -1. */
int lp_capi_faults_init(PyObject *module);

#ifndef LP_CAPI_FAULTS_ITSELF

#    define LP_FAULTY(failed, name, ...) \
        (lp_capi_fault(#name, __FILE__, __LINE__) ? (failed) : name(__VA_ARGS__))
#    define LP_FAULTY_BARE(name, ...) \
        (lp_capi_fault_bare(#name, __FILE__, __LINE__) ? NULL : name(__VA_ARGS__))

/* Until 3.12 these were object-like macros for functions with another name. */
#    if PY_VERSION_HEX < 0x030D0000
#        undef PyArg_ParseTuple
#        undef PyArg_ParseTupleAndKeywords
#        undef PyObject_CallFunction
#        undef PyObject_CallMethod
#        undef Py_BuildValue
#        define PyArg_ParseTuple(...) LP_FAULTY(0, _PyArg_ParseTuple_SizeT, __VA_ARGS__)
#        define PyArg_ParseTupleAndKeywords(...) \
            LP_FAULTY(0, _PyArg_ParseTupleAndKeywords_SizeT, __VA_ARGS__)
#        define PyObject_CallFunction(...) \
            LP_FAULTY(NULL, _PyObject_CallFunction_SizeT, __VA_ARGS__)
#        define PyObject_CallMethod(...) LP_FAULTY(NULL, _PyObject_CallMethod_SizeT, __VA_ARGS__)
#        define Py_BuildValue(...)       LP_FAULTY(NULL, _Py_BuildValue_SizeT, __VA_ARGS__)
#    else
#        define PyArg_ParseTuple(...) LP_FAULTY(0, PyArg_ParseTuple, __VA_ARGS__)
#        define PyArg_ParseTupleAndKeywords(...) \
            LP_FAULTY(0, PyArg_ParseTupleAndKeywords, __VA_ARGS__)
#        define PyObject_CallFunction(...) LP_FAULTY(NULL, PyObject_CallFunction, __VA_ARGS__)
#        define PyObject_CallMethod(...)   LP_FAULTY(NULL, PyObject_CallMethod, __VA_ARGS__)
#        define Py_BuildValue(...)         LP_FAULTY(NULL, Py_BuildValue, __VA_ARGS__)
#    endif

/* A new reference or a pointer, or NULL. */
#    define PyBytes_FromFormat(...)        LP_FAULTY(NULL, PyBytes_FromFormat, __VA_ARGS__)
#    define PyBytes_FromString(...)        LP_FAULTY(NULL, PyBytes_FromString, __VA_ARGS__)
#    define PyBytes_FromStringAndSize(...) LP_FAULTY(NULL, PyBytes_FromStringAndSize, __VA_ARGS__)
#    define PyByteArray_FromStringAndSize(...) \
        LP_FAULTY(NULL, PyByteArray_FromStringAndSize, __VA_ARGS__)
#    undef PyCFunction_New
#    define PyCFunction_New(definition, self) \
        LP_FAULTY(NULL, PyCFunction_NewEx, definition, self, NULL)
#    define PyCapsule_New(...)           LP_FAULTY(NULL, PyCapsule_New, __VA_ARGS__)
#    define PyContextVar_New(...)        LP_FAULTY(NULL, PyContextVar_New, __VA_ARGS__)
#    define PyContextVar_Set(...)        LP_FAULTY(NULL, PyContextVar_Set, __VA_ARGS__)
#    define PyContext_CopyCurrent(...)   LP_FAULTY(NULL, PyContext_CopyCurrent, __VA_ARGS__)
#    define PyDescr_NewGetSet(...)       LP_FAULTY(NULL, PyDescr_NewGetSet, __VA_ARGS__)
#    define PyDescr_NewMethod(...)       LP_FAULTY(NULL, PyDescr_NewMethod, __VA_ARGS__)
#    define PyDict_Copy(...)             LP_FAULTY(NULL, PyDict_Copy, __VA_ARGS__)
#    define PyDict_GetItemWithError(...) LP_FAULTY(NULL, PyDict_GetItemWithError, __VA_ARGS__)
#    define PyDict_New(...)              LP_FAULTY(NULL, PyDict_New, __VA_ARGS__)
#    define PyDict_Values(...)           LP_FAULTY(NULL, PyDict_Values, __VA_ARGS__)
#    define PyFloat_FromDouble(...)      LP_FAULTY(NULL, PyFloat_FromDouble, __VA_ARGS__)
#    define PyImport_ImportModule(...)   LP_FAULTY(NULL, PyImport_ImportModule, __VA_ARGS__)
#    define PyIter_Next(...)             LP_FAULTY(NULL, PyIter_Next, __VA_ARGS__)
#    define PyList_AsTuple(...)          LP_FAULTY(NULL, PyList_AsTuple, __VA_ARGS__)
#    define PyList_New(...)              LP_FAULTY(NULL, PyList_New, __VA_ARGS__)
#    define PyLong_FromLong(...)         LP_FAULTY(NULL, PyLong_FromLong, __VA_ARGS__)
#    define PyLong_FromLongLong(...)     LP_FAULTY(NULL, PyLong_FromLongLong, __VA_ARGS__)
#    define PyLong_FromSize_t(...)       LP_FAULTY(NULL, PyLong_FromSize_t, __VA_ARGS__)
#    define PyLong_FromSsize_t(...)      LP_FAULTY(NULL, PyLong_FromSsize_t, __VA_ARGS__)
#    define PyLong_FromString(...)       LP_FAULTY(NULL, PyLong_FromString, __VA_ARGS__)
#    define PyLong_FromUnsignedLongLong(...) \
        LP_FAULTY(NULL, PyLong_FromUnsignedLongLong, __VA_ARGS__)
#    define PyLong_FromVoidPtr(...) LP_FAULTY(NULL, PyLong_FromVoidPtr, __VA_ARGS__)
#    define PyMapping_Items(...)    LP_FAULTY(NULL, PyMapping_Items, __VA_ARGS__)
#    define PyMethod_New(...)       LP_FAULTY(NULL, PyMethod_New, __VA_ARGS__)
#    define PyObject_Call(...)      LP_FAULTY(NULL, PyObject_Call, __VA_ARGS__)
#    define PyObject_CallFunctionObjArgs(...) \
        LP_FAULTY(NULL, PyObject_CallFunctionObjArgs, __VA_ARGS__)
#    define PyObject_CallMethodNoArgs(...) LP_FAULTY(NULL, PyObject_CallMethodNoArgs, __VA_ARGS__)
#    define PyObject_CallMethodOneArg(...) LP_FAULTY(NULL, PyObject_CallMethodOneArg, __VA_ARGS__)
#    define PyObject_CallNoArgs(...)       LP_FAULTY(NULL, PyObject_CallNoArgs, __VA_ARGS__)
#    define PyObject_CallOneArg(...)       LP_FAULTY(NULL, PyObject_CallOneArg, __VA_ARGS__)
#    define PyObject_GetAttr(...)          LP_FAULTY(NULL, PyObject_GetAttr, __VA_ARGS__)
#    define PyObject_GetAttrString(...)    LP_FAULTY(NULL, PyObject_GetAttrString, __VA_ARGS__)
#    define PyObject_GetItem(...)          LP_FAULTY(NULL, PyObject_GetItem, __VA_ARGS__)
#    define PyObject_GetIter(...)          LP_FAULTY(NULL, PyObject_GetIter, __VA_ARGS__)
#    define PyObject_Repr(...)             LP_FAULTY(NULL, PyObject_Repr, __VA_ARGS__)
#    define PyObject_Str(...)              LP_FAULTY(NULL, PyObject_Str, __VA_ARGS__)
#    define PyObject_Vectorcall(...)       LP_FAULTY(NULL, PyObject_Vectorcall, __VA_ARGS__)
#    define PySequence_Concat(...)         LP_FAULTY(NULL, PySequence_Concat, __VA_ARGS__)
#    define PySequence_Fast(...)           LP_FAULTY(NULL, PySequence_Fast, __VA_ARGS__)
#    define PySequence_GetItem(...)        LP_FAULTY(NULL, PySequence_GetItem, __VA_ARGS__)
#    define PySequence_List(...)           LP_FAULTY(NULL, PySequence_List, __VA_ARGS__)
#    define PyStructSequence_New(...)      LP_FAULTY(NULL, PyStructSequence_New, __VA_ARGS__)
#    define PyTimeZone_FromOffset(...)     LP_FAULTY(NULL, PyTimeZone_FromOffset, __VA_ARGS__)
#    define PyTuple_GetSlice(...)          LP_FAULTY(NULL, PyTuple_GetSlice, __VA_ARGS__)
#    define PyTuple_New(...)               LP_FAULTY(NULL, PyTuple_New, __VA_ARGS__)
#    define PyTuple_Pack(...)              LP_FAULTY(NULL, PyTuple_Pack, __VA_ARGS__)
#    define PyType_FromModuleAndSpec(...)  LP_FAULTY(NULL, PyType_FromModuleAndSpec, __VA_ARGS__)
#    define PyUnicode_AsUTF8(...)          LP_FAULTY(NULL, PyUnicode_AsUTF8, __VA_ARGS__)
#    define PyUnicode_AsUTF8AndSize(...)   LP_FAULTY(NULL, PyUnicode_AsUTF8AndSize, __VA_ARGS__)
#    define PyUnicode_DecodeASCII(...)     LP_FAULTY(NULL, PyUnicode_DecodeASCII, __VA_ARGS__)
#    define PyUnicode_DecodeFSDefaultAndSize(...) \
        LP_FAULTY(NULL, PyUnicode_DecodeFSDefaultAndSize, __VA_ARGS__)
#    define PyUnicode_DecodeUTF8(...)       LP_FAULTY(NULL, PyUnicode_DecodeUTF8, __VA_ARGS__)
#    define PyUnicode_FromFormat(...)       LP_FAULTY(NULL, PyUnicode_FromFormat, __VA_ARGS__)
#    define PyUnicode_FromString(...)       LP_FAULTY(NULL, PyUnicode_FromString, __VA_ARGS__)
#    define PyUnicode_InternFromString(...) LP_FAULTY(NULL, PyUnicode_InternFromString, __VA_ARGS__)
#    define PyUnicode_Join(...)             LP_FAULTY(NULL, PyUnicode_Join, __VA_ARGS__)
#    define PyUnicode_New(...)              LP_FAULTY(NULL, PyUnicode_New, __VA_ARGS__)
#    define PyUnicode_Replace(...)          LP_FAULTY(NULL, PyUnicode_Replace, __VA_ARGS__)
#    define PyWeakref_NewRef(...)           LP_FAULTY(NULL, PyWeakref_NewRef, __VA_ARGS__)

/* 0 or more, or -1. */
#    define PyContextVar_Get(...)           LP_FAULTY(-1, PyContextVar_Get, __VA_ARGS__)
#    define PyContextVar_Reset(...)         LP_FAULTY(-1, PyContextVar_Reset, __VA_ARGS__)
#    define PyContext_Enter(...)            LP_FAULTY(-1, PyContext_Enter, __VA_ARGS__)
#    define PyDict_Contains(...)            LP_FAULTY(-1, PyDict_Contains, __VA_ARGS__)
#    define PyDict_DelItem(...)             LP_FAULTY(-1, PyDict_DelItem, __VA_ARGS__)
#    define PyDict_SetItem(...)             LP_FAULTY(-1, PyDict_SetItem, __VA_ARGS__)
#    define PyDict_SetItemString(...)       LP_FAULTY(-1, PyDict_SetItemString, __VA_ARGS__)
#    define PyErr_ResourceWarning(...)      LP_FAULTY(-1, PyErr_ResourceWarning, __VA_ARGS__)
#    define PyErr_WarnEx(...)               LP_FAULTY(-1, PyErr_WarnEx, __VA_ARGS__)
#    define PyErr_WarnFormat(...)           LP_FAULTY(-1, PyErr_WarnFormat, __VA_ARGS__)
#    define PyFloat_AsDouble(...)           LP_FAULTY(-1, PyFloat_AsDouble, __VA_ARGS__)
#    define PyList_Append(...)              LP_FAULTY(-1, PyList_Append, __VA_ARGS__)
#    define PyList_SetSlice(...)            LP_FAULTY(-1, PyList_SetSlice, __VA_ARGS__)
#    define PyLong_AsLong(...)              LP_FAULTY(-1, PyLong_AsLong, __VA_ARGS__)
#    define PyLong_AsSsize_t(...)           LP_FAULTY(-1, PyLong_AsSsize_t, __VA_ARGS__)
#    define PyModule_AddFunctions(...)      LP_FAULTY(-1, PyModule_AddFunctions, __VA_ARGS__)
#    define PyModule_AddObjectRef(...)      LP_FAULTY(-1, PyModule_AddObjectRef, __VA_ARGS__)
#    define PyModule_AddStringConstant(...) LP_FAULTY(-1, PyModule_AddStringConstant, __VA_ARGS__)
#    define PyNumber_AsSsize_t(...)         LP_FAULTY(-1, PyNumber_AsSsize_t, __VA_ARGS__)
#    define PyObject_GetBuffer(...)         LP_FAULTY(-1, PyObject_GetBuffer, __VA_ARGS__)
#    define PyObject_IsInstance(...)        LP_FAULTY(-1, PyObject_IsInstance, __VA_ARGS__)
#    define PyObject_IsTrue(...)            LP_FAULTY(-1, PyObject_IsTrue, __VA_ARGS__)
#    define PyObject_RichCompareBool(...)   LP_FAULTY(-1, PyObject_RichCompareBool, __VA_ARGS__)
#    define PyObject_SetAttr(...)           LP_FAULTY(-1, PyObject_SetAttr, __VA_ARGS__)
#    define PyObject_SetAttrString(...)     LP_FAULTY(-1, PyObject_SetAttrString, __VA_ARGS__)
#    define PyObject_Size(...)              LP_FAULTY(-1, PyObject_Size, __VA_ARGS__)
#    define PySequence_Size(...)            LP_FAULTY(-1, PySequence_Size, __VA_ARGS__)
#    define PyUnicode_Compare(...)          LP_FAULTY(-1, PyUnicode_Compare, __VA_ARGS__)
#    define PyIter_Send(...)                LP_FAULTY(PYGEN_ERROR, PyIter_Send, __VA_ARGS__)
#    define PyUnicode_FSConverter(...)      LP_FAULTY(0, PyUnicode_FSConverter, __VA_ARGS__)

/* Memory, or NULL without an exception. */
#    define PyMem_Calloc(...)     LP_FAULTY_BARE(PyMem_Calloc, __VA_ARGS__)
#    define PyMem_Malloc(...)     LP_FAULTY_BARE(PyMem_Malloc, __VA_ARGS__)
#    define PyMem_RawCalloc(...)  LP_FAULTY_BARE(PyMem_RawCalloc, __VA_ARGS__)
#    define PyMem_RawMalloc(...)  LP_FAULTY_BARE(PyMem_RawMalloc, __VA_ARGS__)
#    define PyMem_RawRealloc(...) LP_FAULTY_BARE(PyMem_RawRealloc, __VA_ARGS__)
#    define PyMem_Realloc(...)    LP_FAULTY_BARE(PyMem_Realloc, __VA_ARGS__)

/* Ours: a new object of a type (compat.h). */
#    define lp_new(...) LP_FAULTY(NULL, lp_new, __VA_ARGS__)

#endif /* LP_CAPI_FAULTS_ITSELF */
#endif
