/* typed.c: type adapters, and rows as dicts: looplite._core.Types.
 *
 * The layer looplite.adapters.aiosqlite stores dict and list (and, as SQLSpec does, tuple, which is read as a list) as
 * JSON, UUID, Decimal and times as text, bool as 0 or 1,
 * and reads them back. The layer that stands in for aiosqlite never does. What tells them apart is one object, a
 * Types, which holds the options of a configuration and is shared by all its connections:
 *
 *     types = _core.Types(adapt=True, sniff_text=True, dict_rows=True, json_serializer=f, json_deserializer=g)
 *     connection._types = types      cursors take it from there when they are made, as they take row_factory;
 *     cursor._types = types          or from here, before they execute. None: as sqlite3 does it.
 *
 * C code that has no cursor gives a plan to its lp_decoder (decode.h) and the Types to its lp_params (convert.h).
 *
 * Out. A column has a kind. The first word of its declared type decides; where that is none of ours, or there is no
 * declared type (an expression), text is recognised by what it looks like (SNIFF). The kinds of a result and the keys of
 * its rows make a plan. The core keeps one ll_columns for a prepared statement, so plans are kept by its address
 * in a small table, and a point read finds its plan by one comparison. A plan has a dict with every key and None:
 * a row is a copy of it, which needs neither hashing nor growing.
 *
 * Recognition (SNIFF) never fails and never changes anything: a text becomes an object only if storing that object would
 * give the same text, byte by byte. For UUIDs and times that follows from their form (sniff.c). JSON has too many
 * forms to tell (spaces, escapes, doubled keys, 1.0 and 1.00, integers that a parser turns into floats), so what was
 * parsed is serialized again and compared.
 *
 * Declared types are the program's own word, so there any form is read, and text that is no such thing is an
 * error that names column, type and value. Values that are no text are left as they are, for no type says what an
 * integer in a DATETIME column means; but 0 and 1 are a BOOLEAN, and numbers are a DECIMAL: SQLite makes
 * numbers of texts that look so in columns of that type.
 *
 * In. Exactly these classes are ours even if somebody registered an adapter with sqlite3 (it registers some of its own,
 * which write times in another form). A class derived from one of them is ours if it has no adapter. */
#include "typed.h"

#include "sniff.h"

#include <string.h>

enum {
    PLANS_KEPT = 256 /* a power of two */
};

typedef enum kind {
    KIND_PLAIN,
    KIND_SNIFF,
    KIND_JSON,
    KIND_UUID,
    KIND_DATETIME,
    KIND_DATE,
    KIND_TIME,
    KIND_BOOLEAN,
    KIND_DECIMAL
} kind;

struct lp_plan {
    size_t refs; /* GIL */
    size_t count;
    PyObject *blank; /* dict: every key, None; NULL: rows are tuples */
    PyObject *keys;  /* tuple of str */
    unsigned char kinds[];
};

typedef struct kept {
    ll_columns *columns; /* owned: so the address is not used again; NULL: free */
    lp_plan *plan;       /* owned */
    int detect_types;
} kept;

typedef struct types {
    PyObject_HEAD
    /* fixed */
    lp_state *st;
    PyObject *dumps, *loads;
    bool adapt, sniff, dicts;
    /* GIL */
    kept plans[PLANS_KEPT];
} types;

/* ---- plans ------------------------------------------------------------------------------------- */

/* The kind by a declared type: its first word, whatever is behind it: "DECIMAL(10, 2)", "TIMESTAMP WITH TIME ZONE". */
static kind kind_of(const types *self, const char *declared)
{
    static const struct {
        const char *name;
        kind kind;
    } known[] = {
        {"JSON", KIND_JSON},          {"UUID", KIND_UUID},       {"DATETIME", KIND_DATETIME},
        {"TIMESTAMP", KIND_DATETIME}, {"DATE", KIND_DATE},       {"TIME", KIND_TIME},
        {"BOOLEAN", KIND_BOOLEAN},    {"DECIMAL", KIND_DECIMAL},
    };
    if (!self->adapt)
        return KIND_PLAIN;
    size_t size = declared ? strcspn(declared, " \t\r\n(") : 0;
    for (size_t i = 0; size > 0 && i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == size &&
            PyOS_strnicmp(declared, known[i].name, (Py_ssize_t)size) == 0)
            return known[i].kind;
    return self->sniff ? KIND_SNIFF : KIND_PLAIN;
}

void lp_plan_unref(lp_plan *plan)
{
    if (!plan || --plan->refs > 0)
        return;
    Py_XDECREF(plan->blank);
    Py_XDECREF(plan->keys);
    PyMem_Free(plan);
}

