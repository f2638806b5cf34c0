/* Backups: the copy is what the source was at one moment, whatever happens around it; the target is never half of it. */
#include "support/support.h"

#include "engine/conn.h"

static const char schema[] = "CREATE TABLE t(id INTEGER PRIMARY KEY, x);"
                             "INSERT INTO t(x) SELECT hex(randomblob(400)) FROM "
                             "(WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c "
                             "LIMIT 500) SELECT i FROM c)";

/* The same rows, by a number that depends on all of them. */
static const char sum[] = "SELECT count(*) * 1000003 + sum(length(x) * id) + "
                          "sum(unicode(substr(x, 7, 1)) * id) FROM t";

static ll_request *copy(ll_conn *source, ll_conn *target, const ll_backup_options *options)
{
    ll_request *request = NULL;
    (void)t_end(ll_backup(source, target, options, NULL, &request), request);
    if (!request)
        t_fail(__FILE__, __LINE__, "refused: %s", ll_last_error());
    return request;
}

static void fails(ll_request *request, ll_status status, int code, const char *words)
{
    t_is(request, status, LL_NOT_APPLIED);
    T_EQUAL(ll_request_error(request)->sqlite_code & 0xff, code);
    if (!strstr(ll_request_error(request)->message, words))
        t_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", ll_request_error(request)->message,
               words);
    ll_request_unref(request);
}

/* Waits until the copy has made so many pages, dispatching. */
static void wait_for_pages(t_env *t, const ll_request *request, uint64_t pages)
{
    for (;;) {
        ll_backup_progress progress;
        ll_backup_get_progress(request, &progress);
        if (progress.total > 0 && progress.total - progress.remaining >= pages)
            return;
        T_CHECK(!ll_request_is_done(request));
        t_turn(t->engine);
    }
}

static void copies(void **state)
{
    static const unsigned steps[] = {0, 1, 7, 100000};
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    int64_t expected = t_file_int(t_path(t, "a.db"), sum);
    ll_conn *source = t_open(t, "a.db");
    for (size_t i = 0; i < 4; i++) {
        const char *path = t_path(t, t_printf(t, "b%zu.db", i));
        t_file_sql(path, "CREATE TABLE other(x); INSERT INTO other VALUES(1)");
        ll_conn *target = t_open_with(t->engine, path, NULL);
        T_EQUAL(t_int(target, "SELECT count(*) FROM other"), 1); /* a statement that was kept */
        ll_backup_options options = {.pages = steps[i]};
        ll_request *request = copy(source, target, &options);
        t_is(request, LL_OK, LL_APPLIED);
        ll_backup_progress progress;
        ll_backup_get_progress(request, &progress);
        T_EQUAL(progress.remaining, 0);
        T_EQUAL(progress.total, t_int(source, "PRAGMA page_count"));
        T_EQUAL(progress.restarts, 0);
        ll_request_unref(request);
        T_EQUAL(t_int(target, sum), expected);
        ll_request_unref(t_exec_fails(target, "SELECT count(*) FROM other", LL_ESQL));
        t_exec(target, "INSERT INTO t(x) VALUES('own')");
        t_close(target);
        T_EQUAL(t_file_int(path, "SELECT count(*) FROM t"), 501);
    }
    T_EQUAL(t_int(source, "SELECT count(*) FROM t"), 500);
    t_close(source);
}

static void memory_databases_and_schemas(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_conn *disk = t_open(t, "a.db"), *memory = t_open_with(t->engine, ":memory:", NULL);
    ll_request_unref(copy(disk, memory, NULL));
    T_EQUAL(t_int(memory, sum), t_int(disk, sum));
    t_exec(memory, "DELETE FROM t WHERE id > 10");
    t_exec(disk, t_printf(t, "ATTACH '%s' AS side", t_path(t, "side.db")));
    ll_backup_options options = {.target_schema = "side"};
    ll_request_unref(copy(memory, disk, &options));
    T_EQUAL(t_int(disk, "SELECT count(*) FROM side.t"), 10);
    T_EQUAL(t_int(disk, "SELECT count(*) FROM main.t"), 500);
    options = (ll_backup_options){.source_schema = "side"};
    t_exec(memory, "DROP TABLE t");
    ll_request_unref(copy(disk, memory, &options));
    T_EQUAL(t_int(memory, "SELECT count(*) FROM t"), 10);
    t_close(disk);
    t_close(memory);
}

