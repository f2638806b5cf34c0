/* Every allocation, thread start, descriptor and VFS call fails once, in turn, while a small program
 * runs: open, execute, many rows, query, stream, transaction, close.
 *
 * For each kind of fault and n = 1, 2, ... until the n-th call no longer exists: the program runs with
 * that one call failing. Each step either works or gives a documented error. Nothing may crash, hang or
 * leak. Afterwards the file is whole; each row whose request said "applied" is in it, each row whose
 * request said "not applied" is not. */
#include "support/support.h"

#include "base/fault.h"

#include <unistd.h>

enum {
    ROWS = 40
};

/* What the program was told about each row it wrote. */
struct account {
    ll_outcome outcome[ROWS]; /* by id */
    bool asked[ROWS];
    bool table; /* the table is there, for certain */
    size_t errors;
    enum lli_fault_kind kind;
    unsigned long nth;
};

static const char *const kind_names[] = {
    [LLI_FAULT_ALLOC] = "allocation",
    [LLI_FAULT_THREAD] = "thread start",
    [LLI_FAULT_FD] = "descriptor",
    [LLI_FAULT_VFS] = "VFS call",
};

#define BAD(...) t_fail(__FILE__, __LINE__, "%s %lu failed: " __VA_ARGS__)

/* Whether a step may end like this when one call of this kind has failed. */
static void may_be(struct account *account, ll_status status, int sqlite_code, const char *step,
                   const char *message)
{
    bool ok = status == LL_OK;
    if (status == LL_ECLOSED) /* what stands behind a failed open or an ended stream */
        ok = account->errors > 0;
    else if (status == LL_ENOMEM)
        ok = account->kind != LLI_FAULT_VFS;
    else if (status == LL_ESYS)
        ok = account->kind != LLI_FAULT_VFS;
    else if (status == LL_ESQL || status == LL_EBUSY) /* a failed lock is BUSY or IOERR */
        ok = sqlite_code != 0 && sqlite_code != SQLITE_MISUSE && sqlite_code != SQLITE_CORRUPT &&
             sqlite_code != SQLITE_NOTADB && sqlite_code != SQLITE_INTERRUPT;
    if (!ok)
        BAD("%s gave %s (%d): %s", kind_names[account->kind], account->nth, step,
            ll_status_name(status), sqlite_code, message);
    if (status != LL_OK) {
        account->errors++;
        if (!lli_fault_fired())
            BAD("%s gave %s before any fault: %s", kind_names[account->kind], account->nth, step,
                ll_status_name(status), message);
    }
}

/* Waits for a step and checks its end; true when it worked. Gives the request back unless wanted. */
static bool step(struct account *account, const char *name, ll_status submitted,
                 ll_request **request)
{
    ll_status status = submitted;
    if (submitted == LL_PENDING) {
        status = ll_request_wait(*request);
        if (!ll_request_is_done(*request))
            BAD("waiting for %s gave %s: %s", kind_names[account->kind], account->nth, name,
                ll_status_name(status), ll_last_error());
    }
    if (submitted == LL_OK) /* finished at once, one way or the other */
        status = ll_request_status(*request);
    if (submitted < 0) {
        T_CHECK(*request == NULL);
        may_be(account, status, 0, name, ll_last_error());
        return false;
    }
    const ll_error *error = ll_request_error(*request);
    may_be(account, status, error->sqlite_code & 0xff, name, error->message);
    return status == LL_OK;
}

static void finish(ll_request **request)
{
    ll_request_unref(*request);
    *request = NULL;
}

/* Notes what became of rows first..last. */
static void note(struct account *account, size_t first, size_t last, ll_outcome outcome)
{
    for (size_t i = first; i <= last; i++) {
        account->asked[i] = true;
        account->outcome[i] = outcome;
    }
}

static void insert(struct account *account, ll_conn *conn, size_t id)
{
    ll_request *request = NULL;
    ll_value value = ll_integer((int64_t)id);
    ll_status status = ll_exec(conn, "INSERT INTO t(id, text) VALUES(?, hex(randomblob(200)))",
                               &value, 1, NULL, &request);
    step(account, "insert", status, &request);
    note(account, id, id, request ? ll_request_outcome(request) : LL_NOT_APPLIED);
    finish(&request);
}

