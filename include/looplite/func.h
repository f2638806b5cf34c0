/* func.h: SQL functions, collations and hooks of the program's own.
 *
 * Where they run. SQLite calls them in the middle of a statement, on the thread that runs it. That is a worker: a
 * statement that may call one never runs on the loop, unless the function was declared with LL_FUNCTION_ON_LOOP. Which
 * worker differs from call to call, but of one connection only one thing runs at a time, and what an earlier call has
 * written a later one sees: `user` needs a lock of its own only if several connections, or the program itself, share
 * it.
 *
 * What they may do. They hold up their connection, and nothing else. They may call looplite from there, also to
 * submit to their own connection, but must not wait for it: no ll_request_wait(), ll_engine_wait(), ll_engine_dispatch().
 * A long one asks ll_context_must_stop() now and then.
 *
 * How long they stay: until they are replaced, removed, or the connection is closed. An adopted handle goes back to its
 * owner without them (one that its owner's own live statement uses stays until he closes the handle). A connection of a
 * pool on which something was registered is closed when its lease ends. */
#ifndef LOOPLITE_FUNC_H
#define LOOPLITE_FUNC_H

#include <looplite/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One call of a function; lives until the call returns. */
typedef struct ll_context ll_context;

/* Is given the arguments of a call, or of one row more or less; they are the caller's and valid until it returns. Called on
 * the thread that runs the statement, one at a time for each connection. */
typedef void (*ll_step_fn)(ll_context *context, const ll_value *args, size_t count);
/* Gives the result of the rows so far, or the last one; called as an ll_step_fn is. */
typedef void (*ll_final_fn)(ll_context *context);

enum {
    LL_FUNCTION_DETERMINISTIC =
        1u << 0, /* the same arguments give the same result: SQLite may then call it
                                            less often, and it may stand in an index */
    LL_FUNCTION_INNOCUOUS =
        1u << 1, /* no harm comes from whoever calls it (SQLITE_INNOCUOUS): it may stand
                                            in views, triggers and defaults also of an untrusted schema */
    LL_FUNCTION_DIRECT_ONLY =
        1u << 2, /* only statements of the program itself may call it, no view, trigger,
                                            default or index (SQLITE_DIRECTONLY) */
    LL_FUNCTION_ON_LOOP =
        1u << 3 /* a promise: whatever its arguments, a call takes some microseconds at most,
                                     waits for nothing, and may be made on any thread. Then a statement that calls it
                                     may run on the loop, like one with SQLite's own short functions. */
};

/* A function. Zero-initialise. Scalar: `call`. Aggregate: `step` and `final`; with `value` and `inverse` it is a window
 * function as well. Without any of them, one that was registered under this name and number is removed. */
typedef struct ll_function {
    const char *name; /* UTF-8, at most 255 bytes */
    int args;         /* how many arguments; -1: any number */
    unsigned flags;   /* LL_FUNCTION_* */
    ll_step_fn call;  /* gives the result by ll_context_result(); none: NULL */
    ll_step_fn step;  /* one more row; keeps what it needs in ll_context_state() */
    ll_final_fn
        final; /* gives the result, and lets go of what the state holds. Called also when the statement ends
                          early; without rows, for a state that is all zero */
    ll_final_fn value;  /* the result so far */
    ll_step_fn inverse; /* one row less: the oldest */
    void *user;
    void (*destroy)(
        void *
            user); /* NULL, or called once when `user` is no longer needed, in every case: also when
                                    registering fails or is refused. On any thread. */
} ll_function;

/* Registers a function, or removes it. One of the same name and number of arguments is replaced, also one of SQLite's.
 * Thread: any. Owns: as ll_conn_submit(); the structure and its name are copied, `user` goes to `destroy`. Errors: at once
 * LL_EINVAL (which field, and what was expected), LL_ECLOSED, LL_ENOMEM, LL_EFORK; of the request: LL_EBUSY (a statement
 * of the connection is live, and one of this name is there), LL_ESQL, LL_ECANCELLED, LL_ETIMEOUT. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_function_create(ll_conn *conn, const ll_function *function,
                                                 const ll_submit *how, ll_request **ret_request);

/* What ll_function.user was.
 * Thread: that of the call. Owns: nothing. Errors: none. Since: 0.1 */
