/* The history of statements: admission, probation, bounds of the table, sharing, threads. */
#include "support/support.h"

#include "base/fault.h"
#include "db/cost.h"
#include "db/inspect.h"

#include <pthread.h>

#define US UINT64_C(1000)

static const char sql[] = "SELECT 1";

static struct lli_cost *get(uint64_t key, const char *text)
{
    struct lli_cost *cost = lli_cost_get(key, text, strlen(text));
    T_CHECK(cost != NULL);
    return cost;
}

static struct lli_cost *fresh(void)
{
    return get(lli_cost_private_key(), sql);
}

static void first_run_goes_to_a_worker(void **state)
{
    (void)state;
    struct lli_cost *cost = fresh();
    T_CHECK(lli_cost_admit(cost, false) == LLI_ADMIT_FIRST);
    T_CHECK(lli_cost_admit(cost, true) == LLI_ADMIT_INLINE); /* unless it is bounded */
    lli_cost_ran(cost, 20 * US, false);
    T_CHECK(lli_cost_average_ns(cost) == 20 * US);
    T_CHECK(lli_cost_admit(cost, false) == LLI_ADMIT_INLINE);
    lli_cost_unref(cost);

    cost = fresh();
    lli_cost_ran(cost, 5000 * US, false);
    T_CHECK(lli_cost_admit(cost, false) == LLI_ADMIT_NO);
    T_CHECK(lli_cost_admit(cost, true) == LLI_ADMIT_NO); /* bounded, but slow all the same */
    lli_cost_unref(cost);
}

static void one_slow_run_is_forgiven(void **state)
{
    (void)state;
    struct lli_cost *cost = fresh();
    for (int i = 0; i < 20; i++)
        lli_cost_ran(cost, 10 * US, true);
    lli_cost_ran(cost, US * 3600 * 1000000,
                 false); /* the worker was preempted, or the laptop slept */
    T_CHECK(lli_cost_admit(cost, false) == LLI_ADMIT_NO);
    int runs = 0;
    for (; lli_cost_admit(cost, false) == LLI_ADMIT_NO; runs++)
        lli_cost_ran(cost, 10 * US, false);
    T_CHECK(runs >= 1 && runs <= 3);
    for (int i = 0; i < 50; i++)
        lli_cost_ran(cost, 10 * US, false);
    T_CHECK(lli_cost_average_ns(cost) < 12 * US);
    lli_cost_ran(cost, 0, true); /* a clock without resolution: still "it ran" */
    T_CHECK(lli_cost_average_ns(cost) > 0);
    lli_cost_unref(cost);
}

/* Runs it quickly on a worker until it is admitted again. */
static int serve(struct lli_cost *cost)
{
    int runs = 0;
    for (; lli_cost_admit(cost, false) != LLI_ADMIT_INLINE; runs++)
        lli_cost_ran(cost, 10 * US, false);
    return runs;
}

static void probation_grows(void **state)
{
    (void)state;
    struct lli_cost *cost = fresh();
    lli_cost_ran(cost, 10 * US, false);
    for (int expected = 8; expected <= 1024; expected *= 2) {
        lli_cost_overran(cost);
        T_CHECK(lli_cost_admit(cost, true) == LLI_ADMIT_NO);
        T_CHECK(lli_cost_probation(cost) == (uint32_t)expected);
        lli_cost_ran(cost, 300 * US, false); /* a slow run pays nothing off */
        T_CHECK(lli_cost_probation(cost) == (uint32_t)expected);
        T_CHECK(serve(cost) == expected);
        lli_cost_ran(cost, 10 * US, true);
    }
    lli_cost_overran(cost);
    T_CHECK(serve(cost) == 1024); /* and no more */

    for (int i = 0; i < 512 * 16 - 1; i++) /* good for long: not yet */
        lli_cost_ran(cost, 10 * US, true);
    lli_cost_overran(cost);
    T_CHECK(serve(cost) == 1024);
    for (int i = 0; i < 1024 * 16; i++) /* and forgotten */
        lli_cost_ran(cost, 10 * US, true);
    lli_cost_overran(cost);
    T_CHECK(serve(cost) == 8);
    lli_cost_unref(cost);
}

