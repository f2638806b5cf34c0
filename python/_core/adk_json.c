/* adk_json.c: events of a conversation as one JSON text.
 *
 * The session service makes objects of a session's events, and whatever parses JSON for it (pydantic, or json) does so
 * faster when it is called once. So rows become one array here, in bytes, in the shape that google-adk dumps an event:
 *
 *   columns    {"timestamp":..., <what stands in actions>, "id":..., ..., "content":<the column>, ...}
 *   document   {"id":..., "invocation_id":..., "timestamp":..., <the document>}
 *
 * JSON that stands in a column is taken over as it stands. It comes out of a file that others write, too, so it may be no
 * JSON; and in one array a piece like `null},{"id":"x"` would be another event. So each piece has to be a value by itself
 * (is_one_value()); whether it is a valid one says the parser, and no piece can lead it into the next.
 *
 * A name that comes twice counts as the last one says: the time and the ids of the columns are behind, or before, what
 * is to win. [M] 50 events, 31 KB: 60 us, and 144 in Python. */
#include "adk.h"

#include <looplite/adk.h>
#include <string.h>

/* ---- a text that grows ------------------------------------------------------------------------- */

struct text {
    char *at;
    size_t size, room;
};

static int add(struct text *text, const char *bytes, size_t size)
{
    if (size > text->room - text->size) {
        size_t room = (text->size + size) * 2 + 1024;
        char *more = PyMem_Realloc(text->at, room);
        if (!more) {
            PyErr_NoMemory();
            return -1;
        }
        text->at = more;
        text->room = room;
    }
    memcpy(text->at + text->size, bytes, size);
    text->size += size;
    return 0;
}

static int add_str(struct text *text, const char *string)
{
    return add(text, string, strlen(string));
}

/* As a JSON string. */
static int add_quoted(struct text *text, const char *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    size_t begun = 0;
    if (add(text, "\"", 1) < 0)
        return -1;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        char escaped[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
        if (add(text, bytes + begun, i - begun) < 0 || add(text, escaped, sizeof escaped) < 0)
            return -1;
        begun = i + 1;
    }
    return add(text, bytes + begun, size - begun) < 0 || add(text, "\"", 1) < 0 ? -1 : 0;
}

/* ---- pieces ------------------------------------------------------------------------------------ */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Whether a piece of JSON ends where its text does: brackets that close only at its end, or none and no comma or colon;
 * and no string that is open. */
static bool is_one_value(const char *bytes, size_t size)
{
    size_t depth = 0;
    bool closed = false, any = false;
    for (size_t i = 0; i < size; i++) {
        char c = bytes[i];
        if (is_space(c))
            continue;
        if (closed)
            return false;
        any = true;
        switch (c) {
        case '"':
            for (i++; i < size && bytes[i] != '"'; i++)
                i += bytes[i] == '\\';
            if (i >= size)
                return false;
            closed = depth == 0;
            break;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (depth == 0)
                return false;
            closed = --depth == 0;
            break;
        case ',':
        case ':':
            if (depth == 0)
                return false;
            break;
        default:
            break;
        }
    }
    return any && depth == 0;
}

/* Without space at its ends. */
static void trim(const char **bytes, size_t *size)
{
    while (*size > 0 && is_space(**bytes)) {
        ++*bytes;
        --*size;
    }
    while (*size > 0 && is_space((*bytes)[*size - 1]))
        --*size;
}

/* A row, for messages. */
struct row {
    PyObject *values; /* a tuple */
    const char *const *names;
};

static int refuse(const struct row *row, Py_ssize_t column, const char *what)
{
    PyErr_Format(PyExc_ValueError, "event %R: %s is %s", PyTuple_GET_ITEM(row->values, 0),
                 row->names[column], what);
    return -1;
}

/* The UTF-8 of a text. */
static int text_at(const struct row *row, Py_ssize_t column, const char **ret_bytes,
                   size_t *ret_size)
{
    PyObject *value = PyTuple_GET_ITEM(row->values, column);
    Py_ssize_t size;
    if (!PyUnicode_Check(value))
        return refuse(row, column, "no text");
    *ret_bytes = PyUnicode_AsUTF8AndSize(value, &size);
    *ret_size = (size_t)size;
    return *ret_bytes ? 0 : -1;
}

