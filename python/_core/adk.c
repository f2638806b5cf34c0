/* adk.c: AdkTables: the statements of the ADK store, and its records as Python has them.
 *
 * The statements are those of ll_adk (looplite/adk.h), each as one str that is made once, so that the caches of statements find
 * it by its address. What is done here is what a store does for each record: a record's dict becomes the tuple of
 * a statement's parameters, and rows become dicts; times become Julian days and back, by the core's functions. JSON is
 * left to two callables, dumps and loads, that the program chooses.
 *
 * Times come back as datetimes in UTC. One without a time zone is taken for UTC, as SQLSpec does. */
#include "adk.h"

#include <datetime.h>
#include <looplite/adk.h>

#define KEYS(X)                   \
    X(id)                         \
    X(session_id)                 \
    X(app_name)                   \
    X(user_id)                    \
    X(invocation_id)              \
    X(timestamp)                  \
    X(author)                     \
    X(actions)                    \
    X(long_running_tool_ids_json) \
    X(branch)                     \
    X(content)                    \
    X(grounding_metadata)         \
    X(custom_metadata)            \
    X(partial)                    \
    X(turn_complete)              \
    X(interrupted)                \
    X(error_code)                 \
    X(error_message)              \
    X(event_data)                 \
    X(state)                      \
    X(create_time)                \
    X(update_time)

/* In the order of the columns: ll_adk_event_of(). */
enum key {
#define X(name) KEY_##name,
    KEYS(X)
#undef X
    KEY_COUNT
};

static const char *const key_names[] = {
#define X(name) #name,
    KEYS(X)
#undef X
};

enum {
    COMMON = 6, /* columns that both layouts have */
    COLUMNS = LL_ADK_MOST_VALUES,
    SESSION = 6
};

typedef struct tables {
    PyObject_HEAD
    ll_adk *adk;
    PyObject *keys[KEY_COUNT];
    PyObject *statements; /* tuple of str and None */
    PyObject *schema, *owner;
} tables;

/* ---- times ------------------------------------------------------------------------------------- */

/* Days since 1970 of a day of the Gregorian calendar: years begin in March, so that the day that some of them have more
 * is their last, and 400 years are 146 097 days. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_of(int64_t days, int *year, int *month, int *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097, of_era = days - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100), m = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = (int)(y + era * 400 + (*month <= 2));
}

#define SECOND_US INT64_C(1000000)
#define DAY_US    (86400 * SECOND_US)

static PyObject *datetime_of(int64_t us)
{
    int64_t days = us / DAY_US, rest = us % DAY_US;
    if (rest < 0) {
        days--;
        rest += DAY_US;
    }
    if (days < -719162 || days > 2932896) { /* the years 1 to 9999 */
        PyErr_SetString(PyExc_ValueError, "a time in the table is none of the years 1 to 9999");
        return NULL;
    }
    int year, month, day, second = (int)(rest / SECOND_US);
    date_of(days, &year, &month, &day);
    return PyDateTimeAPI->DateTime_FromDateAndTime(
        year, month, day, second / 3600, second / 60 % 60, second % 60, (int)(rest % SECOND_US),
        PyDateTime_TimeZone_UTC, PyDateTimeAPI->DateTimeType);
}

