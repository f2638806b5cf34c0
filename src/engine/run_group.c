/* run_group.c: a writer's transaction: BEGIN IMMEDIATE, the members one after the other, one COMMIT, the answers.
 *
 *            gate, lock                    nobody waits, or enough          durable
 *     line ------------> [ transaction: batch ] -------------> [ COMMIT ] ------------> answers
 *      ^  again             |         |                           | BUSY until the least patient one's time is over
 *      +--------------------+---------+---------------------------+ ROLLBACK: he is told, the others run again
 *                the transaction  alone: home, or solo
 *                has ended
 *
 * Rules, each with its reason in docs/design/group-commit.md:
 *  1. Nobody is answered before COMMIT, but who has ended the transaction himself: nothing of his is in it.
 *  2. The batch closes when nobody is waiting. Its limits (members, bytes, time) only bound how long the first one
 *     waits for the others.
 *  3. No savepoint for a member: SQLite undoes a failed statement by itself, and ROLLBACK TO would undo what OR FAIL
 *     keeps. With deferred constraints there is one, because what they forbid is found out by COMMIT only, and would
 *     fail for all: a member that leaves a violation is undone, and runs alone.
 *  4. Whoever ends the transaction (a full disk, OR ROLLBACK, an interrupt) has his error, and the others run again:
 *     once together, then alone.
 *  5. A member that might do here what it would not do on its connection is not stepped at all.
 *
 * A run makes one transaction and goes to the end of the connection's queue if there is more to do, so the gate passes
 * to who stands behind us, and what is to run alone on this connection has its turn.
 *
 * The schema. A program tells what a statement does, its triggers included (db/bounded.c), for the schema it was
 * compiled for. Under our lock nobody changes the schema; so right behind BEGIN one statement that looks whether the
 * schema in memory is the file's makes SQLite read it anew, and programs of another cookie are looked at again.
 *
 * All of this is for the owner of the writer's connection, on a worker. */
#include "base/alloc.h"
#include "db/bind.h"
#include "db/inspect.h"
#include "db/sqlerror.h"
#include "db/vfs_shim.h"
#include "engine/group.h"
#include "platform/clock.h"

#include <string.h>

enum {
    LOST_FOR_GOOD = 2 /* transactions: then it runs alone */
};

static const char savepoint_text[] = "SAVEPOINT looplite_member";
static const char undo_text[] = "ROLLBACK TO looplite_member";
static const char release_text[] = "RELEASE looplite_member";

/* Behind BEGIN or COMMIT that met a lock: even steps, as in run.c. */
static const uint64_t steps_ns[] = {1 * LLI_MS, 1 * LLI_MS, 2 * LLI_MS, 2 * LLI_MS, 5 * LLI_MS};

static ll_request *member_of(struct lli_node *node)
{
    return node ? LLI_CONTAINER_OF(node, ll_request, queue_node) : NULL;
}

static enum lli_stop stop_of(const ll_request *request)
{
    return (enum lli_stop)atomic_load_explicit(&request->stop, memory_order_relaxed);
}

/* What follows is the writer's own: nothing but the end of an engine stops it. */
static void arm(ll_writer *writer, uint64_t busy_until_ns)
{
    struct lli_guard *guard = &writer->conn->db.guard;
    lli_guard_arm(guard);
    guard->stop = &writer->run.stop;
    guard->deadline_ns = LLI_NEVER;
    guard->busy_until_ns = busy_until_ns;
    guard->interruptible = false;
    guard->committing = true;
}

static void count(_Atomic uint64_t *own, _Atomic uint64_t *all, size_t by)
{
    atomic_fetch_add_explicit(own, by, memory_order_relaxed);
    atomic_fetch_add_explicit(all, by, memory_order_relaxed);
}

static void count_batch(ll_writer *writer, size_t members)
{
    struct lli_crew *crew = writer->conn->crew;
    count(&writer->stats.batches, &crew->stats.group_batches, 1);
    count(&writer->stats.members, &crew->stats.group_members, members);
    _Atomic uint64_t *const largest[] = {&writer->stats.largest, &crew->stats.group_largest};
    for (size_t i = 0; i < LLI_COUNT(largest); i++) {
        uint64_t seen = atomic_load_explicit(largest[i], memory_order_relaxed);
        while (seen < members && !atomic_compare_exchange_weak_explicit(largest[i], &seen, members,
                                                                        memory_order_relaxed,
                                                                        memory_order_relaxed)) {}
    }
}

