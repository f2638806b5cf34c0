/* execute.c: the calls that run SQL: execute, executemany, executescript and their short forms.
 *
 * All of them fill a cursor: their owner, or one that a Connection's call makes for its answer
 * (call->target). The steps are the same:
 *
 *     start    may the cursor be used? end its old statement; convert; submit
 *     record   the request has finished: rowcount, lastrowid, the first rows, the rest of the result
 *     finish   raise, or give the cursor (the row, the rows)
 *
 * record runs from the callback, before any task goes on, so calls that were started later find the
 * cursor as it is then. A cursor whose statement is replaced while it runs (two calls gathered on one
 * cursor) belongs to the later one: `executing` names it, and the earlier one's rows are dropped.
 *
 * Order: statements of one connection run in the order in which they were started. An executemany()
 * with many rows converts them in slices and lets the loop turn in between; the other calls of its
 * connection wait meanwhile, for they were started later (lp_conn_must_wait()). */
#include "acursor.h"
#include "errors.h"
#include "generic.h"
#include "hook.h"

#include <string.h>

enum {
    ROWS_A_LOOK = 64
}; /* rows converted between two looks at the clock */

/* ---- the cursor of a call ---------------------------------------------------------------------- */

static bool is_cursor(const lp_call *call)
{
    PyTypeObject *type = Py_TYPE(call->owner);
    if (type ==
        call->st
            ->conn_type) /* asked several times a call: mostly without a walk over base classes */
        return false;
    return type == call->st->cursor_type || PyType_IsSubtype(type, call->st->cursor_type);
}

static lp_conn *conn_of(const lp_call *call)
{
    return is_cursor(call) ? ((lp_cursor *)call->owner)->conn : (lp_conn *)call->owner;
}

/* The cursor to fill: valid after begin(). */
static lp_cursor *target_of(const lp_call *call)
{
    return (lp_cursor *)call->target;
}

/* Checks who may go on, and makes the cursor ready for a new statement. LP_DONE: go on. */
static lp_step begin(lp_call *call)
{
    lp_conn *conn = conn_of(call);
    if (is_cursor(call)) {
        lp_cursor *cursor = (lp_cursor *)call->owner;
        if (cursor->foreign)
            return lp_generic(call);
        if (lp_cursor_need(cursor) < 0)
            return LP_ERROR;
        if (lp_conn_must_wait(conn, call))
            return LP_YIELD;
        if (!call->target)
            call->target = Py_NewRef(call->owner);
    } else {
        if (lp_conn_is_generic(conn))
            return lp_generic(call);
        if (lp_conn_need(conn) < 0)
            return LP_ERROR;
        if (lp_conn_must_wait(conn, call))
            return LP_YIELD;
        if (!call->target)
            call->target = (PyObject *)lp_cursor_new(conn);
        if (!call->target)
            return LP_ERROR;
    }
    return LP_DONE;
}

/* sqlite3 forgets rowcount at every error of execute() and executemany(), also that the cursor cannot be used. */
static lp_step not_begun(lp_call *call, lp_step step)
{
    if (step == LP_ERROR && is_cursor(call))
        ((lp_cursor *)call->owner)->rowcount = -1;
    return step;
}

/* The statement is about to be submitted: from now on the cursor is this call's. */
static void claim(lp_call *call)
{
    lp_cursor *cursor = target_of(call);
    lp_cursor_reset(cursor);
    cursor->used = Py_XNewRef(call->params.types);
    cursor->executing = call;
    call->begun = true;
}

static lp_step submitted(lp_call *call, ll_status status)
{
    lp_cursor *cursor = target_of(call);
    if (status < 0 && cursor->executing == call)
        cursor->executing = NULL;
    return lp_call_submitted(call, status);
}

/* Whether a finished call may fill its cursor; it is not executing any more. */
static bool disclaim(lp_call *call)
{
    lp_cursor *cursor = target_of(call);
    if (!cursor || cursor->executing != call)
        return false;
    cursor->executing = NULL;
    return call->status == LL_OK && !lp_call_is_lost(call);
}

static void forget(lp_call *call)
{
    lp_conn *conn = conn_of(call);
    if (conn->collecting == call)
        conn->collecting = NULL;
    /* An accepted request comes back to record(), which lets the cursor go. */
    if (call->target && !call->list && target_of(call)->executing == call)
        target_of(call)->executing = NULL;
    if (call->target)
        lp_fetch_forget(call, target_of(call));
}

