/* conn.h: connections: open, close, and the statements that need no handle. */
#ifndef LOOPLITE_CONN_H
#define LOOPLITE_CONN_H

#include <looplite/request.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A connection: requests to one database, carried out in their order. Counted. */
typedef struct ll_conn ll_conn;

/* `size` of a text argument that ends with a NUL. */
#define LL_NUL_TERMINATED ((size_t)-1)

/* Waits for locks for this long by default, as the sqlite3 module of Python does. */
#define LL_DEFAULT_BUSY_TIMEOUT_NS UINT64_C(5000000000)
#define LL_NO_BUSY_TIMEOUT         UINT64_MAX /* do not wait at all */

enum {
    LL_OPEN_READONLY = 1u << 0,  /* must exist, is never written */
    LL_OPEN_NO_CREATE = 1u << 1, /* must exist */
    LL_OPEN_URI = 1u << 2,       /* a path that begins with "file:" is a URI */
    LL_OPEN_NO_FOLLOW = 1u << 3, /* refuses a symbolic link */
    LL_OPEN_NO_INLINE =
        1u << 4, /* nothing of this connection runs on the loop itself; only such a one can
                                    map its file into memory (PRAGMA mmap_size) */
    LL_OPEN_SHARED_CACHE =
        1u << 5 /* it shares SQLite's cache with others that are opened so: nothing of
                                      it runs on the loop, and they take turns. The same as "cache=shared"
                                      in a URI; an adopted handle that is part of such a cache needs it. */
};

/* Zero-initialise; every zero means "the default". */
typedef struct ll_open_options {
    unsigned flags;             /* LL_OPEN_* */
    uint64_t busy_timeout_ns;   /* 0: LL_DEFAULT_BUSY_TIMEOUT_NS; LL_NO_BUSY_TIMEOUT: none */
    size_t cached_statements;   /* 0: 128 */
    const char *const *pragmas; /* "journal_mode=WAL", ...; run in order at open; NULL or ends with
                                   NULL. One that fails fails the open. */
    const char *vfs;            /* a VFS by name; NULL: looplite's, which wraps the default one */
} ll_open_options;

/* Opens a database on a worker. The handle may be used at once: what is submitted before the file
 * is open waits behind it, and fails with LL_ECLOSED if opening fails.
 * Thread: any. Owns: the caller gives the handle back with ll_conn_unref(). The path and the options
 * are copied. Errors: LL_EINVAL, LL_ENOMEM, LL_EFORK at once; the request: LL_ESQL with
 * SQLITE_CANTOPEN, SQLITE_NOTADB, ... Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_conn_open(ll_engine *engine, const char *path,
                                           const ll_open_options *options, const ll_submit *how,
                                           ll_conn **ret_conn, ll_request **ret_request);

/* Closes after everything that was submitted before; what comes later is refused with LL_ECLOSED.
 * Open cursors end, an open transaction is rolled back by SQLite. Cannot be cancelled. A second
 * close waits for the first and gives LL_OK. LL_OK at once: it is closed already, or an adopted one was closed
 * inside the call (ll_adopt.path).
 * Thread: any. Owns: nothing; the handle is still to be given back. Errors: LL_ENOMEM, LL_EFORK at
 * once. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_conn_close(ll_conn *conn, const ll_submit *how,
                                            ll_request **ret_request);

/* Gives the handle back. If the connection is open and nobody closed it, it closes by itself after
 * what was submitted before.
 * Thread: any. Owns: takes the caller's reference; NULL is fine. Errors: none. After fork: frees
 * nothing. Since: 0.1 */
LL_API void ll_conn_unref(ll_conn *conn);

/* One reference more.
 * Thread: any. Owns: the caller gives it back with ll_conn_unref(). Errors: none. Since: 0.1 */
LL_API ll_conn *ll_conn_ref(ll_conn *conn);

enum {
    LL_SQL_DISCARD = 1u << 0,   /* rows are stepped over, not kept */
    LL_SQL_STREAM = 1u << 1,    /* the first rows come with the request, a cursor gives the rest. A
                                 statement that writes is run to its end all the same, its rows kept. */
    LL_SQL_READ_ONLY = 1u << 2, /* refuse a statement that writes, with LL_EINVAL */
    LL_SQL_COLUMNS = 1u << 3    /* its batches keep columns instead of rows, for Arrow (arrow.h) */
};

/* When to open a transaction before a statement: never, or before INSERT, UPDATE, DELETE and REPLACE
 * when none is open (the "legacy transaction control" of Python's sqlite3). */
typedef enum ll_begin {
    LL_BEGIN_NONE = 0,
    LL_BEGIN_DEFERRED = 1,
    LL_BEGIN_IMMEDIATE = 2,
    LL_BEGIN_EXCLUSIVE = 3,
    LL_BEGIN_DEFAULT = 4 /* deferred; a trace shows plain "BEGIN ". Not for ll_txn_begin() */
} ll_begin;

