/* acursor.c: looplite.Cursor: what holds a statement's rows, and its attributes.
 *
 * A cursor is made without the core knowing of it. A statement that answers rows gives it batches
 * that are there already, and maybe a cursor of the core for the rest (fetch.c). It is dropped, closed
 * or used for the next statement: each ends the statement at once, so no lock outlives it.
 *
 * rowcount, lastrowid and description are plain values, set when the statement finished. description
 * is made when somebody asks, which most programs never do. */
#include "acursor.h"

#include "arrow.h"
#include "closed.h"

#include "docs.h"
#include "errors.h"
#include "generic.h"
#include "typed.h"

#include <string.h>

int lp_cursor_need(const lp_cursor *cursor)
{
    if (cursor->closed) {
        PyErr_SetString(cursor->st->sqlite3.ProgrammingError, "Cannot operate on a closed cursor.");
        return -1;
    }
    if (cursor->busy) {
        PyErr_SetString(cursor->st->sqlite3.ProgrammingError,
                        "Recursive use of cursors not allowed.");
        return -1;
    }
    if (cursor->conn->phase == LP_CONN_CLOSED || cursor->conn->phase == LP_CONN_NEW) {
        if (lp_closed_under_way(cursor->conn))
            lp_raise_closed_database(cursor->st);
        else
            lp_raise_connection_closed();
        return -1;
    }
    if (cursor->conn->generic) {
        PyErr_SetString(
            cursor->st->sqlite3.ProgrammingError,
            "a Cursor of a connection that looplite.connect() did not open needs the DB-API cursor as "
            "its second argument; use cursor()");
        return -1;
    }
    return lp_conn_need(cursor->conn);
}

void lp_cursor_drop_rows(lp_cursor *cursor)
{
    for (; cursor->count > 0; cursor->count--)
        ll_batch_free(cursor->batches[cursor->first++]);
    cursor->first = cursor->row = 0;
}

/* Ends the statement and drops its rows. */
static void end_statement(lp_cursor *cursor)
{
    ll_cursor_close(cursor->rest);
    cursor->rest = NULL;
    if (LP_UNLIKELY(cursor->tap != NULL)) {
        ll_arrow_tap_close(cursor->tap);
        cursor->tap = NULL;
    }
    lp_cursor_drop_rows(cursor);
    cursor->broken = false;
    cursor->generation++;
}

void lp_cursor_reset(lp_cursor *cursor)
{
    end_statement(cursor);
    ll_columns_unref(cursor->columns);
    cursor->columns = NULL;
    cursor->rowcount = -1;
    Py_CLEAR(cursor->description);
    Py_CLEAR(cursor->shape);
    Py_CLEAR(cursor->converters);
    Py_CLEAR(cursor->used);
    lp_plan_unref(cursor->plan);
    cursor->plan = NULL;
}

/* Room for one more batch behind the last. */
static bool make_room(lp_cursor *cursor)
{
    if (cursor->first + cursor->count < cursor->room)
        return true;
    if (cursor->first > 0) {
        memmove(cursor->batches, cursor->batches + cursor->first,
                cursor->count * sizeof *cursor->batches);
        cursor->first = 0;
        return true;
    }
    size_t room = cursor->room * 2;
    ll_batch **grown = PyMem_Realloc(cursor->batches == cursor->few ? NULL : cursor->batches,
                                     room * sizeof *grown);
    if (!grown)
        return false;
    if (cursor->batches == cursor->few)
        memcpy(grown, cursor->few, sizeof cursor->few);
    cursor->batches = grown;
    cursor->room = room;
    return true;
}

void lp_cursor_take(lp_cursor *cursor, ll_request *request)
{
    const ll_columns *columns = ll_request_columns(request);
    if (columns && !cursor->columns)
        cursor->columns = ll_columns_ref(columns);
    for (ll_batch *batch; (batch = ll_request_take_batch(request)) != NULL;) {
        if (!make_room(cursor)) { /* no memory: the rows after this one cannot be had */
            ll_batch_free(batch);
            cursor->broken = true;
            return;
        }
        cursor->batches[cursor->first + cursor->count++] = batch;
    }
    ll_cursor *rest = ll_request_take_cursor(request);
    if (rest) {
        ll_cursor_close(cursor->rest);
        cursor->rest = rest;
    }
}