/* Microseconds since 1970 of a datetime. -1 with an exception. */
static int us_of(PyObject *value, const char *name, int64_t *ret_us)
{
    if (!PyDateTime_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be a datetime, not %.100s", name,
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    int64_t us = days_of(PyDateTime_GET_YEAR(value), PyDateTime_GET_MONTH(value),
                         PyDateTime_GET_DAY(value)) *
                     DAY_US +
                 (PyDateTime_DATE_GET_HOUR(value) * 3600 + PyDateTime_DATE_GET_MINUTE(value) * 60 +
                  PyDateTime_DATE_GET_SECOND(value)) *
                     SECOND_US +
                 PyDateTime_DATE_GET_MICROSECOND(value);
    PyObject *zone = ((PyDateTime_DateTime *)value)->hastzinfo
                       ? ((PyDateTime_DateTime *)value)->tzinfo
                       : Py_None;
    if (zone != Py_None && zone != PyDateTime_TimeZone_UTC) {
        PyObject *offset = PyObject_CallMethod(value, "utcoffset", NULL);
        if (!offset)
            return -1;
        if (PyDelta_Check(offset))
            us -= PyDateTime_DELTA_GET_DAYS(offset) * DAY_US +
                  PyDateTime_DELTA_GET_SECONDS(offset) * SECOND_US +
                  PyDateTime_DELTA_GET_MICROSECONDS(offset);
        Py_DECREF(offset);
    }
    *ret_us = us;
    return 0;
}

/* The microseconds of what a REAL column holds. */
static int us_of_column(PyObject *value, int64_t *ret_us)
{
    double julian = PyFloat_AsDouble(value);
    if (julian == -1.0 && PyErr_Occurred())
        return -1;
    *ret_us = ll_adk_time_us(julian);
    return 0;
}

/* ---- making one -------------------------------------------------------------------------------- */

static PyObject *tables_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char session_table[] = "session_table", events_table[] = "events_table",
                app_table[] = "app_state_table", user_table[] = "user_state_table",
                owner[] = "owner_column", document[] = "document";
    static char *names[] = {session_table, events_table, app_table, user_table,
                            owner,         document,     NULL};
    ll_adk_options options = {.layout = LL_ADK_COLUMNS};
    int documents = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|$zzzzzp:AdkTables", names,
                                     &options.session_table, &options.events_table,
                                     &options.app_state_table, &options.user_state_table,
                                     &options.owner_column, &documents))
        return NULL;
    if (documents)
        options.layout = LL_ADK_DOCUMENT;
    tables *self = (tables *)lp_new(type);
    if (!self)
        return NULL;
    ll_status status = ll_adk_new(&options, &self->adk);
    if (status != LL_OK) {
        if (status == LL_ENOMEM) {
            PyErr_NoMemory();
        } else { /* "ll_adk_new: options->owner_column: ..." */
            const char *message = ll_last_error(), *field = strstr(message, "options->");
            PyErr_SetString(PyExc_ValueError, field ? field + strlen("options->") : message);
        }
        goto fail;
    }
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (!(self->keys[i] = PyUnicode_InternFromString(key_names[i])))
            goto fail;
    self->statements = PyTuple_New(LL_ADK_STATEMENTS);
    self->schema = PyUnicode_FromString(ll_adk_schema(self->adk));
    const char *name = ll_adk_owner_name(self->adk);
    self->owner = name ? PyUnicode_FromString(name) : Py_NewRef(Py_None);
    if (!self->statements || !self->schema || !self->owner)
        goto fail;
    for (Py_ssize_t i = 0; i < LL_ADK_STATEMENTS; i++) {
        const char *text = ll_adk_text(self->adk, (ll_adk_statement)i);
        PyObject *sql = text ? PyUnicode_FromString(text) : Py_NewRef(Py_None);
        if (!sql)
            goto fail;
        PyTuple_SET_ITEM(self->statements, i, sql);
    }
    return (PyObject *)self;
fail:
    Py_DECREF(self);
    return NULL;
}

/* All it holds are str and a tuple of those: nothing that could lead back to it. */
static void tables_dealloc(PyObject *object)
{
    tables *self = (tables *)object;
    PyTypeObject *type = Py_TYPE(object);
    ll_adk_free(self->adk);
    for (size_t i = 0; i < KEY_COUNT; i++)
        Py_XDECREF(self->keys[i]);
    Py_XDECREF(self->statements);
    Py_XDECREF(self->schema);
    Py_XDECREF(self->owner);
    type->tp_free(object);
    Py_DECREF(type);
}

