/* aconn.c: looplite.Connection (how it is opened: aopen.c).
 *
 *     NEW --await--> CONNECTING --> OPEN --close()--> CLOSING --> CLOSED
 *                        |                                          ^
 *                        +------ failed, or its task cancelled -----+
 *
 * A Connection is made at once and opened by its first await, on a worker (adopt.c). `_conn` is the real
 * sqlite3.Connection from then until close() begins. row_factory, text_factory, isolation_level and
 * whatever else is rarely asked for are attributes of that object, the one truth; ours only forward.
 * What a loop asks for often, in_transaction and total_changes, are values the core keeps: they never
 * wait.
 *
 * Errors follow aiosqlite's, which programs tell apart: ValueError("no active connection") before
 * the connection is open and after it was closed; ProgrammingError("Cannot operate on a closed
 * database.") for what comes behind a close() that is under way.
 *
 * A connection that is dropped while open warns and closes by itself: the core closes what nobody
 * holds. Nothing below refers to the Connection, so `del db` frees it at once. */
#include "aconn.h"

#include "acursor.h"
#include "callback.h"
#include "closed.h"
#include "docs.h"
#include "errors.h"
#include "generic.h"
#include "guarded.h"
#include "hook.h"
#include "rare.h"
#include "typed.h"
#include "work.h"

#include <string.h>

static void conn_finalize(PyObject *op);

/* ---- what others ask --------------------------------------------------------------------------- */

/* It is open. */
static int need_open(const lp_conn *conn)
{
    if (conn->phase == LP_CONN_OPEN) {
        if (conn->generation == conn->st->generation)
            return 0;
        lp_raise_refused(conn->st, LL_EFORK);
    } else if (lp_closed_under_way(conn)) {
        lp_raise_closed_database(conn->st);
    } else {
        lp_raise_inactive(conn);
    }
    return -1;
}

int lp_conn_need(const lp_conn *conn)
{
    return need_open(conn) < 0 ? -1 : lp_callback_check(conn);
}

/* The sqlite3.Connection is not needed any more, but for how to make the rows that are on their way. */
static void drop_sqlite(lp_conn *conn)
{
    const lp_state *st = conn->st;
    if (conn->sqlite && Py_TYPE(conn->sqlite) == st->guarded_type && st->text_factory_at != 0) {
        PyObject *factory = lp_conn_get(conn, st->text_factory_at, st->names.text_factory);
        Py_XSETREF(conn->last_text_factory, factory); /* cannot fail so */
    }
    Py_CLEAR(conn->sqlite);
}

PyObject *lp_conn_get(const lp_conn *conn, Py_ssize_t offset, PyObject *name)
{
    if (!conn->sqlite) /* what was answered before the close is taken after it */
        return Py_NewRef(conn->last_text_factory ? conn->last_text_factory
                                                 : (PyObject *)&PyUnicode_Type);
    /* A class derived from it may have a property of that name. */
    if (offset == 0 || Py_TYPE(conn->sqlite) != conn->st->guarded_type)
        return PyObject_GetAttr(conn->sqlite, name);
    PyObject *value;
    memcpy(&value, (const char *)conn->sqlite + offset, sizeof value);
    return Py_NewRef(value ? value : Py_None);
}

int lp_conn_is_legacy(const lp_conn *conn)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyObject *autocommit = lp_guarded_get(conn->st, conn->sqlite, conn->st->names.autocommit);
    if (!autocommit)
        return -1;
    int legacy = !PyBool_Check(autocommit);
    Py_DECREF(autocommit);
    return legacy;
#else
    (void)conn;
    return 1;
#endif
}

