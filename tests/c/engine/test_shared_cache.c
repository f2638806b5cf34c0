/* Connections that share SQLite's cache: nothing of them runs on the loop, one statement runs at a time, and what
 * the locks of tables refuse is waited for as long as the busy timeout allows. */
#include "world.h"

#define URI "file:shared_one?mode=memory&cache=shared"

enum {
    CONNS = 4
};

struct cache {
    struct world w;
    ll_conn *conns[CONNS];
};

static ll_conn *open_shared(struct world *w, const char *uri, uint64_t busy_timeout_ns)
{
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    ll_open_options options = {.flags = LL_OPEN_URI, .busy_timeout_ns = busy_timeout_ns};
    T_CHECK(ll_conn_open(w->step.engine, uri, &options, NULL, &conn, &request) == LL_PENDING);
    lli_step_settle(&w->step);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    return conn;
}

static void begin_at(struct cache *c, t_env *t, const char *uri, uint64_t busy_timeout_ns)
{
    *c = (struct cache){0};
    world_begin(&c->w, t);
    for (size_t i = 0; i < CONNS; i++)
        c->conns[i] = open_shared(&c->w, uri, busy_timeout_ns);
    world_exec(&c->w, c->conns[0], "CREATE TABLE t(x)");
    world_exec(&c->w, c->conns[0], "CREATE TABLE u(x)");
}

static void begin(struct cache *c, t_env *t)
{
    begin_at(c, t, URI, T_HOUR);
}

static void end(struct cache *c)
{
    for (size_t i = 0; i < CONNS; i++) {
        T_CHECK(!c->conns[i]->seat.asked && !c->conns[i]->turns.asked);
        world_close(&c->w, c->conns[i]);
    }
    world_end(&c->w);
}

struct ask {
    ll_request *request;
    t_told told;
};

static void ask(struct cache *c, size_t i, const char *sql, struct ask *a)
{
    *a = (struct ask){0};
    T_CHECK(ll_query(c->conns[i], sql, NULL, 0, &(ll_submit){.done = t_tell, .user = &a->told},
                     &a->request) == LL_PENDING);
    world_move(&c->w, NULL);
}

static void asked(struct ask *a)
{
    t_is(a->request, LL_OK, LL_APPLIED);
    ll_request_unref(a->request);
}

static void they_share_one_cache(void **state)
{
    struct cache c;
    begin(&c, *state);
    for (size_t i = 0; i < CONNS; i++) {
        T_CHECK(c.conns[i]->turns.count == 1 && c.conns[i]->seat.count == 1);
        T_CHECK(c.conns[i]->turns.places[0].gate == c.conns[0]->turns.places[0].gate);
        T_CHECK(c.conns[i]->seat.places[0].gate == c.conns[0]->seat.places[0].gate);
        T_CHECK(!c.conns[i]->can_inline);
    }
    ll_conn *elsewhere = open_shared(&c.w, "file:another?mode=memory&cache=shared", T_HOUR);
    T_CHECK(elsewhere->turns.places[0].gate != c.conns[0]->turns.places[0].gate);
    world_close(&c.w, elsewhere);
    world_exec(&c.w, c.conns[1], "INSERT INTO t VALUES(1)");
    for (size_t i = 0; i < CONNS; i++)
        T_CHECK(!world_exec(&c.w, c.conns[i], "SELECT x FROM t"));
    T_EQUAL(world_stats(&c.w).inline_hits, 0);
    end(&c);
}

/* [M] Reads that met the lock of a table failed at once, whatever the timeout. */
static void a_locked_table_is_waited_for(void **state)
{
    struct cache c;
    begin(&c, *state);
    world_exec(&c.w, c.conns[0], "BEGIN");
    world_exec(&c.w, c.conns[0], "INSERT INTO t VALUES(1)");
    uint64_t now = c.w.step.now_ns, waits = world_stats(&c.w).gate_waits;
    struct ask one, two, other;
    ask(&c, 1, "SELECT x FROM t", &one);
    ask(&c, 2, "SELECT x FROM t", &two);
    ask(&c, 3, "SELECT x FROM u", &other); /* nobody has that one */
    T_CHECK(!ll_request_is_done(one.request) && !ll_request_is_done(two.request));
    T_CHECK(ll_request_is_done(other.request));
    T_EQUAL(world_stats(&c.w).gate_waits, waits + 2);
    world_exec(&c.w, c.conns[0], "COMMIT");
    lli_step_settle(&c.w.step);
    T_EQUAL(c.w.step.now_ns, now); /* woken, not polled */
    T_CHECK(one.told.order < two.told.order);
    asked(&one);
    asked(&two);
    asked(&other);
    end(&c);
}

