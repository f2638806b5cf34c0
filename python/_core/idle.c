/* idle.c: whether an event loop has nothing to do but wait.
 *
 * asyncio's own loop on Unix has a queue of callbacks (_ready), a heap of timers (_scheduled), and a selector whose
 * descriptor is readable as soon as one of those that it watches is: sockets, the pipe that signals and
 * call_soon_threadsafe() write to, the descriptor of our engine. If the queue is empty, the loop would next sleep
 * until that descriptor is readable or the first timer is due. Who watches both in its place keeps nobody waiting.
 *
 * These three are not documented, but have been the same from Python 3.4 to 3.14. Nothing is taken for granted: only a
 * loop whose class is asyncio.SelectorEventLoop itself is looked into, and what is found there has to be of the types
 * that are expected. Everything else, uvloop's loop too, cannot be seen, and counts as busy.
 *
 * What the queue does not show: a task that is begun inside create_task() (3.12, an eager task) has its creator waiting
 * behind it. So a loop with a task factory counts as busy. (asyncio.eager_task_factory is one.)
 *
 * Our own `_turn` (loop.c) in the queue is not counted: it is there to tell that the loop has come round. */
#include "idle.h"

#include <math.h>
#include <poll.h>

/* Whether the class of the loop is the one that is known. */
static bool is_known(lp_loop *self, PyObject *loop)
{
    if (self->visible == LP_NOT_LOOKED) {
        PyObject *modules = PyImport_GetModuleDict(); /* borrowed */
        PyObject *module = modules ? PyDict_GetItemString(modules, "asyncio") : NULL;
        PyObject *known = module ? PyObject_GetAttrString(module, "SelectorEventLoop") : NULL;
        self->visible = known == (PyObject *)Py_TYPE(loop) ? LP_VISIBLE : LP_INVISIBLE;
        Py_XDECREF(known);
    }
    return self->visible == LP_VISIBLE;
}

static bool has_factory(lp_state *st, PyObject *loop)
{
    PyObject *factory = PyObject_GetAttr(loop, st->names._task_factory);
    bool has = factory != Py_None;
    Py_XDECREF(factory);
    return has;
}

/* How many callbacks wait; -1: that cannot be seen. */
static Py_ssize_t waiting(lp_state *st, PyObject *loop)
{
    PyObject *queue = PyObject_GetAttr(loop, st->names._ready);
    Py_ssize_t count = queue ? PyObject_Size(queue) : -1;
    Py_XDECREF(queue);
    return count;
}

/* When the first timer is due. A cancelled one may still lie there: it ends the wait early. */
static bool next_timer(lp_state *st, PyObject *loop, int64_t *ret_ns)
{
    PyObject *heap = PyObject_GetAttr(loop, st->names._scheduled);
    bool seen = heap && PyList_CheckExact(heap);
    *ret_ns = INT64_MAX;
    if (seen && PyList_GET_SIZE(heap) > 0) {
        PyObject *timer = Py_NewRef(PyList_GET_ITEM(heap, 0));
        PyObject *when = PyObject_GetAttr(timer, st->names._when);
        double seconds = when ? PyFloat_AsDouble(when) : (double)NAN;
        seen = !isnan(seconds);
        if (seconds < 1e9)
            *ret_ns = (int64_t)(seconds * 1e9);
        Py_XDECREF(when);
        Py_DECREF(timer);
    }
    Py_XDECREF(heap);
    return seen;
}

static int descriptor(lp_state *st, PyObject *loop)
{
    PyObject *selector = PyObject_GetAttr(loop, st->names._selector);
    PyObject *number = selector ? PyObject_CallMethodNoArgs(selector, st->names.fileno) : NULL;
    long fd = number ? PyLong_AsLong(number) : -1;
    Py_XDECREF(number);
    Py_XDECREF(selector);
    return fd > INT_MAX ? -1 : (int)fd;
}

bool lp_idle_look(lp_loop *self, struct lp_idle *ret_idle)
{
    lp_state *st = self->st;
    if (self->host || self->helper.wanted || self->visible == LP_INVISIBLE)
        return false;
    PyObject *loop = lp_loop_object(self);
    bool idle = loop && is_known(self, loop) && !has_factory(st, loop) &&
                waiting(st, loop) == (self->turn_posted ? 1 : 0) &&
                next_timer(st, loop, &ret_idle->until_ns) &&
                (ret_idle->fd = descriptor(st, loop)) >= 0;
    if (PyErr_Occurred()) { /* another Python's loop, which has not what it takes */
        PyErr_Clear();
        self->visible = LP_INVISIBLE;
        idle = false;
    }
    Py_XDECREF(loop);
    return idle;
}

bool lp_idle_is_over(const struct lp_idle *idle)
{
    struct pollfd fd = {.fd = idle->fd, .events = POLLIN};
    return poll(&fd, 1, 0) != 0;
}
