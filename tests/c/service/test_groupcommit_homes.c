/* Group commit and the connections it works for: which statements stay at home, what a home answers afterwards, in
 * which order its requests run, how a member is stopped, and what becomes of members whose writer, home or engine
 * goes. */
#include "groupworld.h"

#include "base/fault.h"

#include <unistd.h>

static const char plain[] = "CREATE TABLE t(x UNIQUE)";

/* Keeps the write lock, so that members stand in line. */
static ll_conn *hold(struct group *g)
{
    ll_conn *holder = world_open(&g->w, "a.db", NULL);
    world_exec(&g->w, holder, "BEGIN IMMEDIATE");
    return holder;
}

static void let_go(struct group *g, ll_conn *holder)
{
    world_exec(&g->w, holder, "COMMIT");
    group_settle(g);
    world_close(&g->w, holder);
}

/* ---- what stays at home ---- */

static int add_hex(sqlite3 *db, void *arg)
{
    (void)arg;
    return sqlite3_create_function(db, "mine", 0, SQLITE_UTF8, NULL, NULL, NULL, NULL);
}

/* Each with what makes it so, on its own connection; the effect is that of its own connection, too. */
static void only_at_home(void **state)
{
    static const char insert[] = "INSERT INTO t(x) VALUES(7)";
    static const struct {
        const char *before, *text, *check;
        int64_t value;
    } cases[] = {
        {"CREATE TEMP TRIGGER r AFTER INSERT ON main.t BEGIN INSERT INTO u VALUES(1); END", insert,
         "SELECT count(*) FROM u", 1},
        {"CREATE TEMP TABLE t(x)", insert, "SELECT count(*) FROM t", 0},
        {"PRAGMA foreign_keys = ON", "INSERT INTO child VALUES(9)", "SELECT count(*) FROM child",
         0},
        {"PRAGMA recursive_triggers = ON", insert, "SELECT count(*) FROM t", 1},
        {"PRAGMA query_only = ON", insert, "SELECT count(*) FROM t", 0},
        {"PRAGMA ignore_check_constraints = ON", "INSERT INTO c VALUES(-1)",
         "SELECT count(*) FROM c", 1},
        {"PRAGMA writable_schema = ON", insert, "SELECT count(*) FROM t", 1},
        {"PRAGMA trusted_schema = OFF", insert, "SELECT count(*) FROM t", 1},
        {"PRAGMA case_sensitive_like = ON", "INSERT INTO t SELECT 'a' LIKE 'A'", "SELECT x FROM t",
         0},
        {"PRAGMA count_changes = ON", insert, "SELECT count(*) FROM t", 1},
        {"ATTACH ':memory:' AS other", insert, "SELECT count(*) FROM t", 1},
        {"BEGIN", insert, "SELECT count(*) FROM t", 0},
        {NULL, "INSERT INTO t SELECT changes()", "SELECT count(*) FROM t", 1},
        {NULL, "INSERT INTO t SELECT total_changes() * 0 + 5", "SELECT x FROM t", 5},
        {NULL, "INSERT INTO t SELECT last_insert_rowid()", "SELECT count(*) FROM t", 1},
        {NULL, "INSERT INTO counted VALUES(1)", "SELECT count(*) FROM u", 1}, /* its trigger asks */
        {NULL, "INSERT INTO box VALUES(1, 2, 3)", "SELECT count(*) FROM box", 1}, /* virtual */
        {NULL, "INSERT INTO nowhere VALUES(1)", "SELECT count(*) FROM t", 0},
        {NULL, "SELECT 1", "SELECT count(*) FROM t", 0},
        {NULL, "WITH q(x) AS (VALUES(1)) SELECT x FROM q", "SELECT count(*) FROM t", 0},
        {NULL, "CREATE TABLE more(x)", "SELECT count(*) FROM more", 0},
        {NULL, "", "SELECT count(*) FROM t", 0},
    };
    t_env *t = *state;
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        struct group g;
        unlink(t_path(t, "a.db"));
        group_begin(&g, t,
                    "CREATE TABLE t(x UNIQUE); CREATE TABLE u(x); CREATE TABLE c(x CHECK(x > 0));"
                    "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE child(p REFERENCES p);"
                    "CREATE TABLE counted(x); CREATE TRIGGER counting AFTER INSERT ON counted BEGIN"
                    " INSERT INTO u SELECT changes(); END;"
                    "CREATE VIRTUAL TABLE box USING rtree(id, x0, x1)",
                    false);
        if (cases[n].before)
            world_exec(&g.w, g.homes[0], cases[n].before);
        uint64_t alone = group_stats(&g).alone, members = group_stats(&g).members;
        if (strncmp(cases[n].text, "INSERT INTO t(x)", 16) == 0 && !cases[n].before)
            t_fail(__FILE__, __LINE__, "nothing keeps it at home");
        ll_request *request = group_run(&g, 0, cases[n].text);
        ll_request_unref(request);
        if (group_stats(&g).alone != alone + 1 || group_stats(&g).members != members)
            t_fail(__FILE__, __LINE__, "it was grouped: %s; %s",
                   cases[n].before ? cases[n].before : "", cases[n].text);
        T_EQUAL(group_int(&g, cases[n].check), cases[n].value);
        group_end(&g);
    }
}

