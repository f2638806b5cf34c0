/* fetch.c: fetchone, fetchmany, fetchall, `async for`.
 *
 * The worker reads ahead: the first rows came with the answer of execute(), and a cursor of the core
 * (cursor->rest) has some batches more at hand. A fetch takes what is there and asks the core only when
 * nothing is; the core often has the next batch already (LL_OK), so draining a large result rarely
 * waits.
 *
 * Slices: rows are made into Python objects on the loop's thread, so a fetch of many looks at the clock
 * every 64 rows and lets the loop turn when its half millisecond is over. A large value counts more:
 * the clock is also looked at when a batch ends, and a batch is 256 KiB at most. `async for` counts the
 * time since it last waited in the same way.
 *
 * Several tasks may fetch from one cursor: the first that finds nothing at hand asks, the others wait
 * behind it. Each asking for itself would let one be told "the end" while the rows before it are still
 * on their way to another.
 *
 * A row may run Python code while it is made (row and text factories), which might use the very
 * cursor: `busy` refuses that with sqlite3's words, so the batch under our hands stays. */
#include "acursor.h"
#include "errors.h"
#include "generic.h"
#include "typed.h"

#include <looplite/sqlite.h>

enum {
    ROWS_A_LOOK = 64,
    TYPED_ROWS_A_LOOK = 8 /* of which each may parse JSON */
};

/* ---- one row ----------------------------------------------------------------------------------- */

/* Drops the batches that are used up. Whether a row is at hand. */
static bool at_hand(lp_cursor *cursor)
{
    while (cursor->count > 0) {
        if (cursor->row < ll_batch_rows(cursor->batches[cursor->first]))
            return true;
        ll_batch_free(cursor->batches[cursor->first]);
        cursor->first++;
        cursor->count--;
        cursor->row = 0;
    }
    cursor->first = 0;
    return false;
}

/* How this cursor's rows are made at this moment. */
static int open_decoder(lp_cursor *cursor, lp_decoder *d)
{
    lp_state *st = cursor->st;
    *d = (lp_decoder){.st = st, .columns = cursor->columns};
    PyObject *factory = lp_conn_get(cursor->conn, st->text_factory_at, st->names.text_factory);
    if (!factory)
        return -1;
    if (factory == (PyObject *)&PyUnicode_Type)
        Py_DECREF(factory);
    else
        d->text_factory = factory;
    if (cursor->conn->detect_types && !cursor->converters) {
        cursor->converters = lp_converters(st, cursor->columns, cursor->conn->detect_types);
        if (!cursor->converters) {
            Py_XDECREF(d->text_factory);
            return -1;
        }
    }
    if (LP_UNLIKELY(cursor->used != NULL) && !cursor->plan) {
        cursor->plan = lp_types_plan(cursor->used, cursor->columns, cursor->conn->detect_types);
        if (!cursor->plan) {
            Py_XDECREF(d->text_factory);
            return -1;
        }
    }
    if (cursor->converters && cursor->converters != Py_None)
        d->converters = Py_NewRef(cursor->converters);
    d->types =
        cursor->used; /* these two stay: nothing ends the statement while rows are made (busy) */
    d->plan = cursor->plan;
    if (cursor->row_factory == Py_None)
        return 0;
    if (!cursor->shape) {
        if (!cursor->description)
            cursor->description = lp_description(cursor->columns, cursor->conn->detect_types);
        cursor->shape = cursor->description ? lp_shape(st, cursor->description) : NULL;
        if (!cursor->shape) {
            Py_XDECREF(d->text_factory);
            Py_XDECREF(d->converters);
            return -1;
        }
    }
    d->row_factory = Py_NewRef(cursor->row_factory);
    d->shape = Py_NewRef(cursor->shape);
    return 0;
}

static void close_decoder(lp_decoder *d)
{
    Py_XDECREF(d->text_factory);
    Py_XDECREF(d->converters);
    Py_XDECREF(d->row_factory);
    Py_XDECREF(d->shape);
}