/* ---- records to parameters --------------------------------------------------------------------- */

/* record[key], a new reference; NULL with a KeyError. */
static PyObject *need(tables *self, PyObject *record, enum key key)
{
    return PyObject_GetItem(record, self->keys[key]);
}

/* The same; None if it is not there. */
static PyObject *may(tables *self, PyObject *record, enum key key)
{
    PyObject *value = PyObject_GetItem(record, self->keys[key]);
    if (!value && PyErr_ExceptionMatches(PyExc_KeyError)) {
        PyErr_Clear();
        return Py_NewRef(Py_None);
    }
    return value;
}

/* Takes a value: its JSON; None stays None. */
static PyObject *json_of(PyObject *value, PyObject *dumps)
{
    if (!value || value == Py_None)
        return value;
    PyObject *text = PyObject_CallOneArg(dumps, value);
    Py_DECREF(value);
    return text;
}

/* Takes a value: 1, 0 or None. */
static PyObject *flag_of(PyObject *value)
{
    if (!value || value == Py_None)
        return value;
    int truth = PyObject_IsTrue(value);
    Py_DECREF(value);
    return truth < 0 ? NULL : PyLong_FromLong(truth);
}

/* Takes a value: its Julian day. */
static PyObject *julian_of(PyObject *value, const char *name)
{
    int64_t us = 0;
    int rc = value ? us_of(value, name, &us) : -1;
    Py_XDECREF(value);
    return rc < 0 ? NULL : PyFloat_FromDouble(ll_adk_julian(us));
}

static PyObject *tables_event_values(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    tables *self = (tables *)object;
    if (count != 2)
        return PyErr_Format(PyExc_TypeError, "event_values() takes a record and a function");
    PyObject *record = args[0], *dumps = args[1];
    bool document = ll_adk_get_layout(self->adk) == LL_ADK_DOCUMENT;
    PyObject *values = PyTuple_New(document ? COMMON + 1 : COLUMNS);
    for (Py_ssize_t i = 0; values && i < PyTuple_GET_SIZE(values); i++) {
        enum key key = document && i == COMMON ? KEY_event_data : (enum key)i;
        PyObject *value;
        switch (key) {
        case KEY_timestamp:
            value = julian_of(need(self, record, key), "timestamp");
            break;
        case KEY_content:
        case KEY_grounding_metadata:
        case KEY_custom_metadata:
            value = json_of(may(self, record, key), dumps);
            break;
        case KEY_event_data:
            value = json_of(need(self, record, key), dumps);
            break;
        case KEY_partial:
        case KEY_turn_complete:
        case KEY_interrupted:
            value = flag_of(may(self, record, key));
            break;
        case KEY_long_running_tool_ids_json:
        case KEY_branch:
        case KEY_error_code:
        case KEY_error_message:
            value = may(self, record, key);
            break;
        default:
            value = need(self, record, key);
            break;
        }
        if (!value)
            Py_CLEAR(values);
        else
            PyTuple_SET_ITEM(values, i, value);
    }
    return values;
}

/* ---- rows to records --------------------------------------------------------------------------- */

/* Sets record[key]; takes the value, which may be NULL with an exception. */
static int put(tables *self, PyObject *record, enum key key, PyObject *value)
{
    int rc = value ? PyDict_SetItem(record, self->keys[key], value) : -1;
    Py_XDECREF(value);
    return rc;
}

static PyObject *parsed(PyObject *text, PyObject *loads)
{
    return text == Py_None ? Py_NewRef(text) : PyObject_CallOneArg(loads, text);
}

static PyObject *time_at(PyObject *value)
{
    int64_t us;
    return us_of_column(value, &us) < 0 ? NULL : datetime_of(us);
}

static PyObject *truth_of(PyObject *value)
{
    if (value == Py_None)
        return Py_NewRef(value);
    int truth = PyObject_IsTrue(value);
    return truth < 0 ? NULL : PyBool_FromLong(truth);
}

