/* info.c: looplite.stats() and looplite.engine_info(): numbers and decisions, as dicts.
 *
 * Both only read what the core keeps; nothing waits, and nothing is looked up in a file. The names of the
 * keys are those of the C structs, so that one page describes both. */
#include "info.h"
#include "aconn.h"
#include "errors.h"
#include "loop.h"
#include "running.h"
#include "sqlite_table.h"
#include "trio.h"

#include <looplite/info.h>
#include <looplite/stats.h>
#include <string.h>

/* Steals the value, which may be NULL with an exception. */
static int put(PyObject *dict, const char *key, PyObject *value)
{
    int rc = value ? PyDict_SetItemString(dict, key, value) : -1;
    Py_XDECREF(value);
    return rc;
}

/* The engine of the running loop (a reference to its entry in *ret_loop), the root without one. NULL: there is
 * none yet, or an exception. */
static ll_engine *engine_of_now(lp_state *st, lp_loop **ret_loop)
{
    *ret_loop = NULL;
    PyObject *running = lp_running_ask(st);
    if (!running)
        return NULL;
    bool in_loop = running != Py_None || lp_trio_token(st, &running);
    Py_DECREF(running);
    if (!in_loop)
        return st->root;
    *ret_loop = lp_loop_running(st);
    return *ret_loop ? (*ret_loop)->engine : NULL;
}

PyObject *lp_stats(lp_state *st)
{
    ll_stats stats;
    memset(&stats, 0, sizeof stats);
    lp_loop *loop;
    ll_engine *engine = engine_of_now(st, &loop);
    if (engine)
        ll_engine_get_stats(engine, &stats);
    uint64_t stays = loop ? loop->stays : 0;
    Py_XDECREF((PyObject *)loop);
    if (PyErr_Occurred())
        return NULL;
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
#define NUMBER(name) {#name, stats.name}
        NUMBER(submitted),       NUMBER(completed),     NUMBER(immediate),
        NUMBER(cancelled),       NUMBER(timed_out),     NUMBER(failed),
        NUMBER(dispatches),      NUMBER(wakeups),       NUMBER(inline_hits),
        NUMBER(inline_refused),  NUMBER(snapshot_hits), NUMBER(snapshot_takes),
        NUMBER(bounced_time),    NUMBER(bounced_disk),  NUMBER(bounced_write),
        NUMBER(bounced_lock),    NUMBER(bounced_mutex), NUMBER(bounced_foreign),
        NUMBER(handovers),       NUMBER(stalls),        NUMBER(misses),
        NUMBER(retries),         NUMBER(retry_hits),    NUMBER(deferred),
        NUMBER(worker_runs),     NUMBER(hops),          NUMBER(parks),
        NUMBER(gate_waits),      NUMBER(gate_gaps),     NUMBER(cache_waits),
        NUMBER(threads_started), NUMBER(threads),       NUMBER(threads_idle),
        NUMBER(threads_peak),    NUMBER(connections),   NUMBER(inline_opens),
        NUMBER(inline_closes),   {"stays", stays},
#undef NUMBER
    };
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict && i < sizeof numbers / sizeof *numbers; i++)
        if (put(dict, numbers[i].name, PyLong_FromUnsignedLongLong(numbers[i].value)) < 0)
            Py_CLEAR(dict);
    return dict;
}

static PyObject *conn_info(const lp_conn *conn)
{
    ll_conn_info info;
    memset(&info, 0, sizeof info);
    if (conn->phase == LP_CONN_OPEN && conn->handle)
        ll_conn_get_info(conn->handle, &info);
    if (!info.reason) { /* not open, or opened before a fork */
        info.disk_guard = "unknown";
        info.reason = "the connection is not open";
    }
    return Py_BuildValue("{s:N,s:s,s:s}", "on_loop", PyBool_FromLong(info.on_loop), "disk_guard",
                         info.disk_guard, "reason", info.reason);
}

PyObject *lp_engine_info(lp_state *st, PyObject *connection)
{
    if (connection && !PyObject_TypeCheck(connection, st->conn_type))
        return PyErr_Format(PyExc_TypeError,
                            "engine_info() takes a looplite.Connection, not %.200s",
                            Py_TYPE(connection)->tp_name);
    if (st->exiting)
        return PyErr_Format(PyExc_RuntimeError, "looplite's engines were ended: the process exits");
    ll_engine_info info;
    memset(&info, 0, sizeof info);
    lp_loop *loop;
    if (!lp_root_engine(st))
        return NULL;
    ll_engine *engine = engine_of_now(st, &loop);
    if (engine)
        ll_engine_get_info(engine, &info);
    Py_XDECREF((PyObject *)loop);
    if (PyErr_Occurred())
        return NULL;
    PyObject *dict = Py_BuildValue(
        "{s:s,s:s,s:s,s:i,s:O,s:N,s:I,s:d,s:d}", "looplite_version", ll_version(), "sqlite_version",
        lp_sq.libversion(), "sqlite_source_id", lp_sq.sourceid(), "sqlite_threadsafe",
        lp_sq.threadsafe(), "sqlite_found", st->sqlite_way, "reads_hooked",
        PyBool_FromLong(info.reads_hooked), "max_workers", info.max_workers, "turn_seconds",
        (double)info.turn_ns / 1e9, "attempt_seconds", (double)info.attempt_ns / 1e9);
    if (dict && connection && put(dict, "connection", conn_info((lp_conn *)connection)) < 0)
        Py_CLEAR(dict);
    return dict;
}
