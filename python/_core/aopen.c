/* aopen.c: looplite.connect() and what happens when its Connection is awaited.
 *
 * connect() itself opens nothing: it keeps what it was given in a connector, which is also what
 * conn._connector shows, and which opens the same database with plain sqlite3 when it is called. The
 * first await makes an opener of it (adopt.c) and asks the core to open and adopt, on a worker if anything could
 * have to be waited for.
 *
 * A task that is cancelled meanwhile does not wait: opening cannot be called back, so the handle is
 * given up, and the core closes it as soon as it has arrived. Mistakes in the arguments are
 * reported by the await, not by connect(), as aiosqlite does. */
#include "aconn.h"
#include "callback.h"
#include "docs.h"
#include "errors.h"
#include "generic.h"

/* What looplite.connect() was given; `connector()` opens the same with plain sqlite3. */
typedef struct connector {
    PyObject_HEAD
    lp_state *st;
    PyObject *database, *keywords;
    PyObject *pragmas; /* a tuple of texts (looplite._pragmas), or NULL */
    bool worker_only;
} connector;

/* ---- connect ----------------------------------------------------------------------------------- */

/* The texts of a tuple, with a NULL behind them; they live as long as the tuple. NULL with an exception. */
static const char **pragma_array(PyObject *texts)
{
    Py_ssize_t count = PyTuple_GET_SIZE(texts);
    const char **array = PyMem_Calloc((size_t)count + 1, sizeof *array);
    if (!array)
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; array && i < count; i++)
        if (!(array[i] = PyUnicode_AsUTF8(PyTuple_GET_ITEM(texts, i)))) {
            PyMem_Free((void *)array);
            array = NULL;
        }
    return array;
}

/* Submits the opening. The phase is CONNECTING already: asking the loop to watch may run Python, and an opening inside
 * the call lets go of the GIL, and nobody else is to begin meanwhile. */
static ll_status submit_opening(lp_call *call, lp_conn *conn, bool *ret_raised)
{
    lp_state *st = call->st;
    connector *what = (connector *)conn->connector;
    ll_open_options options;
    ll_submit how;
    ll_engine *root = lp_root_engine(st);
    *ret_raised = true;
    if (!root || lp_call_how(call, 0, &how) < 0)
        return LL_EINVAL;
    conn->opener = lp_opener_new(conn->module, st, what->database, what->keywords, &options);
    if (!conn->opener)
        return LL_EINVAL;
    options.flags |= what->worker_only ? LL_OPEN_NO_INLINE : 0;
    const char **pragmas = NULL;
    if (what->pragmas && !(pragmas = pragma_array(what->pragmas))) {
        lp_opener_unref(conn->opener);
        conn->opener = NULL;
        return LL_ENOMEM;
    }
    options.pragmas = pragmas;
    *ret_raised = false;
    if (conn->thread) {
        lp_thread_tell(conn->thread, "begin");
        lp_opener_watch(conn->opener, conn->thread);
    }
    ll_adopt adopt = lp_opener_adopt(conn->opener);
    ll_status status = ll_conn_open_adopted(root, &adopt, &options, &how, &conn->handle,
                                            &call->request);
    PyMem_Free((void *)pragmas);
    if (status < 0) {
        conn->handle = NULL;
        lp_opener_unref(conn->opener);
        conn->opener = NULL;
    }
    return status;
}

/* Whether sqlite3.connect() is another one than it was: a mock, or what traces it. Then it is what has to be
 * called. -1 with an exception. */
static int connect_replaced(lp_state *st)
{
    PyObject *connect = lp_generic_connect(st);
    Py_XDECREF(connect);
    return connect ? connect != st->sqlite3.connect : -1;
}

static lp_step connect_private_start(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    lp_state *st = call->st;
    if (conn->phase == LP_CONN_OPEN) {
        call->result = Py_NewRef(call->owner);
        return LP_DONE;
    }
    if (conn->phase != LP_CONN_NEW) {
        if (conn->stopped)
            lp_raise_connection_closed();
        else
            PyErr_SetString(PyExc_RuntimeError, "threads can only be started once");
        return LP_ERROR;
    }
    conn->started = true;
    int replaced = conn->generic ? 1 : connect_replaced(st);
    if (replaced < 0)
        return LP_ERROR;
    if (replaced) {
        conn->generic = true;
        conn->phase = LP_CONN_CONNECTING;
        return lp_generic(call);
    }
    connector *what = (connector *)conn->connector;
    PyObject *detect = PyDict_GetItemWithError(what->keywords, st->names.detect_types);
    conn->detect_types = detect && PyLong_Check(detect) ? (int)PyLong_AsLong(detect) : 0;
    PyErr_Clear();
    conn->phase = LP_CONN_CONNECTING;
    bool raised;
    ll_status status = submit_opening(call, conn, &raised);
    if (status < 0) {
        conn->phase = LP_CONN_NEW;
        if (raised)
            return LP_ERROR;
    } else {
        conn->home = (lp_loop *)Py_NewRef((PyObject *)call->loop);
        lp_loop_count(conn->home, +1);
        lp_conn_link(conn);
        call->begun = true;
    }
    return lp_call_submitted(call, status);
}