static void into_a_file(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "PRAGMA journal_mode=WAL;");
    t_file_sql(t_path(t, "a.db"), schema);
    ll_conn *source = t_open(t, "a.db");
    for (int i = 0; i < 2; i++) { /* a new one; over the first */
        t_exec(source, "INSERT INTO t(x) VALUES('more')");
        ll_request *request = NULL;
        ll_backup_options options = {.pages = 20};
        T_CHECK(t_end(ll_backup_to_file(source, t_path(t, "copy.db"), &options, NULL, &request),
                      request) == LL_OK);
        t_is(request, LL_OK, LL_APPLIED);
        ll_request_unref(request);
        T_EQUAL(t_file_int(t_path(t, "copy.db"), sum), t_int(source, sum)); /* it is closed */
    }
    T_EQUAL(t_stats(t->engine).connections, 1);
    ll_request *request = NULL;
    (void)t_end(ll_backup_to_file(source, t_path(t, "no/such/folder.db"), NULL, NULL, &request),
                request);
    fails(request, LL_ESQL, SQLITE_CANTOPEN, "unable to open database file");
    FILE *file = fopen(t_path(t, "text"), "w");
    T_CHECK(file && fputs("this is no database, but a text that is long enough\n", file) > 0);
    for (int i = 0; i < 100; i++)
        fputs("and must not be written over by anybody\n", file);
    fclose(file);
    request = NULL;
    (void)t_end(ll_backup_to_file(source, t_path(t, "text"), NULL, NULL, &request), request);
    fails(request, LL_ESQL, SQLITE_NOTADB, "not a database");
    T_CHECK(ll_backup_to_file(source, NULL, NULL, NULL, &request) == LL_EINVAL);
    t_close(source);
}

/* ---- progress ----------------------------------------------------------------------------------- */

struct watcher {
    size_t calls, after_end;
    uint64_t last_remaining, total;
    bool ended;
    ll_request *request;
};

static void watch(ll_request *request, const ll_backup_progress *progress, void *user)
{
    struct watcher *watcher = user;
    watcher->calls++;
    watcher->after_end += watcher->ended;
    T_CHECK(request == watcher->request || !watcher->request);
    T_CHECK(progress->remaining <= watcher->last_remaining || watcher->calls == 1);
    watcher->last_remaining = progress->remaining;
    watcher->total = progress->total;
}

static void watch_any(ll_request *request, const ll_backup_progress *progress, void *user)
{
    (void)request;
    (void)progress;
    ((struct watcher *)user)->calls++;
}

static void watched_end(ll_request *request, void *user)
{
    (void)request;
    ((struct watcher *)user)->ended = true;
}

static void tells_how_far_it_is(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_conn *source = t_open(t, "a.db"), *target = t_open(t, "b.db");
    struct watcher watcher = {0};
    ll_backup_options options = {.pages = 1, .progress = watch};
    ll_submit how = {.done = watched_end, .user = &watcher};
    T_CHECK(ll_backup(source, target, &options, &how, &watcher.request) == LL_PENDING);
    T_EQUAL(watcher.calls, 0); /* never inside the call */
    T_CHECK(ll_request_wait(watcher.request) == LL_OK);
    T_CHECK(watcher.ended && watcher.calls >= 1 && watcher.after_end == 0);
    T_EQUAL(watcher.last_remaining, 0); /* the last one is told, too */
    T_EQUAL(watcher.total, t_int(source, "PRAGMA page_count"));
    ll_request_unref(watcher.request);
    ll_backup_progress nothing = {.total = 7};
    ll_backup_get_progress(NULL, &nothing);
    T_EQUAL(nothing.total, 0);
    t_close(source);
    t_close(target);
}

