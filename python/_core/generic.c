/* generic.c: connections that are none of ours, and methods that are not ours any more.
 *
 * Connection(connector) takes any connector: sqlcipher3, pysqlite3, a plain sqlite3.connect with its check
 * of the thread, a mock. The core cannot own such a handle. And a program may replace _execute(), through
 * which aiosqlite sends everything, on an object, in a subclass or on the class, and expects to see every
 * statement pass. Both take the generic path: coroutines in looplite/_generic.py that are written in terms of
 * conn._execute(function, ...) and of the DB-API object, on a thread of the connection's own. Slower, as
 * aiosqlite is, and right. The Connection, its Cursors and their Results are the same classes; what has to
 * decide is the first step of each call.
 *
 * Whether something was replaced must cost nothing where it was not. CPython gives each state of a class a
 * version (tp_version_tag), for its own caches: the answer for the last class of each kind is kept with
 * its version, and only an object's own __dict__ is looked into besides. */
#include "generic.h"

#include "errors.h"

/* ---- what was replaced ------------------------------------------------------------------------- */

/* Which of the methods `names` of an object are not the originals any more. */
static unsigned look(PyObject *op, PyObject *dict, PyObject *const *names,
                     PyObject *const *originals, size_t count, lp_seen *seen)
{
    PyTypeObject *type = Py_TYPE(op);
    unsigned found = 0, own = 0;
    for (size_t i = 0; i < count; i++) {
        PyObject *now = PyObject_GetAttr((PyObject *)type, names[i]);
        if (now != originals[i]) /* what is ours binds to itself on a class */
            found |= 1u << i;
        if (dict && PyDict_GetItemWithError(dict, names[i]))
            own |= 1u << i;
        PyErr_Clear();
        Py_XDECREF(now);
    }
    *seen = (lp_seen){.type = type, .version = type->tp_version_tag, .replaced = found};
    return found | own;
}

unsigned lp_conn_replaced_look(lp_conn *conn)
{
    lp_state *st = conn->st;
    PyObject *const names[] = {st->names._execute, st->names._connect, st->names.stop};
    return look((PyObject *)conn, conn->dict, names, st->originals, 3, &st->seen_conn);
}

unsigned lp_cursor_replaced_look(lp_cursor *cursor)
{
    lp_state *st = cursor->st;
    PyObject *const names[] = {st->names.fetchmany};
    return look((PyObject *)cursor, cursor->dict, names, st->originals + 3, 1, &st->seen_cursor);
}

static int keep_originals(lp_state *st)
{
    PyObject *const names[LP_ORIGINALS] = {st->names._execute, st->names._connect, st->names.stop,
                                           st->names.fetchmany};
    for (size_t i = 0; i < LP_ORIGINALS; i++) {
        PyTypeObject *type = i < 3 ? st->conn_type : st->cursor_type;
        st->originals[i] = PyObject_GetAttr((PyObject *)type, names[i]);
        if (!st->originals[i])
            return -1;
    }
    return 0;
}

PyObject *lp_generic_connect(lp_state *st)
{
    PyObject *name = PyUnicode_FromString("looplite.aiosqlite.core");
    PyObject *core = name ? PyImport_GetModule(name) : NULL;
    Py_XDECREF(name);
    if (!core && PyErr_Occurred())
        return NULL;
    /* (What stands under its name in sys.modules is another matter: that replaces nothing here.) */
    PyObject *sqlite3 = core ? PyObject_GetAttrString(core, "sqlite3")
                             : Py_NewRef(st->sqlite3_module);
    PyObject *connect = sqlite3 ? PyObject_GetAttr(sqlite3, st->names.connect) : NULL;
    Py_XDECREF(sqlite3);
    Py_XDECREF(core);
    return connect;
}