/* `await conn`: aiosqlite starts a thread here, which can be done once, and goes through _connect(). */
static lp_step connect_start(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    if (conn->started || (conn->phase != LP_CONN_NEW && !conn->stopped)) {
        PyErr_SetString(PyExc_RuntimeError, "threads can only be started once");
        return LP_ERROR;
    }
    if (!(lp_conn_replaced(conn) & LP_OWN_CONNECT))
        return connect_private_start(call);
    conn->started = true;
    PyObject *connecting = PyObject_CallMethodNoArgs(call->owner, call->st->names._connect);
    return connecting ? lp_delegate_to(call, connecting) : LP_ERROR;
}

static void connect_record(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    if (conn->phase != LP_CONN_CONNECTING)
        return; /* cancelled */
    PyObject *sqlite = conn->opener ? lp_opener_connection(conn->opener) : NULL;
    if (call->status == LL_OK && sqlite) {
        conn->sqlite = Py_NewRef(sqlite);
        conn->link = (lp_link *)Py_XNewRef((PyObject *)lp_opener_link(conn->opener));
        if (conn->link)
            lp_link_begin(conn->link, conn, conn->handle);
        conn->phase = LP_CONN_OPEN;
    } else {
        conn->phase = LP_CONN_CLOSED;
    }
}

static lp_step connect_finish(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    if (conn->phase == LP_CONN_CLOSED) {
        if ((!conn->opener || !lp_opener_raise(conn->opener)) && lp_call_check(call) == 0)
            lp_raise_inactive(conn); /* stopped meanwhile */
        lp_conn_let_go(conn);
        return LP_ERROR;
    }
    call->result = Py_NewRef(call->owner);
    return LP_DONE;
}

/* Nobody will use it: closed by the core as soon as it has arrived, for nobody holds it. */
static void connect_cancelled(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    if (call->begun && (conn->phase == LP_CONN_CONNECTING || conn->phase == LP_CONN_OPEN)) {
        conn->phase = LP_CONN_CLOSED;
        lp_conn_let_go(conn);
    }
}

const lp_op lp_op_connect = {
    .name = "Connection.__await__",
    .start = connect_start,
    .record = connect_record,
    .finish = connect_finish,
    .cancelled = connect_cancelled,
    .flags = LP_OP_SHIELD | LP_OP_QUIET | LP_OP_DETACH,
};

const lp_op lp_op_connect_private = {
    .name = "Connection._connect",
    .start = connect_private_start,
    .record = connect_record,
    .finish = connect_finish,
    .cancelled = connect_cancelled,
    .flags = LP_OP_SHIELD | LP_OP_DETACH,
};

/* Runs the pragmas on a connection of plain sqlite3. -1 with an exception. */
static int run_pragmas(PyObject *connection, PyObject *texts)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(texts); i++) {
        PyObject *sql = PyUnicode_FromFormat("PRAGMA %U", PyTuple_GET_ITEM(texts, i));
        PyObject *cursor = sql ? PyObject_CallMethod(connection, "execute", "O", sql) : NULL;
        PyObject *rows = cursor ? PyObject_CallMethod(cursor, "fetchall", NULL) : NULL;
        Py_XDECREF(rows);
        Py_XDECREF(cursor);
        Py_XDECREF(sql);
        if (!rows)
            return -1;
    }
    return 0;
}

/* ---- the connector ----------------------------------------------------------------------------- */

static PyObject *connector_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    connector *self = (connector *)op;
    if (PyTuple_GET_SIZE(args) > 0 || (kwargs && PyDict_GET_SIZE(kwargs) > 0)) {
        PyErr_SetString(PyExc_TypeError, "connector() takes no arguments");
        return NULL;
    }
    PyObject *connect = lp_generic_connect(self->st);
    PyObject *database = connect ? lp_database_text(self->database) : NULL;
    PyObject *arguments = database ? PyTuple_Pack(1, database) : NULL;
    PyObject *connection = arguments ? PyObject_Call(connect, arguments, self->keywords) : NULL;
    Py_XDECREF(arguments);
    Py_XDECREF(database);
    Py_XDECREF(connect);
    if (connection && self->pragmas && run_pragmas(connection, self->pragmas) < 0) {
        PyObject *error = lp_exc_take();
        Py_XDECREF(PyObject_CallMethodNoArgs(connection, self->st->names.close));
        PyErr_Clear();
        lp_exc_give(error);
        Py_CLEAR(connection);
    }
    return connection;
}