/* Readers come with the writers, in the order in which they asked. */
static void readers_and_writers_in_one_line(void **state)
{
    struct cache c;
    begin(&c, *state);
    world_exec(&c.w, c.conns[0], "BEGIN IMMEDIATE");
    world_exec(&c.w, c.conns[0], "INSERT INTO t VALUES(1)");
    uint64_t now = c.w.step.now_ns;
    struct ask writer, reader, late;
    ask(&c, 1, "INSERT INTO t VALUES(2)", &writer);
    ask(&c, 2, "SELECT x FROM t", &reader);
    ask(&c, 3, "INSERT INTO t VALUES(3)", &late);
    T_CHECK(!ll_request_is_done(writer.request) && !ll_request_is_done(reader.request) &&
            !ll_request_is_done(late.request));
    world_exec(&c.w, c.conns[0], "COMMIT");
    lli_step_settle(&c.w.step);
    T_EQUAL(c.w.step.now_ns, now);
    T_CHECK(writer.told.order < reader.told.order && reader.told.order < late.told.order);
    ll_batch *batch = ll_request_take_batch(reader.request);
    T_EQUAL(ll_batch_rows(batch), 2);
    ll_batch_free(batch);
    asked(&writer);
    asked(&reader);
    asked(&late);
    end(&c);
}

/* A transaction that has read is not sent to the line; it tries in even steps. */
static void inside_a_transaction(void **state)
{
    struct cache c;
    begin(&c, *state);
    world_exec(&c.w, c.conns[1], "BEGIN");
    world_exec(&c.w, c.conns[1], "SELECT x FROM u");
    world_exec(&c.w, c.conns[0], "BEGIN");
    world_exec(&c.w, c.conns[0], "INSERT INTO t VALUES(1)");
    struct ask reads, writes;
    ask(&c, 1, "SELECT x FROM t", &reads);
    T_CHECK(!ll_request_is_done(reads.request) && !c.conns[1]->seat.asked);
    for (int i = 0; i < 20; i++) {
        uint64_t before = c.w.step.now_ns;
        lli_step_make(&c.w.step, (struct lli_step_move){LLI_STEP_TIMER, 0});
        world_move(&c.w, NULL);
        T_CHECK(c.w.step.now_ns - before <= 5 * T_MS);
    }
    T_CHECK(!ll_request_is_done(reads.request));
    world_exec(&c.w, c.conns[0], "COMMIT");
    lli_step_settle(&c.w.step);
    asked(&reads);
    ask(&c, 1, "INSERT INTO u VALUES(1)", &writes); /* nobody else writes */
    lli_step_settle(&c.w.step);
    asked(&writes);
    world_exec(&c.w, c.conns[1], "COMMIT");
    end(&c);
}

/* While DDL is under way nothing can even be prepared. */
static void a_locked_schema(void **state)
{
    struct cache c;
    begin(&c, *state);
    for (int kind = 0; kind < 4; kind++) {
        world_exec(&c.w, c.conns[0], "BEGIN IMMEDIATE");
        world_exec(&c.w, c.conns[0], "CREATE TABLE IF NOT EXISTS v(x)");
        world_exec(&c.w, c.conns[0], "DROP TABLE v");
        ll_value value = ll_integer(5);
        ll_many many = {.text = "INSERT INTO t VALUES(?)",
                        .size = LL_NUL_TERMINATED,
                        .values = &value,
                        .rows = 1,
                        .width = 1};
        ll_request *request = NULL;
        ll_conn *conn = c.conns[1 + kind % 3];
        ll_status status = kind == 0 ? ll_query(conn, "SELECT 1, x FROM t", NULL, 0, NULL, &request)
                         : kind == 1 ? ll_exec_many(conn, &many, NULL, &request)
                         : kind == 2
                             ? ll_script(conn, "SELECT 2, x FROM t; INSERT INTO t VALUES(1)",
                                         LL_NUL_TERMINATED, false, NULL, &request)
                             : ll_prepare(conn, "SELECT 3, x FROM t", LL_NUL_TERMINATED, NULL,
                                          &request);
        T_CHECK(status == LL_PENDING);
        T_CHECK(!world_move(&c.w, request));
        world_exec(&c.w, c.conns[0], "COMMIT");
        lli_step_settle(&c.w.step);
        t_is(request, LL_OK, LL_APPLIED);
        ll_request_unref(request);
    }
    end(&c);
}

