/* method.c: methods that pass for coroutine functions.
 *
 * A mock with a spec (AsyncMock(spec=aiosqlite.Connection), very common in tests of applications) asks
 * iscoroutinefunction() of each attribute of the class, and makes an awaitable mock of those that pass. A
 * method of a C type does not: it has no code object. So the methods that are plain `async def` in
 * aiosqlite are objects of a type of their own, which looks like a function to inspect: __code__ (marked as
 * a coroutine's), __defaults__, __kwdefaults__ and __annotations__ are those of a namesake in
 * looplite._signatures. inspect accepts such a duck in every version from 3.10 on, and takes the signature
 * from it too. Methods that give a Result (execute, cursor, ...) stay plain, as they are no coroutine
 * functions there either.
 *
 * Py_TPFLAGS_METHOD_DESCRIPTOR and vectorcall: `conn.commit()` makes no bound method. Bound by hand it is a
 * types.MethodType, through which inspect looks. */
#include "method.h"

typedef struct method {
    PyObject_HEAD
    vectorcallfunc call;
    const PyMethodDef *def; /* of a static table */
    PyTypeObject *owner;    /* the class it is a method of */
    PyObject *qualname;
    PyObject *function; /* the namesake: code, defaults, annotations */
} method;

/* ---- calls ------------------------------------------------------------------------------------- */

/* METH_VARARGS | METH_KEYWORDS */
static PyObject *call_with_tuple(PyCFunction function, PyObject *const *args, Py_ssize_t count,
                                 PyObject *keywords)
{
    PyObject *tuple = PyTuple_New(count - 1), *dict = NULL, *result = NULL;
    Py_ssize_t named = keywords ? PyTuple_GET_SIZE(keywords) : 0;
    if (!tuple || (named > 0 && !(dict = PyDict_New())))
        goto out;
    for (Py_ssize_t i = 1; i < count; i++)
        PyTuple_SET_ITEM(tuple, i - 1, Py_NewRef(args[i]));
    for (Py_ssize_t i = 0; i < named; i++)
        if (PyDict_SetItem(dict, PyTuple_GET_ITEM(keywords, i), args[count + i]) < 0)
            goto out;
    result = ((PyCFunctionWithKeywords)(void (*)(void))function)(args[0], tuple, dict);
out:
    Py_XDECREF(tuple);
    Py_XDECREF(dict);
    return result;
}

static PyObject *method_vectorcall(PyObject *op, PyObject *const *args, size_t flags,
                                   PyObject *keywords)
{
    const method *self = (method *)op;
    Py_ssize_t count = PyVectorcall_NARGS(flags);
    if (count < 1 || !PyObject_TypeCheck(args[0], self->owner)) {
        if (count < 1)
            PyErr_Format(PyExc_TypeError, "unbound method %U() needs an argument", self->qualname);
        else
            PyErr_Format(PyExc_TypeError, "%U() is a method of %s objects, not of '%s'",
                         self->qualname, self->owner->tp_name, Py_TYPE(args[0])->tp_name);
        return NULL;
    }
    PyCFunction function = self->def->ml_meth;
    if (self->def->ml_flags == METH_NOARGS) {
        if (count > 1 || (keywords && PyTuple_GET_SIZE(keywords) > 0)) {
            PyErr_Format(PyExc_TypeError, "%U() takes no arguments", self->qualname);
            return NULL;
        }
        return function(args[0], NULL);
    }
    if (self->def->ml_flags & METH_VARARGS)
        return call_with_tuple(function, args, count, keywords);
    if (self->def->ml_flags & METH_KEYWORDS)
        return ((_PyCFunctionFastWithKeywords)(void (*)(void))function)(args[0], args + 1,
                                                                        count - 1, keywords);
    if (keywords && PyTuple_GET_SIZE(keywords) > 0) {
        PyErr_Format(PyExc_TypeError, "%U() takes no keyword arguments", self->qualname);
        return NULL;
    }
    return ((_PyCFunctionFast)(void (*)(void))function)(args[0], args + 1, count - 1);
}

static PyObject *method_get(PyObject *op, PyObject *instance, PyObject *type)
{
    (void)type;
    return instance ? PyMethod_New(op, instance) : Py_NewRef(op);
}

/* ---- attributes -------------------------------------------------------------------------------- */

static PyObject *get_name(PyObject *op, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(((method *)op)->def->ml_name);
}

static PyObject *get_doc(PyObject *op, void *unused)
{
    (void)unused;
    const char *doc = ((method *)op)->def->ml_doc;
    const char *text = doc ? strstr(doc, "--\n\n") : NULL; /* behind the text signature */
    if (!doc)
        Py_RETURN_NONE;
    return PyUnicode_FromString(text ? text + 4 : doc);
}