static void insert_many(struct account *account, ll_conn *conn, size_t first, size_t count)
{
    ll_request *request = NULL;
    ll_value values[ROWS];
    for (size_t i = 0; i < count; i++)
        values[i] = ll_integer((int64_t)(first + i));
    ll_many many = {.text = "INSERT INTO t(id, text) VALUES(?, 'many')",
                    .size = LL_NUL_TERMINATED,
                    .values = values,
                    .rows = count,
                    .width = 1,
                    .atomic = true};
    step(account, "many", ll_exec_many(conn, &many, NULL, &request), &request);
    note(account, first, first + count - 1, request ? ll_request_outcome(request) : LL_NOT_APPLIED);
    finish(&request);
}

static void insert_in_transaction(struct account *account, ll_conn *conn, size_t id)
{
    ll_request *request = NULL;
    ll_outcome outcome = LL_NOT_APPLIED;
    if (step(account, "begin", ll_txn_begin(conn, LL_BEGIN_IMMEDIATE, NULL, &request), &request)) {
        finish(&request);
        ll_value value = ll_integer((int64_t)id);
        bool inserted = step(
            account, "insert in a transaction",
            ll_exec(conn, "INSERT INTO t(id, text) VALUES(?, 'txn')", &value, 1, NULL, &request),
            &request);
        finish(&request);
        if (inserted) {
            step(account, "commit", ll_txn_commit(conn, NULL, &request), &request);
            outcome = request ? ll_request_outcome(request) : LL_NOT_APPLIED;
            finish(&request);
        }
    }
    finish(&request);
    /* a commit that was not applied may be open still */
    step(account, "rollback", ll_txn_rollback(conn, NULL, &request), &request);
    finish(&request);
    /* after a commit that said "not applied", and a rollback that could not be submitted, the close
     * rolls back */
    note(account, id, id, outcome);
}

static void read_all(struct account *account, ll_conn *conn)
{
    ll_request *request = NULL;
    if (step(account, "query", ll_query(conn, "SELECT id, text FROM t", NULL, 0, NULL, &request),
             &request)) {
        t_rows rows = {.request = request};
        size_t count = 0;
        while (t_rows_next(&rows))
            count++;
        ll_batch_free(rows.batch);
        size_t least = 0;
        for (size_t i = 0; i < ROWS; i++)
            least += account->asked[i] && account->outcome[i] == LL_APPLIED;
        if (count < least)
            BAD("%zu rows of %zu", kind_names[account->kind], account->nth, count, least);
    }
    finish(&request);
}

static void read_stream(struct account *account, ll_conn *conn)
{
    ll_request *request = NULL;
    ll_sql sql = {.text = T_ENDLESS "SELECT x, 'some text' FROM c LIMIT 600",
                  .size = LL_NUL_TERMINATED,
                  .flags = LL_SQL_STREAM,
                  .first_rows = 10};
    if (step(account, "stream", ll_conn_submit(conn, &sql, NULL, &request), &request)) {
        ll_cursor *cursor = ll_request_take_cursor(request);
        T_CHECK(cursor != NULL);
        T_CHECK(ll_cursor_set_ahead(cursor, 2, 100) == LL_OK);
        for (;;) {
            finish(&request);
            if (!step(account, "next", ll_cursor_next(cursor, NULL, &request), &request))
                break;
            ll_batch *batch = ll_request_take_batch(request);
            if (!batch)
                break;
            ll_batch_free(batch);
        }
        ll_cursor_close(cursor);
    }
    finish(&request);
}

static void use(struct account *account, ll_conn *conn)
{
    ll_request *request = NULL;
    account->table = step(account, "script",
                          ll_script(conn,
                                    "CREATE TABLE t(id INTEGER PRIMARY KEY, text);"
                                    "CREATE INDEX by_text ON t(text);",
                                    LL_NUL_TERMINATED, false, NULL, &request),
                          &request);
    finish(&request);
    for (size_t id = 1; id <= 4; id++)
        insert(account, conn, id);
    insert_many(account, conn, 5, 20);
    read_all(account, conn);
    read_stream(account, conn);
    insert_in_transaction(account, conn, 30);
    step(account, "prepare",
         ll_prepare(conn, "SELECT count(*) FROM t WHERE id > ?", LL_NUL_TERMINATED, NULL, &request),
         &request);
    ll_stmt *stmt = request ? ll_request_take_stmt(request) : NULL;
    finish(&request);
    if (stmt) {
        ll_value value = ll_integer(2);
        ll_params params = {.values = &value, .count = 1};
        step(account, "prepared", ll_stmt_submit(stmt, &params, 0, NULL, &request), &request);
        finish(&request);
        ll_stmt_free(stmt);
    }
    insert(account, conn, 35);
}

