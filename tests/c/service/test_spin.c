/* A loop that looks by itself whether something has finished, in place of sleeping on its descriptor. */
#include "support/support.h"

#include <poll.h>
#include <sched.h>

enum {
    ROUNDS = 2000
};

static bool readable(const ll_engine *engine)
{
    struct pollfd fd = {.fd = ll_engine_fd(engine), .events = POLLIN};
    int count = poll(&fd, 1, 0);
    T_CHECK(count >= 0);
    return count == 1;
}

static void until_readable(const ll_engine *engine)
{
    struct pollfd fd = {.fd = ll_engine_fd(engine), .events = POLLIN};
    T_CHECK(poll(&fd, 1, -1) == 1 && (fd.revents & POLLIN));
}

static void until_finished(const ll_engine *engine)
{
    while (!ll_engine_has_finished(engine))
        sched_yield();
}

static void submit(ll_conn *conn, size_t *called)
{
    ll_submit how = {.done = t_count, .user = called, .flags = LL_SUBMIT_NO_INLINE};
    T_CHECK(ll_exec(conn, "SELECT 1", NULL, 0, &how, NULL) == LL_PENDING);
}

static void dispatch(ll_engine *engine, size_t expected)
{
    size_t count = 0;
    T_CHECK(ll_engine_dispatch(engine, &count) == LL_OK);
    T_EQUAL(count, expected);
}

static void the_descriptor_is_left_alone(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    size_t called = 0;
    uint64_t before = t_stats(t->engine).wakeups;
    T_CHECK(!ll_engine_has_finished(t->engine));
    for (size_t i = 1; i <= 20; i++) {
        ll_engine_spin_begin(t->engine);
        submit(conn, &called);
        until_finished(t->engine);
        T_CHECK(!readable(t->engine));
        T_EQUAL(called, i - 1); /* only from dispatch */
        dispatch(t->engine, 1);
        T_CHECK(!ll_engine_has_finished(t->engine));
    }
    T_EQUAL(t_stats(t->engine).wakeups, before);
    /* The dispatch has ended it. */
    submit(conn, &called);
    until_readable(t->engine);
    T_CHECK(ll_engine_has_finished(t->engine));
    dispatch(t->engine, 1);
    T_EQUAL(t_stats(t->engine).wakeups, before + 1);
    t_close(conn);
}

static void it_is_told_when_the_loop_goes_to_sleep(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    size_t called = 0;
    ll_engine_spin_begin(t->engine);
    submit(conn, &called);
    until_finished(t->engine);
    ll_engine_spin_end(t->engine); /* it had finished before */
    T_CHECK(readable(t->engine));
    dispatch(t->engine, 1);
    ll_engine_spin_begin(t->engine);
    ll_engine_spin_end(t->engine);
    T_CHECK(!readable(t->engine));
    submit(conn, &called); /* it finishes later */
    until_readable(t->engine);
    dispatch(t->engine, 1);
    ll_engine_spin_end(t->engine); /* without a beginning: nothing */
    T_CHECK(!readable(t->engine));
    t_close(conn);
}

static void waiting_goes_to_sleep(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    size_t called = 0;
    ll_engine_spin_begin(t->engine);
    submit(conn, &called);
    t_until(t->engine, &called, 1);
    ll_engine_spin_begin(t->engine);
    ll_request *request = NULL;
    ll_submit how = {.flags = LL_SUBMIT_NO_INLINE};
    T_CHECK(ll_exec(conn, "SELECT 1", NULL, 0, &how, &request) == LL_PENDING);
    T_CHECK(ll_request_wait(request) == LL_OK);
    ll_request_unref(request);
    t_close(conn);
}

static void deadlines_wake_it_all_the_same(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    size_t called = 0;
    T_CHECK(ll_conn_call(conn, t_gate_call, gate, &(ll_submit){.done = t_count, .user = &called},
                         NULL) == LL_PENDING);
    t_gate_entered(gate, 1);
    ll_request *late = NULL;
    ll_submit how = {.timeout_ns = T_MS, .flags = LL_SUBMIT_NO_INLINE};
    ll_engine_spin_begin(t->engine);
    T_CHECK(ll_exec(conn, "SELECT 1", NULL, 0, &how, &late) == LL_PENDING);
    until_readable(t->engine);
    T_CHECK(ll_engine_dispatch(t->engine, NULL) == LL_OK);
    t_is(late, LL_ETIMEOUT, LL_NOT_APPLIED);
    ll_request_unref(late);
    t_gate_open(gate);
    t_until(t->engine, &called, 1);
    t_close(conn);
}

/* Whenever the loop goes to sleep, before, while or after something finishes, it is woken. */
static void no_wake_up_is_lost(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    size_t called = 0, looks = 0;
    for (size_t i = 1; i <= ROUNDS; i++) {
        ll_engine_spin_begin(t->engine);
        submit(conn, &called);
        for (size_t look = 0; look < i % 97 && !ll_engine_has_finished(t->engine); look++, looks++)
            if (look % 8 == 7)
                sched_yield();
        ll_engine_spin_end(t->engine);
        while (called < i) {
            until_readable(t->engine);
            T_CHECK(ll_engine_dispatch(t->engine, NULL) == LL_OK);
        }
    }
    T_CHECK(looks > 0);
    t_close(conn);
}

static void ends_while_it_spins(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    size_t called = 0;
    ll_engine_spin_begin(NULL);
    ll_engine_spin_end(NULL);
    T_CHECK(!ll_engine_has_finished(NULL));
    ll_engine_spin_begin(t->engine);
    submit(conn, &called);
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_EQUAL(called, 1);
    ll_conn_unref(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(the_descriptor_is_left_alone), T_TEST(it_is_told_when_the_loop_goes_to_sleep),
        T_TEST(waiting_goes_to_sleep),        T_TEST(deadlines_wake_it_all_the_same),
        T_TEST(no_wake_up_is_lost),           T_TEST(ends_while_it_spins),
    };
    return T_RUN(tests);
}
