/* errors.c: which exception an error of the core becomes.
 *
 * The classes are sqlite3's own, so that `except sqlite3.IntegrityError` needs no change, and the
 * choice follows CPython's _sqlite: by SQLite's primary result code, with the extended code and its
 * name as attributes from Python 3.11 on. Errors that SQLite never saw (wrong parameters, two
 * statements, a closed connection) get the class and the words of the running Python's sqlite3; where
 * its versions differ, so do we.
 *
 * A parameter that could not be converted was submitted as LL_REFUSED with the text of its exception:
 * the core fails with that text if the statement uses the parameter, and the exception itself is found
 * again by it (convert.c). */
#include "errors.h"

#include <looplite/sqlite.h>
#include <string.h>

/* clang-format off */
#define CODES(X)                                                                                  \
    X(ABORT) X(ABORT_ROLLBACK) X(AUTH) X(AUTH_USER) X(BUSY) X(BUSY_RECOVERY) X(BUSY_SNAPSHOT)     \
    X(BUSY_TIMEOUT) X(CANTOPEN) X(CANTOPEN_CONVPATH) X(CANTOPEN_DIRTYWAL) X(CANTOPEN_FULLPATH)    \
    X(CANTOPEN_ISDIR) X(CANTOPEN_NOTEMPDIR) X(CANTOPEN_SYMLINK) X(CONSTRAINT)                     \
    X(CONSTRAINT_CHECK) X(CONSTRAINT_COMMITHOOK) X(CONSTRAINT_DATATYPE) X(CONSTRAINT_FOREIGNKEY)  \
    X(CONSTRAINT_FUNCTION) X(CONSTRAINT_NOTNULL) X(CONSTRAINT_PINNED) X(CONSTRAINT_PRIMARYKEY)    \
    X(CONSTRAINT_ROWID) X(CONSTRAINT_TRIGGER) X(CONSTRAINT_UNIQUE) X(CONSTRAINT_VTAB) X(CORRUPT)  \
    X(CORRUPT_INDEX) X(CORRUPT_SEQUENCE) X(CORRUPT_VTAB) X(EMPTY) X(ERROR)                        \
    X(ERROR_MISSING_COLLSEQ) X(ERROR_RETRY) X(ERROR_SNAPSHOT) X(FORMAT) X(FULL) X(INTERNAL)       \
    X(INTERRUPT) X(IOERR) X(IOERR_ACCESS) X(IOERR_AUTH) X(IOERR_BEGIN_ATOMIC) X(IOERR_BLOCKED)    \
    X(IOERR_CHECKRESERVEDLOCK) X(IOERR_CLOSE) X(IOERR_COMMIT_ATOMIC) X(IOERR_CONVPATH)            \
    X(IOERR_CORRUPTFS) X(IOERR_DATA) X(IOERR_DELETE) X(IOERR_DELETE_NOENT) X(IOERR_DIR_CLOSE)     \
    X(IOERR_DIR_FSYNC) X(IOERR_FSTAT) X(IOERR_FSYNC) X(IOERR_GETTEMPPATH) X(IOERR_LOCK)           \
    X(IOERR_MMAP) X(IOERR_NOMEM) X(IOERR_RDLOCK) X(IOERR_READ) X(IOERR_ROLLBACK_ATOMIC)           \
    X(IOERR_SEEK) X(IOERR_SHMLOCK) X(IOERR_SHMMAP) X(IOERR_SHMOPEN) X(IOERR_SHMSIZE)              \
    X(IOERR_SHORT_READ) X(IOERR_TRUNCATE) X(IOERR_UNLOCK) X(IOERR_VNODE) X(IOERR_WRITE)           \
    X(LOCKED) X(LOCKED_SHAREDCACHE) X(LOCKED_VTAB) X(MISMATCH) X(MISUSE) X(NOLFS) X(NOMEM)        \
    X(NOTADB) X(NOTFOUND) X(NOTICE) X(NOTICE_RECOVER_ROLLBACK) X(NOTICE_RECOVER_WAL)              \
    X(OK_LOAD_PERMANENTLY) X(OK_SYMLINK) X(PERM) X(PROTOCOL) X(RANGE) X(READONLY)                 \
    X(READONLY_CANTINIT) X(READONLY_CANTLOCK) X(READONLY_DBMOVED) X(READONLY_DIRECTORY)           \
    X(READONLY_RECOVERY) X(READONLY_ROLLBACK) X(SCHEMA) X(TOOBIG) X(WARNING)                      \
    X(WARNING_AUTOINDEX)
/* clang-format on */

#if PY_VERSION_HEX >= 0x030B0000
static const char *code_name(int code)
{
    switch (code) {
#    define X(name)     \
    case SQLITE_##name: \
        return "SQLITE_" #name;
        CODES(X)
#    undef X
    default:
        return "unknown";
    }
}
#endif

/* As get_exception_class() of CPython's _sqlite. Borrowed. */
static PyObject *class_of_code(lp_state *st, int code)
{
    switch (code & 0xff) {
    case SQLITE_INTERNAL:
    case SQLITE_NOTFOUND:
        return st->sqlite3.InternalError;
    case SQLITE_NOMEM:
        return PyExc_MemoryError;
    case SQLITE_ERROR:
    case SQLITE_PERM:
    case SQLITE_ABORT:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_READONLY:
    case SQLITE_INTERRUPT:
    case SQLITE_IOERR:
    case SQLITE_FULL:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
    case SQLITE_EMPTY:
    case SQLITE_SCHEMA:
        return st->sqlite3.OperationalError;
    case SQLITE_TOOBIG:
        return st->sqlite3.DataError;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
        return st->sqlite3.IntegrityError;
#if PY_VERSION_HEX >= 0x030B0000
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
        return st->sqlite3.InterfaceError;
#else
    case SQLITE_MISUSE:
        return st->sqlite3.ProgrammingError;
#endif
    default:
        return st->sqlite3.DatabaseError;
    }
}

