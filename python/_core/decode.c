/* decode.c: rows of the core as Python objects.
 *
 * The hot path of every fetch: one tuple, one object per value. A tuple of atomic values cannot be part
 * of a cycle, so it is taken out of the collector's sight at once; a million rows would otherwise make
 * it run over all of them again and again. Text whose bytes are all ASCII is copied into a compact str
 * without a look at UTF-8.
 *
 * Row factories get what sqlite3 gives them, a sqlite3.Cursor with the right description; sqlite3.Row
 * insists on one. Ours is no such cursor and the real connection is busy on a worker, so one true
 * cursor is kept per shape of a result (the names of its columns): made on a private memory
 * connection by SELECT NULL AS "name", ..., and never used for anything else. */
#include "decode.h"

#include "typed.h"

#include <string.h>

enum {
    SHAPES_KEPT = 512
};

/* ---- values ------------------------------------------------------------------------------------ */

static bool is_ascii(const char *text, size_t size)
{
    size_t i = 0;
    for (uint64_t word; i + sizeof word <= size; i += sizeof word) {
        memcpy(&word, text + i, sizeof word);
        if (word & UINT64_C(0x8080808080808080))
            return false;
    }
    for (; i < size; i++)
        if ((unsigned char)text[i] & 0x80)
            return false;
    return true;
}

/* The message and class of sqlite3 for text that is no UTF-8. */
static void raise_undecodable(const lp_decoder *d, size_t column, const ll_value *value)
{
    PyErr_Clear();
    const char *name = ll_columns_name(d->columns, column);
    PyObject *text = PyUnicode_DecodeUTF8(value->as.text, (Py_ssize_t)value->size, "replace");
    if (text)
        PyErr_Format(d->st->sqlite3.OperationalError,
                     "Could not decode to UTF-8 column '%s' with text '%U'", name ? name : "",
                     text);
    Py_XDECREF(text);
}

