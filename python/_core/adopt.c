/* adopt.c: opening the interpreter's own sqlite3.Connection and taking its handle.
 *
 * Why: conn._conn then *is* a sqlite3.Connection. isinstance, backup in both directions, user
 * functions, blobs, limits and dumps are the real thing with the real messages, and only what is hot
 * (statements, fetching, transactions) runs in the core on the same handle.
 *
 * How: the core calls opener_open() on a worker, or on the loop when it finds that nothing has to be waited for
 * (src/engine/open_here.c; `path` says what it may look at). It takes the GIL, arms the slot of its thread, and
 * calls sqlite3.connect() with the user's arguments. SQLite runs every auto-extension inside
 * sqlite3_open(), in the same thread; ours notes the handle in the slot if the slot of that thread is
 * armed, and is a no-op in all other threads. It never fails, never touches Python, and is registered
 * again before each connect (SQLite ignores the second time), since anybody may reset the list.
 *
 * Which of the noted handles is the connection's: a factory may open others on the side, or open twice.
 * CPython keeps the handle as the first member behind the object's head. That is no documented
 * layout, so it is tried once at import, on a memory connection, open and closed; where it fails,
 * exactly one handle must have been noted. If connect raised, none of the noted handles is touched:
 * they may be freed already.
 *
 * Paths: a plain path becomes a URI that names our VFS: "file:" (and "//" before an absolute path, for
 * a path may begin with two slashes), every byte that is not unreserved percent-encoded, then
 * "?vfs=...". A user's URI gets the parameter added unless it names a VFS itself. Memory and temporary
 * databases stay as they are: nothing of them is a file, and a shared memory database is found by its
 * name *and* its VFS.
 *
 * Exit: PyGILState_Ensure() ends a thread that calls it while the interpreter goes. The atexit hook
 * (module.c) therefore ends the workers while Python is whole; after it `gone` is set and whatever
 * comes late leaves Python alone, leaking what it holds.
 *
 * A worker keeps its PyThreadState from its first open until it leaves, by one PyGILState_Ensure() that a
 * thread-specific destructor takes back: making one each time costs more than the rest of an open
 * and close, and every one that is made runs into what tracemalloc.stop() frees without a lock (CPython
 * gh-128679).
 *
 * Reference counts: the core has one reference to the opener from lp_opener_adopt() until release,
 * the Connection has another. The opener knows neither of them, so there is no cycle. */
#include "adopt.h"

#include "guarded.h"
#include "sqlite_table.h"
#include "thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum {
    SLOT_HANDLES = 8
};

/* Handles that this thread has opened since the slot was armed. */
static _Thread_local struct {
    int armed, count;
    sqlite3 *handles[SLOT_HANDLES];
} slot;

/* Process-wide: set once by the atexit hook (release), read by workers before they touch Python
 * (acquire). */
static atomic_bool gone;

/* Process-wide, written at import: a sqlite3.Connection begins with its handle. */
static bool head_is_handle;

/* Process-wide, written at import: this SQLite was built with SQLITE_USE_URI, so every name that begins
 * with "file:" is a URI, asked or not. */
static bool uris_always;

struct lp_opener {
    /* fixed after creation */
    lp_state *st;
    PyObject *module; /* keeps st alive */
    PyObject *arguments, *keywords;
    PyObject *path; /* bytes: what ll_adopt.path says; NULL: nothing */

    /* GIL */
    size_t references;
    PyObject *connection; /* the sqlite3.Connection, while it is open */
    lp_link *link;        /* its link, if it has one */
    PyObject *error;      /* what open or close raised */
    PyObject *thread;     /* what conn._thread shows; NULL: nobody has asked for it */
    unsigned long worker; /* the thread that opened it; 0 before */
    bool over;            /* closed, or never opened */
};

/* ---- workers and Python ------------------------------------------------------------------------ */

/* Process-wide, made at import: its destructor runs when a thread that has entered Python ends. */
static pthread_key_t entered;

/* Gives back the thread state that lp_worker_enter() kept. Python's own key may have been cleared by now, so
 * PyGILState_* no longer knows this thread. */
static void thread_leaves(void *kept)
{
    if (atomic_load_explicit(&gone, memory_order_acquire))
        return;
    PyThreadState *state = kept;
    PyEval_RestoreThread(state);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
}

