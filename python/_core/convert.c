/* convert.c: Python objects as the parameters of a statement.
 *
 * Conversion happens on the loop's thread, when the call is first awaited. Nothing is copied that need
 * not be: the UTF-8 of a str is cached in it, bytes do not change, and both are kept alive (`keep`)
 * until the request has finished. Whatever may change under the worker's hands, a bytearray or any
 * other buffer, is copied.
 *
 * sqlite3 converts while it binds: it knows the statement by then, ignores what a dict holds beyond its
 * names, and complains about the first value *that is used*. Here the statement is prepared later, on
 * a worker. So a value that cannot be bound is submitted as LL_REFUSED with the text of the exception,
 * and only if the statement uses it does the request fail, with that text, by which the exception is
 * found again and raised (lp_params_raise()).
 *
 * Named parameters: a plain dict is converted whole. A subclass of dict (one with __missing__, say)
 * can only be asked, so the SQL text is scanned for names; the scan knows strings, quoted names and
 * comments, and may find too many names but not too few.
 *
 * Adapters: what is not exactly an int, float, str, bytes or bytearray goes through sqlite3.adapt(),
 * that is through the registry of sqlite3 itself, and then by its base class, as CPython does. Before that
 * the type adapters are asked, where a cursor has some (typed.h). If one
 * of those types has an adapter too (adapters.c), everything goes that way. */
#include "convert.h"

#include "adapters.h"
#include "marks.h"
#include "typed.h"

#include <limits.h>
#include <string.h>

/* ---- memory ------------------------------------------------------------------------------------ */

static int reserve(lp_params *p, size_t values)
{
    if (!p->values) {
        p->values = p->few;
        p->room = LP_FEW_PARAMS;
    }
    if (values <= p->room)
        return 0;
    size_t room = p->room;
    while (room < values)
        room *= 2;
    if (room > PY_SSIZE_T_MAX / sizeof(ll_value)) {
        PyErr_NoMemory();
        return -1;
    }
    ll_value *grown = PyMem_Realloc(p->values == p->few ? NULL : p->values, room * sizeof *grown);
    if (!grown) {
        PyErr_NoMemory();
        return -1;
    }
    if (p->values == p->few)
        memcpy(grown, p->few, sizeof p->few);
    p->values = grown;
    p->room = room;
    return 0;
}

/* Keeps `object` until the request has finished; takes the reference, NULL is an error of the caller's. */
static int keep_extra(lp_params *p, PyObject *object)
{
    int rc = -1;
    if (object && (p->extra || (p->extra = PyList_New(0))))
        rc = PyList_Append(p->extra, object);
    Py_XDECREF(object);
    return rc;
}

int lp_params_traverse(const lp_params *params, visitproc visit, void *arg)
{
    Py_VISIT(params->keep);
    Py_VISIT(params->extra);
    Py_VISIT(params->refused);
    Py_VISIT(params->types);
    return 0;
}

void lp_params_done(lp_params *p)
{
    if (p->values != p->few)
        PyMem_Free(p->values);
    PyMem_Free((void *)p->names);
    p->values = NULL;
    p->names = NULL;
    p->count = p->rows = p->room = 0;
    Py_CLEAR(p->keep);
    Py_CLEAR(p->extra);
    Py_CLEAR(p->refused);
    Py_CLEAR(p->types);
}

/* ---- refused values ---------------------------------------------------------------------------- */

