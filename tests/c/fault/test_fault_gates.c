/* Every allocation and every VFS call fails once, in turn, while connections with several files and with a shared
 * cache are opened, stand in line, attach and detach. Whatever fails, nobody is forgotten in a line: all requests
 * end, what comes later works, and nothing leaks. In single steps, so the n-th call is always the same. */
#include "support/support.h"

#include "base/fault.h"
#include "engine/conn.h"
#include "engine/step.h"

#include <unistd.h>

enum {
    CONNS = 3,
    MOST = 32
};

struct run {
    t_env *t;
    struct lli_step step;
    enum lli_fault_kind kind;
    unsigned long nth;
    ll_request *requests[MOST];
    size_t count, errors;
};

/* Accepts the end of a request, if a fault explains it. */
static void ended(struct run *r, ll_request *request)
{
    T_CHECK(ll_request_is_done(request));
    ll_status status = ll_request_status(request);
    if (status == LL_OK)
        return;
    r->errors++;
    const ll_error *error = ll_request_error(request);
    int code = error->sqlite_code & 0xff;
    bool explained = lli_fault_fired() && (status == LL_ENOMEM || status == LL_ECLOSED ||
                                           status == LL_ESQL || status == LL_EBUSY);
    if (!explained || code == SQLITE_CORRUPT || code == SQLITE_MISUSE)
        t_fail(__FILE__, __LINE__, "fault %lu: %s: %s", r->nth, ll_status_name(status),
               error->message);
}

static void submit(struct run *r, ll_conn *conn, const char *sql)
{
    ll_request *request = NULL;
    T_CHECK(r->count < MOST);
    if (!conn)
        return;
    ll_status status = ll_exec(conn, sql, NULL, 0, NULL, &request);
    if (status < 0) {
        T_CHECK(lli_fault_fired() && (status == LL_ENOMEM || status == LL_ECLOSED));
        r->errors++;
        return;
    }
    r->requests[r->count++] = request;
}

static void settle(struct run *r)
{
    lli_step_settle(&r->step);
    for (size_t i = 0; i < r->count; i++) {
        ended(r, r->requests[i]);
        ll_request_unref(r->requests[i]);
    }
    r->count = 0;
}

static ll_conn *open_one(struct run *r, const char *path, unsigned flags)
{
    static const char *const pragmas[] = {"synchronous=OFF", NULL};
    ll_open_options options = {.flags = flags, .pragmas = pragmas, .busy_timeout_ns = 100 * T_MS};
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    ll_status status = ll_conn_open(r->step.engine, path, &options, NULL, &conn, &request);
    if (status < 0) {
        T_CHECK(lli_fault_fired() && conn == NULL);
        r->errors++;
        return NULL;
    }
    r->requests[r->count++] = request;
    return conn;
}

/* The first one holds what the others want. */
static void stand_in_line(struct run *r, ll_conn **conns, const char *table)
{
    char insert[64];
    snprintf(insert, sizeof insert, "INSERT INTO %s VALUES(1)", table);
    submit(r, conns[0], "BEGIN IMMEDIATE");
    submit(r, conns[0], insert);
    lli_step_advance(&r->step, 60 * T_MS);
    settle(r);
    submit(r, conns[1], insert);
    submit(r, conns[2], "CREATE TEMP TABLE IF NOT EXISTS own(x)");
    submit(r, conns[2], "INSERT INTO own VALUES(1)");
    submit(r, conns[2], insert);
    submit(r, conns[0], "COMMIT");
    settle(r);
    ll_request *rollback = NULL; /* should that have failed; nothing to do is fine */
    if (ll_txn_rollback(conns[0], NULL, &rollback) >= 0)
        lli_step_settle(&r->step);
    ll_request_unref(rollback);
}

static void program(struct run *r, const char *a, const char *b)
{
    if (lli_step_new(&r->step, 2, NULL, NULL) != LL_OK) {
        T_CHECK(lli_fault_fired());
        return;
    }
    char attach_a[700], attach_b[700], shared[700];
    snprintf(attach_a, sizeof attach_a, "ATTACH '%s' AS other", a);
    snprintf(attach_b, sizeof attach_b, "ATTACH '%s' AS other", b);
    snprintf(shared, sizeof shared, "file:%s?cache=shared", a);
    ll_conn *conns[CONNS] = {open_one(r, a, 0), open_one(r, a, 0), open_one(r, b, 0)};
    settle(r);
    submit(r, conns[0], "CREATE TABLE IF NOT EXISTS t(x)");
    settle(r);
    submit(r, conns[2], "CREATE TABLE IF NOT EXISTS t(x)");
    settle(r);
    submit(r, conns[1], attach_b);
    submit(r, conns[2], attach_a);
    settle(r);
    if (r->errors == 0)
        stand_in_line(r, conns, "t");
    submit(r, conns[1], "DETACH other");
    settle(r);
    for (size_t i = 0; i < CONNS; i++)
        ll_conn_unref(conns[i]);
    lli_step_settle(&r->step);
    for (size_t i = 0; i < CONNS; i++)
        conns[i] = open_one(r, shared, LL_OPEN_URI);
    settle(r);
    if (r->errors == 0)
        stand_in_line(r, conns, "t");
    for (size_t i = 0; i < CONNS; i++)
        ll_conn_unref(conns[i]);
    /* Whatever happened: nobody is left in a line that somebody who comes now would stand behind. */
    ll_conn *last = open_one(r, a, 0);
    settle(r);
    size_t errors = r->errors;
    submit(r, last, "BEGIN IMMEDIATE");
    submit(r, last, "ROLLBACK");
    uint64_t now = r->step.now_ns;
    settle(r);
    T_CHECK(r->step.now_ns == now || r->errors > errors);
    ll_conn_unref(last);
    lli_step_free(&r->step);
}

static void fail_each_once(t_env *t, enum lli_fault_kind kind)
{
    unsigned long stride = getenv("LL_TEST_SLOW") ? 7 : 1, nth = 0;
    for (bool fired = true; fired;) {
        nth += nth < 20 ? 1 : stride;
        struct run r = {.t = t, .kind = kind, .nth = nth};
        char names[2][600];
        size_t before = ll_live_objects();
        for (int i = 0; i < 2; i++)
            snprintf(names[i], sizeof names[i], "%s/%c%lu.db", t->dir, 'a' + i, nth);
        alarm(0);
        t_watchdog(); /* each run has its own time */
        lli_fault_arm(kind, nth);
        program(&r, names[0], names[1]);
        fired = lli_fault_fired();
        lli_fault_disarm();
        T_EQUAL(ll_live_objects(), before);
        T_CHECK(fired || r.errors == 0);
        for (int i = 0; i < 2; i++) {
            if (access(names[i], F_OK) == 0)
                t_integrity(names[i]);
            unlink(names[i]);
        }
    }
    T_CHECK(nth > 50);
    print_message("the last of about %lu was reached\n", nth - 1);
}

static void allocations(void **state)
{
    fail_each_once(*state, LLI_FAULT_ALLOC);
}

static void vfs_calls(void **state)
{
    fail_each_once(*state, LLI_FAULT_VFS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(allocations),
        T_TEST(vfs_calls),
    };
    return T_RUN(tests);
}
