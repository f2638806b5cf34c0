/* other.h: another process, which runs SQL on a file when it is told to, and says what came of it. It is forked
 * before anything is opened here, for SQLite must not be carried over a fork. */
#ifndef T_OTHER_H
#define T_OTHER_H

#include "support/support.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* Opens the file at the first thing that it is told. */
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

/* Some statements, of at most 1 023 bytes; its code, and the first value of the last row. */
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

/* The same; it must succeed. */
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

/* -1: there is no such file. */
static inline int64_t size_of(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (int64_t)info.st_size : -1;
}

#endif
