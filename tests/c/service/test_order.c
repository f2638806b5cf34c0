/* Requests of one connection run in the order of their submission, whoever submits and however many
 * wait. */
#include "support/support.h"

#include <pthread.h>

static void inserts_from_one_thread(void **state)
{
    enum {
        COUNT = 2000
    };
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "PRAGMA synchronous=OFF");
    t_exec(conn, "CREATE TABLE t(id INTEGER PRIMARY KEY, seq INTEGER)");
    size_t done = 0;
    t_exec(conn, "BEGIN");
    for (int64_t i = 0; i < COUNT; i++) {
        ll_value seq = ll_integer(i);
        ll_status status = ll_exec(conn, "INSERT INTO t(seq) VALUES(?)", &seq, 1,
                                   &(ll_submit){.done = t_count, .user = &done}, NULL);
        T_CHECK(status >= 0);
        done += status == LL_OK;
    }
    t_exec(conn, "COMMIT");
    t_until(t->engine, &done, COUNT);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t WHERE seq = id - 1"), COUNT);
    t_close(conn);
}

/* Callbacks may submit: a chain, each link from the callback of the one before. */
struct chain {
    ll_conn *conn;
    size_t left, done;
};

static void next_link(ll_request *request, void *user)
{
    struct chain *chain = user;
    T_CHECK(!request || ll_request_status(request) == LL_OK);
    if (request)
        chain->done++;
    while (chain->left > 0) {
        chain->left--;
        ll_status status = ll_exec(chain->conn, "INSERT INTO t VALUES(1)", NULL, 0,
                                   &(ll_submit){.done = next_link, .user = chain}, NULL);
        T_CHECK(status >= 0);
        if (status == LL_PENDING)
            return;
        chain->done++;
    }
}

static void a_chain_of_callbacks(void **state)
{
    t_env *t = *state;
    struct chain chain = {.conn = t_open(t, "a.db"), .left = 200};
    t_exec(chain.conn, "PRAGMA synchronous=OFF");
    t_exec(chain.conn, "CREATE TABLE t(x)");
    next_link(NULL, &chain);
    t_until(t->engine, &chain.done, 200);
    T_EQUAL(t_int(chain.conn, "SELECT count(*) FROM t"), 200);
    t_close(chain.conn);
}

/* Several threads submit to one connection; the loop is another thread. */
enum {
    THREADS = 4,
    EACH = 300
};

struct submitter {
    pthread_t thread;
    ll_conn *conn;
    int64_t number;
    struct result *results;
};

struct result {
    struct submitter *of;
    int64_t seq;
    int64_t seen; /* what the read after the insert saw */
    bool done;
};

static size_t answered; /* loop only */

static void read_done(ll_request *request, void *user)
{
    struct result *result = user;
    T_CHECK(ll_request_status(request) == LL_OK);
    T_CHECK(!result->done);
    result->done = true;
    ll_batch *batch = ll_request_take_batch(request);
    T_CHECK(batch != NULL);
    result->seen = ll_batch_row(batch, 0)[0].as.integer;
    ll_batch_free(batch);
    answered++;
}

static void write_done(ll_request *request, void *user)
{
    (void)user;
    T_CHECK(ll_request_status(request) == LL_OK);
    T_CHECK(ll_request_outcome(request) == LL_APPLIED);
    answered++;
}

static void *submit_all(void *arg)
{
    struct submitter *self = arg;
    for (int64_t i = 0; i < EACH; i++) {
        struct result *result = &self->results[i];
        ll_value values[] = {ll_integer(self->number), ll_integer(i)};
        ll_request *request = NULL;
        result->of = self;
        result->seq = i;
        ll_status status;
        if (i % 5 == 4) {
            ll_many many = {.text = "INSERT INTO t(thread, seq) VALUES(?, ?)",
                            .size = LL_NUL_TERMINATED,
                            .values = values,
                            .rows = 1,
                            .width = 2};
            status = ll_exec_many(self->conn, &many, &(ll_submit){.done = write_done}, NULL);
        } else {
            status = ll_exec(self->conn, "INSERT INTO t(thread, seq) VALUES(?, ?)", values, 2,
                             &(ll_submit){.done = write_done}, NULL);
        }
        T_CHECK(status == LL_PENDING);
        status = ll_query(self->conn, "SELECT count(*) FROM t WHERE thread = ?", values, 1,
                          &(ll_submit){.done = read_done, .user = result}, &request);
        T_CHECK(status == LL_PENDING);
        ll_request_unref(request);
    }
    return NULL;
}

