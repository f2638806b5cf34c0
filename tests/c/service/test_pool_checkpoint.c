/* Checkpoints in the background: they keep the WAL short, nobody waits for them, they can be switched off, and who
 * keeps the WAL from being emptied is named. */
#include "pool_ways.h"

#include <sys/stat.h>

static const char *const wal[] = {"journal_mode=WAL", "synchronous=OFF", NULL};

static ll_pool *make(t_env *t, ll_pool_options options)
{
    options.open.pragmas = wal;
    ll_pool *pool = p_new_path(t->engine, t_path(t, "a.db"), &options);
    p_exec(pool, "CREATE TABLE t(x)");
    return pool;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(the_wal_stays_short), T_TEST(off_means_nobody),       T_TEST(who_pins_it_is_named),
        T_TEST(the_bound_is_kept),   T_TEST(a_foreign_checkpointer),
    };
    return T_RUN(tests);
}
