/* support.c: worlds, watchdog, files and the short ways to submit and wait. */
#include "support.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct t_text {
    struct t_text *next;
    char text[];
};

static pthread_t test_thread;
static const char *running = "(no test)";
static bool failed;     /* this test */
static bool any_failed; /* one of this program: its objects may live on */
static bool is_child;   /* t_failing_ends_the_process() */

/* ---- failing ---- */

void t_fail(const char *file, int line, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (is_child) {
        fprintf(stderr, "%s:%d: %s\n", file, line, text);
        abort();
    }
    if (pthread_equal(pthread_self(), test_thread)) {
        failed = any_failed = true;
        print_error("%s\n", text);
        _fail(file, line);
    }
    fprintf(stderr, "%s:%d: %s, on another thread: %s\n", file, line, running, text);
    abort();
}

void t_failing_ends_the_process(void)
{
    is_child = true;
}

void t_equal_(long long got, long long expected, const char *what, const char *file, int line)
{
    if (got != expected)
        t_fail(file, line, "%s is %lld, not %lld", what, got, expected);
}

void t_same_text_(const char *got, const char *expected, const char *file, int line)
{
    if (!got || strcmp(got, expected) != 0)
        t_fail(file, line, "'%s' instead of '%s'", got ? got : "(null)", expected);
}

/* ---- watchdog ---- */

static void bite(int number)
{
    static const char words[] = "\nwatchdog: this test hangs: ";
    ssize_t ignored = write(2, words, sizeof words - 1);
    ignored += write(2, running, strlen(running));
    ignored += write(2, "\n", 1);
    (void)ignored;
    (void)number;
    signal(SIGABRT, SIG_DFL);
    abort();
}

void t_watchdog(void)
{
    const char *seconds = getenv("LOOPLITE_TEST_TIMEOUT");
    int limit = seconds ? atoi(seconds) : 0;
    signal(SIGALRM, bite);
    alarm(limit > 0 ? (unsigned)limit : 180);
}

const char *t_group(const char *file)
{
    static char name[64];
    if (!file)
        return name;
    const char *base = strrchr(file, '/');
    base = base ? base + 1 : file;
    size_t size = strcspn(base, ".");
    if (size >= sizeof name)
        size = sizeof name - 1;
    memcpy(name, base, size);
    name[size] = '\0';
    test_thread = pthread_self();
    signal(SIGPIPE, SIG_IGN);
    return name;
}

/* ---- worlds ---- */

static void remove_tree(const char *dir)
{
    DIR *stream = opendir(dir);
    if (!stream)
        return;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char path[1024];
        struct stat info;
        if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, entry->d_name) >= sizeof path)
            continue;
        if (lstat(path, &info) == 0 && S_ISDIR(info.st_mode))
            remove_tree(path);
        else
            unlink(path);
    }
    closedir(stream);
    rmdir(dir);
}

static void check_files(const char *dir)
{
    DIR *stream = opendir(dir);
    T_CHECK(stream != NULL);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        size_t size = strlen(entry->d_name);
        char path[1024];
        if (size > 3 && strcmp(entry->d_name + size - 3, ".db") == 0 &&
            (size_t)snprintf(path, sizeof path, "%s/%s", dir, entry->d_name) < sizeof path)
            t_integrity(path);
    }
    closedir(stream);
}

int t_setup(void **state)
{
    t_env *t = calloc(1, sizeof *t);
    const char *base = getenv("TMPDIR");
    T_CHECK(t != NULL);
    t->name = *state;
    running = t->name;
    failed = false;
    t->live_before = ll_live_objects();
    snprintf(t->dir, sizeof t->dir, "%s/looplite-test-XXXXXX", base && *base ? base : "/tmp");
    T_CHECK(mkdtemp(t->dir) != NULL);
    t_watchdog();
    /* A turn without end: on a slow machine one of half a millisecond could be over at any moment, and what is asked for
     * then is kept for a dispatch. Tests of turns make their own engine. */
    ll_status status = ll_engine_new(&(ll_engine_options){.turn_ns = T_HOUR}, &t->engine);
    if (status != LL_OK)
        t_fail(__FILE__, __LINE__, "no engine: %s", ll_last_error());
    *state = t;
    return 0;
}

