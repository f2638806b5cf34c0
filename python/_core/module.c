/* module.c: looplite._core: initialisation, the atexit hook, fork.
 *
 * Everything that Python objects share is in the module's state (state.h); there is no static
 * PyObject. What belongs to the process and not to an interpreter (the table of SQLite's functions,
 * the core's own state) is C data, which is why subinterpreters are refused.
 *
 * Exit: the atexit hook runs while Python is whole. It takes the engines of all loops out of use, so
 * nothing is called back any more, cancels what is queued, interrupts what runs, and then frees the root
 * engine without the GIL: that waits for a running commit and for the workers, which close what is
 * still open, with the GIL. (Code of the program that runs on a worker and does not end is left behind: work.c.)
 * Afterwards no other thread of ours is left that could want the GIL while the
 * interpreter goes, and nothing can be submitted.
 *
 * Fork: the child owns nothing of what its parent made. It forgets engines and open connections
 * without touching them (looplite.h, guarantee 6) and makes its own when it needs them. */
#include "acursor.h"
#include "adapters.h"
#include "adk.h"
#include "adopt.h"
#include "awaitable.h"
#include "generic.h"
#include "guarded.h"
#include "hook.h"
#include "info.h"
#include "loop.h"
#include "method.h"
#include "pool.h"
#include "sqlite_table.h"
#include "state.h"
#include "typed.h"
#include "work.h"

/* ---- hooks of the process ---------------------------------------------------------------------- */

static PyObject *module_exit(PyObject *module, PyObject *unused)
{
    (void)unused;
    lp_state *st = PyModule_GetState(module);
    if (st->exiting)
        Py_RETURN_NONE;
    lp_conns_warn(st);
    lp_pools_warn(st);
    st->exiting = 1;
    lp_loops_end(st);
    lp_conns_interrupt(st);
    lp_root_end(st, lp_working_end_all(st));
    lp_adopt_exit();
    lp_shapes_end(st);
    Py_RETURN_NONE;
}

static PyObject *module_after_fork(PyObject *module, PyObject *unused)
{
    (void)unused;
    lp_state *st = PyModule_GetState(module);
    lp_loops_forget(st);
    lp_conns_forget(st);
    lp_pools_forget(st);
    Py_RETURN_NONE;
}

void lp_watch_tell(lp_state *st, const char *what, PyObject *object)
{
    PyObject *watch = Py_NewRef(st->watch);
    PyObject *done = PyObject_CallFunction(watch, "sO", what, object);
    if (!done)
        PyErr_WriteUnraisable(watch);
    Py_XDECREF(done);
    Py_DECREF(watch);
}

static PyObject *module_watch(PyObject *module, PyObject *watch)
{
    lp_state *st = PyModule_GetState(module);
    PyObject *before = st->watch;
    st->watch = watch == Py_None ? NULL : Py_NewRef(watch);
    return before ? before : Py_NewRef(Py_None);
}

static PyObject *module_stay(PyObject *module, PyObject *args)
{
    lp_state *st = PyModule_GetState(module);
    double blind, idle;
    if (!PyArg_ParseTuple(args, "dd:_stay", &blind, &idle))
        return NULL;
    PyObject *before = Py_BuildValue("dd", (double)st->stay_ns / 1e9,
                                     (double)st->stay_idle_ns / 1e9);
    if (before) {
        st->stay_ns = (int64_t)(blind * 1e9);
        st->stay_idle_ns = (int64_t)(idle * 1e9);
    }
    return before;
}

PyDoc_STRVAR(
    stats_doc,
    "stats()\n--\n\n"
    "What the engine of the running loop has done, as a dict of numbers that only grow (inline_hits, hops, ...),\n"
    "and what its workers hold now. Without a running loop: the workers' part alone.");

static PyObject *module_stats(PyObject *module, PyObject *unused)
{
    (void)unused;
    return lp_stats(PyModule_GetState(module));
}