/* The program. Steps go on after an error: the connection must stay usable. */
static void program(struct account *account, const char *path, bool wal)
{
    static const char *const wal_pragmas[] = {"journal_mode=WAL", "synchronous=OFF", NULL};
    static const char *const plain_pragmas[] = {"synchronous=OFF", NULL};
    ll_open_options options = {.pragmas = wal ? wal_pragmas : plain_pragmas,
                               .busy_timeout_ns = 50 * T_MS};
    ll_engine *engine = NULL;
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    ll_status status = ll_engine_new(NULL, &engine);
    may_be(account, status, 0, "engine", ll_last_error());
    if (status != LL_OK) {
        T_CHECK(engine == NULL);
        return;
    }
    status = ll_conn_open(engine, path, &options, NULL, &conn, &request);
    step(account, "open", status, &request);
    finish(&request);
    if (conn) {
        use(account, conn);
        if (step(account, "close", ll_conn_close(conn, NULL, &request), &request))
            T_CHECK(!t_state(conn).open);
        finish(&request);
        ll_conn_unref(conn);
    }
    ll_engine_free(engine);
}

static void check_file(const struct account *account, const char *path)
{
    if (access(path, F_OK) != 0) {
        for (size_t i = 0; i < ROWS; i++)
            if (account->asked[i] && account->outcome[i] == LL_APPLIED)
                BAD("row %zu was applied, and there is no file", kind_names[account->kind],
                    account->nth, i);
        return;
    }
    t_integrity(path);
    sqlite3 *db = t_raw_open(path);
    bool table = t_raw_int(db, "SELECT count(*) FROM sqlite_master WHERE name = 't'") == 1;
    for (size_t i = 0; i < ROWS; i++) {
        char sql[64];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM t WHERE id = %zu", i);
        bool there = table && t_raw_int(db, sql) == 1;
        ll_outcome outcome = account->asked[i] ? account->outcome[i] : LL_NOT_APPLIED;
        if (outcome == LL_APPLIED ? !there : outcome == LL_NOT_APPLIED && there)
            BAD("row %zu says %s and is%s there", kind_names[account->kind], account->nth, i,
                outcome == LL_APPLIED ? "applied" : "not applied", there ? "" : " not");
    }
    if (account->table && !table)
        BAD("the table was made and is not there", kind_names[account->kind], account->nth);
    t_raw_close(db);
}

static void fail_each_once(t_env *t, enum lli_fault_kind kind, bool wal, unsigned long least)
{
    /* under a checker that makes all slow, not each one, but some of every stretch */
    unsigned long stride = getenv("LL_TEST_SLOW") ? 7 : 1;
    unsigned long nth = 0;
    for (bool fired = true; fired;) {
        nth += nth < 20 ? 1 : stride;
        struct account account = {.kind = kind, .nth = nth};
        char path[600];
        snprintf(path, sizeof path, "%s/%s%lu", t->dir, wal ? "wal" : "plain", nth);
        size_t before = ll_live_objects();
        alarm(0);
        t_watchdog(); /* each run has its own time */
        lli_fault_arm(kind, nth);
        program(&account, path, wal);
        fired = lli_fault_fired();
        lli_fault_disarm();
        if (ll_live_objects() != before)
            BAD("%zu objects leak", kind_names[kind], nth, ll_live_objects() - before);
        if (!fired && account.errors)
            BAD("errors without a fault", kind_names[kind], nth);
        check_file(&account, path);
        static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
        for (size_t i = 0; i < 4; i++) {
            char name[640];
            snprintf(name, sizeof name, "%s%s", path, endings[i]);
            unlink(name);
        }
    }
    if (nth <= least) /* the loop has to have found something to fail */
        BAD("only %lu of them were there", kind_names[kind], nth, nth - 1);
    print_message("%s: the last of about %lu was reached\n", kind_names[kind], nth - 1);
}

static void allocations(void **state)
{
    fail_each_once(*state, LLI_FAULT_ALLOC, true, 30);
}

static void thread_starts(void **state)
{
    fail_each_once(*state, LLI_FAULT_THREAD, true, 1);
}

static void descriptors(void **state)
{
    fail_each_once(*state, LLI_FAULT_FD, true, 1);
}

static void vfs_calls_wal(void **state)
{
    fail_each_once(*state, LLI_FAULT_VFS, true, 30);
}

static void vfs_calls_rollback_journal(void **state)
{
    fail_each_once(*state, LLI_FAULT_VFS, false, 30);
}

/* What a crash at this moment would leave: the files as they are, under another name. */
static void copy_file(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb");
    if (!in)
        return;
    FILE *out = fopen(to, "wb");
    T_CHECK(out != NULL);
    char bytes[4096];
    for (size_t size; (size = fread(bytes, 1, sizeof bytes, in)) > 0;)
        T_CHECK(fwrite(bytes, 1, size, out) == size);
    T_CHECK(fclose(out) == 0);
    fclose(in);
}