/* The row at hand, which is then gone. */
static PyObject *next_row(lp_cursor *cursor, const lp_decoder *d)
{
    ll_batch *batch = cursor->batches[cursor->first];
    const ll_value *values = ll_batch_row(batch, cursor->row);
    cursor->row++;
    cursor->busy = true;
    PyObject *row = lp_decode_row(d, values, ll_batch_columns(batch));
    cursor->busy = false;
    return row;
}

/* One row at hand with a decoder of its own. */
static PyObject *one_row(lp_cursor *cursor)
{
    lp_decoder d;
    if (open_decoder(cursor, &d) < 0)
        return NULL;
    PyObject *row = next_row(cursor, &d);
    close_decoder(&d);
    return row;
}

/* ---- asking for more --------------------------------------------------------------------------- */

static int nothing(sqlite3 *db, void *arg)
{
    (void)db;
    (void)arg;
    return SQLITE_OK;
}

/* Before anything is taken from the cursor. LP_DONE: go on. */
static lp_step ready(lp_call *call, lp_cursor *cursor)
{
    ll_submit how;
    if (cursor->foreign)
        return lp_generic(call);
    if (lp_cursor_need(cursor) < 0)
        return LP_ERROR;
    if (!cursor->executing) {
        call->barrier = false;
        return LP_DONE;
    }
    if (call->barrier && call->finished) /* executed from another loop, which has not noticed yet */
        return LP_YIELD;
    /* The statement is under way: what is submitted now comes after it. */
    if (lp_call_how(call, 0, &how) < 0)
        return LP_ERROR;
    call->barrier = true;
    return lp_call_submitted(
        call, ll_conn_call(cursor->conn->handle, nothing, NULL, &how, &call->request));
}

/* The batch has arrived, or will not: the fetches behind it look again. */
static void answered(lp_call *call, lp_cursor *cursor)
{
    if (cursor->asking != call)
        return;
    cursor->asking = NULL;
    lp_call *waiting = cursor->waiting;
    cursor->waiting = NULL;
    while (waiting) {
        lp_call *next = waiting->behind;
        waiting->behind = NULL;
        lp_call_wake(waiting);
        Py_DECREF((PyObject *)waiting);
        waiting = next;
    }
}

void lp_fetch_forget(lp_call *call, lp_cursor *cursor)
{
    if (!call->list) /* an accepted request comes back to record() */
        answered(call, cursor);
}

void lp_fetch_record(lp_call *call, lp_cursor *cursor)
{
    answered(call, cursor);
    if (call->barrier || call->generation != cursor->generation)
        return; /* the cursor has another statement by now: these rows are nobody's */
    if (call->status < 0) {
        ll_cursor_close(cursor->rest);
        cursor->rest = NULL;
        cursor->broken = true;
        return;
    }
    if (!cursor->rest)
        return;
    size_t before = cursor->count;
    lp_cursor_take(cursor, call->request);
    if (cursor->count == before) {
        ll_cursor_close(cursor->rest);
        cursor->rest = NULL;
    }
}

/* Asks for the next batch; one fetch does at a time, the others wait for what it gets. */
static lp_step more(lp_call *call, lp_cursor *cursor)
{
    ll_submit how;
    if (cursor->asking) {
        if (cursor->asking->loop != call->loop)
            return LP_YIELD; /* its callback comes in another thread: look again */
        lp_call **end = &cursor->waiting;
        while (*end)
            end = &(*end)->behind;
        *end = (lp_call *)Py_NewRef((PyObject *)call);
        return lp_call_wait(call);
    }
    if (lp_call_how(call, 0, &how) < 0)
        return LP_ERROR;
    call->generation = cursor->generation;
    call->begun = true;
    cursor->asking = call;
    ll_status status = ll_cursor_next(cursor->rest, &how, &call->request);
    if (status < 0)
        answered(call, cursor);
    return lp_call_submitted(call, status);
}

/* No row is at hand and no more can come: the end, or an interrupted statement. */
static int check_end(lp_cursor *cursor)
{
    if (!cursor->broken)
        return 0;
    PyErr_SetString(cursor->st->sqlite3.OperationalError, "interrupted");
    return -1;
}