PyDoc_STRVAR(
    engine_info_doc,
    "engine_info(connection=None)\n--\n\n"
    "How looplite stands in this process, as a dict: which SQLite it uses (sqlite_version, sqlite_source_id,\n"
    "sqlite_threadsafe) and how that was found (sqlite_found), whether reads can be kept from waiting for the disk\n"
    "(reads_hooked), max_workers, and the time that work on the loop may take, for each turn and each try\n"
    "(turn_seconds, attempt_seconds). With a connection, 'connection' is a dict with on_loop (whether its statements\n"
    "are tried on the loop), disk_guard ('nowait', 'tmpfs', 'mincore', 'worker-only', 'none', 'unknown') and the\n"
    "reason in words. For reports of defects, and to find out why something takes a worker. The first call makes a\n"
    "temporary file, reads it, and removes it.");

static PyObject *module_engine_info(PyObject *module, PyObject *args, PyObject *keywords)
{
    static char name[] = "connection", *names[] = {name, NULL};
    PyObject *connection = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O:engine_info", names, &connection))
        return NULL;
    return lp_engine_info(PyModule_GetState(module), connection == Py_None ? NULL : connection);
}

static PyMethodDef module_methods[] = {
    {"_exit", module_exit, METH_NOARGS, "Ends all engines; called at exit."},
    {"_after_fork", module_after_fork, METH_NOARGS, "Forgets what belongs to the parent."},
    {"_watch", module_watch, METH_O,
     "_watch(callable, /)\n--\n\nHas it told what is made and dropped; gives the one before. For "
     "looplite.testing."},
    {"_stay", module_stay, METH_VARARGS,
     "_stay(seconds, idle_seconds, /)\n--\n\nSets for how long a call stays for its answer, in a loop that cannot be "
     "looked into and in one with nothing else to do, and gives what it was. For looplite's own tests."},
    {"stats", module_stats, METH_NOARGS, stats_doc},
    {"engine_info", (PyCFunction)(void (*)(void))module_engine_info, METH_VARARGS | METH_KEYWORDS,
     engine_info_doc},
    {NULL, NULL, 0, NULL},
};

/* ---- initialisation ---------------------------------------------------------------------------- */

/* A member of a module; a new reference. */
static PyObject *import_from(const char *module, const char *name)
{
    PyObject *imported = PyImport_ImportModule(module);
    PyObject *value = imported ? PyObject_GetAttrString(imported, name) : NULL;
    Py_XDECREF(imported);
    return value;
}

