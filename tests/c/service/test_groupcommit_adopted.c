/* Group commit with handles of the program's own, as the writer and as homes: the answers are those of the handle, what
 * the program does on it in between counts, and whoever is inside a handle holds up nobody else. */
#include "support/support.h"

#include <pthread.h>

enum {
    HOMES = 4,
    ROUNDS = 25
};

struct own {
    t_env *t;
    sqlite3 *dbs[HOMES + 1]; /* the last one is the writer's */
    ll_conn *conns[HOMES + 1];
    ll_writer *writer;
};

static void own_begin(struct own *o, t_env *t, const char *journal)
{
    *o = (struct own){.t = t};
    static const char *const pragmas[] = {"foreign_keys=ON", NULL};
    ll_open_options options = {.pragmas = pragmas, .busy_timeout_ns = T_HOUR};
    const char *path = t_path(t, journal);
    for (size_t i = 0; i <= HOMES; i++) {
        /* through looplite's VFS: else it is not known which file it is, and each stays at home */
        T_CHECK(sqlite3_open_v2(path, &o->dbs[i], SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                                "looplite") == SQLITE_OK);
        if (i == 0)
            t_raw(o->dbs[0],
                  t_printf(t, "PRAGMA journal_mode=%s; CREATE TABLE t(x UNIQUE)", journal));
        ll_request *request = NULL;
        T_CHECK(t_end(ll_conn_adopt(t->engine, o->dbs[i], &options, NULL, &o->conns[i], &request),
                      request) == LL_OK);
        ll_request_unref(request);
    }
    T_CHECK(ll_writer_new(o->conns[HOMES], NULL, &o->writer) == LL_OK);
}

static void own_end(struct own *o)
{
    ll_writer_free(o->writer);
    for (size_t i = 0; i <= HOMES; i++) {
        t_close(o->conns[i]);
        T_CHECK(sqlite3_next_stmt(o->dbs[i], NULL) == NULL);
        t_raw_close(o->dbs[i]);
    }
}

static ll_request *own_ask(struct own *o, size_t home, const char *text, size_t *done)
{
    ll_request *request = NULL;
    ll_sql sql = {.text = text, .size = LL_NUL_TERMINATED};
    ll_submit how = {.done = t_count, .user = done};
    ll_conn *conn = home < HOMES ? o->conns[home] : NULL;
    ll_status status = ll_writer_submit(o->writer, conn, &sql, &how, &request);
    T_CHECK(status == LL_PENDING || status == LL_OK);
    *done += status == LL_OK;
    return request;
}

static ll_request *own_run(struct own *o, size_t home, const char *text)
{
    size_t done = 0;
    ll_request *request = own_ask(o, home, text, &done);
    t_until(o->t->engine, &done, 1);
    return request;
}

static void they_answer_as_if_they_had_written(void **state)
{
    static const char *const journals[] = {"wal", "delete"};
    for (size_t j = 0; j < 2; j++) {
        struct own o;
        own_begin(&o, *state, journals[j]);
        int64_t total[HOMES] = {0};
        for (int round = 0; round < ROUNDS; round++) {
            ll_request *requests[HOMES + 1];
            size_t done = 0;
            for (size_t i = 0; i <= HOMES; i++)
                requests[i] = own_ask(&o, i,
                                      t_printf(o.t, "INSERT INTO t VALUES(%d), (-%d)",
                                               round * 10 + (int)i + 1, round * 10 + (int)i + 1),
                                      &done);
            t_until(o.t->engine, &done, HOMES + 1);
            for (size_t i = 0; i <= HOMES; i++) {
                t_is(requests[i], LL_OK, LL_APPLIED);
                T_EQUAL(ll_request_changes(requests[i]), 2);
                if (i < HOMES) {
                    T_EQUAL(sqlite3_last_insert_rowid(o.dbs[i]), ll_request_rowid(requests[i]));
                    total[i] += 2;
                    T_EQUAL(t_int(o.conns[i], "SELECT changes()"), 2);
                    T_EQUAL(t_int(o.conns[i], "SELECT total_changes()"), total[i]);
                    T_EQUAL(t_int(o.conns[i], "SELECT last_insert_rowid()"),
                            ll_request_rowid(requests[i]));
                }
                ll_request_unref(requests[i]);
            }
        }
        T_EQUAL(t_raw_int(o.dbs[0], "SELECT count(*) FROM t"), ROUNDS * (HOMES + 1) * 2);
        ll_writer_stats stats;
        ll_writer_get_stats(o.writer, &stats);
        T_CHECK(stats.members > 0); /* most; one that meets a lock may stay at home */
        ll_request *request = own_run(&o, 0, "INSERT INTO t VALUES(1)");
        t_is(request, LL_ESQL, LL_NOT_APPLIED);
        ll_request_unref(request);
        own_end(&o);
    }
}

