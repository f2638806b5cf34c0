/* helper.c: the thread that watches the engine's descriptor for a loop that cannot.
 *
 * Not every loop has add_reader(): asyncio's own on Windows has none, nor have some that belong to other frameworks.
 * What every loop has is call_soon_threadsafe(). So a thread polls the descriptor and has the loop dispatch:
 *
 *     poll(descriptor, control) --readable--> call_soon_threadsafe(dispatch) --> poll(control) --+
 *              ^                                                                                 |
 *              +---- dispatch has run, and writes to the control pipe ---------------------------+
 *
 * While a dispatch is on its way the descriptor, which stays readable, is not polled. The thread is a threading.Thread,
 * a daemon, so it is seen where people look for threads and holds up no exit; it lives as long as the descriptor
 * would be registered with other loops: while the loop has open connections or work in flight.
 *
 * Its ends: (1) the loop has no more use for it; the loop's thread waits until it has left. (2) The loop object is
 * freed, or found closed when another one is set up: whoever finds that may hold any lock, so nobody waits; the
 * thread abandons the engine itself. (3) The loop is closed and kept: nobody says so, so once in a second the
 * thread looks. (4) Exit: the hook waits for it. (5) Fork: the child has no such thread, only its pipe.
 *
 * It holds a reference to the lp_loop (its function is a bound method), and one to the loop only for the moment of a
 * call, so it keeps no loop alive. All fields are touched with the GIL held. */
#include "loop.h"

#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

enum {
    LOOK_MS = 1000 /* how often a thread looks whether its loop was closed */
};

static void close_control(struct lp_helper *helper)
{
    for (int i = 0; i < 2; i++) {
        if (helper->control[i] >= 0)
            close(helper->control[i]);
        helper->control[i] = -1;
    }
}