/* ---- beside others ------------------------------------------------------------------------------ */

/* Between the steps the source does what it is asked, and what it writes itself is copied, without a restart. */
static void the_source_goes_on(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_conn *source = t_open(t, "a.db"), *target = t_open(t, "b.db");
    ll_backup_options options = {.pages = 1, .pause_ns = T_MS / 20};
    ll_request *request = NULL;
    T_CHECK(ll_backup(source, target, &options, NULL, &request) == LL_PENDING);
    int64_t written = 0;
    wait_for_pages(t, request, 5);
    while (!ll_request_is_done(request)) {
        t_exec(source, "UPDATE t SET x = 'changed' WHERE id = 1 + abs(random()) % 500");
        written++;
    }
    T_CHECK(ll_request_wait(request) == LL_OK && written > 1);
    ll_backup_progress progress;
    ll_backup_get_progress(request, &progress);
    T_EQUAL(progress.restarts, 0);
    ll_request_unref(request);
    T_CHECK(t_int(target, "SELECT count(*) FROM t WHERE x = 'changed'") > 0);
    T_EQUAL(t_int(target, "SELECT count(*) FROM t"), 500);
    t_close(target);
    t_close(source);
}

/* What another connection writes restarts the copy; steps that grow come to an end all the same. */
static void others_write_to_the_source(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "PRAGMA journal_mode=WAL;");
    t_file_sql(t_path(t, "a.db"), schema);
    for (int i = 0; i < 3; i++)
        t_file_sql(t_path(t, "a.db"), "INSERT INTO t(x) SELECT x FROM t");
    ll_conn *source = t_open(t, "a.db"), *target = t_open(t, "b.db");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    struct watcher watcher = {0};
    ll_backup_options options = {.pause_ns = T_HOUR, .progress = watch_any};
    ll_submit how = {.done = watched_end, .user = &watcher};
    ll_request *request = NULL;
    T_CHECK(ll_backup(source, target, &options, &how, &request) == LL_PENDING);
    for (size_t steps = 1; !watcher.ended; steps++) { /* behind each step one write */
        while (watcher.calls < steps && !watcher.ended)
            t_turn(t->engine);
        t_raw(other, "UPDATE t SET x = 'changed' WHERE id = 1 + abs(random()) % 4000");
        lli_conn_unpark(target); /* the hour is over */
    }
    T_CHECK(ll_request_wait(request) == LL_OK);
    ll_backup_progress progress;
    ll_backup_get_progress(request, &progress);
    T_CHECK(progress.restarts >= 2);
    ll_request_unref(request);
    T_EQUAL(t_int(target, "SELECT count(*) FROM t"), 4000);
    t_raw_close(other);
    t_close(target);
    t_close(source);
    t_integrity(t_path(t, "b.db"));
}

/* What is submitted to the target waits, in its order. */
static void the_target_waits(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_conn *source = t_open(t, "a.db"), *target = t_open(t, "b.db");
    t_exec(target, "CREATE TABLE old(x)");
    ll_request *before = NULL, *request = NULL, *behind = NULL, *close = NULL;
    ll_backup_options options = {.pages = 10, .pause_ns = T_MS};
    T_CHECK(ll_exec(target, "INSERT INTO old VALUES(1)", NULL, 0, NULL, &before) == LL_PENDING);
    T_CHECK(ll_backup(source, target, &options, NULL, &request) == LL_PENDING);
    T_CHECK(ll_query(target, "SELECT count(*) FROM t", NULL, 0, NULL, &behind) == LL_PENDING);
    T_CHECK(ll_conn_close(target, NULL, &close) == LL_PENDING);
    T_CHECK(ll_request_wait(close) == LL_OK);
    t_is(before, LL_OK, LL_APPLIED);
    t_is(request, LL_OK, LL_APPLIED);
    t_rows rows = {.request = behind};
    T_EQUAL(t_rows_next(&rows)[0].as.integer, 500);
    t_rows_done(&rows);
    ll_request_unref(before);
    ll_request_unref(request);
    ll_request_unref(close);
    ll_conn_unref(target);
    t_close(source);
}

