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
 *   sniff.c           text as times and UUIDs                 typed.c    type adapters: values by their types
 *   adopt.c           the handle of a sqlite3.Connection      convert.c  Python values -> parameters
 *   running.c loop.c  one engine per event loop               decode.c   values -> Python rows
 *   helper.c          a thread for loops without add_reader()
 *   hook.c            who is told of statements
 *   awaitable.c       the one awaitable          pending.c  its requests      trio.c  waiting as trio wants it
 *   aconn.c aopen.c   Connection, and how it is opened
 *   callback.c        the program's callables that SQLite calls
 *   guarded.c         the sqlite3.Connection, used directly
 *   guarded_state.c   ... its in_transaction and total_changes
 *   work.c            the program's own Python code on a connection's worker
 *   acursor.c         Cursor; execute.c runs statements, fetch.c reads rows
 *   method.c          methods that pass for coroutine functions
 *   generic.c         connections that are none of ours, and replaced methods: through Python (delegate.c)
 *   shell.c           the private names of aiosqlite
 *   fetched.c         whole results, for sessions
 *   arrow.c           results by the Arrow PyCapsule interface
 *   arrow_load.c      Connection.load_from_arrow()
 *   hub.c             how the connections of a pool are opened
 *   pool.c lease.c    pools, and connections of them
 *   group.c           writes that share commits
 *   adk.c             statements and records of the ADK store
 *
 * Threads: everything runs with the GIL held, which is what "GIL" in the comments of fields means. The
 * only code that runs without it is the auto-extension of adopt.c. */
#ifndef LP_STATE_H
#define LP_STATE_H

#include "compat.h"
#include "spare.h"

#include <looplite.h>
#include <stdatomic.h>
#include <stdint.h>

/* Strings that are used as names of attributes and methods, interned once. */
#define LP_NAMES(X)                   \
    X(__asyncio_running_event_loop__) \
    X(_asyncio_future_blocking)       \
    X(_connect)                       \
    X(_execute)                       \
    X(_looplite)                      \
    X(_ready)                         \
    X(_scheduled)                     \
    X(_selector)                      \
    X(_task_factory)                  \
    X(_turn)                          \
    X(_when)                          \
    X(add_reader)                     \
    X(autocommit)                     \
    X(call_exception_handler)         \
    X(call_soon)                      \
    X(call_soon_threadsafe)           \
    X(check_same_thread)              \
    X(close)                          \
    X(commit)                         \
    X(connect)                        \
    X(connection)                     \
    X(create_future)                  \
    X(cursor)                         \
    X(database)                       \
    X(description)                    \
    X(detect_types)                   \
    X(dispatch)                       \
    X(done)                           \
    X(execute)                        \
    X(fetchmany)                      \
    X(fileno)                         \
    X(in_transaction)                 \
    X(interrupt)                      \
    X(is_closed)                      \
    X(isoformat)                      \
    X(isolation_level)                \
    X(keys)                           \
    X(looplite_offset)                \
    X(looplite_outcome)               \
    X(on_statement)                   \
    X(remove_reader)                  \
    X(row_factory)                    \
    X(set_result)                     \
    X(sqlite_errorcode)               \
    X(sqlite_errorname)               \
    X(stop)                           \
    X(text_factory)                   \
    X(timeout)                        \
    X(total_changes)                  \
    X(trio)                           \
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

/* What is used of trio, from looplite._trio; filled when trio was imported by somebody. The last one is the mark. */
#define LP_TRIO(X)                \
    X(FAILED)                     \
    X(SUCCEEDED)                  \
    X(cancel_shielded_checkpoint) \
    X(checkpoint)                 \
    X(current_effective_deadline) \
    X(current_task)               \
    X(current_trio_token)         \
    X(is_guest_task)              \
    X(reschedule)                 \
    X(reschedule_guest)           \
    X(wait_task_rescheduled)      \
    X(Host)

/* What is known of a class, as of one of its versions: which methods were replaced (generic.h). */
typedef struct lp_seen {
    const PyTypeObject *type;
    unsigned version, replaced;
} lp_seen;

enum {
    LP_ORIGINALS = 4
};

