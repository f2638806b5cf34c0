/* rare.c: what is rarely called of sqlite3.Connection, by the same names on looplite.Connection.
 *
 * Each call runs the method of the real sqlite3.Connection on the worker, in its turn (work.c), so conversions, checks,
 * messages and classes of exceptions are those of the running Python. What that Python does not have is missing here,
 * too. Mistakes in the arguments are raised by the await.
 *
 * The names of the parameters are aiosqlite's where they differ from sqlite3's, and both are taken by keyword, also
 * where newer Pythons take positions only: what has a known name is passed by position. */
#include "rare.h"

#include "backup.h"
#include "docs.h"

enum {
    MOST_NAMES = 3
};

struct method {
    const char *name;
    const char *names[MOST_NAMES]; /* of positions; "a|b": one or the other */
    const char *last; /* a keyword of sqlite3's that aiosqlite takes behind these by position */
};

/* Whether `key` is one of "a|b". */
static bool is_one_of(PyObject *key, const char *names)
{
    const char *bar = strchr(names, '|');
    if (!bar)
        return PyUnicode_CompareWithASCIIString(key, names) == 0;
    char first[32];
    size_t size = (size_t)(bar - names);
    memcpy(first, names, size);
    first[size] = '\0';
    return PyUnicode_CompareWithASCIIString(key, first) == 0 ||
           PyUnicode_CompareWithASCIIString(key, bar + 1) == 0;
}

/* Takes the argument that is called so out of the keywords; a new reference, NULL if there is none. */
static PyObject *take_named(PyObject *kwargs, const char *names)
{
    Py_ssize_t at = 0;
    PyObject *key, *value;
    while (PyDict_Next(kwargs, &at, &key, &value)) {
        if (!PyUnicode_Check(key) || !is_one_of(key, names))
            continue;
        Py_INCREF(value);
        if (PyDict_DelItem(kwargs, key) < 0)
            Py_CLEAR(value);
        return value;
    }
    return NULL;
}

/* Appends what was given by keyword to the positions, as far as there is no gap, and moves `last` the other way. */
static int arrange(const struct method *method, PyObject *args, PyObject *kwargs,
                   PyObject **ret_args)
{
    PyObject *list = PySequence_List(args);
    if (!list)
        return -1;
    Py_ssize_t count = 0;
    while (count < MOST_NAMES && method->names[count])
        count++;
    while (PyList_GET_SIZE(list) < count) {
        PyObject *value = take_named(kwargs, method->names[PyList_GET_SIZE(list)]);
        if (!value)
            break;
        int rc = PyList_Append(list, value);
        Py_DECREF(value);
        if (rc < 0)
            goto fail;
    }
    if (method->last && PyList_GET_SIZE(list) == count + 1) {
        if (PyDict_GetItemString(kwargs, method->last)) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%s'",
                         method->name, method->last);
            goto fail;
        }
        if (PyDict_SetItemString(kwargs, method->last, PyList_GET_ITEM(list, count)) < 0 ||
            PyList_SetSlice(list, count, count + 1, NULL) < 0)
            goto fail;
    }
    *ret_args = PyList_AsTuple(list);
    Py_DECREF(list);
    return *ret_args ? 0 : -1;
fail:
    Py_DECREF(list);
    return -1;
}

static PyObject *call_of(PyObject *op, const struct method *method, const lp_op *what,
                         PyObject *args, PyObject *kwargs)
{
    PyObject *named = kwargs ? PyDict_Copy(kwargs) : PyDict_New();
    PyObject *arranged = NULL, *call = NULL;
    PyObject *name = PyUnicode_InternFromString(method->name);
    if (named && name && arrange(method, args, named, &arranged) == 0)
        call = lp_work_new((lp_conn *)op, what, name, arranged, named);
    Py_XDECREF(name);
    Py_XDECREF(arranged);
    Py_XDECREF(named);
    return call;
}

