/* loop.c: one engine per event loop.
 *
 *     asyncio loop --add_reader--> lp_loop --owns--> ll_engine --workers_of--> st->root
 *          ^                         |
 *          +-------- weak -----------+
 *
 * The engine of a loop is made when looplite is first used in it. Its descriptor is registered with
 * add_reader(), which makes the loop keep the lp_loop; the other way it is a weak reference, so that
 * loops come and go as they like. st->loops finds the entry by the loop's address; the weak
 * reference's callback removes it, so an address that is used again never finds a stale one.
 *
 * Connections belong to the root engine, which no loop dispatches. Each request says on which engine
 * it calls back, that of the loop that awaits it. So a connection made in one loop works in the next
 * one, and in several at once.
 *
 * The descriptor stays registered while the loop has open connections or work in flight, and while there is a pool,
 * which any loop may use: registering costs two system calls and two calls of Python ([M] 8 us of 40 for a write), a
 * statement should not. A registered descriptor keeps no loop alive.
 *
 * The end of a loop: it is seen when the loop object goes, or when it is found closed while another
 * loop is set up. Requests may be in flight then, with a worker reading SQL text and parameters that
 * the calls hold. The calls become orphans: cancelled, without a future, kept in st->orphans until their
 * request has finished, and let go by the next one who passes by.
 *
 * A loop without add_reader() is served by a thread (helper.c). A run of trio is a loop like any other: its token
 * stands for the loop object, and looplite._trio.Host answers what is asked of one (trio.c).
 *
 * Turns. What finishes at once never lets others run, so its time is bounded per turn of the loop, for all
 * tasks together: the first call of a turn notes when the turn's time will be spent, and posts `_turn`
 * with call_soon(), which runs when the loop comes round. (A call that only submits posts nothing, for
 * that would make the loop look at its descriptors once more; the dispatch of its answer ends the turn.) A call that finds the time spent lets the loop
 * turn before it does anything; whoever decodes rows or converts parameters stops there and goes on in the
 * next turn. Only `_turn` begins a new one: a task that gives way does not ([M] a budget that each task
 * renews for itself lets 100 tasks keep the loop for 100 budgets).
 *
 * Finding the running loop is on the path of every call, so each thread remembers the last answer:
 * the loop's address, the entry, and the epoch, which moves on whenever an entry goes. */
#include "loop.h"

#include "awaitable.h"
#include "errors.h"
#include "pool.h"
#include "running.h"
#include "trio.h"

/* What calls that finish at once may take of one turn of the loop: as the engine's own budget. */
static const int64_t turn_ns = 500000;

static _Thread_local struct {
    const void *loop;
    lp_loop *entry; /* borrowed from st->loops: valid while the epoch is the same */
    uint64_t epoch;
    lp_state *st;
} last;

/* ---- ends -------------------------------------------------------------------------------------- */

/* Most orphans end as soon as they are cancelled, and the descriptors of the engine go with the last of
 * them. So they are given a moment, and only those that take longer wait for the next one to pass by. */
static void wait_for_orphans(lp_state *st)
{
    enum {
        LOOKS = 20
    };
    static const struct timespec pause = {.tv_nsec = 500000};
    lp_calls_sweep(&st->orphans);
    for (int i = 0; i < LOOKS && st->orphans && !st->exiting; i++) {
        Py_BEGIN_ALLOW_THREADS nanosleep(&pause, NULL);
        Py_END_ALLOW_THREADS lp_calls_sweep(&st->orphans);
    }
}

/* Takes the engine out of use. Nothing is called back afterwards. `wait`: also for the helper thread, which has
 * left then. It may need locks of the loop, so who may hold any (the collector runs anywhere) must not wait:
 * the thread gives the engine up itself as it leaves. */
static void end(lp_loop *self, bool wait)
{
    lp_state *st = self->st;
    ll_engine *engine = self->engine;
    self->engine = NULL;
    self->reading = false;
    if (engine) {
        lp_calls_orphan(st, &self->pending);
        if (self->helper.serving && !wait)
            self->helper.last = engine;
        lp_helper_stop(self, wait);
        if (self->helper.last != engine)
            ll_engine_abandon(engine);
        wait_for_orphans(st);
    }
    if (self->key && st->loops) {
        /* The key is an int: neither can fail. */
        PyObject *entry = (PyDict_GetItemWithError)(st->loops, self->key);
        st->loops_epoch++;
        if (entry == (PyObject *)self && (PyDict_DelItem)(st->loops, self->key) < 0)
            PyErr_Clear();
    }
}

void lp_loop_end(lp_loop *loop)
{
    end(loop, false);
}

/* The weak reference's callback. */
static PyObject *loop_gone(PyObject *op, PyObject *ref)
{
    (void)ref;
    end((lp_loop *)op, false);
    Py_RETURN_NONE;
}