static PyObject *decode_text(const lp_decoder *d, size_t column, const ll_value *value)
{
    const char *text = value->as.text;
    size_t size = value->size;
    if (!d->text_factory) {
        if (size > 1 && is_ascii(text, size)) {
            PyObject *ascii = PyUnicode_New((Py_ssize_t)size, 127);
            if (ascii)
                memcpy(PyUnicode_1BYTE_DATA(ascii), text, size);
            return ascii;
        }
        PyObject *decoded = PyUnicode_DecodeUTF8(text, (Py_ssize_t)size, NULL);
        if (!decoded && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
            raise_undecodable(d, column, value);
        return decoded;
    }
    if (d->text_factory == (PyObject *)&PyBytes_Type)
        return PyBytes_FromStringAndSize(text, (Py_ssize_t)size);
    if (d->text_factory == (PyObject *)&PyByteArray_Type)
        return PyByteArray_FromStringAndSize(text, (Py_ssize_t)size);
    return PyObject_CallFunction(d->text_factory, "y#", text, (Py_ssize_t)size);
}

PyObject *lp_decode_value(const lp_decoder *d, size_t column, const ll_value *value)
{
    switch (value->type) {
    case LL_INTEGER:
        return PyLong_FromLongLong(value->as.integer);
    case LL_TEXT:
        return decode_text(d, column, value);
    case LL_NULL:
        return Py_NewRef(Py_None);
    case LL_FLOAT:
        return PyFloat_FromDouble(value->as.real);
    default:
        return PyBytes_FromStringAndSize(value->as.blob, (Py_ssize_t)value->size);
    }
}

/* What a converter gets: the bytes of the value as text, as sqlite3_column_blob() would give them. */
static PyObject *raw_of(const ll_value *value)
{
    char digits[32];
    if (value->type == LL_INTEGER) {
        int size = PyOS_snprintf(digits, sizeof digits, "%lld", (long long)value->as.integer);
        return PyBytes_FromStringAndSize(digits, size);
    }
    if (value->type != LL_FLOAT)
        return PyBytes_FromStringAndSize(value->as.blob, (Py_ssize_t)value->size);
    /* SQLite's "%!.15g": always with a point */
    char *text = PyOS_double_to_string(value->as.real, 'g', 15, 0, NULL);
    if (!text)
        return PyErr_NoMemory();
    size_t whole = strcspn(text, ".e");
    bool bare = text[whole] != '.' && strspn(text, "-0123456789") == whole;
    PyObject *raw = bare ? PyBytes_FromFormat("%.*s.0%s", (int)whole, text, text + whole)
                         : PyBytes_FromString(text);
    PyMem_Free(text);
    return raw;
}

/* A value through the converter of its column; a new reference. */
static PyObject *convert_value(PyObject *converter, const ll_value *value)
{
    /* sqlite3 asks for a blob, and SQLite has no pointer for one without bytes: as for NULL */
    bool has_bytes = value->type == LL_INTEGER || value->type == LL_FLOAT;
    if (value->type == LL_NULL || (!has_bytes && value->size == 0))
        return Py_NewRef(Py_None);
    PyObject *raw = raw_of(value);
    PyObject *converted = raw ? PyObject_CallOneArg(converter, raw) : NULL;
    Py_XDECREF(raw);
    return converted;
}

PyObject *lp_decode_column(const lp_decoder *d, size_t column, const ll_value *value)
{
    PyObject *converter = d->converters ? PyTuple_GET_ITEM(d->converters, (Py_ssize_t)column)
                                        : Py_None;
    if (converter != Py_None)
        return convert_value(converter, value);
    return d->plan ? lp_typed_value(d, column, value) : lp_decode_value(d, column, value);
}

PyObject *lp_decode_row(const lp_decoder *d, const ll_value *values, size_t count)
{
    if (LP_UNLIKELY(d->plan != NULL) && !d->row_factory && lp_plan_is_dict(d->plan))
        return lp_typed_row(d, values, count);
    PyObject *row = PyTuple_New((Py_ssize_t)count);
    if (!row)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        PyObject *value = lp_decode_column(d, i, &values[i]);
        if (!value) {
            Py_DECREF(row);
            return NULL;
        }
        PyTuple_SET_ITEM(row, (Py_ssize_t)i, value);
    }
    if (!d->text_factory && !d->converters && !d->plan &&
        count > 0) /* the empty tuple is a singleton, which is not tracked */
        PyObject_GC_UnTrack(row);
    if (!d->row_factory)
        return row;
    PyObject *arguments[] = {d->shape, row};
    PyObject *made = PyObject_Vectorcall(d->row_factory, arguments, 2, NULL);
    Py_DECREF(row);
    return made;
}

/* ---- descriptions and shapes ------------------------------------------------------------------- */

/* The registered converter for a type's name of so many bytes; a new reference, None if there is none. */
static PyObject *find_converter(lp_state *st, const char *type, size_t size)
{
    PyObject *name = PyUnicode_DecodeUTF8(type, (Py_ssize_t)size, "replace");
    PyObject *key = name ? PyObject_CallMethod(name, "upper", NULL) : NULL;
    PyObject *converter = key ? PyDict_GetItemWithError(st->sqlite3.converters, key) : NULL;
    Py_XDECREF(key);
    Py_XDECREF(name);
    if (converter)
        return Py_NewRef(converter);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

PyObject *lp_converters(lp_state *st, const ll_columns *columns, int detect_types)
{
    size_t count = ll_columns_count(columns);
    PyObject *converters = PyTuple_New((Py_ssize_t)count);
    bool any = false;
    for (size_t i = 0; converters && i < count; i++) {
        PyObject *converter = Py_NewRef(Py_None);
        const char *name = ll_columns_name(columns, i);
        const char *bracket = detect_types & LP_PARSE_COLNAMES ? strchr(name, '[') : NULL;
        if (bracket && strchr(bracket, ']'))
            Py_SETREF(converter, find_converter(st, bracket + 1, strcspn(bracket + 1, "]")));
        const char *declared = ll_columns_decltype(columns, i);
        if (converter == Py_None && detect_types & LP_PARSE_DECLTYPES && declared)
            Py_SETREF(converter, find_converter(st, declared, strcspn(declared, " (")));
        if (!converter) {
            Py_CLEAR(converters);
        } else {
            any |= converter != Py_None;
            PyTuple_SET_ITEM(converters, (Py_ssize_t)i, converter);
        }
    }
    if (converters && !any)
        Py_SETREF(converters, Py_NewRef(Py_None));
    return converters;
}

PyObject *lp_description(const ll_columns *columns, int detect_types)
{
    size_t count = ll_columns_count(columns);
    PyObject *description = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; description && i < count; i++) {
        const char *name = ll_columns_name(columns, i);
        size_t size = strlen(name);
        if (detect_types & LP_PARSE_COLNAMES) /* "name [type]": sqlite3 cuts at " [" */
            for (const char *at = name; (at = strchr(at, '[')) != NULL; at++)
                if (at > name && at[-1] == ' ') {
                    size = (size_t)(at - 1 - name);
                    break;
                }
        PyObject *text = PyUnicode_DecodeUTF8(name, (Py_ssize_t)size, "replace");
        PyObject *column = text ? PyTuple_Pack(7, text, Py_None, Py_None, Py_None, Py_None, Py_None,
                                               Py_None)
                                : NULL;
        Py_XDECREF(text);
        if (!column)
            Py_CLEAR(description);
        else
            PyTuple_SET_ITEM(description, (Py_ssize_t)i, column);
    }
    return description;
}