static void forbidden_is_for_good(void **state)
{
    (void)state;
    struct lli_cost *cost = fresh();
    lli_cost_ran(cost, 1 * US, true);
    lli_cost_forbid(cost, LLI_FORBID_LARGE);
    lli_cost_forbid(cost, LLI_FORBID_VTAB);
    T_CHECK(lli_cost_forbidden(cost) == (LLI_FORBID_LARGE | LLI_FORBID_VTAB));
    for (int i = 0; i < 5000; i++)
        lli_cost_ran(cost, 1 * US, false);
    T_CHECK(lli_cost_admit(cost, true) == LLI_ADMIT_NO);
    lli_cost_unref(cost);
}

static void no_history(void **state)
{
    (void)state;
    T_CHECK(lli_cost_admit(NULL, false) == LLI_ADMIT_FIRST);
    T_CHECK(lli_cost_admit(NULL, true) == LLI_ADMIT_INLINE);
    lli_cost_ran(NULL, 1, true);
    lli_cost_overran(NULL);
    lli_cost_forbid(NULL, LLI_FORBID_LARGE);
    T_CHECK(lli_cost_forbidden(NULL) == 0 && lli_cost_average_ns(NULL) == 0);
    lli_cost_unref(NULL);
    lli_fault_arm(LLI_FAULT_ALLOC, 1);
    T_CHECK(lli_cost_get(lli_cost_private_key(), sql, sizeof sql - 1) == NULL);
    lli_fault_disarm();
    char *text = malloc(LLI_COST_TEXT + 1);
    T_CHECK(text != NULL);
    memset(text, 'x', LLI_COST_TEXT + 1);
    T_CHECK(lli_cost_get(1, text, LLI_COST_TEXT + 1) == NULL);
    free(text);
}

/* ---- the table ---- */

static void one_entry_per_file_and_text(void **state)
{
    (void)state;
    lli_cost_clear();
    uint64_t a = lli_cost_file_key(2049, 77), b = lli_cost_file_key(2049, 78);
    T_CHECK(a != b && lli_cost_file_key(2050, 77) != a && lli_cost_file_key(2049, 77) == a);
    T_CHECK(lli_cost_private_key() != lli_cost_private_key());
    struct lli_cost *one = get(a, sql), *again = get(a, sql);
    struct lli_cost *file = get(b, sql), *text = get(a, "SELECT 2");
    T_CHECK(one == again && one != file && one != text);
    T_CHECK(lli_cost_count() == 3);
    lli_cost_overran(again);
    T_CHECK(lli_cost_probation(one) == 8 && lli_cost_probation(file) == 0);
    lli_cost_unref(one);
    lli_cost_unref(again);
    lli_cost_unref(file);
    lli_cost_unref(text);
    one = get(a, sql); /* nobody held it, and it is still there */
    T_CHECK(lli_cost_probation(one) == 8);
    lli_cost_unref(one);
    lli_cost_clear();
    T_CHECK(lli_cost_count() == 0);
}

static void table_is_bounded(void **state)
{
    (void)state;
    lli_cost_clear();
    uint64_t key = lli_cost_private_key();
    struct lli_cost *held = get(key, "held"), *loved = get(key, "loved");
    lli_cost_overran(loved);
    lli_cost_unref(loved);
    for (int i = 0; i < 3 * LLI_COST_ENTRIES; i++) {
        char text[32];
        snprintf(text, sizeof text, "SELECT %d", i);
        lli_cost_unref(get(key, text));
        if (i % 1000 == 0)
            lli_cost_unref(get(key, "loved")); /* asked for: stays */
    }
    T_CHECK(lli_cost_count() == LLI_COST_ENTRIES);
    loved = get(key, "loved");
    T_CHECK(lli_cost_probation(loved) == 8);
    /* What is held and not asked for leaves the table, and goes on to work. */
    lli_cost_overran(held);
    T_CHECK(lli_cost_probation(held) == 8);
    struct lli_cost *anew = get(key, "held");
    T_CHECK(anew != held && lli_cost_probation(anew) == 0);
    lli_cost_unref(held);
    lli_cost_unref(anew);

    char *text = malloc(LLI_COST_TEXT);
    T_CHECK(text != NULL);
    memset(text, 'x', LLI_COST_TEXT);
    for (int i = 0; i < 200; i++) {
        memcpy(text, &i, sizeof i);
        lli_cost_unref(lli_cost_get(key, text, LLI_COST_TEXT));
    }
    T_CHECK(lli_cost_count() == LLI_COST_BYTES / LLI_COST_TEXT);
    free(text);
    lli_cost_unref(loved);
    lli_cost_clear();
}