LL_API void *ll_context_user(ll_context *context);

/* The state of an aggregate for one group of rows: `size` bytes, zeroed by the first call for the group, the same ones in
 * each later one, whatever `size` is then.
 * Thread: that of the call. Owns: SQLite's, until `final` has returned. Errors: NULL without memory, and in `call`.
 * Since: 0.1 */
LL_API void *ll_context_state(ll_context *context, size_t size);

/* Sets the result; the last one counts.
 * Thread: that of the call. Owns: text and blob are copied. Errors: none here: without memory, or for a value larger than
 * SQLite's limit, the statement fails. LL_REFUSED is an error with its text. Since: 0.1 */
LL_API void ll_context_result(ll_context *context, const ll_value *value);

/* Makes the statement fail with this message, in UTF-8, and this code of SQLite; 0: SQLITE_ERROR.
 * Thread: that of the call. Owns: the message is copied. Errors: NULL gives SQLite's words for the code. Since: 0.1 */
LL_API void ll_context_error(ll_context *context, int sqlite_code, const char *message);

/* Whether the statement that calls has to end: it was cancelled, its deadline has passed, or the like. A function that
 * takes long then returns; what it gives is thrown away.
 * Thread: that of the call. Owns: nothing. Errors: none. Since: 0.1 */
LL_API bool ll_context_must_stop(ll_context *context);

/* A collation: below zero, zero or above as the first text is less, equal or greater. The texts are UTF-8 without a NUL
 * behind them. Must give the same for the same texts for ever, or indexes that use it are wrong. */
typedef int (*ll_compare_fn)(void *user, const char *a, size_t a_size, const char *b,
                             size_t b_size);

/* Zero-initialise. */
typedef struct ll_collation {
    const char *name;
    ll_compare_fn compare; /* NULL: the collation of this name is removed */
    void *user;
    void (*destroy)(void *user); /* as ll_function.destroy */
} ll_collation;

/* Registers a collation, or removes it. Statements that use it run on workers only; if it takes the place of one of
 * SQLite's own (BINARY, NOCASE, RTRIM), all statements of the connection do.
 * Thread: any. Owns: as ll_function_create(). Errors: as ll_function_create(). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_collation_create(ll_conn *conn, const ll_collation *collation,
                                                  const ll_submit *how, ll_request **ret_request);

/* What was done to a row. The numbers are SQLite's. */
typedef enum ll_change {
    LL_CHANGE_DELETE = 9,
    LL_CHANGE_INSERT = 18,
    LL_CHANGE_UPDATE = 23
} ll_change;

/* Called while a connection writes. Those that are NULL are not set. Zero-initialise. Their rules are SQLite's: they must
 * not use the connection's handle; rows of tables WITHOUT ROWID, and those that REPLACE removes or a DELETE without
 * WHERE truncates, are not told. */
typedef struct ll_hooks {
    void (*update)(void *user, ll_change change, const char *schema, const char *table,
                   int64_t rowid);
    int (*commit)(
        void *
            user); /* before a commit that has written something; not 0 turns it into a rollback, and it
                                     fails with SQLITE_CONSTRAINT_COMMITHOOK */
    void (*rollback)(
        void *user); /* after a rollback, for whatever reason but the connection's close */
    void *user;
    void (*destroy)(void *user); /* as ll_function.destroy */
} ll_hooks;

/* Sets the hooks of a connection, in the place of those that were set before; NULL takes them away. As long as there
 * are any, what writes and what ends a transaction runs on workers, and shares no group commit.
 * Thread: any. Owns: as ll_function_create(). Errors: as ll_function_create(). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_hooks_set(ll_conn *conn, const ll_hooks *hooks,
                                           const ll_submit *how, ll_request **ret_request);

#ifdef __cplusplus
}
#endif
#endif