/* ---- locks -------------------------------------------------------------------------------------- */

static void waits_for_locks(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    t_file_sql(t_path(t, "b.db"), "CREATE TABLE old(x)");
    ll_open_options patient = {.busy_timeout_ns = T_HOUR}, hasty = {.busy_timeout_ns = 3 * T_MS};
    ll_conn *source = t_open(t, "a.db"),
            *target = t_open_with(t->engine, t_path(t, "b.db"), &patient),
            *second = t_open_with(t->engine, t_path(t, "c.db"), &hasty);
    sqlite3 *db = t_raw_open(t_path(t, "b.db")), *from = t_raw_open(t_path(t, "a.db"));
    ll_request *request = NULL;
    ll_backup_progress progress = {0};
    t_raw(db, "BEGIN IMMEDIATE"); /* on the target */
    T_CHECK(ll_backup(source, target, NULL, NULL, &request) == LL_PENDING);
    while (!progress.waiting) {
        t_turn(t->engine);
        ll_backup_get_progress(request, &progress);
    }
    T_EQUAL(t_int(source, "SELECT count(*) FROM t"), 500); /* meanwhile */
    t_raw(db, "COMMIT");
    T_CHECK(ll_request_wait(request) == LL_OK);
    ll_request_unref(request);
    t_raw(from, "BEGIN EXCLUSIVE"); /* on the source */
    fails(copy(source, second, NULL), LL_EBUSY, SQLITE_BUSY, "locked");
    request = NULL;
    progress.waiting = false;
    T_CHECK(ll_backup(source, target, &(ll_backup_options){.sleep_ns = T_MS}, NULL, &request) ==
            LL_PENDING);
    while (!progress.waiting) {
        t_turn(t->engine);
        ll_backup_get_progress(request, &progress);
    }
    t_raw(from, "COMMIT");
    T_CHECK(ll_request_wait(request) == LL_OK);
    ll_request_unref(request);
    t_raw_close(db);
    t_raw_close(from);
    t_close(second);
    t_close(target);
    t_close(source);
}

/* The source's own transaction keeps it waiting; it goes on when that ends. */
static void while_the_source_writes(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_open_options hasty = {.busy_timeout_ns = 3 * T_MS}, patient = {.busy_timeout_ns = T_HOUR};
    ll_conn *source = t_open(t, "a.db"),
            *second = t_open_with(t->engine, t_path(t, "c.db"), &hasty),
            *target = t_open_with(t->engine, t_path(t, "b.db"), &patient);
    t_exec(source, "BEGIN IMMEDIATE");
    fails(copy(source, second, NULL), LL_EBUSY, SQLITE_BUSY, "commit or roll back first");
    ll_request *request = NULL;
    T_CHECK(ll_backup(source, target, NULL, NULL, &request) == LL_PENDING);
    ll_backup_progress progress = {0};
    while (!progress.waiting) {
        t_turn(t->engine);
        ll_backup_get_progress(request, &progress);
    }
    t_exec(source, "INSERT INTO t(x) VALUES('late')");
    t_exec(source, "COMMIT");
    T_CHECK(ll_request_wait(request) == LL_OK);
    ll_request_unref(request);
    T_EQUAL(t_int(target, "SELECT count(*) FROM t WHERE x = 'late'"), 1);
    t_close(second);
    t_close(target);
    t_close(source);
}

