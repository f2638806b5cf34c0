/*
 * Spike: adopt the handle of a sqlite3.Connection.  Raw SQLite calls for
 * adopt_ask.py, which states the questions; handles and statements cross as
 * integers.  Throw-away code: one process, no error recovery.
 *
 *   cc -shared -fPIC -Wall -Wextra -Werror $(python3-config --includes) \
 *      -Wl,-z,nodelete -pthread -o adopt_probe.so adopt_probe.c -ldl
 *   PYTHONPATH=. python3 adopt_ask.py
 *
 * Not linked with SQLite: every call goes through a pointer that fill() takes
 * from the file of the running interpreter's own _sqlite3 module.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define MEMBERS(X)                                                             \
    X(auto_extension) X(cancel_auto_extension) X(libversion) X(vfs_find)       \
    X(vfs_register) X(file_control) X(prepare_v2) X(step) X(finalize)          \
    X(column_int64) X(get_autocommit) X(total_changes) X(errmsg) X(next_stmt)  \
    X(db_filename) X(busy_handler) X(progress_handler) X(set_authorizer)       \
    X(trace_v2) X(create_function_v2) X(txn_state) X(db_mutex) X(db_handle)

static struct {
#define X(n) __typeof__(&sqlite3_##n) n;
    MEMBERS(X)
#undef X
} S;

#define DB(v) ((sqlite3 *)(uintptr_t)(v))
#define ST(v) ((sqlite3_stmt *)(uintptr_t)(v))
typedef unsigned long long u64;

/* ---- the slot: which handles were opened by the armed thread ------------ */

#define SLOT_MAX 8
static _Thread_local struct { int armed, n; sqlite3 *db[SLOT_MAX]; } slot;
static atomic_int fired_elsewhere;

static int on_open(sqlite3 *db, const char **err, const struct sqlite3_api_routines *api)
{
    (void)err, (void)api;
    if (!slot.armed)
        atomic_fetch_add(&fired_elsewhere, 1);
    else if (slot.n < SLOT_MAX)
        slot.db[slot.n++] = db;
    return SQLITE_OK;
}

static int refuse(sqlite3 *db, const char **err, const struct sqlite3_api_routines *api)
{
    (void)db, (void)err, (void)api;
    return SQLITE_AUTH;
}

/* refuse_opens(bool): a second auto-extension, after ours, that fails */
static PyObject *refuse_opens(PyObject *m, PyObject *on)
{
    (void)m;
    if (PyObject_IsTrue(on))
        S.auto_extension((void (*)(void))refuse);
    else
        S.cancel_auto_extension((void (*)(void))refuse);
    Py_RETURN_NONE;
}

/* armed(callable) -> (result or None, exception or None, [handles]) */
static PyObject *armed(PyObject *m, PyObject *fn)
{
    (void)m;
    memset(&slot, 0, sizeof slot);
    S.auto_extension((void (*)(void))on_open); /* a no-op when it is there */
    slot.armed = 1;
    PyObject *res = PyObject_CallNoArgs(fn);
    slot.armed = 0;
    PyObject *type = NULL, *val = NULL, *tb = NULL;
    if (!res) {
        PyErr_Fetch(&type, &val, &tb);
        PyErr_NormalizeException(&type, &val, &tb);
        Py_XDECREF(type), Py_XDECREF(tb);
    }
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < slot.n; i++) {
        PyObject *v = PyLong_FromUnsignedLongLong((uintptr_t)slot.db[i]);
        PyList_Append(list, v);
        Py_XDECREF(v);
    }
    return Py_BuildValue("NNN", res ? res : Py_NewRef(Py_None),
                         val ? val : Py_NewRef(Py_None), list);
}

