/* The gates with real threads: several files from many connections, turns in a shared cache while a statement
 * is held in the middle, and a transaction that cannot go on beside one that commits. */
#include "support/support.h"

#include "base/fault.h"

#include <stdlib.h>

#define URI "file:gates_shared?mode=memory&cache=shared"

/* ---- several files ---- */

enum {
    CLIENTS = 4
};

struct client {
    ll_conn *conn;
    size_t rounds, done, failed;
};

static void next_round(struct client *c);

static void count_failed(ll_request *request, void *user)
{
    struct client *c = user;
    c->failed += ll_request_status(request) != LL_OK;
}

static void on_commit(ll_request *request, void *user)
{
    struct client *c = user;
    count_failed(request, user);
    c->done++;
    if (c->done < c->rounds)
        next_round(c);
}

static void next_round(struct client *c)
{
    ll_submit how = {.done = count_failed, .user = c}, last = {.done = on_commit, .user = c};
    T_CHECK(ll_txn_begin(c->conn, LL_BEGIN_IMMEDIATE, &how, NULL) == LL_PENDING);
    T_CHECK(ll_exec(c->conn, "INSERT INTO one.t VALUES(1)", NULL, 0, &how, NULL) == LL_PENDING);
    T_CHECK(ll_exec(c->conn, "INSERT INTO two.t VALUES(1)", NULL, 0, &how, NULL) == LL_PENDING);
    T_CHECK(ll_txn_commit(c->conn, &last, NULL) == LL_PENDING);
}

/* No deadlock, and nobody ever meets SQLite's own lock. */
static void opposite_orders(void **state)
{
    static const char *const names[] = {"a.db", "b.db"};
    t_env *t = *state;
    struct client clients[CLIENTS] = {0};
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    for (size_t i = 0; i < 2; i++)
        t_file_sql(t_path(t, names[i]), "PRAGMA journal_mode = WAL; CREATE TABLE t(x)");
    for (size_t i = 0; i < CLIENTS; i++) {
        struct client *c = &clients[i];
        c->rounds = getenv("LL_TEST_SLOW") ? 20 : 100;
        c->conn = t_open_with(t->engine, t_path(t, t_printf(t, "own%zu.db", i)), &options);
        t_exec(c->conn, t_printf(t, "ATTACH '%s' AS one", t_path(t, names[i % 2])));
        t_exec(c->conn, t_printf(t, "ATTACH '%s' AS two", t_path(t, names[1 - i % 2])));
        t_exec(c->conn, "PRAGMA one.synchronous = OFF");
        t_exec(c->conn, "PRAGMA two.synchronous = OFF");
    }
    ll_stats before = t_stats(t->engine);
    for (size_t i = 0; i < CLIENTS; i++)
        next_round(&clients[i]);
    for (size_t i = 0; i < CLIENTS; i++)
        t_until(t->engine, &clients[i].done, clients[i].rounds);
    ll_stats after = t_stats(t->engine);
    T_EQUAL(after.parks - before.parks, after.gate_waits - before.gate_waits);
    for (size_t i = 0; i < CLIENTS; i++) {
        T_EQUAL(clients[i].failed, 0);
        t_close(clients[i].conn);
    }
    for (size_t i = 0; i < 2; i++)
        T_EQUAL(t_file_int(t_path(t, names[i]), "SELECT count(*) FROM t"),
                CLIENTS * clients[0].rounds);
}

/* An engine ends: whoever of it holds or waits goes, and those of another engine behind them have their turn. */
static void the_engine_ends_while_one_stands_in_line(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    ll_engine *second = NULL;
    T_CHECK(ll_engine_new(NULL, &second) == LL_OK);
    t_file_sql(path, "PRAGMA journal_mode = WAL; CREATE TABLE t(x)");
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *holds = t_open_with(t->engine, path, &options),
            *waits = t_open_with(t->engine, path, &options),
            *behind = t_open_with(second, path, &options);
    t_exec(holds, "BEGIN IMMEDIATE");
    t_exec(holds, "INSERT INTO t VALUES(1)");
    t_told told = {0};
    ll_request *request = NULL;
    T_CHECK(ll_exec(waits, "INSERT INTO t VALUES(2)", NULL, 0,
                    &(ll_submit){.done = t_tell, .user = &told}, NULL) == LL_PENDING);
    while (t_stats(t->engine).gate_waits == 0)
        t_turn(t->engine);
    T_CHECK(ll_exec(behind, "INSERT INTO t VALUES(3)", NULL, 0, NULL, &request) == LL_PENDING);
    while (t_stats(second).gate_waits == 0)
        t_turn(second);
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_CHECK(told.calls == 1 && told.status == LL_ECANCELLED && told.outcome == LL_NOT_APPLIED);
    T_CHECK(ll_request_wait(request) == LL_OK);
    ll_request_unref(request);
    T_EQUAL(t_int(behind, "SELECT sum(x) FROM t"), 3);
    ll_conn_unref(holds);
    ll_conn_unref(waits);
    t_close(behind);
    ll_engine_free(second);
}

