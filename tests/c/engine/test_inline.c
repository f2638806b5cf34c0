/* Running on the loop: what does, what does not, and that nobody can tell by the result. */
#include "world.h"

static const char *const wal[] = {"journal_mode=WAL", NULL};

static void begin(struct world *w, t_env *t, ll_conn **ret_conn, bool with_wal, unsigned flags)
{
    world_needs_guarded_files(t);
    world_begin(w, t);
    ll_open_options options = {.pragmas = with_wal ? wal : NULL, .flags = flags};
    *ret_conn = world_open(w, "a.db", &options);
    world_exec(w, *ret_conn, "CREATE TABLE t(id INTEGER PRIMARY KEY, x)");
    world_exec(w, *ret_conn,
               "INSERT INTO t(id, x) " T_ENDLESS "SELECT x, 'row ' || x FROM c LIMIT 1000");
}

static void end(struct world *w, ll_conn *conn)
{
    world_close(w, conn);
    world_end(w);
}

static const char point_read[] = "SELECT x FROM t WHERE id = 7";

static void a_point_read(void **state)
{
    struct world w;
    ll_conn *conn;
    begin(&w, *state, &conn, true, 0);
    for (int i = 0; i < 3; i++) {
        ll_stats before = world_stats(&w);
        bool on_loop;
        ll_request *request = world_run(&w, conn, point_read, NULL, &on_loop);
        T_CHECK(on_loop);
        t_is(request, LL_OK, LL_APPLIED);
        t_rows rows = {.request = request};
        const ll_value *row = t_rows_next(&rows);
        T_CHECK(row && row[0].type == LL_TEXT);
        T_SAME_TEXT(row[0].as.text, "row 7");
        T_CHECK(!t_rows_next(&rows));
        t_rows_done(&rows);
        ll_stats after = world_stats(&w);
        T_EQUAL(after.inline_hits, before.inline_hits + 1);
        T_EQUAL(after.immediate, before.immediate + 1);
        T_EQUAL(after.worker_runs, before.worker_runs);
        T_CHECK(t_state(conn).idle);
    }
    end(&w, conn);
}

static void nothing_before_the_first_dispatch(void **state)
{
    t_env *t = *state;
    struct world w;
    world_needs_guarded_files(t);
    world_begin(&w, t);
    ll_conn *conn = NULL;
    ll_request *open = NULL, *read = NULL;
    T_CHECK(ll_conn_open(w.step.engine, t_path(t, "a.db"), NULL, NULL, &conn, &open) == LL_PENDING);
    T_CHECK(world_move(&w, open));
    T_CHECK(ll_exec(conn, "SELECT 1", NULL, 0, NULL, &read) == LL_PENDING);
    lli_step_settle(&w.step);
    t_is(read, LL_OK, LL_APPLIED);
    T_EQUAL(world_stats(&w).inline_hits, 0);
    T_CHECK(world_exec(&w, conn, "SELECT 1"));
    ll_request_unref(open);
    ll_request_unref(read);
    end(&w, conn);
}

static void whoever_wants_it_on_a_worker(void **state)
{
    struct world w;
    ll_conn *conn;
    begin(&w, *state, &conn, true, LL_OPEN_NO_INLINE);
    for (int i = 0; i < 5; i++)
        T_CHECK(!world_exec(&w, conn, point_read));
    T_EQUAL(world_stats(&w).inline_hits, 0);
    end(&w, conn);
    t_env *t = *state;
    world_begin(&w, t);
    conn = world_open(&w, "a.db", NULL);
    bool on_loop;
    for (int i = 0; i < 5; i++) {
        ll_submit how = {.flags = LL_SUBMIT_NO_INLINE};
        ll_request_unref(world_run(&w, conn, point_read, &how, &on_loop));
        T_CHECK(!on_loop);
    }
    T_EQUAL(world_stats(&w).inline_hits, 0);
    T_CHECK(world_exec(&w, conn, point_read));
    end(&w, conn);
}