/* A row of a session as a dict; `loads` for its state. */
static PyObject *session_of(tables *self, PyObject *row, PyObject *loads)
{
    static const enum key keys[SESSION] = {KEY_id,    KEY_app_name,    KEY_user_id,
                                           KEY_state, KEY_create_time, KEY_update_time};
    PyObject *record = PyDict_New();
    for (Py_ssize_t i = 0; record && i < SESSION; i++) {
        PyObject *value = PyTuple_GET_ITEM(row, i);
        if (keys[i] == KEY_state)
            value = parsed(value, loads);
        else
            value = i > 3 ? time_at(value) : Py_NewRef(value);
        if (put(self, record, keys[i], value) < 0)
            Py_CLEAR(record);
    }
    return record;
}

static PyObject *event_of(tables *self, PyObject *row, PyObject *loads)
{
    bool document = ll_adk_get_layout(self->adk) == LL_ADK_DOCUMENT;
    PyObject *record = PyDict_New();
    for (Py_ssize_t i = 0; record && i < (document ? COMMON + 1 : COLUMNS); i++) {
        enum key key = document && i == COMMON ? KEY_event_data : (enum key)i;
        PyObject *value = PyTuple_GET_ITEM(row, i);
        switch (key) {
        case KEY_timestamp:
            value = time_at(value);
            break;
        case KEY_content:
        case KEY_grounding_metadata:
        case KEY_custom_metadata:
        case KEY_event_data:
            value = parsed(value, loads);
            break;
        case KEY_partial:
        case KEY_turn_complete:
        case KEY_interrupted:
            value = truth_of(value);
            break;
        default:
            Py_INCREF(value);
            break;
        }
        if (put(self, record, key, value) < 0)
            Py_CLEAR(record);
    }
    return record;
}

typedef PyObject *(*record_fn)(tables *self, PyObject *row, PyObject *loads);

/* A list of rows as a list of records. */
static PyObject *records(PyObject *object, PyObject *const *args, Py_ssize_t count, record_fn make,
                         Py_ssize_t width)
{
    if (count != 2)
        return PyErr_Format(PyExc_TypeError, "takes rows and a function");
    PyObject *rows = PySequence_Fast(args[0], "rows must be a sequence");
    if (!rows)
        return NULL;
    PyObject *list = PyList_New(PySequence_Fast_GET_SIZE(rows));
    for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(list); i++) {
        PyObject *row = PySequence_Fast_GET_ITEM(rows, i), *record = NULL;
        if (!PyTuple_Check(row) || PyTuple_GET_SIZE(row) < width)
            PyErr_Format(PyExc_TypeError, "row %zd is no tuple of %zd values", i, width);
        else
            record = make((tables *)object, row, args[1]);
        if (!record)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, record);
    }
    Py_DECREF(rows);
    return list;
}

static PyObject *tables_sessions(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    return records(self, args, count, session_of, SESSION);
}

static PyObject *tables_events(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    bool document = ll_adk_get_layout(((tables *)self)->adk) == LL_ADK_DOCUMENT;
    return records(self, args, count, event_of, document ? COMMON + 1 : COLUMNS);
}

static PyObject *tables_events_json(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2)
        return PyErr_Format(PyExc_TypeError, "takes rows and a function");
    return lp_adk_events_json(args[0], ll_adk_get_layout(((tables *)self)->adk) == LL_ADK_DOCUMENT,
                              args[1]);
}

/* ---- times for the program --------------------------------------------------------------------- */

static PyObject *tables_julian(PyObject *unused, PyObject *time)
{
    (void)unused;
    return julian_of(Py_NewRef(time), "a time");
}

static PyObject *tables_time(PyObject *unused, PyObject *julian)
{
    (void)unused;
    return time_at(julian);
}

