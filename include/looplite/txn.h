/* txn.h: transactions on one connection. */
#ifndef LOOPLITE_TXN_H
#define LOOPLITE_TXN_H

#include <looplite/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Begins a transaction. LL_BEGIN_IMMEDIATE takes the write lock now, so that a later write cannot
 * fail with SQLITE_BUSY_SNAPSHOT; it is the right one for a transaction that will write.
 * Thread: any. Owns: as ll_conn_submit(). Errors: LL_EINVAL for LL_BEGIN_NONE, LL_EBUSY, LL_ESQL
 * ("cannot start a transaction within a transaction"). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_txn_begin(ll_conn *conn, ll_begin mode, const ll_submit *how,
                                           ll_request **ret_request);

/* Commits. With no transaction open it does nothing, and on an idle connection it is then finished
 * at once. Cannot be dropped by cancelling. After LL_EBUSY the transaction is still open and the
 * commit can be tried again.
 * Thread: any. Owns: as ll_conn_submit(). Errors: LL_EBUSY, LL_ESQL. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_txn_commit(ll_conn *conn, const ll_submit *how,
                                            ll_request **ret_request);

/* Rolls back. With no transaction open it does nothing, and on an idle connection it is then
 * finished at once. Cannot be dropped by cancelling.
 * Thread: any. Owns: as ll_conn_submit(). Errors: LL_ESQL. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_txn_rollback(ll_conn *conn, const ll_submit *how,
                                              ll_request **ret_request);

#ifdef __cplusplus
}
#endif
#endif
