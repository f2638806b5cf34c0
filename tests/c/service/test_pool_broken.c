/* Connections that are of no use any more: their file was deleted, replaced, damaged, or cannot be read. They are
 * closed, others take their place, and no write goes where nobody will look for it. */
#include "pool_ways.h"

#include "db/vfs_shim.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

/* A connection that was not looked at for a nanosecond is looked at. */
static const ll_pool_options attentive = {.max_size = 2, .health_interval_ns = 1};

static void remove_files(t_env *t, const char *name)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < 4; i++)
        unlink(t_printf(t, "%s%s", t_path(t, name), ends[i]));
}

static void a_deleted_file(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &attentive);
    p_exec(pool, "CREATE TABLE old(x)");
    remove_files(t, "a.db");
    p_exec(pool, "CREATE TABLE new(x)"); /* in the new file, not in the one that has no name */
    T_EQUAL(p_int(pool, "SELECT count(*) FROM sqlite_master"), 1);
    T_CHECK(p_stats(pool).retired >= 1);
    p_close(pool);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM sqlite_master WHERE name='new'"),
            1);
}

static void a_replaced_file(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "b.db"), "CREATE TABLE t(x); INSERT INTO t VALUES(2)");
    ll_pool *pool = p_new(t, "a.db", &attentive);
    p_exec(pool, "CREATE TABLE t(x)");
    p_exec(pool, "INSERT INTO t VALUES(1)");
    T_EQUAL(p_int(pool, "SELECT x FROM t"), 1);
    ll_lease *lease = p_acquire(pool, NULL); /* one that is out meanwhile */
    T_CHECK(rename(t_path(t, "b.db"), t_path(t, "a.db")) == 0);
    T_EQUAL(p_int(pool, "SELECT x FROM t"), 2);
    T_CHECK(ll_pool_release(lease, NULL, NULL) == LL_OK);
    for (int i = 0; i < 3; i++) {
        lease = p_acquire(pool, NULL);
        T_EQUAL(t_int(ll_lease_conn(lease), "SELECT x FROM t"), 2);
        (void)p_release(lease);
    }
    p_close(pool);
}

static void damage(const char *path, off_t at, size_t size)
{
    char junk[8192];
    T_CHECK(size <= sizeof junk);
    memset(junk, 0xa5, sizeof junk);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    T_CHECK(file >= 0);
    T_CHECK(pwrite(file, junk, size, at) == (ssize_t)size);
    close(file);
}

static int damage_in_child(void *arg)
{
    /* In another process: to close a file drops the locks that this one has on it. */
    damage(arg, 0, 8192);
    return 0;
}

static void a_damaged_file(void **state)
{
    t_env *t = *state;
    t->damaged = true;
    const char *path = t_path(t, "a.db");
    ll_pool *pool = p_new_path(t->engine, path, &((ll_pool_options){.max_size = 1}));
    p_exec(pool, "CREATE TABLE t(x)");
    for (int i = 0; i < 50; i++)
        p_exec(pool, "INSERT INTO t VALUES(randomblob(1000))");
    T_EQUAL(p_stats(pool).opened, 1);
    char copy[600];
    snprintf(copy, sizeof copy, "%s.sound", path);
    t_file_sql(path, t_printf(t, "VACUUM INTO '%s'", copy));
    t_in_child(damage_in_child, (void *)(uintptr_t)path);
    t_file_sql(copy, "CREATE TABLE u(x)");
    ll_request *request = NULL;
    (void)t_end(p_submit(pool, "SELECT sum(length(x)) FROM t", NULL, &request), request);
    (void)ll_request_status(request);
    ll_request_unref(request);
    request = NULL;
    ll_lease *lease = NULL;
    ll_status status = t_end(ll_pool_acquire(pool, NULL, NULL, &request), request);
    lease = ll_request_take_lease(request);
    ll_request_unref(request);
    if (status == LL_OK) {
        request = NULL;
        T_EQUAL(
            t_end(ll_exec(ll_lease_conn(lease), "INSERT INTO t VALUES(1)", NULL, 0, NULL, &request),
                  request),
            LL_ESQL);
        ll_request_unref(request);
        T_CHECK(p_release(lease).pub.retired);
    }
    T_CHECK(rename(copy, path) == 0); /* repaired */
    T_EQUAL(p_int(pool, "SELECT count(*) FROM t"), 50);
    T_CHECK(p_stats(pool).retired >= 1 || p_stats(pool).open_failures >= 1);
    p_close(pool);
}