static int open_control(struct lp_helper *helper)
{
    if (pipe(helper->control) < 0) {
        helper->control[0] = helper->control[1] = -1;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    for (int i = 0; i < 2; i++) {
        int flags = fcntl(helper->control[i], F_GETFL);
        if (fcntl(helper->control[i], F_SETFD, FD_CLOEXEC) < 0 || flags < 0 ||
            fcntl(helper->control[i], F_SETFL, flags | O_NONBLOCK) < 0) {
            PyErr_SetFromErrno(PyExc_OSError);
            close_control(helper);
            return -1;
        }
    }
    return 0;
}

/* A full pipe wakes as well as one byte more. */
static void wake(struct lp_helper *helper)
{
    ssize_t written;
    do
        written = write(helper->control[1], "", 1);
    while (written < 0 && errno == EINTR);
}

static void drain(int fd)
{
    char bytes[64];
    while (read(fd, bytes, sizeof bytes) > 0) {}
}

int lp_helper_start(lp_loop *loop)
{
    struct lp_helper *helper = &loop->helper;
    if (helper->serving) /* it is about to leave, and nobody could wait for it */
        lp_helper_stop(loop, true);
    if (open_control(helper) < 0)
        return -1;
    helper->posted = helper->stopping = false;
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *type = threading ? PyObject_GetAttrString(threading, "Thread") : NULL;
    PyObject *serve = type ? PyObject_GetAttrString((PyObject *)loop, "_serve") : NULL;
    PyObject *nothing = serve ? PyTuple_New(0) : NULL;
    PyObject *options = nothing ? Py_BuildValue("{s:O,s:s,s:O}", "target", serve, "name",
                                                "looplite", "daemon", Py_True)
                                : NULL;
    PyObject *thread = options ? PyObject_Call(type, nothing, options) : NULL;
    helper->serving = thread != NULL;
    PyObject *started = thread ? PyObject_CallMethod(thread, "start", NULL) : NULL;
    if (started) {
        Py_XSETREF(helper->thread, Py_NewRef(thread));
    } else {
        helper->serving = false;
        close_control(helper);
    }
    Py_XDECREF(started);
    Py_XDECREF(thread);
    Py_XDECREF(options);
    Py_XDECREF(nothing);
    Py_XDECREF(serve);
    Py_XDECREF(type);
    Py_XDECREF(threading);
    return started ? 0 : -1;
}

void lp_helper_dispatched(lp_loop *loop)
{
    loop->helper.posted = false;
    if (loop->helper.serving)
        wake(&loop->helper);
}

void lp_helper_stop(lp_loop *loop, bool wait)
{
    struct lp_helper *helper = &loop->helper;
    if (!helper->serving)
        return;
    helper->stopping = true;
    wake(helper);
    if (!wait)
        return;
    PyObject *thread = helper->thread;
    helper->thread = NULL;
    do {
        PyObject *joined = thread ? PyObject_CallMethod(thread, "join", NULL) : NULL;
        if (!joined) /* a signal's handler has raised: the thread leaves all the same */
            PyErr_Clear();
        Py_XDECREF(joined);
    } while (thread && helper->serving);
    Py_XDECREF(thread);
}

void lp_helper_forget(lp_loop *loop)
{
    struct lp_helper *helper = &loop->helper;
    if (helper->serving)
        close_control(helper); /* our copies */
    helper->serving = helper->posted = false;
    helper->last = NULL;
    Py_CLEAR(helper->thread);
}

/* Has the loop dispatch. False: it does not take calls any more. */
static bool post(lp_loop *self)
{
    lp_state *st = self->st;
    PyObject *loop = lp_loop_object(self);
    PyObject *dispatch = loop ? PyObject_GetAttr((PyObject *)self, st->names.dispatch) : NULL;
    self->helper.posted = dispatch != NULL; /* before: the loop may be quicker than we */
    PyObject *done = dispatch
                       ? PyObject_CallMethodOneArg(loop, st->names.call_soon_threadsafe, dispatch)
                       : NULL;
    if (!done) /* RuntimeError: closed */
        PyErr_Clear();
    Py_XDECREF(done);
    Py_XDECREF(dispatch);
    Py_XDECREF(loop);
    return done != NULL;
}

static bool is_closed(lp_loop *self)
{
    PyObject *loop = lp_loop_object(self);
    PyObject *closed = loop ? PyObject_CallMethodNoArgs(loop, self->st->names.is_closed) : NULL;
    bool is = !loop || closed == Py_True;
    PyErr_Clear();
    Py_XDECREF(closed);
    Py_XDECREF(loop);
    return is;
}

static void serve(lp_loop *self)
{
    struct lp_helper *helper = &self->helper;
    while (!helper->stopping && self->engine) {
        /* The engine outlives this thread: who ends it waits for us, or leaves it to us. */
        struct pollfd watched[2] = {
            {.fd = helper->control[0], .events = POLLIN},
            {.fd = ll_engine_fd(self->engine), .events = POLLIN},
        };
        nfds_t count = helper->posted ? 1 : 2;
        int ready;
        Py_BEGIN_ALLOW_THREADS ready = poll(watched, count, LOOK_MS);
        Py_END_ALLOW_THREADS if (watched[0].revents) drain(watched[0].fd);
        if (helper->stopping || !self->engine)
            return;
        bool readable = count == 2 && watched[1].revents != 0;
        if ((readable && !post(self)) || (ready == 0 && is_closed(self))) {
            lp_loop_end(self);
            return;
        }
    }
}

PyObject *lp_helper_serve(PyObject *op, PyObject *unused)
{
    (void)unused;
    lp_loop *self = (lp_loop *)op;
    struct lp_helper *helper = &self->helper;
    uint64_t generation = self->st->generation;
    if (!helper->serving || helper->control[0] < 0) {
        PyErr_SetString(PyExc_RuntimeError, "_serve() belongs to looplite's own thread");
        return NULL;
    }
    serve(self);
    if (generation != self->st->generation)
        Py_RETURN_NONE; /* this thread has forked, and is the child's main thread now */
    close_control(helper);
    helper->serving = helper->posted = false;
    self->reading = false;
    ll_engine *last = helper->last;
    helper->last = NULL;
    ll_engine_abandon(last);
    Py_RETURN_NONE;
}
