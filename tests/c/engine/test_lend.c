/* ll_stmt_read(): rows that are lent by a prepared handle, and all that makes a request after all. */
#include "world.h"

static const char *const wal[] = {"journal_mode=WAL", NULL};

struct lender {
    struct world w;
    ll_conn *conn;
};

static void begin(struct lender *l, t_env *t, bool with_wal)
{
    world_needs_guarded_files(t);
    world_begin(&l->w, t);
    ll_open_options options = {.pragmas = with_wal ? wal : NULL};
    l->conn = world_open(&l->w, with_wal ? "wal.db" : "delete.db", &options);
    world_exec(&l->w, l->conn, "CREATE TABLE t(id INTEGER PRIMARY KEY, x)");
    world_exec(&l->w, l->conn,
               "INSERT INTO t(id, x) " T_ENDLESS "SELECT x, 'row ' || x FROM c LIMIT 100");
}

static void end(struct lender *l, ll_stmt *stmt)
{
    ll_stmt_free(stmt);
    lli_step_settle(&l->w.step);
    world_close(&l->w, l->conn);
    world_end(&l->w);
}

static ll_stmt *prepare(struct lender *l, const char *text)
{
    ll_request *request = NULL;
    T_CHECK(ll_prepare(l->conn, text, LL_NUL_TERMINATED, NULL, &request) == LL_PENDING);
    lli_step_settle(&l->w.step);
    t_is(request, LL_OK, LL_APPLIED);
    ll_stmt *stmt = ll_request_take_stmt(request);
    ll_request_unref(request);
    return stmt;
}

/* Reads by this key. The rows, lent (*ret_request is NULL) or kept by the request, which has ended. */
static const ll_batch *read(struct lender *l, ll_stmt *stmt, ll_value key, const ll_submit *how,
                            ll_request **ret_request, ll_batch **ret_mine)
{
    ll_params params = {.values = &key, .count = 1};
    const ll_batch *rows = NULL;
    *ret_mine = NULL;
    ll_status status = ll_stmt_read(stmt, &params, how, &rows, ret_request);
    T_CHECK(!rows == !!*ret_request); /* one of the two */
    if (rows) {
        T_CHECK(status == LL_OK);
        return rows;
    }
    if (status == LL_PENDING)
        lli_step_settle(&l->w.step);
    T_CHECK(ll_request_is_done(*ret_request));
    return *ret_mine = ll_request_take_batch(*ret_request);
}

/* The only text of the only row; "" if there is none. True: it was lent. */
static bool reads(struct lender *l, ll_stmt *stmt, ll_value key, const ll_submit *how,
                  const char *expected)
{
    ll_request *request;
    ll_batch *mine;
    const ll_batch *rows = read(l, stmt, key, how, &request, &mine);
    T_EQUAL(ll_batch_rows(rows), expected[0] ? 1 : 0);
    if (expected[0])
        T_SAME_TEXT(ll_batch_row(rows, 0)[0].as.text, expected);
    ll_batch_free(mine);
    ll_request_unref(request);
    return request == NULL;
}

static void rows_are_lent(void **state)
{
    for (int with_wal = 0; with_wal < 2; with_wal++) {
        struct lender l;
        begin(&l, *state, with_wal);
        ll_stmt *stmt = prepare(&l, "SELECT x FROM t WHERE id = ?");
        T_CHECK(!reads(&l, stmt, ll_integer(1), NULL, "row 1")); /* nothing is known of it yet */
        ll_stats before = world_stats(&l.w);
        T_CHECK(reads(&l, stmt, ll_integer(2), NULL, "row 2"));
        T_CHECK(reads(&l, stmt, ll_integer(1000), NULL, ""));
        T_CHECK(reads(&l, stmt, ll_text("3"), NULL, "row 3"));
        T_CHECK(reads(&l, stmt, ll_null(), NULL, ""));
        ll_stats after = world_stats(&l.w);
        T_EQUAL(after.inline_hits, before.inline_hits + 4);
        T_EQUAL(after.immediate, before.immediate + 4);
        T_EQUAL(after.worker_runs, before.worker_runs);
        T_CHECK(t_state(l.conn).idle);
        end(&l, stmt);
    }
}

