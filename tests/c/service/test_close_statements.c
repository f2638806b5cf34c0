/* Statements that are there when a connection is closed: those of virtual tables, and forgotten ones. */
#include "support/support.h"

/* FTS5 and R*Tree keep statements of their own on the connection, and finalise them when it is closed. */
static void closing_with_virtual_tables(void **state)
{
    static const char *const texts[] = {
        "CREATE VIRTUAL TABLE words USING fts5(body); INSERT INTO words VALUES('a word');"
        "SELECT * FROM words WHERE words MATCH 'word'",
        "CREATE VIRTUAL TABLE box USING rtree(id, a, b); INSERT INTO box VALUES(1, 2, 3);"
        "UPDATE box SET b = 4; DELETE FROM box WHERE id = 1",
    };
    t_env *t = *state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ll_conn *conn = t_open(t, t_printf(t, "v%zu.db", i));
        ll_request *request = NULL;
        ll_status status = t_end(
            ll_script(conn, texts[i], LL_NUL_TERMINATED, false, NULL, &request), request);
        T_CHECK(status == LL_OK ||
                strstr(ll_request_error(request)->message, "no such module") != NULL);
        ll_request_unref(request);
        t_close(conn);
    }
}

static int forget_statement(sqlite3 *db, void *arg)
{
    sqlite3_stmt *stmt = NULL;
    (void)arg;
    int rc = sqlite3_prepare_v2(db, "SELECT 1", -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        sqlite3_step(stmt);
    return rc;
}

static void closing_with_a_forgotten_statement(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = NULL;
    T_CHECK(t_end(ll_conn_call(conn, forget_statement, NULL, NULL, &request), request) == LL_OK);
    ll_request_unref(request);
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(closing_with_virtual_tables),
        T_TEST(closing_with_a_forgotten_statement),
    };
    return T_RUN(tests);
}