void lp_generic_let_go(lp_conn *conn)
{
    bool open = conn->phase == LP_CONN_OPEN || conn->phase == LP_CONN_CLOSING;
    if (open && conn->generation != conn->st->generation) {
        conn->sqlite = conn->thread =
            NULL; /* the parent's: closing it would drop the parent's locks */
        return;
    }
    if (open && conn->thread)
        lp_thread_tell(conn->thread, "leave");
    Py_CLEAR(conn->sqlite);
}

/* ---- looplite._generic ------------------------------------------------------------------------- */

PyObject *lp_generic_get(lp_state *st, const char *name)
{
    (void)st;
    PyObject *module = PyImport_ImportModule("looplite._generic");
    PyObject *function = module ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    return function;
}

static lp_conn *conn_of(const lp_call *call)
{
    lp_state *st = call->st;
    return PyObject_TypeCheck(call->owner, st->conn_type) ? (lp_conn *)call->owner
                                                          : ((lp_cursor *)call->owner)->conn;
}

lp_step lp_generic(lp_call *call)
{
    lp_conn *conn = conn_of(call);
    if (conn->phase == LP_CONN_OPEN && lp_conn_need(conn) < 0)
        return LP_ERROR; /* after a fork */
    PyObject *find = lp_generic_get(call->st, "find");
    PyObject *function = find ? PyObject_CallFunction(find, "s", call->op->name) : NULL;
    Py_XDECREF(find);
    PyObject *arguments[4] = {call->owner};
    size_t count = 1;
    if (call->sql)
        arguments[count++] = call->sql;
    if (call->argument)
        arguments[count++] = call->argument;
    if (call->iterator) /* named arguments (work.c) */
        arguments[count++] = call->iterator;
    call->delegate = function ? PyObject_Vectorcall(function, arguments, count, NULL) : NULL;
    Py_XDECREF(function);
    return call->delegate ? LP_DELEGATE : LP_ERROR;
}

/* ---- what looplite._generic tells -------------------------------------------------------------- */

static lp_conn *conn_arg(PyObject *module, PyObject *op)
{
    lp_state *st = PyModule_GetState(module);
    if (PyObject_TypeCheck(op, st->conn_type) && ((lp_conn *)op)->st)
        return (lp_conn *)op;
    PyErr_Format(PyExc_TypeError, "a looplite.Connection is needed, not '%s'",
                 Py_TYPE(op)->tp_name);
    return NULL;
}

/* _generic_opened(conn, connection) */
static PyObject *generic_opened(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    lp_conn *conn = count == 2 ? conn_arg(module, args[0]) : NULL;
    if (!conn)
        return NULL;
    if (conn->phase != LP_CONN_CONNECTING) { /* stopped meanwhile */
        lp_raise_inactive(conn);
        return NULL;
    }
    conn->generation = conn->st->generation;
    Py_XSETREF(conn->sqlite, Py_NewRef(args[1]));
    conn->phase = LP_CONN_OPEN;
    Py_RETURN_NONE;
}

/* _generic_ended(conn) */
static PyObject *generic_ended(PyObject *module, PyObject *op)
{
    lp_conn *conn = conn_arg(module, op);
    if (!conn)
        return NULL;
    conn->phase = LP_CONN_CLOSED;
    if (conn->generic)
        Py_CLEAR(conn->sqlite);
    Py_RETURN_NONE;
}

/* _is_generic(conn): whether it is none of ours. */
static PyObject *is_generic(PyObject *module, PyObject *op)
{
    lp_conn *conn = conn_arg(module, op);
    return conn ? PyBool_FromLong(conn->generic) : NULL;
}

static PyMethodDef generic_defs[] = {
    {"_is_generic", is_generic, METH_O, NULL},
    {"_generic_opened", (PyCFunction)(void (*)(void))generic_opened, METH_FASTCALL,
     "A generic connection is open."},
    {"_generic_ended", generic_ended, METH_O, "A generic connection is closed."},
    {NULL, NULL, 0, NULL},
};

int lp_generic_init(PyObject *module, lp_state *st)
{
    if (keep_originals(st) < 0)
        return -1;
    return PyModule_AddFunctions(module, generic_defs);
}