bool lp_plan_is_dict(const lp_plan *plan)
{
    return plan->blank != NULL;
}

/* The names of the columns, and a dict of them. */
static int make_keys(const types *self, lp_plan *plan, const ll_columns *columns, int detect_types)
{
    PyObject *description = lp_description(columns, detect_types);
    plan->keys = description ? PyTuple_New((Py_ssize_t)plan->count) : NULL;
    plan->blank = plan->keys && self->dicts ? PyDict_New() : NULL;
    int rc = plan->keys && (plan->blank || !self->dicts) ? 0 : -1;
    for (size_t i = 0; rc == 0 && i < plan->count; i++) {
        PyObject *name = PyTuple_GET_ITEM(PyTuple_GET_ITEM(description, (Py_ssize_t)i), 0);
        PyTuple_SET_ITEM(plan->keys, (Py_ssize_t)i, Py_NewRef(name));
        if (plan->blank)
            rc = PyDict_SetItem(plan->blank, name, Py_None);
    }
    Py_XDECREF(description);
    return rc;
}

static lp_plan *plan_new(const types *self, const ll_columns *columns, int detect_types)
{
    size_t count = ll_columns_count(columns);
    lp_plan *plan = PyMem_Calloc(1, sizeof *plan + count);
    if (!plan) {
        PyErr_NoMemory();
        return NULL;
    }
    plan->refs = 1;
    plan->count = count;
    for (size_t i = 0; i < count; i++)
        plan->kinds[i] = (unsigned char)kind_of(self, ll_columns_decltype(columns, i));
    if (make_keys(self, plan, columns, detect_types) < 0) {
        lp_plan_unref(plan);
        return NULL;
    }
    return plan;
}

static void forget_plan(kept *kept_)
{
    ll_columns_unref(kept_->columns);
    lp_plan_unref(kept_->plan);
    *kept_ = (kept){0};
}

lp_plan *lp_types_plan(PyObject *op, const ll_columns *columns, int detect_types)
{
    types *self = (types *)op;
    uintptr_t address = (uintptr_t)
        columns; /* blocks of the allocator are 16 bytes apart at least */
    kept *place = &self->plans[((address >> 4) ^ (address >> 12)) % PLANS_KEPT];
    if (place->columns != columns || place->detect_types != detect_types) {
        lp_plan *plan = plan_new(self, columns, detect_types);
        if (!plan)
            return NULL;
        forget_plan(place);
        *place = (kept){ll_columns_ref(columns), plan, detect_types};
    }
    place->plan->refs++;
    return place->plan;
}

/* ---- values that come out ---------------------------------------------------------------------- */