static PyObject *get_module(PyObject *op, void *unused)
{
    (void)op;
    (void)unused;
    return PyUnicode_FromString("looplite");
}

static PyObject *get_owner(PyObject *op, void *unused)
{
    (void)unused;
    return Py_NewRef((PyObject *)((method *)op)->owner);
}

/* What the namesake has under the same name. */
static PyObject *get_of_function(PyObject *op, void *name)
{
    return PyObject_GetAttrString(((method *)op)->function, name);
}

static char code[] = "__code__", defaults[] = "__defaults__", kwdefaults[] = "__kwdefaults__",
            annotations[] = "__annotations__";

static PyGetSetDef method_getset[] = {
    {"__name__", get_name, NULL, NULL, NULL},
    {"__doc__", get_doc, NULL, NULL, NULL},
    {"__module__", get_module, NULL, NULL, NULL},
    {"__objclass__", get_owner, NULL, NULL, NULL},
    {"__code__", get_of_function, NULL, NULL, code},
    {"__defaults__", get_of_function, NULL, NULL, defaults},
    {"__kwdefaults__", get_of_function, NULL, NULL, kwdefaults},
    {"__annotations__", get_of_function, NULL, NULL, annotations},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef method_members[] = {
    {"__qualname__", T_OBJECT, offsetof(method, qualname), READONLY, NULL},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(method, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyObject *method_repr(PyObject *op)
{
    return PyUnicode_FromFormat("<async method %U of '%s' objects>", ((method *)op)->qualname,
                                ((method *)op)->owner->tp_name);
}

/* ---- memory ------------------------------------------------------------------------------------ */

static int method_traverse(PyObject *op, visitproc visit, void *arg)
{
    method *self = (method *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->owner);
    Py_VISIT(self->function);
    return 0;
}

static int method_clear(PyObject *op)
{
    method *self = (method *)op;
    Py_CLEAR(self->owner);
    Py_CLEAR(self->function);
    return 0;
}

static void method_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)method_clear(op);
    Py_CLEAR(((method *)op)->qualname);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyType_Slot method_slots[] = {
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, method_get},
    {Py_tp_repr, method_repr},
    {Py_tp_getset, method_getset},
    {Py_tp_members, method_members},
    {Py_tp_traverse, method_traverse},
    {Py_tp_clear, method_clear},
    {Py_tp_dealloc, method_dealloc},
    {0, NULL},
};

static PyType_Spec method_spec = {
    .name = "looplite._core._async_method",
    .basicsize = sizeof(method),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_METHOD_DESCRIPTOR |
             Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = method_slots,
};

static PyObject *method_new(lp_state *st, PyTypeObject *owner, const PyMethodDef *def,
                            PyObject *function)
{
    method *self = (method *)lp_new(st->method_type);
    if (!self)
        return NULL;
    self->call = method_vectorcall;
    self->def = def;
    self->owner = (PyTypeObject *)Py_NewRef((PyObject *)owner);
    self->function = Py_NewRef(function);
    self->qualname = PyObject_GetAttrString(function, "__qualname__");
    if (!self->qualname)
        Py_CLEAR(self);
    return (PyObject *)self;
}

int lp_methods_async(lp_state *st, PyTypeObject *type, const char *signatures)
{
    PyObject *module = PyImport_ImportModule("looplite._signatures");
    PyObject *class = module ? PyObject_GetAttrString(module, signatures) : NULL;
    PyObject *members = class ? PyObject_GetAttrString(class, "__dict__") : NULL;
    PyObject *items = members ? PyMapping_Items(members) : NULL;
    int rc = items ? 0 : -1;
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(items); i++) {
        PyObject *name = PyTuple_GET_ITEM(PyList_GET_ITEM(items, i), 0);
        PyObject *function = PyTuple_GET_ITEM(PyList_GET_ITEM(items, i), 1);
        if (!PyFunction_Check(function))
            continue;
        PyObject *old = PyDict_GetItemWithError(type->tp_dict, name);
        if (!old || Py_TYPE(old) != &PyMethodDescr_Type) {
            if (!PyErr_Occurred()) /* the running Python may lack it */
                continue;
            rc = -1;
            break;
        }
        PyObject *made = method_new(st, type, ((PyMethodDescrObject *)old)->d_method, function);
        if (!made || PyObject_SetAttr((PyObject *)type, name, made) < 0)
            rc = -1;
        Py_XDECREF(made);
    }
    Py_XDECREF(items);
    Py_XDECREF(members);
    Py_XDECREF(class);
    Py_XDECREF(module);
    return rc;
}

int lp_method_init(PyObject *module, lp_state *st)
{
    st->method_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &method_spec, NULL);
    return st->method_type ? 0 : -1;
}