static void threads_submit_to_one_connection(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    struct submitter threads[THREADS];
    t_exec(conn, "CREATE TABLE t(id INTEGER PRIMARY KEY, thread INTEGER, seq INTEGER)");
    t_exec(conn, "CREATE INDEX by_thread ON t(thread)");
    t_exec(conn, "BEGIN");
    answered = 0;
    size_t called = 0;
    /* the gate keeps the connection busy, so that nothing can be finished at once */
    T_CHECK(ll_conn_call(conn, t_gate_call, gate, &(ll_submit){.done = t_count, .user = &called},
                         NULL) == LL_PENDING);
    for (size_t i = 0; i < THREADS; i++) {
        threads[i].conn = conn;
        threads[i].number = (int64_t)i;
        threads[i].results = calloc(EACH, sizeof *threads[i].results);
        T_CHECK(pthread_create(&threads[i].thread, NULL, submit_all, &threads[i]) == 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        T_CHECK(pthread_join(threads[i].thread, NULL) == 0);
    T_CHECK(ll_engine_outstanding(t->engine) == 2 * THREADS * EACH + 1);
    t_gate_open(gate);
    t_until(t->engine, &answered, 2 * THREADS * EACH);
    t_exec(conn, "COMMIT");
    for (size_t i = 0; i < THREADS; i++) {
        for (int64_t k = 0; k < EACH; k++)
            if (threads[i].results[k].seen != k + 1)
                t_fail(__FILE__, __LINE__, "thread %zu, read %lld saw %lld rows", i, (long long)k,
                       (long long)threads[i].results[k].seen);
        free(threads[i].results);
    }
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), THREADS * EACH);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t a JOIN t b USING(thread)"
                        " WHERE a.id < b.id AND a.seq >= b.seq"),
            0);
    t_close(conn);
}

static void *submit_while_it_runs(void *arg)
{
    struct submitter *self = arg;
    for (int64_t i = 0; i < EACH; i++) {
        ll_value values[] = {ll_integer(self->number), ll_integer(i)};
        ll_request *request = NULL;
        ll_status status = ll_exec(self->conn, "INSERT INTO t(thread, seq) VALUES(?, ?)", values, 2,
                                   &(ll_submit){.done = write_done}, &request);
        T_CHECK(status == LL_PENDING || status == LL_OK);
        ll_request_unref(request);
    }
    return NULL;
}

static void threads_submit_while_it_runs(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open_with(t->engine, ":memory:", NULL);
    struct submitter threads[THREADS];
    t_exec(conn, "CREATE TABLE t(id INTEGER PRIMARY KEY, thread INTEGER, seq INTEGER)");
    for (size_t i = 0; i < THREADS; i++) {
        threads[i].conn = conn;
        threads[i].number = (int64_t)i;
        T_CHECK(pthread_create(&threads[i].thread, NULL, submit_while_it_runs, &threads[i]) == 0);
    }
    while (t_int(conn, "SELECT count(*) FROM t") < THREADS * EACH)
        ;
    for (size_t i = 0; i < THREADS; i++)
        T_CHECK(pthread_join(threads[i].thread, NULL) == 0);
    while (ll_engine_outstanding(t->engine) > 0)
        t_turn(t->engine);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), THREADS * EACH);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t a JOIN t b USING(thread)"
                        " WHERE a.id < b.id AND a.seq >= b.seq"),
            0);
    ll_stats stats = t_stats(t->engine);
    T_CHECK(stats.submitted == stats.completed && stats.failed == 0);
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(inserts_from_one_thread),
        T_TEST(a_chain_of_callbacks),
        T_TEST(threads_submit_to_one_connection),
        T_TEST(threads_submit_while_it_runs),
    };
    return T_RUN(tests);
}