int t_teardown(void **state)
{
    t_env *t = *state;
    t_gates_open(t->gates);
    if (failed) {
        ll_engine_abandon(t->engine); /* the gates stay: a worker may be inside */
        remove_tree(t->dir);
        alarm(0);
        return 0;
    }
    ll_engine_free(t->engine);
    t_gates_free(t->gates);
    size_t left = any_failed ? 0 : ll_live_objects() - t->live_before;
    if (!t->damaged)
        check_files(t->dir);
    remove_tree(t->dir);
    alarm(0);
    while (t->texts) {
        struct t_text *next = t->texts->next;
        free(t->texts);
        t->texts = next;
    }
    free(t);
    if (left != 0)
        t_fail(__FILE__, __LINE__, "%zu objects of the library are still alive", left);
    return 0;
}

void t_engine(t_env *t, const ll_engine_options *options)
{
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_CHECK(ll_engine_new(options, &t->engine) == LL_OK);
}

/* ---- the loop ---- */

ll_status t_end_(ll_status submitted, ll_request *const *slot, const char *file, int line)
{
    if (submitted < 0)
        return submitted;
    ll_request *request = *slot;
    if (!request)
        t_fail(file, line, "accepted (%s), but there is no request", ll_status_name(submitted));
    if (submitted == LL_PENDING) {
        ll_status status = ll_request_wait(request);
        if (!ll_request_is_done(request))
            t_fail(file, line, "waiting gave %s: %s", ll_status_name(status), ll_last_error());
        if (status != ll_request_status(request))
            t_fail(file, line, "waiting gave %s, the request says %s", ll_status_name(status),
                   ll_status_name(ll_request_status(request)));
    } else if (!ll_request_is_done(request)) {
        t_fail(file, line, "LL_OK, but the request is not done");
    }
    return ll_request_status(request);
}

void t_is_(ll_request *request, ll_status status, ll_outcome outcome, const char *file, int line)
{
    static const char *const names[] = {"not applied", "applied", "unknown"};
    const ll_error *error = ll_request_error(request);
    ll_status got = ll_request_status(request);
    ll_outcome became = ll_request_outcome(request);
    if (!error || !error->message || error->status != got)
        t_fail(file, line, "status %s, but its error says %s", ll_status_name(got),
               error ? ll_status_name(error->status) : "nothing");
    if (got != status || became != outcome)
        t_fail(file, line, "expected %s, %s; got %s, %s; code %d; message: %s",
               ll_status_name(status), names[outcome], ll_status_name(got), names[became],
               error->sqlite_code, error->message);
}

void t_until_(ll_engine *engine, const size_t *counter, size_t target, const char *file, int line)
{
    while (*counter < target) {
        if (ll_engine_outstanding(engine) == 0)
            t_fail(file, line, "nothing is outstanding after %zu of %zu callbacks", *counter,
                   target);
        ll_status status = ll_engine_wait(engine, -1, NULL);
        if (status != LL_OK)
            t_fail(file, line, "waiting gave %s: %s", ll_status_name(status), ll_last_error());
    }
}

void t_turn(ll_engine *engine)
{
    T_CHECK(ll_engine_wait(engine, (int64_t)T_MS, NULL) == LL_OK);
    sched_yield();
}

void t_count(ll_request *request, void *user)
{
    (void)request;
    ++*(size_t *)user;
}

void t_tell(ll_request *request, void *user)
{
    static size_t calls;
    t_told *told = user;
    T_CHECK(ll_request_is_done(request));
    T_CHECK(ll_request_user(request) == user);
    told->calls++;
    told->status = ll_request_status(request);
    told->outcome = ll_request_outcome(request);
    told->order = ++calls;
}

ll_stats t_stats(const ll_engine *engine)
{
    ll_stats stats;
    ll_engine_get_stats(engine, &stats);
    return stats;
}

ll_conn_state t_state(const ll_conn *conn)
{
    ll_conn_state state;
    ll_conn_get_state(conn, &state);
    return state;
}

/* ---- files ---- */