static void a_turn_has_an_end(void **state)
{
    struct world w;
    ll_conn *conn;
    begin(&w, *state, &conn, true, 0);
    ll_engine *engine = w.step.engine;
    T_CHECK(world_exec(&w, conn, point_read) && !ll_engine_turn_spent(engine));
    ll_engine_turn_charge(engine, T_HOUR);
    T_CHECK(ll_engine_turn_spent(engine));
    ll_stats before = world_stats(&w);
    T_CHECK(!world_exec(&w, conn, point_read)); /* settling dispatches, and then it runs there */
    T_EQUAL(world_stats(&w).deferred, before.deferred + 1);
    T_EQUAL(world_stats(&w).inline_hits, before.inline_hits + 1);
    T_EQUAL(world_stats(&w).inline_refused, before.inline_refused);
    T_EQUAL(world_stats(&w).worker_runs, before.worker_runs);
    T_CHECK(!ll_engine_turn_spent(engine));
    T_CHECK(world_exec(&w, conn, point_read));
    ll_engine_turn_charge(engine, T_HOUR);
    ll_engine_new_turn(engine);
    T_CHECK(world_exec(&w, conn, point_read));
    end(&w, conn);
}

/* By its options, and with the real clock: whatever a read takes, it is more than a nanosecond. Each text
 * is new, so that none has a history of being slow. */
static void a_tiny_turn(void **state)
{
    t_env *t = *state;
    world_needs_guarded_files(t);
    lli_cost_clear();
    t_engine(t, &(ll_engine_options){.turn_ns = 1, .attempt_ns = T_HOUR});
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(id INTEGER PRIMARY KEY, x)");
    for (int i = 0; i < 5; i++) {
        ll_request *first = NULL, *second = NULL;
        T_CHECK(ll_engine_dispatch(t->engine, NULL) == LL_OK);
        T_CHECK(ll_exec(conn, t_printf(t, "SELECT x FROM t WHERE id = 1%d", i), NULL, 0, NULL,
                        &first) == LL_OK);
        T_CHECK(ll_engine_turn_spent(t->engine));
        T_CHECK(ll_exec(conn, t_printf(t, "SELECT x FROM t WHERE id = 2%d", i), NULL, 0, NULL,
                        &second) == LL_PENDING);
        T_CHECK(ll_request_wait(second) == LL_OK);
        ll_request_unref(first);
        ll_request_unref(second);
    }
    T_CHECK(t_stats(t->engine).stalls >= 5);
    t_close(conn);
}

static const char long_one[] = "WITH RECURSIVE c(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM c "
                               "WHERE n < 5000) SELECT sum(n) FROM c";

static void a_long_computation(void **state)
{
    struct world w;
    ll_conn *conn;
    begin(&w, *state, &conn, true, 0);
    bool on_loop;
    T_CHECK(!world_exec(&w, conn, long_one)); /* nobody knows it yet */
    T_CHECK(world_exec(&w, conn, long_one));  /* it took no time at all */
    w.jump_ns = T_HOUR;
    for (int i = 0; i < 3; i++) {
        ll_stats before = world_stats(&w);
        ll_request *request = world_run(&w, conn, long_one, NULL, &on_loop);
        T_CHECK(!on_loop);
        t_is(request, LL_OK, LL_APPLIED);
        t_rows rows = {.request = request};
        T_EQUAL(t_rows_next(&rows)[0].as.integer, 5000 * 5001 / 2);
        T_CHECK(!t_rows_next(&rows));
        t_rows_done(&rows);
        ll_stats after = world_stats(&w);
        /* tried once, and then not for a while */
        T_EQUAL(after.bounced_time, before.bounced_time + (i == 0));
        T_EQUAL(after.inline_refused, before.inline_refused + (i != 0));
    }
    end(&w, conn);
}

