/* reset.c: from one owner of a pooled connection to the next.
 *
 * In order: live statements end (their cursors are told), an open transaction is rolled back, prepared handles lose
 * their statement, and settings are compared with those that the connection was opened with. What differs is set
 * back where a PRAGMA does that, and is compared again. What cannot be set back, or cannot be seen at all (a function
 * that was registered, a hook), makes the connection unfit: the pool closes it and opens another, which costs less
 * than finding out ([M] 27 PRAGMAs take some 60 us on a worker, opening 35 to 50).
 *
 * Settings are compared only if a statement ran that may have changed one (tenant.c): most owners leave nothing.
 *
 * The fingerprint holds what belongs to a connection, not to the file. The journal mode is both: WAL is written into
 * the file, so a change to or from it is everybody's and is taken over; the others are this connection's alone. */
#include "engine/reset.h"

#include "db/sqlerror.h"
#include "db/vfs_shim.h"
#include "engine/facts.h"
#include "engine/resident.h"
#include "engine/run.h"
#include "engine/stmt.h"
#include "engine/stream.h"

#include <stdio.h>
#include <string.h>

/* In the order of lli_fingerprint.values. */
static const struct {
    const char *name;
    const char *query; /* NULL: the PRAGMA of that name */
    const char *undo;  /* takes the old value; NULL: it cannot be set back */
} settings[] = {
    {"foreign_keys", NULL, "PRAGMA foreign_keys=%lld"},
    {"recursive_triggers", NULL, "PRAGMA recursive_triggers=%lld"},
    {"query_only", NULL, "PRAGMA query_only=%lld"},
    {"ignore_check_constraints", NULL, "PRAGMA ignore_check_constraints=%lld"},
    {"writable_schema", NULL, "PRAGMA writable_schema=%lld"},
    {"trusted_schema", NULL, "PRAGMA trusted_schema=%lld"},
    {"cache_size", NULL, "PRAGMA cache_size=%lld"},
    {"cache_spill", NULL, NULL}, /* reads back another number than it was set to */
    {"synchronous", NULL, "PRAGMA synchronous=%lld"},
    {"temp_store", NULL, "PRAGMA temp_store=%lld"},
    {"automatic_index", NULL, "PRAGMA automatic_index=%lld"},
    {"cell_size_check", NULL, "PRAGMA cell_size_check=%lld"},
    {"checkpoint_fullfsync", NULL, "PRAGMA checkpoint_fullfsync=%lld"},
    {"fullfsync", NULL, "PRAGMA fullfsync=%lld"},
    {"read_uncommitted", NULL, "PRAGMA read_uncommitted=%lld"},
    {"reverse_unordered_selects", NULL, "PRAGMA reverse_unordered_selects=%lld"},
    {"legacy_alter_table", NULL, "PRAGMA legacy_alter_table=%lld"},
    {"count_changes", NULL, "PRAGMA count_changes=%lld"},
    {"full_column_names", NULL, "PRAGMA full_column_names=%lld"},
    {"short_column_names", NULL, "PRAGMA short_column_names=%lld"},
    {"empty_result_callbacks", NULL, "PRAGMA empty_result_callbacks=%lld"},
    {"mmap_size", NULL, NULL},
    {"journal_size_limit", NULL, "PRAGMA journal_size_limit=%lld"},
    {"wal_autocheckpoint", NULL, "PRAGMA wal_autocheckpoint=%lld"},
    {"threads", NULL, "PRAGMA threads=%lld"},
    {"secure_delete", NULL, "PRAGMA secure_delete=%lld"},
    {"max_page_count", NULL, "PRAGMA max_page_count=%lld"},
    {"analysis_limit", NULL, "PRAGMA analysis_limit=%lld"},
    {"locking_mode", NULL, NULL},
    {"case_sensitive_like", "SELECT 'a' NOT LIKE 'A'", "PRAGMA case_sensitive_like=%lld"},
    {"a temporary object", "SELECT count(*) FROM sqlite_temp_master", NULL},
    {"journal_mode", NULL, NULL},
};
enum {
    SETTINGS = LLI_COUNT(settings),
    JOURNAL_MODE = SETTINGS - 1
};
_Static_assert((int)SETTINGS == (int)LLI_SETTINGS, "one value each");

