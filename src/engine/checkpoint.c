/* checkpoint.c: checkpoints in the background.
 *
 * SQLite makes a checkpoint inside the COMMIT that brings the WAL to a thousand frames, so one writer in many waits
 * for everybody's pages to be written and synced. A pool makes it beside, on a connection that no statement of the
 * program runs on, when the WAL has grown by some frames.
 *
 * PASSIVE waits for nobody: it copies as far as no reader is in the way. Above the bound it is TRUNCATE, which
 * succeeds at the first moment at which nobody reads from the WAL, and says BUSY at once otherwise (the busy handler
 * of our connections waits for nothing unless it holds the write lock).
 *
 * Both are made under the write gate of the file. SQLite up to 3.51.2 can corrupt an index if a checkpoint begins
 * right behind one that has finished, while another connection begins the WAL anew: so no writer of this process
 * runs meanwhile, and none is begun when nothing is to be copied. With later versions a PASSIVE one needs no gate.
 *
 * With `synchronous` NORMAL no commit syncs the WAL, and the checkpoint begins with that: four fifths of its time ([M] 2.4
 * of 3 ms for a thousand frames). Whoever syncs the file syncs it for all. So it is done before the gate, while others write,
 * and what is left for the checkpoint is what they have written meanwhile. */
#include "engine/checkpoint.h"

#include "db/vfs_shim.h"
#include "engine/facts.h"
#include "engine/run.h"
#include "engine/worker.h"
#include "platform/clock.h"

#include <string.h>

enum {
    FIRST_SAFE_VERSION = 3051003,
    SYNCHRONOUS_NORMAL = 1
};

/* How long it stands in the line of the writers. */
static const uint64_t patience_ns = 1000 * LLI_MS;

/* Whether commits leave the WAL's sync to the checkpoint. */
static bool leaves_sync(ll_conn *conn)
{
    static const char sql[] = "PRAGMA main.synchronous";
    struct lli_stmt *stmt;
    struct lli_error error = {0};
    bool normal = false;
    if (lli_stmt_take(&conn->db.cache, sql, strlen(sql), &stmt, &error) == LL_OK) {
        normal = lli_sq.step(stmt->raw) == SQLITE_ROW &&
                 lli_sq.column_int(stmt->raw, 0) == SYNCHRONOUS_NORMAL;
        lli_stmt_give(&conn->db.cache, stmt);
    }
    lli_error_done(&error);
    return normal;
}

/* A SQLite code. An error is the checkpoint's own: the kernel tells of a page that could not be written once, and the
 * next sync of the same descriptor would succeed. */
static int sync_wal(ll_conn *conn)
{
    sqlite3_file *wal = NULL;
    if (!leaves_sync(conn) ||
        lli_sq.file_control(conn->db.handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal) !=
            SQLITE_OK ||
        !wal || !wal->pMethods)
        return SQLITE_OK;
    lli_crew_nap_begin(
        conn->crew); /* a thread that waits for the disk leaves its core to another */
    int rc = wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL);
    lli_crew_nap_end(conn->crew);
    return rc;
}

int lli_checkpoint_run(ll_conn *conn, struct lli_checkpoint *checkpoint, uint64_t *ret_park_ns)
{
    /* An adopted handle is looked at before its first statement, and this connection may have had none. */
    if (conn->db.handle && !conn->db.snapshot.file)
        lli_facts_learn(conn);
    const struct lli_vfs_file *file = conn->db.snapshot.file;
    struct lli_guard *guard = &conn->db.guard;
    uint64_t again;
    int log = -1, done = -1;
    checkpoint->none = true;
    checkpoint->busy = false;
    checkpoint->code = SQLITE_OK;
    if (!conn->db.handle || !file)
        return LLI_RUN_DONE;
    lli_guard_arm(guard);
    guard->stop = NULL;
    guard->deadline_ns = LLI_NEVER;
    guard->busy_until_ns = 0;
    /* The wal-index may not be mapped before the first read. */
    if (!lli_vfs_wal_index(file) && lli_run_text(conn, "PRAGMA schema_version") != SQLITE_OK)
        return LLI_RUN_DONE;
    if (!lli_snapshot_frames(file, &checkpoint->frames, &checkpoint->filled))
        return LLI_RUN_DONE;
    bool empty = checkpoint->frames > checkpoint->bound;
    if (checkpoint->filled == checkpoint->frames)
        return LLI_RUN_DONE; /* the next writer begins the WAL anew by itself, once nobody reads from it */
    if (empty || lli_sq.version < FIRST_SAFE_VERSION) {
        if (!checkpoint->synced && (checkpoint->code = sync_wal(conn)) != SQLITE_OK) {
            checkpoint->none = false;
            return LLI_RUN_DONE;
        }
        checkpoint->synced = true;
        uint64_t now = lli_now_ns();
        if (!lli_gate_enter(&conn->seat, now, &again)) {
            if (checkpoint->until_ns == 0)
                checkpoint->until_ns = now + patience_ns;
            if (now >= checkpoint->until_ns)
                return LLI_RUN_DONE; /* somebody writes for long: when there is more, then */
            if (again > checkpoint->until_ns)
                again = checkpoint->until_ns;
            *ret_park_ns = again > now ? again - now : LLI_MS; /* or when it is its turn */
            return LLI_RUN_PARK;
        }
        /* Somebody may have done it meanwhile. */
        if (!lli_snapshot_frames(file, &checkpoint->frames, &checkpoint->filled) ||
            checkpoint->filled == checkpoint->frames)
            return LLI_RUN_DONE;
    }
    checkpoint->none = false;
    checkpoint->code = lli_sq.wal_checkpoint_v2(
        conn->db.handle, "main", empty ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE,
        &log, &done);
    checkpoint->busy = checkpoint->code == SQLITE_BUSY || (log >= 0 && done < log);
    if (!lli_snapshot_frames(file, &checkpoint->frames, &checkpoint->filled))
        checkpoint->frames = checkpoint->filled = 0;
    return LLI_RUN_DONE;
}