/* What recognition raises is swallowed, but for what would end the program anyway. 0: swallowed. */
static int swallow(void)
{
    if (PyErr_ExceptionMatches(PyExc_MemoryError) || !PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyErr_Clear();
    return 0;
}

/* Whether what the serializer made is this text. */
static bool is_text(PyObject *made, const char *text, size_t size)
{
    const char *again = NULL;
    Py_ssize_t length = 0;
    if (PyBytes_Check(made)) {
        again = PyBytes_AS_STRING(made);
        length = PyBytes_GET_SIZE(made);
    } else if (PyUnicode_Check(made)) {
        again = PyUnicode_AsUTF8AndSize(made, &length);
        if (!again)
            PyErr_Clear(); /* lone surrogates */
    }
    return again && (size_t)length == size && memcmp(again, text, size) == 0;
}

/* Parses JSON that, serialized again, gives the same text. `plain` is that text; a new reference to either. */
static PyObject *sniff_json(const types *self, PyObject *plain, const ll_value *value)
{
    PyObject *parsed = PyObject_CallOneArg(self->loads, plain);
    bool whole = parsed && (PyDict_Check(parsed) || PyList_Check(parsed));
    PyObject *again = whole ? PyObject_CallOneArg(self->dumps, parsed) : NULL;
    bool same = again && is_text(again, value->as.text, value->size);
    Py_XDECREF(again);
    if (PyErr_Occurred() && swallow() < 0) {
        Py_XDECREF(parsed);
        return NULL;
    }
    if (same)
        return parsed;
    Py_XDECREF(parsed);
    return Py_NewRef(plain);
}

static PyObject *sniff(const lp_decoder *d, size_t column, const ll_value *value)
{
    const types *self = (const types *)d->types;
    const char *text = value->as.text;
    size_t size = value->size;
    PyObject *made = NULL;
    if (size < 2 || d->text_factory)
        return lp_decode_value(d, column, value);
    if (size == 36 && text[8] == '-')
        made = lp_uuid_exact(self->st, text, size);
    else if (size >= 19 && text[10] == 'T')
        made = lp_stamp_of(text, size, LP_STAMP_EXACT);
    if (made || (PyErr_Occurred() && swallow() < 0))
        return made;
    made = lp_decode_value(d, column, value);
    char last = text[size - 1];
    if (made && ((text[0] == '{' && last == '}') || (text[0] == '[' && last == ']')))
        Py_SETREF(made, sniff_json(self, made, value));
    return made;
}

/* Text that is not what its column was declared to hold. */
static void raise_unreadable(const lp_decoder *d, size_t column, const ll_value *value,
                             const char *what)
{
    PyObject *cause = lp_exc_take();
    PyObject *text = PyUnicode_DecodeUTF8(value->as.text, value->size > 80 ? 80 : value->size,
                                          "replace");
    const char *declared = ll_columns_decltype(d->columns, column);
    if (text)
        PyErr_Format(d->st->sqlite3.DataError,
                     "column '%U' is declared %s, but %R%s is not %s; CAST(... AS TEXT) in the "
                     "SELECT gives it as it is stored",
                     PyTuple_GET_ITEM(d->plan->keys, (Py_ssize_t)column), declared ? declared : "",
                     text, value->size > 80 ? "..." : "", what);
    Py_XDECREF(text);
    if (cause) {
        PyObject *exc = lp_exc_take();
        PyException_SetContext(exc, Py_NewRef(cause));
        PyException_SetCause(exc, cause);
        lp_exc_give(exc);
    }
}

static PyObject *read_json(const lp_decoder *d, const ll_value *value)
{
    PyObject *text = PyUnicode_DecodeUTF8(value->as.text, value->size, NULL);
    PyObject *parsed = text ? PyObject_CallOneArg(((const types *)d->types)->loads, text) : NULL;
    Py_XDECREF(text);
    return parsed;
}

static PyObject *read_boolean(const ll_value *value)
{
    if (value->size == 4 && PyOS_strnicmp(value->as.text, "true", 4) == 0)
        return Py_NewRef(Py_True);
    if (value->size == 5 && PyOS_strnicmp(value->as.text, "false", 5) == 0)
        return Py_NewRef(Py_False);
    return NULL;
}

static PyObject *read_decimal(const lp_decoder *d, const ll_value *value)
{
    PyObject *text = PyUnicode_DecodeUTF8(value->as.text, value->size, NULL);
    PyObject *number = text ? PyObject_CallOneArg(d->st->classes.decimal, text) : NULL;
    Py_XDECREF(text);
    return number;
}

/* A text by the declared type of its column. */
static PyObject *read_text(const lp_decoder *d, size_t column, const ll_value *value)
{
    const char *text = value->as.text, *what = "";
    PyObject *made = NULL;
    switch ((kind)d->plan->kinds[column]) {
    case KIND_JSON:
        made = read_json(d, value);
        what = "JSON";
        break;
    case KIND_UUID:
        made = lp_uuid_of(d->st, text, value->size);
        what = "a UUID";
        break;
    case KIND_DATETIME:
        made = lp_stamp_of(text, value->size, LP_STAMP_DATETIME);
        what = "a date and time in ISO 8601";
        break;
    case KIND_DATE:
        made = lp_stamp_of(text, value->size, LP_STAMP_DATE);
        what = "a date in ISO 8601";
        break;
    case KIND_TIME:
        made = lp_stamp_of(text, value->size, LP_STAMP_TIME);
        what = "a time in ISO 8601";
        break;
    case KIND_BOOLEAN:
        made = read_boolean(value);
        what = "a truth value";
        break;
    case KIND_DECIMAL:
        made = read_decimal(d, value);
        what = "a number";
        break;
    case KIND_PLAIN:
    case KIND_SNIFF:
        return lp_decode_value(d, column, value);
    }
    if (!made && (!PyErr_Occurred() || (!PyErr_ExceptionMatches(PyExc_MemoryError) &&
                                        PyErr_ExceptionMatches(PyExc_Exception))))
        raise_unreadable(d, column, value, what);
    return made;
}

/* SQLite's number as a Decimal: an integer as it is; a float by 15 digits, which is what SQLite keeps of a text that it
 * makes a float of ([M] 3.40 makes 6.4047789999999996 of '6.404779', so more digits would show a change). */
static PyObject *decimal_of(const lp_decoder *d, size_t column, const ll_value *value)
{
    PyObject *number = NULL;
    if (value->type == LL_FLOAT) {
        char *text = PyOS_double_to_string(value->as.real, 'g', 15, 0, NULL);
        number = text ? PyUnicode_FromString(text) : PyErr_NoMemory();
        PyMem_Free(text);
    } else {
        number = lp_decode_value(d, column, value);
    }
    PyObject *made = number ? PyObject_CallOneArg(d->st->classes.decimal, number) : NULL;
    Py_XDECREF(number);
    return made;
}

PyObject *lp_typed_value(const lp_decoder *d, size_t column, const ll_value *value)
{
    kind kind_ = (kind)d->plan->kinds[column];
    if (value->type == LL_TEXT && kind_ == KIND_SNIFF)
        return sniff(d, column, value);
    if (value->type == LL_TEXT && kind_ != KIND_PLAIN)
        return read_text(d, column, value);
    if (kind_ == KIND_BOOLEAN && value->type == LL_INTEGER &&
        (value->as.integer == 0 || value->as.integer == 1))
        return PyBool_FromLong(value->as.integer != 0);
    if (kind_ == KIND_DECIMAL && (value->type == LL_INTEGER || value->type == LL_FLOAT))
        return decimal_of(d, column, value);
    return lp_decode_value(d, column, value);
}

PyObject *lp_typed_row(const lp_decoder *d, const ll_value *values, size_t count)
{
    PyObject *row = PyDict_Copy(d->plan->blank);
    for (size_t i = 0; row && i < count; i++) {
        PyObject *value = lp_decode_column(d, i, &values[i]);
        if (!value ||
            PyDict_SetItem(row, PyTuple_GET_ITEM(d->plan->keys, (Py_ssize_t)i), value) < 0)
            Py_CLEAR(row);
        Py_XDECREF(value);
    }
    return row;
}

/* ---- values that go in ------------------------------------------------------------------------- */

/* A str of what the serializer gave: str, or bytes of UTF-8. Takes the reference. */
static PyObject *text_of(PyObject *made)
{
    if (!made || PyUnicode_Check(made))
        return made;
    PyObject *text = NULL;
    if (PyBytes_Check(made))
        text = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(made), PyBytes_GET_SIZE(made), NULL);
    else
        PyErr_Format(PyExc_TypeError, "json_serializer must give str or bytes, not %.200s",
                     Py_TYPE(made)->tp_name);
    Py_DECREF(made);
    return text;
}