/* Programs that halt behind their row, and such as go on. */
static void as_many_rows_as_there_are(void **state)
{
    static const struct {
        const char *text;
        size_t rows;
    } cases[] = {
        {"SELECT ?", 1},
        {"SELECT ? UNION ALL SELECT 2", 2},
        {"SELECT x FROM t WHERE id IN (?, 4, 5)", 3},
        {"SELECT max(id) FROM t WHERE ? > 0", 1},
        {"VALUES(?), (2), (3)", 3},
        {"SELECT x FROM t WHERE id = ? LIMIT 0", 0},
        {"SELECT x FROM t WHERE id > ? * 90", 10},
    };
    struct lender l;
    begin(&l, *state, true);
    for (size_t i = 0; i < LLI_COUNT(cases); i++) {
        ll_stmt *stmt = prepare(&l, cases[i].text);
        size_t lent = 0;
        for (int k = 0; k < 4; k++) {
            ll_request *request;
            ll_batch *mine;
            const ll_batch *rows = read(&l, stmt, ll_integer(1), NULL, &request, &mine);
            T_EQUAL(ll_batch_rows(rows), cases[i].rows);
            lent += request == NULL;
            ll_batch_free(mine);
            ll_request_unref(request);
        }
        T_CHECK(lent > 0);
        ll_stmt_free(stmt);
    }
    end(&l, NULL);
}

static void what_is_committed_meanwhile_is_seen(void **state)
{
    t_env *t = *state;
    for (int with_wal = 0; with_wal < 2; with_wal++) {
        struct lender l;
        begin(&l, t, with_wal);
        ll_stmt *stmt = prepare(&l, "SELECT x FROM t WHERE id = ?");
        for (int i = 0; i < 3; i++)
            reads(&l, stmt, ll_integer(7), NULL, "row 7"); /* a snapshot is held now, in WAL */
        sqlite3 *other = t_raw_open(t_path(t, with_wal ? "wal.db" : "delete.db"));
        if (with_wal) {
            t_raw(other, "UPDATE t SET x = 'new' WHERE id = 7");
            T_CHECK(reads(&l, stmt, ll_integer(7), NULL, "new"));
        }
        /* A schema that changed makes SQLite prepare it again, inside the step. */
        t_raw(other, "DROP TABLE t");
        t_raw(other, "CREATE TABLE t(id, x)");
        t_raw(other, "INSERT INTO t VALUES(7, 'a'), (7, 'b')");
        for (int i = 0; i < 3; i++) {
            ll_request *request;
            ll_batch *mine;
            T_EQUAL(ll_batch_rows(read(&l, stmt, ll_integer(7), NULL, &request, &mine)), 2);
            ll_batch_free(mine);
            ll_request_unref(request);
        }
        t_raw_close(other);
        end(&l, stmt);
    }
}

static void a_lock_that_is_not_free(void **state)
{
    t_env *t = *state;
    struct lender l;
    begin(&l, t, false);
    ll_stmt *stmt = prepare(&l, "SELECT x FROM t WHERE id = ?");
    reads(&l, stmt, ll_integer(1), NULL, "row 1");
    T_CHECK(reads(&l, stmt, ll_integer(1), NULL, "row 1"));
    sqlite3 *other = t_raw_open(t_path(t, "delete.db"));
    t_raw(other, "BEGIN EXCLUSIVE");
    ll_stats before = world_stats(&l.w);
    ll_value key = ll_integer(2);
    ll_params params = {.values = &key, .count = 1};
    const ll_batch *rows;
    ll_request *request;
    T_CHECK(ll_stmt_read(stmt, &params, NULL, &rows, &request) == LL_PENDING);
    T_CHECK(!rows && request);
    T_EQUAL(world_stats(&l.w).bounced_lock, before.bounced_lock + 1);
    t_raw(other, "COMMIT");
    t_raw_close(other);
    lli_step_settle(&l.w.step);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    T_CHECK(reads(&l, stmt, ll_integer(2), NULL, "row 2"));
    end(&l, stmt);
}

