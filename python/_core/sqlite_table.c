/* sqlite_table.c: finding the very SQLite that the interpreter's sqlite3 module calls.
 *
 * The extension is not linked with SQLite. Two copies of it in one process that open one file lose
 * committed rows without a word: POSIX locks belong to the process, and a close in one copy drops the
 * locks of the other. So every call has to go to the copy that _sqlite3 uses, wherever that lives:
 *
 *   1. in the global scope of the process (built into the interpreter, preloaded): dlsym(RTLD_DEFAULT);
 *   2. behind the file that holds the code of _sqlite3.connect (a shared libsqlite3, a private one, a
 *      static copy with visible names): dlopen(file, RTLD_NOLOAD), dlsym;
 *   3. in a static copy with hidden names: SQLite itself hands its table of routines to an extension
 *      that it loads, so our own file is loaded as one, where that Python can load extensions.
 *
 * The order is the loader's own: a module's calls bind to the global scope before its own
 * dependencies, so a copy that is there *is* the one in use, and the copy behind the file is then half
 * replaced and crashes when called.
 *
 * A candidate has to pass four checks, in this order, before it is used; one that fails is left, and
 * the next way is tried:
 *   a. every function that the extension itself needs is there;
 *   b. it is 3.34.1 or newer and thread-safe, and sqlite3_sourceid() equals what `SELECT
 *      sqlite_source_id()` says through the sqlite3 module (nothing but functions that return
 *      constants has been called so far);
 *   c. the core finds all it needs (ll_sqlite_use() says what is missing);
 *   d. the proof of identity: an auto-extension registered through the candidate fires, in this
 *      thread, when sqlite3.connect(":memory:") opens a database. Two copies of one version have the
 *      same source id, so only this tells them apart. It comes before c., which cannot be undone.
 *
 * Without any, importing fails and says what was tried and what to do (docs/design/packages.md). */
#define SQLITE_CORE 1 /* sqlite3ext.h: the struct only, no macros in place of the functions */
#include "sqlite_table.h"
#include "state.h"

#include <dlfcn.h>
#include <sqlite3ext.h>
#include <string.h>

enum {
    OLDEST_SQLITE = 3034001
};

struct lp_sqlite lp_sq;

/* Way 3: what SQLite hands to sqlite3_extension_init(). Process-wide, constant once set. */
static const sqlite3_api_routines *routines;

/* X(since, function, member): the members of that table which anybody here may ask for. An older
 * library's table is shorter, so the version is looked at before a member is. */