static void own_code_stays_at_home(void **state)
{
    struct group g;
    group_begin(&g, *state, plain, true);
    ll_request *call = NULL;
    T_CHECK(ll_conn_call(g.homes[0], add_hex, NULL, NULL, &call) == LL_PENDING);
    group_settle(&g);
    ll_request_unref(call);
    ll_conn_own_code(g.homes[1], LL_OWN_AUTHORIZER, 0);
    ll_conn_own_code(g.homes[2], LL_OWN_TRACE, 0);
    ll_conn_own_code(g.homes[3], LL_OWN_TOLD, 0); /* and it tells of nothing */
    ll_writer_stats before = group_stats(&g);
    for (size_t i = 0; i < 4; i++)
        group_ask(&g, i, t_printf(g.w.t, "INSERT INTO t VALUES(%d)", (int)i));
    group_settle(&g);
    for (size_t i = 0; i < 4; i++)
        t_is(g.requests[i], LL_OK, LL_APPLIED);
    T_EQUAL(group_stats(&g).alone - before.alone, 3);
    T_EQUAL(group_stats(&g).members - before.members, 1);
    group_end(&g);
}

static void with_an_open_read(void **state)
{
    struct group g;
    group_begin(&g, *state, "CREATE TABLE t(x)", true);
    t_file_sql(g.path, "INSERT INTO t VALUES(1), (2), (3)");
    ll_request *request = NULL;
    ll_sql sql = {.text = "SELECT x FROM t",
                  .size = LL_NUL_TERMINATED,
                  .flags = LL_SQL_STREAM,
                  .first_rows = 1};
    T_CHECK(ll_conn_submit(g.homes[0], &sql, &(ll_submit){.flags = LL_SUBMIT_NO_INLINE},
                           &request) == LL_PENDING);
    group_settle(&g);
    ll_cursor *cursor = ll_request_take_cursor(request);
    T_CHECK(cursor != NULL);
    group_exec(&g, 0, "INSERT INTO t VALUES(4)");
    T_EQUAL(group_stats(&g).alone, 1);
    ll_cursor_close(cursor);
    group_settle(&g);
    group_exec(&g, 0, "INSERT INTO t VALUES(5)");
    T_EQUAL(group_stats(&g).alone, 1);
    ll_request_unref(request);
    group_end(&g);
}

