/* sqlite.h: for programs that have sqlite3 handles of their own. Optional: the only public header
 * that includes sqlite3.h. */
#ifndef LOOPLITE_SQLITE_H
#define LOOPLITE_SQLITE_H

#include <looplite/conn.h>
#include <looplite/cursor.h>
#include <sqlite3.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Finds a function of SQLite by its full name ("sqlite3_step"); NULL when there is none. */
typedef void (*ll_symbol)(void);
/* The same, with the argument given to ll_sqlite_use(). */
typedef ll_symbol (*ll_find_fn)(void *arg, const char *name);

/* Makes the whole library use the SQLite that `find` gives instead of the one it was linked with: for
 * hosts that carry their own, such as a language's sqlite module. Two copies of SQLite in one process
 * must never open the same file (the POSIX locks of one are dropped by the other).
 * Thread: any, once, before the first engine. Owns: nothing. Errors: LL_EINVAL when a table is set
 * already and it is another one, when a needed function is missing, or SQLite is older than 3.34.1 or
 * not thread-safe; the message says which. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_sqlite_use(ll_find_fn find, void *arg);

/* Registers looplite's VFS with SQLite (not as the default one) and gives its name, for URIs
 * ("file:x.db?vfs=looplite"). Repeated calls are fine.
 * Thread: any. Owns: static text. Errors: LL_ESQL, LL_ENOMEM. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_vfs_install(const char **ret_name);

/* Where an adopted handle comes from and goes to. Both run on a worker, or, with a `path`, on the thread that
 * asks for it. */
typedef struct ll_adopt {
    /* Gives the handle, or a SQLite code with *ret_message set (NULL allowed; freed with free()).
     * The handle must not be used by any other thread while looplite has it, and its busy handler,
     * progress handler belong to looplite until it is given back. */
    int (*open)(void *arg, sqlite3 **ret_db, char **ret_message);
    /* Takes the handle back, all of looplite's statements on it finalised. NULL: the handle is left
     * alone. Its result is the result of ll_conn_close(). */
    int (*close)(void *arg, sqlite3 *db);
    /* Called once when nothing refers to `arg` any more, on any thread. May be NULL. */
    void (*release)(void *arg);
    void *arg;
    /* NULL, or the file that `open` opens, by its path, "" if it opens none (":memory:"), and a promise: it opens
     * nothing else, through looplite's VFS, and its own part and that of `close` take some microseconds at most.
     * Then looplite may call either inside ll_conn_open_adopted() and ll_conn_close(), on the loop, when it finds
     * that SQLite's part takes no longer; where an `open` that fails is called once more, on a worker. Must live
     * until `release`. */
    const char *path;
} ll_adopt;

/* As ll_conn_open(), with a handle that the program opens itself, by adopt->open. LL_OK, with *ret_request
 * finished, when it was opened inside the call (adopt->path). Of
 * the options only busy_timeout_ns, cached_statements, pragmas and, of the flags,
 * LL_OPEN_NO_INLINE and LL_OPEN_SHARED_CACHE are used; a handle on a shared cache needs the latter.
 * Thread: any. Owns: `adopt` is copied; adopt->release is called also when this call fails. Errors:
 * as ll_conn_open(). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_conn_open_adopted(ll_engine *engine, const ll_adopt *adopt,
                                                   const ll_open_options *options,
                                                   const ll_submit *how, ll_conn **ret_conn,
                                                   ll_request **ret_request);

/* Adopts a handle that is open already. After ll_conn_close() it is the caller's again, with no
 * busy or progress handler.
 * Thread: any. Owns: the handle stays the caller's, who may not use it before ll_conn_close() has
 * finished. Errors: as ll_conn_open(). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_conn_adopt(ll_engine *engine, sqlite3 *db,
                                            const ll_open_options *options, const ll_submit *how,
                                            ll_conn **ret_conn, ll_request **ret_request);

/* Inside ll_adopt.open: the connection that the handle is for, for ll_conn_own_code() and ll_conn_running().
 * Thread: that of ll_adopt.open. Owns: not the caller's; valid until ll_adopt.close. Errors: NULL anywhere else.
 * Since: 0.1 */
LL_API ll_conn *ll_adopt_conn(void);

/* What a call does: it may use the handle freely, must leave no statement of its own unfinished, and
 * returns a SQLite code. A busy or progress handler that it sets is gone when it returns: these are
 * looplite's. */
typedef int (*ll_call_fn)(sqlite3 *db, void *arg);

/* Calls a function with the connection's handle, in its turn, on the thread that owns the connection.
 * A result other than SQLITE_OK makes the request fail with LL_ESQL and sqlite3_errmsg().
 * Thread: any. Owns: `arg` must live until the request has finished. Errors: as ll_conn_submit();
 * the outcome of a call that ran is LL_APPLIED for SQLITE_OK, else LL_UNKNOWN. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_conn_call(ll_conn *conn, ll_call_fn call, void *arg,
                                           const ll_submit *how, ll_request **ret_request);

/* Code of the program's own that SQLite may call on a connection. It must never run on the loop, in the
 * middle of a statement. */
