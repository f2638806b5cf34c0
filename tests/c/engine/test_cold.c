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

/* A connection that knows the statement, and has seen its pages; SQLite's own cache has them no
 * longer, unless it is wanted. */
static ll_conn *open_known(struct world *w, const char *path, bool cache)
{
    static const char *const small[] = {"cache_size=0", NULL};
    ll_open_options options = {.pragmas = cache ? NULL : small};
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    T_CHECK(ll_conn_open(w->step.engine, path, &options, NULL, &conn, &request) == LL_PENDING);
    lli_step_settle(&w->step);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    for (int i = 0; i < 3; i++)
        world_exec(w, conn, point_read);
    return conn;
}

/* Reads until a page was missing; NULL if it never is. Nothing but the submission has been done then. */
static ll_request *read_cold(struct world *w, ll_conn *conn, const char *path)
{
    for (int i = 0; i < DROPS; i++) {
        uint64_t misses = world_stats(w).misses;
        ll_request *request = NULL;
        t_in_child(drop, (void *)(uintptr_t)path);
        T_CHECK(ll_engine_dispatch(w->step.engine, NULL) == LL_OK);
        T_CHECK(ll_exec(conn, point_read, NULL, 0, NULL, &request) >= 0);
        if (world_stats(w).misses > misses)
            return request;
        lli_step_settle(&w->step);
        t_is(request, LL_OK, LL_APPLIED);
        ll_request_unref(request);
    }
    return NULL;
}

static void finish(struct world *w, ll_request *request)
{
    lli_step_settle(&w->step);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
}

/* Where the missing page is waited for on the loop. False: no page is missed there. */
static bool misses_and_hits(t_env *t, const char *path)
{
    struct world w;
    world_begin(&w, t);
    make_file(path);
    ll_conn *conn = open_known(&w, path, false);
    ll_request *request = NULL;
    if (conn->disk != LLI_DISK_NOWAIT)
        fprintf(stderr, "skipped: the guard of the files there is \"%s\"\n",
                lli_disk_guard_name(conn->disk));
    ll_stats before = world_stats(&w);
    if (conn->disk == LLI_DISK_NOWAIT && !(request = read_cold(&w, conn, path)))
        fprintf(stderr, "skipped: the pages could not be dropped from the cache\n");
    if (!request) {
        world_close(&w, conn);
        world_end(&w);
        return false;
    }
    ll_stats after = world_stats(&w);
    T_EQUAL(after.retries, before.retries + 1);
    T_EQUAL(after.bounced_disk, before.bounced_disk + 1);
    T_EQUAL(after.hops, before.hops);
    t_in_child(fill, (void *)(uintptr_t)path); /* by now they are there, whatever the disk does */
    finish(&w, request);
    after = world_stats(&w);
    T_EQUAL(after.retry_hits, before.retry_hits + 1);
    T_EQUAL(after.worker_runs, before.worker_runs);
    /* Without help: it hits, or a worker ends it. */
    request = read_cold(&w, conn, path);
    if (request) {
        finish(&w, request);
        before = after;
        after = world_stats(&w);
        T_EQUAL(after.retries, before.retries + 1);
        T_EQUAL(after.retry_hits - before.retry_hits + after.worker_runs - before.worker_runs, 1);
    }
    world_close(&w, conn);
    world_end(&w);
    return true;
}

static void on_the_temporary_files(void **state)
{
    t_env *t = *state;
    if (!misses_and_hits(t, t_path(t, "cold.db")))
        skip();
}

/* A write cannot be ended half done: it waits, says so, and is not tried again at once. */
static void inside_a_write(void **state)
{
    static const char insert[] = "INSERT INTO t(id, x) VALUES(5000, 'x')"; /* into the last page */
    t_env *t = *state;
    struct world w;
    world_begin(&w, t);
    const char *path = t_path(t, "cold.db");
    make_file(path);
    t_file_sql(path, "PRAGMA journal_mode=WAL");
    bool missed = false;
    for (int i = 0; i < DROPS && !missed; i++) {
        ll_conn *conn = open_known(&w, path, true); /* one that would spill is not tried */
        if (conn->disk != LLI_DISK_NOWAIT)
            i = DROPS;
        world_exec(&w, conn, "BEGIN IMMEDIATE");
        world_exec(&w, conn, "INSERT INTO t(id, x) VALUES(-1, 'x')"); /* the schema is known */
        t_in_child(drop, (void *)(uintptr_t)path);
        ll_stats before = world_stats(&w);
        bool on_loop = world_exec(&w, conn, insert);
        ll_stats after = world_stats(&w);
        missed = on_loop && after.misses > before.misses;
        if (missed) {
            T_EQUAL(after.stalls, before.stalls + 1);
            T_EQUAL(after.retries, before.retries);
            world_exec(&w, conn, "ROLLBACK");
            world_exec(&w, conn, "BEGIN IMMEDIATE");
            T_CHECK(!world_exec(&w, conn, insert)); /* on probation */
        }
        world_exec(&w, conn, "ROLLBACK");
        world_close(&w, conn);
    }
    if (!missed)
        print_message("skipped: no write on the loop missed a page\n");
    world_end(&w);
}

