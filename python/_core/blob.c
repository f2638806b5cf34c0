/* blob.c: Connection.blobopen() and looplite.Blob: a value that is read and written in pieces.
 *
 * A Blob has the methods of sqlite3.Blob, which do their work on the connection's worker and are awaited. What Python
 * writes with operators cannot be awaited everywhere, so:
 *
 *     sqlite3                     looplite
 *     with con.blobopen(...)      async with db.blobopen(...)
 *     blob.read(n)                await blob.read(n)            and write(), seek(), tell(), close()
 *     blob[i], blob[i:j]          await blob[i], await blob[i:j]
 *     blob[i] = x                 await blob.set(i, x)
 *     len(blob)                   len(blob)                     it never changes, and needs no file
 */
#include "backup.h"
#include "docs.h"
#include "errors.h"
#include "rare.h"

typedef struct blob {
    PyObject_HEAD
    /* fixed after creation */
    lp_state *st;
    lp_conn *conn;     /* owned */
    PyObject *real;    /* the sqlite3.Blob */
    Py_ssize_t length; /* -1: `real` may be asked from any thread */
} blob;

/* ---- opening ------------------------------------------------------------------------------------ */

static PyObject *blob_new(lp_state *st, PyObject *conn, PyObject *real, Py_ssize_t length)
{
    blob *self = (blob *)lp_new(st->blob_type);
    if (!self)
        return NULL;
    self->st = st;
    self->conn = (lp_conn *)Py_NewRef(conn);
    self->real = Py_NewRef(real);
    self->length = length;
    return (PyObject *)self;
}

static lp_step open_finish(lp_call *call)
{
    lp_step step = lp_work_finish(call);
    if (step != LP_DONE)
        return step;
    PyObject *made = blob_new(call->st, call->owner, call->result, -1);
    if (!made)
        return LP_ERROR;
    Py_SETREF(call->result, made);
    return LP_DONE;
}

/* _blob(conn, real, length): of looplite._generic, whose connections' blobs know one thread only. */
static PyObject *generic_blob(PyObject *module, PyObject *args)
{
    lp_state *st = PyModule_GetState(module);
    PyObject *conn, *real;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(args, "O!On:_blob", st->conn_type, &conn, &real, &length))
        return NULL;
    return blob_new(st, conn, real, length);
}

static PyMethodDef module_defs[] = {
    {"_blob", generic_blob, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static const lp_op op_open = {
    .name = "Connection.blobopen",
    .start = lp_work_start,
    .finish = open_finish,
    .flags = LP_OP_SHIELD,
};

static PyObject *conn_blobopen(PyObject *op, PyObject *args, PyObject *kwargs)
{
    PyObject *name = PyUnicode_InternFromString("blobopen");
    PyObject *call = name ? lp_work_new((lp_conn *)op, &op_open, name, args, kwargs) : NULL;
    Py_XDECREF(name);
    return call;
}

/* ---- using -------------------------------------------------------------------------------------- */

/* A call of a method of the real one. */
static PyObject *call_of(blob *self, const lp_op *what, const char *name, PyObject *args)
{
    PyObject *method = PyObject_GetAttrString(self->real, name);
    PyObject *call = method ? lp_work_new(self->conn, what, method, args, NULL) : NULL;
    Py_XDECREF(method);
    return call;
}

/* After the connection every blob of it is closed. */
static lp_step close_start(lp_call *call)
{
    return ((lp_conn *)call->owner)->phase == LP_CONN_OPEN ? lp_work_start(call) : LP_DONE;
}

#define METHOD(method, begin)                                    \
    static const lp_op op_##method = {                           \
        .name = "Blob." #method,                                 \
        .start = begin,                                          \
        .finish = lp_work_finish,                                \
        .flags = LP_OP_SHIELD,                                   \
    };                                                           \
    static PyObject *blob_##method(PyObject *op, PyObject *args) \
    {                                                            \
        return call_of((blob *)op, &op_##method, #method, args); \
    }
METHOD(read, lp_work_start)
METHOD(write, lp_work_start)
METHOD(seek, lp_work_start)
METHOD(tell, lp_work_start)
METHOD(close, close_start)
#undef METHOD

static const lp_op op_get = {
    .name = "Blob.__getitem__",
    .start = lp_work_start,
    .finish = lp_work_finish,
    .flags = LP_OP_SHIELD,
};

static const lp_op op_set = {
    .name = "Blob.set",
    .start = lp_work_start,
    .finish = lp_work_finish,
    .flags = LP_OP_SHIELD,
};

static PyObject *blob_subscript(PyObject *op, PyObject *key)
{
    PyObject *args = PyTuple_Pack(1, key);
    PyObject *call = args ? call_of((blob *)op, &op_get, "__getitem__", args) : NULL;
    Py_XDECREF(args);
    return call;
}

static PyObject *blob_set(PyObject *op, PyObject *args)
{
    return call_of((blob *)op, &op_set, "__setitem__", args);
}

/* blob[key] = value: where it is, its answer cannot be waited for. */
static int blob_ass_subscript(PyObject *op, PyObject *key, PyObject *value)
{
    (void)op;
    if (value)
        PyErr_SetString(PyExc_TypeError,
                        "blob[key] = value cannot be awaited: use `await blob.set(key, value)`");
    else
        PyErr_Format(PyExc_TypeError, "Blob doesn't support %s deletion",
                     PySlice_Check(key) ? "slice" : "item");
    return -1;
}

static Py_ssize_t blob_length(PyObject *op)
{
    const blob *self = (blob *)op;
    return self->length < 0 ? PyObject_Size(self->real) : self->length;
}

static PyObject *blob_aenter(PyObject *op, PyObject *unused)
{
    (void)unused;
    return blob_length(op) < 0 ? NULL : lp_ready_new(((blob *)op)->st, Py_NewRef(op));
}

static PyObject *blob_aexit(PyObject *op, PyObject *args)
{
    (void)args;
    if (((blob *)op)->conn->phase == LP_CONN_OPEN && blob_length(op) < 0)
        return NULL; /* closed in the block: sqlite3 says so */
    return PyObject_CallMethodNoArgs(op, ((blob *)op)->st->names.close);
}

/* ---- the type ----------------------------------------------------------------------------------- */

static int blob_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)((blob *)op)->conn);
    Py_VISIT(((blob *)op)->real);
    return 0;
}