static void handed_over_between_two_rows(void **state)
{
    struct world w;
    ll_conn *conn;
    begin(&w, *state, &conn, true, 0);
    static const char all[] = "SELECT id, x FROM t ORDER BY id";
    T_CHECK(!world_exec(&w, conn, all));
    uint64_t attempt_ns = w.step.engine->attempt_ns;
    w.step.engine->attempt_ns = 0; /* over at the first look, which is at a row */
    bool on_loop;
    ll_request *request = world_run(&w, conn, all, NULL, &on_loop);
    w.step.engine->attempt_ns = attempt_ns;
    T_CHECK(!on_loop);
    T_EQUAL(world_stats(&w).handovers, 1);
    t_is(request, LL_OK, LL_APPLIED);
    t_rows rows = {.request = request};
    int64_t count = 0;
    for (const ll_value *row; (row = t_rows_next(&rows)) != NULL;)
        T_EQUAL(row[0].as.integer, ++count);
    T_EQUAL(count, 1000);
    t_rows_done(&rows);
    T_CHECK(t_state(conn).live_cursors == 0);
    T_CHECK(!world_exec(&w, conn, all)); /* and it is not tried at once */
    T_EQUAL(world_stats(&w).handovers, 1);
    sqlite3 *other = t_raw_open(t_path(w.t, "a.db")); /* no lock is left behind */
    t_raw(other, "DELETE FROM t; PRAGMA wal_checkpoint(TRUNCATE)");
    t_raw_close(other);
    end(&w, conn);
}

static void a_handed_over_one_is_cancelled(void **state)
{
    struct world w;
    ll_conn *conn;
    begin(&w, *state, &conn, true, 0);
    static const char all[] = "SELECT id, x FROM t ORDER BY id";
    world_exec(&w, conn, all);
    w.step.engine->attempt_ns = 0;
    ll_request *request = NULL;
    T_CHECK(ll_query(conn, all, NULL, 0, NULL, &request) == LL_PENDING);
    T_EQUAL(world_stats(&w).handovers, 1);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    lli_step_settle(&w.step);
    t_is(request, LL_ECANCELLED, LL_NOT_APPLIED);
    T_CHECK(!ll_request_take_batch(request));
    ll_request_unref(request);
    sqlite3 *other = t_raw_open(t_path(w.t, "a.db")); /* the live statement was ended */
    t_raw(other, "BEGIN EXCLUSIVE; DELETE FROM t; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)");
    T_EQUAL(t_raw_int(other, "PRAGMA wal_checkpoint(TRUNCATE)"), 0);
    t_raw_close(other);
    end(&w, conn);
}

static void a_lock_that_is_not_free(void **state)
{
    struct world w;
    ll_conn *conn;
    begin(&w, *state, &conn, false, 0);
    T_CHECK(world_exec(&w, conn, point_read));
    sqlite3 *other = t_raw_open(t_path(w.t, "a.db"));
    t_raw(other, "BEGIN EXCLUSIVE");
    ll_stats before = world_stats(&w);
    ll_request *request = NULL;
    T_CHECK(ll_query(conn, point_read, NULL, 0, NULL, &request) == LL_PENDING);
    T_EQUAL(world_stats(&w).bounced_lock, before.bounced_lock + 1);
    T_CHECK(!world_move(&w, request));
    T_EQUAL(world_stats(&w).parks, before.parks + 1);
    t_raw(other, "COMMIT");
    lli_step_settle(&w.step);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    T_CHECK(world_exec(&w, conn, point_read)); /* a lock says nothing of the statement */

    /* cancelled, and too late, between the bounce and the worker */
    t_raw(other, "BEGIN EXCLUSIVE");
    T_CHECK(ll_query(conn, point_read, NULL, 0, NULL, &request) == LL_PENDING);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    T_CHECK(ll_request_is_done(request));
    t_is(request, LL_ECANCELLED, LL_NOT_APPLIED);
    ll_request_unref(request);
    ll_submit how = {.timeout_ns = T_MS};
    T_CHECK(ll_query(conn, point_read, NULL, 0, &how, &request) == LL_PENDING);
    lli_step_advance(&w.step, 2 * T_MS);
    T_CHECK(ll_engine_dispatch(w.step.engine, NULL) == LL_OK);
    t_is(request, LL_ETIMEOUT, LL_NOT_APPLIED);
    ll_request_unref(request);
    t_raw(other, "COMMIT");
    t_raw_close(other);
    lli_step_settle(&w.step);
    T_CHECK(world_exec(&w, conn, point_read));
    end(&w, conn);
}

