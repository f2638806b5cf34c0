/* durable_inserts.c: single inserts, each durable before it is answered (synchronous = FULL), by 100 tasks.
 *
 *     durable_inserts bare|alone|grouped|shared DATABASE SECONDS
 *
 * bare      one connection, autocommit, a bare sqlite3_step loop: what one fsync for each costs
 * alone     100 connections of looplite, each task submits its next insert when the last one is answered
 * grouped   the same through a writer (group commit)
 * shared    the same without connections of their own: the tasks share the writer's
 *
 * Prints {"ns": of one insert, "inserts": how many, "members": of a transaction, on average} as JSON; the first tenth
 * is warm-up. */
#include <looplite.h>
#include <looplite/sqlite.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SQL   "INSERT INTO item(name, price, stock) VALUES(?, ?, ?)"
#define TASKS 100

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void print(double span, uint64_t inserts, double members)
{
    printf("{\"ns\": %.1f, \"inserts\": %" PRIu64 ", \"members\": %.1f}\n", span / (double)inserts,
           inserts, members);
}

static int bare(const char *path, double seconds)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int failed = sqlite3_open(path, &db) != SQLITE_OK ||
                 sqlite3_exec(db, "PRAGMA synchronous = FULL", NULL, NULL, NULL) != SQLITE_OK ||
                 sqlite3_prepare_v2(db, SQL, -1, &stmt, NULL) != SQLITE_OK;
    uint64_t inserts = 0;
    double warm = now() + seconds * 1e8, began = 0;
    while (!failed && (began == 0 || now() < began + seconds * 1e9)) {
        if (began == 0 && now() >= warm) {
            began = now();
            inserts = 0;
        }
        sqlite3_bind_text(stmt, 1, "a thing", -1, SQLITE_STATIC);
        sqlite3_bind_double(stmt, 2, 1.5);
        sqlite3_bind_int(stmt, 3, 7);
        failed = sqlite3_step(stmt) != SQLITE_DONE || sqlite3_reset(stmt) != SQLITE_OK;
        inserts++;
    }
    if (failed)
        fprintf(stderr, "durable_inserts: %s\n", sqlite3_errmsg(db));
    else
        print(now() - began, inserts, 1);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return failed;
}

struct bench {
    ll_engine *engine;
    ll_conn *writing;
    ll_writer *writer; /* NULL: none */
    ll_conn *homes[TASKS];
    uint64_t inserts;
    unsigned running;
    bool stopping, failed;
};

struct task {
    struct bench *bench;
    ll_conn *home;
};

static void on_insert(ll_request *request, void *user);

static void insert(struct task *task)
{
    struct bench *bench = task->bench;
    ll_value values[] = {ll_text("a thing"), ll_real(1.5), ll_integer(7)};
    ll_sql sql = {.text = SQL,
                  .size = sizeof SQL - 1,
                  .params = {.values = values, .count = 3},
                  .flags = LL_SQL_DISCARD};
    ll_submit how = {.done = on_insert, .user = task};
    ll_status status = bench->writer ? ll_writer_submit(bench->writer, task->home, &sql, &how, NULL)
                                     : ll_conn_submit(task->home, &sql, &how, NULL);
    if (status == LL_PENDING) {
        bench->running++;
    } else {
        fprintf(stderr, "durable_inserts: %s\n", ll_last_error());
        bench->failed = true;
    }
}

static void on_insert(ll_request *request, void *user)
{
    struct task *task = user;
    struct bench *bench = task->bench;
    bench->running--;
    bench->inserts++;
    if (ll_request_status(request) != LL_OK) {
        fprintf(stderr, "durable_inserts: %s\n", ll_request_error(request)->message);
        bench->failed = true;
    }
    if (!bench->stopping && !bench->failed)
        insert(task);
}

static ll_conn *open_one(struct bench *bench, const char *path)
{
    static const char *const pragmas[] = {"synchronous=FULL", NULL};
    ll_open_options options = {.pragmas = pragmas, .busy_timeout_ns = UINT64_C(60000000000)};
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    ll_status status = ll_conn_open(bench->engine, path, &options, NULL, &conn, &request);
    if (status == LL_PENDING)
        status = ll_request_wait(request);
    ll_request_unref(request);
    bench->failed = bench->failed || status != LL_OK;
    return conn;
}

static void run_until(struct bench *bench, double until)
{
    while (!bench->failed && bench->running > 0 && (until == 0 || now() < until))
        if (ll_engine_wait(bench->engine, -1, NULL) != LL_OK)
            bench->failed = true;
}

static int looplite(const char *path, double seconds, bool grouped, bool shared)
{
    struct bench bench = {.running = 0};
    struct task tasks[TASKS];
    ll_writer_stats before = {0}, after = {0};
    if (ll_engine_new(NULL, &bench.engine) != LL_OK)
        return 1;
    bench.writing = open_one(&bench, path);
    if (grouped && ll_writer_new(bench.writing, NULL, &bench.writer) != LL_OK)
        bench.failed = true;
    for (int i = 0; i < TASKS; i++) {
        bench.homes[i] = shared ? NULL : open_one(&bench, path);
        tasks[i] = (struct task){&bench, bench.homes[i]};
    }
    for (int i = 0; i < TASKS && !bench.failed; i++)
        insert(&tasks[i]);
    run_until(&bench, now() + seconds * 1e8);
    double began = now();
    bench.inserts = 0;
    if (grouped)
        ll_writer_get_stats(bench.writer, &before);
    run_until(&bench, began + seconds * 1e9);
    double span = now() - began;
    uint64_t inserts = bench.inserts;
    if (grouped)
        ll_writer_get_stats(bench.writer, &after);
    bench.stopping = true;
    run_until(&bench, 0);
    uint64_t batches = after.batches - before.batches;
    if (!bench.failed)
        print(span, inserts,
              batches > 0 ? (double)(after.members - before.members) / (double)batches : 1);
    ll_writer_free(bench.writer);
    for (int i = 0; i < TASKS; i++)
        ll_conn_unref(bench.homes[i]);
    ll_conn_unref(bench.writing);
    ll_engine_free(bench.engine);
    return bench.failed;
}

int main(int argc, char **argv)
{
    if (argc == 4) {
        double seconds = atof(argv[3]);
        if (strcmp(argv[1], "bare") == 0)
            return bare(argv[2], seconds);
        if (strcmp(argv[1], "alone") == 0)
            return looplite(argv[2], seconds, false, false);
        if (strcmp(argv[1], "grouped") == 0)
            return looplite(argv[2], seconds, true, false);
        if (strcmp(argv[1], "shared") == 0)
            return looplite(argv[2], seconds, true, true);
    }
    fprintf(stderr, "usage: durable_inserts bare|alone|grouped|shared DATABASE SECONDS\n");
    return 2;
}
