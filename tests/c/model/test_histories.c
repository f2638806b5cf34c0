/* test_histories.c: random histories of everything at once, in one thread: connections of one's own, a writer (group
 * commit), a pool with leases, single statements and checkpoints in the background; workers, queues, gates, held
 * snapshots, turns of the loop, deadlines, cancellations and interrupts at any time, also in the middle of a statement.
 *
 * A *session* is whatever keeps an order: a connection, a lease from its acquire to its release, the single
 * writes of a pool with group commit, the writer's statements of nobody. Rows have numbers that grow with their submission. Checked are
 *   - order: what one session applied lies in the table in the order of its submission;
 *   - exactly once: each accepted request calls back once, each applied row is there once;
 *   - the outcome: a row told to be applied is there when its transaction was committed, one told not to be is not; and
 *     at the very moment when a single write is told, another connection sees it, or does not;
 *   - isolation: a read sees a transaction (or an executemany that is atomic) whole or not at all, nothing that was
 *     rolled back, and all that was known to be committed when it was asked for, unless its session is in a transaction
 *     or in the middle of a stream;
 *   - fairness: leases are given in the order of asking; no two leases have one connection;
 *   - reasons: cancelled is only what was cancelled, late only what had a deadline, interrupted what was interrupted;
 *   - nothing is left over: no request, no lease, no transaction, no object.
 * The lines in front of the gates are looked at by test_schedule.c, the turns of the loop by test_turns.c.
 *
 * How to run a failing history again: histories.h. */
#include "everything_run.h"

/* Ten thousand different ones in a whole test run: a quarter of them under AddressSanitizer, four times as slow. */
enum {
    WITHOUT_CHECKS = 7500,
#if defined(__SANITIZE_ADDRESS__)
    FIRST_SEED = WITHOUT_CHECKS + 1,
    DEFAULT_HISTORIES = 2500
#else
    FIRST_SEED = 1,
    DEFAULT_HISTORIES = WITHOUT_CHECKS
#endif
};

static void any_history(void **state)
{
    static const char *const names[COUNTED] = {
        "requests applied", "cancelled",       "late",           "in a group",
        "leases",           "through a pool",  "on the loop",    "in a held snapshot",
        "pages missed",     "waits at a gate", "reads compared", "checkpoints beside",
        "pool exhausted"};
    uint64_t usual = getenv("LL_TEST_SLOW") ? DEFAULT_HISTORIES / 50 : DEFAULT_HISTORIES;
    const struct histories *all = history_all(*state, history, FIRST_SEED, usual);
    if (!all)
        return;
    print_message("%llu histories\n", (unsigned long long)all->done);
    for (unsigned i = 0; i < COUNTED; i++) {
        print_message("  %-20s %llu\n", names[i], (unsigned long long)all->counts[i]);
        if (all->done >= 1000 && all->counts[i] == 0)
            t_fail(__FILE__, __LINE__, "never met: %s", names[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {T_TEST(any_history)};
    return T_RUN(tests);
}