/* In one process a writer to the target's file waits in line, and gets its turn behind the copy. */
static void writers_of_the_target_stand_in_line(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_open_options patient = {.busy_timeout_ns = T_HOUR};
    ll_conn *source = t_open(t, "a.db"),
            *target = t_open_with(t->engine, t_path(t, "b.db"), &patient),
            *other = t_open_with(t->engine, t_path(t, "b.db"), &patient);
    t_exec(other, "CREATE TABLE t(id INTEGER PRIMARY KEY, x)");
    ll_backup_options options = {.pages = 10, .pause_ns = T_MS};
    ll_request *request = NULL, *write = NULL;
    T_CHECK(ll_backup(source, target, &options, NULL, &request) == LL_PENDING);
    wait_for_pages(t, request, 10);
    T_CHECK(ll_exec(other, "INSERT INTO t(x) VALUES('behind')", NULL, 0, NULL, &write) ==
            LL_PENDING);
    T_CHECK(ll_request_wait(request) == LL_OK);
    T_CHECK(ll_request_wait(write) == LL_OK);
    ll_request_unref(request);
    ll_request_unref(write);
    T_EQUAL(t_int(target, "SELECT count(*) FROM t"), 501);
    t_close(other);
    t_close(target);
    t_close(source);
}

/* ---- ending ------------------------------------------------------------------------------------- */

enum way {
    CANCEL,
    DEADLINE,
    INTERRUPT,
    CLOSE_SOURCE,
    WAYS
};

static void ends_in_the_middle(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    /* some ten thousand pages: not copied before anybody has looked, however seldom this thread gets its turn */
    t_file_sql(t_path(t, "a.db"), "INSERT INTO t(x) VALUES(zeroblob(40000000))");
    for (int parked = 0; parked < 2; parked++) {
        for (enum way way = CANCEL; way < WAYS; way++) {
            const char *path = t_path(t, t_printf(t, "b%d%d.db", parked, (int)way));
            t_file_sql(path, "CREATE TABLE old(x); INSERT INTO old VALUES(1)");
            ll_conn *source = t_open(t, "a.db"), *target = t_open_with(t->engine, path, NULL);
            /* either it waits for long, or it goes on and on */
            ll_backup_options options = {.pages = 1, .pause_ns = parked ? T_HOUR : T_MS / 2};
            ll_submit how = {.timeout_ns = way == DEADLINE ? 20 * T_MS : 0};
            ll_request *request = NULL, *close = NULL;
            T_CHECK(ll_backup(source, target, &options, &how, &request) == LL_PENDING);
            if (way != DEADLINE)
                wait_for_pages(t, request, 1);
            ll_status expected = LL_ETIMEOUT;
            if (way == CANCEL) {
                T_CHECK(ll_request_cancel(request) == LL_OK);
                expected = LL_ECANCELLED;
            } else if (way == INTERRUPT) {
                T_CHECK(ll_conn_interrupt(target) == LL_OK);
                expected = LL_ESQL;
            } else if (way == CLOSE_SOURCE) {
                T_CHECK(ll_conn_close(source, NULL, &close) == LL_PENDING);
                expected = LL_ECLOSED;
            }
            T_CHECK(ll_request_wait(request) == expected);
            t_is(request, expected, LL_NOT_APPLIED);
            ll_request_unref(request);
            T_EQUAL(t_int(target, "SELECT count(*) FROM old"), 1); /* as it was */
            t_exec(target, "INSERT INTO old VALUES(2)");
            t_close(target);
            if (close)
                T_CHECK(ll_request_wait(close) == LL_OK);
            ll_request_unref(close);
            if (way == CLOSE_SOURCE)
                ll_conn_unref(source);
            else
                t_close(source);
            T_EQUAL(t_file_int(path, "SELECT sum(x) FROM old"), 3);
        }
    }
}