/* Whether sqlite3 was told how to store the class of this value. 1, 0, or -1 with an exception. */
static int has_adapter(lp_state *st, PyObject *value)
{
    PyObject *key = PyTuple_Pack(2, Py_TYPE(value), st->sqlite3.PrepareProtocol);
    int found = key ? PyDict_Contains(st->sqlite3.adapters, key) : -1;
    Py_XDECREF(key);
    return found != 0 ? found : PyObject_HasAttrString(value, "__conform__");
}

int lp_typed_parameter(PyObject *op, PyObject *value, PyObject **ret_made)
{
    const types *self = (const types *)op;
    lp_state *st = self->st;
    PyTypeObject *type = Py_TYPE(value);
    bool exact, json = false, stamp = false;
    if (!self->adapt)
        return 0;
    if (PyBool_Check(value)) {
        *ret_made = PyLong_FromLong(value == Py_True);
        return *ret_made ? 1 : -1;
    }
    if (PyDict_Check(value) || PyList_Check(value) || PyTuple_Check(value)) {
        json = true;
        exact = type == &PyDict_Type || type == &PyList_Type || type == &PyTuple_Type;
    } else if (lp_is_stamp(value, &exact)) {
        stamp = true;
    } else if (PyObject_TypeCheck(value, (PyTypeObject *)st->classes.uuid) ||
               PyObject_TypeCheck(value, (PyTypeObject *)st->classes.decimal)) {
        exact = (PyObject *)type == st->classes.uuid || (PyObject *)type == st->classes.decimal;
    } else {
        return 0;
    }
    int adapted = exact ? 0 : has_adapter(st, value);
    if (adapted != 0)
        return adapted < 0 ? -1 : 0;
    if (json)
        *ret_made = text_of(PyObject_CallOneArg(self->dumps, value));
    else if (stamp)
        *ret_made = PyObject_CallMethodNoArgs(value, st->names.isoformat);
    else
        *ret_made = PyObject_Str(value);
    if (*ret_made && !PyUnicode_Check(*ret_made)) {
        PyErr_Format(PyExc_TypeError, "%.200s.isoformat() must give str, not %.200s", type->tp_name,
                     Py_TYPE(*ret_made)->tp_name);
        Py_CLEAR(*ret_made);
    }
    return *ret_made ? 1 : -1;
}

