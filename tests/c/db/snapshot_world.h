/* snapshot_world.h: what the tests of the held snapshot share: one connection with snapshots allowed. */
#ifndef T_SNAPSHOT_WORLD_H
#define T_SNAPSHOT_WORLD_H

#include "db/db.h"
#include "db/vfs_shim.h"
#include "support/other.h"
#include "support/support.h"

#define MAKE_TABLE                                                                   \
    "CREATE TABLE t(id INTEGER PRIMARY KEY, x, y TEXT); CREATE INDEX tx ON t(x);"    \
    "WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 100)" \
    "INSERT INTO t SELECT i, i * 7 % 100, 'row ' || i FROM c;"

static struct lli_db db;

/* ---- this connection ---- */

static inline void allow(void)
{
    struct lli_file_facts facts;
    T_CHECK(lli_vfs_file_facts(db.handle, "main", &facts));
    lli_snapshot_allow(&db, facts.file);
}

static inline void open_with(const char *path, const ll_open_options *options)
{
    struct lli_error error = {0};
    if (lli_db_open(&db, path, options, &error) != LL_OK)
        t_fail(__FILE__, __LINE__, "%s: %s", path, error.pub.message);
}

/* Opens a file, puts it into WAL mode, and allows snapshots. */
static inline void open_wal(const char *path)
{
    open_with(path, &(ll_open_options){0});
    t_raw(db.handle, "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;"
                     "SELECT count(*) FROM sqlite_master");
    allow();
}

static inline void close_db(void)
{
    struct lli_error error = {0};
    T_CHECK(lli_db_close(&db, &error) == LL_OK);
    T_CHECK(!db.snapshot.held && !db.snapshot.keeper);
}

static inline int txn(void)
{
    return sqlite3_txn_state(db.handle, NULL);
}

static inline void check_not_taken(void)
{
    int before = txn();
    T_CHECK(!lli_snapshot_take(&db));
    T_CHECK(!lli_snapshot_held(&db.snapshot) && !lli_snapshot_is_current(&db));
    T_EQUAL(txn(), before);
}

static inline void check_taken(void)
{
    T_CHECK(lli_snapshot_take(&db) && lli_snapshot_held(&db.snapshot));
    T_EQUAL(txn(), SQLITE_TXN_READ);
    T_CHECK(sqlite3_get_autocommit(db.handle));
    T_CHECK(lli_snapshot_is_current(&db));
}

/* As the engine will: joins if it can, takes one if not. */
static inline int64_t read_int(const char *sql)
{
    if (!lli_snapshot_is_current(&db))
        lli_snapshot_take(&db);
    return t_raw_int(db.handle, sql);
}

#endif