static lp_step give_cursor(lp_call *call)
{
    call->result = Py_NewRef(call->target);
    return LP_DONE;
}

/* ---- execute ----------------------------------------------------------------------------------- */

/* Whether a text holds no statement at all: spaces, semicolons, comments. */
static bool is_blank(const char *sql)
{
    for (;;) {
        sql += strspn(sql, " \t\n\r\f;");
        if (sql[0] == '-' && sql[1] == '-') {
            sql += strcspn(sql, "\n");
        } else if (sql[0] == '/' && sql[1] == '*') {
            const char *end = strstr(sql + 2, "*/");
            sql = end ? end + 2 : sql + strlen(sql);
        } else {
            return sql[0] == '\0';
        }
    }
}

/* Only DML begins a transaction by itself: for what begins with another letter the connection need not be
 * asked whether it is to. */
static bool may_be_dml(const char *sql)
{
    char first = (char)(sql[0] | 0x20);
    return first < 'a' || first > 'z' || strchr("iudr", first) != NULL;
}

static lp_step execute_start(lp_call *call)
{
    lp_step step = begin(call);
    if (step != LP_DONE)
        return not_begun(call, step);
    lp_conn *conn = conn_of(call);
    ll_sql sql = {.flags = LL_SQL_STREAM};
    if (PyUnicode_Check(call->sql)) /* a text that is wrong ends the old statement too */
        lp_cursor_reset(target_of(call));
    sql.text = lp_sql_text(call->st, "execute", call->sql, &sql.size);
    if (!sql.text || (may_be_dml(sql.text) && lp_conn_begin_mode(conn, &sql.begin_before) < 0))
        return LP_ERROR;
    /* Adapters may run in here, and anything with them. */
    Py_XSETREF(call->params.types, Py_XNewRef(target_of(call)->types));
    target_of(call)->busy = true;
    int filled = lp_params_fill(call->st, &call->params, call->sql, call->argument);
    target_of(call)->busy = false;
    if (filled < 0 || (is_cursor(call) ? lp_cursor_need(target_of(call)) : lp_conn_need(conn)) < 0)
        return LP_ERROR;
    sql.params = (ll_params){
        .values = call->params.values, .names = call->params.names, .count = call->params.count};
    ll_submit how;
    if (lp_call_how(call, LL_SUBMIT_BORROW, &how) < 0)
        return LP_ERROR;
    if (LP_UNLIKELY(conn->on_statement != NULL))
        lp_hook_arm(call, conn->on_statement, &how);
    claim(call);
    return submitted(call, ll_conn_submit(conn->handle, &sql, &how, &call->request));
}

static void execute_record(lp_call *call)
{
    if (!disclaim(call))
        return;
    lp_cursor *cursor = target_of(call);
    cursor->rowcount = ll_request_is_dml(call->request) ? ll_request_changes(call->request) : -1;
    if (!is_blank((PyUnicode_AsUTF8)(call->sql))) { /* cached, for it was submitted: cannot fail */
        cursor->rowid = ll_request_rowid(call->request);
        cursor->has_rowid = true;
    }
    lp_cursor_take(cursor, call->request);
}

static lp_step execute_finish(lp_call *call)
{
    if (!call->begun)
        return execute_start(call);
    if (lp_call_check(call) < 0)
        return LP_ERROR;
    return give_cursor(call);
}

const lp_op lp_op_execute = {
    .name = "Connection.execute",
    .start = execute_start,
    .record = execute_record,
    .finish = execute_finish,
    .cancelled = forget,
    .flags = LP_OP_STAY,
};

const lp_op lp_op_cursor_execute = {
    .name = "Cursor.execute",
    .start = execute_start,
    .record = execute_record,
    .finish = execute_finish,
    .cancelled = forget,
    .flags = LP_OP_STAY,
};

/* ---- execute_insert: the rowid as a row -------------------------------------------------------- */