/* ---- the type ---------------------------------------------------------------------------------- */

/* A function of looplite.utils.serializers, or the program's own. A new reference. */
static PyObject *function_of(PyObject *given, const char *option, const char *ours)
{
    if (given != Py_None) {
        if (PyCallable_Check(given))
            return Py_NewRef(given);
        PyErr_Format(PyExc_TypeError, "%s must be a callable or None, not %.200s", option,
                     Py_TYPE(given)->tp_name);
        return NULL;
    }
    PyObject *module = PyImport_ImportModule("looplite.utils.serializers");
    PyObject *found = module ? PyObject_GetAttrString(module, ours) : NULL;
    Py_XDECREF(module);
    return found;
}

static PyObject *types_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char adapt_name[] = "adapt", sniff_name[] = "sniff_text", dicts_name[] = "dict_rows",
                dumps_name[] = "json_serializer", loads_name[] = "json_deserializer";
    static char *names[] = {adapt_name, sniff_name, dicts_name, dumps_name, loads_name, NULL};
    PyObject *dumps = Py_None, *loads = Py_None;
    int adapt = 1, sniff_text = 1, dicts = 1;
    lp_state *st = lp_state_of(type);
    if (!st ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "|$pppOO:Types", names, &adapt, &sniff_text,
                                     &dicts, &dumps, &loads) ||
        lp_sniff_init(st) < 0)
        return NULL;
    types *self = (types *)lp_new(type);
    if (!self)
        return NULL;
    self->st = st;
    self->adapt = adapt != 0;
    self->sniff = sniff_text != 0;
    self->dicts = dicts != 0;
    if (!(self->dumps = function_of(dumps, "json_serializer", "to_json_bytes")) ||
        !(self->loads = function_of(loads, "json_deserializer", "_loads")))
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int types_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((types *)op)->dumps);
    Py_VISIT(((types *)op)->loads);
    return 0;
}

static int types_clear(PyObject *op)
{
    types *self = (types *)op;
    /* Somebody may still read rows by it while the collector takes a cycle apart: these stay callable. */
    if (self->dumps)
        Py_SETREF(self->dumps, Py_NewRef((PyObject *)&PyUnicode_Type));
    if (self->loads)
        Py_SETREF(self->loads, Py_NewRef((PyObject *)&PyUnicode_Type));
    return 0;
}

static void types_dealloc(PyObject *op)
{
    types *self = (types *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    for (size_t i = 0; i < PLANS_KEPT; i++)
        forget_plan(&self->plans[i]);
    Py_CLEAR(self->dumps);
    Py_CLEAR(self->loads);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMemberDef types_members[] = {
    {"adapt", T_BOOL, offsetof(types, adapt), READONLY, "Whether values are converted at all."},
    {"sniff_text", T_BOOL, offsetof(types, sniff), READONLY,
     "Whether text is recognised where no type was declared."},
    {"dict_rows", T_BOOL, offsetof(types, dicts), READONLY, "Whether rows are dicts."},
    {"json_serializer", T_OBJECT, offsetof(types, dumps), READONLY, "Makes JSON."},
    {"json_deserializer", T_OBJECT, offsetof(types, loads), READONLY, "Reads JSON."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(types_doc,
             "Types(*, adapt=True, sniff_text=True, dict_rows=True, json_serializer=None, "
             "json_deserializer=None)\n--\n\n"
             "How values are stored and read, for Connection._types and Cursor._types.");

static PyType_Slot types_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)types_doc},
    {Py_tp_new, types_new},
    {Py_tp_traverse, types_traverse},
    {Py_tp_clear, types_clear},
    {Py_tp_dealloc, types_dealloc},
    {Py_tp_members, types_members},
    {0, NULL},
};

static PyType_Spec types_spec = {
    .name = "looplite._core.Types",
    .basicsize = sizeof(types),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = types_slots,
};

int lp_types_set(const lp_state *st, PyObject **attribute, PyObject *value, bool generic)
{
    if (value == Py_None)
        value = NULL;
    if (value && Py_TYPE(value) != st->types_type) {
        PyErr_Format(PyExc_TypeError, "_types must be a Types or None, not %.200s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    if (value && generic) {
        PyErr_SetString(st->sqlite3.NotSupportedError,
                        "a connection that looplite.connect() did not open has no type adapters");
        return -1;
    }
    Py_XSETREF(*attribute, Py_XNewRef(value));
    return 0;
}

int lp_types_init(PyObject *module, lp_state *st)
{
    st->types_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &types_spec, NULL);
    return st->types_type ? PyModule_AddObjectRef(module, "Types", (PyObject *)st->types_type) : -1;
}