/* Ends the entries of loops that were closed. */
static int sweep(lp_state *st)
{
    lp_calls_sweep(&st->orphans);
    PyObject *entries = PyDict_Values(st->loops);
    if (!entries)
        return -1;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(entries); i++) {
        lp_loop *entry = (lp_loop *)PyList_GET_ITEM(entries, i);
        PyObject *loop = lp_weakref_get(entry->loop_ref);
        PyObject *closed = loop && !entry->host
                             ? PyObject_CallMethodNoArgs(loop, st->names.is_closed)
                             : NULL;
        if (!loop || closed == Py_True)
            end(entry, false);
        PyErr_Clear();
        Py_XDECREF(closed);
        Py_XDECREF(loop);
    }
    Py_DECREF(entries);
    return 0;
}

void lp_loops_end(lp_state *st)
{
    PyObject *entries = PyDict_Values(st->loops);
    for (Py_ssize_t i = 0; entries && i < PyList_GET_SIZE(entries); i++)
        end((lp_loop *)PyList_GET_ITEM(entries, i), true);
    Py_XDECREF(entries);
    PyErr_Clear();
}

void lp_root_end(lp_state *st, bool whole)
{
    ll_engine *root = st->root;
    st->root = NULL;
    if (root) {
        /* Workers close the connections in there, and take the GIL for it. */
        Py_BEGIN_ALLOW_THREADS if (whole) ll_engine_free(root);
        else ll_engine_abandon(root);
        Py_END_ALLOW_THREADS
    }
    lp_calls_sweep(&st->orphans);
}

void lp_loops_forget(lp_state *st)
{
    Py_ssize_t at = 0;
    PyObject *key, *entry;
    while (PyDict_Next(st->loops, &at, &key, &entry)) {
        lp_loop *loop = (lp_loop *)entry;
        loop->engine = NULL; /* the parent's */
        loop->pending = NULL;
        loop->reading = false;
        lp_helper_forget(loop);
        Py_INCREF(entry); /* the inherited selector may point to it */
    }
    PyDict_Clear(st->loops);
    st->loops_epoch++;
    st->root = NULL;
    st->orphans = NULL;
}

/* ---- beginnings -------------------------------------------------------------------------------- */

ll_engine *lp_root_engine(lp_state *st)
{
    if (!st->root) {
        ll_status status = ll_engine_new(NULL, &st->root);
        if (status < 0) {
            st->root = NULL;
            lp_raise_refused(st, status);
        }
    }
    return st->root;
}

/* `trio`: the loop is the token of a trio run. */
static lp_loop *loop_new(lp_state *st, PyObject *loop, bool trio)
{
    ll_engine *root = lp_root_engine(st);
    if (!root || sweep(st) < 0)
        return NULL;
    lp_loop *self = (lp_loop *)lp_new(st->loop_type);
    if (!self)
        return NULL;
    self->st = st;
    self->helper.control[0] = self->helper.control[1] = -1;
    ll_engine_options options = {.workers_of = root, .host_turns = true};
    ll_status status = ll_engine_new(&options, &self->engine);
    if (status < 0) {
        self->engine = NULL;
        lp_raise_refused(st, status);
        goto fail;
    }
    PyObject *gone = PyObject_GetAttrString((PyObject *)self, "_gone");
    self->loop_ref = gone ? PyWeakref_NewRef(loop, gone) : NULL;
    Py_XDECREF(gone);
    if (trio && self->loop_ref && !(self->host = lp_trio_host((PyObject *)self, loop)))
        goto fail;
    self->key = self->loop_ref ? PyLong_FromVoidPtr(loop) : NULL;
    if (!self->key || PyDict_SetItem(st->loops, self->key, (PyObject *)self) < 0)
        goto fail;
    return self;
fail:
    Py_DECREF(self);
    return NULL;
}

lp_loop *lp_loop_running(lp_state *st)
{
    /* A fork moves the epoch on. */
    bool known_last = last.epoch == st->loops_epoch && last.st == st;
    if (known_last && last.loop == lp_running_peek(st))
        return (lp_loop *)Py_NewRef((PyObject *)last.entry);
    PyObject *loop = lp_running_ask(st);
    if (!loop)
        return NULL;
    lp_loop *entry = NULL;
    bool trio = loop == Py_None && lp_trio_token(st, &loop);
    if (known_last && last.loop == loop) {
        entry = (lp_loop *)Py_NewRef((PyObject *)last.entry);
    } else if (loop == Py_None) {
        PyErr_SetString(PyExc_RuntimeError,
                        "no running event loop: looplite's calls are awaited inside one");
    } else {
        PyObject *key = PyLong_FromVoidPtr(loop);
        PyObject *known = key ? PyDict_GetItemWithError(st->loops, key) : NULL;
        Py_XDECREF(key);
        if (known)
            entry = (lp_loop *)Py_NewRef(known);
        else if (!PyErr_Occurred())
            entry = loop_new(st, loop, trio);
        if (entry) {
            last.loop = loop;
            last.entry = entry;
            last.epoch = st->loops_epoch;
            last.st = st;
        }
    }
    Py_DECREF(loop);
    return entry;
}

