/* test_attempt.c: each guard of an attempt on the loop, set off by the thing it guards against: a page
 * that is not in memory, a lock, a lock of the wal-index that SQLite would sleep for, a thread that stands
 * still inside os_unix's mutex, a long computation, a write, a hook that is gone. */
#include "db/attempt.h"

#include "db/guard.h"
#include "db/vfs_shim.h"
#include "support/support.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static const uint64_t ample_ns = T_HOUR;

static sqlite3 *open_shim(const char *path)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, LLI_VFS_NAME) !=
        SQLITE_OK)
        t_fail(__FILE__, __LINE__, "%s: %s", path, sqlite3_errmsg(db));
    return db;
}

/* Runs one statement in an attempt, to its end; what it gives in *ret_value. */
static enum lli_bounce try_sql(sqlite3 *db, const char *sql, uint64_t budget_ns, bool shielded,
                               struct lli_attempt *ret_attempt, int64_t *ret_value, int *ret_rc)
{
    sqlite3_stmt *stmt = NULL;
    int rc = SQLITE_OK;
    lli_attempt_begin(ret_attempt, budget_ns, shielded);
    rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
            *ret_value = sqlite3_column_int64(stmt, 0);
    enum lli_bounce bounce = lli_attempt_end(ret_attempt);
    sqlite3_finalize(stmt);
    *ret_rc = rc;
    return bounce;
}

static enum lli_bounce bounce_of(sqlite3 *db, const char *sql, uint64_t budget_ns)
{
    struct lli_attempt attempt;
    int64_t value;
    int rc;
    return try_sql(db, sql, budget_ns, false, &attempt, &value, &rc);
}

static bool is_guarded(sqlite3 *db)
{
    struct lli_file_facts facts;
    T_CHECK(lli_vfs_file_facts(db, NULL, &facts));
    if (lli_disk_guard_guards(facts.guard))
        return true;
    print_message("skipped: temporary files are on a file system with the guard \"%s\"\n",
                  lli_disk_guard_name(facts.guard));
    return false;
}

static const char fill[] =
    "PRAGMA synchronous = OFF;"
    "CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b TEXT);"
    "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE x < 2000)"
    " INSERT INTO t SELECT x, x % 100, hex(zeroblob(500)) FROM c;";

/* A file in WAL mode and a connection that has read it. */
static sqlite3 *open_wal(t_env *t)
{
    const char *path = t_path(t, "a.db");
    t_file_sql(path, "PRAGMA journal_mode = WAL");
    t_file_sql(path, fill);
    sqlite3 *db = open_shim(path);
    t_raw(db, "SELECT count(*) FROM t");
    return db;
}

/* ---- nothing in the way ---- */

static void test_warm_read_ends_inline(void **state)
{
    t_env *t = *state;
    sqlite3 *db = open_wal(t);
    struct lli_attempt attempt;
    int64_t value = 0;
    int rc;
    if (is_guarded(db)) {
        T_CHECK(try_sql(db, "SELECT a FROM t WHERE id = 77", ample_ns, false, &attempt, &value,
                        &rc) == LLI_BOUNCE_NONE);
        T_CHECK(rc == SQLITE_DONE && value == 77 && attempt.misses == 0);
    }
    t_raw_close(db);
}

static void test_first_read_of_a_connection_is_for_a_worker(void **state)
{
    t_env *t = *state;
    t_raw_close(open_wal(t));
    sqlite3 *keeper = open_shim(t_path(t, "a.db")); /* keeps the -wal file */
    t_raw(keeper, "UPDATE t SET a = a");
    sqlite3 *db = open_shim(t_path(t, "a.db"));
    if (is_guarded(db)) {
        T_CHECK(bounce_of(db, "SELECT count(*) FROM t", ample_ns) == LLI_BOUNCE_WRITE);
        T_CHECK(t_raw_int(db, "SELECT count(*) FROM t") == 2000);
        T_CHECK(bounce_of(db, "SELECT count(*) FROM t", ample_ns) == LLI_BOUNCE_NONE);
    }
    t_raw_close(db);
    t_raw_close(keeper);
}

/* ---- disk ---- */

/* In a child: closing a descriptor of the file drops the locks of the process that does it. */
static int drop_cache(void *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    T_CHILD(fd >= 0);
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    return 0;
}

