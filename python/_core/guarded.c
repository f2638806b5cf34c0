/* guarded.c: the sqlite3.Connection behind a looplite connection, used directly.
 *
 * `conn._conn` is a real sqlite3.Connection, which programs use on the worker (by `_execute()`) and, some of them, on the
 * thread of the loop. Two things must not escape us:
 *
 *   - It is used while a worker has the connection. SQLite's mutex keeps the calls of the two apart, but CPython waits
 *     for that mutex with the GIL held (to bind a value, to register a function), and a worker that runs a function
 *     written in Python waits for the GIL with the mutex held: that never ends. ([M] so it is with sqlite3 alone.)
 *     So its methods take the mutex first, without the GIL, and with it the whole connection (ll_conn_enter()).
 *   - It registers code of the program: functions, hooks. SQLite does not tell what is registered, so it is noted
 *     when it happens, and wrapped (callback.c).
 *
 * Therefore the connection is opened as a class derived from the one that was asked for, with the methods below in front:
 *
 *     sqlite3.Connection <- guard_type <- "Connection"           (no factory)
 *     sqlite3.Connection <- guard_type <- derived class          (factory=Mine)
 *                        <-    Mine    <-
 *
 * Each method forwards to the next one in the order of bases, so a factory's own methods are called. Cursors that it makes
 * are guarded likewise. in_transaction and total_changes do not wait (guarded_state.c). What only reads a field (row_factory),
 * and interrupt(), which is meant to be called at any time and takes no mutex, are left as they are.
 *
 * A factory that is no class (a function that makes a connection) cannot be derived from: its connection runs nothing on
 * the loop. */
#include "guarded.h"

#include "errors.h"
#include "running.h"

#include <time.h>

/* ---- links -------------------------------------------------------------------------------------- */

lp_link *lp_guarded_link(lp_state *st, PyObject *connection)
{
    if (!PyObject_TypeCheck(connection, st->guard_type))
        return NULL;
    PyObject *dict = PyObject_GenericGetDict(connection, NULL);
    PyObject *link = dict ? PyDict_GetItemWithError(dict, st->names._looplite) : NULL;
    if (link) {
        Py_INCREF(link);
    } else if (dict && !PyErr_Occurred()) {
        PyObject *module = lp_type_module(st->guard_type, &lp_module);
        link = module ? (PyObject *)lp_link_new(module, st) : NULL;
        if (link && PyDict_SetItem(dict, st->names._looplite, link) < 0)
            Py_CLEAR(link);
    }
    Py_XDECREF(dict);
    return (lp_link *)link;
}

int lp_guarded_enter(lp_link *link, lp_entry *entry)
{
    entry->link = NULL;
    entry->handle = NULL;
    if (!link->handle)
        return 0;
    if (link->awaited > 0) { /* for a loop, which must not wait for it in turn */
        PyObject *loop = lp_running_ask(link->st);
        bool on_loop = loop && loop != Py_None;
        Py_XDECREF(loop);
        if (on_loop)
            PyErr_SetString(PyExc_RuntimeError,
                            "this connection waits for an asynchronous function: it cannot be used "
                            "directly on an event loop meanwhile");
        if (!loop || on_loop)
            return -1;
    }
    ll_conn *handle = ll_conn_ref(link->handle);
    sqlite3 *db;
    ll_status status;
    Py_BEGIN_ALLOW_THREADS status = ll_conn_enter(handle, &db);
    Py_END_ALLOW_THREADS if (status < 0)
    {
        if (status == LL_ECLOSED)
            lp_raise_closed_database(link->st);
        else
            lp_raise_refused(link->st, status);
        ll_conn_unref(handle);
        return -1;
    }
    link->outside++;
    entry->link = (lp_link *)Py_NewRef((PyObject *)link);
    entry->handle = handle;
    return 0;
}

void lp_guarded_leave(lp_entry *entry)
{
    if (!entry->handle)
        return;
    entry->link->outside--;
    ll_conn_leave(entry->handle);
    ll_conn_unref(entry->handle);
    Py_DECREF((PyObject *)entry->link);
}

