/* Pages that are truly not in memory, on three kinds of file systems: which way is taken, by the statistics.
 *
 * The kernel's cache is dropped, and filled, by a child process: to open and close the file here would drop
 * the locks that this process has on it. */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static const char point_read[] = "SELECT length(x) FROM t WHERE id = 700";

enum {
    DROPS = 20 /* a page may be in use by somebody just when it is to be dropped */
};

static int drop(void *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    T_CHILD(fd >= 0 && fsync(fd) == 0);
    T_CHILD(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    close(fd);
    return 0;
}

static int fill(void *path)
{
    char buffer[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    T_CHILD(fd >= 0);
    while (read(fd, buffer, sizeof buffer) > 0) {}
    close(fd);
    return 0;
}

static void make_file(const char *path)
{
    t_file_sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, x)");
    t_file_sql(path,
               "INSERT INTO t(id, x) " T_ENDLESS "SELECT x, zeroblob(3000) FROM c LIMIT 1000");
}

/* A connection that knows the statement, and has seen its pages; SQLite's own cache has them no longer. */
static ll_conn *open_known(ll_engine *engine, const char *path)
{
    static const char *const small[] = {"cache_size=0", NULL};
    ll_open_options options = {.pragmas = small};
    ll_conn *conn = t_open_with(engine, path, &options);
    for (int i = 0; i < 3; i++)
        t_exec(conn, point_read);
    T_CHECK(ll_engine_dispatch(engine, NULL) == LL_OK);
    ll_request *request = NULL;
    T_CHECK(ll_exec(conn, point_read, NULL, 0, NULL, &request) ==
            LL_OK); /* on the loop, when warm */
    ll_request_unref(request);
    return conn;
}

/* Reads until a page was missing; NULL if it never is. */
static ll_request *read_cold(ll_engine *engine, ll_conn *conn, const char *path)
{
    for (int i = 0; i < DROPS; i++) {
        uint64_t misses = t_stats(engine).misses;
        ll_request *request = NULL;
        t_in_child(drop, (void *)(uintptr_t)path);
        T_CHECK(ll_engine_dispatch(engine, NULL) == LL_OK);
        ll_status status = ll_exec(conn, point_read, NULL, 0, NULL, &request);
        T_CHECK(status >= 0);
        if (t_stats(engine).misses > misses)
            return request;
        T_CHECK(status == LL_OK || ll_request_wait(request) == LL_OK);
        ll_request_unref(request);
    }
    return NULL;
}

/* A generous engine: what is tried does not depend on the machine's speed. */
static const ll_engine_options generous = {.turn_ns = T_HOUR, .attempt_ns = T_HOUR};

static void on_the_temporary_files(void **state)
{
    t_env *t = *state;
    t_engine(t, &generous);
    const char *path = t_path(t, "cold.db");
    make_file(path);
    ll_conn *probe = t_open_with(t->engine, path, NULL);
    enum lli_disk_guard guard = probe->disk;
    t_close(probe);
    if (guard != LLI_DISK_NOWAIT) {
        print_message("skipped: the guard of the temporary files is \"%s\"\n",
                      lli_disk_guard_name(guard));
        skip();
    }
    ll_conn *conn = open_known(t->engine, path);
    ll_stats before = t_stats(t->engine);
    ll_request *request = read_cold(t->engine, conn, path);
    if (!request) {
        print_message("skipped: the pages could not be dropped from the cache\n");
        t_close(conn);
        skip();
    }
    ll_stats after = t_stats(t->engine);
    T_EQUAL(after.retries, before.retries + 1);
    T_EQUAL(after.bounced_disk, before.bounced_disk + 1);
    T_EQUAL(after.hops, before.hops);
    t_in_child(fill, (void *)(uintptr_t)path); /* by now they are there, whatever the disk does */
    T_CHECK(ll_request_wait(request) == LL_OK);
    after = t_stats(t->engine);
    T_EQUAL(after.retry_hits, before.retry_hits + 1);
    T_EQUAL(after.worker_runs, before.worker_runs);
    ll_request_unref(request);
    /* Without help: it hits, or a worker ends it. */
    before = after;
    request = read_cold(t->engine, conn, path);
    if (request) {
        T_CHECK(ll_request_wait(request) == LL_OK);
        after = t_stats(t->engine);
        T_EQUAL(after.retries, before.retries + 1);
        T_EQUAL(after.retry_hits - before.retry_hits + after.worker_runs - before.worker_runs, 1);
        ll_request_unref(request);
    }
    t_close(conn);
}

static void in_memory(void **state)
{
    t_env *t = *state;
    char folder[] = "/dev/shm/looplite-cold-XXXXXX";
    if (!mkdtemp(folder)) {
        print_message("skipped: no /dev/shm\n");
        skip();
    }
    t_engine(t, &generous);
    char path[128];
    snprintf(path, sizeof path, "%s/cold.db", folder);
    make_file(path);
    ll_conn *conn = open_known(t->engine, path);
    T_EQUAL(conn->disk, LLI_DISK_TMPFS);
    ll_stats before = t_stats(t->engine);
    T_CHECK(!read_cold(t->engine, conn, path)); /* nothing can be dropped, nothing is missed */
    ll_stats after = t_stats(t->engine);
    T_EQUAL(after.inline_hits, before.inline_hits + DROPS);
    T_EQUAL(after.misses, before.misses);
    T_EQUAL(after.worker_runs, before.worker_runs);
    t_close(conn);
    remove(path);
    rmdir(folder);
}

/* In a process that has mounted one, for itself alone. */
static int overlay(void *arg)
{
    t_env *t = arg;
    char options[2048];
    static const char *const names[] = {"lower", "upper", "work", "merged"};
    for (int i = 0; i < 4; i++)
        T_CHILD(mkdir(t_path(t, names[i]), 0700) == 0);
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", t_path(t, "lower"),
             t_path(t, "upper"), t_path(t, "work"));
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("overlay", t_path(t, "merged"), "overlay", 0, options) != 0) {
        fprintf(stderr, "skipped: no overlay can be mounted: %s\n", strerror(errno));
        return 0;
    }
    ll_engine *engine = NULL;
    T_CHILD(ll_engine_new(&generous, &engine) == LL_OK);
    const char *path = t_path(t, "merged/cold.db");
    make_file(path);
    ll_conn *conn = open_known(engine, path);
    if (conn->disk == LLI_DISK_MINCORE) {
        ll_stats before = t_stats(engine);
        ll_request *request = read_cold(engine, conn, path);
        ll_stats after = t_stats(engine);
        if (request) {
            T_CHILD(ll_request_wait(request) == LL_OK);
            after = t_stats(engine);
            T_CHILD(after.retries == before.retries);
            T_CHILD(after.bounced_disk == before.bounced_disk + 1);
            T_CHILD(after.worker_runs == before.worker_runs + 1);
            ll_request_unref(request);
        } else {
            fprintf(stderr, "skipped: an overlay's pages could not be dropped\n");
        }
    } else {
        fprintf(stderr, "skipped: this overlay's guard is \"%s\"\n",
                lli_disk_guard_name(conn->disk));
    }
    t_close(conn);
    ll_engine_free(engine);
    return 0;
}

static void on_an_overlay(void **state)
{
    t_env *t = *state;
    t->damaged = true; /* the parts of an overlay are no databases of their own */
    t_in_child(overlay, t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(on_the_temporary_files),
        T_TEST(in_memory),
        T_TEST(on_an_overlay),
    };
    return T_RUN(tests);
}