static void test_cold_pages(void **state)
{
    t_env *t = *state;
    char *path = t_printf(t, "%s", t_path(t, "a.db"));
    static const char sql[] = "SELECT sum(length(b)) FROM t";
    t_file_sql(path, fill);
    sqlite3 *db = open_shim(path);
    struct lli_file_facts facts;
    T_CHECK(lli_vfs_file_facts(db, NULL, &facts));
    t_raw(db, "PRAGMA cache_size = 10");
    enum lli_bounce bounce = LLI_BOUNCE_NONE;
    struct lli_attempt attempt;
    int64_t value = 0;
    int rc;
    if (facts.guard != LLI_DISK_NOWAIT && facts.guard != LLI_DISK_MINCORE) {
        print_message("skipped: no page of this file system is ever cold\n");
        t_raw_close(db);
        return;
    }
    for (int drop = 0; drop < 20 && bounce == LLI_BOUNCE_NONE; drop++) {
        t_in_child(drop_cache, path);
        bounce = try_sql(db, sql, ample_ns, false, &attempt, &value, &rc);
    }
    T_CHECK(bounce == LLI_BOUNCE_DISK && rc == SQLITE_INTERRUPT && attempt.misses == 1);
    /* An inline write must not be aborted: it counts and waits. */
    for (int drop = 0; drop < 20; drop++) {
        t_in_child(drop_cache, path);
        bounce = try_sql(db, sql, ample_ns, true, &attempt, &value, &rc);
        T_CHECK(bounce == LLI_BOUNCE_NONE && rc == SQLITE_DONE && value == 2000 * 1000);
        if (attempt.misses > 0)
            break;
    }
    T_CHECK(attempt.misses > 0);
    T_CHECK(t_raw_int(db, sql) == 2000 * 1000);
    T_CHECK(bounce_of(db, sql, ample_ns) == LLI_BOUNCE_NONE);
    t_raw_close(db);
}

/* Somebody resets SQLite's system calls: our hook is gone, which the first read notices. */
static void test_hook_that_is_gone(void **state)
{
    t_env *t = *state;
    sqlite3_vfs *unix_vfs = sqlite3_vfs_find("unix");
    T_CHECK(unix_vfs != NULL);
    static const char *const names[] = {"read", "pread", "pread64"};
    sqlite3_syscall_ptr ours[3];
    sqlite3 *db = open_wal(t);
    t_raw(db, "PRAGMA cache_size = 5");
    for (size_t i = 0; i < 3; i++) {
        ours[i] = unix_vfs->xGetSystemCall(unix_vfs, names[i]);
        if (ours[i])
            unix_vfs->xSetSystemCall(unix_vfs, names[i], NULL);
    }
    bool guarded = is_guarded(db);
    if (guarded)
        T_CHECK(bounce_of(db, "SELECT sum(length(b)) FROM t", ample_ns) == LLI_BOUNCE_DISK);
    for (size_t i = 0; i < 3; i++)
        if (ours[i])
            unix_vfs->xSetSystemCall(unix_vfs, names[i], ours[i]);
    struct lli_file_facts facts;
    T_CHECK(lli_vfs_file_facts(db, NULL, &facts));
    T_CHECK(!guarded || facts.guard == LLI_DISK_NONE);
    T_CHECK(t_raw_int(db, "SELECT sum(length(b)) FROM t") == 2000 * 1000);
    t_raw_close(db);
}

/* ---- time ---- */

static void test_long_computation(void **state)
{
    t_env *t = *state;
    sqlite3 *db = open_wal(t);
    struct lli_guard guard = {.deadline_ns = LLI_NEVER};
    lli_guard_install(&guard, db);
    T_CHECK(bounce_of(db, T_ENDLESS "SELECT count(*) FROM c", T_MS / 5) == LLI_BOUNCE_TIME);
    T_CHECK(guard.stopped == LLI_STOP_NONE); /* not the request's doing */
    lli_guard_remove(&guard);
    t_raw_close(db);
}

static void test_page_reads_look_at_the_clock(void **state)
{
    t_env *t = *state;
    sqlite3 *db = open_wal(t);
    t_raw(db, "PRAGMA cache_size = 5");
    if (is_guarded(db)) {
        T_CHECK(bounce_of(db, "SELECT sum(length(b)) FROM t", 0) == LLI_BOUNCE_TIME);
        /* at the second page already: two leaves of the table, whose root is in the cache by now */
        static const char two_pages[] = "SELECT b FROM t WHERE rowid IN (500, 1500)";
        T_CHECK(bounce_of(db, two_pages, 0) == LLI_BOUNCE_TIME);
        T_CHECK(bounce_of(db, two_pages, ample_ns) == LLI_BOUNCE_NONE);
    }
    t_raw_close(db);
}

/* ---- locks ---- */

