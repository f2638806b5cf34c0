/* fetched.c: the whole result of a statement: looplite._core.Fetched, and Connection._query().
 *
 * Sessions of looplite.adapters.aiosqlite have no cursors: a statement is run to its end by one request, which gives
 * the connection back at once, and its rows lie in batches until somebody wants them. What they become
 * (dicts; which columns are JSON, ...) is what a Types says (typed.h).
 *
 * Two ways lead to the rows. A call that wants them as a list makes them as fetchall() does, in slices, so a large
 * result does not stop the loop. A Fetched makes them when it is asked, at once: that is a plain call, which cannot
 * give way. Making a row may run code of the program (deserializers), so nothing here may change under it: a Fetched
 * never does. */
#include "fetched.h"

#include "acursor.h"
#include "arrow.h"
#include "errors.h"
#include "hook.h"
#include "typed.h"
#include "work.h"

#include <string.h>

enum {
    ROWS_A_LOOK = 8
};

typedef struct fetched {
    PyObject_HEAD
    /* fixed after creation */
    lp_state *st;
    ll_columns *columns; /* NULL: the statement gives no rows */
    ll_batch **batches;
    size_t count, rows;                          /* batches; rows in all of them */
    PyObject *types, *text_factory, *converters; /* the last two: NULL or an object, never None */
    lp_plan *plan;                               /* NULL without columns */
    int64_t changes, rowid;
    bool is_dml;
    /* GIL */
    PyObject *names; /* tuple of str; NULL before it is asked for */
    int detect_types;
} fetched;

/* ---- making it --------------------------------------------------------------------------------- */

static int take_batches(fetched *self, ll_request *request)
{
    size_t room = 0;
    for (ll_batch *batch; (batch = ll_request_take_batch(request)) != NULL;) {
        if (self->count == room) {
            room = room ? room * 2 : 1;
            ll_batch **grown = PyMem_Realloc((void *)self->batches, room * sizeof *grown);
            if (!grown) {
                ll_batch_free(batch);
                PyErr_NoMemory();
                return -1;
            }
            self->batches = grown;
        }
        self->batches[self->count++] = batch;
        self->rows += ll_batch_rows(batch);
    }
    return 0;
}

PyObject *lp_fetched_of(lp_state *st, ll_request *request, PyObject *types, PyObject *text_factory,
                        int detect_types)
{
    fetched *self = (fetched *)lp_new(st->fetched_type);
    if (!self)
        return NULL;
    self->st = st;
    self->types = Py_NewRef(types);
    self->text_factory = Py_XNewRef(text_factory);
    self->detect_types = detect_types;
    self->changes = ll_request_changes(request);
    self->rowid = ll_request_rowid(request);
    self->is_dml = ll_request_is_dml(request);
    const ll_columns *columns = ll_request_columns(request);
    if (!columns)
        return (PyObject *)self;
    self->columns = ll_columns_ref(columns);
    self->plan = lp_types_plan(types, self->columns, detect_types);
    if (!self->plan || take_batches(self, request) < 0)
        goto fail;
    if (detect_types) {
        self->converters = lp_converters(st, self->columns, detect_types);
        if (!self->converters)
            goto fail;
        if (self->converters == Py_None)
            Py_CLEAR(self->converters);
    }
    return (PyObject *)self;
fail:
    Py_DECREF((PyObject *)self);
    return NULL;
}

static lp_decoder decoder_of(const fetched *self)
{
    return (lp_decoder){.st = self->st,
                        .columns = self->columns,
                        .converters = self->converters,
                        .text_factory = self->text_factory,
                        .types = self->types,
                        .plan = self->plan};
}

/* ---- asking it --------------------------------------------------------------------------------- */

/* A place in the rows: a batch, and a row of it. */
typedef struct place {
    size_t batch, row;
} place;

static const ll_value *values_at(const fetched *self, place *at)
{
    while (at->batch < self->count && at->row >= ll_batch_rows(self->batches[at->batch])) {
        at->row -= ll_batch_rows(self->batches[at->batch]);
        at->batch++;
    }
    return at->batch < self->count ? ll_batch_row(self->batches[at->batch], at->row) : NULL;
}