char *t_printf(t_env *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    T_CHECK(size >= 0);
    struct t_text *text = malloc(sizeof *text + (size_t)size + 1);
    T_CHECK(text != NULL);
    va_start(args, format);
    vsnprintf(text->text, (size_t)size + 1, format, args);
    va_end(args);
    text->next = t->texts;
    t->texts = text;
    return text->text;
}

const char *t_path(t_env *t, const char *name)
{
    return t_printf(t, "%s/%s", t->dir, name);
}

bool t_has(int version)
{
    return sqlite3_libversion_number() >= version;
}

sqlite3 *t_raw_open(const char *path)
{
    sqlite3 *db = NULL;
    int code = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (code != SQLITE_OK)
        t_fail(__FILE__, __LINE__, "sqlite3 cannot open %s: %s", path, sqlite3_errmsg(db));
    sqlite3_extended_result_codes(db, 1);
    return db;
}

void t_raw_close(sqlite3 *db)
{
    T_CHECK(sqlite3_close(db) == SQLITE_OK);
}

int t_raw_try(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

void t_raw(sqlite3 *db, const char *sql)
{
    if (t_raw_try(db, sql) != SQLITE_OK)
        t_fail(__FILE__, __LINE__, "sqlite3 itself: %s: %s", sqlite3_errmsg(db), sql);
}

int64_t t_raw_int(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    int64_t value = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW)
        t_fail(__FILE__, __LINE__, "sqlite3 itself: %s: %s", sqlite3_errmsg(db), sql);
    value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

void t_file_sql(const char *path, const char *sql)
{
    sqlite3 *db = t_raw_open(path);
    t_raw(db, sql);
    t_raw_close(db);
}

int64_t t_file_int(const char *path, const char *sql)
{
    sqlite3 *db = t_raw_open(path);
    int64_t value = t_raw_int(db, sql);
    t_raw_close(db);
    return value;
}

void t_integrity(const char *path)
{
    sqlite3 *db = t_raw_open(path);
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW)
        t_fail(__FILE__, __LINE__, "%s: %s", path, sqlite3_errmsg(db));
    const char *answer = (const char *)sqlite3_column_text(stmt, 0);
    if (!answer || strcmp(answer, "ok") != 0)
        t_fail(__FILE__, __LINE__, "%s is damaged: %s", path, answer ? answer : "(null)");
    sqlite3_finalize(stmt);
    t_raw_close(db);
}

/* ---- connections and statements ---- */

ll_conn *t_open_(ll_engine *engine, const char *path, const ll_open_options *options,
                 const char *file, int line)
{
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    ll_status status = ll_conn_open(engine, path, options, NULL, &conn, &request);
    status = t_end_(status, &request, file, line);
    if (status != LL_OK)
        t_fail(file, line, "cannot open %s: %s: %s", path, ll_status_name(status),
               request ? ll_request_error(request)->message : ll_last_error());
    ll_request_unref(request);
    return conn;
}

void t_open_fails_(ll_engine *engine, const char *path, const ll_open_options *options,
                   ll_status status, int sqlite_code, const char *file, int line)
{
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    ll_status got = t_end_(ll_conn_open(engine, path, options, NULL, &conn, &request), &request,
                           file, line);
    if (got != status)
        t_fail(file, line, "opening %s gave %s: %s", path, ll_status_name(got),
               request ? ll_request_error(request)->message : ll_last_error());
    if (request) {
        const ll_error *error = ll_request_error(request);
        t_is_(request, status, LL_NOT_APPLIED, file, line);
        if (sqlite_code != 0 && (error->sqlite_code & 0xff) != sqlite_code)
            t_fail(file, line, "code %d, expected %d: %s", error->sqlite_code, sqlite_code,
                   error->message);
        if (error->message[0] == '\0')
            t_fail(file, line, "an error without a message");
        /* what comes later is refused or fails */
        ll_request *later = NULL;
        got = t_end_(ll_exec(conn, "SELECT 1", NULL, 0, NULL, &later), &later, file, line);
        if (got != LL_ECLOSED)
            t_fail(file, line, "a statement after a failed open gave %s", ll_status_name(got));
        ll_request_unref(later);
        if (t_state(conn).open)
            t_fail(file, line, "the connection says that it is open");
    }
    ll_request_unref(request);
    ll_conn_unref(conn);
}

