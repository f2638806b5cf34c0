/* running.c: which asyncio loop runs in this thread.
 *
 * Every call has to know. Up to Python 3.13 asyncio's own _get_running_loop() asks the system for the
 * process's number each time ([M] with the call itself a quarter of a microsecond, twice in each point read), in
 * order to notice a fork; looplite has a hook for that (module.c). The loop itself stands in the dictionary
 * of the thread's state, in a small object:
 *
 *     PyThreadState_GetDict()["__asyncio_running_event_loop__"] = holder { PyObject_HEAD, loop, pid }
 *
 * This is not documented, so nothing is taken for granted: after asyncio was asked, its answer is looked for
 * at this very place. Only if it is found there, the type of the holder is remembered, and only an object of
 * exactly this type is read the next time. Where asyncio keeps its loop elsewhere (3.14, or without its
 * C part), no holder is found, and asyncio is asked each time. */
#include "running.h"

#include <string.h>

static PyObject *find_holder(lp_state *st)
{
    PyObject *dict = PyThreadState_GetDict();
    PyObject *holder = dict
                         ? PyDict_GetItemWithError(dict, st->names.__asyncio_running_event_loop__)
                         : NULL;
    if (!holder)
        PyErr_Clear();
    return holder;
}

static PyObject *held(PyObject *holder)
{
    PyObject *loop;
    memcpy(&loop, (const char *)holder + sizeof(PyObject), sizeof loop);
    return loop;
}

PyObject *lp_running_peek(lp_state *st)
{
    if (!st->holder_type)
        return NULL;
    PyObject *holder = find_holder(st);
    return holder && Py_TYPE(holder) == st->holder_type ? held(holder) : NULL;
}

PyObject *lp_running_ask(lp_state *st)
{
    PyObject *loop = PyObject_CallNoArgs(st->get_running_loop);
    if (!loop || loop == Py_None || st->holder_type)
        return loop;
    PyObject *holder = find_holder(st);
    if (holder &&
        Py_TYPE(holder)->tp_basicsize >= (Py_ssize_t)(sizeof(PyObject) + sizeof(PyObject *)) &&
        held(holder) == loop)
        st->holder_type = (PyTypeObject *)Py_NewRef((PyObject *)Py_TYPE(holder));
    return loop;
}
