/* test_nowait.c: reads that are answered from the kernel's cache or not at all, in a temporary file and in
 * /dev/shm. What the file system of the temporary files cannot do is skipped with a message. */
#include "platform/nowait.h"

#include "support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    PAGES = 1024,
    DROPS = 20 /* a page may be in use by somebody just when it is to be dropped */
};

static int make_file(const char *path, size_t pages)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    unsigned char page[PAGE];
    T_CHECK(fd >= 0);
    for (size_t i = 0; i < pages; i++) {
        memset(page, (int)(i & 0xff), sizeof page);
        T_CHECK(write(fd, page, sizeof page) == PAGE);
    }
    T_CHECK(fsync(fd) == 0);
    return fd;
}

static enum lli_disk_guard probe(int fd)
{
    struct stat info;
    uint64_t device, inode;
    enum lli_disk_guard guard = lli_nowait_probe(fd, &device, &inode);
    T_CHECK(fstat(fd, &info) == 0);
    T_CHECK(device == (uint64_t)info.st_dev && inode == (uint64_t)info.st_ino);
    return guard;
}

static bool can_miss(enum lli_disk_guard guard)
{
    if (guard == LLI_DISK_NOWAIT || guard == LLI_DISK_MINCORE)
        return true;
    print_message("skipped: temporary files are on a file system with the guard \"%s\"\n",
                  lli_disk_guard_name(guard));
    return false;
}

static void read_all(int fd)
{
    unsigned char page[PAGE];
    for (size_t i = 0; i < PAGES; i++)
        T_CHECK(pread(fd, page, sizeof page, (off_t)(i * PAGE)) == PAGE);
}

static void hits(int fd, enum lli_disk_guard guard)
{
    unsigned char page[PAGE];
    read_all(fd);
    for (size_t i = 0; i < PAGES; i++) {
        T_CHECK(lli_nowait_read(fd, guard, page, sizeof page, (int64_t)i * PAGE) == PAGE);
        T_CHECK(page[0] == (i & 0xff) && page[PAGE - 1] == (i & 0xff));
    }
    /* Not at a page's border, as a frame of the WAL is. */
    T_CHECK(lli_nowait_read(fd, guard, page, sizeof page, PAGE + 24) == PAGE);
    T_CHECK(page[PAGE - 25] == 1 && page[PAGE - 24] == 2);
}

static void ends(int fd, enum lli_disk_guard guard)
{
    unsigned char page[PAGE];
    int64_t size = (int64_t)PAGES * PAGE;
    read_all(fd);
    T_CHECK(lli_nowait_read(fd, guard, page, sizeof page, size) == 0);
    T_CHECK(lli_nowait_read(fd, guard, page, sizeof page, size + 12345) == 0);
    T_CHECK(lli_nowait_read(fd, guard, page, sizeof page, size - 100) == 100);
}

/* Drops the file from the cache and counts the pages that are then missed. */
static size_t misses(int fd, enum lli_disk_guard guard)
{
    size_t missed = 0;
    for (int drop = 0; drop < DROPS && missed == 0; drop++) {
        unsigned char page[PAGE];
        T_CHECK(fsync(fd) == 0);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        for (size_t i = 0; i < PAGES; i += 64) {
            errno = 0;
            ssize_t got = lli_nowait_read(fd, guard, page, sizeof page, (int64_t)i * PAGE);
            T_CHECK(got == PAGE || (got == -1 && errno == EAGAIN));
            missed += got < 0;
        }
    }
    return missed;
}

static void test_hit_miss_and_end(void **state)
{
    t_env *t = *state;
    int fd = make_file(t_path(t, "file"), PAGES);
    enum lli_disk_guard guard = probe(fd);
    if (guard == LLI_DISK_TMPFS || can_miss(guard)) {
        hits(fd, guard);
        ends(fd, guard);
    }
    if (guard != LLI_DISK_TMPFS && can_miss(guard)) {
        T_CHECK(misses(fd, guard) > 0);
        hits(fd, guard); /* read plainly in between: there again */
    }
    close(fd);
}

/* As on overlayfs; works on every local file system. */
static void test_mincore(void **state)
{
    t_env *t = *state;
    int fd = make_file(t_path(t, "file"), PAGES);
    if (can_miss(probe(fd))) {
        hits(fd, LLI_DISK_MINCORE);
        ends(fd, LLI_DISK_MINCORE);
        T_CHECK(misses(fd, LLI_DISK_MINCORE) > 0);
    }
    close(fd);
}

