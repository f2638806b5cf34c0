/* hook.c: Connection.on_statement: who is told of each statement.
 *
 * The hook is one callable of a connection. It gets a Statement, a tuple with names, when the request of a statement has
 * finished: inside the await for one that finished at once, else in a callback of the loop, and each time in the
 * contextvars of the task that made the call, so a tracer finds its parent span. A connection without a hook pays
 * for none: nothing is timed (LL_SUBMIT_TIMED) and nothing is made.
 *
 * Whatever the hook raises goes to the loop's exception handler. The statement has ended by then, and its
 * call goes on.
 *
 * What is a statement: each execute(), executemany(), executescript() and their short forms, commit() and rollback() that
 * had something to end. Fetching is none: the rows that did not come with the answer are not in the duration. */
#include "hook.h"

#include "acursor.h"
#include "errors.h"

enum {
    FIELDS = 12
};

static PyStructSequence_Field fields[FIELDS + 1] = {
    {"sql", "the text"},
    {"parameters", "how many values were bound (for each row of executemany())"},
    {"rows", "rows changed, or rows of the result when all came with the answer; else None"},
    {"where", "'inline', 'worker', or None for what never ran"},
    {"waited_ns", "from the call to the beginning"},
    {"duration_ns", "from the beginning to the end, waiting for locks included"},
    {"started_ns", "the beginning, on the clock of time.monotonic_ns(); 0 for what never ran"},
    {"outcome", "'ok', 'error' or 'cancelled'"},
    {"applied", "'applied', 'not applied' or 'unknown'"},
    {"error", "the class of the exception, or None"},
    {"sqlite_errorcode", "SQLite's extended code, or None"},
    {"message", "what the exception says, or None"},
    {NULL, NULL},
};

static char type_name[] = "looplite.Statement",
            type_doc[] = "A statement that has ended, as Connection.on_statement is told of it.";

void lp_hook_arm(lp_call *call, PyObject *hook, ll_submit *how)
{
    how->flags |= LL_SUBMIT_TIMED;
    call->uncommon = true;
    Py_XSETREF(call->hook, Py_NewRef(hook));
}

void lp_hook_keep_context(lp_call *call)
{
    Py_XSETREF(call->hook_context, PyContext_CopyCurrent());
    PyErr_Clear(); /* out of memory: then in those of the loop's callback */
}

/* ---- the record -------------------------------------------------------------------------------- */

static PyObject *text_of(const lp_call *call)
{
    if (call->sql)
        return Py_NewRef(call->sql);
    bool commit = strstr(call->op->name, "commit") != NULL;
    return PyUnicode_FromString(commit ? "COMMIT" : "ROLLBACK");
}

/* Of a result: only what is known without waiting. */
static PyObject *rows_of(const lp_call *call)
{
    const lp_cursor *cursor = (const lp_cursor *)call->target;
    if (call->status < 0)
        Py_RETURN_NONE;
    if (ll_request_is_dml(call->request) && !ll_request_columns(call->request))
        return PyLong_FromLongLong(ll_request_changes(call->request));
    if (!cursor || !cursor->columns || cursor->rest || cursor->row > 0 || lp_call_is_lost(call) ||
        !ll_request_columns(call->request))
        Py_RETURN_NONE;
    size_t rows = 0;
    for (size_t i = 0; i < cursor->count; i++)
        rows += ll_batch_rows(cursor->batches[cursor->first + i]);
    return PyLong_FromSize_t(rows);
}

static PyObject *where_of(const ll_timing *timing)
{
    switch (timing->place) {
    case LL_PLACE_LOOP:
        return PyUnicode_FromString("inline");
    case LL_PLACE_WORKER:
        return PyUnicode_FromString("worker");
    default:
        Py_RETURN_NONE;
    }
}