/* ---- a shared cache ---- */

static ll_conn *open_shared(t_env *t)
{
    ll_open_options options = {.flags = LL_OPEN_URI, .busy_timeout_ns = T_HOUR};
    return t_open_with(t->engine, URI, &options);
}

/* [M] A read on the loop waited 347 ms in the cache's mutex for a scan on a worker, and where the scan called a
 * function that needed the loop's lock, for good. */
static void a_turn_is_waited_for_without_a_thread(void **state)
{
    enum {
        CANCEL,
        DEADLINE,
        INTERRUPT,
        READ,
        WAITERS
    };
    t_env *t = *state;
    t_engine(t, &(ll_engine_options){.max_workers = 2});
    t_gate *gate = t_gate_new(t);
    ll_conn *scans = open_shared(t), *conns[WAITERS];
    ll_request *list[WAITERS] = {NULL}, *scan = NULL;
    for (size_t i = 0; i < WAITERS; i++)
        conns[i] = open_shared(t);
    ll_conn *elsewhere = t_open(t, "b.db");
    t_exec(scans, "CREATE TABLE t(x)");
    t_exec(scans, "INSERT INTO t VALUES(1), (2)");
    t_gate_install(gate, scans);
    T_CHECK(ll_query(scans, "SELECT gate(x) FROM t", NULL, 0, NULL, &scan) == LL_PENDING);
    t_gate_entered(gate, 1);
    T_CHECK(ll_query(conns[DEADLINE], "SELECT x FROM t", NULL, 0, &(ll_submit){.timeout_ns = T_MS},
                     &list[DEADLINE]) == LL_PENDING);
    T_CHECK(ll_request_wait(list[DEADLINE]) == LL_ETIMEOUT);
    uint64_t waits = t_stats(t->engine).cache_waits;
    for (size_t i = 0; i < WAITERS; i++)
        T_CHECK(i == DEADLINE ||
                ll_query(conns[i], "SELECT x FROM t", NULL, 0, NULL, &list[i]) == LL_PENDING);
    while (t_stats(t->engine).cache_waits < waits + WAITERS - 1)
        t_turn(t->engine);
    for (int i = 0; i < 20; i++) /* the second worker is free */
        T_EQUAL(t_int(elsewhere, "SELECT 5"), 5);
    T_CHECK(ll_request_cancel(list[CANCEL]) == LL_OK);
    T_CHECK(ll_request_wait(list[CANCEL]) == LL_ECANCELLED);
    T_CHECK(ll_conn_interrupt(conns[INTERRUPT]) == LL_OK);
    T_CHECK(ll_request_wait(list[INTERRUPT]) == LL_ESQL);
    T_CHECK(t_stats(t->engine).threads_peak <= 2);
    T_CHECK(!ll_request_is_done(list[READ]) && !ll_request_is_done(scan));
    ll_request *closing = NULL; /* has to wait, too: it touches the cache */
    T_CHECK(ll_conn_close(conns[CANCEL], NULL, &closing) == LL_PENDING);
    t_gate_open(gate);
    T_CHECK(ll_request_wait(scan) == LL_OK);
    T_CHECK(ll_request_wait(list[READ]) == LL_OK);
    T_CHECK(ll_request_wait(closing) == LL_OK);
    ll_request_unref(closing);
    ll_request_unref(scan);
    for (size_t i = 0; i < WAITERS; i++) {
        ll_request_unref(list[i]);
        if (i == CANCEL)
            ll_conn_unref(conns[i]);
        else
            t_close(conns[i]);
    }
    t_close(elsewhere);
    t_close(scans);
}

static void the_engine_ends_while_one_waits_for_its_turn(void **state)
{
    t_env *t = *state;
    t_gate *gate = t_gate_new(t);
    ll_conn *scans = open_shared(t), *waits = open_shared(t);
    t_told scan = {0}, read = {0};
    t_exec(scans, "CREATE TABLE t(x)");
    t_gate_install(gate, scans);
    T_CHECK(ll_query(scans, T_ENDLESS "SELECT max(seen(x)), (SELECT count(*) FROM t) FROM c", NULL,
                     0, &(ll_submit){.done = t_tell, .user = &scan}, NULL) == LL_PENDING);
    t_gate_entered(gate, 1);
    T_CHECK(ll_query(waits, "SELECT x FROM t", NULL, 0, &(ll_submit){.done = t_tell, .user = &read},
                     NULL) == LL_PENDING);
    while (t_stats(t->engine).cache_waits == 0)
        t_turn(t->engine);
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_CHECK(scan.calls == 1 && scan.status == LL_ECANCELLED);
    T_CHECK(read.calls == 1 && read.status == LL_ECANCELLED && read.outcome == LL_NOT_APPLIED);
    ll_conn_unref(scans);
    ll_conn_unref(waits);
}

