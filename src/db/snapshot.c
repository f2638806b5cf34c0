/* snapshot.c: reads without locks, in WAL mode.
 *
 * [M] Two thirds of a point read are the two lock calls that open and close its read transaction: 2.2
 * to 2.9 us with them, 0.7 to 0.9 us without, the look described below included. So a statement of our
 * own, the keeper, is stepped to its row and left there: while one statement of a connection reads, the
 * transaction stays open, autocommit stays on, and every read that is started joins it without a lock
 * (sqlite3BtreeBeginTrans() returns at once in a transaction that is open).
 *
 *   turn of the loop   read      read        read  read  read   ...   end
 *   lock calls         ====      =                                      =
 *   transaction        |--|      |--------------------------------------|
 *                                take                                   release
 *
 * Nobody may see that. A read alone sees what was committed when it began, but one that joins sees what
 * was committed when the snapshot was taken. So before each of them we look whether that is still the
 * same: every commit to a WAL changes the header of the wal-index, in memory that all connections
 * share, before it is over. The header is 48 bytes, written twice; its layout is documented
 * (walformat.html, "WAL-Index File Format") and has been the same since SQLite 3.7.0, whose number is
 * its version field: processes with different versions of SQLite share it. If both copies equal the
 * copy that we made when the snapshot was taken, then nobody has finished a commit since, and the
 * result is the one that a fresh transaction gives.
 *
 * Invariants
 *   1. held implies: `keeper` stands on a row, `copy` was read before its transaction began, and both
 *      copies of the header equalled it after.
 *   2. `copy` never describes a newer state than the transaction sees.
 *
 * The order. Copied after the transaction began, the copy may be newer than the transaction: somebody
 * commits between the two, the copy equals the header from then on, and every read gives old rows ([M] up
 * to 413 of a million beside a committing process; tests/c/db/test_snapshot.c does it on purpose).
 * Copied before, the worst is a copy that is older than the transaction, which looks like "somebody has
 * committed" at the first read and only wastes the take. The look afterwards finds that at once. A
 * counter in the header and new salts at each reset of the WAL make sure that no state comes back.
 *
 * A header that is only half written when we look belongs to a commit that is not over, so either
 * answer is right; words that differ are taken as "changed". Memory order: the loads are acquire, and a
 * commit that was over before the read was asked for happens before them, by whatever told the program
 * of it. They are loads of single words instead of a memcpy() and a fence, which ThreadSanitizer does
 * not understand.
 *
 * Also compared is nBackfill, how much of the WAL a checkpoint has copied. It changes no result. But a
 * transaction that began while frames were missing in the database holds a read mark, and as long as
 * somebody holds one the WAL cannot be begun anew; one that begins after all was copied holds none. So
 * a snapshot is given up when a checkpoint has got on.
 *
 * The keeper is PRAGMA main.schema_version: a transaction, one number out of page 1, which beginning a
 * transaction has read anyway, a row. It works on an empty database, opens no cursor, verifies no
 * schema (so a change of the schema never makes SQLite prepare it again), and SQLite lets it be used
 * again, unlike other PRAGMAs.
 *
 * Taken only if all of this holds:
 *   - the file is in WAL mode, with its index in shared memory and initialised: VFS shim, version,
 *     isInit;
 *   - it is the file that the facts were learned of, and the caller allows it (no authorizer, no
 *     trace);
 *   - not in exclusive locking mode, where locks are not given back anyway, and nothing is attached:
 *     only the header of "main" is looked at. Both are asked for at the first take after
 *     lli_snapshot_allow();
 *   - the connection is in no transaction, not even in one that a half-read cursor keeps open: the
 *     keeper would join that, and invariant 2 would not hold;
 *   - the WAL is not longer than LONG_WAL frames, or all of it is in the database: a checkpoint that
 *     waits to get past the readers should meet few. [M] Beside 20 000 commits of a steady writer, on two
 *     cores with other work, the WAL grew to 9 to 89 MB without this rule, to 7 to 13 MB with it, and to 8
 *     to 22 MB without any snapshot; under the same steps of both, with it exactly as far as without any
 *     (tests/c/db/test_snapshot_wal.c). A held one ends as soon as the header changes, so it need not be
 *     looked at again.
 *
 * What a held snapshot changes for others: SQLite's flag of sqlite3_interrupt() stays set while any
 * statement lives, functions cannot be redefined (SQLITE_BUSY), a write would need its state to be the
 * newest (SQLITE_BUSY_SNAPSHOT), a checkpoint of another process cannot reset the WAL. Hence the list
 * of occasions at lli_snapshot_release(), and the millisecond.
 *
 * Owner of the connection only; no lock, nothing process-wide. After fork the child must not touch it,
 * as it must not touch the connection. */
