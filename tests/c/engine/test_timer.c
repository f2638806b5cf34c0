/* The heap of deadlines against a plain array. */
#include "support/support.h"

#include "engine/timer.h"
#include "platform/clock.h"

enum {
    TIMERS = 60
};

static void earliest_first(void **state)
{
    (void)state;
    struct lli_timers timers = {0};
    struct lli_timer timer[3] = {{0}};
    T_CHECK(lli_timers_next(&timers) == LLI_NEVER && !lli_timers_pop_due(&timers, LLI_NEVER));
    T_CHECK(lli_timers_reserve(&timers, 3) == LL_OK);
    lli_timer_arm(&timers, &timer[0], 30);
    lli_timer_arm(&timers, &timer[1], 10);
    lli_timer_arm(&timers, &timer[2], 20);
    lli_timer_arm(&timers, &timer[1], 40); /* moved */
    T_CHECK(lli_timers_next(&timers) == 20 && timers.count == 3);
    T_CHECK(!lli_timers_pop_due(&timers, 19));
    T_CHECK(lli_timers_pop_due(&timers, 20) == &timer[2] && !lli_timer_armed(&timer[2]));
    lli_timer_disarm(&timers, &timer[2]); /* not armed: nothing */
    lli_timer_disarm(&timers, &timer[0]);
    T_CHECK(lli_timers_pop_due(&timers, 99) == &timer[1]);
    T_CHECK(timers.count == 0);
    lli_timers_done(&timers);
}

static void agrees_with_an_array(void **state)
{
    (void)state;
    struct lli_timers timers = {0};
    struct lli_timer timer[TIMERS] = {{0}};
    uint64_t due[TIMERS] = {0}; /* 0: not armed */
    T_CHECK(lli_timers_reserve(&timers, TIMERS) == LL_OK);
    lli_random_seed(7);
    for (int round = 0; round < 20000; round++) {
        size_t i = lli_random() % TIMERS;
        uint64_t now = lli_random() % 50;
        switch (lli_random() % 4) {
        case 0:
        case 1:
            due[i] = 1 + lli_random() % 100;
            lli_timer_arm(&timers, &timer[i], due[i]);
            break;
        case 2:
            due[i] = 0;
            lli_timer_disarm(&timers, &timer[i]);
            break;
        default: {
            struct lli_timer *popped = lli_timers_pop_due(&timers, now);
            if (popped) {
                T_CHECK(popped->due_ns <= now && due[popped - timer] == popped->due_ns);
                due[popped - timer] = 0;
            }
        }
        }
        uint64_t next = LLI_NEVER;
        size_t armed = 0;
        for (size_t k = 0; k < TIMERS; k++) {
            T_CHECK(lli_timer_armed(&timer[k]) == (due[k] != 0));
            armed += due[k] != 0;
            if (due[k] && due[k] < next)
                next = due[k];
        }
        T_CHECK(lli_timers_next(&timers) == next && timers.count == armed);
    }
    lli_timers_done(&timers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(earliest_first),
        T_TEST(agrees_with_an_array),
    };
    return T_RUN(tests);
}
