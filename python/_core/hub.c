/* hub.c: how the connections of a pool are opened.
 *
 * As a single connection (adopt.c): a worker takes the GIL and calls sqlite3.connect(), whose handle the core adopts.
 * Here many come from one opener, and the program may have something to do with each before anybody gets it
 * (extensions, functions, hooks): `setup`, on the same worker.
 *
 * What `setup` registers belongs to the connection for good. It is told to the core while it is opened
 * (ll_adopt_conn()), so the core knows it as what the connection began with, and retires only one on which a borrower
 * has registered something more.
 *
 * A connection has no Connection object of ours while it rests in the pool, only its link: so callbacks of shared
 * statements find their request all the same. */
#include "hub.h"

#include "guarded.h"

#include <stdlib.h>
#include <string.h>

struct lp_hub {
    /* fixed after creation */
    lp_state *st;
    PyObject *module; /* keeps st alive */
    lp_opener *opener;
    PyObject *setup;

    /* GIL */
    size_t references;
    lp_seat *seats;
};

lp_hub *lp_hub_new(PyObject *module, lp_state *st, lp_opener *opener, PyObject *setup)
{
    lp_hub *hub = PyMem_Calloc(1, sizeof *hub);
    if (!hub) {
        lp_opener_unref(opener);
        PyErr_NoMemory();
        return NULL;
    }
    hub->st = st;
    hub->module = Py_NewRef(module);
    hub->opener = opener;
    hub->setup = Py_NewRef(setup);
    hub->references = 1;
    return hub;
}

static void free_seat(lp_seat *seat)
{
    Py_XDECREF(seat->connection);
    Py_XDECREF((PyObject *)seat->link);
    Py_XDECREF(seat->factories[0]);
    Py_XDECREF(seat->factories[1]);
    PyMem_Free(seat);
}

void lp_hub_unref(lp_hub *hub)
{
    if (!hub || --hub->references > 0)
        return;
    while (hub->seats) {
        lp_seat *seat = hub->seats;
        hub->seats = seat->next;
        free_seat(seat);
    }
    lp_opener_unref(hub->opener);
    Py_DECREF(hub->setup);
    PyObject *module = hub->module;
    PyMem_Free(hub);
    Py_DECREF(module);
}

lp_seat *lp_hub_find(const lp_hub *hub, const ll_conn *handle)
{
    lp_seat *seat = hub->seats;
    while (seat && seat->handle != handle)
        seat = seat->next;
    return seat;
}

int lp_hub_traverse(const lp_hub *hub, visitproc visit, void *arg)
{
    if (!hub || hub->references > 1) /* the core has it, too: it is not garbage */
        return 0;
    Py_VISIT(hub->setup);
    for (const lp_seat *seat = hub->seats; seat; seat = seat->next)
        Py_VISIT(seat->connection);
    return 0;
}

/* ---- what the core calls ------------------------------------------------------------------------ */

/* The exception that is set, as SQLite's code and text. */
static int failure(lp_state *st, char **ret_message)
{
    PyObject *exc = lp_exc_take();
    PyObject *code = PyObject_GetAttr(exc, st->names.sqlite_errorcode);
    int rc = code && PyLong_Check(code) ? (int)PyLong_AsLong(code) : 0;
    if (PyErr_GivenExceptionMatches(exc, PyExc_MemoryError))
        rc = SQLITE_NOMEM;
    bool is_sqlite = PyObject_IsInstance(exc, st->sqlite3.Error) == 1;
    PyErr_Clear();
    PyObject *text = is_sqlite ? PyObject_Str(exc)
                               : PyUnicode_FromFormat("%s: %S", Py_TYPE(exc)->tp_name, exc);
    const char *utf8 = text ? PyUnicode_AsUTF8(text) : NULL;
    PyErr_Clear();
    if (rc == 0 && utf8 && strstr(utf8, "unable to open")) /* Python 3.10 tells no codes */
        rc = SQLITE_CANTOPEN;
    if (utf8)
        *ret_message = strdup(utf8);
    Py_XDECREF(text);
    Py_XDECREF(code);
    Py_DECREF(exc);
    return rc != SQLITE_OK ? rc : SQLITE_ERROR;
}

/* Opens one; NULL with an exception. */
static lp_seat *open_seat(lp_hub *hub)
{
    lp_state *st = hub->st;
    sqlite3 *db = NULL;
    PyObject *connection = lp_opener_open_one(hub->opener, &db);
    if (!connection)
        return NULL;
    lp_seat *seat = PyMem_Calloc(1, sizeof *seat);
    PyObject *done = NULL;
    if (!seat)
        PyErr_NoMemory();
    else
        done = hub->setup == Py_None ? Py_NewRef(Py_None)
                                     : PyObject_CallOneArg(hub->setup, connection);
    if (done) {
        seat->factories[0] = PyObject_GetAttr(connection, st->names.row_factory);
        if (seat->factories[0])
            seat->factories[1] = PyObject_GetAttr(connection, st->names.text_factory);
        if (seat->factories[1])
            seat->link = lp_guarded_link(st, connection);
    }
    Py_XDECREF(done);
    if (!done || PyErr_Occurred()) {
        if (seat)
            free_seat(seat);
        lp_opener_discard(st, connection);
        return NULL;
    }
    seat->connection = connection;
    seat->db = db;
    seat->handle = ll_adopt_conn();
    if (seat->link) {
        seat->link->pooled = true;
        lp_link_begin(seat->link, NULL, seat->handle);
    }
    seat->next = hub->seats;
    hub->seats = seat;
    return seat;
}

/* ll_adopt.open: on a worker. */
static int hub_open(void *arg, sqlite3 **ret_db, char **ret_message)
{
    PyGILState_STATE gil;
    if (!lp_worker_enter(&gil))
        return SQLITE_INTERRUPT;
    lp_hub *hub = arg;
    lp_seat *seat = open_seat(hub);
    int rc = SQLITE_OK;
    if (seat)
        *ret_db = seat->db;
    else
        rc = failure(hub->st, ret_message);
    PyGILState_Release(gil);
    return rc;
}

/* ll_adopt.close: on a worker, our statements are finalized. */
static int hub_close(void *arg, sqlite3 *db)
{
    PyGILState_STATE gil;
    if (!lp_worker_enter(&gil))
        return SQLITE_INTERRUPT;
    lp_hub *hub = arg;
    lp_seat **at = &hub->seats, *seat;
    while ((seat = *at) != NULL && seat->db != db)
        at = &seat->next;
    int rc = SQLITE_OK;
    if (seat) {
        *at = seat->next;
        if (seat->link) {
            lp_link_end(seat->link);
            seat->link->pooled = false;
        }
        PyObject *closed = PyObject_CallMethodNoArgs(seat->connection, hub->st->names.close);
        if (!closed) {
            PyErr_Clear();
            rc = SQLITE_ERROR;
        }
        Py_XDECREF(closed);
        if (seat->link)
            seat->link->closed = true;
        free_seat(seat);
    }
    PyGILState_Release(gil);
    return rc;
}

/* ll_adopt.release: on any thread, with or without the GIL. */
static void hub_release(void *arg)
{
    PyGILState_STATE gil;
    if (!lp_worker_enter(&gil))
        return;
    lp_hub_unref(arg);
    PyGILState_Release(gil);
}

ll_adopt lp_hub_adopt(lp_hub *hub)
{
    hub->references++;
    return (ll_adopt){.open = hub_open, .close = hub_close, .release = hub_release, .arg = hub};
}
