/* The hooks of a connection: told what sqlite3 tells its own, on workers, until they are taken away. */
#include "support/support.h"

#include <pthread.h>

/* What hooks were told, as text: "+main.t:1 C R ". */
struct diary {
    pthread_t loop;
    char text[2000];
    size_t on_loop, back;
    int refuse; /* what the commit hook gives */
};

static void note(struct diary *diary, const char *text)
{
    if (pthread_equal(diary->loop, pthread_self()))
        diary->on_loop++;
    size_t used = strlen(diary->text);
    snprintf(diary->text + used, sizeof diary->text - used, "%s ", text);
}

static void on_update(void *user, ll_change change, const char *schema, const char *table,
                      int64_t rowid)
{
    char text[100];
    snprintf(text, sizeof text, "%d:%s.%s:%lld", (int)change, schema, table, (long long)rowid);
    note(user, text);
}

static int on_commit(void *user)
{
    struct diary *diary = user;
    note(diary, "C");
    return diary->refuse;
}

static void on_rollback(void *user)
{
    note(user, "R");
}

static void give_back(void *user)
{
    ((struct diary *)user)->back++;
}

static void raw_update(void *user, int change, const char *schema, const char *table,
                       sqlite3_int64 rowid)
{
    on_update(user, (ll_change)change, schema, table, rowid);
}

static void set(ll_conn *conn, const ll_hooks *hooks)
{
    ll_request *request = NULL;
    (void)t_end(ll_hooks_set(conn, hooks, NULL, &request), request);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
}

static ll_hooks all(struct diary *diary)
{
    diary->loop = pthread_self();
    return (ll_hooks){.update = on_update,
                      .commit = on_commit,
                      .rollback = on_rollback,
                      .user = diary,
                      .destroy = give_back};
}

static const char schema[] = "PRAGMA journal_mode=WAL;"
                             "CREATE TABLE t(id INTEGER PRIMARY KEY, x);"
                             "CREATE TABLE log(x);"
                             "CREATE TRIGGER tr AFTER UPDATE ON t BEGIN INSERT INTO log VALUES(1);"
                             "END";

static void what_sqlite_tells(void **state)
{
    static const char *const list[] = {
        "INSERT INTO t VALUES(1, 'one'), (2, 'two')",
        "UPDATE t SET x = 'new' WHERE id = 2",
        "DELETE FROM t WHERE id = 1",
        "BEGIN",
        "INSERT INTO t VALUES(5, 'five')",
        "ROLLBACK",
        "BEGIN",
        "COMMIT",
        "BEGIN IMMEDIATE",
        "INSERT INTO t VALUES(6, 'six')",
        "UPDATE t SET x = 'seven' WHERE id = 6",
        "COMMIT",
        "INSERT INTO t VALUES(6, 'again')",
        "SELECT * FROM t",
        "REPLACE INTO t VALUES(6, 'replaced')",
        "DELETE FROM t",
    };
    t_env *t = *state;
    struct diary own = {.refuse = 0}, raw = {.loop = pthread_self()};
    t_file_sql(t_path(t, "a.db"), schema);
    t_file_sql(t_path(t, "b.db"), schema);
    ll_conn *conn = t_open(t, "a.db");
    sqlite3 *db = t_raw_open(t_path(t, "b.db"));
    ll_hooks hooks = all(&own);
    set(conn, &hooks);
    sqlite3_update_hook(db, raw_update, &raw);
    sqlite3_commit_hook(db, on_commit, &raw);
    sqlite3_rollback_hook(db, on_rollback, &raw);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        t_compare(conn, db, list[i]);
        T_SAME_TEXT(own.text, raw.text);
        own.text[0] = raw.text[0] = '\0';
    }
    t_compared();
    T_EQUAL(own.on_loop, 0);
    T_EQUAL(own.back, 0);
    t_raw_close(db);
    t_close(conn);
    T_EQUAL(own.back, 1);
}

/* Nothing that would call one is run on the loop; without them it is. */
static void never_on_the_loop(void **state)
{
    t_env *t = *state;
    struct diary diary = {.refuse = 0};
    t_file_sql(t_path(t, "a.db"), schema);
    ll_conn *conn = t_open(t, "a.db");
    for (int with = 1; with >= 0; with--) {
        ll_hooks hooks = all(&diary);
        set(conn, with ? &hooks : NULL);
        t_exec(conn, "BEGIN IMMEDIATE");
        t_exec(conn, "INSERT OR IGNORE INTO t VALUES(1, 'one')");
        uint64_t before = t_stats(t->engine).inline_hits;
        for (int i = 0; i < 20; i++)
            t_exec(conn, "INSERT INTO t(x) VALUES('more')");
        uint64_t writes = t_stats(t->engine).inline_hits - before;
        t_exec(conn, "ROLLBACK");
        before = t_stats(t->engine).inline_hits;
        for (int i = 0; i < 5; i++) {
            t_exec(conn, "BEGIN");
            t_exec(conn, "ROLLBACK"); /* which is told even if nothing was written */
        }
        T_CHECK(with ? writes == 0 : writes > 0);
        T_EQUAL(t_stats(t->engine).inline_hits - before, with ? 5 : 10);
    }
    T_EQUAL(diary.on_loop, 0);
    T_EQUAL(diary.back, 1);
    t_close(conn);
}