void t_close_(ll_conn *conn, const char *file, int line)
{
    ll_request *request = NULL;
    ll_status status = t_end_(ll_conn_close(conn, NULL, &request), &request, file, line);
    if (status != LL_OK)
        t_fail(file, line, "closing gave %s: %s", ll_status_name(status),
               request ? ll_request_error(request)->message : ll_last_error());
    ll_request_unref(request);
    if (t_state(conn).open)
        t_fail(file, line, "closed, and still open");
    ll_conn_unref(conn);
}

void t_exec_(ll_conn *conn, const char *sql, const char *file, int line)
{
    ll_request *request = NULL;
    ll_status status = t_end_(ll_exec(conn, sql, NULL, 0, NULL, &request), &request, file, line);
    if (status != LL_OK)
        t_fail(file, line, "%s: %s: %s", sql, ll_status_name(status),
               request ? ll_request_error(request)->message : ll_last_error());
    t_is_(request, LL_OK, LL_APPLIED, file, line);
    ll_request_unref(request);
}

ll_request *t_exec_fails_(ll_conn *conn, const char *sql, ll_status status, const char *file,
                          int line)
{
    ll_request *request = NULL;
    ll_status got = t_end_(ll_exec(conn, sql, NULL, 0, NULL, &request), &request, file, line);
    if (got != status || !request)
        t_fail(file, line, "%s: expected %s, got %s: %s", sql, ll_status_name(status),
               ll_status_name(got), request ? ll_request_error(request)->message : ll_last_error());
    if (ll_request_error(request)->message[0] == '\0')
        t_fail(file, line, "an error without a message");
    return request;
}

ll_request *t_query_(ll_conn *conn, const char *sql, const ll_value *values, size_t count,
                     const char *file, int line)
{
    ll_request *request = NULL;
    ll_status status = t_end_(ll_query(conn, sql, values, count, NULL, &request), &request, file,
                              line);
    if (status != LL_OK)
        t_fail(file, line, "%s: %s: %s", sql, ll_status_name(status),
               request ? ll_request_error(request)->message : ll_last_error());
    return request;
}

int64_t t_int_(ll_conn *conn, const char *sql, const char *file, int line)
{
    t_rows rows = {.request = t_query_(conn, sql, NULL, 0, file, line)};
    const ll_value *row = t_rows_next(&rows);
    if (!row || row[0].type != LL_INTEGER)
        t_fail(file, line, "%s: no integer", sql);
    int64_t value = row[0].as.integer;
    t_rows_done(&rows);
    return value;
}

const ll_value *t_rows_next(t_rows *rows)
{
    while (!rows->batch || rows->next >= ll_batch_rows(rows->batch)) {
        ll_batch_free(rows->batch);
        rows->next = 0;
        rows->batch = ll_request_take_batch(rows->request);
        if (!rows->batch)
            return NULL;
    }
    return ll_batch_row(rows->batch, rows->next++);
}

void t_rows_done(t_rows *rows)
{
    ll_batch_free(rows->batch);
    ll_request_unref(rows->request);
    rows->batch = NULL;
    rows->request = NULL;
}

/* ---- processes ---- */

void t_in_child_(int (*body)(void *arg), void *arg, const char *file, int line)
{
    int state = 0, told[2];
    unsigned char code = 255;
    if (pipe(told) != 0)
        t_fail(file, line, "no pipe");
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        t_fail(file, line, "no fork");
    if (child == 0) {
        t_watchdog();
        code = (unsigned char)body(arg);
        fflush(NULL);
        ssize_t ignored = write(told[1], &code, 1);
        (void)ignored;
        _exit(code);
    }
    close(told[1]);
    bool heard = read(told[0], &code, 1) == 1;
    close(told[0]);
    if (waitpid(child, &state, 0) != child)
        t_fail(file, line, "the child is lost");
    /* A checker of memory gives it another exit status: the child frees nothing of its parent's, on
     * purpose. What the child says itself counts, and that it was not killed. */
    if (!heard || !WIFEXITED(state) || code != 0)
        t_fail(file, line, "the child said %d and ended by %s %d", code,
               WIFEXITED(state) ? "exit" : "signal",
               WIFEXITED(state) ? WEXITSTATUS(state) : WTERMSIG(state));
}