enum {
    LL_OWN_FUNCTIONS =
        1u << 0, /* functions, maybe under the names of SQLite's, or collations: no statement
                                    that may call one runs on the loop. Set by itself by ll_conn_call() */
    LL_OWN_COLLATIONS =
        1u << 1, /* collations under the names of SQLite's own: nothing runs on the loop */
    LL_OWN_AUTHORIZER =
        1u << 2,            /* sqlite3_set_authorizer(): nothing runs on the loop, and the library
                                    asks nothing by statements of its own */
    LL_OWN_TRACE = 1u << 3, /* sqlite3_trace_v2(): the same */
    LL_OWN_PROGRESS =
        1u << 4, /* sqlite3_progress_handler(): nothing runs on the loop, and SQLite's only
                                    slot is the program's: its handler has to ask ll_conn_must_stop() */
    LL_OWN_TOLD = 1u << 5, /* the program tells all of this: ll_conn_call() concludes nothing */
    LL_OWN_HOOKS =
        1u << 6 /* update, commit, rollback or WAL hooks: nothing that writes runs on the loop,
                              and no end of a transaction */
};

/* Says what a program has registered with a handle (`add`), or taken away (`remove`): LL_OWN_*. What is
 * registered inside ll_conn_call(), or between ll_conn_enter() and ll_conn_leave(), is told there.
 * Thread: any. Owns: nothing. Errors: none; NULL is ignored. Since: 0.1 */
LL_API void ll_conn_own_code(ll_conn *conn, unsigned add, unsigned remove);

/* What is to be told of a function, or of a collation, by its name (UTF-8): LL_OWN_FUNCTIONS if it takes the place of
 * one that looplite lets run on the loop, LL_OWN_COLLATIONS if of one of SQLite's, else 0: what has another name
 * never runs there.
 * Thread: any. Owns: nothing. Errors: none; NULL gives 0. Since: 0.1 */
LL_API unsigned ll_own_function(const char *name);
/* The same for a collation.
 * Thread: any. Owns: nothing. Errors: none; NULL gives 0. Since: 0.1 */
LL_API unsigned ll_own_collation(const char *name);

/* For a progress handler of the program's own: whether the statement that runs has to end, because it was
 * cancelled, its deadline has passed, or the like. Nonzero: return that to SQLite.
 * Thread: only inside a progress handler of this connection. Owns: nothing. Errors: none. Since: 0.1 */
LL_API int ll_conn_must_stop(ll_conn *conn);

/* For code of the program's own that SQLite calls: nonzero if it was called by a try on the loop, which what
 * was registered does not always keep it from (SQLite calls some functions while it prepares). It must then
 * return an error at once; the statement is run again, on a worker.
 * Thread: any. Owns: nothing. Errors: none. Since: 0.1 */
LL_API int ll_refuses_own_code(void);

/* What `user` of its ll_submit was, of the request that runs on the connection; NULL for what the library does by
 * itself, and for what is done between ll_conn_enter() and ll_conn_leave(). Reading ahead for a cursor is done
 * for the first request that waits at it.
 * Thread: only inside code that SQLite calls while it runs something on this connection, or that ll_conn_call()
 * calls. Owns: nothing. Errors: none. Since: 0.1 */
LL_API void *ll_conn_running(ll_conn *conn);

/* Around what waits for something that is not SQLite, or may: another connection, a loop, a lock of the program.
 * Such a thread does not count as one of max_workers meanwhile, so those that it waits for find one.
 * Thread: only inside code that SQLite calls while it runs something on this connection, on a worker, or that
 * ll_conn_call() calls; in pairs. Owns: nothing. Errors: none. Since: 0.1 */
LL_API void ll_conn_wait_begin(ll_conn *conn);
/* The end of ll_conn_wait_begin().
 * Thread: the same. Owns: nothing. Errors: none. Since: 0.1 */
LL_API void ll_conn_wait_end(ll_conn *conn);

/* Ends what the library keeps open between two requests (a read transaction that the next read would join), if nobody
 * has the connection: for a program that is about to use the handle in a way that cannot go through
 * ll_conn_enter().
 * Thread: any; does not wait. Owns: nothing. Errors: none. Since: 0.1 */
LL_API void ll_conn_tidy(ll_conn *conn);

/* Takes the handle of an adopted connection for this thread, between two requests, until ll_conn_leave(): waits
 * until the one that runs has ended, and keeps the next one from beginning. For a program that has the handle, too,
 * and uses it on a thread that does not own the connection. May be nested, and used inside a request on the thread
 * that runs it, where it changes nothing.
 * Thread: any; waits. Not while holding a lock that code called by SQLite wants. Owns: *ret_db stays whose it was.
 * Errors: LL_EINVAL, also when it was not adopted; LL_EFORK; LL_ECLOSED when the connection is closed or about
 * to be. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_conn_enter(ll_conn *conn, sqlite3 **ret_db);

/* The same without waiting.
 * Thread: any. Owns: as ll_conn_enter(). Errors: those, and LL_EBUSY while somebody else has it. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_conn_try_enter(ll_conn *conn, sqlite3 **ret_db);

/* Gives it back. The library looks anew at what it had found out about the connection.
 * Thread: that of the ll_conn_enter(). Owns: nothing. Errors: none. Since: 0.1 */
LL_API void ll_conn_leave(ll_conn *conn);

#ifdef __cplusplus
}
#endif
#endif