static void writes_where_nothing_is_written_before_the_commit(void **state)
{
    for (int with_wal = 0; with_wal < 2; with_wal++) {
        struct world w;
        ll_conn *conn;
        t_env *t = *state;
        begin(&w, t, &conn, with_wal, 0);
        static const char insert[] = "INSERT INTO t(x) VALUES('more')";
        static const char update[] = "UPDATE t SET x = 'other' WHERE id = 3";
        T_CHECK(!world_exec(&w, conn, insert)); /* it would commit */
        T_CHECK(!world_exec(&w, conn, update));
        T_CHECK(!world_exec(&w, conn, "BEGIN IMMEDIATE"));
        world_exec(&w, conn, insert);
        T_CHECK(world_exec(&w, conn, insert) == with_wal);
        world_exec(&w, conn, update);
        T_CHECK(world_exec(&w, conn, update) == with_wal);
        uint64_t hits = world_stats(&w).inline_hits;
        T_CHECK(!world_exec(&w, conn, "COMMIT"));
        T_CHECK(!world_exec(&w, conn, insert));
        T_EQUAL(world_stats(&w).inline_hits, hits);
        T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t WHERE x = 'more'"), 4);

        /* one that only reads has nothing to write at its end */
        T_CHECK(world_exec(&w, conn, "BEGIN"));
        T_CHECK(world_exec(&w, conn, point_read));
        T_CHECK(world_exec(&w, conn, "COMMIT"));
        T_CHECK(world_exec(&w, conn, "BEGIN"));
        T_CHECK(!world_exec(&w, conn, insert)); /* takes the lock */
        T_CHECK(!world_exec(&w, conn, "ROLLBACK"));
        world_exec(&w, conn, "DROP TABLE t");
        world_exec(&w, conn, "PRAGMA journal_mode=DELETE");
        end(&w, conn);
    }
}

static size_t called_on_loop, called;

static void mine(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    called++;
    called_on_loop += lli_attempt_now != NULL;
    sqlite3_result_int(context, 42);
}

static int create_mine(sqlite3 *db, void *arg)
{
    return sqlite3_create_function(db, arg, -1, SQLITE_UTF8, NULL, mine, NULL, NULL);
}

static void functions_of_the_user(void **state)
{
    static char names[][8] = {"mine", "abs", "upper"}; /* a name of its own, and SQLite's */
    for (size_t i = 0; i < 3; i++) {
        struct world w;
        ll_conn *conn;
        t_env *t = *state;
        begin(&w, t, &conn, true, 0);
        called = called_on_loop = 0;
        ll_request *request = NULL;
        T_CHECK(ll_conn_call(conn, create_mine, names[i], NULL, &request) == LL_PENDING);
        lli_step_settle(&w.step);
        t_is(request, LL_OK, LL_APPLIED);
        ll_request_unref(request);
        const char *text = t_printf(t, "SELECT %s(x) FROM t WHERE id = 7", names[i]);
        for (int k = 0; k < 6; k++) {
            bool on_loop;
            request = world_run(&w, conn, text, NULL, &on_loop);
            t_rows rows = {.request = request};
            T_EQUAL(t_rows_next(&rows)[0].as.integer, 42);
            t_rows_done(&rows);
            if (on_loop)
                t_fail(__FILE__, __LINE__, "on the loop: %s", text);
        }
        T_EQUAL(called, 6);
        T_EQUAL(called_on_loop, 0);
        world_exec(&w, conn, "DROP TABLE t");
        end(&w, conn);
    }
}