static void a_commit_that_is_refused(void **state)
{
    t_env *t = *state;
    struct diary diary = {.refuse = 1};
    t_file_sql(t_path(t, "a.db"), schema);
    ll_conn *conn = t_open(t, "a.db");
    ll_hooks hooks = all(&diary);
    set(conn, &hooks);
    ll_request *request = t_exec_fails(conn, "INSERT INTO t VALUES(1, 'one')", LL_ESQL);
    T_EQUAL(ll_request_error(request)->sqlite_code, SQLITE_CONSTRAINT_COMMITHOOK);
    ll_request_unref(request);
    diary.refuse = 0;
    t_exec(conn, "INSERT INTO t VALUES(2, 'two')");
    T_EQUAL(t_int(conn, "SELECT sum(id) FROM t"), 2);
    t_close(conn);
}

static void replaced_and_taken_away(void **state)
{
    t_env *t = *state;
    struct diary first = {.refuse = 0}, second = {.refuse = 0};
    t_file_sql(t_path(t, "a.db"), schema);
    ll_conn *conn = t_open(t, "a.db");
    ll_hooks hooks = all(&first);
    set(conn, &hooks);
    hooks = all(&second);
    hooks.commit = NULL;
    hooks.rollback = NULL;
    set(conn, &hooks);
    T_EQUAL(first.back, 1);
    t_exec(conn, "INSERT INTO t VALUES(1, 'one')");
    T_SAME_TEXT(first.text, "");
    T_SAME_TEXT(second.text, "18:main.t:1 ");
    set(conn, NULL);
    T_EQUAL(second.back, 1);
    t_exec(conn, "INSERT INTO t VALUES(2, 'two')");
    T_SAME_TEXT(second.text, "18:main.t:1 ");
    struct diary none = {.refuse = 0};
    set(conn, &(ll_hooks){.user = &none, .destroy = give_back}); /* none of the three */
    T_EQUAL(none.back, 1);
    t_close(conn);
    T_CHECK(first.back == 1 && second.back == 1 && none.back == 1);
}

/* A write of a group is done on another connection, which would tell nobody. */
static void shares_no_group_commit(void **state)
{
    t_env *t = *state;
    struct diary diary = {.refuse = 0};
    t_file_sql(t_path(t, "a.db"), schema);
    ll_conn *home = t_open(t, "a.db"), *writing = t_open(t, "a.db");
    ll_writer *writer = NULL;
    T_CHECK(ll_writer_new(writing, NULL, &writer) == LL_OK);
    ll_hooks hooks = all(&diary);
    set(home, &hooks);
    ll_sql sql = {.text = "INSERT INTO log VALUES(1)", .size = LL_NUL_TERMINATED};
    ll_request *request = NULL;
    T_CHECK(t_end(ll_writer_submit(writer, home, &sql, NULL, &request), request) == LL_OK);
    ll_request_unref(request);
    T_SAME_TEXT(diary.text, "18:main.log:1 C ");
    ll_writer_free(writer);
    t_close(home);
    t_close(writing);
}

static void an_adopted_handle_is_given_back_without(void **state)
{
    t_env *t = *state;
    struct diary diary = {.refuse = 0};
    t_file_sql(t_path(t, "a.db"), schema);
    sqlite3 *db = t_raw_open(t_path(t, "a.db"));
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    T_CHECK(t_end(ll_conn_adopt(t->engine, db, NULL, NULL, &conn, &request), request) == LL_OK);
    ll_request_unref(request);
    ll_hooks hooks = all(&diary);
    set(conn, &hooks);
    t_exec(conn, "INSERT INTO t VALUES(1, 'one')");
    t_close(conn);
    T_EQUAL(diary.back, 1);
    diary.text[0] = '\0';
    t_raw(db, "INSERT INTO t VALUES(2, 'two')");
    T_SAME_TEXT(diary.text, "");
    t_raw_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(what_sqlite_tells),        T_TEST(never_on_the_loop),
        T_TEST(a_commit_that_is_refused), T_TEST(replaced_and_taken_away),
        T_TEST(shares_no_group_commit),   T_TEST(an_adopted_handle_is_given_back_without),
    };
    return T_RUN(tests);
}