PyObject *lp_loop_object(lp_loop *self)
{
    PyObject *loop = self->loop_ref ? lp_weakref_get(self->loop_ref) : NULL;
    if (!loop)
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
    else if (self->host)
        Py_SETREF(loop, Py_NewRef(self->host));
    return loop;
}

/* Registers the descriptor. True: this loop has no add_reader(), as asyncio's own on Windows and some of other
 * people; the exception is cleared then. */
static bool cannot_read(lp_state *st, PyObject *loop, PyObject *fd, PyObject *dispatch,
                        bool *ret_reading)
{
    PyObject *add_reader = PyObject_GetAttr(loop, st->names.add_reader);
    if (!add_reader) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            return false;
        PyErr_Clear();
        return true;
    }
    PyObject *arguments[] = {fd, dispatch};
    PyObject *done = PyObject_Vectorcall(add_reader, arguments, 2, NULL);
    Py_DECREF(add_reader);
    *ret_reading = done != NULL;
    Py_XDECREF(done);
    if (done || !PyErr_ExceptionMatches(PyExc_NotImplementedError))
        return false;
    PyErr_Clear();
    return true;
}

int lp_loop_watch(lp_loop *self)
{
    if (self->reading)
        return 0;
    if (!self->engine) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
        return -1;
    }
    lp_state *st = self->st;
    PyObject *loop = lp_loop_object(self);
    PyObject *fd = loop ? PyLong_FromLong(ll_engine_fd(self->engine)) : NULL;
    PyObject *dispatch = fd ? PyObject_GetAttr((PyObject *)self, st->names.dispatch) : NULL;
    if (dispatch && !self->helper.wanted)
        self->helper.wanted = cannot_read(st, loop, fd, dispatch, &self->reading);
    if (dispatch && self->helper.wanted && !PyErr_Occurred())
        self->reading = lp_helper_start(self) == 0;
    Py_XDECREF(dispatch);
    Py_XDECREF(fd);
    Py_XDECREF(loop);
    return self->reading ? 0 : -1;
}

static void unwatch(lp_loop *self)
{
    self->reading = false;
    lp_state *st = self->st;
    if (self->helper.serving) {
        lp_helper_stop(self, true);
        return;
    }
    PyObject *loop = lp_loop_object(self);
    PyObject *fd = loop ? PyLong_FromLong(ll_engine_fd(self->engine)) : NULL;
    Py_XDECREF(fd ? PyObject_CallMethodOneArg(loop, st->names.remove_reader, fd) : NULL);
    PyErr_Clear();
    Py_XDECREF(fd);
    Py_XDECREF(loop);
}

/* Has `_turn` called when the loop comes round. */
static int post_turn(lp_loop *self)
{
    lp_state *st = self->st;
    PyObject *loop = lp_loop_object(self);
    PyObject *turn = loop ? PyObject_GetAttr((PyObject *)self, st->names._turn) : NULL;
    PyObject *handle = turn ? PyObject_CallMethodOneArg(loop, st->names.call_soon, turn) : NULL;
    Py_XDECREF(turn);
    Py_XDECREF(loop);
    self->turn_posted = handle != NULL;
    Py_XDECREF(handle);
    return self->turn_posted ? 0 : -1;
}

int lp_loop_turn_begin(lp_loop *self)
{
    if (self->turn_end)
        return 0;
    if (!self->engine) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
        return -1;
    }
    ll_engine_new_turn(self->engine);
    self->turn_end = lp_now_ns() + turn_ns;
    self->turn = ++self->st->turns;
    self->turn_over = self->turn_posted = false;
    return 0;
}

int64_t lp_loop_turn_end(lp_loop *self)
{
    if (lp_loop_turn_begin(self) < 0 || (!self->turn_posted && post_turn(self) < 0))
        return -1;
    return self->turn_end;
}

bool lp_loop_turn_over(lp_loop *self)
{
    if (!self->turn_end || self->turn_over)
        return self->turn_end != 0;
    self->unlooked = 0;
    if (lp_now_ns() < self->turn_end)
        return false;
    if (!self->turn_posted && post_turn(self) < 0) {
        PyErr_Clear(); /* the loop is closing: the call goes on, and finds out */
        return false;
    }
    self->turn_over = true;
    return true;
}

bool lp_loop_turn_over_small(lp_loop *self)
{
    enum {
        CALLS_A_LOOK = 16
    };
    /* Who comes behind one that gave way gives way too: `turn_over` stays until the loop turns. */
    if (++self->unlooked < CALLS_A_LOOK)
        return self->turn_end && self->turn_over;
    return lp_loop_turn_over(self);
}