/* ---- who leaves ---- */

/* As if it had not run. */
static void forget(ll_request *request)
{
    lli_run_forget(request);
    request->member.ran = false;
    request->member.changes = request->member.total = 0;
    request->changes = 0;
    request->outcome = LL_NOT_APPLIED;
}

/* Nothing of it is in the file; its error is set. */
static void void_results(ll_request *request)
{
    lli_run_drop_rows(request);
    request->changes = 0;
    request->member.changes = request->member.total = 0;
}

/* It has no effect: it runs by itself, and nothing of this line before it. */
static void leave_alone(ll_writer *writer, ll_request *request)
{
    if (lli_group_has_no_home(request))
        lli_list_push(&writer->solo, &request->queue_node);
    else
        lli_group_send_home(request);
}

/* Everybody. What has a home runs there. */
static void leave_all_alone(ll_writer *writer)
{
    ll_request *request;
    int synchronous = writer->synchronous;
    while ((request = member_of(lli_list_pop(&writer->again))) != NULL)
        leave_alone(writer, request);
    writer->synchronous = INT32_MAX;
    while ((request = lli_group_next(writer)) != NULL)
        leave_alone(writer, request);
    writer->synchronous = synchronous;
}

/* Whether the name of the file leads to another one now, or to none. In WAL mode SQLite would not mind, and what
 * is committed to a file without a name is lost. It costs a stat() for each transaction. */
static bool has_moved(ll_writer *writer)
{
    struct lli_file_facts facts;
    if (!lli_vfs_file_facts(writer->conn->db.handle, "main", &facts) || facts.memory ||
        !facts.moved)
        return false;
    lli_tenant_note_error(writer->conn, SQLITE_READONLY_DBMOVED);
    return true;
}

static void refuse_moved(ll_request *request)
{
    lli_error_set(&request->error, LL_ESQL, "%s: the file was moved, removed or replaced",
                  lli_sq.errstr(SQLITE_READONLY));
    request->error.pub.sqlite_code = SQLITE_READONLY_DBMOVED;
    request->outcome = LL_NOT_APPLIED;
    lli_group_answer(request);
}

/* Our file is not the one that is meant: whoever has a home runs there, the others are told. */
static void leave_all_moved(ll_writer *writer)
{
    ll_request *request;
    int synchronous = writer->synchronous;
    writer->synchronous = INT32_MAX;
    while ((request = member_of(lli_list_pop(&writer->again))) != NULL ||
           (request = lli_group_next(writer)) != NULL) {
        if (lli_group_has_no_home(request))
            refuse_moved(request);
        else
            lli_group_send_home(request);
    }
    writer->synchronous = synchronous;
}

/* The transaction is no more: those who were in it run again, before all others; also before one that was to run alone
 * behind it, which stood behind them. */
static void scatter(ll_writer *writer)
{
    struct lli_list first, behind;
    ll_request *request;
    lli_list_init(&first);
    lli_list_init(&behind);
    while ((request = member_of(lli_list_pop(&writer->solo))) != NULL)
        lli_list_push(&behind, &request->queue_node);
    count(&writer->stats.reruns, &writer->conn->crew->stats.group_reruns, writer->count);
    while ((request = member_of(lli_list_pop(&writer->batch))) != NULL) {
        forget(request);
        if (++request->member.lost >= LOST_FOR_GOOD)
            leave_alone(writer, request);
        else
            lli_list_push(&first, &request->queue_node);
    }
    while ((request = member_of(lli_list_pop(&behind))) != NULL) {
        request->member.lost = LOST_FOR_GOOD;
        lli_list_push(&first, &request->queue_node);
    }
    while ((request = member_of(lli_list_pop(&writer->again))) != NULL)
        lli_list_push(&first, &request->queue_node);
    while ((request = member_of(lli_list_pop(&first))) != NULL)
        lli_list_push(&writer->again, &request->queue_node);
    writer->count = writer->bytes = 0;
}

static void answer_all(ll_writer *writer)
{
    ll_request *request;
    while ((request = member_of(lli_list_pop(&writer->batch))) != NULL)
        lli_group_answer(request);
    writer->count = writer->bytes = 0;
}

