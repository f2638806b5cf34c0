/* peer.c: another process, which runs SQL with sqlite3 itself when it is told to, and answers with the code.
 *
 * It is forked before the test has opened the file, for SQLite's own account of locks is copied by fork(). One
 * command at a time: the length of a text and the text; the answer is one int. When the test is gone, the pipe
 * ends and so does the process. */
#include "support.h"

#include <sys/wait.h>
#include <unistd.h>

struct t_peer {
    pid_t pid;
    int ask, answer;
};

static bool get(int fd, void *buffer, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = read(fd, (char *)buffer + done, size - done);
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

static int serve(const char *path, int ask, int answer)
{
    sqlite3 *db = NULL;
    char text[512];
    size_t size;
    while (get(ask, &size, sizeof size)) {
        if (size >= sizeof text || !get(ask, text, size))
            return 1;
        text[size] = '\0';
        int code = SQLITE_OK;
        if (!db)
            code = sqlite3_open(path, &db);
        if (size == 0) {
            code = sqlite3_close(db);
            db = NULL;
        } else if (code == SQLITE_OK) {
            code = sqlite3_exec(db, text, NULL, NULL, NULL);
        }
        if (write(answer, &code, sizeof code) != sizeof code)
            return 1;
    }
    return sqlite3_close(db) == SQLITE_OK ? 0 : 1;
}

t_peer *t_peer_new(const char *path)
{
    int ask[2], answer[2];
    t_peer *peer = calloc(1, sizeof *peer);
    T_CHECK(peer && pipe(ask) == 0 && pipe(answer) == 0);
    fflush(NULL);
    peer->pid = fork();
    T_CHECK(peer->pid >= 0);
    if (peer->pid == 0) {
        close(ask[1]);
        close(answer[0]);
        free(peer);
        t_watchdog();
        _exit(serve(path, ask[0], answer[1]));
    }
    close(ask[0]);
    close(answer[1]);
    peer->ask = ask[1];
    peer->answer = answer[0];
    return peer;
}

int t_peer_try(t_peer *peer, const char *sql)
{
    size_t size = strlen(sql);
    int code = -1;
    T_CHECK(write(peer->ask, &size, sizeof size) == sizeof size);
    T_CHECK(size == 0 || write(peer->ask, sql, size) == (ssize_t)size);
    T_CHECK(get(peer->answer, &code, sizeof code));
    return code;
}

void t_peer_end(t_peer *peer)
{
    int result = 0;
    close(peer->ask);
    T_CHECK(waitpid(peer->pid, &result, 0) == peer->pid);
    T_CHECK(WIFEXITED(result) && WEXITSTATUS(result) == 0);
    close(peer->answer);
    free(peer);
}