/* The writer has what the home has not. */
static void a_writer_that_is_set_otherwise(void **state)
{
    struct group g;
    group_begin(&g, *state, plain, true);
    world_exec(&g.w, g.writing, "PRAGMA foreign_keys = ON");
    uint64_t members = group_stats(&g).members;
    group_exec(&g, 0, "INSERT INTO t VALUES(1)");
    T_EQUAL(group_stats(&g).members, members);
    world_exec(&g.w, g.homes[0], "PRAGMA foreign_keys = ON");
    group_exec(&g, 0, "INSERT INTO t VALUES(2)");
    T_EQUAL(group_stats(&g).members, members + 1);
    world_exec(&g.w, g.writing, "CREATE TEMP TABLE t(x)");
    group_exec(&g, 0, "INSERT INTO t VALUES(3)");
    T_EQUAL(group_stats(&g).members, members + 1);
    T_EQUAL(group_int(&g, "SELECT count(*) FROM t"), 3);
    group_end(&g);
}

/* ---- what a home answers afterwards ---- */

static void compare_answers(struct group *g, sqlite3 *alone, const char *text)
{
    static const char *const questions[] = {
        "SELECT last_insert_rowid()", "SELECT changes()", "SELECT total_changes()",
        "SELECT changes() * 1000 + last_insert_rowid() + total_changes()"};
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        if (group_ask_home(g, g->homes[0], questions[i]) != t_raw_int(alone, questions[i]))
            t_fail(__FILE__, __LINE__, "%s behind %s: %d, not %d", questions[i], text,
                   (int)group_ask_home(g, g->homes[0], questions[i]),
                   (int)t_raw_int(alone, questions[i]));
    T_EQUAL(t_state(g->homes[0]).rowid, sqlite3_last_insert_rowid(alone));
    T_EQUAL(t_state(g->homes[0]).total_changes, sqlite3_total_changes(alone));
}

static void a_home_answers_as_if_it_had_written(void **state)
{
    static const char schema[] =
        "CREATE TABLE t(x UNIQUE); CREATE TABLE log(x); CREATE TABLE theirs(x);"
        "CREATE TABLE w(k PRIMARY KEY, v) WITHOUT ROWID;"
        "CREATE TRIGGER logging AFTER DELETE ON t BEGIN INSERT INTO log VALUES(old.x), (2); END";
    static const char *const texts[] = {
        "INSERT INTO t VALUES(1), (2), (3)",
        "UPDATE t SET x = x + 10",
        "DELETE FROM t WHERE x = 99",
        "INSERT INTO t VALUES(12)", /* fails */
        "INSERT INTO t VALUES(4)",
        "DELETE FROM t WHERE x < 12", /* its trigger inserts */
        "INSERT OR FAIL INTO t VALUES(5), (12), (6)",
        "INSERT INTO w VALUES(1, 1), (2, 2)",
        "INSERT OR ROLLBACK INTO t VALUES(70), (12)",
        "REPLACE INTO t VALUES(12)",
        "INSERT INTO t VALUES(100) RETURNING x",
        "DELETE FROM t",
    };
    t_env *t = *state;
    struct group g;
    group_begin(&g, t, schema, true);
    sqlite3 *alone = t_raw_open(":memory:");
    t_raw(alone, schema);
    t_raw(alone, "DELETE FROM t WHERE x = 'nobody'");
    uint64_t members = group_stats(&g).members;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        group_ask(&g, 0, texts[i]);
        group_ask(&g, 1,
                  "INSERT INTO theirs VALUES(0)"); /* somebody else, in the same transaction */
        group_ask(&g, 2, "UPDATE theirs SET x = x");
        group_settle(&g);
        int rc = t_raw_try(alone, texts[i]);
        T_EQUAL(ll_request_status(g.requests[0]) == LL_OK, rc == SQLITE_OK);
        if (rc == SQLITE_OK)
            T_EQUAL(ll_request_changes(g.requests[0]), sqlite3_changes(alone));
        T_EQUAL(ll_request_rowid(g.requests[0]), sqlite3_last_insert_rowid(alone));
        if (strstr(texts[i], "ROLLBACK") ==
            NULL) /* what it has counted of what is undone is its own affair */
            compare_answers(&g, alone, texts[i]);
        if (i % 3 == 0) { /* the home writes itself, too */
            world_exec(&g.w, g.homes[0], "INSERT INTO log VALUES(1)");
            t_raw(alone, "INSERT INTO log VALUES(1)");
            if (strstr(texts[i], "ROLLBACK") == NULL)
                compare_answers(&g, alone, "its own");
        }
        if (strstr(texts[i], "ROLLBACK") != NULL)
            break;
    }
    T_CHECK(group_stats(&g).members > members);
    T_EQUAL(group_stats(&g).alone, 0);
    t_raw_close(alone);
    group_end(&g);
}

