/* snapshot_world.h: what the tests of the held snapshot share: one connection with snapshots allowed, and
 * other processes. They are forked before anything is opened here, for SQLite must not be carried over a
 * fork. */
#ifndef T_SNAPSHOT_WORLD_H
#define T_SNAPSHOT_WORLD_H

#include "db/db.h"
#include "db/vfs_shim.h"
#include "support/support.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* ---- another process ---- */

struct other {
    pid_t pid;
    int fd;
    const char *path;
};

struct answer {
    int code;
    int64_t value; /* the first of the last row */
};

static inline int keep_first(void *arg, int count, char **values, char **names)
{
    (void)names;
    *(int64_t *)arg = count > 0 && values[0] ? strtoll(values[0], NULL, 10) : -1;
    return 0;
}

static inline void serve(const struct other *other)
{
    char sql[1024];
    sqlite3 *handle = NULL;
    while (read(other->fd, sql, sizeof sql) == (ssize_t)sizeof sql) {
        struct answer answer = {0};
        if (!handle)
            handle = t_raw_open(other->path);
        answer.code = sqlite3_exec(handle, sql, keep_first, &answer.value, NULL);
        if (write(other->fd, &answer, sizeof answer) != (ssize_t)sizeof answer)
            break;
    }
    sqlite3_close(handle);
}

static inline struct other other_start(const char *path)
{
    int pair[2];
    T_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    struct other other = {.path = path, .fd = pair[1]};
    fflush(NULL);
    other.pid = fork();
    T_CHECK(other.pid >= 0);
    if (other.pid == 0) {
        close(pair[0]);
        t_watchdog();
        serve(&other);
        _exit(0);
    }
    close(pair[1]);
    other.fd = pair[0];
    return other;
}

static inline struct answer other_try(const struct other *other, const char *sql)
{
    char message[1024] = {0};
    struct answer answer;
    T_CHECK(strlen(sql) < sizeof message);
    strcpy(message, sql);
    T_CHECK(write(other->fd, message, sizeof message) == (ssize_t)sizeof message);
    T_CHECK(read(other->fd, &answer, sizeof answer) == (ssize_t)sizeof answer);
    return answer;
}

static inline int64_t other_does(const struct other *other, const char *sql)
{
    struct answer answer = other_try(other, sql);
    T_EQUAL(answer.code, SQLITE_OK);
    return answer.value;
}

static inline void wait_for(pid_t pid)
{
    int status = 0;
    T_CHECK(waitpid(pid, &status, 0) == pid);
    T_CHECK(!WIFSIGNALED(status));
}

static inline void other_end(struct other *other)
{
    close(other->fd);
    wait_for(other->pid);
}

static inline int64_t size_of(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (int64_t)info.st_size : -1;
}

#endif
