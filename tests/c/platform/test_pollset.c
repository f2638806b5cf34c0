/* The descriptor of an engine: readable by a wake-up or a timer, quiet after a drain. */
#include "support/support.h"

#include "platform/clock.h"
#include "platform/pollset.h"

#include <poll.h>
#include <pthread.h>

static bool readable(const struct lli_pollset *set)
{
    struct pollfd fd = {.fd = set->fd, .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

static void drain(struct lli_pollset *set)
{
    lli_pollset_drain_timer(set);
    lli_pollset_drain_wake(set);
}

static void wake_makes_it_readable(void **state)
{
    (void)state;
    struct lli_pollset set;
    T_CHECK(lli_pollset_init(&set) == LL_OK);
    T_CHECK(!readable(&set) && !lli_pollset_wait(&set, 0));
    lli_pollset_wake(&set);
    lli_pollset_wake(&set);
    T_CHECK(readable(&set) && lli_pollset_wait(&set, -1));
    T_CHECK(readable(&set)); /* waiting does not drain */
    drain(&set);
    T_CHECK(!readable(&set));
    lli_pollset_done(&set);
}

static void timer_makes_it_readable(void **state)
{
    (void)state;
    struct lli_pollset set;
    T_CHECK(lli_pollset_init(&set) == LL_OK);
    lli_pollset_set_timer(&set, lli_deadline_after(LLI_MS));
    T_CHECK(lli_pollset_wait(&set, -1));
    drain(&set);
    T_CHECK(!readable(&set));
    lli_pollset_set_timer(&set, 1); /* long past */
    T_CHECK(lli_pollset_wait(&set, -1));
    lli_pollset_set_timer(&set, LLI_NEVER);
    drain(&set);
    T_CHECK(!lli_pollset_wait(&set, (int64_t)LLI_MS));
    lli_pollset_set_timer(&set, lli_deadline_after(T_HOUR));
    T_CHECK(!readable(&set));
    lli_pollset_done(&set);
}

static void *wake(void *set)
{
    lli_pollset_wake(set);
    return NULL;
}

static void any_thread_wakes(void **state)
{
    (void)state;
    struct lli_pollset set;
    T_CHECK(lli_pollset_init(&set) == LL_OK);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        T_CHECK(pthread_create(&thread, NULL, wake, &set) == 0);
        T_CHECK(lli_pollset_wait(&set, -1));
        pthread_join(thread, NULL);
        drain(&set);
        T_CHECK(!readable(&set));
    }
    lli_pollset_done(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(wake_makes_it_readable),
        T_TEST(timer_makes_it_readable),
        T_TEST(any_thread_wakes),
    };
    return T_RUN(tests);
}
