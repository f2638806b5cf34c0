/* facts.c: learning whether a connection's statements may be tried on the loop.
 *
 * The answers come from the VFS shim and from PRAGMAs, cost some microseconds, and change only by PRAGMA,
 * ATTACH, DETACH and what a program does with the handle itself. So they are learned on the worker that
 * opened the file, and again behind each request that may have changed them; until then, and whenever
 * something is unknown, nothing runs on the loop.
 *
 * Nothing is asked inside a transaction: SQLite rolls a transaction back when any statement in it, even one
 * that only reads, meets an I/O error or runs out of memory, and nobody would be told.
 *
 * An adopted connection is not looked at before its first statement: to ask for its journal mode would read
 * the file, which whoever opened it may not expect. If that statement begins a transaction, the last moment
 * is right before it: behind it, no statement of the whole transaction could run on the loop. */
#include "engine/facts.h"

#include "db/cost.h"
#include "db/snapshot.h"
#include "db/vfs_shim.h"

#include <stdlib.h>
#include <string.h>

/* The first value of a PRAGMA as text; false if it has none or fails. */
static bool ask(ll_conn *conn, const char *sql, char *ret_text, size_t room)
{
    struct lli_stmt *stmt;
    struct lli_error error = {0};
    if (lli_stmt_take(&conn->db.cache, sql, strlen(sql), &stmt, &error) != LL_OK) {
        lli_error_done(&error);
        return false;
    }
    bool found = false;
    if (lli_sq.step(stmt->raw) == SQLITE_ROW) {
        const unsigned char *text = lli_sq.column_text(stmt->raw, 0);
        if (text && strlen((const char *)text) < room) {
            strcpy(ret_text, (const char *)text);
            found = true;
        }
    }
    lli_stmt_give(&conn->db.cache, stmt);
    return found;
}

/* Adds the gates of one database: of its file, or of its cache if it may be a shared one. */
static ll_status add_gates(ll_conn *conn, const char *schema, bool may_share,
                           struct lli_gate_seat *seat, struct lli_gate_seat *turns)
{
    struct lli_file_facts facts;
    if (!lli_vfs_file_facts(conn->db.handle, schema, &facts))
        return LL_OK;
    uint64_t cache = (uint64_t)(uintptr_t)facts.pager;
    if (facts.memory && conn->tenant.memory_key != 0 && strcmp(schema, "main") == 0)
        LL_TRY(lli_gate_join(seat, LLI_GATE_CACHE, conn->tenant.memory_key, NULL));
    else if (facts.file && !facts.memory)
        LL_TRY(lli_gate_join(seat, facts.device, facts.inode, schema));
    else if (may_share && cache != 0)
        LL_TRY(lli_gate_join(seat, LLI_GATE_CACHE, cache, NULL));
    if (may_share && cache != 0)
        LL_TRY(lli_gate_join(turns, LLI_GATE_TURN, cache, NULL));
    return LL_OK;
}

/* Goes through all databases. Whether an attached one shares its cache cannot be asked for; its gates are its own
 * if it does not. Gives how many are attached beside "main" and "temp"; -1 if that cannot be told. */
static int list_gates(ll_conn *conn, struct lli_gate_seat *seat, struct lli_gate_seat *turns)
{
    static const char sql[] = "PRAGMA database_list";
    struct lli_stmt *stmt;
    struct lli_error error = {0};
    if (lli_stmt_take(&conn->db.cache, sql, sizeof sql - 1, &stmt, &error) != LL_OK) {
        lli_error_done(&error);
        return -1;
    }
    int count = 0, rc;
    while ((rc = lli_sq.step(stmt->raw)) == SQLITE_ROW) {
        int number = lli_sq.column_int(stmt->raw, 0);
        const char *schema = (const char *)lli_sq.column_text(stmt->raw, 1);
        count += number >= 2;
        if (number == 1)
            continue;
        bool may_share = number >= 2 || conn->shares_cache;
        if (!schema || add_gates(conn, schema, may_share, seat, turns) != LL_OK)
            break;
    }
    lli_stmt_give(&conn->db.cache, stmt);
    return rc == SQLITE_DONE ? count : -1;
}

/* Takes its places at the gates of the files and caches that it has now; as list_gates(). If that fails the old
 * ones stay: SQLite's own locks are behind them. */
static int learn_gates(ll_conn *conn)
{
    struct lli_gate_seat seat = {.conn = conn}, turns = {.conn = conn};
    int attached = list_gates(conn, &seat, &turns);
    if (attached >= 0) {
        lli_gate_move(&conn->seat, &seat);
        lli_gate_move(&conn->turns, &turns);
    }
    lli_gate_leave(&seat);
    lli_gate_leave(&turns);
    return attached;
}

static bool learn_cache(ll_conn *conn)
{
    char size[32], page[32];
    if (!ask(conn, "PRAGMA main.cache_size", size, sizeof size) ||
        !ask(conn, "PRAGMA main.page_size", page, sizeof page))
        return false;
    int64_t pages = strtoll(size, NULL, 10);
    conn->cache_bytes = pages < 0 ? -pages * 1024 : pages * strtoll(page, NULL, 10);
    return true;
}

