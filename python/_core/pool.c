/* pool.c: pools of connections: looplite._core.Pool.
 *
 *     Pool.query() -----------------> a shared connection of the core's pool, chosen for each statement
 *     Pool.acquire() --> Lease -----> one of its connections, as a Connection (lease.c)
 *                        release() -> back, made as it was
 *
 * The core does all of it (include/looplite/pool.h): lines, timeouts, resets, health. Here are the awaitables; how
 * the connections are opened stands in hub.c.
 *
 * A pool serves all loops of the process: each call says on which engine it calls back. One that is dropped without
 * close() warns, and closes by itself. */
#include "pool.h"

#include "arrow.h"
#include "errors.h"
#include "fetched.h"

/* ---- statements -------------------------------------------------------------------------------- */

int lp_pool_need(const lp_pool *pool)
{
    if (!pool->pool) {
        PyErr_SetString(PyExc_RuntimeError, "Pool.__init__() was not called");
        return -1;
    }
    if (pool->generation != pool->st->generation) {
        lp_raise_refused(pool->st, LL_EFORK);
        return -1;
    }
    return 0;
}

bool lp_pool_closed_meanwhile(const lp_call *call)
{
    if (!call->finished || call->status != LL_ECLOSED)
        return false;
    lp_raise_pool_closed();
    return true;
}

static lp_step query_start(lp_call *call)
{
    lp_pool *pool = (lp_pool *)call->owner;
    ll_sql sql = {.begin_before = pool->begin};
    ll_submit how;
    if (lp_pool_need(pool) < 0 || lp_query_params(call, &sql) < 0 ||
        lp_call_how(call, LL_SUBMIT_BORROW, &how) < 0)
        return LP_ERROR;
    ll_status status = ll_pool_exec(pool->pool, &sql, &how, &call->request);
    if (status == LL_ENEEDSLEASE) {
        call->result = Py_NewRef(Py_NotImplemented);
        return LP_DONE;
    }
    call->begun = true;
    if (status == LL_ECLOSED) {
        lp_raise_pool_closed();
        return LP_ERROR;
    }
    return lp_call_submitted(call, status);
}

/* Whether it was not run, because the file of the connection that shares commits is not the one of that name any more:
 * then the pool's other connections are the ones to look for it. */
static bool lost_its_file(const lp_call *call)
{
    return call->finished && call->request && call->status != LL_OK &&
           call->outcome == LL_NOT_APPLIED &&
           ll_request_error(call->request)->sqlite_code == SQLITE_READONLY_DBMOVED;
}

static lp_step query_finish(lp_call *call)
{
    lp_pool *pool = (lp_pool *)call->owner;
    if (!call->begun)
        return query_start(call);
    if (lp_pool_closed_meanwhile(call))
        return LP_ERROR;
    if (!call->again && lost_its_file(call)) {
        ll_request_unref(call->request);
        call->request = NULL;
        call->again = true;
        return query_start(call);
    }
    return lp_query_finish(call, pool->text_factory, pool->detect_types);
}

static const lp_op op_query = {
    .name = "Pool.query",
    .start = query_start,
    .finish = query_finish,
    .flags = LP_OP_STAY,
};

static PyObject *pool_query(PyObject *op, PyObject *const *args, Py_ssize_t count)
{
    return lp_query_new(((lp_pool *)op)->st, &op_query, op, args, count);
}

/* ---- close, statistics ------------------------------------------------------------------------- */

static lp_step close_start(lp_call *call)
{
    lp_pool *pool = (lp_pool *)call->owner;
    ll_submit how;
    if (!pool->pool || pool->generation != pool->st->generation)
        return LP_DONE;
    if (lp_call_how(call, 0, &how) < 0)
        return LP_ERROR;
    pool->closed = true;
    call->begun = true;
    return lp_call_submitted(call, ll_pool_close(pool->pool, &how, &call->request));
}

