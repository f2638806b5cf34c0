/* run.h: carrying out one request on the thread that owns its connection. */
#ifndef LLI_ENGINE_RUN_H
#define LLI_ENGINE_RUN_H

#include "db/api.h"
#include "engine/conn.h"

enum lli_run_result {
    LLI_RUN_DONE,    /* the results are set */
    LLI_RUN_PARK,    /* a lock was not free: run it again after *ret_park_ns */
    LLI_RUN_GROUPED, /* its writer is to have it, with the connection: lli_group_join() */
    LLI_RUN_AWAY,    /* a task goes on elsewhere, with the connection: ops->leave() */
    /* only inside an attempt on the loop: */
    LLI_RUN_BOUNCED, /* a guard fired: nothing has happened, run it again on a worker */
    LLI_RUN_LIVE     /* the budget ended between two rows: a worker goes on with request->taken */
};

/* Runs a request. Owner only. */
enum lli_run_result lli_run(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns);
/* Tells that a request of this kind is done and gives the queue's reference back. Nothing of the request may
 * be used later. */
void lli_run_end(ll_conn *conn, ll_request *request, enum lli_op op);

/* One batch of a live statement for `request` (a pump), of rows or of columns. *ret_more: the statement is still live. NULL when
 * there were no rows, or on an error. */
ll_batch *lli_run_batch(ll_conn *conn, struct lli_stmt *stmt, ll_request *request, size_t rows,
                        bool columns, bool *ret_more, struct lli_error *error);

/* For the files that run the kinds of requests; see run.c. */

/* Sets the guard for a statement that reads only, or not. */
void lli_run_arm(ll_conn *conn, ll_request *request, bool interruptible, bool committing);
/* Steps; a guard that fired turns whatever SQLite said into SQLITE_INTERRUPT. */
int lli_run_step(ll_conn *conn, sqlite3_stmt *stmt, bool read_only);
/* Whether a statement that ended with `rc` met a lock that is worth waiting for; sets *ret_park_ns. */
bool lli_run_should_park(ll_conn *conn, ll_request *request, int rc, enum lli_kind kind,
                         uint64_t *ret_park_ns);
/* The error of a statement that ended with `rc`, and its outcome. */
void lli_run_fail(ll_conn *conn, ll_request *request, int rc, bool changed);
/* Whether a read may be interrupted: not one that uses a virtual table inside a transaction, for that would end it.
 * Under an authorizer nobody can find out, for it would see the question. */
bool lli_run_may_break(ll_conn *conn, struct lli_stmt *stmt);
/* Whether `rc` says that somebody else has a lock: on the file, or on a table of a shared cache. */
bool lli_run_met_lock(ll_conn *conn, int rc);
/* Whether a statement has to wait for its turn at the gate of its files, since it writes or has met a lock of a
 * table; sets *ret_park_ns. The guard must be armed. */
bool lli_run_wait_at_gate(ll_conn *conn, ll_request *request, enum lli_kind kind, const char *sql,
                          size_t size, uint64_t *ret_park_ns);
static inline bool lli_run_must_wait(ll_conn *conn, ll_request *request, bool writes,
                                     enum lli_kind kind, const char *sql, size_t size,
                                     uint64_t *ret_park_ns)
{
    return LLI_UNLIKELY(writes || conn->seat.asked) &&
           lli_run_wait_at_gate(conn, request, kind, sql, size, ret_park_ns);
}
/* Around a PRAGMA busy_timeout, which SQLite answers by putting its own busy handler in our place: lets it
 * read and set the connection's timeout, and puts ours back. */
void lli_run_before_busy_pragma(ll_conn *conn);
void lli_run_after_busy_pragma(ll_conn *conn);
/* Whether the row just stepped to is the last one, as far as its program tells. Behind lli_stmt_columns(). */
bool lli_run_is_last_row(const struct lli_stmt *stmt);
/* Keeps the row that the statement stands on; notes its columns; drops the rows; forgets all of it, and the error, as
 * if the request had not run. */
ll_status lli_run_keep_row(ll_conn *conn, ll_request *request, struct lli_stmt *stmt);
ll_status lli_run_note_columns(ll_request *request, struct lli_stmt *stmt);
void lli_run_drop_rows(ll_request *request);
void lli_run_forget(ll_request *request);
/* Runs a text of ours to its end. */
int lli_run_text(ll_conn *conn, const char *sql);

enum lli_run_result lli_run_sql(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns);
/* The same, on the loop, for a statement that only reads, was taken and admitted, and for which the guard is
 * armed. */
enum lli_run_result lli_run_read(ll_conn *conn, ll_request *request, struct lli_stmt *stmt,
                                 uint64_t *ret_park_ns);
enum lli_run_result lli_run_many(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns);
/* Lets go of where its rows come from. Any thread; nobody runs it. */
void lli_run_many_done(ll_request *request);
enum lli_run_result lli_run_script(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns);
enum lli_run_result lli_run_open(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns);
/* Lets go of what lli_run_open() has opened, or of why it could not: as if it had not run. */
void lli_run_unopen(ll_conn *conn, ll_request *request);
/* Has the handle opened and adopts it. Errors: in request->error; nothing stays open. */
ll_status lli_run_adopt(ll_conn *conn, ll_request *request);
void lli_run_close(ll_conn *conn, ll_request *request);
void lli_run_call(ll_conn *conn, ll_request *request); /* own.c */
enum lli_run_result lli_run_prepare(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns);
void lli_run_unprepare(ll_conn *conn, ll_request *request);
/* Opens a transaction before a DML statement, if asked to and none is open. SQLITE_OK or its error. */
int lli_run_begin(ll_conn *conn, ll_begin begin, enum lli_kind kind);

#endif