/* The loop has come round. */
static PyObject *loop_turn(PyObject *op, PyObject *unused)
{
    (void)unused;
    lp_loop *self = (lp_loop *)op;
    self->turn_end = 0;
    if (self->engine)
        ll_engine_new_turn(self->engine);
    Py_RETURN_NONE;
}

void lp_loop_count(lp_loop *self, int change)
{
    if (change > 0)
        self->connections++;
    else if (self->connections > 0)
        self->connections--;
    /* A descriptor may stay registered, a thread must not stay behind. The collector may be our caller. */
    if (self->helper.serving && self->connections == 0 && self->engine &&
        ll_engine_outstanding(self->engine) == 0) {
        self->reading = false;
        lp_helper_stop(self, false);
    }
}

void lp_loop_leave(lp_loop *self)
{
    if (self->helper.stopping && self->helper.serving)
        lp_helper_stop(self, true);
}

int lp_loop_dispatch(lp_loop *self)
{
    Py_INCREF((PyObject *)self);
    ll_status status = ll_engine_dispatch(self->engine, NULL);
    if (self->st->orphans)
        lp_calls_sweep(&self->st->orphans);
    if (self->engine && self->reading && self->connections == 0 &&
        ll_engine_outstanding(self->engine) == 0 &&
        (self->helper.serving || !lp_pools_are_open(self->st)))
        unwatch(self);
    lp_loop_leave(self); /* gone before a close() returns */
    if (status < 0)
        lp_raise_refused(self->st, status);
    Py_DECREF((PyObject *)self);
    return status < 0 ? -1 : 0;
}

/* The reader: what add_reader() calls when the descriptor is readable. */
static PyObject *loop_dispatch(PyObject *op, PyObject *unused)
{
    (void)unused;
    lp_loop *self = (lp_loop *)op;
    if (!self->engine)
        Py_RETURN_NONE;
    if (self->helper.posted)
        lp_helper_dispatched(self);
    if (self->turn_end &&
        !self->turn_posted) { /* nobody has used it: the loop came round all the same */
        self->turn_end = 0;
        ll_engine_new_turn(self->engine);
    }
    if (lp_loop_dispatch(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* A trio run is ending: the tasks that served us have ended. What is in flight gets the helper thread; else this is
 * the end of the engine. (If the run's last generators need one they get another.) */
static PyObject *loop_unwatched(PyObject *op, PyObject *unused)
{
    (void)unused;
    lp_loop *self = (lp_loop *)op;
    if (!self->engine || self->helper.serving)
        Py_RETURN_NONE;
    self->reading = false;
    if (ll_engine_outstanding(self->engine) == 0)
        lp_loop_end(self);
    else if (lp_loop_watch(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* ---- the type ---------------------------------------------------------------------------------- */

static int loop_traverse(PyObject *op, visitproc visit, void *arg)
{
    lp_loop *self = (lp_loop *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->loop_ref);
    Py_VISIT(self->host);
    Py_VISIT(self->helper.thread);
    return 0;
}

static void loop_dealloc(PyObject *op)
{
    lp_loop *self = (lp_loop *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->engine) {
        lp_calls_orphan(self->st, &self->pending);
        ll_engine_abandon(self->engine);
    }
    self->st->loops_epoch++;
    Py_CLEAR(self->loop_ref);
    Py_CLEAR(self->host);
    Py_CLEAR(self->helper.thread);
    Py_CLEAR(self->key);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef loop_methods[] = {
    {"dispatch", loop_dispatch, METH_NOARGS, "Runs the callbacks of finished requests."},
    {"_turn", loop_turn, METH_NOARGS, "The loop has come round: its time is whole again."},
    {"_gone", loop_gone, METH_O, "The event loop object has been freed."},
    {"_serve", lp_helper_serve, METH_NOARGS, "Watches the descriptor: a thread's function."},
    {"_unwatched", loop_unwatched, METH_NOARGS, "The run is ending; nobody watches any more."},
    {NULL, NULL, 0, NULL},
};

static char loop_doc[] = "The engine of one event loop.";

static PyType_Slot loop_slots[] = {
    {Py_tp_doc, loop_doc},
    {Py_tp_traverse, loop_traverse},
    {Py_tp_dealloc, loop_dealloc},
    {Py_tp_methods, loop_methods},
    {0, NULL},
};

static PyType_Spec loop_spec = {
    .name = "looplite._core._Loop",
    .basicsize = sizeof(lp_loop),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = loop_slots,
};

int lp_loop_init(PyObject *module, lp_state *st)
{
    st->loop_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &loop_spec, NULL);
    return st->loop_type ? 0 : -1;
}
