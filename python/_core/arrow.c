/* arrow.c: results by the Arrow PyCapsule interface: __arrow_c_stream__() of Columns and of Fetched.
 *
 * A Columns is a result whose values were put into Arrow's buffers on the worker; it holds them until somebody asks for
 * its stream, once, and they then belong to who has asked. A Fetched keeps its rows, which may be asked for in other
 * ways too, so it gives a copy, as often as it is wanted.
 *
 * A capsule owns the struct with the stream. A consumer that moves the stream out marks it as released; one that never
 * did leaves that to the destructor. */
#include "arrow.h"

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
                           size_t count)
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
    for (; made < count && (copies[made] = ll_batch_to_columns(batches[made])) != NULL; made++) {}
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
