/* arrow.c: results by the Arrow PyCapsule interface: __arrow_c_stream__() of Columns, of Fetched and of Cursor.
 *
 * A Columns is a result whose values were put into Arrow's buffers on the worker; it holds them until somebody asks for
 * its stream, once, and they then belong to who has asked. A Fetched keeps its rows, which may be asked for in other
 * ways too, so it gives a copy, as often as it is wanted.
 *
 * A Cursor gives its rows away: those that were read, and then what a worker reads while the consumer pulls. Some consumers
 * pull with the GIL held, and the worker may need it for a function of the program, so such a stream lets go of it before
 * it waits. The Cursor keeps a tap: when it is closed, so is the stream, whoever waits in it; when it is merely dropped,
 * the stream goes on.
 *
 * A capsule owns the struct with the stream. A consumer that moves the stream out marks it as released; one that never
 * did leaves that to the destructor. */
#include "arrow.h"

#include "acursor.h"
#include "errors.h"

#include <looplite/arrow.h>

static const char capsule_name[] = "arrow_array_stream";

typedef struct columns {
    PyObject_HEAD
    lp_state *st;                   /* fixed */
    struct ArrowArrayStream stream; /* GIL; its release is NULL once it was given away */
} columns;

int lp_arrow_arguments(PyObject *args, PyObject *kwargs)
{
    static char word[] = "requested_schema";
    static char *words[] = {word, NULL};
    PyObject *requested = NULL; /* may be left aside: what is given has its own schema */
    return PyArg_ParseTupleAndKeywords(args, kwargs, "|O:__arrow_c_stream__", words, &requested)
             ? 0
             : -1;
}

static void capsule_free(PyObject *capsule)
{
    struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, capsule_name);
    if (!stream)
        return;
    if (stream->release)
        stream->release(stream);
    PyMem_RawFree(stream);
}

/* Takes the stream, also when it fails. */
static PyObject *capsule_of(struct ArrowArrayStream *stream)
{
    struct ArrowArrayStream *own = PyMem_RawMalloc(sizeof *own);
    PyObject *capsule = NULL;
    if (own) {
        *own = *stream;
        capsule = PyCapsule_New(own, capsule_name, capsule_free);
    } else {
        PyErr_NoMemory();
    }
    if (!capsule) {
        stream->release(stream);
        PyMem_RawFree(own);
    }
    stream->release = NULL;
    return capsule;
}

static void raise_arrow(lp_state *st, ll_status status)
{
    if (status == LL_EINVAL)
        PyErr_SetString(st->sqlite3.DataError, ll_last_error());
    else
        lp_raise_refused(st, status);
}

static int need_columns(lp_state *st, const ll_columns *names)
{
    if (names)
        return 0;
    PyErr_SetString(st->sqlite3.ProgrammingError,
                    "the statement gives no columns, so there is nothing for Arrow");
    return -1;
}

PyObject *lp_columns_of(lp_state *st, ll_request *request)
{
    if (need_columns(st, ll_request_columns(request)) < 0)
        return NULL;
    columns *self = (columns *)lp_new(st->columns_type);
    if (!self)
        return NULL;
    self->st = st;
    ll_status status = ll_arrow_stream_of(request, &self->stream);
    if (status == LL_OK)
        return (PyObject *)self;
    raise_arrow(st, status);
    Py_DECREF((PyObject *)self);
    return NULL;
}

PyObject *lp_arrow_of_rows(lp_state *st, const ll_columns *names, ll_batch *const *batches,
                           size_t count, size_t skip)
{
    if (need_columns(st, names) < 0)
        return NULL;
    ll_batch **copies = PyMem_RawCalloc(count > 0 ? count : 1, sizeof *copies);
    if (!copies)
        return PyErr_NoMemory();
    struct ArrowArrayStream stream = {0};
    ll_status status = LL_OK;
    size_t made = 0;
    PyThreadState *saved = PyEval_SaveThread();
    for (; made < count &&
           (copies[made] = ll_batch_to_columns_from(batches[made], made == 0 ? skip : 0)) != NULL;
         made++) {}
    if (made == count) {
        status = ll_arrow_stream_new(names, copies, count, &stream);
    } else {
        for (size_t i = 0; i < made; i++)
            ll_batch_free(copies[i]);
    }
    PyEval_RestoreThread(saved);
    PyMem_RawFree((void *)copies);
    if (made < count)
        return PyErr_NoMemory();
    if (status != LL_OK) {
        raise_arrow(st, status);
        return NULL;
    }
    return capsule_of(&stream);
}

/* ---- what is read while it is pulled ------------------------------------------------------------ */

/* private_data is a pointer to the stream inside. */
static struct ArrowArrayStream *inside_of(struct ArrowArrayStream *stream)
{
    return stream->private_data;
}

static int live_get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    struct ArrowArrayStream *inside = inside_of(stream);
    PyThreadState *saved = lp_has_gil() ? PyEval_SaveThread() : NULL;
    int code = inside->get_schema(inside, out);
    if (saved)
        PyEval_RestoreThread(saved);
    return code;
}

