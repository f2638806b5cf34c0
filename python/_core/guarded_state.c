/* guarded_state.c: in_transaction and total_changes of the sqlite3.Connection behind a looplite connection.
 *
 * CPython reads both with the GIL held, and since SQLite 3.51 sqlite3_get_autocommit() and sqlite3_total_changes() take
 * the mutex of the connection. A worker that is inside a function written in Python has that mutex and waits for the
 * GIL: to read one of them on the loop then would never end. So the core is asked (ll_conn_get_state()), which never
 * waits: the value is SQLite's own unless another thread is using the connection at this moment; then it is what was noted
 * after the last request. It is the same with an older SQLite, so that programs do not meet the difference there.
 *
 * The other methods wait until the connection is theirs (guarded.c); whoever looks whether a transaction is open, on a
 * loop, expects an answer at once. A class of its own, for it stands behind a factory, where the others are in front:
 *
 *     sqlite3.Connection <- looked_type <- Mine <- guard_type <- derived class
 *
 * A property of the factory's own wins, and its super().in_transaction arrives here. */
#include "guarded.h"

static PyObject *looked_get(PyObject *self, void *name)
{
    lp_state *st = lp_state_of(Py_TYPE(self));
    lp_link *link = st ? lp_guarded_link(st, self) : NULL;
    if (!link)
        return NULL;
    bool total = strcmp(name, "total_changes") == 0;
    ll_conn_state state = {0};
    if (link->handle)
        ll_conn_get_state(link->handle, &state);
    Py_DECREF((PyObject *)link);
    if (state.open)
        return total ? PyLong_FromLongLong(state.total_changes)
                     : PyBool_FromLong(state.in_transaction);
    /* It is this thread's alone, not looplite's yet or not any more; or closed, which sqlite3 says. */
    PyObject *base = PyObject_GetAttrString((PyObject *)st->sqlite3.Connection, name);
    PyObject *value = base ? Py_TYPE(base)->tp_descr_get(base, self, (PyObject *)Py_TYPE(self))
                           : NULL;
    Py_XDECREF(base);
    return value;
}

static char in_transaction[] = "in_transaction", total_changes[] = "total_changes";
static PyGetSetDef looked_getset[] = {
    {in_transaction, looked_get, NULL, NULL, in_transaction},
    {total_changes, looked_get, NULL, NULL, total_changes},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot looked_slots[] = {
    {Py_tp_getset, looked_getset},
    {0, NULL},
};

static PyType_Spec looked_spec = {
    .name = "looplite._core._Looked",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = looked_slots,
};

int lp_guarded_state_init(PyObject *module, lp_state *st)
{
    st->looked_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &looked_spec,
                                                               st->sqlite3.Connection);
    return st->looked_type ? 0 : -1;
}