static void two_connections_share_a_history(void **state)
{
    t_env *t = *state;
    uint64_t key = lli_cost_private_key();
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(x)");
    for (int i = 0; i < 2; i++) {
        sqlite3 *db = t_raw_open(t_path(t, "a.db"));
        struct lli_stmtcache cache;
        struct lli_error error = {0};
        struct lli_stmt *stmt;
        T_CHECK(lli_stmtcache_init(&cache, db, 4) == LL_OK);
        T_CHECK(lli_stmt_take(&cache, sql, sizeof sql - 1, &stmt, &error) == LL_OK);
        stmt->cost = lli_cost_get(key, sql, sizeof sql - 1); /* the statement gives it back */
        T_CHECK(lli_cost_admit(stmt->cost, false) == (i ? LLI_ADMIT_INLINE : LLI_ADMIT_FIRST));
        lli_cost_ran(stmt->cost, 3 * US, false);
        lli_stmt_give(&cache, stmt);
        lli_stmtcache_done(&cache);
        t_raw_close(db);
    }
    lli_cost_clear();
}

/* ---- threads and processes ---- */

enum {
    THREADS = 4,
    TEXTS = 64
};

static uint64_t shared_key;

static void *many_runs(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    int rounds = getenv("LL_TEST_SLOW") ? 2000 : 20000;
    for (int i = 0; i < rounds; i++) {
        char text[32];
        seed = seed * 1103515245 + 12345;
        snprintf(text, sizeof text, "SELECT %u", (seed >> 16) % TEXTS);
        struct lli_cost *cost = lli_cost_get(shared_key, text, strlen(text));
        T_CHECK(cost != NULL);
        struct lli_program program = {.known = true, .cookie = 7, .steps = 3};
        lli_cost_give_program(cost, &program);
        lli_cost_admit(cost, false);
        lli_cost_ran(cost, 1000 + seed % 100, seed % 2 == 0);
        if (i % 64 == 0)
            lli_cost_overran(cost);
        if (lli_cost_take_program(cost, 7, &program))
            T_CHECK(program.known && program.steps == 3);
        if (i % 512 == 0)
            lli_cost_clear(); /* while others hold entries */
        if (seed % 1000 == 0)
            lli_cost_forbid(cost, LLI_FORBID_FOREIGN);
        lli_cost_unref(cost);
    }
    return NULL;
}

static void threads_share_entries(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    shared_key = lli_cost_private_key();
    for (uintptr_t i = 0; i < THREADS; i++)
        T_CHECK(pthread_create(&threads[i], NULL, many_runs, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    T_CHECK(lli_cost_count() <= TEXTS);
    lli_cost_clear();
}

static int use_in_child(void *arg)
{
    (void)arg;
    struct lli_cost *cost = lli_cost_get(shared_key, sql, sizeof sql - 1);
    T_CHILD(cost != NULL);
    lli_cost_ran(cost, 1, true);
    lli_cost_unref(cost);
    return 0;
}

static atomic_bool stop_churn;

static void *churn(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop_churn))
        lli_cost_unref(lli_cost_get(shared_key, sql, sizeof sql - 1));
    return NULL;
}

static void child_of_a_fork_finds_it_whole(void **state)
{
    (void)state;
    pthread_t thread;
    shared_key = lli_cost_private_key();
    lli_cost_unref(get(shared_key, sql)); /* before the first fork */
    atomic_store(&stop_churn, false);
    T_CHECK(pthread_create(&thread, NULL, churn, NULL) == 0);
    for (int i = 0; i < 5; i++)
        t_in_child(use_in_child, NULL);
    atomic_store(&stop_churn, true);
    pthread_join(thread, NULL);
    lli_cost_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(first_run_goes_to_a_worker),
        T_TEST(one_slow_run_is_forgiven),
        T_TEST(probation_grows),
        T_TEST(forbidden_is_for_good),
        T_TEST(no_history),
        T_TEST(one_entry_per_file_and_text),
        T_TEST(table_is_bounded),
        T_TEST(two_connections_share_a_history),
        T_TEST(threads_share_entries),
        T_TEST(child_of_a_fork_finds_it_whole),
    };
    return T_RUN(tests);
}