static int live_get_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    struct ArrowArrayStream *inside = inside_of(stream);
    PyThreadState *saved = lp_has_gil() ? PyEval_SaveThread() : NULL;
    int code = inside->get_next(inside, out);
    if (saved)
        PyEval_RestoreThread(saved);
    return code;
}

static const char *live_get_last_error(struct ArrowArrayStream *stream)
{
    struct ArrowArrayStream *inside = inside_of(stream);
    return inside->get_last_error(inside);
}

static void live_release(struct ArrowArrayStream *stream)
{
    struct ArrowArrayStream *inside = inside_of(stream);
    inside->release(inside);
    PyMem_RawFree(inside);
    stream->release = NULL;
}

/* A stream around this one, which is taken, also when it fails. */
static PyObject *live_capsule(struct ArrowArrayStream *stream)
{
    struct ArrowArrayStream *inside = PyMem_RawMalloc(sizeof *inside);
    if (!inside) {
        stream->release(stream);
        return PyErr_NoMemory();
    }
    *inside = *stream;
    struct ArrowArrayStream outside = {.get_schema = live_get_schema,
                                       .get_next = live_get_next,
                                       .get_last_error = live_get_last_error,
                                       .release = live_release,
                                       .private_data = inside};
    return capsule_of(&outside);
}

static int cursor_may_give(const lp_cursor *cursor)
{
    if (!cursor->st) {
        PyErr_SetString(PyExc_RuntimeError, "Cursor.__init__() was not called");
        return -1;
    }
    if (cursor->foreign) {
        PyErr_SetString(cursor->st->sqlite3.NotSupportedError,
                        "only a cursor of a connection that looplite opened itself can be read as "
                        "Arrow");
        return -1;
    }
    if (lp_cursor_need(cursor) < 0)
        return -1;
    if (cursor->executing || cursor->asking) {
        PyErr_SetString(cursor->st->sqlite3.ProgrammingError,
                        "the cursor is in use: await its execute() or fetch first");
        return -1;
    }
    return need_columns(cursor->st, cursor->columns);
}

PyObject *lp_arrow_of_cursor(lp_cursor *cursor)
{
    if (cursor_may_give(cursor) < 0)
        return NULL;
    ll_batch **batches = cursor->batches + cursor->first;
    size_t count = cursor->count, skip = cursor->row;
    PyObject *capsule;
    if (!cursor->rest) {     /* all is there: the types are those of all rows */
        cursor->busy = true; /* the GIL is let go of, and others may want these rows */
        capsule = lp_arrow_of_rows(cursor->st, cursor->columns, batches, count, skip);
        cursor->busy = false;
        if (capsule)
            lp_cursor_drop_rows(cursor);
        return capsule;
    }
    struct ArrowArrayStream stream;
    ll_cursor *rest = cursor->rest;
    cursor->rest = NULL;
    cursor->count = cursor->first = cursor->row = 0;
    ll_status status = ll_arrow_stream_live(batches, count, skip, rest, &cursor->tap, &stream);
    if (status < 0) {
        raise_arrow(cursor->st, status);
        return NULL;
    }
    return live_capsule(&stream);
}

/* ---- Columns ------------------------------------------------------------------------------------ */

static PyObject *columns_stream(PyObject *op, PyObject *args, PyObject *kwargs)
{
    columns *self = (columns *)op;
    if (lp_arrow_arguments(args, kwargs) < 0)
        return NULL;
    if (!self->stream.release) {
        PyErr_SetString(self->st->sqlite3.ProgrammingError,
                        "the columns of this result were given away already");
        return NULL;
    }
    return capsule_of(&self->stream);
}

static int columns_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return 0;
}

static void columns_dealloc(PyObject *op)
{
    columns *self = (columns *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->stream.release)
        self->stream.release(&self->stream);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef columns_methods[] = {
    {"__arrow_c_stream__", (PyCFunction)(void (*)(void))columns_stream,
     METH_VARARGS | METH_KEYWORDS,
     "__arrow_c_stream__($self, /, requested_schema=None)\n--\n\nThe result, once."},
    {NULL, NULL, 0, NULL},
};

static char columns_doc[] = "A whole result in Arrow's buffers, for who asks first.";

static PyType_Slot columns_slots[] = {
    {Py_tp_doc, columns_doc},
    {Py_tp_traverse, columns_traverse},
    {Py_tp_dealloc, columns_dealloc},
    {Py_tp_methods, columns_methods},
    {0, NULL},
};

static PyType_Spec columns_spec = {
    .name = "looplite._core.Columns",
    .basicsize = sizeof(columns),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = columns_slots,
};

int lp_arrow_init(PyObject *module, lp_state *st)
{
    st->columns_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &columns_spec, NULL);
    if (!st->columns_type)
        return -1;
    return PyModule_AddObjectRef(module, "Columns", (PyObject *)st->columns_type);
}