/* Until when a lock may be waited for on behalf of it. */
static uint64_t limit_of(const ll_request *request)
{
    bool shielded = request->flags & LL_SUBMIT_SHIELD;
    return !shielded && request->deadline_ns < request->busy_until_ns ? request->deadline_ns
                                                                      : request->busy_until_ns;
}

static uint64_t earliest_of(const struct lli_list *list)
{
    uint64_t earliest = LLI_NEVER;
    for (struct lli_node *node = lli_list_first(list); node; node = lli_list_next(list, node))
        if (limit_of(member_of(node)) < earliest)
            earliest = limit_of(member_of(node));
    return earliest;
}

/* Those of the list that need not or may not wait for a lock any longer are told, with nothing applied. `stopped`:
 * whatever has stopped them; else only the end of their engine counts. */
static void end_impatient(struct lli_list *list, uint64_t now, bool stopped, size_t *count)
{
    for (struct lli_node *node = lli_list_first(list), *next; node; node = next) {
        ll_request *request = member_of(node);
        next = lli_list_next(list, node);
        enum lli_stop stop = stop_of(request);
        bool ends = stop == LLI_STOP_CLOSE || (stopped && stop != LLI_STOP_NONE);
        if (!ends && now < limit_of(request))
            continue;
        lli_list_remove(node);
        if (count)
            --*count;
        void_results(request);
        if (!ends && now >= request->busy_until_ns)
            lli_group_set_busy(request);
        else
            lli_request_set_stopped(request, ends ? stop : LLI_STOP_DEADLINE, false);
        request->outcome = LL_NOT_APPLIED;
        lli_group_answer(request);
    }
}

/* ---- the transaction is opened ---- */

enum opened {
    OPEN,
    NOTHING, /* nobody waits, or nobody for us */
    PARKED
};

