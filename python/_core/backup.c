/* backup.c: Connection.backup(): the real sqlite3.Connection.backup() on the worker of the source.
 *
 * The target is a sqlite3.Connection, or a Connection of ours, which has an owner and a queue of its own. It is taken for
 * as long as the backup lasts, but never waited for while the source is held: two connections that are copied into each
 * other at the same time would wait for ever. If somebody has the target, the request ends, lets others of the
 * source pass, and is made again.
 *
 * sqlite3's loop ends only when the copy is done, and sleeps where nobody can wake it. So it gets a progress function
 * of ours, which ends it when the request was cancelled or the program ends, calls the program's own, and sleeps in short
 * steps.
 *
 * A connection with a connector of its own (generic.c) is the source on its own thread, without a link: the rest is the
 * same, and looplite._generic copies.
 *
 * A source with an open write transaction of its own is refused: SQLite would say "busy" until the transaction ends,
 * and nothing could end it, for the connection is occupied by the backup. */
#include "backup.h"

#include "docs.h"
#include "errors.h"
#include "generic.h"
#include "guarded.h"
#include "rare.h"
#include "sqlite_table.h"

#include <time.h>

/* What call->argument holds for the function on the worker. */
enum {
    SOURCE, /* sqlite3.Connection */
    TARGET,
    PROGRESS, /* None, or what was given */
    SLEEP,    /* seconds, float */
    KEYWORDS, /* pages, name */
    OWNER,    /* the Connection of the source */
    FIELDS
};

/* ---- progress ----------------------------------------------------------------------------------- */

/* Sleeps; -1 with an exception when there is no reason to go on. */
static int sleep_a_while(lp_link *link, double seconds)
{
    enum {
        STEP_MS = 5
    };
    static const struct timespec step = {.tv_nsec = STEP_MS * 1000000};
    for (double slept = 0;; slept += STEP_MS / 1000.0) {
        if (link->st->exiting || (link->handle && ll_conn_must_stop(link->handle))) {
            PyErr_SetString(link->st->sqlite3.OperationalError, "interrupted");
            return -1;
        }
        if (slept >= seconds)
            return 0;
        Py_BEGIN_ALLOW_THREADS nanosleep(&step, NULL);
        Py_END_ALLOW_THREADS
    }
}