bool lp_worker_enter(PyGILState_STATE *ret_gil)
{
    if (atomic_load_explicit(&gone, memory_order_acquire))
        return false;
    bool first = PyGILState_GetThisThreadState() == NULL;
    *ret_gil = PyGILState_Ensure();
    if (first && pthread_setspecific(entered, PyThreadState_Get()) == 0)
        (void)PyGILState_Ensure(); /* kept until the thread ends */
    return true;
}

/* ---- the slot ---------------------------------------------------------------------------------- */

/* The auto-extension. Runs in any thread of the process, without the GIL. */
static int on_open(sqlite3 *db, const char **error, const struct sqlite3_api_routines *api)
{
    (void)error;
    (void)api;
    if (slot.armed && slot.count < SLOT_HANDLES)
        slot.handles[slot.count++] = db;
    return SQLITE_OK;
}

static sqlite3 *head(PyObject *connection)
{
    sqlite3 *handle;
    memcpy(&handle, (const char *)connection + sizeof(PyObject), sizeof handle);
    return handle;
}

/* Calls connect() with the slot armed. */
static PyObject *connect_armed(lp_state *st, PyObject *arguments, PyObject *keywords)
{
    if (lp_sq.auto_extension((void (*)(void))on_open) != SQLITE_OK)
        return PyErr_NoMemory();
    slot.count = 0;
    slot.armed = 1;
    PyObject *connection = PyObject_Call(st->sqlite3.connect, arguments, keywords);
    slot.armed = 0;
    return connection;
}

/* The handle of what connect_armed() returned; NULL if it cannot be told, maybe with an exception. */
static sqlite3 *handle_of(lp_state *st, PyObject *connection)
{
    if (PyObject_IsInstance(connection, st->sqlite3.Connection) != 1)
        return NULL;
    if (!head_is_handle)
        return slot.count == 1 ? slot.handles[0] : NULL;
    sqlite3 *handle = head(connection);
    for (int i = 0; i < slot.count; i++)
        if (slot.handles[i] == handle)
            return handle;
    return NULL;
}

int lp_adopt_init(PyObject *module, lp_state *st)
{
    (void)module;
    static atomic_bool made;
    if (!atomic_exchange(&made, true) && pthread_key_create(&entered, thread_leaves) != 0) {
        PyErr_NoMemory();
        return -1;
    }
    PyObject *arguments = Py_BuildValue("(s)", ":memory:");
    PyObject *connection = arguments ? connect_armed(st, arguments, NULL) : NULL;
    Py_XDECREF(arguments);
    if (!connection)
        return -1;
    PyObject *options = PyObject_CallMethod(connection, "execute", "s",
                                            "SELECT sqlite_compileoption_used('USE_URI')");
    PyObject *row = options ? PyObject_CallMethod(options, "fetchone", NULL) : NULL;
    uris_always = row && PyObject_IsTrue(PyTuple_GET_ITEM(row, 0)) == 1;
    Py_XDECREF(row);
    Py_XDECREF(options);
    PyErr_Clear();
    bool same = Py_TYPE(connection)->tp_basicsize >=
                    (Py_ssize_t)(sizeof(PyObject) + sizeof(void *)) &&
                slot.count == 1 && head(connection) == slot.handles[0];
    PyObject *closed = PyObject_CallMethodNoArgs(connection, st->names.close);
    if (closed)
        head_is_handle = same && head(connection) == NULL;
    Py_XDECREF(closed);
    Py_DECREF(connection);
    return closed ? 0 : -1;
}

void lp_adopt_exit(void)
{
    atomic_store_explicit(&gone, true, memory_order_release);
}

/* ---- paths ------------------------------------------------------------------------------------- */

static bool is_unreserved(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~' || c == '/';
}

/* "file:...?vfs=NAME" for the bytes of a path. */
static PyObject *uri_of_path(lp_state *st, PyObject *path)
{
    const unsigned char *bytes = (const unsigned char *)PyBytes_AS_STRING(path);
    Py_ssize_t size = PyBytes_GET_SIZE(path);
    const char *vfs = st->vfs_name;
    char *uri = PyMem_Malloc((size_t)size * 3 + strlen(vfs) + sizeof "file://?vfs=");
    if (!uri)
        return PyErr_NoMemory();
    char *at = uri;
    at += sprintf(at, "file:%s", size > 0 && bytes[0] == '/' ? "//" : "");
    for (Py_ssize_t i = 0; i < size; i++) {
        if (is_unreserved(bytes[i]))
            *at++ = (char)bytes[i];
        else
            at += sprintf(at, "%%%02X", bytes[i]);
    }
    at += sprintf(at, "?vfs=%s", vfs);
    PyObject *result = PyUnicode_DecodeASCII(uri, at - uri, NULL);
    PyMem_Free(uri);
    return result;
}

