/* The clock: monotonic or scripted, deadlines that do not overflow, random numbers that repeat. */
#include "support/support.h"

#include "platform/clock.h"

static void goes_forward(void **state)
{
    (void)state;
    uint64_t last = lli_now_ns();
    for (int i = 0; i < 10000; i++) {
        uint64_t now = lli_now_ns();
        T_CHECK(now >= last);
        last = now;
    }
}

static void can_be_scripted(void **state)
{
    (void)state;
    uint64_t real = lli_now_ns();
    lli_clock_script(5);
    T_CHECK(lli_now_ns() == 5 && lli_now_ns() == 5);
    T_CHECK(lli_deadline_after(10) == 15);
    T_CHECK(lli_deadline_after(0) == 5);
    T_CHECK(lli_deadline_after(LLI_NEVER) == LLI_NEVER);
    T_CHECK(lli_deadline_after(LLI_NEVER - 4) == LLI_NEVER);
    lli_clock_real();
    T_CHECK(lli_now_ns() >= real);
}

static void random_repeats_from_its_seed(void **state)
{
    (void)state;
    uint64_t first[16];
    lli_random_seed(42);
    for (int i = 0; i < 16; i++)
        first[i] = lli_random();
    lli_random_seed(42);
    for (int i = 0; i < 16; i++) {
        T_CHECK(lli_random() == first[i]);
        for (int k = 0; k < i; k++)
            T_CHECK(first[i] != first[k]);
    }
    lli_random_seed(43);
    T_CHECK(lli_random() != first[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(goes_forward),
        T_TEST(can_be_scripted),
        T_TEST(random_repeats_from_its_seed),
    };
    return T_RUN(tests);
}