static int fill_names(lp_state *st)
{
#define X(name)                                                \
    if (!(st->names.name = PyUnicode_InternFromString(#name))) \
        return -1;
    LP_NAMES(X)
#undef X
    return 0;
}

/* From _sqlite3, for somebody may have replaced what the sqlite3 module shows. */
static int fill_sqlite3(lp_state *st)
{
#define X(name)                                               \
    if (!(st->sqlite3.name = import_from("_sqlite3", #name))) \
        return -1;
    LP_SQLITE3(X)
#undef X
    return 0;
}

static int fill_rest(lp_state *st)
{
    st->cancelled_error = import_from("asyncio.exceptions", "CancelledError");
    st->get_running_loop = import_from("asyncio.events", "_get_running_loop");
    st->current_task = import_from("asyncio", "current_task");
    st->empty_tuple = PyTuple_New(0);
    st->loops = PyDict_New();
    st->shapes = PyDict_New();
    return st->cancelled_error && st->get_running_loop && st->current_task && st->empty_tuple &&
                   st->loops && st->shapes
             ? 0
             : -1;
}

/* atexit.register(_exit), os.register_at_fork(after_in_child=_after_fork) */
static int register_hooks(PyObject *module)
{
    PyObject *leave = PyObject_GetAttrString(module, "_exit");
    PyObject *forked = PyObject_GetAttrString(module, "_after_fork");
    PyObject *atexit = import_from("atexit", "register");
    PyObject *atfork = import_from("os", "register_at_fork");
    PyObject *done = NULL, *keywords = NULL, *nothing = PyTuple_New(0);
    int rc = -1;
    if (leave && forked && atexit && atfork && nothing) {
        keywords = Py_BuildValue("{sO}", "after_in_child", forked);
        done = PyObject_CallOneArg(atexit, leave);
        if (done && keywords)
            Py_SETREF(done, PyObject_Call(atfork, nothing, keywords));
        rc = done && keywords ? 0 : -1;
    }
    Py_XDECREF(nothing);
    Py_XDECREF(keywords);
    Py_XDECREF(done);
    Py_XDECREF(atfork);
    Py_XDECREF(atexit);
    Py_XDECREF(forked);
    Py_XDECREF(leave);
    return rc;
}

static int module_exec(PyObject *module)
{
    lp_state *st = PyModule_GetState(module);
    /* Python asks Py_mod_multiple_interpreters since 3.12, and of isolated interpreters only. */
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(
            PyExc_ImportError,
            "looplite cannot be used in a subinterpreter: its threads and what it keeps for "
            "the process belong to the main one; import it there, or use a process");
        return -1;
    }
    st->stay_ns = lp_stay_ns;
    st->stay_idle_ns = lp_stay_idle_ns;
    st->sqlite3_module = PyImport_ImportModule("sqlite3"); /* its adapters and converters */
    if (!st->sqlite3_module || fill_names(st) < 0 || fill_sqlite3(st) < 0 || fill_rest(st) < 0 ||
        lp_adapters_init(st) < 0)
        return -1;
    if (lp_sqlite_table_fill(st) < 0)
        return -1;
    if (ll_vfs_install(&st->vfs_name) < 0) {
        PyErr_Format(PyExc_ImportError, "looplite cannot register its VFS: %s", ll_last_error());
        return -1;
    }
    if (lp_adopt_init(module, st) < 0 || lp_loop_init(module, st) < 0 ||
        lp_awaitable_init(module, st) < 0 || lp_callback_init(module, st) < 0 ||
        lp_method_init(module, st) < 0 || lp_guarded_init(module, st) < 0 ||
        lp_conn_init(module, st) < 0 || lp_cursor_init(module, st) < 0 ||
        lp_shell_init(module, st) < 0 || lp_methods_async(st, st->conn_type, "Connection") < 0 ||
        lp_methods_async(st, st->cursor_type, "Cursor") < 0 || lp_generic_init(module, st) < 0 ||
        lp_hook_init(module, st) < 0 || lp_types_init(module, st) < 0 ||
        lp_pool_init(module, st) < 0 || lp_adk_init(module) < 0)
        return -1;
#if defined(LP_CAPI_FAULTS) && LP_CAPI_FAULTS
    if (lp_capi_faults_init(module) < 0)
        return -1;
#endif
    if (PyModule_AddObjectRef(module, "sqlite_source", st->sqlite_way) < 0 ||
        PyModule_AddStringConstant(module, "__version__", ll_version()) < 0)
        return -1;
    return register_hooks(module);
}

/* ---- memory ------------------------------------------------------------------------------------ */

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    lp_state *st = PyModule_GetState(module);
    Py_VISIT(st->call_type);
    Py_VISIT(st->ready_type);
    Py_VISIT(st->loop_type);
    Py_VISIT(st->conn_type);
    Py_VISIT(st->cursor_type);
    Py_VISIT(st->rows_type);
    Py_VISIT(st->connector_type);
    Py_VISIT(st->link_type);
    Py_VISIT(st->callback_type);
    Py_VISIT(st->guard_type);
    Py_VISIT(st->looked_type);
    Py_VISIT(st->guarded_type);
    Py_VISIT(st->guarded_cursor_type);
    Py_VISIT(st->blob_type);
    Py_VISIT(st->dump_type);
    Py_VISIT(st->base_isolation_level);
    Py_VISIT(st->base_autocommit);
    Py_VISIT(st->inside);
    Py_VISIT(st->statement_type);
    Py_VISIT(st->method_type);
    Py_VISIT(st->types_type);
    Py_VISIT(st->fetched_type);
    Py_VISIT(st->pool_type);
    Py_VISIT(st->lease_type);
    Py_VISIT(st->columns_type);
    Py_VISIT(st->classes.uuid);
    Py_VISIT(st->classes.decimal);
    Py_VISIT(st->classes.uuid_unknown);
    for (size_t i = 0; i < LP_ORIGINALS; i++)
        Py_VISIT(st->originals[i]);
#define X(name) Py_VISIT(st->sqlite3.name);
    LP_SQLITE3(X)
#undef X
#define X(name) Py_VISIT(st->trio.name);
    LP_TRIO(X)
#undef X
    Py_VISIT(st->sqlite3_module);
    Py_VISIT(st->cancelled_error);
    Py_VISIT(st->get_running_loop);
    Py_VISIT(st->current_task);
    Py_VISIT(st->holder_type);
    Py_VISIT(st->loops);
    Py_VISIT(st->shapes);
    Py_VISIT(st->memory);
    Py_VISIT(st->watch);
    return 0;
}

static int module_clear(PyObject *module)
{
    lp_state *st = PyModule_GetState(module);
    lp_spares_free(&st->calls);
    lp_spares_free(&st->cursors);
    Py_CLEAR(st->shapes);
    Py_CLEAR(st->memory);
    Py_CLEAR(st->watch);
    Py_CLEAR(st->loops);
    Py_CLEAR(st->call_type);
    Py_CLEAR(st->ready_type);
    Py_CLEAR(st->loop_type);
    Py_CLEAR(st->conn_type);
    Py_CLEAR(st->cursor_type);
    Py_CLEAR(st->rows_type);
    Py_CLEAR(st->connector_type);
    Py_CLEAR(st->link_type);
    Py_CLEAR(st->callback_type);
    Py_CLEAR(st->guard_type);
    Py_CLEAR(st->looked_type);
    Py_CLEAR(st->guarded_type);
    Py_CLEAR(st->guarded_cursor_type);
    Py_CLEAR(st->blob_type);
    Py_CLEAR(st->dump_type);
    Py_CLEAR(st->base_isolation_level);
    Py_CLEAR(st->base_autocommit);
    Py_CLEAR(st->inside);
    Py_CLEAR(st->statement_type);
    Py_CLEAR(st->method_type);
    Py_CLEAR(st->types_type);
    Py_CLEAR(st->fetched_type);
    Py_CLEAR(st->pool_type);
    Py_CLEAR(st->lease_type);
    Py_CLEAR(st->columns_type);
    Py_CLEAR(st->classes.uuid);
    Py_CLEAR(st->classes.decimal);
    Py_CLEAR(st->classes.uuid_unknown);
    Py_CLEAR(st->classes.uuid_int);
    Py_CLEAR(st->classes.uuid_safe);
    for (size_t i = 0; i < LP_ORIGINALS; i++)
        Py_CLEAR(st->originals[i]);
#define X(name) Py_CLEAR(st->sqlite3.name);
    LP_SQLITE3(X)
#undef X
#define X(name) Py_CLEAR(st->names.name);
    LP_NAMES(X)
#undef X
#define X(name) Py_CLEAR(st->trio.name);
    LP_TRIO(X)
#undef X
    Py_CLEAR(st->cancelled_error);
    Py_CLEAR(st->get_running_loop);
    Py_CLEAR(st->current_task);
    Py_CLEAR(st->holder_type);
    Py_CLEAR(st->empty_tuple);
    Py_CLEAR(st->sqlite3_module);
    Py_CLEAR(st->sqlite_way);
    return 0;
}

static void module_free(void *module)
{
    (void)module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    LP_SLOT_INTERPRETERS LP_SLOT_GIL{0, NULL},
};

struct PyModuleDef lp_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "looplite._core",
    .m_doc = "SQLite for event loops: connections, cursors and their one awaitable, in C.",
    .m_size = sizeof(lp_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&lp_module);
}
