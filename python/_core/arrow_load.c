/* arrow_load.c: Connection.load_from_arrow(): whatever speaks the Arrow PyCapsule interface into a table.
 *
 *     await --> __arrow_c_stream__() --> ll_arrow_load() --> worker: get_next, INSERT, get_next, ... --> number of rows
 *               the loop                                    without the GIL
 *
 * The worker has no GIL when it asks the source. Sources in C or Rust need none; those that run Python code take it
 * themselves, as the interface demands of them. The connection comes before the GIL, as it does for callbacks.
 *
 * The stream is wrapped only to know whether it is there still: at exit it may be in code of the program that does not
 * end, and then its worker is left behind (work.c). */
#include "aconn.h"
#include "errors.h"
#include "generic.h"
#include "hook.h"
#include "work.h"

#include <errno.h>
#include <looplite/arrow.h>

/* ---- the source --------------------------------------------------------------------------------- */

struct source {
    struct ArrowArrayStream inside;
    lp_state *st;
};

static int source_get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    struct source *source = stream->private_data;
    return source->inside.get_schema(&source->inside, out);
}

static int source_get_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    struct source *source = stream->private_data;
    return source->inside.get_next(&source->inside, out);
}

static const char *source_get_last_error(struct ArrowArrayStream *stream)
{
    struct source *source = stream->private_data;
    return source->inside.get_last_error ? source->inside.get_last_error(&source->inside) : NULL;
}

static void source_release(struct ArrowArrayStream *stream)
{
    struct source *source = stream->private_data;
    source->inside.release(&source->inside);
    atomic_fetch_sub_explicit(&source->st->loading, 1, memory_order_relaxed);
    PyMem_RawFree(source);
    stream->release = NULL;
}

/* Takes the stream, also when it fails. */
static int wrap(lp_state *st, struct ArrowArrayStream *stream, struct ArrowArrayStream *ret_stream)
{
    struct source *source = PyMem_RawMalloc(sizeof *source);
    if (!source) {
        stream->release(stream);
        PyErr_NoMemory();
        return -1;
    }
    *source = (struct source){.inside = *stream, .st = st};
    atomic_fetch_add_explicit(&st->loading, 1, memory_order_relaxed);
    *ret_stream = (struct ArrowArrayStream){.get_schema = source_get_schema,
                                            .get_next = source_get_next,
                                            .get_last_error = source_get_last_error,
                                            .release = source_release,
                                            .private_data = source};
    return 0;
}

/* What a method without arguments gives; NULL without an exception: there is no such method. */
static PyObject *ask(PyObject *object, const char *name)
{
    PyObject *method = PyObject_GetAttrString(object, name);
    if (!method) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError))
            PyErr_Clear();
        return NULL;
    }
    PyObject *answer = PyObject_CallNoArgs(method);
    Py_DECREF(method);
    return answer;
}

static int stream_of_capsule(PyObject *capsule, struct ArrowArrayStream *ret_stream)
{
    struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, "arrow_array_stream");
    if (!stream)
        return -1;
    if (!stream->release) {
        PyErr_SetString(PyExc_ValueError, "the Arrow stream of the source was used already");
        return -1;
    }
    *ret_stream = *stream;
    stream->release = NULL; /* moved */
    return 0;
}

static int stream_of_array(lp_state *st, PyObject *pair, struct ArrowArrayStream *ret_stream)
{
    if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
        PyErr_SetString(PyExc_TypeError, "__arrow_c_array__() must give a tuple of two capsules");
        return -1;
    }
    struct ArrowSchema *schema = PyCapsule_GetPointer(PyTuple_GET_ITEM(pair, 0), "arrow_schema");
    struct ArrowArray *array = schema
                                 ? PyCapsule_GetPointer(PyTuple_GET_ITEM(pair, 1), "arrow_array")
                                 : NULL;
    if (!array)
        return -1;
    struct ArrowSchema moved = *schema;
    struct ArrowArray batch = *array;
    schema->release = NULL;
    array->release = NULL;
    ll_status status = ll_arrow_stream_of_batch(&moved, &batch, ret_stream);
    if (status < 0)
        lp_raise_refused(st, status);
    return status < 0 ? -1 : 0;
}

static int stream_of(lp_state *st, PyObject *object, struct ArrowArrayStream *ret_stream)
{
    int rc = -1;
    PyObject *answer = ask(object, "__arrow_c_stream__");
    if (answer) {
        rc = stream_of_capsule(answer, ret_stream);
    } else if (!PyErr_Occurred()) {
        answer = ask(object, "__arrow_c_array__");
        if (answer)
            rc = stream_of_array(st, answer, ret_stream);
        else if (!PyErr_Occurred())
            PyErr_Format(PyExc_TypeError,
                         "load_from_arrow() needs a source with __arrow_c_stream__() or "
                         "__arrow_c_array__(), such as a table of pyarrow or a data frame, not %s",
                         Py_TYPE(object)->tp_name);
    }
    Py_XDECREF(answer);
    return rc;
}