/* (link, progress, sleep), called with (status, remaining, total) after each step. */
static PyObject *watch(PyObject *self, PyObject *args)
{
    lp_link *link = (lp_link *)PyTuple_GET_ITEM(self, 0);
    PyObject *progress = PyTuple_GET_ITEM(self, 1);
    double seconds = PyFloat_AsDouble(PyTuple_GET_ITEM(self, 2));
    long status = PyLong_AsLong(PyTuple_GET_ITEM(args, 0));
    PyObject *result = progress == Py_None ? NULL : PyObject_Call(progress, args, NULL);
    if (PyErr_Occurred())
        return NULL;
    Py_XDECREF(result);
    bool wait = status == SQLITE_BUSY || status == SQLITE_LOCKED;
    if (status != SQLITE_DONE && sleep_a_while(link, wait ? seconds : 0) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef watch_def = {"progress", watch, METH_VARARGS, NULL};

/* The function for sqlite3: ours around the program's. What is no callable is left for sqlite3 to refuse. */
static PyObject *watcher(lp_link *link, PyObject *progress, PyObject *seconds)
{
    if (progress != Py_None && !PyCallable_Check(progress))
        return Py_NewRef(progress);
    PyObject *wrapped = progress == Py_None ? Py_NewRef(progress)
                                            : lp_callback_new(link, LP_CALLBACK_PLAIN, progress);
    PyObject *self = wrapped ? PyTuple_Pack(3, (PyObject *)link, wrapped, seconds) : NULL;
    PyObject *function = self ? PyCFunction_New(&watch_def, self) : NULL;
    Py_XDECREF(self);
    Py_XDECREF(wrapped);
    return function;
}

/* ---- on the worker ------------------------------------------------------------------------------ */

/* The sqlite3.Connection to write to: a new reference. What is none is left for sqlite3 to refuse. */
static PyObject *target_of(lp_state *st, PyObject *target)
{
    if (!PyObject_TypeCheck(target, st->conn_type))
        return Py_NewRef(target);
    PyObject *sqlite = ((lp_conn *)target)->sqlite;
    if (!sqlite)
        lp_raise_no_connection();
    return Py_XNewRef(sqlite);
}

/* Whether the source has written and not committed: 1 with the exception, 0, or -1 with another one. */
static int is_writing(lp_link *link, PyObject *keywords)
{
    PyObject *name = PyDict_GetItemString(keywords, "name");
    const char *schema = !name ? "main" : PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    sqlite3 *db;
    if (!link->handle || !schema || ll_conn_enter(link->handle, &db) < 0) {
        PyErr_Clear(); /* sqlite3 says what is wrong */
        return 0;
    }
    bool writing = lp_sq.txn_state(db, schema) == SQLITE_TXN_WRITE;
    ll_conn_leave(link->handle);
    if (writing)
        PyErr_SetString(
            link->st->sqlite3.OperationalError,
            "cannot back up a connection with an open write transaction: commit or roll "
            "back first");
    return writing;
}

static PyObject *copy_generic(lp_state *st, PyObject *source, PyObject *target, PyObject *plan)
{
    PyObject *function = lp_generic_get(st, "copy");
    PyObject *result = function
                         ? PyObject_CallFunctionObjArgs(function, source, target,
                                                        PyTuple_GET_ITEM(plan, PROGRESS),
                                                        PyTuple_GET_ITEM(plan, SLEEP),
                                                        PyTuple_GET_ITEM(plan, KEYWORDS), NULL)
                         : NULL;
    Py_XDECREF(function);
    return result;
}

static PyObject *copy(lp_link *link, PyObject *source, PyObject *target, PyObject *plan)
{
    PyObject *keywords = PyDict_Copy(PyTuple_GET_ITEM(plan, KEYWORDS)), *result = NULL;
    PyObject *function = keywords ? watcher(link, PyTuple_GET_ITEM(plan, PROGRESS),
                                            PyTuple_GET_ITEM(plan, SLEEP))
                                  : NULL;
    PyObject *method = function ? PyObject_GetAttrString(source, "backup") : NULL;
    PyObject *args = method ? PyTuple_Pack(1, target) : NULL;
    PyObject *none = args ? PyLong_FromLong(0) : NULL;
    if (none && is_writing(link, keywords) == 0 &&
        PyDict_SetItemString(keywords, "progress", function) == 0 &&
        PyDict_SetItemString(keywords, "sleep", none) == 0)
        result = PyObject_Call(method, args, keywords);
    Py_XDECREF(none);
    Py_XDECREF(args);
    Py_XDECREF(method);
    Py_XDECREF(function);
    Py_XDECREF(keywords);
    return result;
}

/* Makes the backup; NotImplemented: somebody has the target, try again. */
static PyObject *run_backup(PyObject *plan, PyObject *unused)
{
    (void)unused;
    static const struct timespec pause = {.tv_nsec = 1000000};
    PyObject *source = PyTuple_GET_ITEM(plan, SOURCE), *result = NULL;
    const lp_conn *conn = (lp_conn *)PyTuple_GET_ITEM(plan, OWNER);
    lp_state *st = conn->st;
    lp_link *link = conn->generic ? NULL : lp_guarded_link(st, source);
    bool ready = link || conn->generic;
    PyObject *target = ready ? target_of(st, PyTuple_GET_ITEM(plan, TARGET)) : NULL;
    lp_link *other = target && target != source ? lp_guarded_link(st, target) : NULL;
    if (!target || PyErr_Occurred())
        goto out;
    ll_conn *handle = other && other->handle ? ll_conn_ref(other->handle) : NULL;
    if (handle) {
        sqlite3 *db;
        ll_status status = ll_conn_try_enter(handle, &db);
        if (status == LL_EBUSY) {
            Py_BEGIN_ALLOW_THREADS nanosleep(&pause, NULL);
            Py_END_ALLOW_THREADS ll_conn_unref(handle);
            result = Py_NewRef(Py_NotImplemented);
            goto out;
        }
        if (status < 0) {
            lp_raise_refused(st, status);
            ll_conn_unref(handle);
            goto out;
        }
        other->outside++;
    }
    lp_working working; /* what progress() calls on the target would wait for the backup */
    if (lp_working_begin(st, &working, handle ? other->conn : NULL, NULL) == 0) {
        result = link ? copy(link, source, target, plan) : copy_generic(st, source, target, plan);
        lp_working_end(&working);
    }
    if (handle) {
        other->outside--;
        ll_conn_leave(handle);
        ll_conn_unref(handle);
    }
out:
    Py_XDECREF((PyObject *)other);
    Py_XDECREF(target);
    Py_XDECREF((PyObject *)link);
    return result;
}

static PyMethodDef run_def = {"backup", run_backup, METH_NOARGS, NULL};

/* ---- the call ----------------------------------------------------------------------------------- */

/* call->sql is what was given; the function for the worker is made when the connection is known to be open. */
static lp_step backup_start(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    if (lp_conn_need(conn) < 0)
        return LP_ERROR;
    if (!conn->link && !conn->generic) {
        PyErr_SetString(conn->st->sqlite3.NotSupportedError,
                        "backup() needs a factory that is a class derived from sqlite3.Connection");
        return LP_ERROR;
    }
    if (PyTuple_CheckExact(call->sql)) {
        PyObject *given = call->sql;
        PyObject *plan = PyTuple_Pack(FIELDS, conn->sqlite, PyTuple_GET_ITEM(given, TARGET),
                                      PyTuple_GET_ITEM(given, PROGRESS),
                                      PyTuple_GET_ITEM(given, SLEEP),
                                      PyTuple_GET_ITEM(given, KEYWORDS), (PyObject *)conn);
        PyObject *function = plan ? PyCFunction_New(&run_def, plan) : NULL;
        Py_XDECREF(plan);
        if (!function)
            return LP_ERROR;
        Py_SETREF(call->sql, function);
    }
    return lp_work_start(call);
}

static lp_step backup_finish(lp_call *call)
{
    lp_step step = lp_work_finish(call);
    if (step != LP_DONE || call->result != Py_NotImplemented)
        return step;
    Py_CLEAR(call->result);
    return backup_start(call);
}

static const lp_op op_backup = {
    .name = "Connection.backup",
    .start = backup_start,
    .finish = backup_finish,
};

/* backup(target, *, pages=-1, progress=None, name="main", sleep=0.25) */
static PyObject *conn_backup(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char target_name[] = "target", pages_name[] = "pages", progress_name[] = "progress",
                name_name[] = "name", sleep_name[] = "sleep";
    static char *names[] = {target_name, pages_name, progress_name, name_name, sleep_name, NULL};
    PyObject *target, *pages = NULL, *progress = Py_None, *name = NULL;
    double seconds = 0.25;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OOOd:backup", names, &target, &pages,
                                     &progress, &name, &seconds))
        return NULL;
    PyObject *keywords = PyDict_New(), *sleep = PyFloat_FromDouble(seconds);
    PyObject *given = NULL, *call = NULL, *nothing = PyTuple_New(0);
    if (keywords && sleep && nothing &&
        (!pages || PyDict_SetItemString(keywords, "pages", pages) == 0) &&
        (!name || PyDict_SetItemString(keywords, "name", name) == 0))
        given = PyTuple_Pack(FIELDS, Py_None, target, progress, sleep, keywords, Py_None);
    if (given)
        call = lp_work_new((lp_conn *)op, &op_backup, given, nothing, NULL);
    Py_XDECREF(given);
    Py_XDECREF(nothing);
    Py_XDECREF(sleep);
    Py_XDECREF(keywords);
    return call;
}

static PyMethodDef methods[] = {
    {"backup", (PyCFunction)(void (*)(void))conn_backup, METH_VARARGS | METH_KEYWORDS,
     "backup($self, target, *, pages=-1, progress=None, name='main', sleep=0.25)\n--\n\n" DOC_BACKUP},
};

int lp_backup_init(PyObject *module, lp_state *st)
{
    (void)module;
    return lp_rare_add(st, methods, 1);
}
