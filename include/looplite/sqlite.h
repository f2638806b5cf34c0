/* sqlite.h: for programs that have sqlite3 handles of their own. Optional: the only public header
 * that includes sqlite3.h. */
#ifndef LOOPLITE_SQLITE_H
#define LOOPLITE_SQLITE_H

#include <looplite/conn.h>
#include <sqlite3.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Finds a function of SQLite by its full name ("sqlite3_step"); NULL when there is none. */
typedef void (*ll_symbol)(void);
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
 * LL_OPEN_NO_INLINE are used; a handle on a shared cache needs that flag.
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

/* What a call does: it may use the handle freely, must leave no statement of its own unfinished, and
 * returns a SQLite code. */
typedef int (*ll_call_fn)(sqlite3 *db, void *arg);

/* Calls a function with the connection's handle, in its turn, on the thread that owns the connection.
 * A result other than SQLITE_OK makes the request fail with LL_ESQL and sqlite3_errmsg().
 * Thread: any. Owns: `arg` must live until the request has finished. Errors: as ll_conn_submit();
 * the outcome of a call that ran is LL_APPLIED for SQLITE_OK, else LL_UNKNOWN. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_conn_call(ll_conn *conn, ll_call_fn call, void *arg,
                                           const ll_submit *how, ll_request **ret_request);

#ifdef __cplusplus
}
#endif
#endif