static void a_file_that_is_no_database(void **state)
{
    t_env *t = *state;
    t->damaged = true;
    const char *path = t_path(t, "a.db");
    FILE *file = fopen(path, "w");
    T_CHECK(file != NULL);
    for (int i = 0; i < 1000; i++)
        fputs("this is no database ", file);
    fclose(file);
    ll_pool *pool = p_new_path(t->engine, path, NULL);
    ll_request *request = p_run(pool, "SELECT 1", LL_ESQL);
    T_EQUAL(ll_request_error(request)->sqlite_code, SQLITE_NOTADB);
    ll_request_unref(request);
    unlink(path);
    p_exec(pool, "CREATE TABLE t(x)"); /* usable afterwards */
    p_close(pool);
}

/* The file may not grow any more: as a full disk, but it can be had everywhere. */
static void a_full_disk(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.max_size = 1}));
    p_exec(pool, "CREATE TABLE t(x)");
    ll_lease *lease = p_acquire(pool, NULL);
    ll_conn *conn = ll_lease_conn(lease);
    t_exec(conn, "PRAGMA max_page_count=20");
    t_exec(conn, "BEGIN IMMEDIATE");
    t_exec(conn, "INSERT INTO t VALUES(1)");
    ll_request *request = t_exec_fails(conn, "INSERT INTO t VALUES(zeroblob(1000000))", LL_ESQL);
    T_EQUAL(ll_request_error(request)->sqlite_code & 0xff, SQLITE_FULL);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    ll_request_unref(request);
    /* Whether SQLite has ended the transaction is its affair; then nothing may be committed in its place. */
    ll_status status = t_state(conn).in_transaction ? LL_OK : LL_EABORTED;
    request = NULL;
    T_EQUAL(t_end(ll_exec(conn, "INSERT INTO t VALUES(2)", NULL, 0, NULL, &request), request),
            status);
    ll_request_unref(request);
    struct p_released released = p_release(lease);
    T_CHECK(released.pub.rolled_back && released.pub.dropped_writes);
    T_CHECK(released.pub.undone && !released.pub.retired);
    p_exec(pool, "INSERT INTO t VALUES(zeroblob(1000000))");
    T_EQUAL(p_int(pool, "SELECT count(*) FROM t"), 1);
    p_close(pool);
}

/* A stream of the session that writes, in rollback journal mode. */
static void a_stream_beside_ones_own_writes(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.max_size = 2}));
    p_exec(pool, "CREATE TABLE t(x)");
    p_exec(pool, "INSERT INTO t " T_ENDLESS "SELECT x FROM c LIMIT 3000");
    ll_lease *lease = p_acquire(pool, NULL);
    ll_request *request = NULL;
    T_EQUAL(
        t_end(ll_stream(ll_lease_conn(lease), "SELECT x FROM t", NULL, 0, NULL, &request), request),
        LL_OK);
    ll_cursor *cursor = ll_request_take_cursor(request);
    T_CHECK(cursor != NULL);
    ll_request_unref(request);
    t_exec(ll_lease_conn(lease), "DELETE FROM t WHERE x > 2900");
    T_EQUAL(t_int(ll_lease_conn(lease), "SELECT count(*) FROM t"), 2900);
    (void)p_release(lease);
    ll_cursor_close(cursor);
    p_exec(pool, "INSERT INTO t VALUES(1)"); /* nobody reads any more: it can commit */
    p_close(pool);
}

static int opens(void *arg, sqlite3 **ret_db, char **ret_message)
{
    atomic_size_t *counts = ((void **)arg)[1];
    (void)ret_message;
    counts[0]++;
    return sqlite3_open_v2(((void **)arg)[0], ret_db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                           NULL);
}

static int closes(void *arg, sqlite3 *db)
{
    atomic_size_t *counts = ((void **)arg)[1];
    counts[1]++;
    return sqlite3_close(db);
}

static void released(void *arg)
{
    atomic_size_t *counts = ((void **)arg)[1];
    counts[2]++;
}

