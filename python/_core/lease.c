/* lease.c: a connection of a pool that one owner has: looplite._core.Lease.
 *
 * A Connection object is made for each lease, and is dead after it: who keeps it, or one of its cursors, finds it
 * closed. It does not close what it stands for: close() and stop() end the object, `_conn.close()` is refused.
 *
 * What a borrower leaves behind in SQLite the core undoes (include/looplite/pool.h). Two attributes of the
 * sqlite3.Connection, row_factory and text_factory, nobody but Python sees; they are set back before the next lease.
 *
 * Lost leases: one that a cancelled task never got is given back with its request (core). One that is dropped without
 * release() is given back by its end, with a warning. */
#include "pool.h"

#include "errors.h"

typedef struct lease {
    PyObject_HEAD
    /* fixed after creation */
    lp_state *st;
    lp_pool *pool;
    bool is_new; /* nobody had this connection before */
    /* GIL */
    ll_lease *lease; /* NULL: given back */
    lp_conn *conn;
    uint64_t generation;
} lease;

/* ---- leases ------------------------------------------------------------------------------------ */

/* What a borrower may have set and only Python can set back. */
static int restore(lp_state *st, const lp_seat *seat)
{
    PyObject *names[] = {st->names.row_factory, st->names.text_factory};
    for (int i = 0; i < 2; i++) {
        PyObject *now = PyObject_GetAttr(seat->connection, names[i]);
        if (!now)
            return -1;
        Py_DECREF(now);
        if (now != seat->factories[i] &&
            PyObject_SetAttr(seat->connection, names[i], seat->factories[i]) < 0)
            return -1;
    }
    return 0;
}

/* The Connection that stands for a lease. */
static lp_conn *make_conn(lp_call *call, const lp_pool *pool, ll_lease *leased)
{
    lp_state *st = pool->st;
    ll_conn *handle = ll_lease_conn(leased);
    lp_seat *seat = lp_hub_find(pool->hub, handle);
    if (!seat) {
        PyErr_SetString(PyExc_SystemError, "a connection of the pool is not known");
        return NULL;
    }
    if (restore(st, seat) < 0)
        return NULL;
    lp_conn *conn = (lp_conn *)PyObject_CallFunction((PyObject *)st->conn_type, "On",
                                                     pool->connector, pool->chunk);
    if (!conn)
        return NULL;
    conn->generic = false;
    conn->leased = conn->started = true;
    conn->detect_types = pool->detect_types;
    conn->handle = ll_conn_ref(handle);
    conn->sqlite = Py_NewRef(seat->connection);
    conn->link = (lp_link *)Py_XNewRef((PyObject *)seat->link);
    if (conn->link)
        conn->link->conn = conn;
    conn->home = (lp_loop *)Py_NewRef((PyObject *)call->loop);
    lp_loop_count(conn->home, +1);
    lp_conn_link(conn);
    conn->phase = LP_CONN_OPEN;
    return conn;
}

static lp_step acquire_start(lp_call *call)
{
    lp_pool *pool = (lp_pool *)call->owner;
    ll_submit how;
    const char *label = PyUnicode_AsUTF8(call->sql);
    if (!label || lp_pool_need(pool) < 0 || lp_call_how(call, 0, &how) < 0)
        return LP_ERROR;
    call->begun = true;
    ll_status status = ll_pool_acquire(pool->pool, label, &how, &call->request);
    if (status == LL_ECLOSED) {
        lp_raise_pool_closed();
        return LP_ERROR;
    }
    return lp_call_submitted(call, status);
}

static lp_step acquire_finish(lp_call *call)
{
    lp_pool *pool = (lp_pool *)call->owner;
    lp_state *st = call->st;
    if (!call->begun)
        return acquire_start(call);
    if (lp_pool_closed_meanwhile(call) || lp_call_check(call) < 0)
        return LP_ERROR;
    lease *self = (lease *)lp_new(st->lease_type);
    if (!self)
        return LP_ERROR; /* the request gives it back */
    self->st = st;
    self->pool = (lp_pool *)Py_NewRef((PyObject *)pool);
    self->generation = st->generation;
    ll_lease *leased = ll_request_take_lease(call->request);
    self->conn = leased ? make_conn(call, pool, leased) : NULL;
    if (!self->conn) {
        (void)ll_pool_release(leased, NULL, NULL);
        Py_DECREF((PyObject *)self);
        return LP_ERROR;
    }
    lp_seat *seat = lp_hub_find(pool->hub, ll_lease_conn(leased));
    self->is_new = !seat->given;
    self->lease = leased;
    call->result = (PyObject *)self;
    return LP_DONE;
}

static const lp_op op_acquire = {
    .name = "Pool.acquire",
    .start = acquire_start,
    .finish = acquire_finish,
};

PyObject *lp_pool_acquire(PyObject *op, PyObject *label)
{
    if (!PyUnicode_Check(label)) {
        PyErr_Format(PyExc_TypeError, "acquire() takes a label, a str, not %.200s",
                     Py_TYPE(label)->tp_name);
        return NULL;
    }
    return lp_call_new(((lp_pool *)op)->st, &op_acquire, op, label, NULL);
}