/* Whether the query of a URI has the parameter `key` (with its '='). */
static bool query_has(const char *query, const char *end, const char *key)
{
    size_t length = strlen(key);
    for (const char *at = query; at && at < end;) {
        if ((size_t)(end - at) >= length && memcmp(at, key, length) == 0)
            return true;
        at = memchr(at, '&', (size_t)(end - at));
        if (at)
            at++;
    }
    return false;
}

/* A user's own URI with our VFS, or as it is. `path` is bytes that begin with "file:". */
static PyObject *uri_of_uri(lp_state *st, PyObject *path)
{
    const char *uri = PyBytes_AS_STRING(path);
    size_t size = strcspn(uri, "#"); /* SQLite ignores the fragment */
    const char *end = uri + size;
    const char *query = memchr(uri, '?', size);
    size_t name = query ? (size_t)(query - uri) : size;
    bool memory = name == strlen("file:") || strncmp(uri, "file::memory:", 13) == 0 ||
                  (query && query_has(query + 1, end, "mode=memory"));
    if (memory || (query && query_has(query + 1, end, "vfs=")))
        return PyUnicode_DecodeFSDefaultAndSize(uri, PyBytes_GET_SIZE(path));
    PyObject *front = PyUnicode_DecodeFSDefaultAndSize(uri, (Py_ssize_t)size);
    PyObject *result = front ? PyUnicode_FromFormat("%U%cvfs=%s", front, query ? '&' : '?',
                                                    st->vfs_name)
                             : NULL;
    Py_XDECREF(front);
    return result;
}

PyObject *lp_database_text(PyObject *database)
{
    if (PyUnicode_Check(database))
        return Py_NewRef(database);
    if (PyBytes_Check(database))
        return PyUnicode_DecodeUTF8(PyBytes_AS_STRING(database), PyBytes_GET_SIZE(database), NULL);
    return PyObject_Str(database);
}

/* The argument for sqlite3.connect() and whether it is a URI. *ret_path: the file that it means, as bytes, empty
 * for one without a file; NULL for a URI of the user's, which may mean anything. */
static PyObject *target_of(lp_state *st, PyObject *database, bool uri, bool *ret_uri,
                           PyObject **ret_path)
{
    PyObject *path = NULL;
    *ret_uri = uri;
    *ret_path = NULL;
    /* Bytes need no UTF-8 here: the name goes to SQLite byte for byte. */
    bool is_path = PyBytes_Check(database) || PyObject_HasAttrString(database, "__fspath__");
    PyObject *text_of = is_path ? Py_NewRef(database) : lp_database_text(database);
    int converted = text_of ? PyUnicode_FSConverter(text_of, &path) : 0;
    Py_XDECREF(text_of);
    if (!converted)
        return NULL;
    const char *text = PyBytes_AS_STRING(path);
    PyObject *result;
    if ((uri || uris_always) && strncmp(text, "file:", 5) == 0) {
        *ret_uri = true;
        result = uri_of_uri(st, path);
    } else if (text[0] == '\0' || strcmp(text, ":memory:") == 0) {
        result = PyUnicode_FromString(text);
        *ret_path = PyBytes_FromString("");
    } else {
        *ret_uri = true;
        result = uri_of_path(st, path);
        *ret_path = Py_NewRef(path);
    }
    Py_DECREF(path);
    if (PyErr_Occurred()) {
        Py_CLEAR(result);
        Py_CLEAR(*ret_path);
    }
    return result;
}

/* ---- the opener -------------------------------------------------------------------------------- */

/* Whether connect() runs nothing but SQLite's opening: no class of the user's, and no BEGIN. */
static bool is_plain(lp_state *st, PyObject *keywords)
{
    PyObject *factory = PyDict_GetItemString(keywords, "factory");
    PyObject *autocommit = PyDict_GetItemWithError(keywords, st->names.autocommit);
    bool plain = (!factory || factory == st->sqlite3.Connection ||
                  factory == (PyObject *)st->guarded_type) &&
                 autocommit != Py_False;
    if (PyErr_Occurred()) {
        PyErr_Clear();
        plain = false;
    }
    return plain;
}