static void test_locked_file(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path, fill);
    sqlite3 *db = open_shim(path);
    sqlite3 *other = t_raw_open(path);
    struct lli_guard guard = {.deadline_ns = LLI_NEVER, .busy_until_ns = LLI_NEVER};
    lli_guard_install(&guard, db);
    t_raw(db, "SELECT * FROM t LIMIT 1");
    t_raw(other, "BEGIN EXCLUSIVE");
    T_CHECK(bounce_of(db, "SELECT count(*) FROM t", ample_ns) == LLI_BOUNCE_LOCK);
    T_CHECK(guard.lock_asked);
    t_raw(other, "COMMIT");
    if (is_guarded(db))
        T_CHECK(bounce_of(db, "SELECT count(*) FROM t", ample_ns) == LLI_BOUNCE_NONE);
    lli_guard_remove(&guard);
    t_raw_close(other);
    t_raw_close(db);
}

/* All read marks are taken: SQLite sleeps between its tries, 0.1 s in all before it gives up. */
static void test_sleep_is_refused(void **state)
{
    t_env *t = *state;
    enum {
        FIRST_READ_SLOT = 3,
        READ_SLOTS = 5
    };
    sqlite3 *db = open_wal(t);
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    sqlite3_file *file = NULL;
    t_raw(other, "SELECT * FROM t LIMIT 1");
    T_CHECK(sqlite3_file_control(other, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK);
    T_CHECK(file->pMethods->xShmLock(file, FIRST_READ_SLOT, READ_SLOTS,
                                     SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE) == SQLITE_OK);
    T_CHECK(bounce_of(db, "SELECT count(*) FROM t", ample_ns) == LLI_BOUNCE_LOCK);
    T_CHECK(file->pMethods->xShmLock(file, FIRST_READ_SLOT, READ_SLOTS,
                                     SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE) == SQLITE_OK);
    T_CHECK(t_raw_int(db, "SELECT count(*) FROM t") == 2000);
    t_raw_close(other);
    t_raw_close(db);
}

/* ---- mutexes ---- */

/* A thread that stands still inside fcntl(), where os_unix holds the mutex of the file. */
static struct {
    pthread_mutex_t mu;
    pthread_cond_t changed;
    bool inside, let; /* under mu */
} stop = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false};
static _Thread_local bool stops_in_fcntl;
static int (*real_fcntl)(int, int, ...); /* fixed while threads run */

static int stopping_fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *arg = va_arg(args, void *); /* as os_unix passes it: a pointer or an int */
    va_end(args);
    if (stops_in_fcntl && command == F_SETLK) {
        stops_in_fcntl = false;
        pthread_mutex_lock(&stop.mu);
        stop.inside = true;
        pthread_cond_broadcast(&stop.changed);
        while (!stop.let)
            pthread_cond_wait(&stop.changed, &stop.mu);
        pthread_mutex_unlock(&stop.mu);
    }
    return real_fcntl(fd, command, arg);
}

static void *read_and_stop(void *db)
{
    stops_in_fcntl = true;
    t_raw(db, "SELECT count(*) FROM t");
    return NULL;
}

/* Files are told apart by a hash of one byte: of several strange ones, one at least is not taken for this file. */
enum {
    STRANGERS = 4
};

static bool any_stranger_goes_on(sqlite3 *const *strangers)
{
    for (int i = 0; i < STRANGERS; i++)
        if (!is_guarded(strangers[i]) ||
            bounce_of(strangers[i], "SELECT count(*) FROM t", ample_ns) == LLI_BOUNCE_NONE)
            return true;
    return false;
}

static void meets_stopped_worker(t_env *t, const char *path)
{
    sqlite3_vfs *unix_vfs = sqlite3_vfs_find("unix");
    sqlite3 *db = open_shim(path);
    sqlite3 *workers = open_shim(path);
    sqlite3 *strangers[STRANGERS];
    pthread_t thread;
    for (int i = 0; i < STRANGERS; i++) {
        const char *name = t_path(t, t_printf(t, "stranger%d.db", i));
        t_file_sql(name, fill);
        strangers[i] = open_shim(name);
        t_raw(strangers[i], "SELECT count(*) FROM t");
    }
    t_raw(db, "SELECT count(*) FROM t");
    t_raw(workers, "SELECT count(*) FROM t");
    real_fcntl = (int (*)(int, int, ...))unix_vfs->xGetSystemCall(unix_vfs, "fcntl");
    unix_vfs->xSetSystemCall(unix_vfs, "fcntl", (sqlite3_syscall_ptr)stopping_fcntl);
    stop.inside = stop.let = false;
    T_CHECK(pthread_create(&thread, NULL, read_and_stop, workers) == 0);
    pthread_mutex_lock(&stop.mu);
    while (!stop.inside)
        pthread_cond_wait(&stop.changed, &stop.mu);
    pthread_mutex_unlock(&stop.mu);
    /* Were it to enter, it would wait for the thread, which waits for us: the watchdog would bite. */
    T_CHECK(bounce_of(db, "SELECT count(*) FROM t", ample_ns) == LLI_BOUNCE_MUTEX);
    T_CHECK(any_stranger_goes_on(strangers));
    pthread_mutex_lock(&stop.mu);
    stop.let = true;
    pthread_cond_broadcast(&stop.changed);
    pthread_mutex_unlock(&stop.mu);
    T_CHECK(pthread_join(thread, NULL) == 0);
    unix_vfs->xSetSystemCall(unix_vfs, "fcntl", (sqlite3_syscall_ptr)real_fcntl);
    if (is_guarded(db))
        T_CHECK(bounce_of(db, "SELECT count(*) FROM t", ample_ns) == LLI_BOUNCE_NONE);
    for (int i = 0; i < STRANGERS; i++)
        t_raw_close(strangers[i]);
    t_raw_close(workers);
    t_raw_close(db);
}

