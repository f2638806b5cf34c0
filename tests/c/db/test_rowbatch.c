/* Row batches: every type, many rows, wide rows, no memory in the middle of a row. */
#include "support/support.h"

#include "base/fault.h"
#include "db/rowbatch.h"

static sqlite3_stmt *query(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    T_CHECK(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK);
    return stmt;
}

static void every_type(void **state)
{
    (void)state;
    sqlite3 *db = t_raw_open(":memory:");
    sqlite3_stmt *stmt = query(
        db, "SELECT NULL, -9223372036854775808, 0.5, 'a' || char(0) || 'b', x'00ff', '', x''");
    ll_batch *batch = lli_batch_new(7);
    T_CHECK(batch && sqlite3_step(stmt) == SQLITE_ROW);
    T_CHECK(ll_batch_row(batch, 0) == NULL);
    T_CHECK(lli_batch_add(batch, db, stmt) == LL_OK);
    sqlite3_finalize(stmt); /* nothing points into it */
    const ll_value *row = ll_batch_row(batch, 0);
    T_CHECK(ll_batch_rows(batch) == 1 && ll_batch_columns(batch) == 7);
    T_CHECK(row[0].type == LL_NULL);
    T_CHECK(row[1].type == LL_INTEGER && row[1].as.integer == INT64_MIN);
    T_CHECK(row[2].type == LL_FLOAT && row[2].as.real == 0.5);
    T_CHECK(row[3].type == LL_TEXT && row[3].size == 3);
    T_CHECK(memcmp(row[3].as.text, "a\0b\0", 4) == 0);
    T_CHECK(row[4].type == LL_BLOB && row[4].size == 2);
    T_CHECK(memcmp(row[4].as.blob, "\0\xff", 2) == 0);
    T_CHECK(row[5].type == LL_TEXT && row[5].size == 0 && row[5].as.text[0] == '\0');
    T_CHECK(row[6].type == LL_BLOB && row[6].size == 0 && row[6].as.blob != NULL);
    T_CHECK(batch->bytes == 7 * sizeof(ll_value) + 5);
    T_CHECK(ll_batch_row(batch, 1) == NULL);
    ll_batch_free(batch);
    t_raw_close(db);
}

static void rows_never_move(void **state)
{
    (void)state;
    sqlite3 *db = t_raw_open(":memory:");
    sqlite3_stmt *stmt = query(
        db, "WITH RECURSIVE c(x) AS (VALUES(0) UNION ALL SELECT x + 1 FROM c WHERE x < 999)"
            "SELECT x, 'text ' || x FROM c");
    ll_batch *batch = lli_batch_new(2);
    const ll_value *first = NULL;
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        T_CHECK(lli_batch_add(batch, db, stmt) == LL_OK);
        if (!first)
            first = ll_batch_row(batch, 0);
    }
    T_CHECK(ll_batch_rows(batch) == 1000 && ll_batch_row(batch, 0) == first);
    for (size_t i = 0; i < 1000; i++) {
        char text[32];
        const ll_value *row = ll_batch_row(batch, i);
        snprintf(text, sizeof text, "text %zu", i);
        T_CHECK(row[0].as.integer == (int64_t)i);
        T_SAME_TEXT(row[1].as.text, text);
    }
    sqlite3_finalize(stmt);
    ll_batch_free(batch);
    t_raw_close(db);
}

static void wide_rows(void **state)
{
    (void)state;
    char sql[8000] = "SELECT 0";
    size_t size = strlen(sql);
    for (int i = 1; i < 1500; i++)
        size += (size_t)snprintf(sql + size, sizeof sql - size, ",%d", i % 10);
    sqlite3 *db = t_raw_open(":memory:");
    sqlite3_stmt *stmt = query(db, sql);
    ll_batch *batch = lli_batch_new(1500);
    T_CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    for (int i = 0; i < 5; i++)
        T_CHECK(lli_batch_add(batch, db, stmt) == LL_OK);
    for (size_t i = 0; i < 5; i++)
        for (int k = 0; k < 1500; k++)
            T_CHECK(ll_batch_row(batch, i)[k].as.integer == k % 10);
    sqlite3_finalize(stmt);
    ll_batch_free(batch);
    t_raw_close(db);
}

static void no_memory_is_no_row(void **state)
{
    (void)state;
    sqlite3 *db = t_raw_open(":memory:");
    sqlite3_stmt *stmt = query(db, "SELECT 1, hex(zeroblob(1000)), hex(zeroblob(40000))");
    T_CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    unsigned long failed = 0;
    for (unsigned long nth = 1;; nth++) {
        ll_batch *batch = lli_batch_new(3);
        T_CHECK(batch != NULL);
        const size_t before = batch->near_rows; /* their cells need no memory */
        for (size_t i = 0; i < before; i++)
            T_CHECK(lli_batch_add(batch, db, stmt) == LL_OK);
        lli_fault_arm(LLI_FAULT_ALLOC, nth);
        ll_status status = lli_batch_add(batch, db, stmt);
        bool fired = lli_fault_fired();
        lli_fault_disarm();
        T_CHECK(status == (fired ? LL_ENOMEM : LL_OK));
        T_CHECK(ll_batch_rows(batch) == before + (fired ? 0u : 1u));
        T_CHECK(lli_batch_add(batch, db, stmt) == LL_OK); /* and again, with memory */
        T_CHECK(ll_batch_row(batch, ll_batch_rows(batch) - 1)[2].size == 80000);
        ll_batch_free(batch);
        if (!fired)
            break;
        failed++;
    }
    T_CHECK(failed >= 4);
    sqlite3_finalize(stmt);
    t_raw_close(db);
}

static void nothing_of_nothing(void **state)
{
    (void)state;
    T_CHECK(ll_batch_rows(NULL) == 0 && ll_batch_columns(NULL) == 0 && !ll_batch_row(NULL, 0));
    ll_batch_free(NULL);
    lli_fault_arm(LLI_FAULT_ALLOC, 1);
    T_CHECK(lli_batch_new(3) == NULL);
    lli_fault_disarm();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(every_type),          T_TEST(rows_never_move),    T_TEST(wide_rows),
        T_TEST(no_memory_is_no_row), T_TEST(nothing_of_nothing),
    };
    return T_RUN(tests);
}