static const char *const crash_endings[] = {"", "-wal", "-journal"};

static void crash_image(const char *path, const char *image)
{
    for (size_t i = 0; i < 3; i++) {
        char from[640], to[640];
        snprintf(from, sizeof from, "%s%s", path, crash_endings[i]);
        snprintf(to, sizeof to, "%s%s", image, crash_endings[i]);
        copy_file(from, to);
    }
}

static bool row_is_there(const char *path)
{
    return t_file_int(path, "SELECT count(*) FROM t WHERE x = 1") == 1;
}

static void told_truly(ll_outcome outcome, const char *path, const char *when, unsigned long nth)
{
    bool there = row_is_there(path);
    if (outcome == LL_APPLIED ? !there : outcome == LL_NOT_APPLIED && there)
        t_fail(__FILE__, __LINE__,
               "VFS call %lu of the commit failed: it says %s, and %s the row is%s there", nth,
               outcome == LL_APPLIED ? "applied" : "not applied", when, there ? "" : " not");
}

/* One commit whose nth VFS call fails; false: there is no nth. `how`: by ll_txn_commit(), as text, in a script, or the
 * one that ends an executemany that is atomic, or a single statement. */
static bool commit_failing(t_env *t, bool wal, int how, unsigned long nth)
{
    static const char *const wal_pragmas[] = {"journal_mode=WAL", "synchronous=FULL", NULL};
    static const char *const plain_pragmas[] = {"synchronous=FULL", NULL};
    ll_open_options options = {.pragmas = wal ? wal_pragmas : plain_pragmas,
                               .busy_timeout_ns = LL_NO_BUSY_TIMEOUT};
    const char *path = t_path(t, "commit"), *image = t_path(t, "image");
    ll_conn *conn = t_open_with(t->engine, path, &options);
    t_exec(conn, "CREATE TABLE t(x)");
    if (how < 3) {
        t_exec(conn, "BEGIN IMMEDIATE");
        t_exec(conn, "INSERT INTO t VALUES(1)");
    }
    ll_request *request = NULL;
    ll_value value = ll_integer(1);
    ll_many many = {.text = "INSERT INTO t VALUES(?)",
                    .size = LL_NUL_TERMINATED,
                    .values = &value,
                    .rows = 1,
                    .width = 1,
                    .atomic = true};
    lli_fault_arm(LLI_FAULT_VFS, nth);
    ll_status status = how == 0 ? ll_txn_commit(conn, NULL, &request)
                     : how == 1 ? ll_exec(conn, "COMMIT", NULL, 0, NULL, &request)
                     : how == 2
                         ? ll_script(conn, "COMMIT", LL_NUL_TERMINATED, false, NULL, &request)
                     : how == 3 ? ll_exec_many(conn, &many, NULL, &request)
                                : ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0, NULL, &request);
    status = t_end(status, request);
    bool fired = lli_fault_fired();
    lli_fault_disarm();
    crash_image(path, image);
    ll_outcome outcome = ll_request_outcome(request);
    T_CHECK(status != LL_OK || outcome == LL_APPLIED);
    T_CHECK(fired || status == LL_OK);
    ll_request_unref(request);
    bool open = t_state(conn).in_transaction;
    t_close(conn);
    if (!(outcome == LL_NOT_APPLIED && open)) /* else the close has rolled it back */
        told_truly(outcome, path, "after closing", nth);
    told_truly(outcome, image, "after a crash", nth);
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < 8; i++) {
        char name[640];
        snprintf(name, sizeof name, "%s%s", i < 4 ? path : image, endings[i % 4]);
        unlink(name);
    }
    return fired;
}

/* After an I/O error nobody knows what reached the disk; "not applied" is only said when it did not. */
static void commits_that_meet_an_error_tell_the_truth(void **state)
{
    t_env *t = *state;
    for (int wal = 0; wal < 2; wal++) {
        for (int how = 0; how < 5; how++) {
            unsigned long nth = 1;
            while (commit_failing(t, wal == 1, how, nth))
                nth++;
            T_CHECK(nth > 2);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(allocations),
        T_TEST(thread_starts),
        T_TEST(descriptors),
        T_TEST(vfs_calls_wal),
        T_TEST(vfs_calls_rollback_journal),
        T_TEST(commits_that_meet_an_error_tell_the_truth),
    };
    return T_RUN(tests);
}
