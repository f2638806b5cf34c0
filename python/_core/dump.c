/* dump.c: Connection.iterdump(): the real sqlite3.Connection.iterdump() on the worker, some lines at a time.
 *
 * What sqlite3 gives is a generator that asks the database as it goes on. It is driven on the worker, CHUNK lines in one
 * request, so neither the loop nor memory is filled by a large database. As with the generator itself, what others
 * do with the connection in between is seen by the lines that follow; who wants a picture of one moment opens a
 * transaction first. */
#include "backup.h"
#include "docs.h"
#include "errors.h"
#include "generic.h"
#include "rare.h"

enum {
    CHUNK = 256
};

typedef struct dump {
    PyObject_HEAD
    /* fixed after creation */
    lp_state *st;
    lp_conn *conn; /* owned */
    PyObject *args, *kwargs;
    /* GIL */
    PyObject *generator; /* NULL: not begun, or ended */
    PyObject *lines;     /* a list, or NULL */
    Py_ssize_t at;       /* the next of them */
    bool begun, ended;
} dump;

/* The next line that is here already; a new reference, NULL without an exception: none. */
static PyObject *take_line(dump *self)
{
    if (!self->lines || self->at >= PyList_GET_SIZE(self->lines))
        return NULL;
    return Py_NewRef(PyList_GET_ITEM(self->lines, self->at++));
}

/* On the worker: some more lines. */
static PyObject *fill(PyObject *op, PyObject *sqlite)
{
    dump *self = (dump *)op;
    if (!self->begun) {
        self->begun = true;
        PyObject *method = PyObject_GetAttrString(sqlite, "iterdump");
        PyObject *lines = method ? PyObject_Call(method, self->args, self->kwargs) : NULL;
        self->generator = lines ? PyObject_GetIter(lines) : NULL;
        self->ended = !self->generator;
        Py_XDECREF(lines);
        Py_XDECREF(method);
        if (!self->generator)
            return NULL;
    }
    PyObject *list = PyList_New(0);
    while (list && self->generator && PyList_GET_SIZE(list) < CHUNK) {
        PyObject *line = PyIter_Next(self->generator);
        if (!line) {
            self->ended = true;
            Py_CLEAR(self->generator);
            break;
        }
        if (PyList_Append(list, line) < 0)
            Py_CLEAR(list);
        Py_DECREF(line);
    }
    if (PyErr_Occurred())
        Py_CLEAR(list);
    return list;
}

static PyMethodDef fill_def = {"iterdump", fill, METH_O, NULL};

static lp_step give_line(lp_call *call, dump *self)
{
    call->result = take_line(self);
    if (call->result)
        return LP_DONE;
    PyErr_SetNone(PyExc_StopAsyncIteration);
    return LP_ERROR;
}

static lp_step dump_start(lp_call *call)
{
    dump *self = (dump *)call->target;
    if ((self->lines && self->at < PyList_GET_SIZE(self->lines)) || self->ended)
        return give_line(call, self);
    if (self->conn->phase != LP_CONN_OPEN) {
        lp_raise_connection_closed();
        return LP_ERROR;
    }
    PyObject *args = PyTuple_Pack(1, self->conn->sqlite);
    if (!args)
        return LP_ERROR;
    Py_XSETREF(call->argument, args);
    return lp_work_start(call);
}

static lp_step dump_finish(lp_call *call)
{
    dump *self = (dump *)call->target;
    if (!call->begun)
        return dump_start(call);
    lp_step step = lp_work_finish(call);
    if (step != LP_DONE)
        return step;
    PyObject *rest = take_line(self); /* two who asked at once: in order */
    if (rest) {
        Py_DECREF(rest);
        self->at--;
        if (PyList_SetSlice(self->lines, PyList_GET_SIZE(self->lines), PY_SSIZE_T_MAX,
                            call->result) < 0)
            return LP_ERROR;
        Py_CLEAR(call->result);
    } else {
        Py_XSETREF(self->lines, call->result);
        call->result = NULL;
        self->at = 0;
    }
    return give_line(call, self);
}