static int blob_clear(PyObject *op)
{
    Py_CLEAR(((blob *)op)->real);
    Py_CLEAR(((blob *)op)->conn);
    return 0;
}

static void blob_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)blob_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef blob_methods[] = {
    {"read", blob_read, METH_VARARGS, "read($self, length=-1, /)\n--\n\n" DOC_BLOB_READ},
    {"write", blob_write, METH_VARARGS, "write($self, data, /)\n--\n\n" DOC_BLOB_WRITE},
    {"seek", blob_seek, METH_VARARGS, "seek($self, offset, origin=0, /)\n--\n\n" DOC_BLOB_SEEK},
    {"tell", blob_tell, METH_VARARGS, "tell($self, /)\n--\n\n" DOC_BLOB_TELL},
    {"close", blob_close, METH_VARARGS, "close($self, /)\n--\n\n" DOC_BLOB_CLOSE},
    {"set", blob_set, METH_VARARGS, "set($self, key, value, /)\n--\n\n" DOC_BLOB_SET},
    {"__aenter__", blob_aenter, METH_NOARGS, NULL},
    {"__aexit__", blob_aexit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static char blob_doc[] = DOC_BLOB;

static PyType_Slot blob_slots[] = {
    {Py_tp_doc, blob_doc},
    {Py_tp_methods, blob_methods},
    {Py_mp_subscript, blob_subscript},
    {Py_mp_ass_subscript, blob_ass_subscript},
    {Py_mp_length, blob_length},
    {Py_tp_traverse, blob_traverse},
    {Py_tp_clear, blob_clear},
    {Py_tp_dealloc, blob_dealloc},
    {0, NULL},
};

static PyType_Spec blob_spec = {
    .name = "looplite.Blob",
    .basicsize = sizeof(blob),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = blob_slots,
};

static PyMethodDef methods[] = {
    {"blobopen", (PyCFunction)(void (*)(void))conn_blobopen, METH_VARARGS | METH_KEYWORDS,
     "blobopen($self, table, column, row, /, *, readonly=False, name='main')\n--\n\n" DOC_BLOBOPEN},
};

int lp_blob_init(PyObject *module, lp_state *st)
{
    st->blob_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &blob_spec, NULL);
    if (!st->blob_type || lp_rare_add(st, methods, 1) < 0 ||
        PyModule_AddFunctions(module, module_defs) < 0)
        return -1;
    return PyModule_AddObjectRef(module, "Blob", (PyObject *)st->blob_type);
}