/* ---- forwarding --------------------------------------------------------------------------------- */

/* super(type, self).name(*args, **kwargs) */
static PyObject *forward(PyTypeObject *type, PyObject *self, const char *name, PyObject *args,
                         PyObject *kwargs)
{
    PyObject *next = PyObject_CallFunctionObjArgs((PyObject *)&PySuper_Type, (PyObject *)type, self,
                                                  NULL);
    PyObject *method = next ? PyObject_GetAttrString(next, name) : NULL;
    PyObject *result = method ? PyObject_Call(method, args, kwargs) : NULL;
    Py_XDECREF(method);
    Py_XDECREF(next);
    return result;
}

/* The same while the connection is this thread's. */
static PyObject *guarded(PyObject *self, const char *name, PyObject *args, PyObject *kwargs)
{
    lp_state *st = lp_state_of(Py_TYPE(self));
    lp_link *link = st ? lp_guarded_link(st, self) : NULL;
    PyObject *result = NULL;
    lp_entry entry;
    if (link && lp_guarded_enter(link, &entry) == 0) {
        result = forward(st->guard_type, self, name, args, kwargs);
        lp_guarded_leave(&entry);
    }
    Py_XDECREF((PyObject *)link);
    return result;
}

#define GUARDED(name)                                                               \
    static PyObject *guard_##name(PyObject *self, PyObject *args, PyObject *kwargs) \
    {                                                                               \
        return guarded(self, #name, args, kwargs);                                  \
    }
GUARDED(commit)
GUARDED(rollback)
GUARDED(__exit__)
GUARDED(serialize)
GUARDED(deserialize)
GUARDED(blobopen)
GUARDED(getconfig)
GUARDED(setconfig)
GUARDED(getlimit)
GUARDED(setlimit)
#undef GUARDED

static PyObject *guard_cursor(PyObject *self, PyObject *args, PyObject *kwargs)
{
    lp_state *st = lp_state_of(Py_TYPE(self));
    if (!st)
        return NULL;
    bool asked = PyTuple_GET_SIZE(args) > 0 || (kwargs && PyDict_GET_SIZE(kwargs) > 0);
    PyObject *ours = asked ? Py_NewRef(args) : PyTuple_Pack(1, (PyObject *)st->guarded_cursor_type);
    PyObject *cursor = ours ? forward(st->guard_type, self, "cursor", ours, kwargs) : NULL;
    Py_XDECREF(ours);
    return cursor;
}

/* The short forms: sqlite3's own would make a cursor without asking cursor(), so it is made here. A factory's method
 * is called instead. */
static PyObject *short_form(PyObject *self, const char *name, PyObject *args, PyObject *kwargs)
{
    lp_state *st = lp_state_of(Py_TYPE(self));
    PyObject *next = st ? PyObject_CallFunctionObjArgs((PyObject *)&PySuper_Type,
                                                       (PyObject *)st->guard_type, self, NULL)
                        : NULL;
    PyObject *method = next ? PyObject_GetAttrString(next, name) : NULL;
    PyObject *result = NULL;
    if (method && !PyCFunction_Check(method)) {
        result = guarded(self, name, args, kwargs);
    } else if (method) {
        PyObject *cursor = PyObject_CallMethodNoArgs(self, st->names.cursor);
        PyObject *run = cursor ? PyObject_GetAttrString(cursor, name) : NULL;
        result = run ? PyObject_Call(run, args, kwargs) : NULL;
        Py_XDECREF(run);
        Py_XDECREF(cursor);
    }
    Py_XDECREF(method);
    Py_XDECREF(next);
    return result;
}

#define SHORT_FORM(name)                                                            \
    static PyObject *guard_##name(PyObject *self, PyObject *args, PyObject *kwargs) \
    {                                                                               \
        return short_form(self, #name, args, kwargs);                               \
    }
SHORT_FORM(execute)
SHORT_FORM(executemany)
SHORT_FORM(executescript)
#undef SHORT_FORM

/* backup(target): the target is written, so it has to be this thread's, too. It comes first: who reads it and this one
 * in the opposite order at the same time would wait for ever, as with sqlite3 alone. */
static PyObject *guard_backup(PyObject *self, PyObject *args, PyObject *kwargs)
{
    lp_state *st = lp_state_of(Py_TYPE(self));
    PyObject *target = PyTuple_GET_SIZE(args) > 0 ? PyTuple_GET_ITEM(args, 0) : NULL;
    if (st && !target && kwargs)
        target = PyDict_GetItemString(kwargs, "target");
    lp_link *link = st && target && target != self ? lp_guarded_link(st, target) : NULL;
    PyObject *result = NULL;
    lp_entry entry = {0};
    if (st && !PyErr_Occurred() && (!link || lp_guarded_enter(link, &entry) == 0)) {
        result = guarded(self, "backup", args, kwargs);
        lp_guarded_leave(&entry);
    }
    Py_XDECREF((PyObject *)link);
    return result;
}

PyObject *lp_guarded_get(const lp_state *st, PyObject *connection, PyObject *name)
{
    PyObject *descriptor = name == st->names.isolation_level ? st->base_isolation_level
                                                             : st->base_autocommit;
    if (!descriptor || Py_TYPE(connection) != st->guarded_type)
        return PyObject_GetAttr(connection, name);
    return Py_TYPE(descriptor)
        ->tp_descr_get(descriptor, connection, (PyObject *)Py_TYPE(connection));
}

/* Of the sqlite3.Connection; borrowed. */
static PyObject *base_descriptor(const lp_state *st, const char *name)
{
    return strcmp(name, "autocommit") == 0 ? st->base_autocommit : st->base_isolation_level;
}

static PyObject *guard_get(PyObject *self, void *name)
{
    lp_state *st = lp_state_of(Py_TYPE(self));
    PyObject *descriptor = st ? base_descriptor(st, name) : NULL;
    return descriptor
             ? Py_TYPE(descriptor)->tp_descr_get(descriptor, self, (PyObject *)Py_TYPE(self))
             : NULL;
}

/* isolation_level = None and autocommit = ... end or begin a transaction. */
static int guard_set(PyObject *self, PyObject *value, void *name)
{
    lp_state *st = lp_state_of(Py_TYPE(self));
    lp_link *link = st ? lp_guarded_link(st, self) : NULL;
    PyObject *descriptor = link ? base_descriptor(st, name) : NULL;
    int rc = -1;
    lp_entry entry;
    if (descriptor && lp_guarded_enter(link, &entry) == 0) {
        rc = Py_TYPE(descriptor)->tp_descr_set(descriptor, self, value);
        lp_guarded_leave(&entry);
    }
    Py_XDECREF((PyObject *)link);
    return rc;
}

/* ---- close -------------------------------------------------------------------------------------- */

/* Closing it directly closes the looplite connection, whose statements are on the same handle. On a worker of it that
 * happens behind the request that runs; elsewhere it is waited for. */
static PyObject *guard_close(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static const struct timespec pause = {.tv_nsec = 200000};
    lp_state *st = lp_state_of(Py_TYPE(self));
    lp_link *link = st ? lp_guarded_link(st, self) : NULL;
    if (!link)
        return NULL;
    if (link->pooled) {
        PyErr_SetString(st->sqlite3.ProgrammingError,
                        "this connection belongs to a pool, which closes it");
        Py_DECREF((PyObject *)link);
        return NULL;
    }
    if (!link->handle || !link->conn || link->conn->generation != st->generation) {
        Py_DECREF((PyObject *)link);
        return forward(st->guard_type, self, "close", args, kwargs);
    }
    lp_conn *conn = (lp_conn *)Py_NewRef((PyObject *)link->conn);
    bool here = lp_working_here(conn) || ll_conn_running(link->handle) != NULL;
    conn->phase = LP_CONN_CLOSED;
    Py_INCREF(self);
    lp_conn_let_go(conn);
    Py_DECREF((PyObject *)conn);
    while (!here && !link->closed && !st->exiting) {
        Py_BEGIN_ALLOW_THREADS nanosleep(&pause, NULL);
        Py_END_ALLOW_THREADS
    }
    Py_DECREF(self);
    Py_DECREF((PyObject *)link);
    Py_RETURN_NONE;
}

/* ---- what is registered ------------------------------------------------------------------------- */

enum own {
    OWN_FUNCTION,
    OWN_COLLATION,
    OWN_AUTHORIZER,
    OWN_TRACE,
    OWN_PROGRESS,
    OWN_EXTENSION
};

/* A method that registers something. */
struct registrar {
    const char *name;
    enum own own;
    lp_callback_kind kind;
    Py_ssize_t at;       /* where the callable stands */
    const char *keyword; /* its name */
};

static PyObject *argument(PyObject *args, PyObject *kwargs, Py_ssize_t at, const char *keyword)
{
    if (at < PyTuple_GET_SIZE(args))
        return PyTuple_GET_ITEM(args, at);
    return kwargs ? PyDict_GetItemString(kwargs, keyword) : NULL;
}

/* Puts `value`, whose reference it takes, in the place of an argument that is there. */
static int replace(PyObject **args, PyObject **kwargs, Py_ssize_t at, const char *keyword,
                   PyObject *value)
{
    int rc = -1;
    if (!value)
        return -1;
    if (at < PyTuple_GET_SIZE(*args)) {
        PyObject *list = PySequence_List(*args);
        if (list && PyList_SetItem(list, at, Py_NewRef(value)) == 0) {
            PyObject *tuple = PyList_AsTuple(list);
            rc = tuple ? 0 : -1;
            if (tuple)
                Py_SETREF(*args, tuple);
        }
        Py_XDECREF(list);
    } else {
        PyObject *copy = PyDict_Copy(*kwargs);
        if (copy && PyDict_SetItemString(copy, keyword, value) == 0) {
            Py_SETREF(*kwargs, Py_NewRef(copy));
            rc = 0;
        }
        Py_XDECREF(copy);
    }
    Py_DECREF(value);
    return rc;
}

/* What has to be told when the method has worked. */
static void tell(lp_link *link, const struct registrar *what, PyObject *first, PyObject *target,
                 long steps)
{
    unsigned flag = 0;
    const char *name = first && PyUnicode_Check(first) ? PyUnicode_AsUTF8(first) : NULL;
    bool set = target && target != Py_None;
    switch (what->own) {
    case OWN_FUNCTION:
        lp_link_own(link, ll_own_function(name), 0);
        return;
    case OWN_COLLATION:
        lp_link_own(link, ll_own_collation(name), 0);
        return;
    case OWN_EXTENSION: /* it may register anything */
        lp_link_own(link, LL_OWN_FUNCTIONS, 0);
        return;
    case OWN_AUTHORIZER:
        flag = LL_OWN_AUTHORIZER;
#if PY_VERSION_HEX < 0x030B0000
        set = true; /* None is no callable, and denies everything */
#endif
        break;
    case OWN_TRACE:
        flag = LL_OWN_TRACE;
        break;
    case OWN_PROGRESS:
        flag = LL_OWN_PROGRESS;
        set = set && steps > 0;
        break;
    }
    lp_link_own(link, set ? flag : 0, set ? 0 : flag);
}

/* A handler that is called rarely would let cancelled statements run for long: it is called at least so often, and
 * calls the program's in between. [M] as many steps take 1 to 10 ms. */
enum {
    MOST_STEPS = 100000
};

static int limit_steps(PyObject **args, PyObject **kwargs, PyObject *handler, long *ret_steps)
{
    PyObject *given = argument(*args, *kwargs, 1, "n");
    *ret_steps = given && PyLong_Check(given) ? PyLong_AsLong(given) : 0;
    if (PyErr_Occurred() || *ret_steps > INT_MAX) { /* sqlite3 says so */
        PyErr_Clear();
        *ret_steps = 0;
    }
    if (*ret_steps <= MOST_STEPS || !PyCallable_Check(handler))
        return 0;
    lp_callback_set_every(handler, ((unsigned long)*ret_steps + MOST_STEPS - 1) / MOST_STEPS);
    return replace(args, kwargs, 1, "n", PyLong_FromLong(MOST_STEPS));
}

static PyObject *registering(PyObject *self, PyObject *args, PyObject *kwargs,
                             const struct registrar *what)
{
    lp_state *st = lp_state_of(Py_TYPE(self));
    lp_link *link = st ? lp_guarded_link(st, self) : NULL;
    if (!link)
        return NULL;
    PyObject *first = argument(args, kwargs, 0, "name"), *result = NULL;
    PyObject *target = what->keyword ? argument(args, kwargs, what->at, what->keyword) : NULL;
    PyObject *ours = Py_NewRef(args), *named = Py_XNewRef(kwargs);
    long steps = 0;
    int rc = 0;
    if (target && target != Py_None) {
        PyObject *callback = lp_callback_new(link, what->kind, target);
        rc = replace(&ours, &named, what->at, what->keyword, Py_XNewRef(callback));
        if (rc == 0 && what->own == OWN_PROGRESS)
            rc = callback == target ? 0 : limit_steps(&ours, &named, callback, &steps);
        Py_XDECREF(callback);
    }
    lp_entry entry;
    if (rc == 0 && lp_guarded_enter(link, &entry) == 0) {
        result = forward(st->guard_type, self, what->name, ours, named);
        if (result)
            tell(link, what, first, target, steps);
        lp_guarded_leave(&entry);
    }
    Py_DECREF(ours);
    Py_XDECREF(named);
    Py_DECREF((PyObject *)link);
    return result;
}

#define REGISTRAR(method, own, kind, at, keyword)                                             \
    static PyObject *guard_##method(PyObject *self, PyObject *args, PyObject *kwargs)         \
    {                                                                                         \
        static const struct registrar what = {#method, own, LP_CALLBACK_##kind, at, keyword}; \
        return registering(self, args, kwargs, &what);                                        \
    }
REGISTRAR(create_function, OWN_FUNCTION, PLAIN, 2, "func")
REGISTRAR(create_aggregate, OWN_FUNCTION, AGGREGATE, 2, "aggregate_class")
REGISTRAR(create_window_function, OWN_FUNCTION, AGGREGATE, 2, "aggregate_class")
REGISTRAR(create_collation, OWN_COLLATION, PLAIN, 1, "callback")
REGISTRAR(set_authorizer, OWN_AUTHORIZER, PLAIN, 0, "authorizer_callback")
REGISTRAR(set_trace_callback, OWN_TRACE, PLAIN, 0, "trace_callback")
REGISTRAR(set_progress_handler, OWN_PROGRESS, PROGRESS, 0, "progress_handler")
REGISTRAR(enable_load_extension, OWN_EXTENSION, PLAIN, 0, NULL)
REGISTRAR(load_extension, OWN_EXTENSION, PLAIN, 0, NULL)
#undef REGISTRAR

/* ---- cursors ------------------------------------------------------------------------------------ */

/* The link of the connection that a cursor is of; NULL without an exception: it has none of ours. */
static lp_link *link_of_cursor(lp_state *st, PyObject *cursor)
{
    PyObject *connection = PyObject_GetAttr(cursor, st->names.connection);
    lp_link *link = connection ? lp_guarded_link(st, connection) : NULL;
    Py_XDECREF(connection);
    return link;
}

static PyObject *guarded_cursor(PyObject *self, const char *name, PyObject *args, PyObject *kwargs)
{
    lp_state *st = lp_state_of(Py_TYPE(self));
    lp_link *link = st ? link_of_cursor(st, self) : NULL;
    PyObject *result = NULL;
    lp_entry entry = {0};
    if (st && !PyErr_Occurred() && (!link || lp_guarded_enter(link, &entry) == 0)) {
        if (name)
            result = forward(st->guarded_cursor_type, self, name, args, kwargs);
        else
            result = st->guarded_cursor_type->tp_base->tp_iternext(self);
        lp_guarded_leave(&entry);
    }
    Py_XDECREF((PyObject *)link);
    return result;
}

#define GUARDED(name)                                                                \
    static PyObject *cursor_##name(PyObject *self, PyObject *args, PyObject *kwargs) \
    {                                                                                \
        return guarded_cursor(self, #name, args, kwargs);                            \
    }
GUARDED(execute)
GUARDED(executemany)
GUARDED(executescript)
GUARDED(fetchone)
GUARDED(fetchmany)
GUARDED(fetchall)
GUARDED(close)
#undef GUARDED

static PyObject *cursor_iternext(PyObject *self)
{
    return guarded_cursor(self, NULL, NULL, NULL);
}

/* ---- the types ---------------------------------------------------------------------------------- */

#define METHOD(prefix, name)                                                                    \
    {                                                                                           \
#        name, (PyCFunction)(void (*)(void))prefix##_##name, METH_VARARGS | METH_KEYWORDS, NULL \
    }
static PyMethodDef guard_methods[] = {
    METHOD(guard, execute),
    METHOD(guard, executemany),
    METHOD(guard, executescript),
    METHOD(guard, commit),
    METHOD(guard, rollback),
    METHOD(guard, __exit__),
    METHOD(guard, serialize),
    METHOD(guard, deserialize),
    METHOD(guard, blobopen),
    METHOD(guard, getconfig),
    METHOD(guard, setconfig),
    METHOD(guard, getlimit),
    METHOD(guard, setlimit),
    METHOD(guard, cursor),
    METHOD(guard, backup),
    METHOD(guard, close),
    METHOD(guard, create_function),
    METHOD(guard, create_aggregate),
    METHOD(guard, create_window_function),
    METHOD(guard, create_collation),
    METHOD(guard, set_authorizer),
    METHOD(guard, set_trace_callback),
    METHOD(guard, set_progress_handler),
    METHOD(guard, enable_load_extension),
    METHOD(guard, load_extension),
};

static PyMethodDef cursor_methods[] = {
    METHOD(cursor, execute),  METHOD(cursor, executemany), METHOD(cursor, executescript),
    METHOD(cursor, fetchone), METHOD(cursor, fetchmany),   METHOD(cursor, fetchall),
    METHOD(cursor, close),
};
#undef METHOD

static char isolation_level[] = "isolation_level", autocommit[] = "autocommit";
static PyGetSetDef guard_getset[] = {
    {isolation_level, guard_get, guard_set, NULL, isolation_level},
    {autocommit, guard_get, guard_set, NULL, autocommit},
};

static PyType_Slot guard_slots[] = {
    {0, NULL},
};

static PyType_Spec guard_spec = {
    .name = "looplite._core._Guard",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = guard_slots,
};

static PyType_Slot cursor_slots[] = {
    {Py_tp_iternext, cursor_iternext},
    {0, NULL},
};

static PyType_Spec cursor_spec = {
    .name = "sqlite3.Cursor",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = cursor_slots,
};

/* type(name, bases, {"__module__": module}) by the metaclass of the last base. */
static PyObject *derive(PyObject *metaclass, PyObject *name, PyObject *bases, PyObject *module)
{
    PyObject *dict = PyDict_New();
    PyObject *type = NULL;
    if (dict && PyDict_SetItemString(dict, "__module__", module) == 0)
        type = PyObject_CallFunctionObjArgs(metaclass, name, bases, dict, NULL);
    Py_XDECREF(dict);
    return type;
}

/* The class derived from a factory is kept in the factory, so that both go together. */
static PyObject *derived_from(lp_state *st, PyObject *factory)
{
    PyObject *dict = PyObject_GetAttrString(factory, "__dict__");
    PyObject *known = dict ? PyObject_GetItem(dict, st->names._looplite) : NULL;
    Py_XDECREF(dict);
    PyErr_Clear();
    if (known)
        return known;
    PyObject *name = PyObject_GetAttrString(factory, "__name__");
    PyObject *module = PyObject_GetAttrString(factory, "__module__");
    PyObject *bases = PyTuple_Pack(3, (PyObject *)st->guard_type, factory,
                                   (PyObject *)st->looked_type);
    PyObject *type = NULL;
    if (name && module && bases)
        type = derive((PyObject *)Py_TYPE(factory), name, bases, module);
    if (type && PyObject_SetAttr(factory, st->names._looplite, type) < 0)
        PyErr_Clear(); /* it is made anew the next time */
    Py_XDECREF(bases);
    Py_XDECREF(module);
    Py_XDECREF(name);
    return type;
}

PyObject *lp_guarded_class(lp_state *st, PyObject *factory)
{
    if (!factory || factory == st->sqlite3.Connection)
        return Py_NewRef((PyObject *)st->guarded_type);
    if (!PyType_Check(factory) ||
        !PyType_IsSubtype((PyTypeObject *)factory, (PyTypeObject *)st->sqlite3.Connection))
        return NULL;
    PyObject *type = derived_from(st, factory);
    PyErr_Clear(); /* a factory that wants no children */
    return type;
}

/* Adds those that the base has in the running Python. */
static int add_known(PyTypeObject *type, PyMethodDef *methods, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        PyObject *there = PyObject_GetAttrString((PyObject *)type->tp_base, methods[i].ml_name);
        Py_XDECREF(there);
        PyErr_Clear();
        if (there && lp_methods_add(type, &methods[i], 1) < 0)
            return -1;
    }
    return 0;
}

/* The same for attributes. */
static int add_known_attributes(lp_state *st, PyTypeObject *type)
{
    for (size_t i = 0; i < sizeof guard_getset / sizeof *guard_getset; i++) {
        PyObject *there = PyObject_GetAttrString((PyObject *)type->tp_base, guard_getset[i].name);
        PyErr_Clear();
        if (!there)
            continue;
        *(i == 0 ? &st->base_isolation_level : &st->base_autocommit) = there;
        PyObject *ours = PyDescr_NewGetSet(type, &guard_getset[i]);
        int rc = ours ? PyObject_SetAttrString((PyObject *)type, guard_getset[i].name, ours) : -1;
        Py_XDECREF(ours);
        if (rc < 0)
            return -1;
    }
    return 0;
}

int lp_guarded_init(PyObject *module, lp_state *st)
{
    st->guard_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &guard_spec,
                                                              st->sqlite3.Connection);
    st->guarded_cursor_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &cursor_spec,
                                                                       st->sqlite3.Cursor);
    if (!st->guard_type || !st->guarded_cursor_type || lp_guarded_state_init(module, st) < 0 ||
        add_known_attributes(st, st->guard_type) < 0 ||
        add_known(st->guard_type, guard_methods, sizeof guard_methods / sizeof *guard_methods) <
            0 ||
        add_known(st->guarded_cursor_type, cursor_methods,
                  sizeof cursor_methods / sizeof *cursor_methods) < 0)
        return -1;
    PyObject *name = PyUnicode_FromString("Connection"), *home = PyUnicode_FromString("sqlite3");
    PyObject *bases = PyTuple_Pack(2, (PyObject *)st->guard_type, (PyObject *)st->looked_type);
    if (name && home && bases)
        st->guarded_type = (PyTypeObject *)derive((PyObject *)&PyType_Type, name, bases, home);
    Py_XDECREF(bases);
    Py_XDECREF(home);
    Py_XDECREF(name);
    return st->guarded_type ? 0 : -1;
}