#include "db/snapshot.h"

#include "db/api.h"
#include "db/db.h"
#include "db/vfs_shim.h"
#include "platform/clock.h"

#include <string.h>

/* WalIndexHdr; integers in the order of bytes of the machine. */
struct wal_index_header {
    uint32_t version, unused, change;
    uint8_t is_init, big_endian_checksums;
    uint16_t page_size;
    uint32_t max_frame, pages, frame_checksum[2], salt[2], checksum[2];
};

enum {
    HEADER_WORDS = sizeof(struct wal_index_header) / sizeof(uint32_t),
    BACKFILL_WORD = 2 *
                    HEADER_WORDS, /* the first of WalCkptInfo, behind both copies of the header */
    WAL_INDEX_VERSION = 3007000,
    LONG_WAL = 500 /* frames; half of SQLite's default for starting a checkpoint */
};

_Static_assert(sizeof(struct wal_index_header) == 48, "the layout of the file format");
_Static_assert(sizeof(struct wal_index_header) == sizeof((struct lli_wal_state){0}.header),
               "kept whole");

static uint32_t load(const volatile uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* Two words at a time: the index is mapped at the start of a page. */
static bool unchanged(const volatile uint32_t *index, const struct lli_wal_state *state)
{
    const volatile uint64_t *first = (const volatile uint64_t *)(const volatile void *)index;
    const volatile uint64_t *second = first + HEADER_WORDS / 2;
    uint64_t differs = 0, pair;
    for (int i = 0; i < HEADER_WORDS / 2; i++) {
        memcpy(&pair, state->header + (ptrdiff_t)2 * i, sizeof pair);
        differs |= __atomic_load_n(first + i, __ATOMIC_ACQUIRE) ^ pair;
        differs |= __atomic_load_n(second + i, __ATOMIC_ACQUIRE) ^ pair;
    }
    return differs == 0 && load(index + BACKFILL_WORD) == state->backfilled;
}

/* False: there is no valid header, or somebody is writing it. */
static bool copy_state(const volatile uint32_t *index, struct lli_wal_state *ret_state)
{
    for (int i = 0; i < HEADER_WORDS; i++)
        ret_state->header[i] = load(index + i);
    ret_state->backfilled = load(index + BACKFILL_WORD);
    struct wal_index_header header;
    memcpy(&header, ret_state->header, sizeof header);
    return header.version == WAL_INDEX_VERSION && header.is_init && unchanged(index, ret_state);
}

bool lli_snapshot_frames(const struct lli_vfs_file *file, uint32_t *ret_frames,
                         uint32_t *ret_filled)
{
    struct lli_wal_state state;
    struct wal_index_header header;
    const volatile uint32_t *index = lli_vfs_wal_index(file);
    if (!index || !copy_state(index, &state))
        return false;
    memcpy(&header, state.header, sizeof header);
    *ret_frames = header.max_frame;
    *ret_filled = state.backfilled < header.max_frame ? state.backfilled : header.max_frame;
    return true;
}

static bool is_long(const struct lli_wal_state *state)
{
    struct wal_index_header header;
    memcpy(&header, state->header, sizeof header);
    return header.max_frame > LONG_WAL && state->backfilled < header.max_frame;
}

/* Whether "main" still is the file that is allowed: sqlite3_deserialize() puts another in its place. */
static bool same_file(const struct lli_db *db)
{
    sqlite3_file *file = NULL;
    if (lli_sq.file_control(db->handle, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK)
        return false;
    return (const void *)file == (const void *)db->snapshot.file &&
           file->pMethods == db->snapshot.methods;
}

/* Steps through a PRAGMA and calls `judge` for each row; false if it failed or a row was judged so. */
static bool all_rows(sqlite3 *handle, const char *sql, bool (*judge)(sqlite3_stmt *row))
{
    sqlite3_stmt *stmt = NULL;
    if (lli_sq.prepare_v3(handle, sql, -1, 0, &stmt, NULL) != SQLITE_OK)
        return false;
    bool good = true;
    int rc;
    while ((rc = lli_sq.step(stmt)) == SQLITE_ROW && good)
        good = judge(stmt);
    lli_sq.finalize(stmt);
    return good && rc == SQLITE_DONE;
}

static bool is_normal_locking(sqlite3_stmt *row)
{
    const unsigned char *mode = lli_sq.column_text(row, 0);
    return mode && strcmp((const char *)mode, "normal") == 0;
}

static bool is_main_or_temp(sqlite3_stmt *row)
{
    return lli_sq.column_int(row, 0) < 2;
}

static bool suits(struct lli_db *db)
{
    struct lli_snapshot *snapshot = &db->snapshot;
    if (!snapshot->examined) {
        /* Neither reads the file. */
        snapshot->suits = all_rows(db->handle, "PRAGMA main.locking_mode", is_normal_locking) &&
                          all_rows(db->handle, "PRAGMA database_list", is_main_or_temp);
        snapshot->examined = true;
    }
    return snapshot->suits;
}

static bool keeper_is_ready(struct lli_db *db)
{
    static const char sql[] = "PRAGMA main.schema_version";
    return db->snapshot.keeper ||
           lli_sq.prepare_v3(db->handle, sql, sizeof sql, SQLITE_PREPARE_PERSISTENT,
                             &db->snapshot.keeper, NULL) == SQLITE_OK;
}

static void let_go(struct lli_snapshot *snapshot)
{
    snapshot->held = false;
    lli_sq.reset(snapshot->keeper); /* a failure was told by its step */
}

bool lli_snapshot_take(struct lli_db *db)
{
    struct lli_snapshot *snapshot = &db->snapshot;
    lli_snapshot_release(db);
    if (!snapshot->file || !lli_sq.get_autocommit(db->handle) ||
        lli_sq.txn_state(db->handle, NULL) != SQLITE_TXN_NONE || !same_file(db))
        return false;
    const volatile uint32_t *index = lli_vfs_wal_index(snapshot->file);
    if (!index || !suits(db) || !keeper_is_ready(db))
        return false;
    if (!copy_state(index, &snapshot->copy) || is_long(&snapshot->copy))
        return false;
    int rc = lli_sq.step(snapshot->keeper);
    index = lli_vfs_wal_index(snapshot->file); /* the step may have found another journal mode */
    if (rc == SQLITE_ROW && index && unchanged(index, &snapshot->copy)) {
        snapshot->held = true;
        snapshot->taken_ns = lli_now_ns();
        snapshot->takes++;
        return true;
    }
    let_go(snapshot);
    snapshot->lost += rc == SQLITE_ROW;
    return false;
}

bool lli_snapshot_is_current(struct lli_db *db)
{
    struct lli_snapshot *snapshot = &db->snapshot;
    if (!snapshot->held)
        return false;
    const volatile uint32_t *index = lli_vfs_wal_index(snapshot->file);
    if (LLI_LIKELY(index && unchanged(index, &snapshot->copy) &&
                   lli_sq.get_autocommit(db->handle))) {
        snapshot->hits++;
        return true;
    }
    let_go(snapshot);
    snapshot->lost++;
    return false;
}

void lli_snapshot_release(struct lli_db *db)
{
    if (db->snapshot.held)
        let_go(&db->snapshot);
}

void lli_snapshot_allow(struct lli_db *db, const struct lli_vfs_file *file)
{
    lli_snapshot_release(db);
    db->snapshot.file = file;
    /* The shim's struct begins with SQLite's. */
    db->snapshot.methods = file ? ((const sqlite3_file *)(const void *)file)->pMethods : NULL;
    db->snapshot.examined = false;
}

void lli_snapshot_done(struct lli_db *db)
{
    lli_snapshot_allow(db, NULL);
    lli_sq.finalize(db->snapshot.keeper);
    db->snapshot.keeper = NULL;
}