/* ---- the call ----------------------------------------------------------------------------------- */

/* Of call->argument. */
enum {
    TABLE,
    SOURCE,
    SCHEMA,
    OVERWRITE,
    FIELDS
};

/* A name; NULL with an exception, or for None. */
static const char *name_of(PyObject *name)
{
    Py_ssize_t size;
    const char *text = name == Py_None ? NULL : PyUnicode_AsUTF8AndSize(name, &size);
    if (text && strlen(text) != (size_t)size) {
        PyErr_SetString(PyExc_ValueError, "embedded null character");
        return NULL;
    }
    return text;
}

static lp_step load_start(lp_call *call)
{
    lp_conn *conn = (lp_conn *)call->owner;
    lp_state *st = call->st;
    PyObject *given = call->argument;
    if (lp_conn_is_generic(conn)) {
        PyErr_SetString(st->sqlite3.NotSupportedError,
                        "load_from_arrow() needs a connection that looplite opened itself");
        return LP_ERROR;
    }
    if (lp_conn_need(conn) < 0)
        return LP_ERROR;
    if (lp_conn_must_wait(conn, call))
        return LP_YIELD;
    ll_arrow_load_options options = {.schema = name_of(PyTuple_GET_ITEM(given, SCHEMA)),
                                     .overwrite = PyTuple_GET_ITEM(given, OVERWRITE) == Py_True};
    const char *table = PyErr_Occurred() ? NULL : name_of(PyTuple_GET_ITEM(given, TABLE));
    struct ArrowArrayStream stream, source;
    ll_submit how;
    if (!table || stream_of(st, PyTuple_GET_ITEM(given, SOURCE), &stream) < 0)
        return LP_ERROR;
    if (wrap(st, &stream, &source) < 0)
        return LP_ERROR;
    if (lp_conn_need(conn) < 0 || /* code of the program has run meanwhile */
        lp_conn_begin_mode(conn, &options.begin_before) < 0 || lp_call_how(call, 0, &how) < 0) {
        source.release(&source);
        return LP_ERROR;
    }
    if (LP_UNLIKELY(conn->on_statement != NULL))
        lp_hook_arm(call, conn->on_statement, &how);
    call->begun = true;
    return lp_call_submitted(
        call, ll_arrow_load(conn->handle, table, &source, &options, &how, &call->request));
}

static lp_step load_finish(lp_call *call)
{
    if (!call->begun)
        return load_start(call);
    if (call->finished && call->status == LL_EINVAL) { /* the data, not the call */
        PyErr_SetString(call->st->sqlite3.DataError, ll_request_error(call->request)->message);
        return LP_ERROR;
    }
    if (lp_call_check(call) < 0)
        return LP_ERROR;
    call->result = PyLong_FromSize_t(ll_request_progress(call->request));
    return call->result ? LP_DONE : LP_ERROR;
}

static const lp_op op_load = {
    .name = "Connection.load_from_arrow",
    .start = load_start,
    .finish = load_finish,
};

/* load_from_arrow(table, source, *, schema=None, overwrite=False) */
static PyObject *conn_load(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char table_name[] = "table", source_name[] = "source", schema_name[] = "schema",
                overwrite_name[] = "overwrite";
    static char *names[] = {table_name, source_name, schema_name, overwrite_name, NULL};
    lp_conn *conn = (lp_conn *)op;
    PyObject *table, *source, *schema = Py_None;
    int overwrite = 0;
    if (!conn->st) {
        PyErr_SetString(PyExc_RuntimeError, "Connection.__init__() was not called");
        return NULL;
    }
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "UO|$Op:load_from_arrow", names, &table, &source,
                                     &schema, &overwrite))
        return NULL;
    if (schema != Py_None && !PyUnicode_Check(schema)) {
        PyErr_Format(PyExc_TypeError, "schema must be a str or None, not %s",
                     Py_TYPE(schema)->tp_name);
        return NULL;
    }
    PyObject *given = PyTuple_Pack(FIELDS, table, source, schema, overwrite ? Py_True : Py_False);
    PyObject *text = PyUnicode_FromFormat("INSERT INTO %U",
                                          table); /* for who is told of statements */
    PyObject *call = given && text ? lp_call_new(conn->st, &op_load, op, text, given) : NULL;
    Py_XDECREF(text);
    Py_XDECREF(given);
    return call;
}

static PyMethodDef methods[] = {
    {"load_from_arrow", (PyCFunction)(void (*)(void))conn_load, METH_VARARGS | METH_KEYWORDS,
     "load_from_arrow($self, /, table, source, *, schema=None, overwrite=False)\n--\n\n"
     "Inserts all rows of a source that speaks the Arrow PyCapsule interface, or none; gives their "
     "number."},
};

int lp_arrow_load_init(PyObject *module, lp_state *st)
{
    (void)module;
    return lp_methods_add(st->conn_type, methods, sizeof methods / sizeof *methods);
}