/* ---- order ---- */

static void a_home_keeps_its_order(void **state)
{
    static const char *const texts[] = {"INSERT INTO t VALUES(1)", "UPDATE t SET x = x * 10",
                                        "INSERT INTO t VALUES(x'01')", "DELETE FROM t WHERE x = 10",
                                        "INSERT INTO t SELECT changes()"};
    struct group g;
    t_env *t = *state;
    group_begin(&g, t, plain, true);
    ll_request *list[8] = {NULL};
    t_told told[8] = {{0}};
    size_t count = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++, count++)
        list[count] = group_submit(&g, 0, texts[i],
                                   &(ll_submit){.done = t_tell, .user = &told[count]});
    T_CHECK(ll_query(g.homes[0], "SELECT count(*) FROM t", NULL, 0,
                     &(ll_submit){.done = t_tell, .user = &told[count]},
                     &list[count]) == LL_PENDING);
    count++;
    group_settle(&g);
    for (size_t i = 0; i < count; i++) {
        t_is(list[i], LL_OK, LL_APPLIED);
        T_CHECK(i == 0 || told[i].order > told[i - 1].order);
    }
    t_rows rows = {.request = list[count - 1]};
    T_EQUAL(t_rows_next(&rows)[0].as.integer, 2);
    t_rows_done(&rows);
    for (size_t i = 0; i + 1 < count; i++)
        ll_request_unref(list[i]);
    T_EQUAL(group_int(&g, "SELECT count(*) FROM t WHERE x = 1"), 1);
    group_end(&g);
}