/* Its turn has come, and there is no thread for it: it is told so, and the next one's turn comes. */
static void no_thread_for_the_next(void **state)
{
    t_env *t = *state;
    t_gate *gate = t_gate_new(t);
    ll_engine *second = NULL;
    T_CHECK(ll_engine_new(&(ll_engine_options){.linger_ns = T_MS}, &second) == LL_OK);
    ll_open_options options = {.flags = LL_OPEN_URI, .busy_timeout_ns = T_HOUR};
    ll_conn *scans = open_shared(t), *last = open_shared(t),
            *next = t_open_with(second, URI, &options);
    t_exec(scans, "CREATE TABLE t(x)");
    t_exec(scans, "INSERT INTO t VALUES(1)");
    t_gate_install(gate, scans);
    ll_request *scan = NULL, *fails = NULL, *read = NULL;
    T_CHECK(ll_query(scans, "SELECT gate(x) FROM t", NULL, 0, NULL, &scan) == LL_PENDING);
    t_gate_entered(gate, 1);
    T_CHECK(ll_query(next, "SELECT x FROM t", NULL, 0, NULL, &fails) == LL_PENDING);
    while (t_stats(second).cache_waits == 0 || t_stats(second).threads > 0)
        t_turn(second); /* nothing is due there, so the worker leaves */
    uint64_t waits = t_stats(t->engine).cache_waits;
    T_CHECK(ll_query(last, "SELECT x FROM t", NULL, 0, NULL, &read) == LL_PENDING);
    while (t_stats(t->engine).cache_waits == waits)
        t_turn(t->engine);
    lli_fault_arm(LLI_FAULT_THREAD, 1);
    t_gate_open(gate);
    T_CHECK(ll_request_wait(scan) == LL_OK);
    T_CHECK(ll_request_wait(read) == LL_OK);
    T_CHECK(lli_fault_fired());
    lli_fault_disarm();
    T_CHECK(ll_request_wait(fails) == LL_ESYS);
    t_is(fails, LL_ESYS, LL_NOT_APPLIED);
    ll_request_unref(scan);
    ll_request_unref(fails);
    ll_request_unref(read);
    T_EQUAL(t_int(next, "SELECT x FROM t"), 1);
    t_close(next);
    t_close(last);
    t_close(scans);
    ll_engine_free(second);
}

/* Many connections, transactions and reads; nothing fails, nothing is lost. */
static void many_share_one_cache(void **state)
{
    enum {
        SHARERS = 6
    };
    t_env *t = *state;
    size_t each = getenv("LL_TEST_SLOW") ? 10 : 50, done = 0, wanted = 0;
    ll_conn *conns[SHARERS];
    for (size_t i = 0; i < SHARERS; i++)
        conns[i] = open_shared(t);
    t_exec(conns[0], "CREATE TABLE t(who, x)");
    for (size_t k = 0; k < each; k++)
        for (size_t i = 0; i < SHARERS; i++) {
            ll_submit how = {.done = t_count, .user = &done};
            ll_value values[] = {ll_integer((int64_t)i), ll_integer((int64_t)k)};
            ll_sql insert = {.text = "INSERT INTO t VALUES(?, ?)",
                             .size = LL_NUL_TERMINATED,
                             .params = {.values = values, .count = 2},
                             .begin_before = i % 2 ? LL_BEGIN_DEFERRED : LL_BEGIN_NONE};
            wanted += 3;
            T_CHECK(ll_conn_submit(conns[i], &insert, &how, NULL) == LL_PENDING);
            /* A commit of nothing may be done at once. */
            done += ll_txn_commit(conns[i], &how, NULL) == LL_OK;
            T_CHECK(ll_query(conns[i], "SELECT count(*) FROM t", NULL, 0, &how, NULL) ==
                    LL_PENDING);
        }
    t_until(t->engine, &done, wanted);
    T_EQUAL(t_stats(t->engine).failed, 0);
    T_EQUAL(t_stats(t->engine).inline_hits, 0);
    T_EQUAL(t_int(conns[0], "SELECT count(*) FROM t"), SHARERS * each);
    for (size_t i = 0; i < SHARERS; i++)
        t_close(conns[i]);
}