static void a_large_value(void **state)
{
    struct world w;
    ll_conn *conn;
    begin(&w, *state, &conn, true, 0);
    world_exec(&w, conn, "INSERT INTO t VALUES(2000, zeroblob(300000)), (2001, zeroblob(1000))");
    static const char large[] = "SELECT x FROM t WHERE id = 2000";
    static const char small[] = "SELECT x FROM t WHERE id = 2001";
    bool on_loop;
    for (int i = 0; i < 5; i++) {
        ll_request *request = world_run(&w, conn, large, NULL, &on_loop);
        T_CHECK(i == 0 || !on_loop); /* the first one could not know */
        t_rows rows = {.request = request};
        T_EQUAL(t_rows_next(&rows)[0].size, 300000);
        t_rows_done(&rows);
    }
    world_exec(&w, conn, small);
    T_CHECK(world_exec(&w, conn, small));
    end(&w, conn);
}

/* ---- the same by both ways ---- */

static const char *const corpus[] = {
    "SELECT 1",
    "SELECT NULL, 2.5, 'text', x'00ff', 9223372036854775807",
    "SELECT x FROM t WHERE id = 3",
    "SELECT * FROM t WHERE id = 3",
    "SELECT * FROM t WHERE id = 100000",
    "SELECT id, x, y FROM t WHERE id IN (1, 3, 5, 99)",
    "SELECT count(*) FROM t",
    "SELECT max(id) FROM t",
    "SELECT min(x), max(x) FROM t",
    "SELECT x FROM t ORDER BY x DESC LIMIT 3",
    "SELECT x AS name FROM t WHERE id = 1",
    "SELECT x || '-' || y FROM t WHERE id = 2",
    "SELECT a.id, b.id FROM t a JOIN t b ON b.id = a.id + 1 WHERE a.id = 4",
    "SELECT a.id, b.x FROM t a LEFT JOIN t b ON b.id = a.id + 1000 WHERE a.id = 4",
    "SELECT u FROM u WHERE u = 'b'",
    "SELECT rowid, * FROM u WHERE u = 'nothing'",
    "SELECT CASE WHEN id > 2 THEN 'big' ELSE 'small' END FROM t WHERE id = 3",
    "SELECT upper(x), length(x), abs(-id), coalesce(NULL, x) FROM t WHERE id = 2",
    "SELECT typeof(x), hex(x), quote(x) FROM t WHERE id = 2",
    "SELECT exists(SELECT 1 FROM t WHERE id = 2)",
    "SELECT (SELECT x FROM t WHERE id = 2)",
    "VALUES(1), (2), (3)",
    "WITH c(a) AS (VALUES(5)) SELECT a FROM c",
    "SELECT x FROM t WHERE x LIKE 'r%' AND id = 2",
    "SELECT group_concat(id) FROM t WHERE id < 5",
    "SELECT changes(), total_changes(), last_insert_rowid()",
    "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
    "SELECT sqlite_version() = sqlite_version()",
    "",
    "-- a comment",
    ";",
    "SELEC 1",
    "SELECT nothing FROM t",
    "SELECT * FROM nowhere",
    "SELECT abs(-9223372036854775808)",
    "SELECT abs()",
    "SELECT 'unfinished",
    "SELECT max(id), abs(-9223372036854775807 - id + 1) FROM t WHERE id = 1",
    "INSERT INTO t(x, y) VALUES('new', 1)",
    "INSERT INTO t(id, x) VALUES(1, 'twice')",
    "INSERT OR IGNORE INTO t(id, x) VALUES(1, 'twice')",
    "INSERT OR REPLACE INTO t(id, x) VALUES(2, 'again')",
    "INSERT INTO u VALUES('b')",
    "INSERT INTO u VALUES('z') ON CONFLICT DO NOTHING",
    "INSERT INTO t(x) VALUES('returned') RETURNING id, x",
    "UPDATE t SET x = 'changed' WHERE id = 4",
    "UPDATE t SET x = 'changed' WHERE id = 4000",
    "UPDATE t SET id = 1 WHERE id = 5",
    "UPDATE t SET y = y + 1",
    "DELETE FROM t WHERE id = 6",
    "DELETE FROM t WHERE id = 6000",
    "DELETE FROM u WHERE u = 'a' RETURNING u",
    "INSERT INTO checked VALUES(-1)",
    "INSERT INTO checked VALUES(1)",
    "SELECT count(*), sum(y) FROM t",
    "SELECT last_insert_rowid()",
    "SAVEPOINT one",
    "INSERT INTO t(x) VALUES('inside')",
    "ROLLBACK TO one",
    "RELEASE one",
    "RELEASE nothing",
    "SELECT count(*) FROM t",
    "SELECT x, x FROM t WHERE id = 7",
};