static lp_step close_finish(lp_call *call)
{
    if (!call->begun)
        return close_start(call);
    return lp_call_check(call) < 0 ? LP_ERROR : LP_DONE;
}

static const lp_op op_close = {
    .name = "Pool.close",
    .start = close_start,
    .finish = close_finish,
    .flags = LP_OP_SHIELD,
};

static PyObject *pool_close(PyObject *op, PyObject *unused)
{
    (void)unused;
    return lp_call_new(((lp_pool *)op)->st, &op_close, op, NULL, NULL);
}

static int put(PyObject *dict, const char *name, PyObject *value)
{
    int rc = value ? PyDict_SetItemString(dict, name, value) : -1;
    Py_XDECREF(value);
    return rc;
}

static PyObject *text_of(const char *text)
{
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
}

static PyObject *pool_stats(PyObject *op, PyObject *unused)
{
    (void)unused;
    ll_pool_stats s;
    ll_pool_get_stats(((lp_pool *)op)->pool, &s);
    PyObject *dict = PyDict_New();
    if (!dict)
        return NULL;
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"size", s.size},
        {"idle", s.idle},
        {"leased", s.leased},
        {"waiting", s.waiting},
        {"acquired", s.acquired},
        {"acquired_at_once", s.immediate},
        {"exhausted", s.exhausted},
        {"executed", s.executed},
        {"opened", s.opened},
        {"retired", s.retired},
        {"expired", s.expired},
        {"open_failures", s.open_failures},
        {"resets", s.resets},
        {"rolled_back", s.rolled_back},
        {"checkpoints", s.checkpoints},
        {"checkpoints_blocked", s.checkpoints_blocked},
        {"wal_frames", s.wal_frames},
        {"wal_filled", s.wal_filled},
        {"group_commits", s.group.batches},
        {"group_members", s.group.members},
        {"group_largest", s.group.largest},
        {"group_reruns", s.group.reruns},
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof numbers / sizeof *numbers; i++)
        rc = put(dict, numbers[i].name, PyLong_FromUnsignedLongLong(numbers[i].value));
    if (rc < 0 || put(dict, "oldest_seconds", PyFloat_FromDouble((double)s.oldest_ns / 1e9)) < 0 ||
        put(dict, "oldest_label", text_of(s.oldest_label)) < 0 ||
        put(dict, "writing", PyBool_FromLong(s.writing)) < 0 ||
        put(dict, "writer_label", text_of(s.writer_label)) < 0 ||
        put(dict, "pinned_seconds", PyFloat_FromDouble((double)s.pinned_ns / 1e9)) < 0 ||
        put(dict, "pin_label", text_of(s.pin_label)) < 0 ||
        put(dict, "pin_sql", text_of(s.pin_sql)) < 0)
        Py_CLEAR(dict);
    return dict;
}

static PyObject *pool_is_closed(PyObject *op, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((lp_pool *)op)->closed);
}

/* ---- making it --------------------------------------------------------------------------------- */

/* Seconds; None: never. */
static int time_of(PyObject *seconds, uint64_t never, uint64_t *ret_ns)
{
    if (seconds == Py_None) {
        *ret_ns = never;
        return 0;
    }
    double value = PyFloat_AsDouble(seconds);
    if (value == -1 && PyErr_Occurred())
        return -1;
    *ret_ns = value >= 1e9 ? never : value <= 1e-9 ? 1 : (uint64_t)(value * 1e9);
    return 0;
}

/* What is opened, as connect() takes it, and the path of the core's pool: for a database in memory both are the URI
 * that its connections share. New references. */