#define SAME(X, since, name) X(since, name, name)
/* clang-format off */
#define ROUTINES(X)                                                                               \
    SAME(X, 0, aggregate_context) SAME(X, 0, auto_extension) SAME(X, 0, backup_finish)            \
    SAME(X, 0, backup_init)                                                                       \
    SAME(X, 0, backup_pagecount) SAME(X, 0, backup_remaining) SAME(X, 0, backup_step)             \
    SAME(X, 0, bind_blob) SAME(X, 0, bind_blob64) SAME(X, 0, bind_double) SAME(X, 0, bind_int)    \
    SAME(X, 0, bind_int64) SAME(X, 0, bind_null) SAME(X, 0, bind_parameter_count)                 \
    SAME(X, 0, bind_parameter_index) SAME(X, 0, bind_parameter_name) SAME(X, 0, bind_pointer)     \
    SAME(X, 0, bind_text) SAME(X, 0, bind_text64) SAME(X, 0, bind_value)                          \
    SAME(X, 0, bind_zeroblob) SAME(X, 0, bind_zeroblob64) SAME(X, 0, blob_bytes)                  \
    SAME(X, 0, blob_close) SAME(X, 0, blob_open) SAME(X, 0, blob_read) SAME(X, 0, blob_reopen)    \
    SAME(X, 0, blob_write) SAME(X, 0, busy_handler) SAME(X, 0, busy_timeout)                      \
    SAME(X, 0, cancel_auto_extension) SAME(X, 0, changes) SAME(X, 3037000, changes64)             \
    SAME(X, 0, clear_bindings) SAME(X, 0, close) SAME(X, 0, close_v2) SAME(X, 0, column_blob)     \
    SAME(X, 0, column_bytes) SAME(X, 0, column_count) SAME(X, 0, column_database_name)            \
    SAME(X, 0, column_decltype) SAME(X, 0, column_double) SAME(X, 0, column_int)                  \
    SAME(X, 0, column_int64) SAME(X, 0, column_name) SAME(X, 0, column_origin_name)               \
    SAME(X, 0, column_table_name) SAME(X, 0, column_text) SAME(X, 0, column_type)                 \
    SAME(X, 0, column_value) SAME(X, 0, commit_hook) SAME(X, 0, compileoption_get)                \
    SAME(X, 0, compileoption_used) SAME(X, 0, complete) SAME(X, 0, context_db_handle)             \
    SAME(X, 0, create_collation_v2) SAME(X, 0, create_function_v2)                                \
    SAME(X, 0, create_window_function) SAME(X, 0, database_file_object)                           \
    SAME(X, 0, db_cacheflush) SAME(X, 0, db_config) SAME(X, 0, db_filename)                       \
    SAME(X, 0, db_handle) SAME(X, 0, db_mutex) SAME(X, 3039000, db_name) SAME(X, 0, db_readonly)  \
    SAME(X, 0, db_release_memory) SAME(X, 0, db_status) SAME(X, 3039000, deserialize)             \
    SAME(X, 0, errcode) SAME(X, 0, errmsg) SAME(X, 3038000, error_offset) SAME(X, 0, errstr)      \
    SAME(X, 0, exec) SAME(X, 0, expanded_sql) SAME(X, 0, extended_errcode)                        \
    SAME(X, 0, extended_result_codes) SAME(X, 0, file_control) SAME(X, 0, filename_database)      \
    SAME(X, 0, filename_journal) SAME(X, 0, filename_wal) SAME(X, 0, finalize) SAME(X, 0, free)   \
    SAME(X, 0, get_autocommit) SAME(X, 0, get_auxdata) X(0, interrupt, interruptx)                \
    SAME(X, 0, last_insert_rowid) SAME(X, 0, libversion) SAME(X, 0, libversion_number)            \
    SAME(X, 0, limit) SAME(X, 0, load_extension) SAME(X, 0, malloc) SAME(X, 0, malloc64)          \
    SAME(X, 0, memory_used) SAME(X, 0, msize) SAME(X, 0, mutex_alloc) SAME(X, 0, mutex_enter)     \
    SAME(X, 0, mutex_free) SAME(X, 0, mutex_leave) SAME(X, 0, mutex_try) SAME(X, 0, next_stmt)    \
    SAME(X, 0, open) SAME(X, 0, open_v2) SAME(X, 0, overload_function) SAME(X, 0, prepare_v2)     \
    SAME(X, 0, prepare_v3) SAME(X, 0, profile) SAME(X, 0, progress_handler)                       \
    SAME(X, 0, randomness) SAME(X, 0, realloc64) SAME(X, 0, reset)                                \
    SAME(X, 0, reset_auto_extension) SAME(X, 0, result_blob64) SAME(X, 0, result_double)          \
    SAME(X, 0, result_error) SAME(X, 0, result_error_code) SAME(X, 0, result_error_nomem)         \
    SAME(X, 0, result_error_toobig) SAME(X, 0, result_int) SAME(X, 0, result_int64)               \
    SAME(X, 0, result_null) SAME(X, 0, result_text64) SAME(X, 0, result_value)                    \
    SAME(X, 0, rollback_hook) SAME(X, 3039000, serialize) SAME(X, 0, set_authorizer)              \
    SAME(X, 0, set_auxdata) SAME(X, 0, set_last_insert_rowid) SAME(X, 0, sleep)                   \
    SAME(X, 0, soft_heap_limit64) SAME(X, 0, sourceid) SAME(X, 0, sql) SAME(X, 0, status64)       \
    SAME(X, 0, step) SAME(X, 0, stmt_busy) SAME(X, 0, stmt_isexplain) SAME(X, 0, stmt_readonly)   \
    SAME(X, 0, stmt_status) SAME(X, 0, system_errno) SAME(X, 0, table_column_metadata)            \
    X(0, threadsafe, xthreadsafe) SAME(X, 0, total_changes) SAME(X, 3037000, total_changes64)     \
    SAME(X, 0, trace_v2) SAME(X, 0, txn_state) SAME(X, 0, unlock_notify) SAME(X, 0, update_hook)  \
    SAME(X, 0, uri_boolean) SAME(X, 0, uri_int64) SAME(X, 0, uri_key) SAME(X, 0, uri_parameter)   \
    SAME(X, 0, user_data) SAME(X, 0, value_blob) SAME(X, 0, value_bytes)                          \
    SAME(X, 0, value_double) SAME(X, 0, value_dup) SAME(X, 0, value_free)                         \
    SAME(X, 0, value_frombind) SAME(X, 0, value_int) SAME(X, 0, value_int64)                      \
    SAME(X, 0, value_nochange) SAME(X, 0, value_numeric_type) SAME(X, 0, value_pointer)           \
    SAME(X, 0, value_subtype) SAME(X, 0, value_text) SAME(X, 0, value_type) SAME(X, 0, vfs_find)  \
    SAME(X, 0, vfs_register) SAME(X, 0, vfs_unregister) SAME(X, 0, wal_autocheckpoint)            \
    SAME(X, 0, wal_checkpoint_v2) SAME(X, 0, wal_hook)