static PyObject *row_at(const fetched *self, const lp_decoder *decoder, place *at)
{
    const ll_value *values = values_at(self, at);
    return lp_decode_row(decoder, values, ll_columns_count(self->columns));
}

static PyObject *fetched_all(PyObject *op, PyObject *unused)
{
    (void)unused;
    fetched *self = (fetched *)op;
    lp_decoder decoder = decoder_of(self);
    place at = {0, 0};
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < self->rows; i++, at.row++) {
        PyObject *row = row_at(self, &decoder, &at);
        if (!row || PyList_Append(list, row) < 0)
            Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}

static PyObject *fetched_row(PyObject *op, PyObject *index)
{
    fetched *self = (fetched *)op;
    Py_ssize_t i = PyNumber_AsSsize_t(index, PyExc_IndexError);
    if (i == -1 && PyErr_Occurred())
        return NULL;
    if (i < 0)
        i += (Py_ssize_t)self->rows;
    if (i < 0 || (size_t)i >= self->rows) {
        PyErr_SetString(PyExc_IndexError, "there is no such row");
        return NULL;
    }
    lp_decoder decoder = decoder_of(self);
    place at = {0, (size_t)i};
    return row_at(self, &decoder, &at);
}

static PyObject *fetched_value(PyObject *op, PyObject *unused)
{
    (void)unused;
    fetched *self = (fetched *)op;
    if (self->rows == 0 || ll_columns_count(self->columns) == 0) {
        PyErr_SetString(PyExc_IndexError, "there is no row");
        return NULL;
    }
    lp_decoder decoder = decoder_of(self);
    place at = {0, 0};
    return lp_decode_column(&decoder, 0, values_at(self, &at));
}

/* Values as they are stored: what a Types would make of them is for Python alone. */
static PyObject *fetched_stream(PyObject *op, PyObject *args, PyObject *kwargs)
{
    fetched *self = (fetched *)op;
    if (lp_arrow_arguments(args, kwargs) < 0)
        return NULL;
    return lp_arrow_of_rows(self->st, self->columns, self->batches, self->count, 0);
}

static Py_ssize_t fetched_length(PyObject *op)
{
    return (Py_ssize_t)((fetched *)op)->rows;
}

static PyObject *get_names(PyObject *op, void *unused)
{
    (void)unused;
    fetched *self = (fetched *)op;
    if (!self->names) {
        PyObject *description = self->columns ? lp_description(self->columns, self->detect_types)
                                              : PyTuple_New(0);
        Py_ssize_t count = description ? PyTuple_GET_SIZE(description) : 0;
        PyObject *names = description ? PyTuple_New(count) : NULL;
        for (Py_ssize_t i = 0; names && i < count; i++)
            PyTuple_SET_ITEM(names, i,
                             Py_NewRef(PyTuple_GET_ITEM(PyTuple_GET_ITEM(description, i), 0)));
        Py_XDECREF(description);
        self->names = names;
    }
    return Py_XNewRef(self->names);
}

static PyObject *get_changes(PyObject *op, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(((fetched *)op)->changes);
}

static PyObject *get_rowid(PyObject *op, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(((fetched *)op)->rowid);
}

static PyObject *get_is_dml(PyObject *op, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((fetched *)op)->is_dml);
}

static int fetched_traverse(PyObject *op, visitproc visit, void *arg)
{
    fetched *self = (fetched *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->types);
    Py_VISIT(self->text_factory);
    Py_VISIT(self->converters);
    return 0;
}

static int fetched_clear(PyObject *op)
{
    (void)op; /* what it holds does not refer to it */
    return 0;
}