/* A stream has its read lock until its end. */
static void a_stream_holds_up_a_writer(void **state)
{
    struct cache c;
    begin(&c, *state);
    world_exec(&c.w, c.conns[0],
               "INSERT INTO t WITH RECURSIVE n(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM n "
               "WHERE x < 2000) SELECT x FROM n");
    ll_request *stream = NULL;
    T_CHECK(ll_stream(c.conns[1], "SELECT x FROM t", NULL, 0, NULL, &stream) == LL_PENDING);
    T_CHECK(world_move(&c.w, stream));
    ll_cursor *cursor = ll_request_take_cursor(stream);
    T_CHECK(cursor != NULL);
    struct ask writes, reads;
    ask(&c, 2, "DELETE FROM t", &writes);
    T_CHECK(!ll_request_is_done(writes.request));
    ask(&c, 3, "SELECT count(*) FROM t", &reads); /* between two batches others have their turn */
    T_CHECK(ll_request_is_done(reads.request));
    ll_cursor_close(cursor);
    lli_step_settle(&c.w.step);
    asked(&writes);
    asked(&reads);
    ll_request_unref(stream);
    end(&c);
}

static void no_longer_than_the_busy_timeout(void **state)
{
    struct cache c;
    begin_at(&c, *state, URI, 300 * T_MS);
    static const char *const texts[] = {"SELECT x FROM t", "INSERT INTO t VALUES(2)",
                                        "BEGIN IMMEDIATE", "DROP TABLE t"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        world_exec(&c.w, c.conns[0], "BEGIN");
        world_exec(&c.w, c.conns[0], "INSERT INTO t VALUES(1)");
        uint64_t now = c.w.step.now_ns;
        struct ask a;
        ask(&c, 1, texts[i], &a);
        T_CHECK(!ll_request_is_done(a.request));
        lli_step_settle(&c.w.step);
        t_is(a.request, LL_ESQL, LL_NOT_APPLIED);
        T_EQUAL(ll_request_error(a.request)->sqlite_code, SQLITE_LOCKED_SHAREDCACHE);
        T_EQUAL(c.w.step.now_ns - now, 300 * T_MS);
        T_CHECK(!c.conns[1]->seat.asked);
        ll_request_unref(a.request);
        world_exec(&c.w, c.conns[0], "COMMIT");
    }
    world_exec(&c.w, c.conns[1], "PRAGMA busy_timeout = 0");
    world_exec(&c.w, c.conns[0], "BEGIN");
    world_exec(&c.w, c.conns[0], "INSERT INTO t VALUES(1)");
    struct ask a;
    ask(&c, 1, "SELECT x FROM t", &a);
    T_CHECK(ll_request_is_done(a.request));
    T_EQUAL(ll_request_error(a.request)->sqlite_code, SQLITE_LOCKED_SHAREDCACHE);
    ll_request_unref(a.request);
    world_exec(&c.w, c.conns[0], "COMMIT");
    end(&c);
}

static void waiting_ends(void **state)
{
    enum {
        CANCEL,
        DEADLINE,
        INTERRUPT,
        CLOSE,
        WAYS
    };
    struct cache c;
    begin(&c, *state);
    for (int way = 0; way < WAYS; way++) {
        world_exec(&c.w, c.conns[0], "BEGIN");
        world_exec(&c.w, c.conns[0], "INSERT INTO t VALUES(1)");
        ll_request *request = NULL, *closing = NULL;
        ll_submit how = {.timeout_ns = way == DEADLINE ? 50 * T_MS : 0};
        T_CHECK(ll_query(c.conns[1], "SELECT x FROM t", NULL, 0, &how, &request) == LL_PENDING);
        T_CHECK(!world_move(&c.w, request));
        struct ask behind;
        ask(&c, 2, "SELECT x FROM t", &behind);
        ll_status status = LL_OK;
        if (way == CANCEL) {
            T_CHECK(ll_request_cancel(request) == LL_OK);
            status = LL_ECANCELLED;
        } else if (way == DEADLINE) {
            lli_step_advance(&c.w.step, 50 * T_MS);
            T_CHECK(ll_engine_dispatch(c.w.step.engine, NULL) == LL_OK);
            status = LL_ETIMEOUT;
        } else if (way == INTERRUPT) {
            T_CHECK(ll_conn_interrupt(c.conns[1]) == LL_OK);
            status = LL_ESQL;
        } else {
            T_CHECK(ll_conn_close(c.conns[1], NULL, &closing) == LL_PENDING);
        }
        if (status != LL_OK) {
            T_CHECK(world_move(&c.w, request));
            T_CHECK(!c.conns[1]->seat.asked);
        }
        T_CHECK(!ll_request_is_done(behind.request));
        world_exec(&c.w, c.conns[0], "COMMIT");
        lli_step_settle(&c.w.step);
        t_is(request, status, status == LL_OK ? LL_APPLIED : LL_NOT_APPLIED);
        asked(&behind);
        ll_request_unref(request);
        ll_request_unref(closing);
        if (way == CLOSE) {
            ll_conn_unref(c.conns[1]);
            c.conns[1] = open_shared(&c.w, URI, T_HOUR);
        }
    }
    end(&c);
}