static const char *const states[][2] = {
    {"SELECT 0", "SELECT 0"},        {"BEGIN", "COMMIT"},
    {"BEGIN", "ROLLBACK"},           {"BEGIN IMMEDIATE", "COMMIT"},
    {"BEGIN EXCLUSIVE", "ROLLBACK"}, {"BEGIN; INSERT INTO t(x) VALUES('before')", "COMMIT"},
};

static void the_same_results(void **state)
{
    t_env *t = *state;
    world_needs_guarded_files(t);
    static const char schema[] =
        "CREATE TABLE t(id INTEGER PRIMARY KEY, x VARCHAR(10), y INT);"
        "CREATE TABLE u(u UNIQUE); CREATE TABLE checked(c CHECK(c > 0));"
        "INSERT INTO u VALUES('a'), ('b'), ('c');"
        "INSERT INTO t VALUES(1, 'one', 1), (2, 'row', 2), (3, NULL, 3), (4, x'04', 4),"
        "(5, 5, 5), (6, 6.5, 6), (7, 'seven', 7)";
    /* no bound of time: what runs on the loop does not depend on the machine's speed */
    t_engine(t, &(ll_engine_options){.turn_ns = T_HOUR, .attempt_ns = T_HOUR});
    for (unsigned i = 0; i < 4; i++) {
        bool with_wal = i & 1, on_loop = i & 2;
        const char *path = t_path(t, t_printf(t, "ours%u.db", i));
        const char *oracle = t_path(t, t_printf(t, "oracle%u.db", i));
        t_file_sql(path, schema);
        t_file_sql(oracle, schema);
        ll_open_options options = {.pragmas = with_wal ? wal : NULL,
                                   .flags = on_loop ? 0 : LL_OPEN_NO_INLINE};
        ll_conn *conn = t_open_with(t->engine, path, &options);
        sqlite3 *db = t_raw_open(oracle);
        uint64_t hits = t_stats(t->engine).inline_hits;
        for (size_t s = 0; s < sizeof states / sizeof *states; s++) {
            char text[128];
            snprintf(text, sizeof text, "%s", states[s][0]);
            for (char *one = strtok(text, ";"); one; one = strtok(NULL, ";"))
                t_compare(conn, db, one);
            for (int again = 0; again < 2; again++)
                for (size_t k = 0; k < sizeof corpus / sizeof *corpus; k++)
                    t_compare(conn, db, corpus[k]);
            t_compare(conn, db, states[s][1]);
        }
        uint64_t more = t_stats(t->engine).inline_hits - hits;
        T_CHECK(on_loop ? more > 100 : more == 0);
        t_raw_close(db);
        t_close(conn);
    }
    t_compared();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(a_point_read),
        T_TEST(nothing_before_the_first_dispatch),
        T_TEST(whoever_wants_it_on_a_worker),
        T_TEST(a_turn_has_an_end),
        T_TEST(a_tiny_turn),
        T_TEST(a_long_computation),
        T_TEST(handed_over_between_two_rows),
        T_TEST(a_lock_that_is_not_free),
        T_TEST(writes_where_nothing_is_written_before_the_commit),
        T_TEST(functions_of_the_user),
        T_TEST(a_large_value),
        T_TEST(the_same_results),
        T_TEST(a_handed_over_one_is_cancelled),
    };
    return T_RUN(tests);
}
