/* state.h: what the files of the extension share.
 *
 * Names: lp_* belongs to the extension and is not exported; ll_* is the public interface of the core,
 * the only one used here.
 *
 * Layers inside the extension, lowest first; each includes itself and what stands above it:
 *
 *   compat.h spare.h  differences between the versions of CPython; objects kept for the next call
 *   state.h module.c  the state of the module, in which every Python object that is shared lives
 *   sqlite_table.c    the interpreter's own SQLite            errors.c   ll_error -> sqlite3's exceptions
 *   adopt.c           the handle of a sqlite3.Connection      convert.c  Python values -> parameters
 *   running.c loop.c  one engine per event loop               decode.c   values -> Python rows
 *   awaitable.c       the one awaitable
 *   aconn.c aopen.c   Connection, and how it is opened
 *   acursor.c         Cursor; execute.c runs statements, fetch.c reads rows
 *
 * Threads: everything runs with the GIL held, which is what "GIL" in the comments of fields means. The
 * only code that runs without it is the auto-extension of adopt.c. */
#ifndef LP_STATE_H
#define LP_STATE_H

#include "compat.h"
#include "spare.h"

#include <looplite.h>
#include <stdint.h>

/* Strings that are used as names of attributes and methods, interned once. */
#define LP_NAMES(X)                   \
    X(__asyncio_running_event_loop__) \
    X(_asyncio_future_blocking)       \
    X(_turn)                          \
    X(add_reader)                     \
    X(autocommit)                     \
    X(call_soon)                      \
    X(check_same_thread)              \
    X(close)                          \
    X(commit)                         \
    X(create_future)                  \
    X(cursor)                         \
    X(database)                       \
    X(description)                    \
    X(detect_types)                   \
    X(dispatch)                       \
    X(done)                           \
    X(execute)                        \
    X(in_transaction)                 \
    X(interrupt)                      \
    X(is_closed)                      \
    X(isolation_level)                \
    X(keys)                           \
    X(looplite_outcome)               \
    X(remove_reader)                  \
    X(row_factory)                    \
    X(set_result)                     \
    X(sqlite_errorcode)               \
    X(sqlite_errorname)               \
    X(text_factory)                   \
    X(timeout)                        \
    X(total_changes)                  \
    X(uri)

/* Classes and functions of the sqlite3 module, under their own names. */
#define LP_SQLITE3(X)    \
    X(Warning)           \
    X(Error)             \
    X(InterfaceError)    \
    X(DatabaseError)     \
    X(DataError)         \
    X(OperationalError)  \
    X(IntegrityError)    \
    X(InternalError)     \
    X(ProgrammingError)  \
    X(NotSupportedError) \
    X(Connection)        \
    X(Cursor)            \
    X(Row)               \
    X(PrepareProtocol)   \
    X(adapt)             \
    X(adapters)          \
    X(connect)           \
    X(converters)

typedef struct lp_call lp_call;
typedef struct lp_loop lp_loop;

typedef struct lp_state {
    /* fixed after the module was executed */
    PyTypeObject *call_type, *ready_type, *loop_type, *conn_type, *cursor_type, *rows_type,
        *connector_type;
    struct {
#define X(name) PyObject *name;
        LP_SQLITE3(X)
#undef X
    } sqlite3;
    struct {
#define X(name) PyObject *name;
        LP_NAMES(X)
#undef X
    } names;
    PyObject *cancelled_error;  /* asyncio.CancelledError */
    PyObject *get_running_loop; /* asyncio's own, that gives None instead of raising */
    Py_ssize_t row_factory_at, text_factory_at; /* in a sqlite3.Connection; 0: not known */
    PyObject *empty_tuple;
    PyObject *sqlite_way; /* how SQLite was found, for bug reports */
    const char *vfs_name;

    /* GIL: sqlite3's adapters (adapters.h) */
    uint64_t adapters_seen; /* the change that was looked at last */
    int bases_adapted;      /* what was found then */

    /* GIL */
    lp_spares calls, cursors;  /* kept for the next ones */
    PyTypeObject *holder_type; /* of what holds the running loop (running.c), or NULL */
    PyObject *loops;           /* dict: id(loop) -> lp_loop */
    PyObject *shapes; /* dict: tuple of column names -> a sqlite3.Cursor with that description */
    PyObject *memory; /* the sqlite3.Connection to ":memory:" behind these cursors, or NULL */
    ll_engine *root;  /* every connection belongs to it; its workers serve all loops */
    lp_call *orphans; /* calls whose loop is gone while a worker still reads their memory */
    uint64_t loops_epoch;  /* counts up when a loop's entry goes: ends the cache of each thread */
    struct lp_conn *conns; /* the open connections */
    uint64_t generation;   /* counts up in the child of a fork */
    int exiting;           /* the atexit hook has run: nothing is submitted any more */
} lp_state;

extern struct PyModuleDef lp_module;

/* The state behind a type of ours or one derived from it; NULL with an exception. */
static inline lp_state *lp_state_of(PyTypeObject *type)
{
    PyObject *module = lp_type_module(type, &lp_module);
    return module ? PyModule_GetState(module) : NULL;
}

/* Each makes its type(s) and puts them into the state (and, if public, into the module). 0 or -1. */
int lp_awaitable_init(PyObject *module, lp_state *st);
int lp_loop_init(PyObject *module, lp_state *st);
int lp_adopt_init(PyObject *module, lp_state *st);
int lp_conn_init(PyObject *module, lp_state *st);
int lp_cursor_init(PyObject *module, lp_state *st);

/* Finds the interpreter's SQLite and hands it to the core; sets st->sqlite_way. 0, or -1 with an
 * ImportError that names what was tried. */
int lp_sqlite_table_fill(lp_state *st);

#endif