static void in_memory(void **state)
{
    char folder[] = "/dev/shm/looplite-cold-XXXXXX", path[128];
    struct world w;
    if (!mkdtemp(folder)) {
        print_message("skipped: no /dev/shm\n");
        skip();
    }
    world_begin(&w, *state);
    snprintf(path, sizeof path, "%s/cold.db", folder);
    make_file(path);
    ll_conn *conn = open_known(&w, path, false);
    if (conn->disk == LLI_DISK_TMPFS) {
        ll_stats before = world_stats(&w);
        T_CHECK(!read_cold(&w, conn, path)); /* nothing can be dropped, nothing is missed */
        ll_stats after = world_stats(&w);
        T_EQUAL(after.inline_hits, before.inline_hits + DROPS);
        T_EQUAL(after.misses, before.misses);
        T_EQUAL(after.worker_runs, before.worker_runs);
    } else {
        print_message("skipped: the guard of /dev/shm is \"%s\"\n",
                      lli_disk_guard_name(conn->disk));
    }
    world_close(&w, conn);
    world_end(&w);
    remove(path);
    rmdir(folder);
}

static void on_a_mounted_overlay(t_env *t)
{
    struct world w;
    const char *path = t_path(t, "merged/cold.db");
    world_begin(&w, t);
    make_file(path);
    ll_conn *conn = open_known(&w, path, false);
    ll_stats before = world_stats(&w);
    ll_request *request = conn->disk == LLI_DISK_MINCORE ? read_cold(&w, conn, path) : NULL;
    if (request) {
        T_EQUAL(world_stats(&w).bounced_disk, before.bounced_disk + 1);
        T_CHECK(world_move(&w, request)); /* a worker, at once */
        ll_stats after = world_stats(&w);
        T_EQUAL(after.retries, before.retries);
        T_EQUAL(after.worker_runs, before.worker_runs + 1);
        finish(&w, request);
    } else {
        fprintf(stderr, "skipped: nothing is missed under the guard \"%s\"\n",
                lli_disk_guard_name(conn->disk));
    }
    world_close(&w, conn);
    world_end(&w);
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
    if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("overlay", t_path(t, "merged"), "overlay", 0, options) == 0)
        on_a_mounted_overlay(t);
    else
        fprintf(stderr, "skipped: no overlay can be mounted: %s\n", strerror(errno));
    return 0;
}

/* The same for an ext4 of its own, in an image. */
static int ext4(void *arg)
{
    t_env *t = arg;
    T_CHILD(mkdir(t_path(t, "ext4"), 0700) == 0);
    const char *image = t_path(t, "image");
    const char *make = t_printf(t, "truncate -s 64M %s && mkfs.ext4 -q -F %s 2>/dev/null", image,
                                image);
    const char *mounts = t_printf(t, "mount -t ext4 -o loop %s %s 2>/dev/null", image,
                                  t_path(t, "ext4"));
    if (system(make) == 0 && unshare(CLONE_NEWNS) == 0 &&
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && system(mounts) == 0) {
        (void)misses_and_hits(t, t_path(t, "ext4/cold.db"));
        T_CHILD(umount2(t_path(t, "ext4"), MNT_DETACH) == 0);
    } else {
        fprintf(stderr, "skipped: no ext4 can be mounted\n");
    }
    return 0;
}

static void on_an_ext4(void **state)
{
    t_in_child(ext4, *state);
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
        T_TEST(on_the_temporary_files), T_TEST(inside_a_write), T_TEST(in_memory),
        T_TEST(on_an_overlay),          T_TEST(on_an_ext4),
    };
    return T_RUN(tests);
}