/* clang-format on */

static const struct routine {
    const char *name;
    int since;
    size_t offset;
} routine_table[] = {
#define X(since, function, member) \
    {"sqlite3_" #function, since, offsetof(sqlite3_api_routines, member)},
    ROUTINES(X)
#undef X
};

/* SQLite calls this when it loads our file as an extension; the name is the one it looks for first.
 * It stays loaded for good, as the extension module does anyway. */
LL_API int sqlite3_extension_init(sqlite3 *db, char **error, const sqlite3_api_routines *api);
LL_API int sqlite3_extension_init(sqlite3 *db, char **error, const sqlite3_api_routines *api)
{
    (void)db;
    (void)error;
    routines = api;
    return SQLITE_OK_LOAD_PERMANENTLY;
}

/* ll_find_fn: through a handle of the dynamic loader. */
static ll_symbol find_loaded(void *handle, const char *name)
{
    ll_symbol symbol;
    *(void **)&symbol = dlsym(handle, name); /* POSIX's way to say it */
    return symbol;
}

/* ll_find_fn: through the table of routines. */
static ll_symbol find_routine(void *arg, const char *name)
{
    const sqlite3_api_routines *api = arg;
    int version = api->libversion_number();
    for (size_t i = 0; i < sizeof routine_table / sizeof *routine_table; i++) {
        const struct routine *r = &routine_table[i];
        if (strcmp(r->name, name) != 0)
            continue;
        if (r->since > version)
            return NULL;
        ll_symbol symbol;
        memcpy(&symbol, (const char *)api + r->offset, sizeof symbol);
        return symbol;
    }
    return NULL;
}

/* The proof: counts handles opened by this thread. Runs without touching Python. */
static _Thread_local struct {
    int armed, fired;
    sqlite3 *db;
} proof;

static int on_proof(sqlite3 *db, const char **error, const sqlite3_api_routines *api)
{
    (void)error;
    (void)api;
    if (proof.armed) {
        proof.fired++;
        proof.db = db;
    }
    return SQLITE_OK;
}

/* One string that the sqlite3 module's own SQLite gives; NULL with an exception. */
static PyObject *ask_sqlite(lp_state *st, const char *sql)
{
    PyObject *memory = PyObject_CallFunction(st->sqlite3.connect, "s", ":memory:");
    PyObject *cursor = memory ? PyObject_CallMethod(memory, "execute", "s", sql) : NULL;
    PyObject *row = cursor ? PyObject_CallMethod(cursor, "fetchone", NULL) : NULL;
    PyObject *value = row ? PySequence_GetItem(row, 0) : NULL;
    Py_XDECREF(row);
    Py_XDECREF(cursor);
    if (memory) {
        PyObject *exc = lp_exc_take();
        PyObject *closed = PyObject_CallMethodNoArgs(memory, st->names.close);
        if (exc) {
            Py_CLEAR(closed);
            PyErr_Clear();
            lp_exc_give(exc);
        } else if (!closed) {
            Py_CLEAR(value);
        }
        Py_XDECREF(closed);
        Py_DECREF(memory);
    }
    return value;
}

/* Checks a to d of one candidate. 1: it is in use now. 0: not the one, `why` says so. -1: exception. */
static int try_candidate(lp_state *st, ll_find_fn find, void *arg, const char *source_id,
                         const char **why)
{
    struct lp_sqlite found;
    struct {
        const char *name;
        void *slot;
    } needed[] = {
        {"sqlite3_libversion", &found.libversion},
        {"sqlite3_libversion_number", &found.libversion_number},
        {"sqlite3_sourceid", &found.sourceid},
        {"sqlite3_threadsafe", &found.threadsafe},
        {"sqlite3_auto_extension", &found.auto_extension},
        {"sqlite3_cancel_auto_extension", &found.cancel_auto_extension},
        {"sqlite3_file_control", &found.file_control},
        {"sqlite3_db_mutex", &found.db_mutex},
        {"sqlite3_txn_state", &found.txn_state},
    };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        ll_symbol symbol = find(arg, needed[i].name);
        if (!symbol) {
            *why = "SQLite's functions are not visible there";
            return 0;
        }
        memcpy(needed[i].slot, &symbol, sizeof symbol);
    }
    if (found.libversion_number() < OLDEST_SQLITE) {
        *why = "SQLite is older than 3.34.1";
        return 0;
    }
    if (strcmp(found.sourceid(), source_id) != 0) {
        *why = "it is another SQLite than the sqlite3 module's";
        return 0;
    }
    if (found.threadsafe() == 0) {
        *why = "SQLite was built without thread safety";
        return 0;
    }
    proof.fired = 0;
    proof.db = NULL;
    if (found.auto_extension((void (*)(void))on_proof) != SQLITE_OK) {
        *why = "sqlite3_auto_extension failed";
        return 0;
    }
    proof.armed = 1;
    PyObject *memory = PyObject_CallFunction(st->sqlite3.connect, "s", ":memory:");
    proof.armed = 0;
    int mutexed = memory && proof.fired == 1 && found.db_mutex(proof.db) != NULL;
    found.cancel_auto_extension((void (*)(void))on_proof);
    if (!memory)
        return -1;
    PyObject *closed = PyObject_CallMethodNoArgs(memory, st->names.close);
    Py_DECREF(memory);
    if (!closed)
        return -1;
    Py_DECREF(closed);
    if (proof.fired != 1) {
        *why = "it is another copy than the sqlite3 module's";
        return 0;
    }
    if (!mutexed) {
        *why = "its connections have no mutex";
        return 0;
    }
    if (ll_sqlite_use(find, arg) < 0) {
        *why = ll_last_error();
        return 0;
    }
    lp_sq = found;
    return 1;
}