static void test_worker_stopped_in_shared_memory_lock(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_raw_close(open_wal(t));
    sqlite3 *keeper = t_raw_open(path);
    t_raw(keeper, "SELECT * FROM t LIMIT 1");
    meets_stopped_worker(t, path);
    t_raw_close(keeper);
}

static void test_worker_stopped_in_file_lock(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), fill);
    meets_stopped_worker(t, t_path(t, "a.db"));
}

/* ---- writes ---- */

static void test_sort_that_spills(void **state)
{
    t_env *t = *state;
    sqlite3 *db = open_wal(t);
    /* The sorter spills beyond cache_size pages. */
    t_raw(db, "PRAGMA cache_size = 20; PRAGMA temp_store = FILE");
    if (is_guarded(db))
        T_CHECK(bounce_of(db, "SELECT id, b FROM t ORDER BY a, b DESC, id", ample_ns) ==
                LLI_BOUNCE_WRITE);
    t_raw_close(db);
}

/* A crashed writer left a journal: the next reader would roll it back. */
static int crash_in_commit(void *path)
{
    static sqlite3 *db; /* reachable to the end, so that valgrind finds no leak */
    T_CHILD(sqlite3_open(path, &db) == SQLITE_OK);
    T_CHILD(sqlite3_exec(db, "PRAGMA cache_size = 5; BEGIN; UPDATE t SET a = 1000, b = b || 'x'",
                         NULL, NULL, NULL) == SQLITE_OK);
    return 0; /* the child ends here, its transaction half in the file */
}

static void test_recovery_is_for_a_worker(void **state)
{
    t_env *t = *state;
    char *path = t_printf(t, "%s", t_path(t, "a.db"));
    t_file_sql(path, fill);
    t_in_child(crash_in_commit, path);
    T_CHECK(access(t_printf(t, "%s-journal", path), F_OK) == 0);
    sqlite3 *db = open_shim(path);
    T_CHECK(bounce_of(db, "SELECT sum(a) FROM t", ample_ns) == LLI_BOUNCE_WRITE);
    T_CHECK(access(t_printf(t, "%s-journal", path), F_OK) == 0);
    T_CHECK(t_raw_int(db, "SELECT sum(a) FROM t") == 2000 / 100 * 4950);
    T_CHECK(t_raw_int(db, "SELECT sum(length(b)) FROM t") == 2000 * 1000);
    if (is_guarded(db))
        T_CHECK(bounce_of(db, "SELECT sum(a) FROM t", ample_ns) == LLI_BOUNCE_NONE);
    t_raw_close(db);
}

/* An inline write inside a transaction is refused nothing, and reaches no file before the commit. */
static void test_shielded_write(void **state)
{
    t_env *t = *state;
    sqlite3 *db = open_wal(t);
    struct lli_attempt attempt;
    int64_t value = 0;
    int rc;
    t_raw(db, "BEGIN IMMEDIATE");
    T_CHECK(try_sql(db, "UPDATE t SET a = -1 WHERE id = 5", 0, true, &attempt, &value, &rc) ==
            LLI_BOUNCE_NONE);
    T_CHECK(rc == SQLITE_DONE);
    t_raw(db, "COMMIT");
    T_CHECK(t_raw_int(db, "SELECT a FROM t WHERE id = 5") == -1);
    t_raw_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(test_warm_read_ends_inline),
        T_TEST(test_first_read_of_a_connection_is_for_a_worker),
        T_TEST(test_cold_pages),
        T_TEST(test_hook_that_is_gone),
        T_TEST(test_long_computation),
        T_TEST(test_page_reads_look_at_the_clock),
        T_TEST(test_locked_file),
        T_TEST(test_sleep_is_refused),
        T_TEST(test_worker_stopped_in_shared_memory_lock),
        T_TEST(test_worker_stopped_in_file_lock),
        T_TEST(test_sort_that_spills),
        T_TEST(test_recovery_is_for_a_worker),
        T_TEST(test_shielded_write),
    };
    return T_RUN(tests);
}