/* Fills outcome, applied, error, sqlite_errorcode, message. */
static void fill_outcome(lp_call *call, PyObject *values[5])
{
    const char *outcome = lp_call_is_lost(call) ? "cancelled" : call->status < 0 ? "error" : "ok";
    values[0] = PyUnicode_FromString(outcome);
    values[1] = PyUnicode_FromString(lp_outcome_name(call->outcome));
    values[2] = Py_NewRef(Py_None);
    values[3] = Py_NewRef(Py_None);
    values[4] = Py_NewRef(Py_None);
    if (call->status >= 0)
        return;
    const ll_error *error = ll_request_error(call->request);
    lp_raise_request(call->st, call->request, &call->params);
    PyObject *exc = lp_exc_take();
    if (!exc)
        return;
    Py_SETREF(values[2], Py_NewRef((PyObject *)Py_TYPE(exc)));
    if (error->sqlite_code)
        Py_SETREF(values[3], PyLong_FromLong(error->sqlite_code));
    Py_SETREF(values[4], PyObject_Str(exc));
    Py_DECREF(exc);
}

static PyObject *record_of(lp_call *call, const ll_timing *timing)
{
    PyObject *record = PyStructSequence_New(call->st->statement_type);
    if (!record)
        return NULL;
    uint64_t begun = timing->begun_ns;
    PyObject *values[FIELDS] = {
        text_of(call),
        PyLong_FromSize_t(call->params.count),
        rows_of(call),
        where_of(timing),
        PyLong_FromUnsignedLongLong((begun ? begun : timing->ended_ns) - timing->submitted_ns),
        PyLong_FromUnsignedLongLong(begun ? timing->ended_ns - begun : 0),
        PyLong_FromUnsignedLongLong(begun),
    };
    fill_outcome(call, values + 7);
    bool whole = true;
    for (int i = 0; i < FIELDS; i++) {
        whole = whole && values[i];
        PyStructSequence_SetItem(record, i, values[i]); /* steals */
    }
    if (!whole)
        Py_CLEAR(record);
    return record;
}

/* ---- telling ----------------------------------------------------------------------------------- */

/* The exception that is set goes to the loop's exception handler. */
static void complain(lp_call *call)
{
    PyObject *exc = lp_exc_take();
    PyObject *loop = lp_loop_object(call->loop);
    PyObject *context = loop ? Py_BuildValue("{s:s,s:O}", "message",
                                             "looplite: on_statement raised an exception",
                                             "exception", exc)
                             : NULL;
    PyObject *done = context ? PyObject_CallMethodOneArg(
                                   loop, call->st->names.call_exception_handler, context)
                             : NULL;
    if (!done) {
        PyErr_Clear();
        lp_exc_give(Py_NewRef(exc));
        PyErr_WriteUnraisable(call->owner);
    }
    Py_XDECREF(done);
    Py_XDECREF(context);
    Py_XDECREF(loop);
    Py_XDECREF(exc);
}

void lp_hook_tell(lp_call *call)
{
    ll_timing timing;
    PyObject *hook = call->hook, *context = call->hook_context;
    call->hook = call->hook_context = NULL;
    ll_request_get_timing(call->request, &timing);
    if (timing.place != LL_PLACE_NONE || call->status < 0) { /* else: nothing to commit */
        PyObject *pending = lp_exc_take();
        PyObject *record = record_of(call, &timing);
        bool entered = record && context && PyContext_Enter(context) == 0;
        PyObject *result = record ? PyObject_CallOneArg(hook, record) : NULL;
        if (!result)
            complain(call);
        if (entered && PyContext_Exit(context) < 0)
            PyErr_Clear();
        Py_XDECREF(result);
        Py_XDECREF(record);
        if (pending)
            lp_exc_give(pending);
    }
    Py_XDECREF(context);
    Py_DECREF(hook);
}

int lp_hook_init(PyObject *module, lp_state *st)
{
    PyStructSequence_Desc description = {type_name, type_doc, fields, FIELDS};
    st->statement_type = PyStructSequence_NewType(&description);
    if (!st->statement_type)
        return -1;
    return PyModule_AddObjectRef(module, "Statement", (PyObject *)st->statement_type);
}