PyObject *lp_cursor_lastrowid(const lp_cursor *cursor)
{
    if (!cursor->has_rowid)
        Py_RETURN_NONE;
    return PyLong_FromLongLong(cursor->rowid);
}

static int set_up(lp_cursor *cursor, lp_conn *conn)
{
    PyObject *factory = Py_NewRef(Py_None);
    if (conn->sqlite && !conn->generic) {
        Py_SETREF(factory,
                  lp_conn_get(conn, conn->st->row_factory_at, conn->st->names.row_factory));
        if (!factory)
            return -1;
    }
    cursor->st = conn->st;
    Py_XSETREF(cursor->row_factory, factory);
    Py_XSETREF(cursor->conn, (lp_conn *)Py_NewRef((PyObject *)conn));
    Py_XSETREF(cursor->types, Py_XNewRef(conn->types));
    cursor->rowcount = -1;
    cursor->arraysize = 1;
    cursor->chunk = conn->chunk;
    cursor->batches = cursor->few;
    cursor->room = LP_FEW_BATCHES;
    lp_watch(conn->st, "cursor made", (PyObject *)cursor);
    return 0;
}

lp_cursor *lp_cursor_new(lp_conn *conn)
{
    lp_state *st = conn->st;
    lp_cursor *cursor = (lp_cursor *)lp_spare_take(&st->cursors, st->cursor_type,
                                                   sizeof *cursor - sizeof(PyObject));
    if (cursor && set_up(cursor, conn) < 0)
        Py_CLEAR(cursor);
    return cursor;
}

/* ---- methods ----------------------------------------------------------------------------------- */

static lp_step close_start(lp_call *call)
{
    lp_cursor *cursor = (lp_cursor *)call->owner;
    if (cursor->foreign)
        return lp_generic(call);
    if (cursor->closed)
        return LP_DONE;
    if (lp_cursor_need(cursor) < 0)
        return LP_ERROR;
    end_statement(cursor); /* rowcount and description stay what they were */
    if (cursor->direct) {
        PyObject *closed = PyObject_CallMethodNoArgs(cursor->direct, cursor->st->names.close);
        if (!closed)
            return LP_ERROR;
        Py_DECREF(closed);
    }
    cursor->executing = NULL; /* what runs ends by itself; its rows are dropped */
    cursor->closed = true;
    return LP_DONE;
}

static const lp_op op_close = {
    .name = "Cursor.close",
    .start = close_start,
    .flags = LP_OP_SHIELD,
};

static PyObject *call_of(PyObject *op, const lp_op *what, PyObject *sql, PyObject *argument)
{
    lp_cursor *cursor = (lp_cursor *)op;
    if (!cursor->st) {
        PyErr_SetString(PyExc_RuntimeError, "Cursor.__init__() was not called");
        return NULL;
    }
    return lp_call_new(cursor->st, what, op, sql, argument);
}

static PyObject *cursor_close(PyObject *op, PyObject *unused)
{
    (void)unused;
    return call_of(op, &op_close, NULL, NULL);
}

static PyObject *cursor_fetchone(PyObject *op, PyObject *unused)
{
    (void)unused;
    return call_of(op, &lp_op_fetchone, NULL, NULL);
}

static PyObject *cursor_fetchall(PyObject *op, PyObject *unused)
{
    (void)unused;
    return call_of(op, &lp_op_fetchall, NULL, NULL);
}

static PyObject *cursor_fetchmany(PyObject *op, PyObject *const *args, Py_ssize_t count,
                                  PyObject *keywords)
{
    static const char *const names[2] = {"size", NULL};
    PyObject *given[2];
    if (lp_parse("fetchmany", args, count, keywords, names, 0, given) < 0)
        return NULL;
    return call_of(op, &lp_op_fetchmany, NULL, given[0]);
}