static void what_goes_wrong_is_told_by_a_request(void **state)
{
    struct lender l;
    begin(&l, *state, true);
    ll_stmt *stmt = prepare(&l, "SELECT x FROM t WHERE id = abs(?)");
    reads(&l, stmt, ll_integer(-1), NULL, "row 1");
    T_CHECK(reads(&l, stmt, ll_integer(-1), NULL, "row 1"));
    ll_request *request;
    ll_batch *mine;
    read(&l, stmt, ll_integer(INT64_MIN), NULL, &request, &mine); /* integer overflow */
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    T_CHECK(!mine);
    ll_request_unref(request);
    const ll_batch *rows;
    ll_status status = ll_stmt_read(stmt, NULL, NULL, &rows, &request); /* a parameter is missing */
    T_CHECK(status >= 0 && !rows);
    lli_step_settle(&l.w.step);
    t_is(request, LL_EPARAM, LL_NOT_APPLIED);
    ll_request_unref(request);
    T_CHECK(ll_stmt_read(NULL, NULL, NULL, &rows, &request) == LL_EINVAL);
    T_CHECK(ll_stmt_read(stmt, NULL, NULL, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_stmt_read(stmt, NULL, NULL, &rows, NULL) == LL_EINVAL);
    T_CHECK(reads(&l, stmt, ll_integer(-5), NULL, "row 5")); /* and nothing is left of it */
    end(&l, stmt);
}

static void what_only_a_request_can_do(void **state)
{
    T_NEEDS(T_HAS_RETURNING);
    struct lender l;
    begin(&l, *state, true);
    ll_stmt *stmt = prepare(&l, "SELECT x FROM t WHERE id = ?");
    ll_submit worker = {.flags = LL_SUBMIT_NO_INLINE}, soon = {.timeout_ns = LLI_MS / 2},
              later = {.timeout_ns = LLI_SECOND}, timed = {.flags = LL_SUBMIT_TIMED};
    reads(&l, stmt, ll_integer(1), NULL, "row 1");
    T_CHECK(!reads(&l, stmt, ll_integer(1), &worker, "row 1"));
    T_CHECK(!reads(&l, stmt, ll_integer(1), &soon, "row 1"));
    T_CHECK(reads(&l, stmt, ll_integer(1), &later, "row 1"));
    T_CHECK(!reads(&l, stmt, ll_integer(1), &timed, "row 1")); /* who else would tell the times? */
    l.w.step.engine->turn_used_ns = l.w.step.engine->turn_ns;  /* the turn is spent */
    T_CHECK(!reads(&l, stmt, ll_integer(1), NULL, "row 1"));
    T_CHECK(reads(&l, stmt, ll_integer(1), NULL, "row 1"));
    ll_stmt *write = prepare(&l, "INSERT INTO t(x) VALUES(?) RETURNING x");
    T_CHECK(!reads(&l, write, ll_text("one"), NULL, "one"));
    T_CHECK(!reads(&l, write, ll_text("two"), NULL, "two"));
    ll_stmt_free(write);
    end(&l, stmt);
}

static void what_is_queued_comes_first(void **state)
{
    struct lender l;
    begin(&l, *state, true);
    ll_stmt *stmt = prepare(&l, "SELECT x FROM t WHERE id = ?");
    reads(&l, stmt, ll_integer(1), NULL, "row 1");
    ll_request *update = NULL;
    T_CHECK(ll_exec(l.conn, "UPDATE t SET x = 'later' WHERE id = 1", NULL, 0, NULL, &update) ==
            LL_PENDING);
    T_CHECK(!reads(&l, stmt, ll_integer(1), NULL, "later"));
    ll_request_unref(update);
    T_CHECK(reads(&l, stmt, ll_integer(1), NULL, "later"));
    end(&l, stmt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(rows_are_lent),
        T_TEST(as_many_rows_as_there_are),
        T_TEST(what_is_committed_meanwhile_is_seen),
        T_TEST(a_lock_that_is_not_free),
        T_TEST(what_goes_wrong_is_told_by_a_request),
        T_TEST(what_only_a_request_can_do),
        T_TEST(what_is_queued_comes_first),
    };
    return T_RUN(tests);
}
