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
 * runs meanwhile, and none is begun when nothing is to be copied. With later versions a PASSIVE one needs no gate. */
#include "engine/checkpoint.h"

#include "db/vfs_shim.h"
#include "engine/facts.h"
#include "engine/run.h"
#include "platform/clock.h"

enum {
    FIRST_SAFE_VERSION = 3051003
};

/* How long it stands in the line of the writers. */
static const uint64_t patience_ns = 1000 * LLI_MS;

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
