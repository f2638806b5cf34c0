/* For how long an idle worker looks for work before it goes to sleep. */
#include "support/support.h"

#include "engine/pace.h"

static const uint64_t us = 1000;

static void wait_for(struct lli_pace *pace, uint64_t span_ns, int times)
{
    for (int i = 0; i < times; i++)
        lli_pace_waited(pace, span_ns);
}

static void short_waits_are_waited_for(void **state)
{
    (void)state;
    struct lli_pace pace = {0};
    T_EQUAL(lli_pace_spin_ns(&pace), LLI_PACE_MOST_NS);
    wait_for(&pace, 60 * us, 100);
    T_EQUAL(lli_pace_spin_ns(&pace), LLI_PACE_MOST_NS);
    wait_for(&pace, 100 * us, 100);
    T_EQUAL(lli_pace_spin_ns(&pace), LLI_PACE_MOST_NS);
}

static void long_ones_are_not(void **state)
{
    (void)state;
    struct lli_pace pace = {0};
    wait_for(&pace, 200 * us, 100);
    T_EQUAL(lli_pace_spin_ns(&pace), LLI_PACE_LEAST_NS);
    wait_for(&pace, 3600 * UINT64_C(1000000000), 100);
    T_EQUAL(lli_pace_spin_ns(&pace), LLI_PACE_LEAST_NS);
    T_CHECK(pace.average_ns <= LLI_PACE_LONG_NS);
}

static void a_pause_is_soon_forgotten(void **state)
{
    (void)state;
    struct lli_pace pace = {0};
    wait_for(&pace, 30 * us, 100);
    wait_for(&pace, 3600 * UINT64_C(1000000000), 1);
    T_EQUAL(lli_pace_spin_ns(&pace), LLI_PACE_LEAST_NS);
    wait_for(&pace, 30 * us, 4);
    T_EQUAL(lli_pace_spin_ns(&pace), LLI_PACE_MOST_NS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(short_waits_are_waited_for),
        T_TEST(long_ones_are_not),
        T_TEST(a_pause_is_soon_forgotten),
    };
    return T_RUN(tests);
}