/* What the core has to know of the keywords. Wrong types are left for sqlite3.connect() to refuse. */
static void read_options(lp_state *st, PyObject *keywords, ll_open_options *options)
{
    memset(options, 0, sizeof *options);
    PyObject *timeout = PyDict_GetItemWithError(keywords, st->names.timeout);
    double seconds = timeout ? PyFloat_AsDouble(timeout) : 5.0;
    if (!PyErr_Occurred()) {
        if (!(seconds > 0))
            options->busy_timeout_ns = LL_NO_BUSY_TIMEOUT;
        else if (seconds > 1e9)
            options->busy_timeout_ns = UINT64_C(1000000000000000000);
        else
            options->busy_timeout_ns = (uint64_t)(seconds * 1e9);
    }
    PyErr_Clear();
    PyObject *cached = PyDict_GetItemString(keywords, "cached_statements");
    if (cached && PyLong_Check(cached)) {
        Py_ssize_t count = PyLong_AsSsize_t(cached);
        options->cached_statements = count > 0 ? (size_t)count : 1; /* 0 would mean the default */
    }
    PyErr_Clear();
}

lp_opener *lp_opener_new(PyObject *module, lp_state *st, PyObject *database, PyObject *kwargs,
                         ll_open_options *ret_options)
{
    PyObject *keywords = kwargs ? PyDict_Copy(kwargs) : PyDict_New();
    PyObject *target = NULL, *arguments = NULL, *path = NULL, *factory = NULL;
    lp_opener *opener = NULL;
    if (!keywords)
        return NULL;
    PyObject *wanted = PyDict_GetItemWithError(keywords, st->names.uri);
    int uri = wanted ? PyObject_IsTrue(wanted) : 0;
    bool is_uri;
    if (uri < 0 || PyErr_Occurred())
        goto out;
    target = target_of(st, database, uri != 0, &is_uri, &path);
    if (!target || PyDict_SetItem(keywords, st->names.uri, is_uri ? Py_True : Py_False) < 0 ||
        PyDict_SetItem(keywords, st->names.check_same_thread, Py_False) < 0)
        goto out;
    factory = lp_guarded_class(st, PyDict_GetItemString(keywords, "factory"));
    arguments = PyTuple_Pack(1, target);
    if (!arguments || (factory && PyDict_SetItemString(keywords, "factory", factory) < 0))
        goto out;
    opener = PyMem_Calloc(1, sizeof *opener);
    if (!opener) {
        PyErr_NoMemory();
        goto out;
    }
    read_options(st, keywords, ret_options);
    /* One mutex for all connections of a shared cache: a worker may hold it while it waits for the GIL,
     * which the loop's thread has. */
    const char *text = PyUnicode_AsUTF8(target);
    if (!text)
        PyErr_Clear(); /* a name with bytes that are no UTF-8: to be on the safe side */
    if (!text || (is_uri && strstr(text, "cache=shared")))
        ret_options->flags |= LL_OPEN_SHARED_CACHE;
    if (!factory) /* what is registered with it directly is not noticed */
        ret_options->flags |= LL_OPEN_NO_INLINE;
    opener->st = st;
    opener->module = Py_NewRef(module);
    opener->arguments = Py_NewRef(arguments);
    opener->keywords = Py_NewRef(keywords);
    if (is_plain(st, keywords))
        opener->path = Py_XNewRef(path);
    opener->references = 1;
out:
    Py_XDECREF(path);
    Py_XDECREF(factory);
    Py_XDECREF(arguments);
    Py_XDECREF(target);
    Py_DECREF(keywords);
    return opener;
}

void lp_opener_unref(lp_opener *opener)
{
    if (!opener || --opener->references > 0)
        return;
    Py_XDECREF(opener->connection);
    Py_XDECREF((PyObject *)opener->link);
    Py_XDECREF(opener->error);
    Py_XDECREF(opener->path);
    Py_XDECREF(opener->thread);
    Py_DECREF(opener->arguments);
    Py_DECREF(opener->keywords);
    Py_DECREF(opener->module);
    PyMem_Free(opener);
}

PyObject *lp_opener_connection(const lp_opener *opener)
{
    return opener->connection;
}

lp_link *lp_opener_link(const lp_opener *opener)
{
    return opener->link;
}

int lp_opener_raise(lp_opener *opener)
{
    if (!opener->error)
        return 0;
    PyObject *exc = opener->error;
    opener->error = NULL;
    lp_exc_give(exc);
    return 1;
}

