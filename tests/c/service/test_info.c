/* What the library says of itself. */
#include "support/support.h"

#include "platform/nowait.h"

static void of_an_engine(void **state)
{
    t_env *t = *state;
    t_engine(t, &(ll_engine_options){.max_workers = 3, .turn_ns = 7 * T_MS, .host_turns = true});
    ll_engine_info info;
    for (int i = 0; i < 2; i++) {
        ll_engine_get_info(t->engine, &info);
        T_SAME_TEXT(info.sqlite_version, sqlite3_libversion());
        T_SAME_TEXT(info.sqlite_source_id, sqlite3_sourceid());
        T_EQUAL(info.sqlite_threadsafe, sqlite3_threadsafe());
        T_SAME_TEXT(info.sqlite_origin, "linked");
        T_CHECK(info.reads_hooked);
        T_CHECK(info.host_turns);
        T_EQUAL(info.max_workers, 3);
        T_EQUAL(info.turn_ns, 7 * T_MS);
        T_CHECK(info.attempt_ns > 0);
    }
    T_CHECK(ll_engine_set_max_workers(t->engine, 5) == LL_OK);
    ll_engine_get_info(t->engine, &info);
    T_EQUAL(info.max_workers, 5);
    T_CHECK(ll_engine_set_max_workers(t->engine, 0) == LL_EINVAL);
    T_CHECK(ll_engine_set_max_workers(NULL, 1) == LL_EINVAL);
    ll_engine_get_info(NULL, &info);
    T_CHECK(!info.sqlite_version && info.max_workers == 0);
}

static bool says(const ll_conn *conn, const char *part)
{
    ll_conn_info info;
    ll_conn_get_info(conn, &info);
    if (strstr(info.reason, part))
        return true;
    print_message("it says: %s\n", info.reason);
    return false;
}

static void of_connections(void **state)
{
    t_env *t = *state;
    ll_conn_info info;
    ll_conn_get_info(NULL, &info);
    T_CHECK(!info.reason && !info.on_loop);

    ll_conn *conn = t_open_with(t->engine, ":memory:", NULL);
    ll_conn_get_info(conn, &info);
    T_CHECK(info.on_loop);
    T_SAME_TEXT(info.disk_guard, "tmpfs");
    t_close(conn);

    ll_open_options by_worker = {.flags = LL_OPEN_NO_INLINE};
    conn = t_open_with(t->engine, t_path(t, "a.db"), &by_worker);
    ll_conn_get_info(conn, &info);
    T_CHECK(!info.on_loop && says(conn, "LL_OPEN_NO_INLINE"));
    t_close(conn);

    ll_open_options foreign = {.vfs = "unix"};
    conn = t_open_with(t->engine, t_path(t, "a.db"), &foreign);
    ll_conn_get_info(conn, &info);
    T_CHECK(!info.on_loop && says(conn, "VFS"));
    T_SAME_TEXT(info.disk_guard, "none");
    t_close(conn);

    ll_open_options uri = {.flags = LL_OPEN_URI};
    conn = t_open_with(t->engine, "file:shared?mode=memory&cache=shared", &uri);
    T_CHECK(says(conn, "shared cache"));
    t_close(conn);
}

/* What is mapped into memory is read where no guard looks: so only where nothing runs on a loop. */
static void who_may_map_its_file(void **state)
{
    t_env *t = *state;
    sqlite3 *plain = t_raw_open(t_path(t, "a.db"));
    int64_t usual = t_raw_int(plain, "PRAGMA mmap_size = 1000000"), mapped;
    t_raw_close(plain);
    ll_conn *conn = t_open(t, "a.db");
    mapped = t_int(conn, "PRAGMA mmap_size = 1000000");
    T_EQUAL(mapped, 0);
    t_exec(conn, "CREATE TABLE t(x)");
    t_exec(conn, "INSERT INTO t VALUES (17)");
    t_close(conn);
    ll_open_options by_worker = {.flags = LL_OPEN_NO_INLINE};
    conn = t_open_with(t->engine, t_path(t, "a.db"), &by_worker);
    mapped = t_int(conn, "PRAGMA mmap_size = 1000000");
    T_EQUAL(mapped, usual);
    T_EQUAL(t_int(conn, "SELECT x FROM t"), 17);
    t_close(conn);
}

static void as_it_changes(void **state)
{
    t_env *t = *state;
    ll_conn_info before, info;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    ll_conn_get_info(conn, &before);
    t_exec(conn, "ATTACH ':memory:' AS more");
    ll_conn_get_info(conn, &info);
    T_CHECK(!info.on_loop);
    if (before.on_loop)
        T_CHECK(says(conn, "attached"));
    t_exec(conn, "DETACH more");
    ll_conn_get_info(conn, &info);
    T_EQUAL(info.on_loop, before.on_loop);
    T_SAME_TEXT(info.disk_guard, before.disk_guard);
    ll_request *close = NULL;
    T_CHECK(t_end(ll_conn_close(conn, NULL, &close), close) == LL_OK);
    ll_request_unref(close);
    T_CHECK(says(conn, "closed"));
    ll_conn_unref(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(of_an_engine),
        T_TEST(of_connections),
        T_TEST(who_may_map_its_file),
        T_TEST(as_it_changes),
    };
    return T_RUN(tests);
}