static PyObject *tables_next_julian(PyObject *unused, PyObject *const *args, Py_ssize_t count)
{
    (void)unused;
    if (count != 2)
        return PyErr_Format(PyExc_TypeError, "next_julian() takes a Julian day and a time");
    double before = PyFloat_AsDouble(args[0]);
    int64_t us;
    if ((before == -1.0 && PyErr_Occurred()) || us_of(args[1], "a time", &us) < 0)
        return NULL;
    return PyFloat_FromDouble(ll_adk_next_julian(before, us));
}

/* ---- the type ---------------------------------------------------------------------------------- */

static PyObject *get_schema(PyObject *self, void *unused)
{
    (void)unused;
    return Py_NewRef(((tables *)self)->schema);
}

static PyObject *get_statements(PyObject *self, void *unused)
{
    (void)unused;
    return Py_NewRef(((tables *)self)->statements);
}

static PyObject *get_owner(PyObject *self, void *unused)
{
    (void)unused;
    return Py_NewRef(((tables *)self)->owner);
}

static PyObject *get_document(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(ll_adk_get_layout(((tables *)self)->adk) == LL_ADK_DOCUMENT);
}

static PyGetSetDef tables_getset[] = {
    {"schema", get_schema, NULL, "What creates the tables and indexes that do not exist.", NULL},
    {"statements", get_statements, NULL,
     "The statements, in the order of ll_adk_statement (looplite/adk.h).", NULL},
    {"owner_name", get_owner, NULL, "The name of the owner's column, or None.", NULL},
    {"document", get_document, NULL, "Whether an event is one JSON document.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

#define FAST(f) ((PyCFunction)(void (*)(void))(f))

static PyMethodDef tables_methods[] = {
    {"event_values", FAST(tables_event_values), METH_FASTCALL,
     "event_values($self, record, dumps, /)\n--\n\nThe parameters of the statement that appends an event."},
    {"sessions", FAST(tables_sessions), METH_FASTCALL,
     "sessions($self, rows, loads, /)\n--\n\nRows of sessions as a list of records."},
    {"events", FAST(tables_events), METH_FASTCALL,
     "events($self, rows, loads, /)\n--\n\nRows of events as a list of records."},
    {"events_json", FAST(tables_events_json), METH_FASTCALL,
     "events_json($self, rows, unpickle, /)\n--\n\nRows of events, newest first, as a JSON array of events, oldest first."},
    {"julian", tables_julian, METH_O | METH_STATIC,
     "julian(time, /)\n--\n\nA datetime as the table holds it."},
    {"time", tables_time, METH_O | METH_STATIC, "time(julian, /)\n--\n\nThe datetime it is."},
    {"next_julian", FAST(tables_next_julian), METH_FASTCALL | METH_STATIC,
     "next_julian(before, time, /)\n--\n\nThe update time after `before` of a change at `time`: "
     "always later."},
    {NULL, NULL, 0, NULL},
};

static char tables_doc[] =
    "AdkTables(*, session_table=None, events_table=None, app_state_table=None, user_state_table=None, "
    "owner_column=None, document=False)\n--\n\n"
    "Statements and records of the ADK store, for looplite.adapters.";

static PyType_Slot tables_slots[] = {
    {Py_tp_doc, tables_doc},       {Py_tp_new, tables_new},         {Py_tp_dealloc, tables_dealloc},
    {Py_tp_getset, tables_getset}, {Py_tp_methods, tables_methods}, {0, NULL},
};

static PyType_Spec tables_spec = {
    .name = "looplite._core.AdkTables",
    .basicsize = sizeof(tables),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = tables_slots,
};

int lp_adk_init(PyObject *module)
{
    PyDateTime_IMPORT;
    if (!PyDateTimeAPI)
        return -1;
    PyObject *type = PyType_FromModuleAndSpec(module, &tables_spec, NULL);
    int rc = type ? PyModule_AddObjectRef(module, "AdkTables", type) : -1;
    Py_XDECREF(type);
    return rc;
}
