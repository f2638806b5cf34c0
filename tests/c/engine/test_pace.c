/* For how long an idle worker looks for work before it goes to sleep. */
#include "support/support.h"

#include "engine/engine.h"
#include "engine/pace.h"
#include "engine/worker.h"

static const uint64_t us = 1000;

static void wait_for(struct lli_pace *pace, uint64_t span_ns, int times)
{
    for (int i = 0; i < times; i++)
        lli_pace_waited(pace, LLI_PACE_BETWEEN, span_ns);
}

static uint64_t spin_ns(const struct lli_pace *pace)
{
    return lli_pace_spin_ns(pace, LLI_PACE_BETWEEN);
}

static void short_waits_are_waited_for(void **state)
{
    (void)state;
    struct lli_pace pace = {0};
    T_EQUAL(spin_ns(&pace), LLI_PACE_MOST_NS);
    wait_for(&pace, 60 * us, 100);
    T_EQUAL(spin_ns(&pace), LLI_PACE_MOST_NS);
    wait_for(&pace, 100 * us, 100);
    T_EQUAL(spin_ns(&pace), LLI_PACE_MOST_NS);
}

static void long_ones_are_not(void **state)
{
    (void)state;
    struct lli_pace pace = {0};
    wait_for(&pace, 200 * us, 100);
    T_EQUAL(spin_ns(&pace), LLI_PACE_LEAST_NS);
    wait_for(&pace, 3600 * UINT64_C(1000000000), 100);
    T_EQUAL(spin_ns(&pace), LLI_PACE_LEAST_NS);
    T_CHECK(pace.average_ns[LLI_PACE_BETWEEN] <= LLI_PACE_LONG_NS);
}

static void a_pause_is_soon_forgotten(void **state)
{
    (void)state;
    struct lli_pace pace = {0};
    wait_for(&pace, 30 * us, 100);
    wait_for(&pace, 3600 * UINT64_C(1000000000), 1);
    T_EQUAL(spin_ns(&pace), LLI_PACE_LEAST_NS);
    wait_for(&pace, 30 * us, 4);
    T_EQUAL(spin_ns(&pace), LLI_PACE_MOST_NS);
}

/* A program that thinks before each transaction, and hurries inside. */
static void a_transaction_has_a_pace_of_its_own(void **state)
{
    (void)state;
    struct lli_pace pace = {0};
    for (int i = 0; i < 100; i++) {
        lli_pace_waited(&pace, LLI_PACE_BETWEEN, 200 * us);
        lli_pace_waited(&pace, LLI_PACE_WITHIN, 50 * us);
    }
    T_EQUAL(lli_pace_spin_ns(&pace, LLI_PACE_BETWEEN), LLI_PACE_LEAST_NS);
    T_EQUAL(lli_pace_spin_ns(&pace, LLI_PACE_WITHIN), LLI_PACE_MOST_NS);
}

static void the_crew_knows_where_it_is(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    struct {
        const char *text;
        bool within;
    } steps[] = {
        {"CREATE TABLE t(x)", false},
        {"BEGIN", false},
        {"SELECT count(*) FROM t", false}, /* begun, but nobody is kept waiting */
        {"INSERT INTO t VALUES(1)", true},
        {"SELECT count(*) FROM t", true},
        {"COMMIT", false},
        {"INSERT INTO t VALUES(2)", false},
    };
    for (size_t i = 0; i < LLI_COUNT(steps); i++) {
        ll_request *request = NULL;
        T_CHECK(t_end(ll_exec(conn, steps[i].text, NULL, 0,
                              &(ll_submit){.flags = LL_SUBMIT_NO_INLINE}, &request),
                      request) == LL_OK);
        ll_request_unref(request);
        T_EQUAL(atomic_load(&t->engine->crew->within), steps[i].within);
    }
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(short_waits_are_waited_for), T_TEST(long_ones_are_not),
        T_TEST(a_pause_is_soon_forgotten),  T_TEST(a_transaction_has_a_pace_of_its_own),
        T_TEST(the_crew_knows_where_it_is),
    };
    return T_RUN(tests);
}