static int connector_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((connector *)op)->database);
    Py_VISIT(((connector *)op)->keywords);
    Py_VISIT(((connector *)op)->pragmas);
    return 0;
}

static int connector_clear(PyObject *op)
{
    Py_CLEAR(((connector *)op)->database);
    Py_CLEAR(((connector *)op)->keywords);
    Py_CLEAR(((connector *)op)->pragmas);
    return 0;
}

static void connector_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)connector_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyType_Slot connector_slots[] = {
    {Py_tp_call, connector_call},
    {Py_tp_traverse, connector_traverse},
    {Py_tp_clear, connector_clear},
    {Py_tp_dealloc, connector_dealloc},
    {0, NULL},
};

static PyType_Spec connector_spec = {
    .name = "looplite._core._Connector",
    .basicsize = sizeof(connector),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = connector_slots,
};

/* pragmas= and inline= of connect(). -1 with an exception. */
static int set_own_options(connector *what, PyObject *pragmas, PyObject *inline_)
{
    if (pragmas && pragmas != Py_None) {
        PyObject *module = PyImport_ImportModule("looplite._pragmas");
        what->pragmas = module ? PyObject_CallMethod(module, "texts", "(O)", pragmas) : NULL;
        Py_XDECREF(module);
        if (!what->pragmas)
            return -1;
    }
    if (inline_ && !PyBool_Check(inline_)) {
        PyErr_Format(PyExc_TypeError, "connect(): inline must be True or False, not %R", inline_);
        return -1;
    }
    what->worker_only = inline_ == Py_False;
    return 0;
}

/* looplite.connect(database, *, iter_chunk_size=64, on_statement=None, pragmas=None, inline=True, loop=None, **kwargs) */
static PyObject *module_connect(PyObject *module, PyObject *args, PyObject *kwargs)
{
    lp_state *st = PyModule_GetState(module);
    PyObject *keywords = kwargs ? PyDict_Copy(kwargs) : PyDict_New();
    PyObject *chunk = NULL, *loop = NULL, *database = NULL, *hook = NULL, *result = NULL;
    PyObject *pragmas = NULL, *inline_ = NULL;
    if (!keywords)
        return NULL;
    struct {
        const char *name;
        PyObject **value;
    } ours[] = {{"database", &database}, {"iter_chunk_size", &chunk}, {"loop", &loop},
                {"on_statement", &hook}, {"pragmas", &pragmas},       {"inline", &inline_}};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        *ours[i].value = Py_XNewRef(PyDict_GetItemString(keywords, ours[i].name));
        if (*ours[i].value && PyDict_DelItemString(keywords, ours[i].name) < 0)
            goto out;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    if (count > 1 || (count == 1) == (database != NULL)) {
        PyErr_Format(PyExc_TypeError,
                     "connect() takes 1 positional argument, the database (%zd given)",
                     count + (database != NULL));
        goto out;
    }
    if (loop && loop != Py_None &&
        PyErr_WarnEx(PyExc_DeprecationWarning, "connect() no longer uses the `loop` parameter", 1) <
            0)
        goto out;
    connector *what = (connector *)lp_new(st->connector_type);
    if (!what)
        goto out;
    what->st = st;
    what->database = Py_NewRef(database ? database : PyTuple_GET_ITEM(args, 0));
    what->keywords = Py_NewRef(keywords);
    if (set_own_options(what, pragmas, inline_) < 0) {
        Py_DECREF(what);
        goto out;
    }
    if (chunk)
        result = PyObject_CallFunctionObjArgs((PyObject *)st->conn_type, what, chunk, NULL);
    else
        result = PyObject_CallOneArg((PyObject *)st->conn_type, (PyObject *)what);
    Py_DECREF(what);
    if (result && hook && PyObject_SetAttr(result, st->names.on_statement, hook) < 0)
        Py_CLEAR(result);
out:
    Py_XDECREF(inline_);
    Py_XDECREF(pragmas);
    Py_XDECREF(hook);
    Py_XDECREF(chunk);
    Py_XDECREF(loop);
    Py_XDECREF(database);
    Py_DECREF(keywords);
    return result;
}

static PyMethodDef connect_def[] = {
    {"connect", (PyCFunction)(void (*)(void))module_connect, METH_VARARGS | METH_KEYWORDS,
     "connect($module, database, *, iter_chunk_size=64, on_statement=None, pragmas=None, inline=True, **kwargs)\n"
     "--\n\n" DOC_CONNECT},
    {NULL, NULL, 0, NULL},
};

int lp_connect_init(PyObject *module, lp_state *st)
{
    st->connector_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &connector_spec, NULL);
    if (!st->connector_type)
        return -1;
    return PyModule_AddFunctions(module, connect_def);
}