static lp_step insert_finish(lp_call *call)
{
    if (!call->begun)
        return execute_start(call);
    if (lp_call_check(call) < 0)
        return LP_ERROR;
    lp_cursor *cursor = target_of(call);
    PyObject *rowid = lp_cursor_lastrowid(cursor);
    PyObject *row = rowid ? PyTuple_Pack(1, rowid) : NULL;
    Py_XDECREF(rowid);
    lp_cursor_reset(cursor);
    if (row && cursor->row_factory != Py_None) {
        PyObject *description = Py_BuildValue("((sOOOOOO))", "last_insert_rowid()", Py_None,
                                              Py_None, Py_None, Py_None, Py_None, Py_None);
        PyObject *shape = description ? lp_shape(call->st, description) : NULL;
        PyObject *arguments[] = {shape, row};
        PyObject *made = shape ? PyObject_Vectorcall(cursor->row_factory, arguments, 2, NULL)
                               : NULL;
        Py_XDECREF(shape);
        Py_XDECREF(description);
        Py_SETREF(row, made);
    }
    call->result = row;
    return row ? LP_DONE : LP_ERROR;
}

const lp_op lp_op_execute_insert = {
    .name = "Connection.execute_insert",
    .start = execute_start,
    .record = execute_record,
    .finish = insert_finish,
    .cancelled = forget,
    .flags = LP_OP_STAY,
};

/* ---- execute_fetchall: the rows at once -------------------------------------------------------- */

static void rows_record(lp_call *call)
{
    lp_cursor *cursor = target_of(call);
    if (cursor->executing == call)
        execute_record(call);
    else
        lp_fetch_record(call, cursor);
    call->generation = cursor->generation;
}

static lp_step rows_finish(lp_call *call)
{
    if (!call->begun)
        return execute_start(call);
    if (lp_call_check(call) < 0)
        return LP_ERROR;
    return lp_fetch_all(call, target_of(call));
}

const lp_op lp_op_execute_fetchall = {
    .name = "Connection.execute_fetchall",
    .start = execute_start,
    .record = rows_record,
    .finish = rows_finish,
    .cancelled = forget,
    .flags = LP_OP_STAY,
};

/* ---- executemany ------------------------------------------------------------------------------- */

/* sqlite3 lets executemany() run all that is not read-only; the core is asked to refuse what is no DML
 * before it runs, but for statements that begin with one of these. */
static bool may_be_no_dml(const char *sql)
{
    static const char *const words[] = {"CREATE", "DROP", "ALTER", "WITH", "ANALYZE", "REINDEX"};
    sql += strspn(sql, " \t\n\r\f");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (PyOS_strnicmp(sql, words[i], (Py_ssize_t)strlen(words[i])) == 0)
            return true;
    return false;
}

static lp_step many_submit(lp_call *call)
{
    lp_conn *conn = conn_of(call);
    ll_many many = {.values = call->params.values,
                    .names = call->params.names,
                    .rows = call->params.rows,
                    .width = call->params.count};
    ll_submit how;
    many.text = lp_sql_text(call->st, "executemany", call->sql, &many.size);
    many.dml_only = many.text && !may_be_no_dml(many.text);
    if (!many.text || lp_conn_begin_mode(conn, &many.begin_before) < 0 ||
        lp_call_how(call, LL_SUBMIT_BORROW, &how) < 0)
        return LP_ERROR;
    if (LP_UNLIKELY(conn->on_statement != NULL))
        lp_hook_arm(call, conn->on_statement, &how);
    claim(call);
    return submitted(call, ll_exec_many(conn->handle, &many, &how, &call->request));
}

/* Converts rows for one slice, then submits them all. */
static lp_step many_collect(lp_call *call)
{
    lp_conn *conn = conn_of(call);
    int64_t deadline = lp_loop_turn_end(call->loop);
    if (deadline < 0)
        return LP_ERROR;
    for (size_t n = 1;; n++) {
        target_of(call)->busy = true;
        PyObject *row = PyIter_Next(call->iterator);
        int rc = row ? lp_params_add_row(call->st, &call->params, call->sql, row) : -1;
        target_of(call)->busy = false;
        Py_XDECREF(row);
        if (rc < 0)
            break;
        if (n % ROWS_A_LOOK == 0 && lp_now_ns() > deadline)
            return LP_YIELD;
    }
    conn->collecting = NULL;
    Py_CLEAR(call->iterator);
    /* sqlite3 takes the rows one by one: those before the one that raises have been run by then. */
    if (PyErr_Occurred())
        call->late = lp_exc_take();
    if ((is_cursor(call) ? lp_cursor_need(target_of(call)) : lp_conn_need(conn)) < 0)
        return LP_ERROR;
    return many_submit(call);
}

static lp_step many_start(lp_call *call)
{
    size_t size;
    lp_step step = begin(call);
    if (step != LP_DONE)
        return not_begun(call, step);
    if (!lp_sql_text(call->st, "executemany", call->sql, &size))
        return LP_ERROR;
    call->iterator = PyObject_GetIter(call->argument);
    if (!call->iterator)
        return LP_ERROR;
    conn_of(call)->collecting = call;
    Py_XSETREF(call->params.types, Py_XNewRef(target_of(call)->types));
    return many_collect(call);
}