/* Statements of nobody run in the order of submission, grouped or not. */
static void without_a_home(void **state)
{
    T_NEEDS(T_HAS_RETURNING);
    static const char *const texts[] = {
        "INSERT INTO t VALUES(1)",
        "INSERT INTO t VALUES(2)",
        "INSERT INTO t SELECT count(*) + 100 + 0 * changes() FROM t", /* alone, in its place */
        "UPDATE t SET x = x + 10",
        "INSERT INTO nowhere VALUES(1)",
        "INSERT INTO t VALUES(3) RETURNING x",
        "WITH q(x) AS (VALUES(4)) INSERT INTO t SELECT x FROM q",
        "INSERT INTO t VALUES(3)", /* not unique */
    };
    enum {
        COUNT = sizeof texts / sizeof *texts
    };
    struct group g;
    t_env *t = *state;
    group_begin(&g, t, plain, true);
    ll_request *list[COUNT];
    t_told told[COUNT] = {{0}};
    ll_writer_stats before = group_stats(&g);
    for (size_t i = 0; i < COUNT; i++)
        list[i] = group_submit(&g, SIZE_MAX, texts[i],
                               &(ll_submit){.done = t_tell, .user = &told[i]});
    group_settle(&g);
    for (size_t i = 0; i < COUNT; i++) {
        bool fails = i == 4 || i == 7;
        t_is(list[i], fails ? LL_ESQL : LL_OK, fails ? LL_NOT_APPLIED : LL_APPLIED);
        T_CHECK(i == 0 || told[i].order == told[i - 1].order + 1);
    }
    T_EQUAL(ll_request_changes(list[3]), 3);
    T_EQUAL(ll_request_rowid(list[3]), 0); /* it has inserted nothing */
    T_EQUAL(ll_request_rowid(list[5]), 4);
    T_CHECK(strstr(ll_request_error(list[4])->message, "no such table") != NULL);
    for (size_t i = 0; i < COUNT; i++)
        ll_request_unref(list[i]);
    T_EQUAL(group_stats(&g).members - before.members, 6);
    T_EQUAL(group_stats(&g).batches - before.batches, 3);
    T_EQUAL(group_stats(&g).alone - before.alone, 2);
    T_EQUAL(group_int(&g, "SELECT sum(x) FROM t"), 11 + 12 + 112 + 3 + 4);
    ll_request *request = NULL;
    ll_sql select = {.text = "SELECT 1", .size = 8};
    T_CHECK(ll_writer_submit(g.writer, NULL, &select, NULL, &request) == LL_EINVAL);
    ll_sql begins = {.text = "DELETE FROM t", .size = 13, .begin_before = LL_BEGIN_DEFERRED};
    T_CHECK(ll_writer_submit(g.writer, NULL, &begins, NULL, &request) == LL_EINVAL);
    begins = (ll_sql){.text = "DELETE FROM t", .size = 13, .flags = LL_SQL_STREAM};
    T_CHECK(ll_writer_submit(g.writer, NULL, &begins, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_writer_submit(g.writer, g.writing, &select, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_writer_submit(NULL, g.writing, &select, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_writer_submit(g.writer, g.homes[0], NULL, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_writer_new(NULL, NULL, &g.writer) == LL_EINVAL);
    group_end(&g);
}

/* The same when a transaction is lost: they run again in the same order. */
static void without_a_home_and_again(void **state)
{
    struct group g;
    group_begin(&g, *state, plain, true);
    ll_request *list[5];
    static const char *const texts[] = {
        "INSERT INTO t VALUES(1)", "UPDATE t SET x = x + 1", "INSERT OR ROLLBACK INTO t VALUES(2)",
        "UPDATE t SET x = x * 10", "INSERT OR ROLLBACK INTO t VALUES(20)"};
    for (size_t i = 0; i < 5; i++)
        list[i] = group_submit(&g, SIZE_MAX, texts[i], NULL);
    group_settle(&g);
    for (size_t i = 0; i < 5; i++) {
        bool fails = i == 2 || i == 4;
        t_is(list[i], fails ? LL_ESQL : LL_OK, fails ? LL_NOT_APPLIED : LL_APPLIED);
        ll_request_unref(list[i]);
    }
    T_EQUAL(group_int(&g, "SELECT x FROM t"), 20);
    T_EQUAL(group_stats(&g).reruns, 2 + 3);
    group_end(&g);
}

/* ---- stopping ---- */

static void those_in_line_are_dropped(void **state)
{
    for (int kind = 0; kind < 5; kind++) {
        struct group g;
        group_begin(&g, *state, "DROP TABLE IF EXISTS t; CREATE TABLE t(x UNIQUE)", true);
        ll_conn *holder = hold(&g);
        for (size_t i = 0; i < HOMES; i++)
            group_ask(&g, i, t_printf(g.w.t, "INSERT INTO t VALUES(%d)", (int)i));
        ll_request *hasty = NULL, *behind = NULL;
        if (kind == 1) {
            hasty = group_submit(&g, SIZE_MAX, "INSERT INTO t VALUES('hasty')",
                                 &(ll_submit){.timeout_ns = 10 * T_MS});
        }
        world_move(&g.w, NULL);
        T_CHECK(ll_query(g.homes[2], "SELECT count(*) FROM t", NULL, 0, NULL, &behind) ==
                LL_PENDING);
        ll_status status = LL_ECANCELLED;
        switch (kind) {
        case 0:
            T_CHECK(ll_request_cancel(g.requests[2]) == LL_OK);
            break;
        case 1:
            lli_step_advance(&g.w.step, 11 * T_MS);
            T_CHECK(ll_engine_dispatch(g.w.step.engine, NULL) == LL_OK);
            t_is(hasty, LL_ETIMEOUT, LL_NOT_APPLIED);
            status = LL_OK;
            break;
        case 2:
            T_CHECK(ll_conn_interrupt(g.homes[2]) == LL_OK);
            status = LL_ESQL;
            break;
        default: /* twice, and before anything has moved */
            T_CHECK(ll_request_cancel(g.requests[2]) == LL_OK);
            T_CHECK(ll_request_cancel(g.requests[2]) == LL_OK);
            T_CHECK(ll_conn_interrupt(g.homes[2]) == LL_OK);
            break;
        }
        if (status != LL_OK)
            t_is(g.requests[2], status, LL_NOT_APPLIED);
        for (size_t i = 0; i < HOMES; i++)
            T_CHECK((i == 2 && status != LL_OK) || !ll_request_is_done(g.requests[i]));
        let_go(&g, holder);
        for (size_t i = 0; i < HOMES; i++)
            if (i != 2 || status == LL_OK)
                t_is(g.requests[i], LL_OK, LL_APPLIED);
        t_is(behind, LL_OK, LL_APPLIED);
        T_EQUAL(group_int(&g, "SELECT count(*) FROM t"), HOMES - (status != LL_OK));
        ll_request_unref(behind);
        ll_request_unref(hasty);
        group_end(&g);
    }
}

static const char slow[] =
    "INSERT INTO t SELECT value FROM (WITH RECURSIVE c(value) AS (SELECT 1000 UNION ALL SELECT"
    " value + 1 FROM c WHERE value < 3000) SELECT value FROM c)";

/* One that runs ends by itself, and its outcome is told; unless it said that it may be interrupted: then it ends the
 * transaction, and the others run again. */
static void one_that_runs_is_told_its_outcome(void **state)
{
    for (int interruptible = 0; interruptible < 2; interruptible++) {
        struct group g;
        group_begin(&g, *state, "DROP TABLE IF EXISTS t; CREATE TABLE t(x UNIQUE)", true);
        group_ask(&g, 0, "INSERT INTO t VALUES(1)");
        ll_request *request = group_submit(
            &g, 1, slow, &(ll_submit){.flags = interruptible ? LL_SUBMIT_INTERRUPT : 0});
        group_ask(&g, 2, "INSERT INTO t VALUES(2)");
        g.w.cancel = request;
        group_settle(&g);
        T_CHECK(!g.w.cancel);
        t_is(g.requests[0], LL_OK, LL_APPLIED);
        t_is(g.requests[2], LL_OK, LL_APPLIED);
        t_is(request, interruptible ? LL_ECANCELLED : LL_OK,
             interruptible ? LL_NOT_APPLIED : LL_APPLIED);
        T_EQUAL(group_stats(&g).reruns, interruptible ? 1 : 0);
        T_EQUAL(group_int(&g, "SELECT count(*) FROM t"), interruptible ? 2 : 2003);
        ll_request_unref(request);
        group_end(&g);
    }
}

/* Each waits for as long as its own home says. */
static void a_lock_of_another_process(void **state)
{
    struct group g;
    t_env *t = *state;
    group_begin(&g, t, plain, true);
    world_exec(&g.w, g.homes[1], "PRAGMA busy_timeout = 50");
    world_exec(&g.w, g.homes[2], "PRAGMA busy_timeout = 20");
    group_warm(&g);
    sqlite3 *other = t_raw_open(g.path);
    t_raw(other, "BEGIN IMMEDIATE");
    uint64_t now = g.w.step.now_ns;
    for (size_t i = 0; i < 4; i++)
        group_ask(&g, i, t_printf(t, "INSERT INTO t VALUES(%d)", (int)i));
    static const size_t order[] = {2, 1};
    for (size_t i = 0; i < 2; i++) {
        while (!ll_request_is_done(g.requests[order[i]]))
            T_CHECK(group_move(&g));
        T_EQUAL(g.w.step.now_ns - now, i == 0 ? 20 * T_MS : 50 * T_MS);
        t_is(g.requests[order[i]], LL_EBUSY, LL_NOT_APPLIED);
    }
    T_CHECK(!ll_request_is_done(g.requests[0]) && !ll_request_is_done(g.requests[3]));
    /* One that comes now and is in a hurry. */
    ll_request_unref(g.requests[2]);
    g.requests[2] = NULL;
    now = g.w.step.now_ns;
    group_ask(&g, 2, "INSERT INTO t VALUES(2)");
    while (!ll_request_is_done(g.requests[2]))
        T_CHECK(group_move(&g));
    T_EQUAL(g.w.step.now_ns - now, 20 * T_MS);
    t_raw(other, "COMMIT");
    t_raw_close(other);
    group_settle(&g);
    t_is(g.requests[0], LL_OK, LL_APPLIED);
    t_is(g.requests[3], LL_OK, LL_APPLIED);
    T_EQUAL(group_int(&g, "SELECT count(*) FROM t"), 2);
    group_end(&g);
}

/* ---- things go ---- */

static void the_writer_is_given_back(void **state)
{
    struct group g;
    group_begin(&g, *state, plain, true);
    ll_conn *holder = hold(&g);
    for (size_t i = 0; i < HOMES; i++)
        group_ask(&g, i, t_printf(g.w.t, "INSERT INTO t VALUES(%d)", (int)i));
    world_move(&g.w, NULL);
    ll_writer_free(g.writer);
    g.writer = NULL;
    ll_conn_unref(g.writing);
    g.writing = NULL;
    let_go(&g, holder);
    for (size_t i = 0; i < HOMES; i++)
        t_is(g.requests[i], LL_OK, LL_APPLIED);
    group_end(&g);
}

static void the_writers_connection_is_closed(void **state)
{
    struct group g;
    group_begin(&g, *state, plain, true);
    for (size_t i = 0; i < 3; i++)
        group_ask(&g, i, t_printf(g.w.t, "INSERT INTO t VALUES(%d)", (int)i));
    world_close(&g.w, g.writing);
    g.writing = NULL;
    for (size_t i = 3; i < HOMES; i++)
        group_ask(&g, i, t_printf(g.w.t, "INSERT INTO t VALUES(%d)", (int)i));
    ll_request *request = NULL;
    ll_sql sql = {.text = "DELETE FROM t", .size = LL_NUL_TERMINATED};
    T_CHECK(ll_writer_submit(g.writer, NULL, &sql, NULL, &request) == LL_ECLOSED);
    group_settle(&g);
    for (size_t i = 0; i < HOMES; i++)
        t_is(g.requests[i], LL_OK, LL_APPLIED);
    T_EQUAL(group_stats(&g).alone, 3);
    group_end(&g);
}

static void a_home_closes_behind_its_member(void **state)
{
    struct group g;
    group_begin(&g, *state, plain, true);
    ll_conn *holder = hold(&g);
    group_ask(&g, 0, "INSERT INTO t VALUES(0)");
    group_ask(&g, 1, "INSERT INTO t VALUES(1)");
    world_move(&g.w, NULL);
    ll_request *close = NULL;
    T_CHECK(ll_conn_close(g.homes[0], NULL, &close) == LL_PENDING);
    ll_conn_unref(g.homes[0]);
    ll_conn_unref(g.homes[1]); /* nobody closes this one */
    g.homes[0] = g.homes[1] = NULL;
    world_move(&g.w, NULL);
    T_CHECK(!ll_request_is_done(close));
    let_go(&g, holder);
    t_is(close, LL_OK, LL_APPLIED);
    t_is(g.requests[0], LL_OK, LL_APPLIED);
    t_is(g.requests[1], LL_OK, LL_APPLIED);
    ll_request_unref(close);
    group_end(&g);
}

/* Everybody is told, whether the writer has not come yet, waits for its lock, or for that of COMMIT. */
static void the_engine_ends(void **state)
{
    for (int n = 0; n < 3; n++) {
        struct group g;
        group_begin(&g, *state, "DROP TABLE IF EXISTS t; CREATE TABLE t(x UNIQUE)", false);
        ll_conn *holder = n == 1 ? hold(&g) : world_open(&g.w, "a.db", NULL);
        world_exec(&g.w, holder, n == 1 ? "SELECT 1" : "BEGIN");
        world_exec(&g.w, holder, "SELECT count(*) FROM t");
        for (size_t i = 0; i < HOMES; i++)
            group_ask(&g, i, t_printf(g.w.t, "INSERT INTO t VALUES(%d)", (int)i));
        if (n > 0)
            world_move(&g.w, NULL);
        T_EQUAL(g.writer->committing, n == 2);
        ll_engine_free(g.w.step.engine);
        for (size_t i = 0; i < HOMES; i++) {
            T_EQUAL(g.told[i].calls, 1);
            T_EQUAL(g.told[i].status, LL_ECANCELLED);
            T_EQUAL(g.told[i].outcome, LL_NOT_APPLIED);
            ll_request_unref(g.requests[i]);
            ll_conn_unref(g.homes[i]);
        }
        ll_conn_unref(holder);
        ll_writer_free(g.writer);
        ll_conn_unref(g.writing);
        lli_clock_real();
        T_EQUAL(group_int(&g, "SELECT count(*) FROM t"), 0);
    }
}

/* ---- failures of the machine ---- */

/* The n-th of all calls of the file system, or of all allocations, fails while a group is at work: whoever is told
 * that his write is there finds it, whoever is told that it is not does not. */
static void something_fails(void **state)
{
    static const enum lli_fault_kind kinds[] = {LLI_FAULT_VFS, LLI_FAULT_ALLOC};
    t_env *t = *state;
    unsigned long stride = getenv("LL_TEST_SLOW") ? 5 : 1;
    for (size_t k = 0; k < 2; k++) {
        bool fired = true;
        for (unsigned long nth = 1; fired && nth < 400; nth += stride) {
            struct group g;
            unlink(t_path(t, "a.db"));
            group_begin(&g, t, plain, nth % 2);
            for (size_t i = 0; i < HOMES; i++)
                group_ask(&g, i, t_printf(t, "INSERT INTO t VALUES(%d) RETURNING x", (int)i));
            lli_fault_arm(kinds[k], nth);
            group_settle(&g);
            fired = lli_fault_fired();
            lli_fault_disarm();
            group_settle(&g);
            for (size_t i = 0; i < HOMES; i++) {
                T_CHECK(ll_request_is_done(g.requests[i]));
                int64_t there = group_int(
                    &g, t_printf(t, "SELECT count(*) FROM t WHERE x = %d", (int)i));
                ll_outcome outcome = ll_request_outcome(g.requests[i]);
                if (outcome != LL_UNKNOWN && there != (outcome == LL_APPLIED))
                    t_fail(__FILE__, __LINE__,
                           "failure %lu of kind %d: member %zu was told %d (%s)", nth,
                           (int)kinds[k], i, (int)outcome,
                           ll_request_error(g.requests[i])->message);
                T_EQUAL(outcome == LL_APPLIED, ll_request_status(g.requests[i]) == LL_OK);
            }
            group_exec(&g, 0, "INSERT INTO t VALUES('after')"); /* and it goes on */
            group_end(&g);
        }
        T_CHECK(!fired);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(only_at_home),
        T_TEST(own_code_stays_at_home),
        T_TEST(with_an_open_read),
        T_TEST(a_writer_that_is_set_otherwise),
        T_TEST(a_home_answers_as_if_it_had_written),
        T_TEST(a_home_keeps_its_order),
        T_TEST(without_a_home),
        T_TEST(without_a_home_and_again),
        T_TEST(those_in_line_are_dropped),
        T_TEST(one_that_runs_is_told_its_outcome),
        T_TEST(a_lock_of_another_process),
        T_TEST(the_writer_is_given_back),
        T_TEST(the_writers_connection_is_closed),
        T_TEST(a_home_closes_behind_its_member),
        T_TEST(the_engine_ends),
        T_TEST(something_fails),
    };
    return T_RUN(tests);
}