/* Turns the exception that is set into a refused value. -1 if that is impossible: then it is raised. */
static int refuse(lp_params *p, ll_value *out)
{
    if (PyErr_ExceptionMatches(PyExc_MemoryError) ||
        !PyErr_ExceptionMatches(PyExc_Exception)) /* KeyboardInterrupt */
        return -1;
    PyObject *exc = lp_exc_take();
    PyObject *text = PyObject_Str(exc);
    const char *utf8 = text ? PyUnicode_AsUTF8(text) : NULL;
    if (!utf8) {
        PyErr_Clear();
        Py_XSETREF(text, PyUnicode_FromString(Py_TYPE(exc)->tp_name));
        utf8 = text ? PyUnicode_AsUTF8(text) : NULL;
    }
    PyObject *pair = utf8 ? PyTuple_Pack(2, text, exc) : NULL;
    int rc = -1;
    if (pair && (p->refused || (p->refused = PyList_New(0))))
        rc = PyList_Append(p->refused, pair);
    if (rc == 0) {
        *out = ll_null();
        out->type = LL_REFUSED;
        out->as.text = utf8;
        out->size = (uint32_t)strlen(utf8);
    }
    Py_XDECREF(pair);
    Py_XDECREF(text);
    Py_DECREF(exc);
    return rc;
}

int lp_params_raise(const lp_params *p, const char *message)
{
    for (Py_ssize_t i = 0; p->refused && i < PyList_GET_SIZE(p->refused); i++) {
        PyObject *pair = PyList_GET_ITEM(p->refused, i);
        const char *text = (PyUnicode_AsUTF8)(PyTuple_GET_ITEM(pair, 0)); /* cached by refuse() */
        if (text && strcmp(text, message) == 0) {
            lp_exc_give(Py_NewRef(PyTuple_GET_ITEM(pair, 1)));
            return 1;
        }
    }
    return 0;
}

/* ---- one value --------------------------------------------------------------------------------- */

/* Where a value stands, for messages: a number, or a name with its statement. */
typedef struct place {
    size_t index; /* from 0 */
    const char *name;
    PyObject *sql;
} place;

static void raise_unsupported(lp_state *st, PyObject *value, const place *where)
{
    size_t number = where->index + 1;
    if (where->name) {
        Py_ssize_t size = 0;
        const char *sql = PyUnicode_AsUTF8AndSize(where->sql, &size);
        number = sql ? lp_marks_number_of(sql, (size_t)size, where->name) : 0;
        PyErr_Clear();
    }
#if PY_VERSION_HEX >= 0x030B0000
    PyErr_Format(st->sqlite3.ProgrammingError,
                 "Error binding parameter %zu: type '%s' is not supported", number,
                 Py_TYPE(value)->tp_name);
#else
    if (where->name)
        PyErr_Format(st->sqlite3.InterfaceError,
                     "Error binding parameter :%s - probably unsupported type.", where->name);
    else
        PyErr_Format(st->sqlite3.InterfaceError,
                     "Error binding parameter %zu - probably unsupported type.", number - 1);
#endif
}

/* The parts below return 0, or -1 with an exception that convert() turns into a refused value. */

static int convert_int(PyObject *value, ll_value *out)
{
    int overflow;
    long long n = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow) {
        PyErr_SetString(PyExc_OverflowError, "Python int too large to convert to SQLite INTEGER");
        return -1;
    }
    if (n == -1 && PyErr_Occurred())
        return -1;
    *out = ll_integer(n);
    return 0;
}

static int convert_str(PyObject *value, ll_value *out)
{
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(value, &size);
    if (!text)
        return -1;
    if (size > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "string longer than INT_MAX bytes");
        return -1;
    }
    *out = ll_text_n(text, (uint32_t)size);
    return 0;
}

static int convert_bytes(PyObject *value, ll_value *out)
{
    if (PyBytes_GET_SIZE(value) > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "BLOB longer than INT_MAX bytes");
        return -1;
    }
    *out = ll_blob(PyBytes_AS_STRING(value), (uint32_t)PyBytes_GET_SIZE(value));
    return 0;
}

static int convert_buffer(lp_params *p, PyObject *value, ll_value *out)
{
    Py_buffer view;
    if (PyObject_GetBuffer(value, &view, PyBUF_SIMPLE) < 0) {
#if PY_VERSION_HEX < 0x030B0000
        PyErr_SetString(PyExc_ValueError, "could not convert BLOB to buffer");
#endif
        return -1;
    }
    PyObject *copy = PyBytes_FromStringAndSize(view.buf, view.len);
    PyBuffer_Release(&view);
    if (keep_extra(p, copy) < 0)
        return -1;
    return convert_bytes(copy, out);
}