static PyObject *fill(PyObject *m, PyObject *args)
{
    const char *path;
    (void)m;
    if (!PyArg_ParseTuple(args, "z", &path))
        return NULL;
    void *h = path ? dlopen(path, RTLD_LAZY | RTLD_NOLOAD) : RTLD_DEFAULT;
    if (path && !h)
        return PyErr_Format(PyExc_ImportError, "%s", dlerror());
    PyObject *missing = PyList_New(0);
#define X(n)                                                                   \
    *(void **)&S.n = dlsym(h, "sqlite3_" #n);                                  \
    if (!S.n) {                                                                \
        PyObject *s = PyUnicode_FromString(#n);                                \
        PyList_Append(missing, s);                                             \
        Py_DECREF(s);                                                          \
    }
    MEMBERS(X)
#undef X
    return missing;
}

/* head(connection): the word after PyObject_HEAD, where pysqlite keeps db */
static PyObject *head(PyObject *m, PyObject *o)
{
    (void)m;
    return PyLong_FromUnsignedLongLong(*(uintptr_t *)((char *)o + sizeof(PyObject)));
}

static PyObject *elsewhere(PyObject *m, PyObject *a)
{
    (void)m, (void)a;
    return PyLong_FromLong(fired_elsewhere);
}

/* ---- a VFS that only counts opens ---------------------------------------- */

static sqlite3_vfs vfs[2];
static atomic_int vfs_opens[2];

static int vfs_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
    sqlite3_vfs *base = v->pAppData;
    vfs_opens[v - vfs]++;
    return base->xOpen(base, name, f, flags, out);
}

static PyObject *vfs_make(PyObject *m, PyObject *a)
{
    static const char *const name[2] = {"probe", "probe2"};
    (void)m, (void)a;
    sqlite3_vfs *base = S.vfs_find(NULL);
    for (int i = 0; i < 2; i++) {
        vfs[i] = *base; /* szOsFile and the rest of the methods are the base's */
        vfs[i].zName = name[i];
        vfs[i].pAppData = base;
        vfs[i].xOpen = vfs_open;
        vfs[i].pNext = NULL;
        S.vfs_register(&vfs[i], 0);
    }
    Py_RETURN_NONE;
}

static PyObject *vfs_counts(PyObject *m, PyObject *a)
{
    (void)m, (void)a;
    return Py_BuildValue("ii", vfs_opens[0], vfs_opens[1]);
}

static PyObject *vfs_name(PyObject *m, PyObject *arg)
{
    sqlite3_vfs *v = NULL;
    (void)m;
    int rc = S.file_control(DB(PyLong_AsUnsignedLongLong(arg)), "main",
                            SQLITE_FCNTL_VFS_POINTER, &v);
    return PyUnicode_FromFormat("%s rc=%d", v ? v->zName : "-", rc);
}

/* ---- statements and state ------------------------------------------------ */

static sqlite3_stmt *ours[16];

/* our statements end here: pysqlite's are not ours to finalize */
static int end(sqlite3_stmt *st)
{
    for (int i = 0; i < 16; i++)
        if (ours[i] == st)
            ours[i] = NULL;
    return S.finalize(st);
}

static PyObject *prepare(PyObject *m, PyObject *args)
{
    u64 db;
    const char *sql;
    sqlite3_stmt *st = NULL;
    (void)m;
    if (!PyArg_ParseTuple(args, "Ks", &db, &sql))
        return NULL;
    int rc = S.prepare_v2(DB(db), sql, -1, &st, NULL);
    for (int i = 0; st && i < 16; i++)
        if (!ours[i]) {
            ours[i] = st;
            break;
        }
    return Py_BuildValue("iK", rc, (u64)(uintptr_t)st);
}

/* step(stmt) -> (rc, first column) */
static PyObject *step(PyObject *m, PyObject *arg)
{
    sqlite3_stmt *st = ST(PyLong_AsUnsignedLongLong(arg));
    int rc;
    long long v = -1;
    (void)m;
    Py_BEGIN_ALLOW_THREADS
    rc = S.step(st);
    if (rc == SQLITE_ROW)
        v = S.column_int64(st, 0);
    Py_END_ALLOW_THREADS
    return Py_BuildValue("iL", rc, v);
}

static PyObject *finalize(PyObject *m, PyObject *arg)
{
    (void)m;
    return PyLong_FromLong(end(ST(PyLong_AsUnsignedLongLong(arg))));
}

static PyObject *statements(PyObject *m, PyObject *arg)
{
    sqlite3 *db = DB(PyLong_AsUnsignedLongLong(arg));
    int n = 0;
    (void)m;
    for (sqlite3_stmt *s = NULL; (s = S.next_stmt(db, s));)
        n++;
    return PyLong_FromLong(n);
}

/* state(db) -> (autocommit, txn_state, total_changes, has a mutex) */
static PyObject *state(PyObject *m, PyObject *arg)
{
    sqlite3 *db = DB(PyLong_AsUnsignedLongLong(arg));
    (void)m;
    return Py_BuildValue("iiii", S.get_autocommit(db), S.txn_state(db, NULL),
                         S.total_changes(db), S.db_mutex(db) != NULL);
}

/* ---- single-slot hooks, and being told of the end of the handle ----------- */

enum { BUSY, PROGRESS, AUTH, TRACE, TRACE_CLOSE, FREED, NHOOK };
static atomic_int hits[NHOOK];

static int on_busy(void *p, int n) { (void)p, (void)n; hits[BUSY]++; return 0; }
static int on_progress(void *p) { (void)p; hits[PROGRESS]++; return 0; }
static int on_auth(void *p, int op, const char *a, const char *b, const char *c, const char *d)
{
    (void)p, (void)op, (void)a, (void)b, (void)c, (void)d;
    hits[AUTH]++;
    return SQLITE_OK;
}
static int on_trace(unsigned t, void *finalize_all, void *p, void *x)
{
    (void)x;
    if (t == SQLITE_TRACE_CLOSE && finalize_all) /* p is the handle */
        for (int i = 0; i < 16; i++)
            if (ours[i] && S.db_handle(ours[i]) == p)
                end(ours[i]);
    hits[t == SQLITE_TRACE_CLOSE ? TRACE_CLOSE : TRACE]++;
    return 0;
}
static void on_freed(void *p) { (void)p; hits[FREED]++; }
static void no_function(sqlite3_context *c, int n, sqlite3_value **v) { (void)c, (void)n, (void)v; }

static PyObject *hooks(PyObject *m, PyObject *arg)
{
    sqlite3 *db = DB(PyLong_AsUnsignedLongLong(arg));
    (void)m;
    S.busy_handler(db, on_busy, NULL);
    S.progress_handler(db, 5, on_progress, NULL);
    S.set_authorizer(db, on_auth, NULL);
    S.trace_v2(db, SQLITE_TRACE_STMT | SQLITE_TRACE_CLOSE, on_trace, NULL);
    Py_RETURN_NONE;
}

/* end_on_close(db): the close trace finalizes what is left of ours */
static PyObject *end_on_close(PyObject *m, PyObject *arg)
{
    (void)m;
    return PyLong_FromLong(S.trace_v2(DB(PyLong_AsUnsignedLongLong(arg)), SQLITE_TRACE_CLOSE,
                                      on_trace, &slot));
}

/* notice(db): a function whose destructor SQLite calls when db is freed */
static PyObject *notice(PyObject *m, PyObject *arg)
{
    (void)m;
    return PyLong_FromLong(S.create_function_v2(
        DB(PyLong_AsUnsignedLongLong(arg)), "probe_end_notice", 0, SQLITE_UTF8, NULL,
        no_function, NULL, NULL, on_freed));
}

static PyObject *take_hits(PyObject *m, PyObject *a)
{
    static const char *const name[NHOOK] = {"busy", "progress", "auth", "trace", "trace_close", "freed"};
    (void)m, (void)a;
    PyObject *d = PyDict_New();
    for (int i = 0; d && i < NHOOK; i++) {
        int n = atomic_exchange(&hits[i], 0);
        PyObject *v = PyLong_FromLong(n);
        if (n)
            PyDict_SetItemString(d, name[i], v);
        Py_XDECREF(v);
    }
    return d;
}

/* ---- threads that Python did not start ------------------------------------ */

static void *thread_once(void *fn)
{
    PyGILState_STATE g = PyGILState_Ensure();
    PyObject *r = armed(NULL, fn);
    PyGILState_Release(g);
    return r;
}

static PyObject *in_thread(PyObject *m, PyObject *fn)
{
    pthread_t t;
    void *r = NULL;
    (void)m;
    Py_BEGIN_ALLOW_THREADS
    pthread_create(&t, NULL, thread_once, fn);
    pthread_join(t, &r);
    Py_END_ALLOW_THREADS
    return r;
}

static void say(const char *s)
{
    if (write(1, s, strlen(s)) < 0)
        _exit(9);
}
static void killed(void *p) { (void)p; say("[thread ended inside PyGILState_Ensure]"); }

static atomic_int stop_loop;
static pthread_t loop_thread;
static _Thread_local PyObject *loop_fn;

static void *thread_loop(void *fn)
{
    loop_fn = fn;
    while (!stop_loop) {
        pthread_cleanup_push(killed, NULL);
        PyGILState_STATE g = PyGILState_Ensure();
        Py_XDECREF(armed(NULL, loop_fn));
        PyGILState_Release(g);
        pthread_cleanup_pop(0);
        usleep(100);
    }
    say("[thread left by its flag]");
    return NULL;
}

static PyObject *start_loop(PyObject *m, PyObject *fn)
{
    (void)m;
    pthread_create(&loop_thread, NULL, thread_loop, Py_NewRef(fn));
    Py_RETURN_NONE;
}

static PyObject *join_loop(PyObject *m, PyObject *a)
{
    (void)m, (void)a;
    stop_loop = 1;
    Py_BEGIN_ALLOW_THREADS
    pthread_join(loop_thread, NULL);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyMethodDef defs[] = {
    {"fill", fill, METH_VARARGS, 0},         {"armed", armed, METH_O, 0},
    {"head", head, METH_O, 0},               {"elsewhere", elsewhere, METH_NOARGS, 0},
    {"vfs_make", vfs_make, METH_NOARGS, 0},  {"vfs_counts", vfs_counts, METH_NOARGS, 0},
    {"vfs_name", vfs_name, METH_O, 0},       {"prepare", prepare, METH_VARARGS, 0},
    {"step", step, METH_O, 0},               {"finalize", finalize, METH_O, 0},
    {"statements", statements, METH_O, 0},   {"state", state, METH_O, 0},
    {"hooks", hooks, METH_O, 0},             {"notice", notice, METH_O, 0},
    {"take_hits", take_hits, METH_NOARGS, 0}, {"in_thread", in_thread, METH_O, 0},
    {"refuse_opens", refuse_opens, METH_O, 0}, {"end_on_close", end_on_close, METH_O, 0},
    {"start_loop", start_loop, METH_O, 0},   {"join_loop", join_loop, METH_NOARGS, 0},
    {0},
};

static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "adopt_probe", 0, -1, defs, 0, 0, 0, 0};

PyMODINIT_FUNC PyInit_adopt_probe(void)
{
    return PyModule_Create(&def);
}
