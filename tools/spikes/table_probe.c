/*
 * Spike: fill the table of SQLite's functions in four kinds of hosts and prove
 * that the table is the one which the host's _sqlite3 uses.  A Python module
 * and, in the same file, an SQLite extension (the way for hidden copies).
 * table_ask.py calls it; table_hosts.sh builds it and the hosts.
 *
 * Not linked with SQLite.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>
#include <link.h>
#include <sqlite3ext.h>
#include <stddef.h>

#define MEMBERS(X)                                                             \
    X(auto_extension) X(cancel_auto_extension) X(libversion_number) X(sourceid) \
    X(prepare_v2) X(step) X(finalize) X(txn_state) X(error_offset)

/* sqlite3ext.h turns sqlite3_NAME into sqlite3_api->NAME: members, not functions */
static struct {
#define X(n) __typeof__(((struct sqlite3_api_routines *)0)->n) n;
    MEMBERS(X)
#undef X
} S;
static const struct sqlite3_api_routines *kept;
static _Thread_local int fired; /* connects of other threads are not ours */

static int on_open(sqlite3 *db, char **err, const struct sqlite3_api_routines *api)
{
    (void)db, (void)err, (void)api;
    fired++;
    return SQLITE_OK;
}

/* Way 3.  Default entry name: SQLite looks for it first. */
__attribute__((visibility("default"))) int
sqlite3_extension_init(sqlite3 *db, char **err, const struct sqlite3_api_routines *api)
{
    (void)db, (void)err;
    kept = api;
    return SQLITE_OK_LOAD_PERMANENTLY;
}

/* code_file(builtin) -> (file that holds its code, is it the program itself) */
static PyObject *code_file(PyObject *m, PyObject *fn)
{
    Dl_info i;
    struct link_map *lm;
    (void)m;
    PyCFunction f = PyCFunction_GetFunction(fn);
    if (!f)
        return NULL;
    if (!dladdr1((void *)f, &i, (void **)&lm, RTLD_DL_LINKMAP))
        Py_RETURN_NONE;
    return Py_BuildValue("si", i.dli_fname, !lm->l_name[0]); /* the program's name is empty */
}

/* Version and source id may be asked of any copy; nothing else before they match. */
static PyObject *result(int missing, int files)
{
    Dl_info i = {0};
    if (!S.libversion_number || !S.sourceid)
        return Py_BuildValue("iisss", missing, files, "-", "-", "-");
    dladdr((void *)S.libversion_number, &i);
    char v[16];
    snprintf(v, sizeof v, "%d", S.libversion_number());
    return Py_BuildValue("iisss", missing, files, v, i.dli_fname ? i.dli_fname : "-", S.sourceid());
}

/*
 * by_dlsym(path or None) ->
 * (missing, files they come from, version, file, source id)
 */
static PyObject *by_dlsym(PyObject *m, PyObject *args)
{
    const char *path;
    int missing = 0, files = 0;
    void *base = NULL;
    Dl_info i;
    (void)m;
    if (!PyArg_ParseTuple(args, "z", &path))
        return NULL;
    memset(&S, 0, sizeof S);
    void *h = path ? dlopen(path, RTLD_LAZY | RTLD_NOLOAD) : RTLD_DEFAULT;
    if (path && !h)
        return PyErr_Format(PyExc_ImportError, "not loaded under this name");
#define X(n)                                                                   \
    *(void **)&S.n = dlsym(h, "sqlite3_" #n);                                  \
    if (!S.n)                                                                  \
        missing++;                                                             \
    else if (dladdr((void *)S.n, &i) && i.dli_fbase != base)                   \
        base = i.dli_fbase, files++;
    MEMBERS(X)
#undef X
    return result(missing, files);
}

static PyObject *by_api(PyObject *m, PyObject *a)
{
    (void)m, (void)a;
    memset(&S, 0, sizeof S);
    if (!kept)
        Py_RETURN_NONE;
    /* txn_state and error_offset are newer than 3.34.1: version first */
    int v = kept->libversion_number(), missing = 0;
    S.libversion_number = kept->libversion_number;
    S.auto_extension = kept->auto_extension;
    S.cancel_auto_extension = kept->cancel_auto_extension;
    S.sourceid = kept->sourceid;
    S.prepare_v2 = kept->prepare_v2, S.step = kept->step, S.finalize = kept->finalize;
    if (v >= 3034000)
        S.txn_state = kept->txn_state;
    else
        missing++;
    if (v >= 3038000)
        S.error_offset = kept->error_offset;
    else
        missing++;
    return result(missing, 1);
}

/* prove(connect) -> how often our extension fired while connect() ran */
static PyObject *prove(PyObject *m, PyObject *fn)
{
    (void)m;
    if (!S.auto_extension || !S.cancel_auto_extension)
        return PyLong_FromLong(-1);
    fired = 0;
    S.auto_extension((void (*)(void))on_open);
    PyObject *r = PyObject_CallNoArgs(fn);
    S.cancel_auto_extension((void (*)(void))on_open);
    if (!r)
        return NULL;
    Py_DECREF(r);
    return PyLong_FromLong(fired);
}

static PyMethodDef defs[] = {
    {"code_file", code_file, METH_O, 0}, {"by_dlsym", by_dlsym, METH_VARARGS, 0},
    {"by_api", by_api, METH_NOARGS, 0},  {"prove", prove, METH_O, 0},
    {0},
};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "table_probe", 0, -1, defs, 0, 0, 0, 0};

PyMODINIT_FUNC PyInit_table_probe(void)
{
    return PyModule_Create(&def);
}
