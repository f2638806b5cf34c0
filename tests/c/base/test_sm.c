/* State machines: the table is asked, the tracer is told. */
#include "support/support.h"

#include "base/sm.h"

enum {
    IDLE,
    BUSY,
    DEAD
};

static const char *const names[] = {"idle", "busy", "dead"};
static const uint32_t moves[] = {
    [IDLE] = LLI_SM_TO(BUSY) | LLI_SM_TO(DEAD),
    [BUSY] = LLI_SM_TO(IDLE),
    [DEAD] = 0,
};
static const struct lli_sm machine = {"machine", names, moves, 3};

static char told[64];

static void trace(const struct lli_sm *sm, const void *object, unsigned from, unsigned to)
{
    T_CHECK(sm == &machine && object == told);
    size_t size = strlen(told);
    snprintf(told + size, sizeof told - size, "%s>%s ", sm->states[from], sm->states[to]);
}

static void allows_what_the_table_says(void **state)
{
    (void)state;
    for (unsigned from = 0; from < 3; from++)
        for (unsigned to = 0; to < 3; to++)
            T_CHECK(lli_sm_allows(&machine, from, to) ==
                    ((from == IDLE && to != IDLE) || (from == BUSY && to == IDLE)));
    T_CHECK(!lli_sm_allows(&machine, 3, 0) && !lli_sm_allows(&machine, IDLE, 3));
}

static void tells_the_tracer(void **state)
{
    (void)state;
    lli_sm_trace(trace);
    T_CHECK(lli_sm_move(&machine, told, IDLE, BUSY) == BUSY);
    T_CHECK(lli_sm_move(&machine, told, BUSY, IDLE) == IDLE);
    T_CHECK(lli_sm_move(&machine, told, IDLE, DEAD) == DEAD);
    lli_sm_trace(NULL);
    lli_sm_move(&machine, told, IDLE, BUSY);
    T_SAME_TEXT(told, "idle>busy busy>idle idle>dead ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(allows_what_the_table_says),
        T_TEST(tells_the_tracer),
    };
    return T_RUN(tests);
}
