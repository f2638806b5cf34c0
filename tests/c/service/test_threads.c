/* Stress, above all for ThreadSanitizer: several loops in several threads share the workers and one
 * connection, submit, read, stream, cancel and time out; what was answered is then looked up in the
 * file. */
#include "support/support.h"

#include <pthread.h>

enum {
    LOOPS = 4,
    ROUNDS = 120
};

struct loop {
    pthread_t thread; /* the starter's */
    pthread_t self;   /* the loop's own */
    ll_engine *engine;
    ll_conn *shared; /* opened by the main thread */
    const char *own_path;
    int64_t number;
    int64_t applied; /* inserts that say they stand */
    size_t callbacks, expected;
    uint32_t seed;
};

static uint32_t draw(struct loop *self)
{
    self->seed = self->seed * 1664525u + 1013904223u;
    return self->seed >> 16;
}

static void inserted(ll_request *request, void *user)
{
    struct loop *self = user;
    ll_status status = ll_request_status(request);
    ll_outcome outcome = ll_request_outcome(request);
    T_CHECK(pthread_equal(pthread_self(), self->self)); /* on the loop that asked */
    T_CHECK(status == LL_OK || status == LL_ECANCELLED || status == LL_ETIMEOUT);
    T_CHECK(outcome == (status == LL_OK ? LL_APPLIED : LL_NOT_APPLIED));
    self->applied += outcome == LL_APPLIED;
    self->callbacks++;
}

static void selected(ll_request *request, void *user)
{
    struct loop *self = user;
    T_CHECK(pthread_equal(pthread_self(), self->self));
    if (ll_request_status(request) == LL_OK) {
        ll_batch *batch = ll_request_take_batch(request);
        T_CHECK(batch && ll_batch_row(batch, 0)[0].as.integer >= self->applied);
        ll_batch_free(batch);
    }
    self->callbacks++;
}

static void drain(struct loop *self)
{
    while (self->callbacks < self->expected)
        T_CHECK(ll_engine_wait(self->engine, -1, NULL) == LL_OK);
}

static void stream_some(struct loop *self)
{
    ll_submit how = {.engine = self->engine};
    ll_request *request = NULL;
    T_CHECK(t_end(ll_stream(self->shared, "SELECT loop FROM t", NULL, 0, &how, &request),
                  request) == LL_OK);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    for (uint32_t left = draw(self) % 3; cursor && left > 0; left--) {
        request = NULL;
        T_CHECK(t_end(ll_cursor_next(cursor, &how, &request), request) == LL_OK);
        ll_request_unref(request);
    }
    ll_cursor_close(cursor);
}

static void one_round(struct loop *self)
{
    ll_value number = ll_integer(self->number);
    ll_request *request = NULL;
    ll_submit how = {.done = inserted, .user = self, .engine = self->engine};
    uint32_t kind = draw(self) % 10;
    if (kind == 0)
        how.timeout_ns = 1 + draw(self) * 10;
    ll_status status = ll_exec(self->shared, "INSERT INTO t(loop) VALUES(?)", &number, 1, &how,
                               &request);
    T_CHECK(status >= 0);
    if (kind == 1)
        T_CHECK(ll_request_cancel(request) == LL_OK);
    if (status == LL_OK)
        inserted(request, self);
    self->expected++;
    ll_request_unref(request);
    how = (ll_submit){.done = selected, .user = self, .engine = self->engine};
    status = ll_query(self->shared, "SELECT count(*) FROM t WHERE loop = ?", &number, 1, &how,
                      &request);
    T_CHECK(status >= 0);
    if (status == LL_OK)
        selected(request, self);
    self->expected++;
    ll_request_unref(request);
    if (kind == 2)
        stream_some(self);
    if (kind == 3)
        T_CHECK(ll_engine_dispatch(self->engine, NULL) == LL_OK);
    (void)t_stats(self->engine);
    (void)t_state(self->shared);
    if (self->expected - self->callbacks > 20)
        drain(self);
}

static void *run_loop(void *arg)
{
    struct loop *self = arg;
    self->self = pthread_self();
    for (int i = 0; i < ROUNDS; i++) {
        one_round(self);
        if (i % 40 == 0) {
            ll_conn *own = t_open_with(self->engine, self->own_path, NULL);
            t_exec(own, "CREATE TABLE IF NOT EXISTS t(x)");
            t_exec(own, "INSERT INTO t VALUES(1)");
            t_close(own);
        }
    }
    drain(self);
    return NULL;
}