/* What is none of the exact types: the adapters of sqlite3, then its base class. */
static int convert_other(lp_state *st, lp_params *p, PyObject *value, const place *where,
                         ll_value *out)
{
    PyObject *args[] = {value, st->sqlite3.PrepareProtocol, value};
    PyObject *adapted = PyObject_Vectorcall(st->sqlite3.adapt, args, 3, NULL);
    if (!adapted)
        return -1;
    if (adapted == value)
        Py_DECREF(adapted); /* its caller keeps it */
    else if (keep_extra(p, adapted) < 0)
        return -1;
    if (adapted == Py_None) {
        *out = ll_null();
        return 0;
    }
    if (PyLong_Check(adapted))
        return convert_int(adapted, out);
    if (PyFloat_Check(adapted)) {
        *out = ll_real(PyFloat_AS_DOUBLE(adapted));
        return 0;
    }
    if (PyUnicode_Check(adapted))
        return convert_str(adapted, out);
    if (PyBytes_CheckExact(adapted))
        return convert_bytes(adapted, out);
    if (PyObject_CheckBuffer(adapted))
        return convert_buffer(p, adapted, out);
    raise_unsupported(st, adapted, where);
    return -1;
}

/* The type adapters failed on a value: says which one it was, with their error as the cause. */
static void raise_not_stored(PyObject *value, const place *where)
{
    if (PyErr_ExceptionMatches(PyExc_MemoryError) || !PyErr_ExceptionMatches(PyExc_Exception))
        return;
    PyObject *cause = lp_exc_take();
    char number[24];
    PyOS_snprintf(number, sizeof number, "%zu", where->index + 1);
    PyErr_Format(PyExc_TypeError, "Error binding parameter %s%.200s: %.200s cannot be stored: %S",
                 where->name ? ":" : "", where->name ? where->name : number,
                 Py_TYPE(value)->tp_name, cause);
    PyObject *exc = lp_exc_take();
    PyException_SetContext(exc, Py_NewRef(cause));
    PyException_SetCause(exc, cause);
    lp_exc_give(exc);
}

/* What is none of the exact types: the type adapters if there are any, then convert_other(). */
static int convert_typed(lp_state *st, lp_params *p, PyObject *value, const place *where,
                         ll_value *out)
{
    PyObject *made = NULL;
    int ours = p->types ? lp_typed_parameter(p->types, value, &made) : 0;
    if (ours == 0)
        return convert_other(st, p, value, where, out);
    if (ours < 0) {
        raise_not_stored(value, where);
        return -1;
    }
    if (keep_extra(p, made) < 0)
        return -1;
    int rc = PyLong_Check(made) ? convert_int(made, out) : convert_str(made, out);
    if (rc < 0)
        raise_not_stored(value, where);
    return rc;
}

/* Converts a value whose memory the caller keeps alive. 0, or -1 if not even refusing was possible. */
static int convert(lp_state *st, lp_params *p, PyObject *value, const place *where, ll_value *out)
{
    int rc = 0;
    if (p->adapt_all)
        rc = convert_typed(st, p, value, where, out);
    else if (PyUnicode_CheckExact(value))
        rc = convert_str(value, out);
    else if (PyLong_CheckExact(value))
        rc = convert_int(value, out);
    else if (value == Py_None)
        *out = ll_null();
    else if (PyFloat_CheckExact(value))
        *out = ll_real(PyFloat_AS_DOUBLE(value));
    else if (PyBytes_CheckExact(value))
        rc = convert_bytes(value, out);
    else if (PyByteArray_CheckExact(value))
        rc = convert_buffer(p, value, out);
    else
        rc = convert_typed(st, p, value, where, out);
    return rc == 0 ? 0 : refuse(p, out);
}