static int names_of(PyObject *database, int uri, PyObject *keywords, PyObject **ret_database,
                    PyObject **ret_path)
{
    char memory[512];
    const char *text = PyUnicode_AsUTF8(database);
    if (!text)
        return -1;
    ll_status status = ll_pool_memory_uri(text, uri ? LL_OPEN_URI : 0, memory, sizeof memory);
    if (status < 0) {
        PyErr_Format(PyExc_ValueError, "the name of the database: %s", ll_last_error());
        return -1;
    }
    bool in_memory = memory[0] != '\0';
    *ret_database = in_memory ? PyUnicode_FromString(memory) : Py_NewRef(database);
    *ret_path = *ret_database ? Py_NewRef(*ret_database) : NULL;
    if (!*ret_database ||
        PyDict_SetItemString(keywords, "uri", uri || in_memory ? Py_True : Py_False) < 0) {
        Py_CLEAR(*ret_database);
        Py_CLEAR(*ret_path);
        return -1;
    }
    return 0;
}

/* Makes the core's pool. */
static int make_pool(lp_pool *self, PyObject *database, int uri, PyObject *connect, PyObject *setup,
                     PyObject *pragmas, int worker_only, int group, ll_pool_options *options)
{
    lp_state *st = self->st;
    ll_engine *root = lp_root_engine(st);
    PyObject *keywords = PyDict_Copy(connect), *opened = NULL, *path = NULL;
    const char **texts = NULL;
    lp_opener *opener = NULL;
    int rc = -1;
    if (!root || !keywords || names_of(database, uri, keywords, &opened, &path) < 0)
        goto out;
    opener = lp_opener_new(self->module, st, opened, keywords, &options->open);
    if (!opener || !(self->hub = lp_hub_new(self->module, st, opener, setup)))
        goto out;
    texts = PyMem_Calloc((size_t)PyTuple_GET_SIZE(pragmas) + 1, sizeof *texts);
    if (!texts) {
        PyErr_NoMemory();
        goto out;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(pragmas); i++)
        if (!(texts[i] = PyUnicode_AsUTF8(PyTuple_GET_ITEM(pragmas, i))))
            goto out;
    options->open.pragmas = texts;
    if (worker_only)
        options->open.flags |= LL_OPEN_NO_INLINE;
    if (uri || opened != database) /* what the core then says of the path */
        options->open.flags |= LL_OPEN_URI;
    ll_adopt adopt = lp_hub_adopt(self->hub);
    options->adopt = &adopt;
    options->group_commit = group &&
                            opened == database; /* in memory there is no disk to wait for */
    ll_status status = ll_pool_new(root, PyUnicode_AsUTF8(path), options, &self->pool);
    if (status < 0) {
        self->pool = NULL;
        lp_raise_refused(st, status);
        goto out;
    }
    rc = 0;
out:
    PyMem_Free((void *)texts);
    Py_XDECREF(path);
    Py_XDECREF(opened);
    Py_XDECREF(keywords);
    return rc;
}

/* The isolation_level that connections are opened with. */
static ll_begin begin_of(PyObject *connect)
{
    PyObject *level = PyDict_GetItemString(connect, "isolation_level");
    return level && level != Py_None ? LL_BEGIN_DEFERRED : LL_BEGIN_NONE;
}