#define STATEMENT(method, what, first, second, required)                                    \
    static PyObject *cursor_##method(PyObject *op, PyObject *const *args, Py_ssize_t count, \
                                     PyObject *keywords)                                    \
    {                                                                                       \
        static const char *const names[2] = {first, second};                                \
        PyObject *given[2];                                                                 \
        if (lp_parse(#method, args, count, keywords, names, required, given) < 0)           \
            return NULL;                                                                    \
        return call_of(op, &(what), given[0], given[1]);                                    \
    }
STATEMENT(execute, lp_op_cursor_execute, "sql", "parameters", 1)
STATEMENT(executemany, lp_op_cursor_executemany, "sql", "parameters", 2)
STATEMENT(executescript, lp_op_cursor_executescript, "sql_script", NULL, 1)
#undef STATEMENT

static PyObject *cursor_aiter(PyObject *op)
{
    lp_cursor *cursor = (lp_cursor *)op;
    if (!cursor->st)
        return call_of(op, &op_close, NULL, NULL);
    if (!cursor->foreign && !lp_cursor_replaced(cursor))
        return lp_rows_new(cursor);
    PyObject *iterate = lp_generic_get(cursor->st, "iterate");
    PyObject *rows = iterate ? PyObject_CallOneArg(iterate, op) : NULL;
    Py_XDECREF(iterate);
    return rows;
}

/* `async with cursor`: gives the cursor at once. */
static PyObject *cursor_aenter(PyObject *op, PyObject *unused)
{
    (void)unused;
    if (!((lp_cursor *)op)->st)
        return call_of(op, &op_close, NULL, NULL);
    return lp_ready_new(((lp_cursor *)op)->st, Py_NewRef(op));
}

static PyObject *cursor_aexit(PyObject *op, PyObject *const *args, Py_ssize_t count)
{
    (void)args;
    (void)count;
    if (!((lp_cursor *)op)->st)
        return call_of(op, &op_close, NULL, NULL);
    return PyObject_CallMethodNoArgs(op, ((lp_cursor *)op)->st->names.close);
}

/* What aiosqlite sends everything through: on the connection. */
static PyObject *cursor_execute_private(PyObject *op, PyObject *args, PyObject *kwargs)
{
    lp_cursor *cursor = (lp_cursor *)op;
    if (!cursor->st)
        return call_of(op, &op_close, NULL, NULL);
    PyObject *execute = PyObject_GetAttr((PyObject *)cursor->conn, cursor->st->names._execute);
    PyObject *call = execute ? PyObject_Call(execute, args, kwargs) : NULL;
    Py_XDECREF(execute);
    return call;
}

static PyObject *cursor_stream(PyObject *op, PyObject *args, PyObject *kwargs)
{
    return lp_arrow_arguments(args, kwargs) < 0 ? NULL : lp_arrow_of_cursor((lp_cursor *)op);
}

#define FAST(function) (PyCFunction)(void (*)(void))(function)
static PyMethodDef cursor_methods[] = {
    {"execute", FAST(cursor_execute), METH_FASTCALL | METH_KEYWORDS,
     "execute($self, /, sql, parameters=None)\n--\n\n" DOC_CURSOR_EXECUTE},
    {"executemany", FAST(cursor_executemany), METH_FASTCALL | METH_KEYWORDS,
     "executemany($self, /, sql, parameters)\n--\n\n" DOC_CURSOR_EXECUTEMANY},
    {"executescript", FAST(cursor_executescript), METH_FASTCALL | METH_KEYWORDS,
     "executescript($self, /, sql_script)\n--\n\n" DOC_CURSOR_EXECUTESCRIPT},
    {"fetchone", cursor_fetchone, METH_NOARGS, "fetchone($self, /)\n--\n\n" DOC_CURSOR_FETCHONE},
    {"fetchmany", FAST(cursor_fetchmany), METH_FASTCALL | METH_KEYWORDS,
     "fetchmany($self, /, size=None)\n--\n\n" DOC_CURSOR_FETCHMANY},
    {"fetchall", cursor_fetchall, METH_NOARGS, "fetchall($self, /)\n--\n\n" DOC_CURSOR_FETCHALL},
    {"close", cursor_close, METH_NOARGS, "close($self, /)\n--\n\n" DOC_CURSOR_CLOSE},
    {"_execute", FAST(cursor_execute_private), METH_VARARGS | METH_KEYWORDS,
     "_execute($self, fn, /, *args, **kwargs)\n--\n\nThe Connection's _execute()."},
    {"__arrow_c_stream__", FAST(cursor_stream), METH_VARARGS | METH_KEYWORDS,
     "__arrow_c_stream__($self, /, requested_schema=None)\n--\n\nThe rows that are left, for Arrow: "
     "read while they are pulled, which blocks the thread that pulls."},
    {"__aenter__", cursor_aenter, METH_NOARGS, NULL},
    {"__aexit__", FAST(cursor_aexit), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

/* ---- attributes -------------------------------------------------------------------------------- */

/* Of a generic cursor everything is asked of the DB-API cursor. */
static PyObject *get_foreign(PyObject *op, const char *name)
{
    return PyObject_GetAttrString(((lp_cursor *)op)->foreign, name);
}

static PyObject *get_description(PyObject *op, void *unused)
{
    (void)unused;
    lp_cursor *cursor = (lp_cursor *)op;
    if (cursor->foreign)
        return get_foreign(op, "description");
    if (!cursor->columns)
        Py_RETURN_NONE;
    if (!cursor->description)
        cursor->description = lp_description(cursor->columns, cursor->conn->detect_types);
    return Py_XNewRef(cursor->description);
}

static PyObject *get_rowcount(PyObject *op, void *unused)
{
    (void)unused;
    if (((lp_cursor *)op)->foreign)
        return get_foreign(op, "rowcount");
    return PyLong_FromLongLong(((lp_cursor *)op)->rowcount);
}

static PyObject *get_lastrowid(PyObject *op, void *unused)
{
    (void)unused;
    if (((lp_cursor *)op)->foreign)
        return get_foreign(op, "lastrowid");
    return lp_cursor_lastrowid((lp_cursor *)op);
}

/* Whether its statement is still open in SQLite: it has more rows than were read ahead. */
static PyObject *get_is_open(PyObject *op, void *unused)
{
    (void)unused;
    lp_cursor *cursor = (lp_cursor *)op;
    return PyBool_FromLong(cursor->rest && cursor->conn && cursor->conn->phase == LP_CONN_OPEN);
}

static PyObject *get_row_factory(PyObject *op, void *unused)
{
    (void)unused;
    if (((lp_cursor *)op)->foreign)
        return get_foreign(op, "row_factory");
    PyObject *factory = ((lp_cursor *)op)->row_factory;
    return Py_NewRef(factory ? factory : Py_None);
}

static int set_row_factory(PyObject *op, PyObject *value, void *unused)
{
    (void)unused;
    if (((lp_cursor *)op)->foreign)
        return PyObject_SetAttrString(((lp_cursor *)op)->foreign, "row_factory", value);
    Py_XSETREF(((lp_cursor *)op)->row_factory, Py_NewRef(value ? value : Py_None));
    return 0;
}

static PyObject *get_types(PyObject *op, void *unused)
{
    (void)unused;
    PyObject *types = ((lp_cursor *)op)->types;
    return Py_NewRef(types ? types : Py_None);
}

static int set_types(PyObject *op, PyObject *value, void *unused)
{
    (void)unused;
    lp_cursor *cursor = (lp_cursor *)op;
    if (!cursor->st) {
        PyErr_SetString(PyExc_RuntimeError, "Cursor.__init__() was not called");
        return -1;
    }
    return lp_types_set(cursor->st, &cursor->types, value, cursor->foreign != NULL);
}

static PyObject *get_connection(PyObject *op, void *unused)
{
    (void)unused;
    /* aiosqlite: the sqlite3.Connection itself */
    lp_cursor *cursor = (lp_cursor *)op;
    if (cursor->foreign)
        return get_foreign(op, "connection");
    if (cursor->conn && cursor->conn->sqlite)
        return Py_NewRef(cursor->conn->sqlite);
    lp_raise_connection_closed();
    return NULL;
}

static PyObject *get_arraysize(PyObject *op, void *unused)
{
    (void)unused;
    if (((lp_cursor *)op)->foreign)
        return get_foreign(op, "arraysize");
    return PyLong_FromSsize_t(((lp_cursor *)op)->arraysize);
}

static int set_arraysize(PyObject *op, PyObject *value, void *unused)
{
    (void)unused;
    if (((lp_cursor *)op)->foreign)
        return PyObject_SetAttrString(((lp_cursor *)op)->foreign, "arraysize", value);
    if (!value) {
        PyErr_SetString(PyExc_TypeError, "arraysize cannot be deleted");
        return -1;
    }
    Py_ssize_t size = PyLong_AsSsize_t(value);
    if (size == -1 && PyErr_Occurred())
        return -1;
    ((lp_cursor *)op)->arraysize = size;
    return 0;
}

/* aiosqlite keeps the sqlite3.Cursor that does the work there. Ours does its own work: this one is on the same
 * connection, and closed when ours is. */
static PyObject *get_direct(PyObject *op, void *unused)
{
    (void)unused;
    lp_cursor *cursor = (lp_cursor *)op;
    if (cursor->foreign)
        return Py_NewRef(cursor->foreign);
    if (!cursor->conn || !cursor->conn->sqlite) {
        lp_raise_connection_closed();
        return NULL;
    }
    if (!cursor->direct) {
        cursor->direct = PyObject_CallOneArg(cursor->st->sqlite3.Cursor, cursor->conn->sqlite);
        if (!cursor->direct || PyObject_SetAttr(cursor->direct, cursor->st->names.row_factory,
                                                cursor->row_factory) < 0)
            Py_CLEAR(cursor->direct);
    }
    if (!cursor->direct)
        return NULL;
    if (cursor->closed) {
        PyObject *closed = PyObject_CallMethodNoArgs(cursor->direct, cursor->st->names.close);
        if (!closed)
            return NULL;
        Py_DECREF(closed);
    }
    return Py_NewRef(cursor->direct);
}

static PyGetSetDef cursor_getset[] = {
    {"_cursor", get_direct, NULL, "A sqlite3.Cursor on the same connection.", NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {"description", get_description, NULL, DOC_CURSOR_DESCRIPTION, NULL},
    {"rowcount", get_rowcount, NULL, DOC_CURSOR_ROWCOUNT, NULL},
    {"lastrowid", get_lastrowid, NULL, DOC_CURSOR_LASTROWID, NULL},
    {"row_factory", get_row_factory, set_row_factory, DOC_CURSOR_ROW_FACTORY, NULL},
    {"connection", get_connection, NULL, DOC_CURSOR_CONNECTION, NULL},
    {"_types", get_types, set_types, "The type adapters of statements to come, or None.", NULL},
    {"_is_open", get_is_open, NULL, "Whether its statement is still open in SQLite.", NULL},
    {"arraysize", get_arraysize, set_arraysize, DOC_CURSOR_ARRAYSIZE, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef cursor_members[] = {
    {"iter_chunk_size", T_PYSSIZET, offsetof(lp_cursor, chunk), 0, DOC_CURSOR_ITER_CHUNK_SIZE},
    {"_conn", T_OBJECT, offsetof(lp_cursor, conn), READONLY, "The Connection."},
    {"__dictoffset__", T_PYSSIZET, offsetof(lp_cursor, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(lp_cursor, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* ---- memory ------------------------------------------------------------------------------------ */

/* Cursor(connection, cursor=None): with a DB-API cursor of that connection everything is done by it. */
static int cursor_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char conn_name[] = "conn", cursor_name[] = "cursor";
    static char *names[] = {conn_name, cursor_name, NULL};
    lp_cursor *cursor = (lp_cursor *)op;
    lp_state *st = lp_state_of(Py_TYPE(op));
    PyObject *conn, *foreign = Py_None;
    if (!st || !PyArg_ParseTupleAndKeywords(args, kwargs, "O!|O:Cursor", names, st->conn_type,
                                            &conn, &foreign))
        return -1;
    if (!((lp_conn *)conn)->st) {
        PyErr_SetString(PyExc_RuntimeError, "Connection.__init__() was not called");
        return -1;
    }
    if (cursor->busy) {
        PyErr_SetString(st->sqlite3.ProgrammingError, "Recursive use of cursors not allowed.");
        return -1;
    }
    if (cursor->st) { /* again: as if it were new */
        lp_cursor_reset(cursor);
        cursor->executing = NULL;
        cursor->closed = cursor->has_rowid = false;
        Py_CLEAR(cursor->direct);
        if (cursor->batches != cursor->few)
            PyMem_Free(cursor->batches);
    }
    Py_XSETREF(cursor->foreign, foreign != Py_None ? Py_NewRef(foreign) : NULL);
    return set_up(cursor, (lp_conn *)conn);
}

static int cursor_traverse(PyObject *op, visitproc visit, void *arg)
{
    lp_cursor *cursor = (lp_cursor *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)cursor->conn);
    Py_VISIT(cursor->foreign);
    Py_VISIT(cursor->dict);
    Py_VISIT(cursor->row_factory);
    Py_VISIT(cursor->description);
    Py_VISIT(cursor->direct);
    Py_VISIT(cursor->shape);
    Py_VISIT(cursor->converters);
    Py_VISIT(cursor->types);
    Py_VISIT(cursor->used);
    return 0;
}

static int cursor_clear(PyObject *op)
{
    lp_cursor *cursor = (lp_cursor *)op;
    Py_CLEAR(cursor->dict);
    Py_CLEAR(cursor->foreign);
    Py_CLEAR(cursor->direct);
    Py_XSETREF(cursor->row_factory, Py_NewRef(Py_None));
    return 0;
}

static void cursor_dealloc(PyObject *op)
{
    lp_cursor *cursor = (lp_cursor *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (cursor->weakrefs)
        PyObject_ClearWeakRefs(op);
    ll_arrow_tap_free(cursor->tap); /* who has the stream goes on */
    cursor->tap = NULL;
    if (cursor->st)
        lp_cursor_reset(cursor);
    if (cursor->batches != cursor->few)
        PyMem_Free(cursor->batches);
    Py_CLEAR(cursor->dict);
    Py_CLEAR(cursor->row_factory);
    Py_CLEAR(cursor->foreign);
    Py_CLEAR(cursor->direct);
    Py_CLEAR(cursor->types);
    Py_CLEAR(cursor->conn);
    if (cursor->st && type == cursor->st->cursor_type)
        lp_spare_give(&cursor->st->cursors, op);
    else
        type->tp_free(op);
    Py_DECREF(type);
}

static char cursor_doc[] = DOC_CURSOR;

static PyType_Slot cursor_slots[] = {
    {Py_tp_doc, cursor_doc},
    {Py_tp_init, cursor_init},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_traverse, cursor_traverse},
    {Py_tp_clear, cursor_clear},
    {Py_tp_dealloc, cursor_dealloc},
    {Py_am_aiter, cursor_aiter},
    {Py_tp_methods, cursor_methods},
    {Py_tp_getset, cursor_getset},
    {Py_tp_members, cursor_members},
    {0, NULL},
};

static PyType_Spec cursor_spec = {
    .name = "looplite.Cursor",
    .basicsize = sizeof(lp_cursor),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = cursor_slots,
};

int lp_cursor_init(PyObject *module, lp_state *st)
{
    st->cursor_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &cursor_spec, NULL);
    if (!st->cursor_type || lp_rows_init(module, st) < 0)
        return -1;
    return PyModule_AddObjectRef(module, "Cursor", (PyObject *)st->cursor_type);
}