/* ---- rows of values ---------------------------------------------------------------------------- */

static void raise_unsupported_parameters(lp_state *st)
{
#if PY_VERSION_HEX >= 0x030B0000
    PyErr_SetString(st->sqlite3.ProgrammingError, "parameters are of unsupported type");
#else
    (void)st;
    PyErr_SetString(PyExc_ValueError, "parameters are of unsupported type");
#endif
}

/* A row of positional values as a tuple of our own. As sqlite3 does, what is no tuple or list is asked
 * for its length and then for each item: some never end when they are gone through. A list may change
 * while its items are converted, so its tuple is filled then, by next_item(). */
static PyObject *own_items(lp_state *st, PyObject *row)
{
    if (PyTuple_CheckExact(row))
        return Py_NewRef(row);
    if (PyList_CheckExact(row))
        return PyTuple_New(PyList_GET_SIZE(row));
    if (!PySequence_Check(row)) {
        raise_unsupported_parameters(st);
        return NULL;
    }
    Py_ssize_t size = PySequence_Size(row);
    PyObject *items = size < 0 ? NULL : PyTuple_New(size);
    for (Py_ssize_t i = 0; items && i < size; i++) {
        PyObject *item = PySequence_GetItem(row, i);
        if (!item)
            Py_CLEAR(items);
        else
            PyTuple_SET_ITEM(items, i, item);
    }
    return items;
}

/* The item whose turn it is, kept in `items`; borrowed. NULL with an exception. */
static inline PyObject *next_item(PyObject *row, PyObject *items, Py_ssize_t i)
{
    PyObject *item = PyTuple_GET_ITEM(items, i);
    if (!item && (item = PyList_GetItem(row, i)) != NULL)
        PyTuple_SET_ITEM(items, i, Py_NewRef(item));
    return item;
}

/* Adds (name, value) to `pairs` for each name that the statement may use. */
static int ask_mapping(PyObject *mapping, PyObject *sql, PyObject *pairs)
{
    Py_ssize_t total;
    const char *text = PyUnicode_AsUTF8AndSize(sql, &total);
    size_t at = 0, start, size;
    while (text && lp_marks_next_name(text, (size_t)total, &at, &start, &size)) {
        PyObject *name = PyUnicode_DecodeUTF8(text + start, (Py_ssize_t)size, NULL);
        PyObject *value = name ? PyObject_GetItem(mapping, name) : NULL;
        if (!value && name && PyErr_ExceptionMatches(PyExc_LookupError)) {
            PyErr_Clear(); /* the core says which one is missing */
            Py_DECREF(name);
            continue;
        }
        int rc = value ? PyDict_SetItem(pairs, name, value) : -1;
        Py_XDECREF(name);
        Py_XDECREF(value);
        if (rc < 0)
            return -1;
    }
    return text ? 0 : -1;
}

/* The mapping as a dict that belongs to us: values cannot go while the request runs. */
static PyObject *own_dict(PyObject *mapping, PyObject *sql)
{
    if (PyDict_CheckExact(mapping))
        return PyDict_Copy(mapping);
    PyObject *pairs = PyDict_New();
    if (pairs && ask_mapping(mapping, sql, pairs) < 0)
        Py_CLEAR(pairs);
    return pairs;
}