/* Sets an exception of `type` with SQLite's code as attributes, as Python 3.11 and newer do. */
static void raise_with_code(lp_state *st, PyObject *type, int code, const char *message)
{
    if (type == PyExc_MemoryError) {
        PyErr_NoMemory();
        return;
    }
    PyErr_SetString(type, message);
#if PY_VERSION_HEX >= 0x030B0000
    if (code == 0)
        return;
    PyObject *exc = lp_exc_take();
    PyObject *number = PyLong_FromLong(code);
    PyObject *name = PyUnicode_FromString(code_name(code));
    if (exc && number && name && PyObject_SetAttr(exc, st->names.sqlite_errorcode, number) == 0 &&
        PyObject_SetAttr(exc, st->names.sqlite_errorname, name) == 0)
        lp_exc_give(Py_NewRef(exc));
    Py_XDECREF(number);
    Py_XDECREF(name);
    Py_XDECREF(exc);
#else
    (void)st;
    (void)code;
#endif
}

/* The classes that the versions of sqlite3 chose differently. Borrowed. */
static PyObject *class_of_statements(lp_state *st)
{
#if PY_VERSION_HEX >= 0x030B0000
    return st->sqlite3.ProgrammingError;
#else
    return st->sqlite3.Warning;
#endif
}

void lp_raise_closed_database(lp_state *st)
{
    PyErr_SetString(st->sqlite3.ProgrammingError, "Cannot operate on a closed database.");
}

void lp_raise_no_connection(void)
{
    PyErr_SetString(PyExc_ValueError, "no active connection");
}

void lp_raise_connection_closed(void)
{
    PyErr_SetString(PyExc_ValueError, "Connection closed");
}

/* An exception of looplite.exceptions, which the layers of pools raise. */
static void raise_ours(lp_state *st, const char *name, int code, const char *message)
{
    PyObject *module = PyImport_ImportModule("looplite.exceptions");
    PyObject *type = module ? PyObject_GetAttrString(module, name) : NULL;
    if (type)
        raise_with_code(st, type, code, message);
    Py_XDECREF(type);
    Py_XDECREF(module);
}

void lp_raise_pool_closed(void)
{
    PyObject *module = PyImport_ImportModule("looplite.exceptions");
    PyObject *type = module ? PyObject_GetAttrString(module, "PoolClosedError") : NULL;
    if (type)
        PyErr_SetString(type, "the pool is closed");
    Py_XDECREF(type);
    Py_XDECREF(module);
}

/* Says in the exception that is set where the fault stands in the SQL: exc.looplite_offset, in bytes of its UTF-8. Set
 * where SQLite tells (3.38 and newer); sqlite3 has no such attribute. */
static void add_offset(lp_state *st, int offset)
{
    if (offset < 0)
        return;
    PyObject *exc = lp_exc_take();
    PyObject *number = PyLong_FromLong(offset);
    if (exc && number && PyObject_SetAttr(exc, st->names.looplite_offset, number) == 0)
        lp_exc_give(Py_NewRef(exc));
    Py_XDECREF(number);
    Py_XDECREF(exc);
}

/* The one translation; `refused` raises by itself if the error is its doing. */
static void raise_error(lp_state *st, const ll_error *error, const lp_params *params)
{
    const char *message = error->message;
    switch (error->status) {
    case LL_ENOMEM:
        PyErr_NoMemory();
        return;
    case LL_EBUSY:
        raise_with_code(st, st->sqlite3.OperationalError,
                        error->sqlite_code ? error->sqlite_code : SQLITE_BUSY, message);
        return;
    case LL_ESQL:
        raise_with_code(st, class_of_code(st, error->sqlite_code), error->sqlite_code, message);
        add_offset(st, error->sql_offset);
        return;
    case LL_EPARAM:
        if (params && lp_params_raise(params, message))
            return;
        PyErr_SetString(st->sqlite3.ProgrammingError, message);
        return;
    case LL_ESTATEMENTS:
        PyErr_SetString(class_of_statements(st), "You can only execute one statement at a time.");
        return;
    case LL_ECLOSED:
        lp_raise_closed_database(st);
        return;
    case LL_EEXHAUSTED:
        raise_ours(st, "PoolExhaustedError", 0, message);
        return;
    case LL_EABORTED:
        raise_ours(st, "TransactionAbortedError", 0, message);
        return;
    case LL_ETIMEOUT: /* only pools have a time after which statements are stopped */
        raise_ours(st, "QueryTimeoutError", SQLITE_INTERRUPT, message);
        return;
    case LL_ECANCELLED: /* the program's own interrupt or close ended it */
        raise_with_code(st, st->sqlite3.OperationalError, SQLITE_INTERRUPT, "interrupted");
        return;
    case LL_EFORK:
        PyErr_SetString(st->sqlite3.ProgrammingError,
                        "this connection was opened before fork() and cannot be used in the child "
                        "process; open a new one");
        return;
    case LL_ESYS:
        PyErr_SetString(st->sqlite3.OperationalError, message);
        return;
    default:
        PyErr_SetString(st->sqlite3.ProgrammingError, message);
        return;
    }
}

void lp_raise_request(lp_state *st, const ll_request *request, const lp_params *params)
{
    raise_error(st, ll_request_error(request), params);
}

void lp_raise_refused(lp_state *st, ll_status status)
{
    ll_error error = {.status = status, .message = ll_last_error(), .sql_offset = -1};
    if (status == LL_ESQL)
        error.sqlite_code = SQLITE_ERROR;
    raise_error(st, &error, NULL);
}