static void loops_share_one_connection(void **state)
{
    t_env *t = *state;
    struct loop loops[LOOPS];
    memset(loops, 0, sizeof loops);
    ll_conn *shared = t_open(t, "a.db");
    t_exec(shared, "PRAGMA synchronous=OFF");
    t_exec(shared, "CREATE TABLE t(id INTEGER PRIMARY KEY, loop INTEGER)");
    t_exec(shared, "INSERT INTO t(loop) " T_ENDLESS "SELECT -1 FROM c LIMIT 3000");
    for (size_t i = 0; i < LOOPS; i++) {
        loops[i].shared = ll_conn_ref(shared);
        loops[i].own_path = t_printf(t, "%s/own%zu.db", t->dir, i);
        loops[i].number = (int64_t)i;
        loops[i].seed = (uint32_t)(i + 1) * 2654435761u;
        T_CHECK(ll_engine_new(&(ll_engine_options){.workers_of = t->engine}, &loops[i].engine) ==
                LL_OK);
    }
    for (size_t i = 0; i < LOOPS; i++)
        T_CHECK(pthread_create(&loops[i].thread, NULL, run_loop, &loops[i]) == 0);
    for (size_t i = 0; i < LOOPS; i++)
        T_CHECK(pthread_join(loops[i].thread, NULL) == 0);
    for (size_t i = 0; i < LOOPS; i++) {
        char sql[80];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM t WHERE loop = %zu", i);
        T_EQUAL(t_int(shared, sql), loops[i].applied);
        T_CHECK(loops[i].callbacks == loops[i].expected);
        T_CHECK(ll_engine_outstanding(loops[i].engine) == 0);
        ll_conn_unref(loops[i].shared);
        ll_engine_free(loops[i].engine);
    }
    t_close(shared);
}

/* Engines come and go while others work on the same workers. */
static void *come_and_go(void *arg)
{
    t_env *t = arg;
    for (int i = 0; i < 20; i++) {
        ll_engine *engine = NULL;
        ll_request *request = NULL;
        ll_conn *conn = NULL;
        size_t calls = 0;
        T_CHECK(ll_engine_new(&(ll_engine_options){.workers_of = t->engine}, &engine) == LL_OK);
        ll_status status = ll_conn_open(engine, ":memory:", NULL, NULL, &conn, &request);
        T_CHECK(status >= 0);
        status = ll_exec(conn, "CREATE TABLE t(x)", NULL, 0,
                         &(ll_submit){.done = t_count, .user = &calls}, NULL);
        T_CHECK(status >= 0);
        calls += status == LL_OK;
        if (i % 3 == 0)
            T_CHECK(t_end(LL_PENDING, request) == LL_OK);
        ll_request_unref(request);
        ll_conn_unref(conn);
        ll_engine_free(engine); /* calls back what is owed */
        T_CHECK(calls == 1);
    }
    return NULL;
}

static void engines_come_and_go(void **state)
{
    t_env *t = *state;
    pthread_t threads[LOOPS];
    for (size_t i = 0; i < LOOPS; i++)
        T_CHECK(pthread_create(&threads[i], NULL, come_and_go, t) == 0);
    for (size_t i = 0; i < LOOPS; i++)
        T_CHECK(pthread_join(threads[i], NULL) == 0);
    while (t_stats(t->engine).connections != 0)
        t_turn(t->engine);
}

/* The same file by a connection for each thread, each with an engine of its own. */
struct writer {
    pthread_t thread;
    const char *path;
};

static void *write_rows(void *arg)
{
    struct writer *self = arg;
    ll_engine *engine = NULL;
    T_CHECK(ll_engine_new(NULL, &engine) == LL_OK);
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *conn = t_open_with(engine, self->path, &options);
    t_exec(conn, "PRAGMA synchronous=OFF");
    for (int i = 0; i < 30; i++) {
        t_exec(conn, "BEGIN IMMEDIATE");
        t_exec(conn, "UPDATE counter SET n = n + 1");
        t_exec(conn, "COMMIT");
    }
    t_close(conn);
    ll_engine_free(engine);
    return NULL;
}

static void engines_share_a_file(void **state)
{
    t_env *t = *state;
    struct writer writers[LOOPS];
    t_file_sql(t_path(t, "a.db"), "PRAGMA journal_mode=WAL; CREATE TABLE counter(n);"
                                  "INSERT INTO counter VALUES(0)");
    for (size_t i = 0; i < LOOPS; i++) {
        writers[i].path = t_path(t, "a.db");
        T_CHECK(pthread_create(&writers[i].thread, NULL, write_rows, &writers[i]) == 0);
    }
    for (size_t i = 0; i < LOOPS; i++)
        T_CHECK(pthread_join(writers[i].thread, NULL) == 0);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT n FROM counter"), LOOPS * 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(loops_share_one_connection),
        T_TEST(engines_come_and_go),
        T_TEST(engines_share_a_file),
    };
    return T_RUN(tests);
}