/* SELECT NULL AS "name", ... */
static PyObject *shape_sql(PyObject *description)
{
    PyObject *parts = PyList_New(0);
    PyObject *quote = PyUnicode_FromString("\""), *quotes = PyUnicode_FromString("\"\"");
    PyObject *comma = PyUnicode_FromString(", ");
    PyObject *sql = NULL;
    for (Py_ssize_t i = 0; parts && quote && quotes && i < PyTuple_GET_SIZE(description); i++) {
        PyObject *name = PyTuple_GET_ITEM(PyTuple_GET_ITEM(description, i), 0);
        PyObject *quoted = PyUnicode_Replace(name, quote, quotes, -1);
        PyObject *part = quoted ? PyUnicode_FromFormat("NULL AS \"%U\"", quoted) : NULL;
        int rc = part ? PyList_Append(parts, part) : -1;
        Py_XDECREF(part);
        Py_XDECREF(quoted);
        if (rc < 0)
            goto out;
    }
    if (parts && quotes && comma) {
        PyObject *list = PyUnicode_Join(comma, parts);
        sql = list ? PyUnicode_FromFormat("SELECT %U", list) : NULL;
        Py_XDECREF(list);
    }
out:
    Py_XDECREF(comma);
    Py_XDECREF(quotes);
    Py_XDECREF(quote);
    Py_XDECREF(parts);
    return sql;
}

static PyObject *memory_connection(lp_state *st)
{
    if (!st->memory) {
        PyObject *arguments = Py_BuildValue("(s)", ":memory:");
        PyObject *keywords = Py_BuildValue("{OO}", st->names.check_same_thread, Py_False);
        if (arguments && keywords)
            st->memory = PyObject_Call(st->sqlite3.connect, arguments, keywords);
        Py_XDECREF(arguments);
        Py_XDECREF(keywords);
    }
    return st->memory;
}

PyObject *lp_shape(lp_state *st, PyObject *description)
{
    PyObject *shape = PyDict_GetItemWithError(st->shapes, description);
    if (shape)
        return Py_NewRef(shape);
    if (PyErr_Occurred())
        return NULL;
    PyObject *memory = memory_connection(st);
    PyObject *sql = memory ? shape_sql(description) : NULL;
    shape = sql ? PyObject_CallMethodOneArg(memory, st->names.execute, sql) : NULL;
    Py_XDECREF(sql);
    if (shape) {
        if (PyDict_GET_SIZE(st->shapes) >= SHAPES_KEPT) /* generated names: begin again */
            PyDict_Clear(st->shapes);
        if (PyDict_SetItem(st->shapes, description, shape) < 0)
            Py_CLEAR(shape);
    }
    return shape;
}

void lp_shapes_end(lp_state *st)
{
    PyDict_Clear(st->shapes);
    PyObject *closed = st->memory ? PyObject_CallMethodNoArgs(st->memory, st->names.close) : NULL;
    if (!closed)
        PyErr_Clear();
    Py_XDECREF(closed);
    Py_CLEAR(st->memory);
}