static void what_the_program_does_in_between_counts(void **state)
{
    struct own o;
    own_begin(&o, *state, "wal");
    ll_request_unref(own_run(&o, 0, "INSERT INTO t VALUES(1)"));
    /* a transaction of the handle's own: what is submitted now is part of it */
    t_raw(o.dbs[0], "BEGIN; INSERT INTO t VALUES(2)");
    ll_request *request = own_run(&o, 0, "INSERT INTO t VALUES(3)");
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    t_raw(o.dbs[0], "ROLLBACK");
    T_EQUAL(t_raw_int(o.dbs[0], "SELECT count(*) FROM t"), 1);
    /* a temporary trigger, which the writer does not have */
    t_raw(o.dbs[1], "CREATE TEMP TABLE seen(x); CREATE TEMP TRIGGER r AFTER INSERT ON main.t BEGIN "
                    "INSERT INTO seen VALUES(new.x); END");
    request = own_run(&o, 1, "INSERT INTO t VALUES(4)");
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    T_EQUAL(t_raw_int(o.dbs[1], "SELECT x FROM seen"), 4);
    own_end(&o);
}

/* ---- somebody is inside a handle ---- */

struct inside {
    sqlite3 *db;
    pthread_barrier_t in, out;
};

static void *stays_inside(void *arg)
{
    struct inside *inside = arg;
    sqlite3_mutex_enter(sqlite3_db_mutex(inside->db));
    pthread_barrier_wait(&inside->in);
    pthread_barrier_wait(&inside->out);
    sqlite3_mutex_leave(sqlite3_db_mutex(inside->db));
    return NULL;
}

static void who_is_inside_holds_up_nobody_else(void **state)
{
    struct own o;
    own_begin(&o, *state, "wal");
    for (size_t i = 0; i < HOMES; i++)
        ll_request_unref(own_run(&o, i, t_printf(o.t, "INSERT INTO t VALUES(%d)", (int)i)));
    struct inside inside = {.db = o.dbs[0]};
    pthread_t thread;
    T_CHECK(pthread_barrier_init(&inside.in, NULL, 2) == 0);
    T_CHECK(pthread_barrier_init(&inside.out, NULL, 2) == 0);
    T_CHECK(pthread_create(&thread, NULL, stays_inside, &inside) == 0);
    pthread_barrier_wait(&inside.in);
    size_t held = 0;
    ll_request *request = own_ask(&o, 0, "INSERT INTO t VALUES(10)", &held);
    for (size_t i = 1; i <= HOMES; i++)
        ll_request_unref(own_run(&o, i, t_printf(o.t, "INSERT INTO t VALUES(%d)", 10 + (int)i)));
    T_EQUAL(held, 0);
    pthread_barrier_wait(&inside.out);
    t_until(o.t->engine, &held, 1);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    T_CHECK(pthread_join(thread, NULL) == 0);
    (void)pthread_barrier_destroy(&inside.in);
    (void)pthread_barrier_destroy(&inside.out);
    T_EQUAL(t_raw_int(o.dbs[0], "SELECT count(*) FROM t"), 2 * HOMES + 1);
    own_end(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(they_answer_as_if_they_had_written),
        T_TEST(what_the_program_does_in_between_counts),
        T_TEST(who_is_inside_holds_up_nobody_else),
    };
    return T_RUN(tests);
}