/* One statement with all that can be said of it. Zero-initialise. */
typedef struct ll_sql {
    const char *text; /* UTF-8, one statement; a comment or nothing at all is fine */
    size_t size;      /* bytes, or LL_NUL_TERMINATED */
    ll_params params;
    unsigned flags;        /* LL_SQL_* */
    ll_begin begin_before; /* transaction to open before a DML statement */
    size_t first_rows;     /* LL_SQL_STREAM: at most this many rows with the answer; 0: 256. Fewer
                              come when they are large. */
} ll_sql;

/* Runs one statement as `sql` says: the full form of the three functions below.
 * Thread: any. Owns: the caller gives *ret_request back with ll_request_unref() (ret_request may be
 * NULL when there is a callback); text and parameters are copied unless LL_SUBMIT_BORROW. Errors: at
 * once LL_EINVAL (a NUL byte inside the text), LL_ECLOSED, LL_ENOMEM, LL_EFORK; of the request:
 * LL_ESQL, LL_EBUSY, LL_EPARAM, LL_ESTATEMENTS, LL_ETIMEOUT, LL_ECANCELLED. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_conn_submit(ll_conn *conn, const ll_sql *sql, const ll_submit *how,
                                             ll_request **ret_request);

/* Runs one statement for its effect; rows, if any, are dropped.
 * Thread: any. Owns: as ll_conn_submit(). Errors: as ll_conn_submit(). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_exec(ll_conn *conn, const char *sql, const ll_value *values,
                                      size_t count, const ll_submit *how, ll_request **ret_request);

/* Runs one statement and keeps all its rows: ll_request_take_batch() until NULL.
 * Thread: any. Owns: as ll_conn_submit(). Errors: as ll_conn_submit(). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_query(ll_conn *conn, const char *sql, const ll_value *values,
                                       size_t count, const ll_submit *how,
                                       ll_request **ret_request);

/* Runs one statement as a stream: the first rows come with the request, then
 * ll_request_take_cursor().
 * Thread: any. Owns: as ll_conn_submit(). Errors: as ll_conn_submit(). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_stream(ll_conn *conn, const char *sql, const ll_value *values,
                                        size_t count, const ll_submit *how,
                                        ll_request **ret_request);

/* The rows of parameters for ll_exec_many(). */
typedef struct ll_many {
    const char *text;
    size_t size;              /* bytes, or LL_NUL_TERMINATED */
    const ll_value *values;   /* rows x width values, row after row */
    const char *const *names; /* NULL, or `width` names */
    size_t rows, width;
    ll_begin begin_before;
    bool atomic;   /* all rows or none: runs inside a savepoint */
    bool dml_only; /* refuse (LL_EINVAL) what is no INSERT, UPDATE, DELETE or REPLACE */
} ll_many;

/* Runs one statement once for each row of parameters, in one hop. Stops at the first error;
 * ll_request_progress() tells how many rows were done; without `atomic` those stay.
 * Thread: any. Owns: as ll_conn_submit(). Errors: as ll_conn_submit(). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_exec_many(ll_conn *conn, const ll_many *many, const ll_submit *how,
                                           ll_request **ret_request);

/* Runs a text of any number of statements, without parameters; rows are dropped. With `commit_first`
 * an open transaction is committed before (Python's executescript). Stops at the first error;
 * ll_request_progress() tells how many statements were done.
 * Thread: any. Owns: as ll_conn_submit(). Errors: as ll_conn_submit(). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_script(ll_conn *conn, const char *text, size_t size,
                                        bool commit_first, const ll_submit *how,
                                        ll_request **ret_request);

/* Interrupts what runs on the connection at this moment, whatever it is: it ends with LL_ESQL and
 * SQLITE_INTERRUPT. Nothing running: nothing happens.
 * Thread: any. Owns: nothing. Errors: LL_EFORK. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_conn_interrupt(ll_conn *conn);

/* What the connection looked like after the last request that finished. Of an adopted handle, which may be used
 * directly, in_transaction, total_changes and rowid are what they are now, unless another thread is using it at this
 * moment. Never waits. */
typedef struct ll_conn_state {
    bool open;           /* opened, not closed */
    bool closing;        /* a close was submitted */
    bool in_transaction; /* not in autocommit mode */
    bool idle;           /* no request queued or running */
    int64_t total_changes;
    int64_t rowid;
    size_t live_cursors; /* statements that were stepped and not ended */
} ll_conn_state;

/* Reads the state above.
 * Thread: any. Owns: nothing. Errors: all zero after fork. Since: 0.1 */
LL_API void ll_conn_get_state(const ll_conn *conn, ll_conn_state *ret_state);

#ifdef __cplusplus
}
#endif
#endif