static PyObject *pool_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const char *const names[] = {"database",
                                        "uri",
                                        "connect",
                                        "connector",
                                        "max_size",
                                        "min_size",
                                        "connect_timeout",
                                        "idle_timeout",
                                        "health_interval",
                                        "operation_timeout",
                                        "pragmas",
                                        "worker_only",
                                        "chunk",
                                        "setup",
                                        "text_factory",
                                        "group_commit",
                                        NULL};
    PyObject *database, *connect, *connector, *acquire, *idle, *health, *operation, *pragmas,
        *setup, *text_factory;
    ll_pool_options options = {0};
    Py_ssize_t chunk;
    int uri, worker_only, group;
    PyObject *module = lp_type_module(type, &lp_module);
    if (!module || !PyArg_ParseTupleAndKeywords(
                       args, kwargs, "U$pO!OIIOOOOO!pnOOp:Pool", (char **)(uintptr_t)names,
                       &database, &uri, &PyDict_Type, &connect, &connector, &options.max_size,
                       &options.min_size, &acquire, &idle, &health, &operation, &PyTuple_Type,
                       &pragmas, &worker_only, &chunk, &setup, &text_factory, &group))
        return NULL;
    if (time_of(acquire, LL_POOL_NEVER, &options.connect_timeout_ns) < 0 ||
        time_of(idle, LL_POOL_NEVER, &options.idle_timeout_ns) < 0 ||
        time_of(health, LL_POOL_NEVER, &options.health_interval_ns) < 0 ||
        time_of(operation, 0, &options.operation_timeout_ns) < 0)
        return NULL;
    lp_pool *self = (lp_pool *)lp_new(type);
    if (!self)
        return NULL;
    self->st = PyModule_GetState(module);
    self->module = Py_NewRef(module);
    self->connector = Py_NewRef(connector);
    self->name = Py_NewRef(database);
    self->chunk = chunk;
    self->begin = begin_of(connect);
    self->generation = self->st->generation;
    if (text_factory != Py_None && text_factory != (PyObject *)&PyUnicode_Type)
        self->text_factory = Py_NewRef(text_factory);
    PyObject *detect = PyDict_GetItemString(connect, "detect_types");
    self->detect_types = detect ? (int)PyLong_AsLong(detect) : 0;
    if ((self->detect_types == -1 && PyErr_Occurred()) ||
        make_pool(self, database, uri, connect, setup, pragmas, worker_only, group, &options) < 0) {
        Py_DECREF((PyObject *)self);
        return NULL;
    }
    self->next = self->st->pools;
    if (self->next)
        self->next->previous = self;
    self->st->pools = self;
    return (PyObject *)self;
}

/* ---- the end ----------------------------------------------------------------------------------- */

static void pool_finalize(PyObject *op)
{
    lp_pool *self = (lp_pool *)op;
    if (!self->pool || self->closed || self->warned || self->st->exiting ||
        self->generation != self->st->generation)
        return;
    self->warned = true;
    PyObject *exc = lp_exc_take();
    if (PyErr_ResourceWarning(op, 1,
                              "%R was deleted before being closed; await close_pool() of its "
                              "configuration",
                              op) < 0)
        PyErr_WriteUnraisable(op);
    if (exc)
        lp_exc_give(exc);
}

void lp_pools_warn(lp_state *st)
{
    PyObject *open = PyList_New(0); /* a warning may run anything */
    for (lp_pool *pool = st->pools; open && pool; pool = pool->next)
        if (Py_REFCNT((PyObject *)pool) > 0 && PyList_Append(open, (PyObject *)pool) < 0)
            PyErr_Clear();
    for (Py_ssize_t i = 0; open && i < PyList_GET_SIZE(open); i++)
        pool_finalize(PyList_GET_ITEM(open, i));
    Py_XDECREF(open);
    PyErr_Clear();
}

void lp_pools_forget(lp_state *st)
{
    st->pools = NULL;
}

static PyObject *pool_repr(PyObject *op)
{
    lp_pool *self = (lp_pool *)op;
    return PyUnicode_FromFormat("<%s looplite Pool of %R>", self->closed ? "closed" : "open",
                                self->name ? self->name : Py_None);
}

static int pool_traverse(PyObject *op, visitproc visit, void *arg)
{
    lp_pool *self = (lp_pool *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->module);
    Py_VISIT(self->connector);
    Py_VISIT(self->text_factory);
    return lp_hub_traverse(self->hub, visit, arg);
}

static int pool_clear(PyObject *op)
{
    Py_CLEAR(((lp_pool *)op)->connector);
    Py_CLEAR(((lp_pool *)op)->text_factory);
    return 0;
}

static void unlink_pool(lp_pool *self)
{
    if (self->generation != self->st->generation)
        return; /* the parent's list */
    if (self->previous)
        self->previous->next = self->next;
    else if (self->st->pools == self)
        self->st->pools = self->next;
    if (self->next)
        self->next->previous = self->previous;
}