/* The Connection is over; what was submitted with it goes on. */
static void end_conn(lease *self)
{
    lp_conn *conn = self->conn;
    if (conn->phase == LP_CONN_OPEN || conn->phase == LP_CONN_CLOSING)
        conn->phase = LP_CONN_CLOSED;
    lp_conn_let_go(conn);
}

static lp_step release_start(lp_call *call)
{
    lease *self = (lease *)call->owner;
    ll_submit how;
    if (!self->lease || self->generation != self->st->generation)
        return LP_DONE;
    if (lp_call_how(call, 0, &how) < 0)
        return LP_ERROR;
    ll_lease *leased = self->lease;
    if (!leased) /* that may run Python */
        return LP_DONE;
    self->lease = NULL;
    end_conn(self);
    call->begun = true;
    return lp_call_submitted(call, ll_pool_release(leased, &how, &call->request));
}

/* None if there is nothing to tell, else a dict. */
static lp_step release_finish(lp_call *call)
{
    ll_released released;
    if (!call->begun)
        return release_start(call);
    if (lp_call_check(call) < 0)
        return LP_ERROR;
    ll_request_get_released(call->request, &released);
    if (!released.rolled_back && !released.undone && !released.retired && released.statements == 0)
        return LP_DONE;
    call->result = Py_BuildValue(
        "{sOsOsOsOsIszsz}", "rolled_back", released.rolled_back ? Py_True : Py_False,
        "dropped_writes", released.dropped_writes ? Py_True : Py_False, "undone",
        released.undone ? Py_True : Py_False, "retired", released.retired ? Py_True : Py_False,
        "statements", released.statements, "last_write", released.last_write, "reason",
        released.reason);
    return call->result ? LP_DONE : LP_ERROR;
}

static const lp_op op_release = {
    .name = "Lease.release",
    .start = release_start,
    .finish = release_finish,
    .flags = LP_OP_SHIELD,
};

static PyObject *lease_release(PyObject *op, PyObject *unused)
{
    (void)unused;
    return lp_call_new(((lease *)op)->st, &op_release, op, NULL, NULL);
}

static PyObject *lease_connection(PyObject *op, void *unused)
{
    (void)unused;
    return Py_NewRef((PyObject *)((lease *)op)->conn);
}

static PyObject *lease_is_new(PyObject *op, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((lease *)op)->is_new);
}

static PyObject *lease_settled(PyObject *op, PyObject *unused)
{
    (void)unused;
    lease *self = (lease *)op;
    lp_seat *seat = self->lease ? lp_hub_find(self->pool->hub, ll_lease_conn(self->lease)) : NULL;
    if (seat)
        seat->given = true;
    Py_RETURN_NONE;
}

static int lease_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)((lease *)op)->pool);
    Py_VISIT((PyObject *)((lease *)op)->conn);
    return 0;
}

static int lease_clear(PyObject *op)
{
    (void)op; /* pool and connection do not refer to it */
    return 0;
}

static void lease_finalize(PyObject *op)
{
    lease *self = (lease *)op;
    if (!self->lease || self->generation != self->st->generation || self->st->exiting)
        return;
    ll_lease *leased = self->lease;
    self->lease = NULL;
    end_conn(self);
    (void)ll_pool_release(leased, NULL, NULL);
    PyObject *exc = lp_exc_take();
    if (PyErr_ResourceWarning(op, 1, "%R was deleted before it was released to its pool", op) < 0)
        PyErr_WriteUnraisable(op);
    if (exc)
        lp_exc_give(exc);
}

static void lease_dealloc(PyObject *op)
{
    lease *self = (lease *)op;
    PyTypeObject *type = Py_TYPE(op);
    if (self->conn && PyObject_CallFinalizerFromDealloc(op) < 0)
        return;
    PyObject_GC_UnTrack(op);
    Py_XDECREF((PyObject *)self->conn);
    PyObject *pool = (PyObject *)self->pool;
    type->tp_free(op);
    Py_XDECREF(pool);
    Py_DECREF(type);
}

static PyMethodDef lease_methods[] = {
    {"release", lease_release, METH_NOARGS,
     "release($self, /)\n--\n\nGives the connection back. None, or what had to be done with it."},
    {"settled", lease_settled, METH_NOARGS,
     "settled($self, /)\n--\n\nThe connection is as the program wants it: no longer new."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef lease_getset[] = {
    {"connection", lease_connection, NULL, "The Connection, closed once it is given back.", NULL},
    {"is_new", lease_is_new, NULL, "Whether settled() was never called for this connection.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot lease_slots[] = {
    {Py_tp_traverse, lease_traverse},
    {Py_tp_clear, lease_clear},
    {Py_tp_dealloc, lease_dealloc},
    {Py_tp_finalize, lease_finalize},
    {Py_tp_methods, lease_methods},
    {Py_tp_getset, lease_getset},
    {0, NULL},
};

static PyType_Spec lease_spec = {
    .name = "looplite._core.Lease",
    .basicsize = sizeof(lease),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = lease_slots,
};

int lp_lease_init(PyObject *module, lp_state *st)
{
    st->lease_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &lease_spec, NULL);
    return st->lease_type ? 0 : -1;
}
