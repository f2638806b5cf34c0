/* writer.h: group commit: single writes of many connections share one transaction and one fsync. */
#ifndef LOOPLITE_WRITER_H
#define LOOPLITE_WRITER_H

#include <looplite/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Writes for many connections to one database file. Give it a connection of its own, which nobody uses for anything
 * else, opened with the same settings as those that it is to write for. */
typedef struct ll_writer ll_writer;

/* Zero-initialise; every zero means "the default". */
typedef struct ll_writer_options {
    size_t max_members; /* a transaction takes at most so many statements; 0: 256 */
    size_t
        max_bytes; /* and is committed when the rows of RETURNING that it holds take so much memory; a
                           statement that gives more than this runs on its own connection; 0: 1 MB */
    uint64_t max_ns; /* and takes no more statements after this time; 0: 5 ms */
} ll_writer_options;

/* Makes a writer. Asks nothing of the file; the connection may still be opening.
 * Thread: any. Owns: the caller gives it back with ll_writer_free(); it keeps a handle of `conn` until then.
 * Errors: LL_EINVAL, LL_ENOMEM, LL_EFORK. After close of `conn`: each statement runs on its own connection.
 * Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_writer_new(ll_conn *conn, const ll_writer_options *options,
                                            ll_writer **ret_writer);

/* Runs one statement on behalf of `home`, as ll_conn_submit() would, and completes it when it is durable. A single
 * INSERT, UPDATE, DELETE or REPLACE (WITH included) in autocommit mode is carried out by the writer, together with
 * those of other connections that wait at the same time: one BEGIN IMMEDIATE, the statements, one COMMIT. Everything
 * else, and what could mean something else on the writer's connection (docs/design/group-commit.md has the list),
 * runs on `home` itself.
 *
 * `home` NULL: the statement belongs to no connection, as when many share one (a pool). Then it is always the writer's
 * connection that runs it, in the order of submission, in a group or between two; only INSERT, UPDATE, DELETE,
 * REPLACE and what begins with WITH, without LL_SQL_STREAM and `begin_before`. Its rowid is 0 if it has inserted none.
 *
 * Either way the request has its own rows, changes, rowid, error and outcome, and completes after the commit that made
 * it durable, as durable as the `synchronous` of its connection says or more. What is submitted to `home`
 * later runs after it, and sees it; last_insert_rowid(), changes() and total_changes() answer on `home` as if it had
 * run there. A statement that fails does not harm the others. Nothing is run twice with effect.
 *
 * Cancelling and deadlines: as always. One that has not begun is dropped; one that has, ends by itself, and its
 * outcome is told; with LL_SUBMIT_INTERRUPT it is interrupted.
 * Thread: any. Owns: as ll_conn_submit(); `home` may be given back at once. Errors: as ll_conn_submit(), and LL_EINVAL
 * when `home` is the writer's own connection, or does not share its workers, or is NULL and the statement needs one;
 * LL_ESYS in the request when there is no thread to run it. After fork: LL_EFORK. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_writer_submit(ll_writer *writer, ll_conn *home, const ll_sql *sql,
                                               const ll_submit *how, ll_request **ret_request);

/* What a writer has done, in numbers that only grow. */
typedef struct ll_writer_stats {
    uint64_t batches; /* transactions committed */
    uint64_t members; /* statements in them */
    uint64_t largest; /* most in one of them */
    uint64_t alone;   /* statements that ran on their own connection */
    uint64_t
        reruns; /* statements run again because another one had ended their transaction, or its commit
                         could not get a lock */
} ll_writer_stats;

/* Reads the numbers. ll_stats has them summed up over all writers.
 * Thread: any. Owns: nothing. Errors: all zero after fork. Since: 0.1 */
LL_API void ll_writer_get_stats(const ll_writer *writer, ll_writer_stats *ret_stats);

/* Whether its connection has met an error after which another one should take its place: the file is not the one of
 * that name any more, is damaged, or could not be read or written. Before each transaction the writer looks whether the
 * file still has its name. If not, what has no home fails with SQLITE_READONLY_DBMOVED and was not applied, for nobody
 * would find it again; what has a home runs there.
 * Thread: any. Owns: nothing. Errors: none; false for NULL and after fork. Since: 0.1 */
LL_API bool ll_writer_is_broken(const ll_writer *writer);

/* Gives the writer back. What was submitted before is still carried out; then its handle of the connection is given
 * back.
 * Thread: any. Owns: takes it; NULL is fine. Errors: none. After fork: frees nothing. Since: 0.1 */
LL_API void ll_writer_free(ll_writer *writer);

#ifdef __cplusplus
}
#endif
#endif