int lp_conn_begin_mode(const lp_conn *conn, ll_begin *ret_begin)
{
    *ret_begin = LL_BEGIN_NONE;
    int legacy = lp_conn_is_legacy(conn);
    if (legacy <= 0)
        return legacy;
    PyObject *level = lp_guarded_get(conn->st, conn->sqlite, conn->st->names.isolation_level);
    if (!level)
        return -1;
    if (level != Py_None) {
        const char *name = PyUnicode_AsUTF8(level);
        char first = name ? name[0] : '\0';
        if (first == 'I' || first == 'i')
            *ret_begin = LL_BEGIN_IMMEDIATE;
        else if (first == 'E' || first == 'e')
            *ret_begin = LL_BEGIN_EXCLUSIVE;
        else if (first == '\0')
            *ret_begin = LL_BEGIN_DEFAULT;
        else
            *ret_begin = LL_BEGIN_DEFERRED;
    }
    Py_DECREF(level);
    return PyErr_Occurred() ? -1 : 0;
}

int lp_parse(const char *method, PyObject *const *args, Py_ssize_t count, PyObject *keywords,
             const char *const names[2], int required, PyObject *ret_args[2])
{
    int most = names[1] ? 2 : 1;
    ret_args[0] = ret_args[1] = NULL;
    if (count > most) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d argument%s (%zd given)", method, most,
                     most == 1 ? "" : "s", count);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        ret_args[i] = args[i];
    Py_ssize_t named = keywords ? PyTuple_GET_SIZE(keywords) : 0;
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GET_ITEM(keywords, i);
        int at = 0;
        while (at < most && PyUnicode_CompareWithASCIIString(name, names[at]) != 0)
            at++;
        if (at == most || ret_args[at]) {
            PyErr_Format(PyExc_TypeError,
                         at == most ? "%s() got an unexpected keyword argument '%U'"
                                    : "%s() got multiple values for argument '%U'",
                         method, name);
            return -1;
        }
        ret_args[at] = args[count + i];
    }
    for (int i = 0; i < required; i++) {
        if (!ret_args[i]) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument '%s'", method, names[i]);
            return -1;
        }
    }
    return 0;
}

/* ---- the list of open connections -------------------------------------------------------------- */

void lp_conn_link(lp_conn *conn)
{
    lp_state *st = conn->st;
    conn->generation = st->generation;
    conn->previous = NULL;
    conn->next = st->conns;
    if (st->conns)
        st->conns->previous = conn;
    st->conns = conn;
}

static void unlink_conn(lp_conn *conn)
{
    if (conn->generation != conn->st->generation)
        return; /* the parent's list */
    if (conn->previous)
        conn->previous->next = conn->next;
    else if (conn->st->conns == conn)
        conn->st->conns = conn->next;
    if (conn->next)
        conn->next->previous = conn->previous;
    conn->previous = conn->next = NULL;
}

void lp_conns_interrupt(lp_state *st)
{
    for (lp_conn *conn = st->conns; conn; conn = conn->next)
        if (conn->handle && ll_conn_interrupt(conn->handle) < 0)
            break;
}

void lp_conns_warn(lp_state *st)
{
    PyObject *open = PyList_New(0); /* a warning may run anything */
    for (lp_conn *conn = st->conns; open && conn; conn = conn->next)
        if (Py_REFCNT((PyObject *)conn) > 0 && PyList_Append(open, (PyObject *)conn) < 0)
            PyErr_Clear();
    for (Py_ssize_t i = 0; open && i < PyList_GET_SIZE(open); i++)
        conn_finalize(PyList_GET_ITEM(open, i));
    Py_XDECREF(open);
    PyErr_Clear();
}

void lp_conns_forget(lp_state *st)
{
    st->conns = NULL;
    st->working = NULL;
    st->generation++;
}

void lp_conn_let_go(lp_conn *conn)
{
    if (conn->generic) {
        lp_generic_let_go(conn);
        return;
    }
    unlink_conn(conn);
    if (conn->home) {
        lp_loop_count(conn->home, -1);
        Py_CLEAR(conn->home);
    }
    if (conn->link && !conn->leased)
        lp_link_end(conn->link);
    else if (conn->link && conn->link->conn == conn)
        conn->link->conn = NULL; /* the link is the pool's */
    Py_CLEAR(conn->link);
    ll_conn_unref(conn->handle);
    conn->handle = NULL;
    lp_opener_unref(conn->opener);
    conn->opener = NULL;
    drop_sqlite(conn);
}