static void fetched_dealloc(PyObject *op)
{
    fetched *self = (fetched *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    for (size_t i = 0; i < self->count; i++)
        ll_batch_free(self->batches[i]);
    PyMem_Free((void *)self->batches);
    lp_plan_unref(self->plan);
    ll_columns_unref(self->columns);
    Py_XDECREF(self->names);
    Py_XDECREF(self->types);
    Py_XDECREF(self->text_factory);
    Py_XDECREF(self->converters);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef fetched_methods[] = {
    {"all", fetched_all, METH_NOARGS, "all($self, /)\n--\n\nAll rows, a new list."},
    {"row", fetched_row, METH_O, "row($self, index, /)\n--\n\nOne row."},
    {"value", fetched_value, METH_NOARGS,
     "value($self, /)\n--\n\nThe first value of the first row."},
    {"__arrow_c_stream__", (PyCFunction)(void (*)(void))fetched_stream,
     METH_VARARGS | METH_KEYWORDS,
     "__arrow_c_stream__($self, /, requested_schema=None)\n--\n\nA copy of all rows for Arrow."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef fetched_getset[] = {
    {"column_names", get_names, NULL, "The names of the columns.", NULL},
    {"changes", get_changes, NULL, "Rows changed.", NULL},
    {"rowid", get_rowid, NULL, "last_insert_rowid() of the connection right after it.", NULL},
    {"is_dml", get_is_dml, NULL, "Whether it is an INSERT, UPDATE, DELETE or REPLACE.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static char fetched_doc[] = "The result of a statement; rows are made when they are asked for.";

static PyType_Slot fetched_slots[] = {
    {Py_tp_doc, fetched_doc},         {Py_tp_traverse, fetched_traverse},
    {Py_tp_clear, fetched_clear},     {Py_tp_dealloc, fetched_dealloc},
    {Py_tp_methods, fetched_methods}, {Py_tp_getset, fetched_getset},
    {Py_mp_length, fetched_length},   {0, NULL},
};

static PyType_Spec fetched_spec = {
    .name = "looplite._core.Fetched",
    .basicsize = sizeof(fetched),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = fetched_slots,
};

/* ---- calls that give it ------------------------------------------------------------------------- */

/* What lp_call's fields are here: iterator = the Types, target = the Fetched once it is there, result = the list. */

PyObject *lp_query_new(lp_state *st, const lp_op *op, PyObject *owner, PyObject *const *args,
                       Py_ssize_t count)
{
    if (count != 4) {
        PyErr_Format(PyExc_TypeError, "%s() takes 4 arguments (%zd given)", op->name, count);
        return NULL;
    }
    long want = PyLong_AsLong(args[3]);
    if (want == -1 && PyErr_Occurred())
        return NULL;
    if (Py_TYPE(args[2]) != st->types_type || want < 0 || want >= LP_WANTS) {
        PyErr_Format(PyExc_TypeError, "%s() takes (sql, parameters, types, want)", op->name);
        return NULL;
    }
    lp_call *call = (lp_call *)lp_call_new(st, op, owner, args[0], args[1]);
    if (call) {
        call->iterator = Py_NewRef(args[2]);
        call->limit = (size_t)want;
    }
    return (PyObject *)call;
}

int lp_query_params(lp_call *call, ll_sql *sql)
{
    sql->text = lp_sql_text(call->st, "execute", call->sql, &sql->size);
    if (!sql->text)
        return -1;
    if (call->limit == LP_WANT_COLUMNS)
        sql->flags |= LL_SQL_COLUMNS;
    lp_params_done(&call->params);
    Py_XSETREF(call->params.types, Py_NewRef(call->iterator));
    if (lp_params_fill(call->st, &call->params, call->sql, call->argument) < 0)
        return -1;
    sql->params = (ll_params){
        .values = call->params.values, .names = call->params.names, .count = call->params.count};
    return 0;
}

/* The rows of call->target, into the list call->result, from where it is long. */
static lp_step make_rows(lp_call *call)
{
    const fetched *self = (const fetched *)call->target;
    if (!call->result && !(call->result = PyList_New(0)))
        return LP_ERROR;
    int64_t deadline = lp_loop_turn_end(call->loop);
    if (deadline < 0)
        return LP_ERROR;
    lp_decoder decoder = decoder_of(self);
    size_t made = (size_t)PyList_GET_SIZE(call->result);
    place at = {0, made};
    for (size_t n = 1; made < self->rows; n++, made++, at.row++) {
        PyObject *row = row_at(self, &decoder, &at);
        int rc = row ? PyList_Append(call->result, row) : -1;
        Py_XDECREF(row);
        if (rc < 0)
            return LP_ERROR;
        if (n % ROWS_A_LOOK == 0 && made + 1 < self->rows && lp_now_ns() > deadline)
            return LP_YIELD;
    }
    return LP_DONE;
}

lp_step lp_query_finish(lp_call *call, PyObject *text_factory, int detect_types)
{
    if (!call->target) {
        if (lp_call_check(call) < 0)
            return LP_ERROR;
        if (call->limit == LP_WANT_COLUMNS) {
            call->result = lp_columns_of(call->st, call->request);
            return call->result ? LP_DONE : LP_ERROR;
        }
        PyObject *made = lp_fetched_of(call->st, call->request, call->iterator, text_factory,
                                       detect_types);
        if (!made)
            return LP_ERROR;
        if (call->limit == LP_WANT_FETCHED) {
            call->result = made;
            return LP_DONE;
        }
        call->target = made;
    }
    return make_rows(call);
}

/* ---- Connection._query() ------------------------------------------------------------------------ */

static lp_step query_start(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    ll_sql sql = {0};
    ll_submit how;
    if (conn->generic) {
        PyErr_SetString(call->st->sqlite3.NotSupportedError,
                        "a session needs a connection that looplite opened itself");
        return LP_ERROR;
    }
    if (lp_conn_need(conn) < 0)
        return LP_ERROR;
    if (lp_conn_must_wait(conn, call))
        return LP_YIELD;
    if (lp_query_params(call, &sql) < 0 || lp_conn_begin_mode(conn, &sql.begin_before) < 0 ||
        lp_conn_need(conn) < 0 || lp_call_how(call, LL_SUBMIT_BORROW, &how) < 0)
        return LP_ERROR;
    if (LP_UNLIKELY(conn->on_statement != NULL))
        lp_hook_arm(call, conn->on_statement, &how);
    call->begun = true;
    return lp_call_submitted(call, ll_conn_submit(conn->handle, &sql, &how, &call->request));
}

static lp_step query_finish(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    lp_state *st = call->st;
    if (!call->begun)
        return query_start(call);
    PyObject *factory = NULL;
    if (!call->target && conn->sqlite) {
        factory = lp_conn_get(conn, st->text_factory_at, st->names.text_factory);
        if (!factory)
            return LP_ERROR;
        if (factory == (PyObject *)&PyUnicode_Type)
            Py_CLEAR(factory);
    }
    lp_step step = lp_query_finish(call, factory, conn->detect_types);
    Py_XDECREF(factory);
    return step;
}

static const lp_op op_query = {
    .name = "Connection._query",
    .start = query_start,
    .finish = query_finish,
    .flags = LP_OP_STAY,
};

static PyObject *conn_query(PyObject *op, PyObject *const *args, Py_ssize_t count)
{
    lp_conn *conn = (lp_conn *)op;
    if (!conn->st) {
        PyErr_SetString(PyExc_RuntimeError, "Connection.__init__() was not called");
        return NULL;
    }
    return lp_query_new(conn->st, &op_query, op, args, count);
}

static PyMethodDef methods[] = {
    {"_query", (PyCFunction)(void (*)(void))conn_query, METH_FASTCALL,
     "_query($self, sql, parameters, types, want, /)\n--\n\nRuns a statement to its end, for "
     "sessions: a Fetched (want 0), its rows (1) or a Columns (2)."},
};

int lp_fetched_init(PyObject *module, lp_state *st)
{
    st->fetched_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &fetched_spec, NULL);
    if (!st->fetched_type)
        return -1;
    return lp_methods_add(st->conn_type, methods, sizeof methods / sizeof *methods);
}