/* Names and values of a mapping as one row. */
static int fill_named(lp_state *st, lp_params *p, PyObject *sql, PyObject *mapping)
{
    PyObject *dict = own_dict(mapping, sql);
    if (!dict)
        return -1;
    p->keep = dict;
    size_t room = (size_t)PyDict_GET_SIZE(dict);
    p->names = PyMem_Calloc(room + 1, sizeof *p->names);
    if (!p->names) {
        PyErr_NoMemory();
        return -1;
    }
    if (reserve(p, room) < 0)
        return -1;
    Py_ssize_t at = 0;
    PyObject *key, *value;
    size_t n = 0;
    while (PyDict_Next(dict, &at, &key, &value)) {
        Py_ssize_t size;
        const char *name = PyUnicode_Check(key) ? PyUnicode_AsUTF8AndSize(key, &size) : NULL;
        if (!name && PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
            return -1;
        /* No statement can have such a name; and the core would take a prefix away. */
        if (!name || strlen(name) != (size_t)size || (size > 0 && strchr(":@#", name[0]))) {
            PyErr_Clear();
            continue;
        }
        if (name[0] == '$') { /* may be one, ":$": with a prefix that the core can take away */
            PyObject *prefixed = PyBytes_FromFormat(":%s", name);
            if (keep_extra(p, prefixed) < 0)
                return -1;
            name = PyBytes_AS_STRING(prefixed);
        }
        place where = {.name = name, .sql = sql};
        p->names[n] = name;
        /* `dict` is ours alone, so an adapter that runs here cannot change it */
        if (convert(st, p, value, &where, &p->values[n]) < 0)
            return -1;
        n++;
    }
    p->count = n;
    return 0;
}

int lp_params_fill(lp_state *st, lp_params *p, PyObject *sql, PyObject *parameters)
{
    p->rows = 1;
    if (!parameters || parameters == Py_None)
        return 0;
    int adapt_all = lp_adapters_of_bases(st);
    if (adapt_all < 0)
        return -1;
    p->adapt_all = adapt_all != 0;
    if (PyDict_Check(parameters))
        return fill_named(st, p, sql, parameters);
    p->keep = own_items(st, parameters);
    if (!p->keep)
        return -1;
    size_t count = (size_t)PyTuple_GET_SIZE(p->keep);
    if (reserve(p, count) < 0 || (count > 0 && lp_marks_check_sequence(st, sql) < 0))
        return -1;
    for (size_t i = 0; i < count; i++) {
        place where = {.index = i};
        PyObject *item = next_item(parameters, p->keep, (Py_ssize_t)i);
        if (!item || convert(st, p, item, &where, &p->values[i]) < 0)
            return -1;
    }
    p->count = count;
    return 0;
}

/* ---- executemany ------------------------------------------------------------------------------- */

/* A row that does not fit the first one: its first value is refused with sqlite3's words. */
static int refuse_row(lp_state *st, lp_params *p, size_t supplied, ll_value *row)
{
    for (size_t i = 0; i < p->count; i++)
        row[i] = ll_null();
    if (p->count == 0)
        return 0;
    PyErr_Format(
        st->sqlite3.ProgrammingError,
        "Incorrect number of bindings supplied. The current statement uses %zu, and there are "
        "%zu supplied.",
        p->count, supplied);
    return refuse(p, &row[0]);
}

static int add_named_row(lp_state *st, lp_params *p, PyObject *sql, PyObject *mapping,
                         ll_value *row)
{
    PyObject *dict = own_dict(mapping, sql);
    int rc = dict ? PyList_Append(p->keep, dict) : -1;
    Py_XDECREF(dict);
    for (size_t i = 0; rc == 0 && i < p->count; i++) {
        place where = {.name = p->names[i], .sql = sql};
        PyObject *value = PyDict_GetItemString(dict, p->names[i]);
        if (value) {
            rc = convert(st, p, value, &where, &row[i]);
        } else {
            PyErr_Format(st->sqlite3.ProgrammingError,
                         "You did not supply a value for binding parameter :%s.", p->names[i]);
            rc = refuse(p, &row[i]);
        }
    }
    return rc;
}

/* The first row of mappings: its keys are the names of all rows. Those the statement does not name are
 * left out, since a later row need not have them. */
static int start_named(lp_params *p, PyObject *sql)
{
    Py_ssize_t total;
    const char *text = PyUnicode_AsUTF8AndSize(sql, &total);
    if (!text)
        return -1;
    size_t at = 0, start, size, found = 0;
    while (lp_marks_next_name(text, (size_t)total, &at, &start, &size))
        found++;
    p->names = PyMem_Calloc(found + 1, sizeof *p->names);
    if (!p->names) {
        PyErr_NoMemory();
        return -1;
    }
    at = 0;
    while (lp_marks_next_name(text, (size_t)total, &at, &start, &size)) {
        PyObject *name = PyBytes_FromStringAndSize(text + start, (Py_ssize_t)size);
        if (keep_extra(p, name) < 0)
            return -1;
        int seen = 0;
        for (size_t i = 0; i < p->count && !seen; i++)
            seen = strcmp(p->names[i], PyBytes_AS_STRING(name)) == 0;
        if (!seen)
            p->names[p->count++] = PyBytes_AS_STRING(name);
    }
    return 0;
}

int lp_params_add_row(lp_state *st, lp_params *p, PyObject *sql, PyObject *row)
{
    int named = PyDict_Check(row), adapt_all = lp_adapters_of_bases(st);
    if (adapt_all < 0)
        return -1;
    p->adapt_all = adapt_all != 0;
    if (!p->keep && !(p->keep = PyList_New(0)))
        return -1;
    PyObject *items = named ? NULL : own_items(st, row);
    if (!named && (!items || PyList_Append(p->keep, items) < 0)) {
        Py_XDECREF(items);
        return -1;
    }
    Py_XDECREF(items); /* `keep` has it */
    if (p->rows == 0) {
        if (named) {
            if (start_named(p, sql) < 0)
                return -1;
        } else {
            p->count = (size_t)PyTuple_GET_SIZE(items);
            if (p->count > 0 && lp_marks_check_sequence(st, sql) < 0)
                return -1;
        }
    }
    if (p->count > 0 && p->rows + 1 > (size_t)PY_SSIZE_T_MAX / p->count) {
        PyErr_NoMemory();
        return -1;
    }
    if (reserve(p, (p->rows + 1) * p->count) < 0)
        return -1;
    ll_value *values = p->values + p->rows * p->count;
    int rc = 0;
    if (named) {
        if (p->names)
            rc = add_named_row(st, p, sql, row, values);
        else
            rc = refuse_row(st, p, 0, values);
    } else if ((size_t)PyTuple_GET_SIZE(items) != p->count) {
        rc = refuse_row(st, p, (size_t)PyTuple_GET_SIZE(items), values);
    } else { /* also behind a row of names: they stand in the statement's own order */
        for (size_t i = 0; rc == 0 && i < p->count; i++) {
            place where = {.index = i};
            PyObject *item = next_item(row, items, (Py_ssize_t)i);
            rc = item ? convert(st, p, item, &where, &values[i]) : -1;
        }
    }
    if (rc == 0)
        p->rows++;
    return rc;
}

/* ---- the SQL text ------------------------------------------------------------------------------ */

const char *lp_sql_text(lp_state *st, const char *what, PyObject *sql, size_t *ret_size)
{
    if (!PyUnicode_Check(sql)) {
        PyErr_Format(PyExc_TypeError, "%s() argument 1 must be str, not %s", what,
                     sql == Py_None ? "None" : Py_TYPE(sql)->tp_name);
        return NULL;
    }
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(sql, &size);
    if (!text) {
#if PY_VERSION_HEX < 0x030B0000
        if (PyErr_ExceptionMatches(PyExc_UnicodeError))
            PyErr_SetString(st->sqlite3.Warning, "SQL is of wrong type ('str'). Must be string.");
#endif
        return NULL;
    }
    if (memchr(text, '\0', (size_t)size)) {
#if PY_VERSION_HEX >= 0x030B0000
        PyErr_SetString(st->sqlite3.ProgrammingError, "the query contains a null character");
#else
        PyErr_SetString(PyExc_ValueError, "the query contains a null character");
#endif
        return NULL;
    }
    *ret_size = (size_t)size;
    return text;
}