/* ---- close, commit, rollback, interrupt --------------------------------------------------------- */

static lp_step close_direct_start(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    ll_submit how;
    if ((conn->phase != LP_CONN_OPEN && conn->phase != LP_CONN_CLOSING) ||
        conn->generation != conn->st->generation)
        return LP_DONE;
    if (lp_callback_check(conn) < 0)
        return LP_ERROR;
    if (lp_conn_must_wait(conn, call))
        return LP_YIELD;
    if (conn->leased) { /* its lease goes on, without it */
        conn->phase = LP_CONN_CLOSED;
        lp_conn_let_go(conn);
        return LP_DONE;
    }
    if (lp_call_how(call, 0, &how) < 0)
        return LP_ERROR;
    if (!conn->handle) /* that may run Python, and another thread has closed it meanwhile */
        return LP_DONE;
    ll_conn_state state;
    ll_conn_get_state(conn->handle, &state);
    if (state.idle && conn->phase == LP_CONN_OPEN)
        lp_watch(conn->st, "closing", call->owner);
    if (!conn->handle) /* the watcher is Python, too */
        return LP_DONE;
    conn->phase = LP_CONN_CLOSING; /* before the GIL is let go */
    drop_sqlite(conn);
    call->begun = true;
    lp_step step = lp_call_submitted(call, ll_conn_close(conn->handle, &how, &call->request));
    if (step == LP_AGAIN) {
        lp_closed_note(conn, call->loop);
        lp_loop_leave(call->loop);
    }
    return step;
}

static void close_record(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    if (conn->phase == LP_CONN_CLOSING) {
        conn->phase = LP_CONN_CLOSED;
        unlink_conn(conn);
        /* (A descriptor that is watched by the loop itself stays for the next connection.) */
        if (conn->home && conn->home->helper.serving) {
            lp_loop_count(conn->home, -1);
            Py_CLEAR(conn->home);
        }
    }
}

static lp_step close_finish(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    if (!call->begun)
        return call->op->start(call);
    if (conn->opener && lp_opener_raise(conn->opener)) {
        lp_conn_let_go(conn);
        return LP_ERROR;
    }
    lp_conn_let_go(conn);
    return lp_call_check(call) < 0 ? LP_ERROR : LP_DONE;
}

/* What it goes through in aiosqlite is honoured when it was replaced. */
static lp_step close_start(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    bool open = conn->phase == LP_CONN_OPEN || conn->phase == LP_CONN_CLOSING;
    if (open && (conn->generic || lp_conn_replaced(conn) & (LP_OWN_EXECUTE | LP_OWN_STOP)))
        return lp_generic(call);
    return close_direct_start(call);
}

const lp_op lp_op_close_direct = {
    .name = "Connection.close",
    .start = close_direct_start,
    .record = close_record,
    .finish = close_finish,
    .flags = LP_OP_SHIELD,
};

static const lp_op op_close = {
    .name = "Connection.close",
    .start = close_start,
    .record = close_record,
    .finish = close_finish,
    .flags = LP_OP_SHIELD,
};

/* The mode of transaction control of Python 3.12: -1 legacy, 0 autocommit=False, 1 autocommit=True;
 * -2 with an exception. */
static int autocommit_mode(const lp_conn *conn)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyObject *value = lp_guarded_get(conn->st, conn->sqlite, conn->st->names.autocommit);
    int mode = !value ? -2 : value == Py_True ? 1 : value == Py_False ? 0 : -1;
    Py_XDECREF(value);
    return mode;
#else
    (void)conn;
    return -1;
#endif
}

typedef ll_status (*txn_fn)(ll_conn *, const ll_submit *, ll_request **);

/* commit() and rollback(). With autocommit=True they do nothing; with False a transaction is open
 * always, so the next one begins (call->limit counts the steps). */