static void test_empty_file(void **state)
{
    t_env *t = *state;
    char bytes[100];
    int fd = make_file(t_path(t, "file"), 0);
    enum lli_disk_guard guard = probe(fd);
    if (guard == LLI_DISK_TMPFS || can_miss(guard))
        T_CHECK(lli_nowait_read(fd, guard, bytes, sizeof bytes, 0) == 0);
    T_CHECK(lli_nowait_read(fd, LLI_DISK_MINCORE, bytes, sizeof bytes, 0) == 0);
    close(fd);
}

static void test_memory_file_system(void **state)
{
    (void)state;
    char path[] = "/dev/shm/looplite-nowait-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0) {
        print_message("skipped: no /dev/shm\n");
        return;
    }
    unlink(path);
    unsigned char page[PAGE] = {1};
    for (size_t i = 0; i < PAGES; i++) {
        page[0] = page[PAGE - 1] = (unsigned char)i;
        memset(page, (int)(i & 0xff), sizeof page);
        T_CHECK(write(fd, page, sizeof page) == PAGE);
    }
    enum lli_disk_guard guard = probe(fd);
    if (guard == LLI_DISK_TMPFS) {
        hits(fd, guard);
        ends(fd, guard);
        T_CHECK(misses(fd, guard) == 0);
    } else {
        print_message("skipped: /dev/shm is no tmpfs, but \"%s\"\n", lli_disk_guard_name(guard));
    }
    close(fd);
}

static int finds_it_locked(void *arg)
{
    int fd = open(arg, O_RDWR | O_CLOEXEC);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    T_CHILD(fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0);
    T_CHILD(lock.l_type == F_WRLCK && lock.l_pid == getppid());
    return 0;
}

/* What is no file, what is not open, and guards that do not read. */
static void test_refusals(void **state)
{
    (void)state;
    int ends_of[2];
    char byte;
    uint64_t device, inode;
    T_CHECK(pipe(ends_of) == 0);
    T_CHECK(lli_nowait_probe(ends_of[0], &device, &inode) == LLI_DISK_WORKER_ONLY);
    close(ends_of[0]);
    close(ends_of[1]);
    T_CHECK(lli_nowait_probe(-1, &device, &inode) == LLI_DISK_WORKER_ONLY);
    for (int guard = LLI_DISK_UNKNOWN; guard <= LLI_DISK_NONE; guard++) {
        errno = 0;
        T_CHECK(lli_nowait_read(-1, (enum lli_disk_guard)guard, &byte, 1, 0) == -1);
        T_CHECK(errno == EAGAIN);
        T_CHECK(strlen(lli_disk_guard_name((enum lli_disk_guard)guard)) > 0);
    }
}

/* Which names can be looked up without asking a device; and that nobody's lock goes with the look. */
static void test_paths(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "file");
    uint64_t device = 0, inode = 0;
    int fd = make_file(path, 1);
    struct stat info;
    T_CHECK(fstat(fd, &info) == 0);
    if (!lli_nowait_path(path, &device, &inode)) {
        print_message("skipped: openat2(RESOLVE_CACHED) is not to be had here\n");
        close(fd);
        return;
    }
    T_CHECK(device == (uint64_t)info.st_dev && inode == (uint64_t)info.st_ino);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    T_CHECK(fcntl(fd, F_SETLK, &lock) == 0);
    int highest = dup(fd);
    for (int i = 0; i < 10; i++)
        T_CHECK(lli_nowait_path(path, &device, &inode));
    int next = dup(fd);
    T_CHECK(next == highest + 1); /* no descriptor is left */
    T_CHECK(symlink(path, t_path(t, "link")) == 0);
    T_CHECK(lli_nowait_path(t_path(t, "link"), &device, &inode) && inode == (uint64_t)info.st_ino);
    t_in_child(finds_it_locked, (void *)(uintptr_t)path);
    close(next);
    close(highest);
    close(fd);
    T_CHECK(mkfifo(t_path(t, "fifo"), 0600) == 0);
    T_CHECK(!lli_nowait_path(t_path(t, "fifo"), &device, &inode)); /* opening it would wait */
    T_CHECK(!lli_nowait_path(t->dir, &device, &inode));
    T_CHECK(!lli_nowait_path(t_path(t, "nothing"), &device, &inode));
    T_CHECK(symlink("nothing", t_path(t, "dangling")) == 0);
    T_CHECK(!lli_nowait_path(t_path(t, "dangling"), &device, &inode));
    T_CHECK(!lli_nowait_path(t_path(t, "file/below"), &device, &inode));
    T_CHECK(!lli_nowait_path("/proc/self/status", &device, &inode)); /* no file system of a disk */
    T_CHECK(!lli_nowait_path("", &device, &inode));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(test_hit_miss_and_end),   T_TEST(test_mincore),  T_TEST(test_empty_file),
        T_TEST(test_memory_file_system), T_TEST(test_refusals), T_TEST(test_paths),
    };
    return T_RUN(tests);
}