/* name, parameters as help() shows them, what it does; by keyword behind the positions, names of the positions */
/* clang-format off */
#define METHODS(X) \
    X(create_function, "name, num_params, func, deterministic=False", DOC_CREATE_FUNCTION, \
      "deterministic", "name", "num_params|narg", "func") \
    X(create_aggregate, "name, num_params, aggregate_class", DOC_CREATE_AGGREGATE, \
      NULL, "name", "num_params|n_arg", "aggregate_class") \
    X(create_window_function, "name, num_params, aggregate_class", DOC_CREATE_WINDOW_FUNCTION, \
      NULL, "name", "num_params", "aggregate_class") \
    X(create_collation, "name, callback", DOC_CREATE_COLLATION, \
      NULL, "name", "callback|callable", NULL) \
    X(set_authorizer, "authorizer_callback", DOC_SET_AUTHORIZER, \
      NULL, "authorizer_callback", NULL, NULL) \
    X(set_trace_callback, "handler", DOC_SET_TRACE_CALLBACK, \
      NULL, "handler|trace_callback", NULL, NULL) \
    X(set_progress_handler, "handler, n", DOC_SET_PROGRESS_HANDLER, \
      NULL, "handler|progress_handler", "n", NULL) \
    X(enable_load_extension, "value", DOC_ENABLE_LOAD_EXTENSION, \
      NULL, "value|enable", NULL, NULL) \
    X(load_extension, "path, *, entrypoint=None", DOC_LOAD_EXTENSION, \
      NULL, "path|name", NULL, NULL) \
    X(serialize, "*, name='main'", DOC_SERIALIZE, \
      NULL, NULL, NULL, NULL) \
    X(deserialize, "data, /, *, name='main'", DOC_DESERIALIZE, \
      NULL, "data", NULL, NULL) \
    X(getlimit, "category", DOC_GETLIMIT, \
      NULL, "category", NULL, NULL) \
    X(setlimit, "category, limit", DOC_SETLIMIT, \
      NULL, "category", "limit", NULL) \
    X(getconfig, "op", DOC_GETCONFIG, \
      NULL, "op", NULL, NULL) \
    X(setconfig, "op, enable=True", DOC_SETCONFIG, \
      NULL, "op", "enable", NULL)
/* clang-format on */

#define X(which, parameters, doc, last, first, second, third)                         \
    static const struct method what_##which = {#which, {first, second, third}, last}; \
    static const lp_op op_##which = {                                                 \
        .name = "Connection." #which,                                                 \
        .start = lp_work_start,                                                       \
        .finish = lp_work_finish,                                                     \
        .flags = LP_OP_SHIELD,                                                        \
    };                                                                                \
    static PyObject *conn_##which(PyObject *op, PyObject *args, PyObject *kwargs)     \
    {                                                                                 \
        return call_of(op, &what_##which, &op_##which, args, kwargs);                 \
    }
METHODS(X)
#undef X

#define FUNCTION(function) (PyCFunction)(void (*)(void))(function)
#define X(which, parameters, doc, last, first, second, third)      \
    {#which, FUNCTION(conn_##which), METH_VARARGS | METH_KEYWORDS, \
     #which "($self, " parameters ")\n--\n\n" doc},
static PyMethodDef methods[] = {METHODS(X)};
#undef X

int lp_rare_add(lp_state *st, PyMethodDef *defs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        PyObject *there = PyObject_GetAttrString(st->sqlite3.Connection, defs[i].ml_name);
        PyErr_Clear();
        int rc = there ? lp_methods_add(st->conn_type, &defs[i], 1) : 0;
        Py_XDECREF(there);
        if (rc < 0)
            return -1;
    }
    return 0;
}

int lp_rare_init(PyObject *module, lp_state *st)
{
    if (lp_rare_add(st, methods, sizeof methods / sizeof *methods) < 0)
        return -1;
    return lp_backup_init(module, st) < 0 || lp_blob_init(module, st) < 0 ||
                   lp_dump_init(module, st) < 0
             ? -1
             : 0;
}
