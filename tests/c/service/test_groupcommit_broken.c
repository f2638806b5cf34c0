/* Group commit into a file that has lost its name: nothing is acknowledged that nobody would find, and the writer says
 * that it is to be replaced. */
#include "groupworld.h"

#include <unistd.h>

static void remove_file(struct group *g)
{
    T_CHECK(unlink(g->path) == 0);
    (void)unlink(t_printf(g->w.t, "%s-wal", g->path));
    (void)unlink(t_printf(g->w.t, "%s-shm", g->path));
}

/* A statement without a home is refused, and nothing of it is anywhere. */
static void refused(struct group *g)
{
    ll_request *request = group_run(g, SIZE_MAX, "INSERT INTO t VALUES(9)");
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    T_EQUAL(ll_request_error(request)->sqlite_code, SQLITE_READONLY_DBMOVED);
    T_CHECK(strstr(ll_request_error(request)->message, "moved, removed or replaced"));
    ll_request_unref(request);
    T_CHECK(ll_writer_is_broken(g->writer));
}

static void a_removed_file(void **state)
{
    for (int with_wal = 0; with_wal < 2; with_wal++) {
        struct group g;
        group_begin(&g, *state, "CREATE TABLE t(x)", with_wal);
        group_exec(&g, SIZE_MAX, "INSERT INTO t VALUES(1)");
        T_CHECK(!ll_writer_is_broken(g.writer));
        uint64_t members = group_stats(&g).members;
        remove_file(&g);
        refused(&g);
        refused(&g);
        T_EQUAL(group_stats(&g).members, members);
        T_CHECK(access(g.path, F_OK) != 0); /* and none was made */
        group_end(&g);
        (void)unlink(t_path(g.w.t, "a.db"));
    }
}

/* What has a home is that connection's own matter: it does what it does without a writer. */
static void a_replaced_file_and_homes(void **state)
{
    struct group g;
    group_begin(&g, *state, "CREATE TABLE t(x)", false);
    uint64_t alone = group_stats(&g).alone;
    t_file_sql(t_path(g.w.t, "b.db"), "CREATE TABLE t(x)");
    T_CHECK(rename(t_path(g.w.t, "b.db"), g.path) == 0);
    ll_request *request = group_run(&g, 0, "INSERT INTO t VALUES(1)");
    T_EQUAL(ll_request_error(request)->sqlite_code, SQLITE_READONLY_DBMOVED); /* its own answer */
    ll_request_unref(request);
    T_EQUAL(group_stats(&g).alone, alone + 1);
    refused(&g);
    T_EQUAL(group_int(&g, "SELECT count(*) FROM t"), 0);
    group_end(&g);
}

static void one_that_is_well_and_none(void **state)
{
    struct group g;
    group_begin(&g, *state, "CREATE TABLE t(x UNIQUE)", true);
    group_exec(&g, SIZE_MAX, "INSERT INTO t VALUES(1)");
    ll_request *request = group_run(&g, SIZE_MAX, "INSERT INTO t VALUES(1)");
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    ll_request_unref(request);
    T_CHECK(!ll_writer_is_broken(g.writer)); /* that was the statement's fault */
    T_CHECK(!ll_writer_is_broken(NULL));
    group_end(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(a_removed_file),
        T_TEST(a_replaced_file_and_homes),
        T_TEST(one_that_is_well_and_none),
    };
    return T_RUN(tests);
}