/* The file that holds the code of _sqlite3.connect; NULL when it is the program itself. */
static const char *file_of_code(PyObject *connect)
{
    Dl_info info;
    if (!PyCFunction_Check(connect))
        return NULL;
    union {
        PyCFunction function;
        const void *address;
    } code = {.function = PyCFunction_GetFunction(connect)};
    if (!dladdr(code.address, &info) || !info.dli_fname)
        return NULL;
    return info.dli_fname;
}

/* Way 3. 1: `routines` is set. 0: this Python cannot load extensions, or it failed. */
static int load_own_file(lp_state *st)
{
    Dl_info info;
    union {
        int (*function)(sqlite3 *, char **, const sqlite3_api_routines *);
        const void *address;
    } own = {.function = sqlite3_extension_init};
    if (!PyObject_HasAttrString(st->sqlite3.Connection, "enable_load_extension") ||
        !dladdr(own.address, &info))
        return 0;
    PyObject *memory = PyObject_CallFunction(st->sqlite3.connect, "s", ":memory:");
    PyObject *enabled = memory ? PyObject_CallMethod(memory, "enable_load_extension", "O", Py_True)
                               : NULL;
    PyObject *loaded = enabled ? PyObject_CallMethod(memory, "load_extension", "s", info.dli_fname)
                               : NULL;
    Py_XDECREF(loaded);
    Py_XDECREF(enabled);
    PyErr_Clear();
    if (memory) {
        Py_XDECREF(PyObject_CallMethodNoArgs(memory, st->names.close));
        PyErr_Clear();
        Py_DECREF(memory);
    }
    return routines != NULL;
}

