/* Checkpoints in the background: they keep the WAL short, nobody waits for them, they can be switched off, and who
 * keeps the WAL from being emptied is named. A VFS below looplite's makes syncs slow, or fail. */
#include "pool_ways.h"

#include <stdatomic.h>
#include <sys/stat.h>

static const char *const wal[] = {"journal_mode=WAL", "synchronous=OFF", NULL};

/* ---- a VFS in which to sync a WAL takes as long as the test wants, and may fail ---- */

static int (*real_open)(sqlite3_vfs *, const char *, sqlite3_file *, int, int *);
static int (*real_sync)(sqlite3_file *, int);
static sqlite3_io_methods
    wal_methods; /* of each WAL; set at the first, before a second thread opens one */
static t_gate *_Atomic slow_disk; /* NULL: an ordinary one */
static atomic_uint wal_syncs;     /* that were asked for */
static atomic_bool bad_disk;

static int sync_wal(sqlite3_file *file, int flags)
{
    t_gate *gate = atomic_load(&slow_disk);
    atomic_fetch_add(&wal_syncs, 1);
    if (gate)
        t_gate_call(NULL, gate);
    return atomic_load(&bad_disk) ? SQLITE_IOERR_FSYNC : real_sync(file, flags);
}

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                     int *ret_flags)
{
    int rc = real_open(vfs, name, file, flags, ret_flags);
    if (rc != SQLITE_OK || !(flags & SQLITE_OPEN_WAL) || !file->pMethods)
        return rc;
    if (!real_sync) {
        real_sync = file->pMethods->xSync;
        wal_methods = *file->pMethods;
        wal_methods.xSync = sync_wal;
    }
    file->pMethods = &wal_methods;
    return rc;
}

/* Before anything is opened: it is the one that looplite's wraps. */
static void put_in_place(void)
{
    static sqlite3_vfs vfs;
    vfs = *sqlite3_vfs_find(NULL);
    real_open = vfs.xOpen;
    vfs.xOpen = open_file;
    T_CHECK(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK);
}

static ll_pool *make_as(t_env *t, ll_pool_options options, const char *const *pragmas)
{
    options.open.pragmas = pragmas;
    ll_pool *pool = p_new_path(t->engine, t_path(t, "a.db"), &options);
    p_exec(pool, "CREATE TABLE t(x)");
    return pool;
}

static ll_pool *make(t_env *t, ll_pool_options options)
{
    return make_as(t, options, wal);
}

static void write_pages(ll_pool *pool, int pages)
{
    for (int i = 0; i < pages; i++)
        p_exec(pool, "INSERT INTO t VALUES(zeroblob(3000))");
}

static int64_t wal_bytes(t_env *t)
{
    struct stat info;
    return stat(t_printf(t, "%s-wal", t_path(t, "a.db")), &info) == 0 ? info.st_size : 0;
}

static void the_wal_stays_short(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t, (ll_pool_options){.checkpoint_frames = 50});
    for (int i = 0; i < 20; i++) {
        write_pages(pool, 40);
        while (p_stats(pool).checkpoints < (uint64_t)i) /* one in each round, and one more */
            t_turn(t->engine);
    }
    ll_pool_stats stats = p_stats(pool);
    T_CHECK(stats.checkpoints >= 10);
    if (wal_bytes(t) > 4 * 50 * 4200)
        t_fail(__FILE__, __LINE__, "the WAL has %lld bytes", (long long)wal_bytes(t));
    T_EQUAL(stats.size, 1); /* the pool's own connection is not one of them */
    T_EQUAL(p_int(pool, "SELECT count(*) FROM t"), 800);
    p_close(pool);
}

static void off_means_nobody(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t, (ll_pool_options){.checkpoint_frames = LL_POOL_OFF});
    write_pages(pool, 1500);
    T_CHECK(wal_bytes(t) > 1500 * 4096);
    T_EQUAL(p_stats(pool).checkpoints, 0);
    p_close(pool);
}

static void who_pins_it_is_named(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t, (ll_pool_options){.checkpoint_frames = 50});
    p_exec(pool, "INSERT INTO t VALUES(1)");
    ll_lease *lease = p_acquire(pool, "report.py:7");
    t_exec(ll_lease_conn(lease), "BEGIN");
    (void)t_int(ll_lease_conn(lease), "SELECT count(*) FROM t");
    write_pages(pool, 150);
    while (p_stats(pool).checkpoints_blocked == 0) {
        write_pages(pool, 1);
        t_turn(t->engine);
    }
    ll_pool_stats stats = p_stats(pool);
    T_CHECK(stats.pinned_ns > 0);
    T_SAME_TEXT(stats.pin_label, "report.py:7");
    T_SAME_TEXT(stats.pin_sql, "SELECT count(*) FROM t");
    T_CHECK(stats.wal_filled < stats.wal_frames);
    (void)p_release(lease);
    T_EQUAL(p_stats(pool).pinned_ns, 0);
    uint64_t made = stats.checkpoints;
    while (p_stats(pool).checkpoints == made ||
           p_stats(pool).wal_filled < p_stats(pool).wal_frames) {
        write_pages(pool, 10);
        t_turn(t->engine);
    }
    p_close(pool);
}