/* ,"name":" - and what follows is the caller's. */
static int add_name(struct text *text, const char *name)
{
    return add(text, ",\"", 2) < 0 || add_str(text, name) < 0 || add(text, "\":", 2) < 0 ? -1 : 0;
}

static int add_text(struct text *text, const struct row *row, Py_ssize_t column)
{
    const char *bytes;
    size_t size;
    if (PyTuple_GET_ITEM(row->values, column) == Py_None)
        return 0;
    if (text_at(row, column, &bytes, &size) < 0 || add_name(text, row->names[column]) < 0)
        return -1;
    return add_quoted(text, bytes, size);
}

static int add_json(struct text *text, const struct row *row, Py_ssize_t column, const char *name)
{
    const char *bytes;
    size_t size;
    if (PyTuple_GET_ITEM(row->values, column) == Py_None)
        return 0;
    if (text_at(row, column, &bytes, &size) < 0)
        return -1;
    if (!is_one_value(bytes, size))
        return refuse(row, column, "no JSON");
    return add_name(text, name) < 0 ? -1 : add(text, bytes, size);
}

static int add_flag(struct text *text, const struct row *row, Py_ssize_t column)
{
    PyObject *value = PyTuple_GET_ITEM(row->values, column);
    if (value == Py_None)
        return 0;
    int truth = PyObject_IsTrue(value);
    if (truth < 0 || add_name(text, row->names[column]) < 0)
        return -1;
    return add_str(text, truth ? "true" : "false");
}

/* Seconds since 1970. Six digits behind the point are exact: they lead to the number nearest to the microsecond. */
static int add_time(struct text *text, PyObject *julian)
{
    double day = PyFloat_AsDouble(julian);
    if (day == -1.0 && PyErr_Occurred())
        return -1;
    int64_t us = ll_adk_time_us(day);
    uint64_t size = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
    char digits[48];
    PyOS_snprintf(digits, sizeof digits, "%s%llu.%06llu", us < 0 ? "-" : "",
                  (unsigned long long)(size / 1000000), (unsigned long long)(size % 1000000));
    return add_str(text, digits);
}

/* The names and values of an object, without its braces, behind a comma. */
static int add_members(struct text *text, const struct row *row, Py_ssize_t column,
                       const char *bytes, size_t size)
{
    trim(&bytes, &size);
    if (size < 2 || *bytes != '{' || !is_one_value(bytes, size))
        return refuse(row, column, "no JSON object");
    bytes++;
    size -= 2;
    trim(&bytes, &size);
    return size == 0 ? 0 : add(text, ",", 1) < 0 ? -1 : add(text, bytes, size);
}

/* ---- layouts ----------------------------------------------------------------------------------- */

/* What stands in `actions`: an event without what has a column of its own, which begins with its actions (the session
 * service writes that); the actions alone; nothing; or a pickle of them. */
static int add_actions(struct text *text, const struct row *row, Py_ssize_t column,
                       PyObject *unpickle)
{
    static const char whole[] = "{\"actions\":";
    PyObject *value = PyTuple_GET_ITEM(row->values, column), *made = NULL;
    const char *bytes;
    size_t size;
    int rc = -1;
    if (PyBytes_Check(value)) {
        bytes = PyBytes_AS_STRING(value);
        size = (size_t)PyBytes_GET_SIZE(value);
    } else if (text_at(row, column, &bytes, &size) < 0) {
        return -1;
    }
    trim(&bytes, &size); /* no pickle begins with space */
    if (size >= sizeof whole - 1 && memcmp(bytes, whole, sizeof whole - 1) == 0)
        return add_members(text, row, column, bytes, size);
    if (size > 0 && *bytes != '{') {
        made = PyBytes_Check(value) ? PyObject_CallOneArg(unpickle, value) : NULL;
        if (!made && !PyErr_Occurred())
            return refuse(row, column, "neither JSON nor a pickle");
        if (!made)
            return -1;
        Py_ssize_t length;
        bytes = PyUnicode_AsUTF8AndSize(made, &length);
        if (!bytes)
            goto out;
        size = (size_t)length;
    }
    if (size == 0)
        rc = add_str(text, ",\"actions\":{}");
    else if (!is_one_value(bytes, size))
        rc = refuse(row, column, "no JSON");
    else
        rc = add_name(text, "actions") < 0 ? -1 : add(text, bytes, size);
out:
    Py_XDECREF(made);
    return rc;
}