/* Whenever it is cancelled, and whatever it does then: it is told once, truly, and both connections go on. */
static void cancelled_at_any_moment(void **state)
{
    t_env *t = *state;
    int rounds = getenv("LL_TEST_SLOW") ? 20 : 100, whole = 0;
    t_file_sql(t_path(t, "a.db"), schema);
    t_file_sql(t_path(t, "b.db"), "CREATE TABLE t(id INTEGER PRIMARY KEY, x)");
    ll_conn *source = t_open(t, "a.db"), *target = t_open(t, "b.db");
    for (int round = 0; round < rounds; round++) {
        t_told told = {0};
        ll_submit how = {.done = t_tell, .user = &told};
        ll_backup_options options = {.pages = 40, .pause_ns = round % 3 == 0 ? T_MS / 20 : 0};
        ll_request *request = NULL, *write = NULL;
        t_exec(target, "DELETE FROM t");
        T_CHECK(ll_backup(source, target, &options, &how, &request) == LL_PENDING);
        if (round % 2 == 0)
            T_CHECK(ll_exec(source, "UPDATE t SET x = 'y' WHERE id = 3", NULL, 0, NULL, &write) >=
                    LL_OK);
        for (int turn = 0; turn < round % 17; turn++) /* a little later each time */
            t_turn(t->engine);
        T_CHECK(ll_request_cancel(request) == LL_OK);
        ll_status status = ll_request_wait(request);
        T_CHECK(status == LL_OK || status == LL_ECANCELLED);
        T_CHECK(told.calls == 1 && told.status == status);
        T_CHECK((told.outcome == LL_APPLIED) == (status == LL_OK));
        T_EQUAL(t_int(target, "SELECT count(*) FROM t"), status == LL_OK ? 500 : 0);
        if (write)
            T_CHECK(ll_request_wait(write) == LL_OK);
        ll_request_unref(write);
        ll_request_unref(request);
        whole += status == LL_OK;
    }
    print_message("%d of %d copies were whole\n", whole, rounds);
    t_close(target);
    t_close(source);
}

static void dropped_before_it_begins(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_conn *source = t_open(t, "a.db"), *target = t_open(t, "b.db");
    t_gate *gate = t_gate_new(t);
    ll_request *hold = NULL, *request = NULL;
    T_CHECK(ll_conn_call(target, t_gate_call, gate, NULL, &hold) == LL_PENDING);
    t_gate_entered(gate, 1);
    T_CHECK(ll_backup(source, target, NULL, NULL, &request) == LL_PENDING);
    T_CHECK(ll_request_cancel(request) == LL_OK && ll_request_wait(request) == LL_ECANCELLED);
    t_gate_open(gate);
    T_CHECK(ll_request_wait(hold) == LL_OK);
    ll_request_unref(hold);
    ll_request_unref(request);
    t_exec(target, "CREATE TABLE t(x)");
    t_close(target);
    t_close(source);
}

/* Both handles may be given back at once: they stay open until the copy has ended. */
static void handles_given_back_meanwhile(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_conn *source = t_open(t, "a.db"), *target = t_open(t, "b.db");
    ll_backup_options options = {.pages = 10, .pause_ns = T_MS / 10};
    ll_request *request = NULL;
    T_CHECK(ll_backup(source, target, &options, NULL, &request) == LL_PENDING);
    ll_conn_unref(source);
    ll_conn_unref(target);
    T_CHECK(ll_request_wait(request) == LL_OK);
    ll_request_unref(request);
    while (t_stats(t->engine).connections > 0)
        t_turn(t->engine);
    T_EQUAL(t_file_int(t_path(t, "b.db"), "SELECT count(*) FROM t"), 500);
}

static void an_engine_that_ends(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_conn *source = t_open(t, "a.db"), *target = t_open(t, "b.db");
    t_exec(target, "CREATE TABLE old(x)");
    ll_backup_options options = {.pages = 1, .pause_ns = T_HOUR};
    t_told told = {0};
    ll_submit how = {.done = t_tell, .user = &told};
    ll_request *request = NULL;
    T_CHECK(ll_backup(source, target, &options, &how, &request) == LL_PENDING);
    wait_for_pages(t, request, 1);
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_CHECK(told.calls == 1 && told.status == LL_ECANCELLED && told.outcome == LL_NOT_APPLIED);
    ll_request_unref(request);
    ll_conn_unref(source);
    ll_conn_unref(target);
    T_EQUAL(t_file_int(t_path(t, "b.db"), "SELECT count(*) FROM old"), 0);
}