static int64_t hash_text(int64_t hash, const char *text)
{
    uint64_t h = (uint64_t)hash;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return (int64_t)h;
}

/* These statements belong to no request. */
static void arm(ll_conn *conn)
{
    struct lli_guard *guard = &conn->db.guard;
    lli_guard_arm(guard);
    guard->stop = NULL;
    guard->deadline_ns = LLI_NEVER;
    guard->busy_until_ns = 0;
    guard->interruptible = guard->deadline_breaks = false;
    guard->committing = false;
}

/* Runs a text; the first value of its first row as a number, a text as its hash, 0 without a row. (Not through the
 * statement cache: it is the owners'.) */
static int ask(ll_conn *conn, const char *sql, int64_t *ret_value)
{
    sqlite3_stmt *stmt = NULL;
    *ret_value = 0;
    int rc = lli_sq.prepare_v3(conn->db.handle, sql, -1, 0, &stmt, NULL);
    if (rc != SQLITE_OK)
        return rc;
    rc = lli_sq.step(stmt);
    if (rc == SQLITE_ROW && lli_sq.column_count(stmt) > 0) {
        sqlite3_value *value = lli_sq.column_value(stmt, 0);
        const char *text;
        if (lli_sq.value_type(value) == SQLITE_TEXT &&
            (text = (const char *)lli_sq.column_text(stmt, 0)) != NULL)
            *ret_value = hash_text(0, text);
        else
            *ret_value = lli_sq.value_int64(value);
    }
    lli_sq.finalize(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int ask_setting(ll_conn *conn, size_t i, int64_t *ret_value)
{
    char sql[64];
    if (settings[i].query)
        return ask(conn, settings[i].query, ret_value);
    snprintf(sql, sizeof sql, "PRAGMA %s", settings[i].name);
    return ask(conn, sql, ret_value);
}

/* What is attached beside "main" and "temp". */
static int count_attached(ll_conn *conn, unsigned *ret_count)
{
    sqlite3_stmt *stmt = NULL;
    *ret_count = 0;
    int rc = lli_sq.prepare_v3(conn->db.handle, "PRAGMA database_list", -1, 0, &stmt, NULL);
    if (rc != SQLITE_OK)
        return rc;
    while ((rc = lli_sq.step(stmt)) == SQLITE_ROW)
        *ret_count += lli_sq.column_int(stmt, 0) >= 2;
    lli_sq.finalize(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

void lli_reset_learn(ll_conn *conn)
{
    struct lli_fingerprint *birth = &conn->tenant.birth;
    arm(conn);
    birth->busy_timeout_ns = conn->busy_timeout_ns;
    birth->own_code = atomic_load_explicit(&conn->own_code, memory_order_relaxed);
    birth->known = count_attached(conn, &birth->attached) == SQLITE_OK;
    for (size_t i = 0; i < SETTINGS && birth->known; i++)
        birth->known = ask_setting(conn, i, &birth->values[i]) == SQLITE_OK;
    lli_lock(&conn->mu);
    conn->tenant.touched = conn->tenant.handle_used = conn->tenant.broken = false;
    lli_unlock(&conn->mu);
}

/* What the pragmas of the options set, they set. */
static bool is_set_by_pragma(const ll_conn *conn, const char *name)
{
    for (char **pragma = conn->pragmas; pragma && *pragma; pragma++)
        if (strcasestr(*pragma, name))
            return true;
    return false;
}

/* Whether the landlord is told how the WAL grows (tenant.c); else nobody but SQLite makes checkpoints. */
static bool is_counted(ll_conn *conn)
{
    struct lli_file_facts facts;
    return !(conn->options.flags & LL_OPEN_NO_INLINE) &&
           lli_vfs_file_facts(conn->db.handle, "main", &facts) && facts.file &&
           facts.guard != LLI_DISK_NONE && lli_disk_guard_guards(facts.guard);
}

/* Whether the name leads to another file than the one that was opened, or to none, already. */
static bool has_moved(ll_conn *conn, const ll_request *request)
{
    struct lli_file_facts facts;
    if (!conn->db.handle)
        return request->error.pub.sqlite_code == SQLITE_READONLY_DBMOVED;
    return lli_vfs_file_facts(conn->db.handle, "main", &facts) && !facts.memory && facts.moved;
}

int lli_tenant_open(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    enum {
        LOOKS = 200,
        TRIES = 4 /* there are file systems that give a file another number each time */
    };
    struct lli_tenant *tenant = &conn->tenant;
    for (int tries = 1;; tries++) {
        if (lli_run_open(conn, request, ret_park_ns) == LLI_RUN_PARK)
            return LLI_RUN_PARK;
        if (tries == TRIES || !has_moved(conn, request))
            break;
        lli_run_unopen(conn, request);
    }
    if (!conn->db.handle || request->error.pub.status < 0)
        return LLI_RUN_DONE;
    int64_t ignored = INT64_C(1) << 46; /* bytes; it is 1 GB without a word */
    arm(conn);
    if (tenant->memory_key != 0)
        lli_sq.file_control(conn->db.handle, "main", SQLITE_FCNTL_SIZE_LIMIT, &ignored);
    if (tenant->no_checkpoints && (tenant->wal_step == 0 || is_counted(conn)) &&
        !is_set_by_pragma(conn, "wal_autocheckpoint"))
        (void)ask(conn, "PRAGMA wal_autocheckpoint=0", &ignored);
    if (tenant->pooled)
        lli_reset_learn(conn);
    /* Somebody is committing, perhaps. */
    if (tenant->pooled && !tenant->birth.known && request->progress++ < LOOKS) {
        *ret_park_ns = 2 * LLI_MS;
        return LLI_RUN_PARK;
    }
    return LLI_RUN_DONE;
}

static void unfit(struct lli_reset *reset, const char *why, const char *name)
{
    if (reset->unfit)
        return;
    reset->unfit = true;
    snprintf(reset->why, sizeof reset->why, "%s%s", why, name ? name : "");
}

/* Sets one setting back. False: it is as it was. */
static bool undo(ll_conn *conn, size_t i, int64_t old)
{
    char sql[80];
    int64_t now;
    if (!settings[i].undo)
        return false;
        /* The formats are those of the table above. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(sql, sizeof sql, settings[i].undo, (long long)old);
#pragma GCC diagnostic pop
    return ask(conn, sql, &now) == SQLITE_OK && ask_setting(conn, i, &now) == SQLITE_OK &&
           now == old;
}

static bool is_wal(int64_t journal_mode)
{
    return journal_mode == hash_text(0, "wal");
}

static void compare(ll_conn *conn, struct lli_reset *reset)
{
    struct lli_fingerprint *birth = &conn->tenant.birth;
    unsigned attached;
    if (!birth->known) {
        unfit(reset, "its settings were never known", NULL);
        return;
    }
    if (conn->busy_timeout_ns != birth->busy_timeout_ns) {
        conn->busy_timeout_ns = birth->busy_timeout_ns;
        reset->undone = true;
        snprintf(reset->why, sizeof reset->why, "busy_timeout");
    }
    if (count_attached(conn, &attached) != SQLITE_OK || attached != birth->attached)
        unfit(reset, "other files are attached", NULL);
    for (size_t i = 0; i < SETTINGS && !reset->unfit; i++) {
        int64_t now;
        if (ask_setting(conn, i, &now) != SQLITE_OK) {
            unfit(reset, "a setting cannot be read: ", settings[i].name);
        } else if (now == birth->values[i]) {
            continue;
        } else if (i == JOURNAL_MODE && (is_wal(now) || is_wal(birth->values[i]))) {
            birth->values[i] = now;
        } else if (undo(conn, i, birth->values[i])) {
            reset->undone = true;
            snprintf(reset->why, sizeof reset->why, "%s", settings[i].name);
        } else {
            unfit(reset, "it was left with ", settings[i].name);
        }
    }
    conn->facts_stale = true;
}

/* Whether the file is there, is the one that was opened, and can be read. */
static void look_at_file(ll_conn *conn, struct lli_reset *reset)
{
    struct lli_file_facts facts;
    int64_t version;
    if (lli_vfs_file_facts(conn->db.handle, "main", &facts) && !facts.memory && facts.moved) {
        unfit(reset, "its file was moved, removed or replaced", NULL);
        return;
    }
    int rc = ask(conn, "PRAGMA schema_version", &version);
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY && (rc & 0xff) != SQLITE_LOCKED)
        unfit(reset, "its file cannot be read: ", lli_sq.errstr(rc));
}

static void end_statements(ll_conn *conn, struct lli_reset *reset)
{
    struct lli_node *node;
    while ((node = lli_list_first(&conn->streams)) != NULL) {
        lli_stream_cut(LLI_CONTAINER_OF(node, ll_cursor, stream_node),
                       "the connection was given back to its pool");
        reset->statements++;
    }
    reset->statements += lli_resident_cut(conn, "the connection was given back to its pool");
    while ((node = lli_list_pop(&conn->prepared)) != NULL) {
        ll_stmt *stmt = LLI_CONTAINER_OF(node, ll_stmt, node);
        stmt->pinned->pins--;
        stmt->pinned = NULL;
    }
    /* What the program stepped by itself. */
    for (sqlite3_stmt *stmt = lli_sq.next_stmt(conn->db.handle, NULL); stmt;
         stmt = lli_sq.next_stmt(conn->db.handle, stmt))
        if (lli_sq.stmt_busy(stmt)) {
            lli_sq.reset(stmt);
            reset->statements++;
        }
}

static void end_transaction(ll_conn *conn, struct lli_reset *reset)
{
    int64_t ignored;
    lli_lock(&conn->mu);
    reset->was_aborted = conn->tenant.aborted;
    memcpy(reset->wrote, conn->tenant.wrote, sizeof reset->wrote);
    lli_unlock(&conn->mu);
    if (lli_db_in_transaction(&conn->db)) {
        reset->rolled_back = true;
        reset->dropped_writes = lli_sq.txn_state(conn->db.handle, NULL) == SQLITE_TXN_WRITE;
        if (ask(conn, "ROLLBACK", &ignored) != SQLITE_OK || lli_db_in_transaction(&conn->db))
            unfit(reset, "its transaction cannot be rolled back", NULL);
    }
    if (!reset->dropped_writes && !reset->was_aborted)
        reset->wrote[0] = '\0';
}

void lli_reset_run(ll_conn *conn, bool look, struct lli_reset *ret_reset)
{
    struct lli_tenant *tenant = &conn->tenant;
    memset(ret_reset, 0, sizeof *ret_reset);
    atomic_fetch_add_explicit(&tenant->lease, 1, memory_order_relaxed);
    if (!conn->db.handle) {
        unfit(ret_reset, "it was closed", NULL);
        return;
    }
    arm(conn);
    end_statements(conn, ret_reset);
    end_transaction(conn, ret_reset);
    if (tenant->handle_used || lli_own_has(conn, LLI_OWN_TOUCHED))
        unfit(ret_reset, "its handle was used by the program itself", NULL);
    if (atomic_load_explicit(&conn->own_code, memory_order_relaxed) != tenant->birth.own_code)
        unfit(ret_reset, "code of the program was registered on it", NULL);
    if (tenant->touched && !ret_reset->unfit)
        compare(conn, ret_reset);
    if (tenant->broken)
        unfit(ret_reset, "it met an error of its file", NULL);
    if (look && !ret_reset->unfit)
        look_at_file(conn, ret_reset);
    lli_lock(&conn->mu);
    tenant->touched = tenant->aborted = false;
    tenant->wrote[0] = tenant->pin[0] = '\0';
    tenant->pin_ns = 0;
    lli_unlock(&conn->mu);
}