enum column { /* in the order of both layouts: ll_adk_event_of() */
    ID = 0,
    INVOCATION = 4,
    TIMESTAMP = 5,
    DOCUMENT = 6,
    AUTHOR = 6,
    ACTIONS,
    TOOLS,
    BRANCH,
    CONTENT = 10,
    GROUNDING,
    CUSTOM,
    PARTIAL,
    TURN_COMPLETE,
    INTERRUPTED,
    ERROR_CODE,
    ERROR_MESSAGE,
    COLUMNS
};

static int add_columns(struct text *text, const struct row *row, PyObject *unpickle)
{
    static const enum column flags[] = {PARTIAL, TURN_COMPLETE, INTERRUPTED};
    static const enum column texts[] = {ID, INVOCATION, AUTHOR, BRANCH, ERROR_CODE, ERROR_MESSAGE};
    static const enum column values[] = {CONTENT, GROUNDING, CUSTOM};
    if (add_str(text, "{\"timestamp\":") < 0 ||
        add_time(text, PyTuple_GET_ITEM(row->values, TIMESTAMP)) < 0 ||
        add_actions(text, row, ACTIONS, unpickle) < 0 ||
        add_json(text, row, TOOLS, "long_running_tool_ids") < 0)
        return -1;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (add_text(text, row, texts[i]) < 0)
            return -1;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (add_json(text, row, values[i], row->names[values[i]]) < 0)
            return -1;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (add_flag(text, row, flags[i]) < 0)
            return -1;
    return add(text, "}", 1);
}

/* SQLSpec may leave the ids and the time out of the document. */
static int add_document(struct text *text, const struct row *row)
{
    const char *bytes;
    size_t size;
    if (add_str(text, "{\"timestamp\":") < 0 ||
        add_time(text, PyTuple_GET_ITEM(row->values, TIMESTAMP)) < 0 ||
        add_text(text, row, ID) < 0 ||
        (PyTuple_GET_ITEM(row->values, INVOCATION) == Py_None
             ? add_str(text, ",\"invocation_id\":\"\"")
             : add_text(text, row, INVOCATION)) < 0 ||
        text_at(row, DOCUMENT, &bytes, &size) < 0 ||
        add_members(text, row, DOCUMENT, bytes, size) < 0)
        return -1;
    return add(text, "}", 1);
}

static const char *const column_names[COLUMNS] = {"id",
                                                  "session_id",
                                                  "app_name",
                                                  "user_id",
                                                  "invocation_id",
                                                  "timestamp",
                                                  "author",
                                                  "actions",
                                                  "long_running_tool_ids_json",
                                                  "branch",
                                                  "content",
                                                  "grounding_metadata",
                                                  "custom_metadata",
                                                  "partial",
                                                  "turn_complete",
                                                  "interrupted",
                                                  "error_code",
                                                  "error_message"};
static const char *const document_names[DOCUMENT + 1] = {
    "id", "session_id", "app_name", "user_id", "invocation_id", "timestamp", "event_data"};

PyObject *lp_adk_events_json(PyObject *rows, bool document, PyObject *unpickle)
{
    Py_ssize_t width = document ? DOCUMENT + 1 : COLUMNS;
    PyObject *list = PySequence_Fast(rows, "rows must be a sequence");
    struct text text = {0};
    PyObject *made = NULL;
    if (!list || add(&text, "[", 1) < 0)
        goto out;
    for (Py_ssize_t i = PySequence_Fast_GET_SIZE(list); i-- > 0;) {
        struct row row = {PySequence_Fast_GET_ITEM(list, i),
                          document ? document_names : column_names};
        if (!PyTuple_Check(row.values) || PyTuple_GET_SIZE(row.values) < width) {
            PyErr_Format(PyExc_TypeError, "row %zd is no tuple of %zd values", i, width);
            goto out;
        }
        if ((text.size > 1 && add(&text, ",", 1) < 0) ||
            (document ? add_document(&text, &row) : add_columns(&text, &row, unpickle)) < 0)
            goto out;
    }
    if (add(&text, "]", 1) == 0)
        made = PyBytes_FromStringAndSize(text.at, (Py_ssize_t)text.size);
out:
    PyMem_Free(text.at);
    Py_XDECREF(list);
    return made;
}