bool lp_pools_are_open(const lp_state *st)
{
    for (const lp_pool *pool = st->pools; pool; pool = pool->next)
        if (!pool->closed && pool->generation == st->generation)
            return true;
    return false;
}

static void pool_dealloc(PyObject *op)
{
    lp_pool *self = (lp_pool *)op;
    PyTypeObject *type = Py_TYPE(op);
    if (PyObject_CallFinalizerFromDealloc(op) < 0)
        return;
    PyObject_GC_UnTrack(op);
    if (self->weakrefs)
        PyObject_ClearWeakRefs(op);
    if (self->st)
        unlink_pool(self);
    ll_pool_unref(self->pool);
    lp_hub_unref(self->hub);
    Py_XDECREF(self->name);
    (void)pool_clear(op);
    PyObject *module = self->module;
    type->tp_free(op);
    Py_XDECREF(module);
    Py_DECREF(type);
}

static PyMethodDef pool_methods[] = {
    {"query", (PyCFunction)(void (*)(void))pool_query, METH_FASTCALL,
     "query($self, sql, parameters, types, want, /)\n--\n\nRuns one statement on a connection that "
     "others use too: a Fetched (want 0)\nor its rows (1); NotImplemented if it needs a connection "
     "of its own."},
    {"acquire", lp_pool_acquire, METH_O,
     "acquire($self, label, /)\n--\n\nA connection for the caller alone: a Lease. The label says "
     "in reports\nwhere it was taken."},
    {"close", pool_close, METH_NOARGS,
     "close($self, /)\n--\n\nCloses all connections, when the last is given back."},
    {"stats", pool_stats, METH_NOARGS, "stats($self, /)\n--\n\nWhat it counts, as a dict."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef pool_getset[] = {
    {"is_closed", pool_is_closed, NULL, "Whether close() was called.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef pool_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(lp_pool, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static char pool_doc[] = "Connections to one database, for the tasks of a program.";

static PyType_Slot pool_slots[] = {
    {Py_tp_doc, pool_doc},
    {Py_tp_new, pool_new},
    {Py_tp_traverse, pool_traverse},
    {Py_tp_clear, pool_clear},
    {Py_tp_dealloc, pool_dealloc},
    {Py_tp_finalize, pool_finalize},
    {Py_tp_repr, pool_repr},
    {Py_tp_methods, pool_methods},
    {Py_tp_getset, pool_getset},
    {Py_tp_members, pool_members},
    {0, NULL},
};

static PyType_Spec pool_spec = {
    .name = "looplite._core.Pool",
    .basicsize = sizeof(lp_pool),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = pool_slots,
};

static PyObject *module_set_max_workers(PyObject *module, PyObject *number)
{
    lp_state *st = PyModule_GetState(module);
    long most = PyLong_AsLong(number);
    if (most == -1 && PyErr_Occurred())
        return NULL;
    ll_engine *root = lp_root_engine(st);
    if (!root)
        return NULL;
    ll_status status = ll_engine_set_max_workers(root, most > 0 ? (unsigned)most : 0);
    if (status < 0) {
        lp_raise_refused(st, status);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"set_max_workers", module_set_max_workers, METH_O,
     "set_max_workers(number, /)\n--\n\nHow many threads there may be at most for all connections."},
    {NULL, NULL, 0, NULL},
};

int lp_pool_init(PyObject *module, lp_state *st)
{
    st->pool_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &pool_spec, NULL);
    if (!st->pool_type || lp_lease_init(module, st) < 0 || lp_fetched_init(module, st) < 0 ||
        lp_arrow_init(module, st) < 0 || lp_arrow_load_init(module, st) < 0 ||
        PyModule_AddObjectRef(module, "Pool", (PyObject *)st->pool_type) < 0 ||
        PyModule_AddObjectRef(module, "Lease", (PyObject *)st->lease_type) < 0 ||
        PyModule_AddObjectRef(module, "Fetched", (PyObject *)st->fetched_type) < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