/* Whether a text gives a row; a SQLite code. */
static int gives_row(ll_conn *conn, const char *sql, bool *ret_row)
{
    struct lli_stmt *stmt;
    struct lli_error error = {0};
    if (lli_stmt_take(&conn->db.cache, sql, strlen(sql), &stmt, &error) != LL_OK) {
        int code = error.pub.sqlite_code != 0 ? error.pub.sqlite_code : SQLITE_NOMEM;
        lli_error_done(&error);
        return code;
    }
    int rc = lli_sq.step(stmt->raw);
    *ret_row = rc == SQLITE_ROW;
    lli_stmt_give(&conn->db.cache, stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Behind BEGIN: which schema it is, and whether a member may leave a violation behind. */
static bool learn_schema(ll_writer *writer)
{
    ll_conn *conn = writer->conn;
    uint32_t cookie;
    bool any;
    if (gives_row(conn, "SELECT 1 FROM main.sqlite_master LIMIT 1", &any) != SQLITE_OK ||
        lli_schema_cookie(&conn->db.cache, &cookie) != LL_OK)
        return false;
    if (writer->cookie_known && writer->cookie == cookie)
        return true;
    /* A word in a comment costs a savepoint, no more. */
    static const char deferred[] =
        "SELECT 1 FROM main.sqlite_master WHERE instr(upper(sql), 'DEFERRED') LIMIT 1";
    writer->cookie_known = gives_row(conn, deferred, &writer->deferred) == SQLITE_OK;
    writer->cookie = cookie;
    return writer->cookie_known;
}

/* Whether the connection is known, and as strict as those in line. */
static bool set_up(ll_writer *writer, int synchronous)
{
    static const char *const texts[] = {
        "PRAGMA main.synchronous = 0", "PRAGMA main.synchronous = 1", "PRAGMA main.synchronous = 2",
        "PRAGMA main.synchronous = 3"};
    ll_conn *conn = writer->conn;
    if (!conn->fit.known) {
        lli_fit_learn(conn);
        lli_group_show_print(writer);
        if (conn->fit.known && writer->synchronous != conn->fit.synchronous) /* not by us */
            writer->synchronous = writer->base_synchronous = conn->fit.synchronous;
    }
    if (!conn->fit.known || conn->fit.unfit || lli_own_has(conn, ~(unsigned)LL_OWN_TOLD))
        return false;
    if (synchronous < writer->base_synchronous)
        synchronous = writer->base_synchronous;
    if (synchronous == writer->synchronous)
        return true;
    if (synchronous < 0 || synchronous >= (int)LLI_COUNT(texts) ||
        lli_run_text(conn, texts[synchronous]) != SQLITE_OK)
        return false;
    writer->synchronous = synchronous;
    return true;
}

static uint64_t next_step(ll_writer *writer)
{
    size_t step = writer->tries++;
    return steps_ns[step < LLI_COUNT(steps_ns) ? step : LLI_COUNT(steps_ns) - 1];
}

/* A lock or the gate is not free, until `again_ns` at least. Whoever has waited long enough is told. */
static enum opened wait(ll_writer *writer, uint64_t now, uint64_t again_ns, uint64_t *ret_park_ns)
{
    int ignored = 0;
    bool any;
    end_impatient(&writer->again, now, true, NULL);
    lli_group_expire(writer, now);
    uint64_t earliest = lli_group_patience(writer, earliest_of(&writer->again), &ignored, &any);
    if (!any && lli_list_empty(&writer->again))
        return NOTHING;
    if (again_ns < earliest)
        earliest = again_ns;
    *ret_park_ns = earliest == LLI_NEVER ? LLI_NEVER : earliest > now ? earliest - now : 0;
    return PARKED;
}

/* Each member is still in line: it can be dropped until the transaction is open. */
static enum opened open_transaction(ll_writer *writer, uint64_t *ret_park_ns)
{
    ll_conn *conn = writer->conn;
    uint64_t now = lli_now_ns(), again_ns;
    int synchronous = -1;
    bool any;
    end_impatient(&writer->again, 0, true, NULL);
    for (struct lli_node *node = lli_list_first(&writer->again); node;
         node = lli_list_next(&writer->again, node)) {
        const ll_request *request = member_of(node);
        if (!lli_group_has_no_home(request) && request->conn->fit.synchronous > synchronous)
            synchronous = request->conn->fit.synchronous;
    }
    (void)lli_group_patience(writer, LLI_NEVER, &synchronous, &any);
    if (!any && lli_list_empty(&writer->again))
        return NOTHING;
    if (has_moved(writer)) {
        leave_all_moved(writer);
        return NOTHING;
    }
    arm(writer, 0);
    if (!set_up(writer, synchronous)) {
        leave_all_alone(writer);
        return NOTHING;
    }
    bool first = !conn->seat.asked;
    if (!lli_gate_enter(&conn->seat, now, &again_ns)) {
        if (first)
            atomic_fetch_add_explicit(&conn->crew->stats.gate_waits, 1, memory_order_relaxed);
        return wait(writer, now, again_ns, ret_park_ns);
    }
    arm(writer, 0);
    int rc = lli_run_text(conn, "BEGIN IMMEDIATE");
    if ((rc & 0xff) == SQLITE_BUSY)
        lli_gate_note_lock(&conn->seat, now);
    if ((rc & 0xff) == SQLITE_BUSY)
        return wait(writer, now, lli_deadline_from(now, next_step(writer)), ret_park_ns);
    writer->tries = 0;
    if (rc == SQLITE_OK && learn_schema(writer))
        return OPEN;
    lli_tenant_note_error(conn, rc);
    if (lli_db_in_transaction(&conn->db))
        (void)lli_run_text(conn, "ROLLBACK");
    leave_all_alone(writer); /* whose errors these are */
    return NOTHING;
}

/* ---- a member ---- */

enum fate {
    KEPT,  /* has run; in the batch, until COMMIT */
    ALONE, /* has no effect here, or will have none: it runs by itself */
    OVER   /* has its answer, and nothing in the transaction */
};

/* Whether it does the same here as on its own connection, and nothing that could not be taken back. */
static bool is_the_same_here(ll_writer *writer, const ll_request *request, struct lli_stmt *stmt)
{
    ll_conn *conn = writer->conn;
    if (!stmt->raw || stmt->read_only || stmt->bulky)
        return false;
    const struct lli_program *program = lli_stmt_program_of_write(&conn->db.cache, stmt,
                                                                  writer->cookie);
    bool clean = conn->fit.clean && (lli_group_has_no_home(request) || request->conn->fit.clean);
    return program->known && program->writes && program->cookie == writer->cookie &&
           !program->temp && !program->attached && !program->uses_vtab && !program->asks &&
           !program->collates && !program->own && (clean || !program->foreign);
}

/* Whether its connection still is set as this one: it was asked when it joined, perhaps before anything was known. */
static bool suits(const ll_writer *writer, const ll_request *request)
{
    return lli_group_has_no_home(request) ||
           memcmp(&writer->conn->fit.print, &request->conn->fit.print,
                  sizeof writer->conn->fit.print) == 0;
}

static size_t held_bytes(const ll_request *request)
{
    size_t bytes = 0;
    for (struct lli_node *node = lli_list_first(&request->batches); node;
         node = lli_list_next(&request->batches, node))
        bytes += LLI_CONTAINER_OF(node, ll_batch, node)->bytes;
    return bytes;
}

/* How stepping ended. */
struct stepped {
    int rc;
    bool torn;  /* in the middle: what it has done is in the transaction, and may not stay */
    bool bulky; /* ... because its rows are too many to be held for others */
};

static struct stepped step(ll_writer *writer, ll_request *request, struct lli_stmt *stmt)
{
    ll_conn *conn = writer->conn;
    struct stepped stepped = {0};
    bool keep = !(request->in.sql.flags & LL_SQL_DISCARD);
    while ((stepped.rc = lli_run_step(conn, stmt->raw, false)) == SQLITE_ROW) {
        if (lli_run_note_columns(request, stmt) != LL_OK ||
            (keep && lli_run_keep_row(conn, request, stmt) != LL_OK))
            return (struct stepped){.rc = SQLITE_NOMEM, .torn = true};
        /* Who is the first need not care: it has begun, and is committed right behind this. */
        if (keep && writer->count > 0 && held_bytes(request) > writer->most_bytes)
            return (struct stepped){.rc = SQLITE_TOOBIG, .torn = true, .bulky = true};
    }
    if (stepped.rc == SQLITE_DONE && lli_run_note_columns(request, stmt) != LL_OK)
        return (struct stepped){.rc = SQLITE_NOMEM, .torn = true};
    return stepped;
}

/* Errors that another connection might not have. */
static bool is_doubtful(int rc)
{
    int primary = rc & 0xff;
    return primary == SQLITE_BUSY || primary == SQLITE_LOCKED || primary == SQLITE_SCHEMA ||
           primary == SQLITE_PROTOCOL;
}

static bool leaves_violations(ll_conn *conn)
{
    int now = 0, most = 0;
    return conn->fit.foreign_keys &&
           lli_sq.db_status(conn->db.handle, SQLITE_DBSTATUS_DEFERRED_FKS, &now, &most, 0) ==
               SQLITE_OK &&
           now != 0;
}

/* Notes what came of a statement that was stepped, before it is reset. */
static void note_end(ll_writer *writer, ll_request *request, const struct lli_stmt *stmt,
                     const struct stepped *stepped, int64_t before)
{
    ll_conn *conn = writer->conn;
    int64_t total = lli_db_total_changes(&conn->db) - before;
    bool in_transaction = lli_db_in_transaction(&conn->db);
    request->member.ran = true;
    request->member.changes = in_transaction ? lli_db_changes(&conn->db) : 0;
    request->member.total = in_transaction ? total : 0;
    request->rowid = lli_sq.last_insert_rowid(conn->db.handle);
    if (stepped->rc == SQLITE_DONE) {
        if (stmt->kind == LLI_KIND_DML || total != 0)
            request->changes = request->member.changes;
        request->outcome = LL_APPLIED;
        return;
    }
    lli_run_fail(conn, request, stepped->rc, in_transaction && total != 0);
    lli_tenant_note_error(conn, request->error.pub.sqlite_code);
    lli_run_drop_rows(request);
}

/* Steps one that is bound. */
static enum fate run_bound(ll_writer *writer, ll_request *request, struct lli_stmt *stmt)
{
    ll_conn *conn = writer->conn;
    bool homeless = lli_group_has_no_home(request);
    bool savepoint = conn->fit.foreign_keys && writer->deferred;
    if (savepoint && lli_run_text(conn, savepoint_text) != SQLITE_OK) {
        lli_stmt_give(&conn->db.cache, stmt);
        writer->lost = true; /* by no fault of its own */
        return ALONE;
    }
    /* Whatever moves it now has moved the home's. */
    lli_sq.set_last_insert_rowid(conn->db.handle,
                                 homeless ? 0 : lli_sq.last_insert_rowid(request->conn->db.handle));
    int64_t before = lli_db_total_changes(&conn->db);
    struct stepped stepped = step(writer, request, stmt);
    note_end(writer, request, stmt, &stepped, before);
    stmt->bulky = stmt->bulky || stepped.bulky;
    lli_stmt_give(&conn->db.cache, stmt);
    arm(writer, 0);
    bool ended = !lli_db_in_transaction(&conn->db);
    if (ended || stepped.torn) {
        writer->lost = true;
        if (stepped.bulky)
            return ALONE;
        if ((request->error.pub.sqlite_code & 0xff) != SQLITE_IOERR || !ended)
            request->outcome = LL_NOT_APPLIED;
        void_results(request);
        return OVER;
    }
    bool undo = is_doubtful(stepped.rc) || leaves_violations(conn);
    int rc = SQLITE_OK;
    if (savepoint) {
        rc = undo ? lli_run_text(conn, undo_text) : SQLITE_OK;
        rc = rc == SQLITE_OK ? lli_run_text(conn, release_text) : rc;
    }
    /* (A statement that met a lock has done nothing. A violation without a savepoint cannot be.) */
    writer->lost = rc != SQLITE_OK || (undo && !savepoint && leaves_violations(conn));
    return undo || writer->lost ? ALONE : KEPT;
}

static enum fate run_member(ll_writer *writer, ll_request *request)
{
    ll_conn *conn = writer->conn;
    struct lli_stmt *stmt;
    enum lli_stop stop = stop_of(request);
    if (stop != LLI_STOP_NONE) {
        lli_request_set_stopped(request, stop, false);
        return OVER;
    }
    if (request->member.lost >= LOST_FOR_GOOD || !suits(writer, request))
        return ALONE;
    arm(writer, 0);
    if (lli_stmt_take(&conn->db.cache, request->in.sql.text, request->in.sql.size, &stmt,
                      &request->error) != LL_OK)
        return ALONE;
    if (!is_the_same_here(writer, request, stmt) ||
        lli_bind(conn->db.handle, stmt->raw, &request->in.sql.params, false, &request->error) !=
            LL_OK) {
        lli_stmt_give(&conn->db.cache, stmt);
        return ALONE;
    }
    stmt->bound_numbers = lli_params_are_numbers(&request->in.sql.params);
    request->dml = stmt->kind == LLI_KIND_DML;
    lli_run_arm(conn, request, (request->flags & LL_SUBMIT_INTERRUPT) != 0, false);
    return run_bound(writer, request, stmt);
}

/* Runs members until nobody waits, it is enough, or the transaction is lost. */
static void carry_out(ll_writer *writer)
{
    uint64_t until = lli_deadline_after(writer->most_ns);
    writer->lost = false;
    while (!writer->lost && lli_list_empty(&writer->solo) && writer->count < writer->most_members &&
           writer->bytes < writer->most_bytes && (writer->count == 0 || lli_now_ns() < until)) {
        ll_request *request = member_of(lli_list_pop(&writer->again));
        if (!request && !(request = lli_group_next(writer)))
            break;
        enum fate fate = run_member(writer, request);
        writer->lost = writer->lost || !lli_db_in_transaction(&writer->conn->db);
        if (fate == KEPT &&
            writer->lost) { /* cannot be; but it must not be told that it is there */
            forget(request);
            fate = ALONE;
        }
        switch (fate) {
        case KEPT:
            lli_list_push(&writer->batch, &request->queue_node);
            writer->count++;
            writer->bytes += held_bytes(request);
            break;
        case ALONE:
            forget(request);
            if (writer->lost) { /* those before it come first */
                lli_list_push_front(&writer->again, &request->queue_node);
                request->member.lost = LOST_FOR_GOOD;
            } else {
                leave_alone(writer, request);
            }
            break;
        case OVER:
            lli_group_answer(request);
            break;
        }
    }
    arm(writer, 0); /* the member that the guard knows may be gone */
}

/* ---- the transaction ends ---- */

/* Takes it back, if there is something to be taken back. */
static void roll_back(ll_writer *writer)
{
    ll_conn *conn = writer->conn;
    arm(writer, 0);
    if (lli_db_in_transaction(&conn->db))
        (void)lli_run_text(conn, "ROLLBACK");
    arm(writer, 0);
}

/* COMMIT has failed, and not because of a lock: that is everybody's error. */
static void fail_all(ll_writer *writer, int rc)
{
    bool unknown = (rc & 0xff) == SQLITE_IOERR;
    lli_tenant_note_error(writer->conn, rc);
    for (struct lli_node *node = lli_list_first(&writer->batch); node;
         node = lli_list_next(&writer->batch, node)) {
        ll_request *request = member_of(node);
        void_results(request);
        lli_error_from_sqlite(&request->error, writer->conn->db.handle, rc); /* unless it has one */
        request->outcome = unknown ? LL_UNKNOWN : LL_NOT_APPLIED;
    }
    roll_back(writer);
    answer_all(writer);
}

/* COMMIT met a lock. True: and waits for it. */
static bool wait_to_commit(ll_writer *writer, bool ends, uint64_t *ret_park_ns)
{
    uint64_t now = lli_now_ns(), earliest = earliest_of(&writer->batch);
    if (!ends && now < earliest) {
        uint64_t span = next_step(writer);
        *ret_park_ns = span < earliest - now ? span : earliest - now;
        return true;
    }
    roll_back(writer);
    end_impatient(&writer->batch, now, false, &writer->count);
    scatter(writer);
    return false;
}

/* Whether the engine of a member ends. Then nobody waits for a lock on its behalf. */
static bool any_closes(ll_writer *writer)
{
    for (struct lli_node *node = lli_list_first(&writer->batch); node;
         node = lli_list_next(&writer->batch, node))
        if (stop_of(member_of(node)) == LLI_STOP_CLOSE)
            return true;
    return false;
}

/* False: it is parked, with the transaction open. */
static bool end_transaction(ll_writer *writer, uint64_t *ret_park_ns)
{
    ll_conn *conn = writer->conn;
    if (writer->lost || writer->count == 0) {
        roll_back(writer);
        if (writer->lost)
            scatter(writer);
        writer->lost = false;
        return true;
    }
    bool ends = any_closes(writer);
    if (ends)
        atomic_store_explicit(&writer->run.stop, LLI_STOP_CLOSE, memory_order_relaxed);
    arm(writer, earliest_of(&writer->batch));
    int rc = lli_run_text(conn, "COMMIT");
    writer->committing = rc != SQLITE_OK && lli_run_met_lock(conn, rc) &&
                         wait_to_commit(writer, ends || any_closes(writer), ret_park_ns);
    if (writer->committing)
        return false;
    writer->tries = 0;
    if (rc == SQLITE_OK) {
        count_batch(writer, writer->count);
        answer_all(writer);
    } else if (writer->count > 0) {
        fail_all(writer, rc);
    }
    return true;
}

/* This run is over; there is another one if somebody waits. */
static enum lli_run_result rest(ll_writer *writer)
{
    ll_request *request;
    ll_conn *conn = writer->conn;
    while ((request = member_of(lli_list_pop(&writer->solo))) != NULL)
        lli_group_send_home(request);
    bool open = conn->db.handle && lli_db_in_transaction(&conn->db);
    if (!open && lli_list_empty(&writer->again) && lli_group_rests(writer))
        return LLI_RUN_DONE;
    lli_group_ref(writer);
    (void)lli_conn_enqueue(conn, &writer->run);
    return LLI_RUN_DONE;
}

enum lli_run_result lli_run_group(ll_conn *conn, ll_request *run, uint64_t *ret_park_ns)
{
    ll_writer *writer = run->in.writer;
    lli_group_begin(writer);
    if (!conn->db.handle) {
        leave_all_alone(writer);
        return rest(writer);
    }
    if (conn->db.adopted) /* its owner may have put other handlers there meanwhile */
        lli_own_install_guard(conn);
    if (!writer->committing) {
        if (lli_db_in_transaction(&conn->db)) /* there was no memory to end the last one */
            roll_back(writer);
        if (lli_db_in_transaction(&conn->db)) {
            *ret_park_ns = next_step(writer);
            return LLI_RUN_PARK;
        }
        switch (open_transaction(writer, ret_park_ns)) {
        case PARKED:
            return LLI_RUN_PARK;
        case NOTHING:
            return rest(writer);
        default:
            carry_out(writer);
            break;
        }
    }
    return end_transaction(writer, ret_park_ns) ? rest(writer) : LLI_RUN_PARK;
}