static void an_adopted_pool(void **state)
{
    t_env *t = *state;
    atomic_size_t counts[3] = {0}; /* by workers */
    void *arg[] = {(void *)(uintptr_t)t_path(t, "a.db"), counts};
    ll_adopt adopt = {.open = opens, .close = closes, .release = released, .arg = arg};
    ll_pool *pool = p_new_path(t->engine, NULL,
                               &((ll_pool_options){.max_size = 2, .adopt = &adopt}));
    p_exec(pool, "CREATE TABLE t(x)");
    ll_lease *one = p_acquire(pool, NULL), *two = p_acquire(pool, NULL);
    t_exec(ll_lease_conn(one), "INSERT INTO t VALUES(1)");
    T_EQUAL(t_int(ll_lease_conn(two), "SELECT count(*) FROM t"), 1);
    t_exec(ll_lease_conn(two), "BEGIN");
    (void)p_release(one);
    T_CHECK(p_release(two).pub.rolled_back);
    p_close(pool);
    t_engine(t, NULL); /* the worker that closed the last one has gone */
    T_EQUAL(counts[0], 2);
    T_EQUAL(counts[1], 2);
    T_EQUAL(counts[2], 1);
    /* also when there is no pool */
    T_CHECK(ll_pool_new(t->engine, NULL, &((ll_pool_options){.max_size = 5000, .adopt = &adopt}),
                        &pool) == LL_EINVAL);
    T_EQUAL(counts[2], 2);
}

/* What an opening meets: the first file loses its name as soon as it is open, and another is there, which `writer`
 * is in the middle of writing to. */
struct race {
    const char *path;
    sqlite3 *writer;
    unsigned opened, losing; /* so many lose it */
};

static int opens_in_a_race(void *arg, sqlite3 **ret_db, char **ret_message)
{
    struct race *race = arg;
    (void)ret_message;
    int rc = sqlite3_open_v2(race->path, ret_db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                             LLI_VFS_NAME);
    if (rc != SQLITE_OK || race->opened++ >= race->losing)
        return rc;
    unlink(race->path);
    if (race->opened == race->losing) {
        rc = sqlite3_open_v2(race->path, &race->writer, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                             LLI_VFS_NAME);
        t_raw(race->writer,
              "CREATE TABLE t(x); INSERT INTO t VALUES(1); BEGIN; UPDATE t SET x = 2");
    }
    return rc;
}

static int closes_raw(void *arg, sqlite3 *db)
{
    (void)arg;
    return sqlite3_close(db);
}

static void check_race(t_env *t, const char *const *pragmas, unsigned losing)
{
    struct race race = {.path = t_path(t, "a.db"), .losing = losing};
    remove_files(t, "a.db");
    t_file_sql(race.path, "CREATE TABLE old(x)");
    ll_adopt adopt = {.open = opens_in_a_race, .close = closes_raw, .arg = &race};
    ll_pool_options options = {.max_size = 1, .adopt = &adopt, .open = {.pragmas = pragmas}};
    ll_pool *pool = p_new_path(t->engine, NULL, &options);
    ll_lease *lease = p_acquire(pool, NULL);
    T_EQUAL(race.opened, losing + 1);
    T_EQUAL(t_int(ll_lease_conn(lease), "SELECT x FROM t"),
            1); /* the next file, before the commit */
    t_raw(race.writer, "COMMIT");
    T_EQUAL(t_int(ll_lease_conn(lease), "SELECT x FROM t"), 2);
    T_CHECK(!p_release(lease).pub.retired);
    T_EQUAL(p_stats(pool).open_failures, 0);
    p_close(pool);
    t_engine(t, NULL);
    t_raw_close(race.writer);
}

static void a_file_that_goes_while_it_is_opened(void **state)
{
    t_env *t = *state;
    static const char *const reads[] = {"user_version", NULL}, *const none[] = {NULL};
    t_engine(t, NULL);
    check_race(t, none, 1);
    check_race(t, reads, 1);
    check_race(t, reads, 2);
}

/* It gives up after a few; what is written is not lost without a word. */
static void a_file_that_always_goes(void **state)
{
    t_env *t = *state;
    struct race race = {.path = t_path(t, "a.db"), .losing = 1000};
    ll_adopt adopt = {.open = opens_in_a_race, .close = closes_raw, .arg = &race};
    ll_pool *pool = p_new_path(t->engine, NULL, &((ll_pool_options){.adopt = &adopt}));
    ll_request_unref(p_run(pool, "CREATE TABLE t(x)", LL_ESQL));
    T_CHECK(race.opened > 1 && race.opened < 10);
    p_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(a_deleted_file),
        T_TEST(a_replaced_file),
        T_TEST(a_damaged_file),
        T_TEST(a_file_that_is_no_database),
        T_TEST(a_full_disk),
        T_TEST(a_stream_beside_ones_own_writes),
        T_TEST(an_adopted_pool),
        T_TEST(a_file_that_goes_while_it_is_opened),
        T_TEST(a_file_that_always_goes),
    };
    return T_RUN(tests);
}