/* ... also as an attached database, by those who have the cache as "main", and by those who have it so, too. */
static void attached(void **state)
{
    struct cache c;
    begin(&c, *state);
    ll_conn *a = open_shared(&c.w, "file:a?mode=memory", T_HOUR),
            *b = open_shared(&c.w, "file:b?mode=memory", T_HOUR);
    T_EQUAL(a->turns.count, 0);
    world_exec(&c.w, a, "ATTACH '" URI "' AS s");
    world_exec(&c.w, b, "ATTACH '" URI "' AS s");
    T_CHECK(a->turns.count == 1 && b->turns.count == 1);
    T_CHECK(a->turns.places[0].gate == c.conns[0]->turns.places[0].gate);
    T_CHECK(b->turns.places[0].gate == c.conns[0]->turns.places[0].gate);
    uint64_t now = c.w.step.now_ns;
    world_exec(&c.w, a, "BEGIN IMMEDIATE");
    world_exec(&c.w, a, "INSERT INTO s.t VALUES(1)");
    ll_request *request = NULL;
    T_CHECK(ll_query(b, "SELECT x FROM s.t", NULL, 0, NULL, &request) == LL_PENDING);
    struct ask main;
    ask(&c, 1, "INSERT INTO t VALUES(2)", &main);
    T_CHECK(!ll_request_is_done(request) && !ll_request_is_done(main.request));
    world_exec(&c.w, a, "COMMIT");
    lli_step_settle(&c.w.step);
    T_EQUAL(c.w.step.now_ns, now);
    t_is(request, LL_OK, LL_APPLIED);
    asked(&main);
    ll_request_unref(request);
    world_exec(&c.w, a, "DETACH s");
    T_EQUAL(a->turns.count, 0);
    world_close(&c.w, a);
    world_close(&c.w, b);
    end(&c);
}

/* A file may be shared so, too: by flag or by URI. */
static void a_file(void **state)
{
    t_env *t = *state;
    struct cache c;
    begin_at(&c, t, t_printf(t, "file:%s?cache=shared", t_path(t, "f.db")), T_HOUR);
    T_CHECK(c.conns[0]->turns.count == 1 && c.conns[0]->seat.count == 1);
    ll_conn *conn = world_open(
        &c.w, "f.db", &(ll_open_options){.flags = LL_OPEN_SHARED_CACHE, .busy_timeout_ns = T_HOUR});
    T_CHECK(conn->turns.places[0].gate == c.conns[0]->turns.places[0].gate);
    T_CHECK(conn->seat.places[0].gate == c.conns[0]->seat.places[0].gate);
    struct ask reads;
    world_exec(&c.w, conn, "BEGIN");
    world_exec(&c.w, conn, "INSERT INTO t VALUES(1)");
    ask(&c, 0, "SELECT x FROM t", &reads);
    T_CHECK(!ll_request_is_done(reads.request));
    world_exec(&c.w, conn, "COMMIT");
    lli_step_settle(&c.w.step);
    asked(&reads);
    world_close(&c.w, conn);
    end(&c);
}

/* An executemany that is all or nothing begins no transaction that it could not end: beside BEGIN EXCLUSIVE nothing can
 * be prepared, not even ROLLBACK, but what was prepared before still runs. */
static void an_atomic_executemany_that_is_given_up(void **state)
{
    struct cache c;
    begin(&c, *state);
    const ll_value values[] = {ll_integer(2), ll_integer(3)};
    ll_many many = {.text = "INSERT INTO t VALUES(?)",
                    .size = LL_NUL_TERMINATED,
                    .values = values,
                    .rows = 2,
                    .width = 1};
    ll_request *request = NULL;
    T_CHECK(ll_exec_many(c.conns[1], &many, NULL, &request) == LL_PENDING);
    lli_step_settle(&c.w.step);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    world_exec(&c.w, c.conns[1], "SAVEPOINT looplite_many");
    world_exec(&c.w, c.conns[1], "COMMIT");
    world_exec(&c.w, c.conns[0], "BEGIN EXCLUSIVE");
    many.atomic = true;
    T_CHECK(ll_exec_many(c.conns[1], &many, NULL, &request) == LL_PENDING);
    lli_step_settle(&c.w.step); /* until the busy timeout is over */
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    ll_request_unref(request);
    T_CHECK(!t_state(c.conns[1]).in_transaction);
    world_exec(&c.w, c.conns[0], "COMMIT");
    end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(they_share_one_cache),
        T_TEST(a_locked_table_is_waited_for),
        T_TEST(readers_and_writers_in_one_line),
        T_TEST(inside_a_transaction),
        T_TEST(a_locked_schema),
        T_TEST(a_stream_holds_up_a_writer),
        T_TEST(no_longer_than_the_busy_timeout),
        T_TEST(waiting_ends),
        T_TEST(attached),
        T_TEST(a_file),
        T_TEST(an_atomic_executemany_that_is_given_up),
    };
    return T_RUN(tests);
}