static void many_record(lp_call *call)
{
    if (disclaim(call) && ll_request_is_dml(call->request))
        target_of(call)->rowcount = ll_request_changes(call->request);
}

static lp_step many_finish(lp_call *call)
{
    if (!call->begun)
        return call->iterator ? many_collect(call) : many_start(call);
    if (lp_call_check(call) < 0)
        return LP_ERROR;
    if (ll_request_is_read(call->request)) { /* WITH ... SELECT */
        PyErr_SetString(call->st->sqlite3.ProgrammingError,
                        "executemany() can only execute DML statements.");
        return LP_ERROR;
    }
    if (call->late) {
        target_of(call)->rowcount = -1;
        PyObject *exc = call->late;
        call->late = NULL;
        lp_exc_give(exc);
        return LP_ERROR;
    }
    return give_cursor(call);
}

const lp_op lp_op_executemany = {
    .name = "Connection.executemany",
    .start = many_start,
    .record = many_record,
    .finish = many_finish,
    .cancelled = forget,
    .flags = LP_OP_STAY,
};

const lp_op lp_op_cursor_executemany = {
    .name = "Cursor.executemany",
    .start = many_start,
    .record = many_record,
    .finish = many_finish,
    .cancelled = forget,
    .flags = LP_OP_STAY,
};

/* ---- executescript ----------------------------------------------------------------------------- */

/* The text of a script, with the errors of the running version. */
static const char *script_text(lp_call *call, size_t *ret_size)
{
    Py_ssize_t size;
    if (!PyUnicode_Check(call->sql)) {
#if PY_VERSION_HEX >= 0x030B0000
        PyErr_Format(PyExc_TypeError, "executescript() argument must be str, not %s",
                     call->sql == Py_None ? "None" : Py_TYPE(call->sql)->tp_name);
#else
        PyErr_SetString(PyExc_ValueError, "script argument must be unicode.");
#endif
        return NULL;
    }
    const char *text = PyUnicode_AsUTF8AndSize(call->sql, &size);
    if (!text)
        return NULL;
    *ret_size = strlen(text);
#if PY_VERSION_HEX >= 0x030B0000 /* 3.10 ends at the null character */
    if (*ret_size != (size_t)size) {
        PyErr_SetString(PyExc_ValueError, "embedded null character");
        return NULL;
    }
#endif
    return text;
}

static lp_step script_start(lp_call *call)
{
    lp_step step = begin(call);
    if (step != LP_DONE)
        return step;
    size_t size;
    ll_submit how;
    lp_conn *conn = conn_of(call);
    const char *text = script_text(call, &size);
    int legacy = text ? lp_conn_is_legacy(conn) : -1;
    if (legacy < 0 || lp_call_how(call, LL_SUBMIT_BORROW, &how) < 0)
        return LP_ERROR;
    /* As in sqlite3, a script leaves the cursor as it was: rows, rowcount, description. */
    if (LP_UNLIKELY(conn->on_statement != NULL))
        lp_hook_arm(call, conn->on_statement, &how);
    call->begun = true;
    return lp_call_submitted(
        call, ll_script(conn->handle, text, size, legacy != 0, &how, &call->request));
}

static lp_step script_finish(lp_call *call)
{
    if (!call->begun)
        return script_start(call);
    if (lp_call_check(call) < 0)
        return LP_ERROR;
    return give_cursor(call);
}

const lp_op lp_op_executescript = {
    .name = "Connection.executescript",
    .start = script_start,
    .finish = script_finish,
    .cancelled = forget,
};

const lp_op lp_op_cursor_executescript = {
    .name = "Cursor.executescript",
    .start = script_start,
    .finish = script_finish,
    .cancelled = forget,
};

/* ---- Connection.cursor ------------------------------------------------------------------------- */

static lp_step cursor_start(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    if (lp_conn_is_generic(conn))
        return lp_generic(call);
    if (lp_conn_need(conn) < 0)
        return LP_ERROR;
    call->result = (PyObject *)lp_cursor_new(conn);
    return call->result ? LP_DONE : LP_ERROR;
}

const lp_op lp_op_cursor = {
    .name = "Connection.cursor",
    .start = cursor_start,
};