/* Notes a way that was tried in `tried`, a list of strings. */
static int note(PyObject *tried, const char *way, const char *why)
{
    PyObject *line = PyUnicode_FromFormat("%s: %s", way, why);
    int rc = line ? PyList_Append(tried, line) : -1;
    Py_XDECREF(line);
    return rc;
}

int lp_sqlite_table_fill(lp_state *st)
{
    int result = -1;
    const char *why = NULL;
    PyObject *id = ask_sqlite(st, "SELECT sqlite_source_id()");
    const char *source_id = id ? PyUnicode_AsUTF8(id) : NULL;
    PyObject *tried = PyList_New(0);
    if (!source_id || !tried)
        goto out;

    int rc = try_candidate(st, find_loaded, RTLD_DEFAULT, source_id, &why);
    const char *way = "the global scope of the process";
    if (rc == 0 && note(tried, way, why) == 0) {
        const char *file = file_of_code(st->sqlite3.connect);
        void *handle = file ? dlopen(file, RTLD_NOW | RTLD_NOLOAD) : NULL;
        way = "the file of the _sqlite3 module";
        why = "it is part of the interpreter";
        if (handle) /* never closed: the table points into it */
            rc = try_candidate(st, find_loaded, handle, source_id, &why);
    }
    if (rc == 0 && !PyErr_Occurred() && note(tried, way, why) == 0) {
        way = "our own file loaded as an extension of SQLite";
        why = "this Python cannot load extensions";
        if (load_own_file(st)) {
            union {
                const sqlite3_api_routines *constant;
                void *arg;
            } api = {.constant = routines};
            rc = try_candidate(st, find_routine, api.arg, source_id, &why);
        }
    }
    if (rc == 0 && !PyErr_Occurred() && note(tried, way, why) == 0) {
        PyObject *separator = PyUnicode_FromString("; ");
        PyObject *all = separator ? PyUnicode_Join(separator, tried) : NULL;
        if (all)
            PyErr_Format(
                PyExc_ImportError,
                "looplite cannot reach the SQLite of this Python's sqlite3 module (%U): use a Python whose "
                "sqlite3 module is linked with a shared SQLite of 3.34.1 or newer, or which has "
                "sqlite3.Connection.enable_load_extension",
                all);
        Py_XDECREF(separator);
        Py_XDECREF(all);
    }
    if (rc == 1) {
        st->sqlite_way = PyUnicode_FromFormat("SQLite %s in %s", lp_sq.libversion(), way);
        result = st->sqlite_way ? 0 : -1;
    }
out:
    Py_XDECREF(tried);
    Py_XDECREF(id);
    return result;
}