/* Connections of two engines, each with workers of its own. */
static void across_engines(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_engine *second = NULL;
    T_CHECK(ll_engine_new(NULL, &second) == LL_OK);
    ll_conn *source = t_open_with(second, t_path(t, "a.db"), NULL), *target = t_open(t, "b.db");
    ll_backup_options options = {.pages = 5};
    ll_request *request = copy(source, target, &options);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    /* and one whose engine goes in the middle */
    options.pause_ns = 2 * T_MS;
    request = NULL;
    T_CHECK(ll_backup(source, target, &options, NULL, &request) == LL_PENDING);
    wait_for_pages(t, request, 5);
    ll_engine_free(second);
    T_CHECK(ll_request_wait(request) == LL_ECLOSED);
    ll_request_unref(request);
    ll_conn_unref(source);
    T_EQUAL(t_int(target, "SELECT count(*) FROM t"), 500); /* the first copy */
    t_close(target);
}

/* ---- what cannot be ----------------------------------------------------------------------------- */

static void errors(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_conn *source = t_open(t, "a.db"), *target = t_open(t, "b.db");
    ll_request *request = NULL;
    T_CHECK(ll_backup(NULL, target, NULL, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_backup(source, NULL, NULL, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_backup(source, source, NULL, NULL, &request) == LL_EINVAL);
    T_CHECK(strstr(ll_last_error(), "the same connection"));
    T_CHECK(ll_backup(source, target, NULL, NULL, NULL) == LL_EINVAL && request == NULL);
    ll_backup_options options = {.source_schema = "nowhere"};
    fails(copy(source, target, &options), LL_ESQL, SQLITE_ERROR, "unknown database nowhere");
    options = (ll_backup_options){.target_schema = "nowhere"};
    fails(copy(source, target, &options), LL_ESQL, SQLITE_ERROR, "unknown database nowhere");
    t_exec(target, "CREATE TABLE old(x)");
    t_exec(target, "BEGIN");
    t_exec(target, "INSERT INTO old VALUES(1)");
    fails(copy(source, target, NULL), LL_ESQL, SQLITE_ERROR, "destination database is in use");
    T_CHECK(t_state(target).in_transaction);
    t_exec(target, "COMMIT");
    T_EQUAL(t_int(target, "SELECT count(*) FROM old"), 1);
    ll_open_options read_only = {.flags = LL_OPEN_READONLY};
    ll_conn *fixed = t_open_with(t->engine, t_path(t, "b.db"), &read_only);
    ll_request *denied = copy(source, fixed, NULL);
    T_CHECK(ll_request_status(denied) == LL_ESQL);
    T_EQUAL(ll_request_error(denied)->sqlite_code & 0xff, SQLITE_READONLY);
    ll_request_unref(denied);
    t_close(fixed);
    t_close(source);
    t_close(target);
}

/* Two that are copied into each other: one of the two is told, none waits for ever. */
static void into_each_other(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    t_file_sql(t_path(t, "b.db"), schema);
    ll_open_options patient = {.busy_timeout_ns = T_HOUR};
    ll_conn *a = t_open_with(t->engine, t_path(t, "a.db"), &patient),
            *b = t_open_with(t->engine, t_path(t, "b.db"), &patient);
    for (int i = 0; i < 20; i++) {
        ll_request *there = NULL, *back = NULL;
        ll_backup_options options = {.pages = 50};
        T_CHECK(ll_backup(a, b, &options, NULL, &there) == LL_PENDING);
        T_CHECK(ll_backup(b, a, &options, NULL, &back) == LL_PENDING);
        ll_status first = ll_request_wait(there), second = ll_request_wait(back);
        T_CHECK(first == LL_OK || first == LL_EBUSY || first == LL_ESQL);
        T_CHECK(second == LL_OK || second == LL_EBUSY || second == LL_ESQL);
        ll_request_unref(there);
        ll_request_unref(back);
    }
    T_EQUAL(t_int(a, "SELECT count(*) FROM t"), 500);
    T_EQUAL(t_int(b, "SELECT count(*) FROM t"), 500);
    t_close(a);
    t_close(b);
}

/* One source, several targets at once. */
static void many_at_once(void **state)
{
    enum {
        TARGETS = 5
    };
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_conn *source = t_open(t, "a.db"), *targets[TARGETS];
    ll_request *requests[TARGETS] = {NULL};
    ll_backup_options options = {.pages = 3};
    for (int i = 0; i < TARGETS; i++) {
        targets[i] = t_open(t, t_printf(t, "b%d.db", i));
        T_CHECK(ll_backup(source, targets[i], &options, NULL, &requests[i]) == LL_PENDING);
    }
    for (int i = 0; i < TARGETS; i++) {
        T_CHECK(ll_request_wait(requests[i]) == LL_OK);
        ll_request_unref(requests[i]);
        T_EQUAL(t_int(targets[i], sum), t_int(source, sum));
        t_close(targets[i]);
    }
    t_close(source);
}

static void adopted_handles(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    sqlite3 *from = t_raw_open(t_path(t, "a.db")), *to = t_raw_open(":memory:"), *db;
    ll_conn *source = NULL, *target = NULL;
    ll_request *request = NULL;
    T_CHECK(t_end(ll_conn_adopt(t->engine, from, NULL, NULL, &source, &request), request) == LL_OK);
    ll_request_unref(request);
    request = NULL;
    T_CHECK(t_end(ll_conn_adopt(t->engine, to, NULL, NULL, &target, &request), request) == LL_OK);
    ll_request_unref(request);
    request = NULL;
    ll_backup_options options = {.pages = 1, .pause_ns = T_MS};
    T_CHECK(ll_backup(source, target, &options, NULL, &request) == LL_PENDING);
    wait_for_pages(t, request, 3);
    T_CHECK(ll_conn_try_enter(target, &db) == LL_EBUSY); /* nobody gets in */
    T_CHECK(ll_conn_enter(source, &db) == LL_OK);        /* the source is lent between two steps */
    T_EQUAL(t_raw_int(db, "SELECT count(*) FROM t"), 500);
    ll_conn_leave(source);
    T_CHECK(ll_request_wait(request) == LL_OK);
    ll_request_unref(request);
    t_close(source);
    t_close(target);
    T_EQUAL(t_raw_int(to, "SELECT count(*) FROM t"), 500);
    t_raw_close(from);
    t_raw_close(to);
}

struct pair {
    ll_conn *source, *target;
};

static int is_refused_in_a_child(void *arg)
{
    const struct pair *pair = arg;
    ll_request *request = NULL;
    T_CHILD(ll_backup(pair->source, pair->target, NULL, NULL, &request) == LL_EFORK);
    T_CHILD(ll_backup_to_file(pair->source, "x.db", NULL, NULL, &request) == LL_EFORK && !request);
    return 0;
}

static void forked(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    struct pair pair = {t_open(t, "a.db"), t_open(t, "b.db")};
    ll_backup_options options = {.pages = 1, .pause_ns = T_MS / 4};
    ll_request *request = NULL;
    T_CHECK(ll_backup(pair.source, pair.target, &options, NULL, &request) == LL_PENDING);
    wait_for_pages(t, request, 3);
    t_in_child(is_refused_in_a_child, &pair);
    T_CHECK(ll_request_wait(request) == LL_OK);
    ll_request_unref(request);
    t_close(pair.source);
    t_close(pair.target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(copies),
        T_TEST(memory_databases_and_schemas),
        T_TEST(into_a_file),
        T_TEST(tells_how_far_it_is),
        T_TEST(the_source_goes_on),
        T_TEST(others_write_to_the_source),
        T_TEST(the_target_waits),
        T_TEST(waits_for_locks),
        T_TEST(while_the_source_writes),
        T_TEST(writers_of_the_target_stand_in_line),
        T_TEST(ends_in_the_middle),
        T_TEST(cancelled_at_any_moment),
        T_TEST(dropped_before_it_begins),
        T_TEST(handles_given_back_meanwhile),
        T_TEST(an_engine_that_ends),
        T_TEST(across_engines),
        T_TEST(errors),
        T_TEST(into_each_other),
        T_TEST(many_at_once),
        T_TEST(adopted_handles),
        T_TEST(forked),
    };
    return T_RUN(tests);
}