static lp_step txn_start(lp_call *call, txn_fn end)
{
    lp_conn *conn = (lp_conn *)call->owner;
    ll_submit how;
    if (lp_conn_is_generic(conn))
        return lp_generic(call);
    if (lp_conn_need(conn) < 0)
        return LP_ERROR;
    if (lp_conn_must_wait(conn, call))
        return LP_YIELD;
    int mode = autocommit_mode(conn);
    if (mode == -2)
        return LP_ERROR;
    if (mode == 1)
        return LP_DONE;
    if (lp_call_how(call, 0, &how) < 0)
        return LP_ERROR;
    if (LP_UNLIKELY(conn->on_statement != NULL))
        lp_hook_arm(call, conn->on_statement, &how);
    call->begun = true;
    call->limit = mode == 0;
    return lp_call_submitted(call, end(conn->handle, &how, &call->request));
}

static lp_step txn_finish(lp_call *call, txn_fn end)
{
    lp_conn *conn = (lp_conn *)call->owner;
    ll_submit how;
    if (!call->begun)
        return txn_start(call, end);
    if (lp_call_check(call) < 0)
        return LP_ERROR;
    if (call->limit == 0 || conn->phase != LP_CONN_OPEN)
        return LP_DONE;
    call->limit = 0;
    if (lp_call_how(call, 0, &how) < 0)
        return LP_ERROR;
    return lp_call_submitted(call,
                             ll_txn_begin(conn->handle, LL_BEGIN_DEFERRED, &how, &call->request));
}

static lp_step commit_start(lp_call *call)
{
    return txn_start(call, ll_txn_commit);
}

static lp_step commit_finish(lp_call *call)
{
    return txn_finish(call, ll_txn_commit);
}

static lp_step rollback_start(lp_call *call)
{
    return txn_start(call, ll_txn_rollback);
}

static lp_step rollback_finish(lp_call *call)
{
    return txn_finish(call, ll_txn_rollback);
}

static const lp_op op_commit = {
    .name = "Connection.commit",
    .start = commit_start,
    .finish = commit_finish,
    .flags = LP_OP_SHIELD | LP_OP_STAY,
};

static const lp_op op_rollback = {
    .name = "Connection.rollback",
    .start = rollback_start,
    .finish = rollback_finish,
    .flags = LP_OP_SHIELD | LP_OP_STAY,
};

static lp_step interrupt_start(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    if (conn->generic)
        return lp_generic(call);
    /* Also while it closes: close() waits for what runs, and this is how to end that. Also in what the statement calls:
     * nothing is waited for. */
    if (conn->phase != LP_CONN_CLOSING && need_open(conn) < 0)
        return LP_ERROR;
    ll_status status = ll_conn_interrupt(conn->handle);
    if (status < 0) {
        lp_raise_refused(call->st, status);
        return LP_ERROR;
    }
    return LP_DONE;
}

static const lp_op op_interrupt = {
    .name = "Connection.interrupt",
    .start = interrupt_start,
};

/* ---- methods ----------------------------------------------------------------------------------- */

static PyObject *call_of(PyObject *op, const lp_op *what)
{
    lp_conn *conn = (lp_conn *)op;
    if (!conn->st) {
        PyErr_SetString(PyExc_RuntimeError, "Connection.__init__() was not called");
        return NULL;
    }
    return lp_call_new(conn->st, what, op, NULL, NULL);
}

/* Methods without arguments: METH_NOARGS gives NULL for the second. */
#define PLAIN(method, what)                                 \
    static PyObject *method(PyObject *op, PyObject *unused) \
    {                                                       \
        (void)unused;                                       \
        return call_of(op, &(what));                        \
    }
PLAIN(conn_close, op_close)
PLAIN(conn_commit, op_commit)
PLAIN(conn_rollback, op_rollback)
PLAIN(conn_interrupt, op_interrupt)
PLAIN(conn_cursor, lp_op_cursor)
PLAIN(conn_aenter, lp_op_connect)
PLAIN(conn_connect, lp_op_connect_private)
#undef PLAIN