static const lp_op op_next = {
    .name = "Connection.iterdump",
    .start = dump_start,
    .finish = dump_finish,
    .flags = LP_OP_SHIELD,
};

static PyObject *dump_anext(PyObject *op)
{
    dump *self = (dump *)op;
    PyObject *line = take_line(self);
    if (line)
        return lp_ready_new(self->st, line);
    PyObject *function = PyCFunction_New(&fill_def, op);
    PyObject *call = function
                       ? lp_work_new(self->conn, &op_next, function, self->st->empty_tuple, NULL)
                       : NULL;
    if (call)
        ((lp_call *)call)->target = Py_NewRef(op);
    Py_XDECREF(function);
    return call;
}

static PyObject *dump_aclose(PyObject *op, PyObject *unused)
{
    (void)unused;
    dump *self = (dump *)op;
    self->begun = self->ended = true;
    Py_CLEAR(self->generator);
    Py_CLEAR(self->lines);
    return lp_ready_new(self->st, Py_NewRef(Py_None));
}

/* ---- the type ----------------------------------------------------------------------------------- */

static int dump_traverse(PyObject *op, visitproc visit, void *arg)
{
    dump *self = (dump *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->conn);
    Py_VISIT(self->args);
    Py_VISIT(self->kwargs);
    Py_VISIT(self->generator);
    Py_VISIT(self->lines);
    return 0;
}

static int dump_clear(PyObject *op)
{
    dump *self = (dump *)op;
    Py_CLEAR(self->generator);
    Py_CLEAR(self->lines);
    Py_CLEAR(self->args);
    Py_CLEAR(self->kwargs);
    Py_CLEAR(self->conn);
    return 0;
}

static void dump_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)dump_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef dump_methods[] = {
    {"aclose", dump_aclose, METH_NOARGS, "aclose($self, /)\n--\n\nEnds the iteration."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot dump_slots[] = {
    {Py_am_aiter, PyObject_SelfIter},
    {Py_am_anext, dump_anext},
    {Py_tp_methods, dump_methods},
    {Py_tp_traverse, dump_traverse},
    {Py_tp_clear, dump_clear},
    {Py_tp_dealloc, dump_dealloc},
    {0, NULL},
};

static PyType_Spec dump_spec = {
    .name = "looplite._core._Dump",
    .basicsize = sizeof(dump),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = dump_slots,
};

static PyObject *conn_iterdump(PyObject *op, PyObject *args, PyObject *kwargs)
{
    lp_conn *conn = (lp_conn *)op;
    if (!conn->st) {
        PyErr_SetString(PyExc_RuntimeError, "Connection.__init__() was not called");
        return NULL;
    }
    if (lp_conn_is_generic(conn)) {
        PyObject *function = lp_generic_get(conn->st, "iterdump");
        PyObject *lines = function ? PyObject_CallFunctionObjArgs(function, op, args, kwargs, NULL)
                                   : NULL;
        Py_XDECREF(function);
        return lines;
    }
    dump *self = (dump *)lp_new(conn->st->dump_type);
    if (!self)
        return NULL;
    self->st = conn->st;
    self->conn = (lp_conn *)Py_NewRef(op);
    self->args = Py_NewRef(args);
    self->kwargs = Py_XNewRef(kwargs);
    return (PyObject *)self;
}

static PyMethodDef methods[] = {
    {"iterdump", (PyCFunction)(void (*)(void))conn_iterdump, METH_VARARGS | METH_KEYWORDS,
     "iterdump($self, *, filter=None)\n--\n\n" DOC_ITERDUMP},
};

int lp_dump_init(PyObject *module, lp_state *st)
{
    st->dump_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &dump_spec, NULL);
    return st->dump_type ? lp_rare_add(st, methods, 1) : -1;
}