/* Looks; gives the reason for what it finds. */
static const char *look(ll_conn *conn)
{
    struct lli_file_facts facts;
    char mode[32];
    conn->can_inline = conn->writes_late = conn->cookie_known = false;
    conn->disk = LLI_DISK_UNKNOWN;
    if (!conn->db.handle)
        return "it could not be opened";
    if (lli_db_in_transaction(&conn->db)) /* later: an error of ours could end it */
        return "a transaction is open, in which nothing is looked up";
    conn->facts_stale = false;
    lli_snapshot_allow(&conn->db, NULL);
    lli_guard_arm(&conn->db.guard);
    conn->db.guard.stop = NULL; /* these statements belong to no request */
    conn->db.guard.deadline_ns = LLI_NEVER;
    if (lli_own_has(conn, LL_OWN_AUTHORIZER | LL_OWN_TRACE | LL_OWN_PROGRESS)) {
        conn->facts_stale = true; /* it would see what we ask */
        return "an authorizer, a trace callback or a progress handler is set";
    }
    int attached = learn_gates(conn);
    if (attached < 0)
        conn->facts_stale = true; /* after the next request */
    if (conn->shares_cache)       /* a mutex that workers hold for long */
        return "it uses a shared cache";
    if (!lli_vfs_file_facts(conn->db.handle, "main", &facts))
        return "nothing is known of its file";
    conn->disk = facts.memory ? LLI_DISK_TMPFS : facts.guard;
    if (conn->options.flags & LL_OPEN_NO_INLINE)
        return "it was opened so (LL_OPEN_NO_INLINE)";
    if (!facts.memory && !facts.file)
        return "its file was not opened by looplite's VFS";
    if (!facts.memory && facts.moved)
        return "its file was moved or removed";
    if (!facts.memory && facts.guard == LLI_DISK_NONE)
        return "its reads do not come through looplite's hook";
    if (!facts.memory && !lli_disk_guard_guards(facts.guard))
        return "its file system may wait for a network or another process, or is not known";
    if (conn->file_key == 0)
        conn->file_key = facts.memory ? lli_cost_private_key()
                                      : lli_cost_file_key(facts.device, facts.inode);
    if (attached != 0)
        return "other databases are attached";
    if (!ask(conn, "PRAGMA main.journal_mode", mode, sizeof mode) || !learn_cache(conn)) {
        conn->facts_stale = true; /* locked: after the next request */
        return "its journal mode could not be asked for";
    }
    conn->writes_late = strcmp(mode, "wal") == 0 || strcmp(mode, "memory") == 0 ||
                        strcmp(mode, "off") == 0;
    conn->can_inline = true;
    if (facts.file && strcmp(mode, "wal") == 0)
        lli_snapshot_allow(&conn->db, facts.file);
    return facts.memory ? "there is no file to wait for"
                        : "its file can be read without waiting for the disk";
}

static void publish(ll_conn *conn, const char *reason)
{
    lli_lock(&conn->mu);
    conn->facts.on_loop = conn->can_inline;
    conn->facts.guard = conn->disk;
    conn->facts.reason = reason;
    lli_unlock(&conn->mu);
}

void lli_facts_learn(ll_conn *conn)
{
    publish(conn, look(conn));
}

void lli_facts_share(ll_conn *conn)
{
    /* Without, SQLite's own mutex is waited in, on a worker. */
    if (conn->shares_cache)
        (void)add_gates(conn, "main", true, &conn->seat, &conn->turns);
}

void lli_facts_forget(ll_conn *conn)
{
    lli_gate_leave(&conn->seat);
    lli_gate_leave(&conn->turns);
    conn->can_inline = false;
    conn->disk = LLI_DISK_UNKNOWN;
    publish(conn, "the connection is closed");
}

void lli_facts_mind(ll_conn *conn, enum lli_kind kind)
{
    bool adopted_first = conn->db.adopted && conn->file_key == 0;
    switch (kind) {
    case LLI_KIND_PRAGMA:
    case LLI_KIND_PRAGMA_BUSY_TIMEOUT:
    case LLI_KIND_PRAGMA_JOURNAL_MODE:
    case LLI_KIND_OTHER: /* ATTACH, DETACH, VACUUM, DDL */
        conn->facts_stale = true;
        conn->cookie_known = conn->fit.known = false;
        break;
    default:
        conn->facts_stale = conn->facts_stale || adopted_first;
        break;
    }
}

void lli_facts_make_room(ll_conn *conn)
{
    int most = 0;
    /* (Only a WAL takes pages before the commit without a lock on the database.) */
    if (!conn->cache_is_full || !conn->db.snapshot.file ||
        lli_sq.txn_state(conn->db.handle, "main") != SQLITE_TXN_WRITE)
        return;
    /* What fails here fails again, and is told, when SQLite has to write for a statement. */
    if (lli_sq.db_cacheflush(conn->db.handle) != SQLITE_OK ||
        lli_sq.db_status(conn->db.handle, SQLITE_DBSTATUS_CACHE_SPILL, &conn->spilled, &most, 0) !=
            SQLITE_OK)
        return;
    conn->cache_is_flushed = true;
    conn->cache_is_full = false;
}

void lli_facts_before(ll_conn *conn, const ll_request *request)
{
    bool never = conn->db.adopted && conn->file_key == 0;
    bool begins = request->kind == LLI_KIND_BEGIN || request->kind == LLI_KIND_SAVEPOINT ||
                  (request->kind == LLI_KIND_DML && request->in.sql.begin_before != LL_BEGIN_NONE);
    if (begins && !conn->seat.asked && !conn->turns.asked && (never || conn->facts_stale))
        lli_facts_learn(conn);
}

void lli_facts_cost(ll_conn *conn, struct lli_stmt *stmt)
{
    if (!stmt->cost && conn->file_key != 0)
        stmt->cost = lli_cost_get(conn->file_key, stmt->sql, stmt->entry.size);
}
