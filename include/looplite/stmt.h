/* stmt.h: prepared statements that a program wants to hold by name. The connection's statement cache
 * makes ll_exec() and ll_query() fast without them; a handle adds the metadata before the first run
 * and is never evicted. */
#ifndef LOOPLITE_STMT_H
#define LOOPLITE_STMT_H

#include <looplite/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A prepared statement of one connection. */
typedef struct ll_stmt ll_stmt;

/* Prepares one statement; ll_request_take_stmt() gives the handle.
 * Thread: any. Owns: as ll_conn_submit(). Errors: LL_ESQL, LL_ESTATEMENTS, LL_ECLOSED. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_prepare(ll_conn *conn, const char *text, size_t size,
                                         const ll_submit *how, ll_request **ret_request);

/* Takes the handle out of a finished ll_prepare() request.
 * Thread: any, one at a time. Owns: the caller frees it with ll_stmt_free(). Errors: NULL if there
 * is none. Since: 0.1 */
LL_API ll_stmt *ll_request_take_stmt(ll_request *request);

/* Number of parameters (the largest index).
 * Thread: any. Owns: nothing. Errors: none. Since: 0.1 */
LL_API size_t ll_stmt_parameters(const ll_stmt *stmt);

/* Whether it only reads.
 * Thread: any. Owns: nothing. Errors: none. Since: 0.1 */
LL_API bool ll_stmt_is_read(const ll_stmt *stmt);

/* Its columns as they were when it was prepared; NULL if it gives no rows.
 * Thread: any. Owns: lives as long as the handle. Errors: none. Since: 0.1 */
LL_API const ll_columns *ll_stmt_columns(const ll_stmt *stmt);

/* Runs it; `flags` are LL_SQL_*. As ll_conn_submit() otherwise.
 * Thread: any. Owns: as ll_conn_submit(). Errors: as ll_conn_submit(). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_stmt_submit(ll_stmt *stmt, const ll_params *params, unsigned flags,
                                             const ll_submit *how, ll_request **ret_request);

/* Runs a statement that reads, here and now if that can be done on the loop, and lends its rows: the shortest
 * way to a row that is asked for again and again, without a request and without memory of its own. LL_OK with
 * *ret_rows set: it has run, all its rows (there may be none) are in that batch, and *ret_request is NULL.
 * Otherwise *ret_rows is NULL, and the call was ll_stmt_submit() without flags: its answer and *ret_request are to
 * be treated as that function's; so is what failed. `how` as there; LL_SUBMIT_TIMED and a deadline of less
 * than a millisecond always make a request.
 * Thread: any, one at a time for one handle; rows are lent only on the loop of the connection's engine. Owns: the
 * batch stays the handle's, it is not to be freed, and lives until the next ll_stmt_read() of the handle or
 * ll_stmt_free(); *ret_request as ll_stmt_submit(). Errors: as ll_stmt_submit(); LL_EINVAL if ret_rows or
 * ret_request is NULL. After fork: LL_EFORK. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_stmt_read(ll_stmt *stmt, const ll_params *params,
                                           const ll_submit *how, const ll_batch **ret_rows,
                                           ll_request **ret_request);

/* Ends the handle. Requests that use it end as usual.
 * Thread: any. Owns: takes it; NULL is fine. Errors: none. Since: 0.1 */
LL_API void ll_stmt_free(ll_stmt *stmt);

#ifdef __cplusplus
}
#endif
#endif