static int open_plain(void *arg, sqlite3 **ret_db, char **ret_message)
{
    (void)arg;
    (void)ret_message;
    return sqlite3_open_v2(URI, ret_db,
                           SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
}

static int close_plain(void *arg, sqlite3 *db)
{
    (void)arg;
    return sqlite3_close(db);
}

/* Handles that somebody else has opened, beside one that looplite knows nothing of. */
static void adopted_ones_share_a_cache(void **state)
{
    t_env *t = *state;
    sqlite3 *plain = NULL;
    T_CHECK(open_plain(NULL, &plain, NULL) == SQLITE_OK);
    t_raw(plain, "CREATE TABLE t(x)");
    ll_adopt adopt = {.open = open_plain, .close = close_plain};
    ll_open_options options = {.flags = LL_OPEN_SHARED_CACHE, .busy_timeout_ns = T_HOUR};
    ll_conn *conns[2];
    for (size_t i = 0; i < 2; i++) {
        ll_request *request = NULL;
        T_CHECK(t_end(ll_conn_open_adopted(t->engine, &adopt, &options, NULL, &conns[i], &request),
                      request) == LL_OK);
        ll_request_unref(request);
    }
    t_exec(conns[0], "BEGIN");
    t_exec(conns[0], "INSERT INTO t VALUES(1)");
    ll_request *read = NULL;
    T_CHECK(ll_query(conns[1], "SELECT x FROM t", NULL, 0, NULL, &read) == LL_PENDING);
    while (t_stats(t->engine).gate_waits == 0)
        t_turn(t->engine);
    T_CHECK(!ll_request_is_done(read));
    t_exec(conns[0], "COMMIT");
    T_CHECK(ll_request_wait(read) == LL_OK);
    ll_request_unref(read);
    t_raw(plain, "BEGIN; INSERT INTO t VALUES(2)"); /* is in no line */
    uint64_t parks = t_stats(t->engine).parks;
    T_CHECK(ll_query(conns[1], "SELECT x FROM t", NULL, 0, NULL, &read) == LL_PENDING);
    while (t_stats(t->engine).parks < parks + 2)
        t_turn(t->engine);
    t_raw(plain, "COMMIT");
    T_CHECK(ll_request_wait(read) == LL_OK);
    ll_request_unref(read);
    t_close(conns[0]);
    t_close(conns[1]);
    t_raw_close(plain);
}

/* ---- reading, then writing, beside a writer ---- */

/* [M] Made to wait it would keep its read lock, and the writer's COMMIT would time out as well. */
static void an_upgrade_beside_a_committing_writer(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path, "PRAGMA journal_mode = DELETE; CREATE TABLE t(x); INSERT INTO t VALUES(1)");
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *reader = t_open_with(t->engine, path, &options),
            *writer = t_open_with(t->engine, path, &options);
    for (int committing = 0; committing < 2; committing++) {
        t_exec(reader, "BEGIN");
        T_CHECK(t_int(reader, "SELECT count(*) FROM t") > 0);
        t_exec(writer, "BEGIN IMMEDIATE");
        t_exec(writer, "INSERT INTO t VALUES(2)");
        ll_request *commit = NULL;
        if (committing) { /* waits for the reader, in SQLite */
            T_CHECK(ll_txn_commit(writer, NULL, &commit) == LL_PENDING);
            sqlite3 *other = t_raw_open(path); /* PENDING is taken when nobody can begin to read */
            while (t_raw_try(other, "SELECT count(*) FROM t") == SQLITE_OK)
                t_turn(t->engine);
            t_raw_close(other);
        }
        uint64_t waits = t_stats(t->engine).gate_waits, parks = t_stats(t->engine).parks;
        ll_request *upgrade = t_exec_fails(reader, "INSERT INTO t VALUES(3)", LL_EBUSY);
        t_is(upgrade, LL_EBUSY, LL_NOT_APPLIED);
        ll_request_unref(upgrade);
        T_EQUAL(t_stats(t->engine).gate_waits, waits);
        T_EQUAL(t_stats(t->engine).parks, parks); /* at once, and the timeout is an hour */
        T_CHECK(t_state(reader).in_transaction);
        if (!committing)
            T_CHECK(ll_txn_commit(writer, NULL, &commit) == LL_PENDING);
        T_CHECK(!ll_request_is_done(commit));
        t_exec(reader, "ROLLBACK");
        T_CHECK(ll_request_wait(commit) == LL_OK);
        t_is(commit, LL_OK, LL_APPLIED);
        ll_request_unref(commit);
    }
    T_EQUAL(t_int(reader, "SELECT sum(x) FROM t"), 1 + 2 + 2);
    t_close(reader);
    t_close(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(opposite_orders),
        T_TEST(the_engine_ends_while_one_stands_in_line),
        T_TEST(a_turn_is_waited_for_without_a_thread),
        T_TEST(the_engine_ends_while_one_waits_for_its_turn),
        T_TEST(no_thread_for_the_next),
        T_TEST(many_share_one_cache),
        T_TEST(adopted_ones_share_a_cache),
        T_TEST(an_upgrade_beside_a_committing_writer),
    };
    return T_RUN(tests);
}