typedef struct lp_call lp_call;
typedef struct lp_loop lp_loop;

typedef struct lp_state {
    /* fixed after the module was executed */
    PyTypeObject *call_type, *ready_type, *loop_type, *conn_type, *cursor_type, *rows_type,
        *connector_type, *link_type, *callback_type, *guard_type, *looked_type, *guarded_type,
        *guarded_cursor_type, *blob_type, *dump_type, *statement_type, *method_type, *types_type,
        *fetched_type, *pool_type, *lease_type, *columns_type;
    PyObject *base_isolation_level,
        *base_autocommit; /* descriptors of sqlite3.Connection; NULL: it has none */
    PyObject *inside;     /* a context variable: which connections wait for who asks (callback.c) */
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
    struct {
#define X(name) PyObject *name;
        LP_TRIO(X)
#undef X
    } trio;                     /* GIL; NULL until it is needed */
    PyObject *cancelled_error;  /* asyncio.CancelledError */
    PyObject *get_running_loop; /* asyncio's own, that gives None instead of raising */
    PyObject *current_task;     /* asyncio's */
    uint64_t turns;             /* of all loops, begun so far */
    Py_ssize_t row_factory_at, text_factory_at; /* in a sqlite3.Connection; 0: not known */
    PyObject *empty_tuple;
    PyObject *originals[LP_ORIGINALS]; /* methods that others of ours go through (generic.c) */
    PyObject *sqlite3_module;
    PyObject *sqlite_way; /* how SQLite was found, for bug reports */
    const char *vfs_name;

    struct {
        PyObject *uuid, *decimal;       /* classes */
        PyObject *uuid_int, *uuid_safe; /* names of a UUID's slots */
        PyObject *uuid_unknown;         /* what the second one holds */
        bool uuid_slots;                /* one can be made by these (sniff.c) */
        bool ready;
    } classes; /* GIL; empty until type adapters are used */

    /* GIL: sqlite3's adapters (adapters.h) */
    uint64_t adapters_seen; /* the change that was looked at last */
    int bases_adapted;      /* what was found then */

    /* GIL */
    lp_seen seen_conn, seen_cursor;
    lp_spares calls, cursors;  /* kept for the next ones */
    PyTypeObject *holder_type; /* of what holds the running loop (running.c), or NULL */
    PyObject *loops;           /* dict: id(loop) -> lp_loop */
    PyObject *shapes; /* dict: tuple of column names -> a sqlite3.Cursor with that description */
    PyObject *memory; /* the sqlite3.Connection to ":memory:" behind these cursors, or NULL */
    ll_engine *root;  /* every connection belongs to it; its workers serve all loops */
    lp_call *orphans; /* calls whose loop is gone while a worker still reads their memory */
    uint64_t loops_epoch;  /* counts up when a loop's entry goes: ends the cache of each thread */
    struct lp_conn *conns; /* the open connections */
    struct lp_pool *pools; /* the pools */
    atomic_size_t
        loading; /* sources of load_from_arrow() that are not released; any thread, relaxed */
    struct lp_working *working; /* code of the program that workers are in */
    int has_callbacks;          /* the program has registered some (callback.c) */
    size_t awaited;             /* coroutines that workers wait for */
    uint64_t generation;        /* counts up in the child of a fork */
    PyObject *watch;            /* looplite.testing's: is told what is made and dropped; or NULL */
    int64_t stay_ns, stay_idle_ns; /* for how long a call stays for its answer (linger.c) */
    int exiting;                   /* the atexit hook has run: nothing is submitted any more */
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
int lp_arrow_load_init(PyObject *module, lp_state *st);

/* Tells st->watch, if there is one, what has happened to an object. */
void lp_watch_tell(lp_state *st, const char *what, PyObject *object);
static inline void lp_watch(lp_state *st, const char *what, PyObject *object)
{
    if (LP_UNLIKELY(st->watch != NULL))
        lp_watch_tell(st, what, object);
}

/* Finds the interpreter's SQLite and hands it to the core; sets st->sqlite_way. 0, or -1 with an
 * ImportError that names what was tried. */
int lp_sqlite_table_fill(lp_state *st);

#endif