/* Methods that run SQL: (sql, parameters). */
static PyObject *statement(PyObject *op, const lp_op *what, const char *method,
                           PyObject *const *args, Py_ssize_t count, PyObject *keywords,
                           const char *second, int required)
{
    const char *const names[2] = {strcmp(method, "executescript") == 0 ? "sql_script" : "sql",
                                  second};
    PyObject *given[2];
    lp_conn *conn = (lp_conn *)op;
    if (lp_parse(method, args, count, keywords, names, required, given) < 0)
        return NULL;
    if (!conn->st)
        return call_of(op, what);
    return lp_call_new(conn->st, what, op, given[0], given[1]);
}

#define STATEMENT(method, what, second, required)                                         \
    static PyObject *conn_##method(PyObject *op, PyObject *const *args, Py_ssize_t count, \
                                   PyObject *keywords)                                    \
    {                                                                                     \
        return statement(op, &(what), #method, args, count, keywords, second, required);  \
    }
STATEMENT(execute, lp_op_execute, "parameters", 1)
STATEMENT(executemany, lp_op_executemany, "parameters", 2)
STATEMENT(executescript, lp_op_executescript, NULL, 1)
STATEMENT(execute_insert, lp_op_execute_insert, "parameters", 1)
STATEMENT(execute_fetchall, lp_op_execute_fetchall, "parameters", 1)
#undef STATEMENT

static PyObject *conn_await(PyObject *op)
{
    return call_of(op, &lp_op_connect);
}

static PyObject *conn_aexit(PyObject *op, PyObject *const *args, Py_ssize_t count)
{
    (void)args;
    (void)count;
    lp_conn *conn = (lp_conn *)op;
    if (!conn->st)
        return call_of(op, &op_close);
    return PyObject_CallMethodNoArgs(op, conn->st->names.close);
}

#define FAST(function) (PyCFunction)(void (*)(void))(function)
static PyMethodDef conn_methods[] = {
    {"execute", FAST(conn_execute), METH_FASTCALL | METH_KEYWORDS,
     "execute($self, /, sql, parameters=None)\n--\n\n" DOC_CONN_EXECUTE},
    {"executemany", FAST(conn_executemany), METH_FASTCALL | METH_KEYWORDS,
     "executemany($self, /, sql, parameters)\n--\n\n" DOC_CONN_EXECUTEMANY},
    {"executescript", FAST(conn_executescript), METH_FASTCALL | METH_KEYWORDS,
     "executescript($self, /, sql_script)\n--\n\n" DOC_CONN_EXECUTESCRIPT},
    {"execute_insert", FAST(conn_execute_insert), METH_FASTCALL | METH_KEYWORDS,
     "execute_insert($self, /, sql, parameters=None)\n--\n\n" DOC_CONN_EXECUTE_INSERT},
    {"execute_fetchall", FAST(conn_execute_fetchall), METH_FASTCALL | METH_KEYWORDS,
     "execute_fetchall($self, /, sql, parameters=None)\n--\n\n" DOC_CONN_EXECUTE_FETCHALL},
    {"cursor", conn_cursor, METH_NOARGS, "cursor($self, /)\n--\n\n" DOC_CONN_CURSOR},
    {"commit", conn_commit, METH_NOARGS, "commit($self, /)\n--\n\n" DOC_CONN_COMMIT},
    {"rollback", conn_rollback, METH_NOARGS, "rollback($self, /)\n--\n\n" DOC_CONN_ROLLBACK},
    {"close", conn_close, METH_NOARGS, "close($self, /)\n--\n\n" DOC_CONN_CLOSE},
    {"interrupt", conn_interrupt, METH_NOARGS, "interrupt($self, /)\n--\n\n" DOC_CONN_INTERRUPT},
    {"_connect", conn_connect, METH_NOARGS,
     "_connect($self, /)\n--\n\nOpens it, if it is not open yet; gives the connection."},
    {"__aenter__", conn_aenter, METH_NOARGS, NULL},
    {"__aexit__", FAST(conn_aexit), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

/* ---- attributes -------------------------------------------------------------------------------- */

/* Names for the closures of the table below. */
static char isolation_level[] = "isolation_level", row_factory[] = "row_factory",
            text_factory[] = "text_factory", in_transaction[] = "in_transaction",
            total_changes[] = "total_changes";

static PyObject *sqlite_of(PyObject *op)
{
    lp_conn *conn = (lp_conn *)op;
    if (conn->sqlite)
        return Py_NewRef(conn->sqlite);
    lp_raise_inactive(conn);
    return NULL;
}

/* Who asks for it may give it to sqlite3 itself, which knows nothing of ll_conn_enter(). */
static PyObject *get_conn(PyObject *op, void *unused)
{
    (void)unused;
    lp_conn *conn = (lp_conn *)op;
    if (conn->sqlite)
        ll_conn_tidy(conn->handle);
    return sqlite_of(op);
}

static PyObject *get_connection(PyObject *op, void *unused)
{
    (void)unused;
    lp_conn *conn = (lp_conn *)op;
    return Py_NewRef(conn->sqlite ? conn->sqlite : Py_None);
}

static PyObject *get_forwarded(PyObject *op, void *name)
{
    PyObject *sqlite = sqlite_of(op);
    PyObject *value = sqlite ? PyObject_GetAttrString(sqlite, name) : NULL;
    Py_XDECREF(sqlite);
    return value;
}

static int set_forwarded(PyObject *op, PyObject *value, void *name)
{
    PyObject *sqlite = sqlite_of(op);
    int rc = sqlite ? (value ? PyObject_SetAttrString(sqlite, name, value)
                             : PyObject_DelAttrString(sqlite, name))
                    : -1;
    Py_XDECREF(sqlite);
    return rc;
}

/* The core tells, which does not wait: what SQLite says, for the sqlite3.Connection may have been used directly, but while
 * another thread is using it what was noted after the last request. A factory may have its own idea of both; it
 * is asked while the connection is idle, or this thread is the worker that has it (work.c). */
static PyObject *get_state(PyObject *op, void *name)
{
    lp_conn *conn = (lp_conn *)op;
    ll_conn_state state;
    if (!conn->sqlite) {
        lp_raise_inactive(conn);
        return NULL;
    }
    if (!conn->generic)
        ll_conn_get_state(conn->handle, &state);
    bool plain = !conn->generic && state.open && Py_TYPE(conn->sqlite) == conn->st->guarded_type;
    if (!plain && (conn->generic || state.idle || lp_working_here(conn)))
        return PyObject_GetAttr(conn->sqlite, name == total_changes
                                                  ? conn->st->names.total_changes
                                                  : conn->st->names.in_transaction);
    if (name == total_changes)
        return PyLong_FromLongLong(state.total_changes);
    return PyBool_FromLong(state.in_transaction);
}

static PyObject *get_closed(PyObject *op, void *unused)
{
    (void)unused;
    lp_conn_phase phase = ((lp_conn *)op)->phase;
    return PyBool_FromLong(phase == LP_CONN_CLOSING || phase == LP_CONN_CLOSED);
}

static PyObject *get_connector(PyObject *op, void *unused)
{
    (void)unused;
    PyObject *what = ((lp_conn *)op)->connector;
    return Py_NewRef(what ? what : Py_None);
}

static PyObject *get_on_statement(PyObject *op, void *unused)
{
    (void)unused;
    PyObject *hook = ((lp_conn *)op)->on_statement;
    return Py_NewRef(hook ? hook : Py_None);
}

static int set_on_statement(PyObject *op, PyObject *value, void *unused)
{
    (void)unused;
    if (value && value != Py_None && !PyCallable_Check(value)) {
        PyErr_Format(PyExc_TypeError, "on_statement must be a callable or None, not %.200s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    Py_XSETREF(((lp_conn *)op)->on_statement, value == Py_None ? NULL : Py_XNewRef(value));
    return 0;
}

static PyObject *get_types(PyObject *op, void *unused)
{
    (void)unused;
    PyObject *types = ((lp_conn *)op)->types;
    return Py_NewRef(types ? types : Py_None);
}

static int set_types(PyObject *op, PyObject *value, void *unused)
{
    (void)unused;
    lp_conn *conn = (lp_conn *)op;
    if (!conn->st) {
        PyErr_SetString(PyExc_RuntimeError, "Connection.__init__() was not called");
        return -1;
    }
    return lp_types_set(conn->st, &conn->types, value, conn->generic);
}

static PyGetSetDef conn_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {"_conn", get_conn, NULL, "The sqlite3.Connection; ValueError if not open.", NULL},
    {"_connection", get_connection, NULL, "The sqlite3.Connection, or None.", NULL},
    {"_connector", get_connector, NULL, "Opens the same database with plain sqlite3.", NULL},
    {"in_transaction", get_state, NULL, DOC_CONN_IN_TRANSACTION, in_transaction},
    {"total_changes", get_state, NULL, DOC_CONN_TOTAL_CHANGES, total_changes},
    {"closed", get_closed, NULL, DOC_CONN_CLOSED, NULL},
    {"on_statement", get_on_statement, set_on_statement, DOC_CONN_ON_STATEMENT, NULL},
    {"_types", get_types, set_types, "The type adapters that cursors begin with, or None.", NULL},
    {"isolation_level", get_forwarded, set_forwarded, DOC_CONN_ISOLATION_LEVEL, isolation_level},
    {"row_factory", get_forwarded, set_forwarded, DOC_CONN_ROW_FACTORY, row_factory},
    {"text_factory", get_forwarded, set_forwarded, DOC_CONN_TEXT_FACTORY, text_factory},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef conn_members[] = {
    {"_iter_chunk_size", T_PYSSIZET, offsetof(lp_conn, chunk), 0, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(lp_conn, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(lp_conn, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* ---- memory ------------------------------------------------------------------------------------ */

static int conn_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char connector_name[] = "connector", chunk_name[] = "iter_chunk_size",
                loop_name[] = "loop";
    static char *names[] = {connector_name, chunk_name, loop_name, NULL};
    lp_conn *conn = (lp_conn *)op;
    PyObject *what, *loop = NULL;
    Py_ssize_t chunk = 64;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|nO:Connection", names, &what, &chunk, &loop))
        return -1;
    if (loop && loop != Py_None &&
        PyErr_WarnEx(PyExc_DeprecationWarning,
                     "looplite.Connection() no longer uses the `loop` parameter", 1) < 0)
        return -1;
    if (conn->phase != LP_CONN_NEW) {
        PyErr_SetString(PyExc_RuntimeError, "the Connection has been used already");
        return -1;
    }
    PyObject *module = lp_type_module(Py_TYPE(op), &lp_module);
    if (!module)
        return -1;
    Py_XSETREF(conn->module, Py_NewRef(module));
    conn->st = PyModule_GetState(module);
    Py_XSETREF(conn->connector, Py_NewRef(what));
    conn->generic = Py_TYPE(what) != conn->st->connector_type;
    conn->chunk = chunk;
    lp_watch(conn->st, "connection made", op);
    return 0;
}

static int conn_traverse(PyObject *op, visitproc visit, void *arg)
{
    lp_conn *conn = (lp_conn *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(conn->module);
    Py_VISIT(conn->connector);
    Py_VISIT(conn->thread);
    Py_VISIT(conn->dict);
    Py_VISIT(conn->types);
    Py_VISIT(conn->on_statement);
    Py_VISIT(conn->sqlite);
    Py_VISIT(conn->last_text_factory);
    Py_VISIT((PyObject *)conn->link);
    Py_VISIT((PyObject *)conn->home);
    return 0;
}

static int conn_clear(PyObject *op)
{
    lp_conn *conn = (lp_conn *)op;
    Py_CLEAR(conn->connector);
    Py_CLEAR(conn->dict);
    Py_CLEAR(conn->types);
    Py_CLEAR(conn->on_statement);
    Py_CLEAR(conn->last_text_factory);
    return 0;
}

static void conn_finalize(PyObject *op)
{
    lp_conn *conn = (lp_conn *)op;
    if (conn->phase != LP_CONN_OPEN || !conn->st || conn->generation != conn->st->generation ||
        conn->warned || conn->leased)
        return;
    conn->warned = true;
    PyObject *exc = lp_exc_take();
    lp_watch(conn->st, "dropped", op);
    if (PyErr_ResourceWarning(op, 1,
                              "%R was deleted before being closed. Please use 'async with' or "
                              "'.close()' to close the connection properly.",
                              op) < 0)
        PyErr_WriteUnraisable(op);
    if (lp_conn_replaced(conn) & LP_OWN_STOP) { /* aiosqlite's calls it here */
        PyObject *stopped = PyObject_CallMethodNoArgs(op, conn->st->names.stop);
        if (!stopped)
            PyErr_WriteUnraisable(op);
        Py_XDECREF(stopped);
    }
    /* What shows the warning may keep the object; nobody can use it. */
    conn->stopped = true;
    lp_conn_let_go(conn);
    conn->phase = LP_CONN_CLOSED;
    if (exc)
        lp_exc_give(exc);
}

static void conn_dealloc(PyObject *op)
{
    lp_conn *conn = (lp_conn *)op;
    PyTypeObject *type = Py_TYPE(op);
    if (PyObject_CallFinalizerFromDealloc(op) < 0)
        return;
    PyObject_GC_UnTrack(op);
    if (conn->weakrefs)
        PyObject_ClearWeakRefs(op);
    if (conn->st)
        lp_conn_let_go(conn);
    Py_CLEAR(conn->thread);
    (void)conn_clear(op);
    PyObject *module = conn->module;
    type->tp_free(op);
    Py_DECREF(type);
    Py_XDECREF(module);
}

static char conn_doc[] = DOC_CONNECTION;

static PyType_Slot conn_slots[] = {
    {Py_tp_doc, conn_doc},           {Py_tp_init, conn_init},       {Py_tp_new, PyType_GenericNew},
    {Py_tp_traverse, conn_traverse}, {Py_tp_clear, conn_clear},     {Py_tp_finalize, conn_finalize},
    {Py_tp_dealloc, conn_dealloc},   {Py_am_await, conn_await},     {Py_tp_methods, conn_methods},
    {Py_tp_getset, conn_getset},     {Py_tp_members, conn_members}, {0, NULL},
};

static PyType_Spec conn_spec = {
    .name = "looplite.Connection",
    .basicsize = sizeof(lp_conn),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = conn_slots,
};

/* Where a type keeps a member, as its own descriptor says; 0 if it is no plain object. */
static Py_ssize_t member_at(PyObject *type, PyObject *name)
{
    PyObject *found = PyObject_GetAttr(type, name);
    Py_ssize_t offset = 0;
    if (found && Py_TYPE(found) == &PyMemberDescr_Type) {
        const PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
        offset = member->type == T_OBJECT ? member->offset : 0;
    }
    PyErr_Clear();
    Py_XDECREF(found);
    return offset;
}

int lp_conn_init(PyObject *module, lp_state *st)
{
    st->row_factory_at = member_at(st->sqlite3.Connection, st->names.row_factory);
    st->text_factory_at = member_at(st->sqlite3.Connection, st->names.text_factory);
    st->conn_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &conn_spec, NULL);
    if (!st->conn_type || lp_connect_init(module, st) < 0 || lp_work_init(module, st) < 0 ||
        lp_rare_init(module, st) < 0)
        return -1;
    return PyModule_AddObjectRef(module, "Connection", (PyObject *)st->conn_type);
}