/* Above the bound it is emptied as soon as nobody reads. */
static void the_bound_is_kept(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t, (ll_pool_options){.checkpoint_frames = 20, .wal_bound_frames = 100});
    ll_lease *lease = p_acquire(pool, NULL);
    t_exec(ll_lease_conn(lease), "BEGIN");
    (void)t_int(ll_lease_conn(lease), "SELECT count(*) FROM t");
    write_pages(pool, 300);
    T_CHECK(wal_bytes(t) > 300 * 4096);
    (void)p_release(lease);
    while (wal_bytes(t) > 100 * 4200) {
        write_pages(pool, 1);
        t_turn(t->engine);
    }
    p_close(pool);
}

/* Another process empties the WAL again and again. */
static void a_foreign_checkpointer(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "PRAGMA journal_mode=WAL; CREATE TABLE u(x)");
    t_peer *peer = t_peer_new(t_path(t, "a.db"));
    ll_pool *pool = make(t, (ll_pool_options){.checkpoint_frames = 10});
    size_t done = 0, asked = 0;
    for (int i = 0; i < 40; i++) {
        for (int k = 0; k < 10; k++) {
            ll_submit how = {.done = t_count, .user = &done};
            T_CHECK(p_submit(pool, "INSERT INTO t VALUES(zeroblob(3000))", &how, NULL) ==
                    LL_PENDING);
            asked++;
        }
        int code = t_peer_try(peer, "PRAGMA wal_checkpoint(TRUNCATE)");
        T_CHECK(code == SQLITE_OK || code == SQLITE_BUSY || code == SQLITE_ROW ||
                code == SQLITE_DONE);
        t_turn(t->engine);
    }
    t_until(t->engine, &done, asked);
    T_EQUAL(p_int(pool, "SELECT count(*) FROM t"), asked);
    t_peer_end(peer);
    p_close(pool);
}

/* What the commits have left to the checkpoint, the sync of a long WAL, is done while others write. */
static void writers_do_not_wait_for_a_long_sync(void **state)
{
    static const char *const normal[] = {"journal_mode=WAL", "synchronous=NORMAL", NULL};
    t_env *t = *state;
    ll_pool *pool = make_as(t, (ll_pool_options){.checkpoint_frames = 50}, normal);
    t_gate *disk = t_gate_new(t);
    atomic_store(&slow_disk, disk);
    write_pages(pool, 60);
    t_gate_entered(disk, 1);
    T_EQUAL(p_stats(pool).checkpoints, 0);
    write_pages(pool, 30); /* would never end */
    T_EQUAL(t_gate_times(disk), 1);
    atomic_store(&slow_disk, NULL);
    t_gate_open(disk);
    while (p_stats(pool).checkpoints == 0)
        t_turn(t->engine);
    T_CHECK(p_stats(pool).wal_filled >= 50);
    T_EQUAL(p_int(pool, "SELECT count(*) FROM t"), 90);
    p_close(pool);
}

/* A sync that has failed is told once by the kernel: whoever heard of it makes no checkpoint. */
static void a_failed_sync_ends_the_checkpoint(void **state)
{
    static const char *const normal[] = {"journal_mode=WAL", "synchronous=NORMAL", NULL};
    t_env *t = *state;
    ll_pool *pool = make_as(t, (ll_pool_options){.checkpoint_frames = 50}, normal);
    atomic_store(&bad_disk, true);
    write_pages(pool, 60);
    while (p_stats(pool).checkpoints == 0)
        t_turn(t->engine);
    T_EQUAL(p_stats(pool).wal_filled, 0);
    T_CHECK(p_stats(pool).wal_frames >= 50);
    atomic_store(&bad_disk, false);
    while (p_stats(pool).wal_filled < 50) {
        write_pages(pool, 5);
        t_turn(t->engine);
    }
    p_close(pool);
}

/* Nothing is synced for who wants no sync. */
static void off_syncs_nothing(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t, (ll_pool_options){.checkpoint_frames = 50});
    unsigned before = atomic_load(&wal_syncs);
    write_pages(pool, 60);
    while (p_stats(pool).checkpoints == 0)
        t_turn(t->engine);
    T_CHECK(p_stats(pool).wal_filled >= 50);
    T_EQUAL(atomic_load(&wal_syncs), before);
    p_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(the_wal_stays_short),
        T_TEST(off_means_nobody),
        T_TEST(who_pins_it_is_named),
        T_TEST(the_bound_is_kept),
        T_TEST(a_foreign_checkpointer),
        T_TEST(writers_do_not_wait_for_a_long_sync),
        T_TEST(a_failed_sync_ends_the_checkpoint),
        T_TEST(off_syncs_nothing),
    };
    put_in_place();
    return T_RUN(tests);
}