/* ---- many rows --------------------------------------------------------------------------------- */

lp_step lp_fetch_all(lp_call *call, lp_cursor *cursor)
{
    lp_decoder d;
    if (!call->result && !(call->result = PyList_New(0)))
        return LP_ERROR;
    if (at_hand(cursor)) {
        if (open_decoder(cursor, &d) < 0)
            return LP_ERROR;
        const ll_batch *batch = NULL;
        int64_t deadline = lp_loop_turn_end(call->loop);
        if (deadline < 0) {
            close_decoder(&d);
            return LP_ERROR;
        }
        lp_step step = LP_DONE;
        for (size_t n = 1; step == LP_DONE && at_hand(cursor); n++) {
            bool next = batch && batch != cursor->batches[cursor->first];
            batch = cursor->batches[cursor->first];
            if ((next || n % (d.plan ? TYPED_ROWS_A_LOOK : ROWS_A_LOOK) == 0) &&
                lp_now_ns() > deadline) {
                step = LP_YIELD;
                break;
            }
            PyObject *row = next_row(cursor, &d);
            if (!row || PyList_Append(call->result, row) < 0)
                step = LP_ERROR;
            Py_XDECREF(row);
            if (call->limit && (size_t)PyList_GET_SIZE(call->result) == call->limit)
                break;
        }
        close_decoder(&d);
        if (step != LP_DONE ||
            (call->limit && (size_t)PyList_GET_SIZE(call->result) == call->limit))
            return step;
    }
    if (cursor->rest)
        return more(call, cursor);
    return check_end(cursor) < 0 ? LP_ERROR : LP_DONE;
}

static void fetch_record(lp_call *call)
{
    lp_fetch_record(call, (lp_cursor *)call->owner);
}

static void fetch_forget(lp_call *call)
{
    lp_fetch_forget(call, (lp_cursor *)call->owner);
}

static lp_step fetch_many(lp_call *call)
{
    lp_cursor *cursor = (lp_cursor *)call->owner;
    if (!call->barrier && lp_call_check(call) < 0)
        return LP_ERROR;
    lp_step step = ready(call, cursor);
    return step == LP_DONE ? lp_fetch_all(call, cursor) : step;
}

const lp_op lp_op_fetchall = {
    .name = "Cursor.fetchall",
    .start = fetch_many,
    .record = fetch_record,
    .cancelled = fetch_forget,
    .finish = fetch_many,
};

static lp_step fetchmany_start(lp_call *call)
{
    lp_cursor *cursor = (lp_cursor *)call->owner;
    if (cursor->foreign)
        return lp_generic(call);
    Py_ssize_t size = cursor->arraysize;
    if (call->argument && call->argument != Py_None) {
        size = PyNumber_AsSsize_t(call->argument, PyExc_OverflowError);
        if (size == -1 && PyErr_Occurred())
            return LP_ERROR;
    }
    call->limit = size > 0 ? (size_t)size : 0; /* sqlite3: 0 and below mean all */
    return fetch_many(call);
}

const lp_op lp_op_fetchmany = {
    .name = "Cursor.fetchmany",
    .start = fetchmany_start,
    .record = fetch_record,
    .cancelled = fetch_forget,
    .finish = fetch_many,
};

/* ---- one row ----------------------------------------------------------------------------------- */

static lp_step fetch_one(lp_call *call, lp_cursor *cursor)
{
    if (!call->barrier && lp_call_check(call) < 0)
        return LP_ERROR;
    lp_step step = ready(call, cursor);
    if (step != LP_DONE)
        return step;
    if (at_hand(cursor)) {
        call->result = one_row(cursor);
        return call->result ? LP_DONE : LP_ERROR;
    }
    if (cursor->rest)
        return more(call, cursor);
    return check_end(cursor) < 0 ? LP_ERROR : LP_DONE;
}

static lp_step fetchone_step(lp_call *call)
{
    return fetch_one(call, (lp_cursor *)call->owner);
}