void lp_opener_watch(lp_opener *opener, PyObject *thread)
{
    Py_XSETREF(opener->thread, Py_NewRef(thread));
    if (opener->worker)
        lp_thread_opened(thread, opener->worker);
    if (opener->over)
        lp_thread_tell(thread, "end");
}

/* Nothing is open any more. */
static void over(lp_opener *opener)
{
    opener->over = true;
    if (opener->thread)
        lp_thread_tell(opener->thread, "end");
}

PyObject *lp_opener_open_one(lp_opener *opener, sqlite3 **ret_db)
{
    lp_state *st = opener->st;
    PyObject *connection = connect_armed(st, opener->arguments, opener->keywords);
    *ret_db = connection ? handle_of(st, connection) : NULL;
    if (connection && !*ret_db) {
        if (!PyErr_Occurred())
            PyErr_Format(
                st->sqlite3.NotSupportedError,
                "looplite cannot use a connection of type %s: it is no sqlite3.Connection that "
                "sqlite3.connect() opened",
                Py_TYPE(connection)->tp_name);
        Py_CLEAR(connection);
    }
    return connection;
}

void lp_opener_discard(lp_state *st, PyObject *connection)
{
    PyObject *exc = lp_exc_take();
    Py_XDECREF(PyObject_CallMethodNoArgs(connection, st->names.close));
    PyErr_Clear();
    Py_DECREF(connection);
    lp_exc_give(exc);
}

/* Opens; with the GIL. */
static int open_with_python(lp_opener *opener, sqlite3 **ret_db)
{
    Py_CLEAR(opener->error); /* of the loop's try, which counts for nothing */
    opener->connection = lp_opener_open_one(opener, ret_db);
    if (opener->connection) {
        opener->link = lp_guarded_link(opener->st, opener->connection);
        if (!PyErr_Occurred())
            return SQLITE_OK;
        lp_opener_discard(opener->st, opener->connection);
        opener->connection = NULL;
    }
    opener->error = lp_exc_take();
    return SQLITE_ERROR;
}

/* ll_adopt.open: on a worker or a loop. */
static int opener_open(void *arg, sqlite3 **ret_db, char **ret_message)
{
    (void)ret_message; /* the exception is kept whole instead */
    PyGILState_STATE gil;
    if (!lp_worker_enter(&gil))
        return SQLITE_INTERRUPT;
    lp_opener *opener = arg;
    int rc = open_with_python(opener, ret_db);
    opener->worker = PyThread_get_thread_ident();
    if (opener->thread)
        lp_thread_opened(opener->thread, opener->worker);
    if (rc != SQLITE_OK)
        over(opener);
    PyGILState_Release(gil);
    return rc;
}

/* ll_adopt.close: on a worker or a loop, our statements are finalized. */
static int opener_close(void *arg, sqlite3 *db)
{
    (void)db;
    lp_opener *opener = arg;
    PyGILState_STATE gil;
    if (!lp_worker_enter(&gil))
        return SQLITE_INTERRUPT;
    int rc = SQLITE_OK;
    PyObject *connection = opener->connection;
    lp_link *link = opener->link;
    opener->connection = NULL;
    opener->link = NULL;
    if (link) /* it is used directly by nobody any more (ll_conn_enter()), and shall not close itself */
        lp_link_end(link);
    PyObject *closed = PyObject_CallMethodNoArgs(connection, opener->st->names.close);
    if (!closed) {
        Py_XSETREF(opener->error, lp_exc_take());
        rc = SQLITE_ERROR;
    }
    if (link)
        link->closed = true;
    Py_XDECREF((PyObject *)link);
    Py_XDECREF(closed);
    Py_DECREF(connection);
    over(opener);
    PyGILState_Release(gil);
    return rc;
}

/* ll_adopt.release: on any thread, with or without the GIL. */
static void opener_release(void *arg)
{
    PyGILState_STATE gil;
    if (!lp_worker_enter(&gil))
        return;
    over(arg);
    lp_opener_unref(arg);
    PyGILState_Release(gil);
}

ll_adopt lp_opener_adopt(lp_opener *opener)
{
    opener->references++;
    return (ll_adopt){
        .open = opener_open,
        .close = opener_close,
        .release = opener_release,
        .arg = opener,
        .path = opener->path ? PyBytes_AS_STRING(opener->path) : NULL,
    };
}