const lp_op lp_op_fetchone = {
    .flags = LP_OP_SMALL,
    .name = "Cursor.fetchone",
    .start = fetchone_step,
    .record = fetch_record,
    .cancelled = fetch_forget,
    .finish = fetchone_step,
};

/* ---- async for --------------------------------------------------------------------------------- */

/* The iterator. A row at hand is made in __anext__() and given by a finished awaitable; only when none
 * is, or the slice is over, a call is made. */
typedef struct rows {
    PyObject_HEAD
    lp_state *st;
    lp_cursor *cursor;
    unsigned taken; /* rows since the last look at the clock */
} rows;

static lp_step anext_step(lp_call *call)
{
    rows *self = (rows *)call->owner;
    if (call->limit == 1) { /* the slice was over: let the loop turn first */
        call->limit = 0;
        return LP_YIELD;
    }
    lp_step step = fetch_one(call, self->cursor);
    if (step == LP_DONE && !call->result) {
        PyErr_SetNone(PyExc_StopAsyncIteration);
        return LP_ERROR;
    }
    return step;
}

static void anext_record(lp_call *call)
{
    lp_fetch_record(call, ((rows *)call->owner)->cursor);
}

static void anext_forget(lp_call *call)
{
    lp_fetch_forget(call, ((rows *)call->owner)->cursor);
}

static const lp_op op_anext = {
    .name = "Cursor.__anext__",
    .start = anext_step,
    .record = anext_record,
    .cancelled = anext_forget,
    .finish = anext_step,
};

static PyObject *rows_anext(PyObject *op)
{
    rows *self = (rows *)op;
    lp_cursor *cursor = self->cursor;
    bool over = false;
    if (++self->taken >= ROWS_A_LOOK) {
        self->taken = 0;
        lp_loop *loop = lp_loop_running(self->st);
        if (!loop)
            return NULL;
        over = lp_loop_turn_over(loop);
        if (!over && lp_loop_turn_end(loop) < 0)
            PyErr_Clear(); /* the loop is closing: the next call that needs it says so */
        Py_DECREF((PyObject *)loop);
    }
    if (!over && !cursor->executing && !cursor->busy && !cursor->closed &&
        cursor->conn->phase == LP_CONN_OPEN && at_hand(cursor)) {
        PyObject *row = one_row(cursor);
        return row ? lp_ready_new(self->st, row) : NULL;
    }
    PyObject *call = lp_call_new(self->st, &op_anext, op, NULL, NULL);
    if (call)
        ((lp_call *)call)->limit = over;
    return call;
}

PyObject *lp_rows_new(lp_cursor *cursor)
{
    lp_state *st = cursor->st;
    rows *self = (rows *)lp_new(st->rows_type);
    if (!self)
        return NULL;
    self->st = st;
    self->cursor = (lp_cursor *)Py_NewRef((PyObject *)cursor);
    return (PyObject *)self;
}

static int rows_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)((rows *)op)->cursor);
    return 0;
}

static void rows_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    Py_CLEAR(((rows *)op)->cursor);
    type->tp_free(op);
    Py_DECREF(type);
}

/* async generators have these, and programs close what they leave early */
static PyObject *rows_aclose(PyObject *op, PyObject *unused)
{
    (void)unused;
    return lp_ready_new(((rows *)op)->st, Py_NewRef(Py_None));
}

static PyMethodDef rows_methods[] = {
    {"aclose", rows_aclose, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot rows_slots[] = {
    {Py_tp_traverse, rows_traverse},  {Py_tp_dealloc, rows_dealloc},
    {Py_am_aiter, PyObject_SelfIter}, {Py_am_anext, rows_anext},
    {Py_tp_methods, rows_methods},    {0, NULL},
};

static PyType_Spec rows_spec = {
    .name = "looplite._core._Rows",
    .basicsize = sizeof(rows),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = rows_slots,
};

int lp_rows_init(PyObject *module, lp_state *st)
{
    st->rows_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &rows_spec, NULL);
    return st->rows_type ? 0 : -1;
}
