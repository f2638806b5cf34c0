/* kill -9 at random moments, under load: connections of one's own, group commit, a pool with checkpoints in the
 * background, and both; while others stream the table and copy the database (VACUUM INTO).
 *
 * A child runs the load and tells through a pipe what it asks for and what it is told; its parent kills it after some of
 * that, takes what is left in the pipe, and compares the file with it: sound, each transaction whole or not at all,
 * what was told to be applied is there, what was told not to be is not. LL_ROUNDS=100 makes more of it. */
#include "killround.h"

static void what_was_acknowledged_survives_kill_9(void **state)
{
    const char *given = getenv("LL_ROUNDS"), *first = getenv("LL_SEED");
    uint64_t rounds = given ? strtoull(given, NULL, 10) : getenv("LL_TEST_SLOW") ? 1 : 3;
    uint64_t seed = first ? strtoull(first, NULL, 10) : 1;
    uint64_t kills = 0;
    for (uint64_t i = 0; i < rounds; i++)
        for (unsigned way = 0; way < T_LOAD_WAYS; way++)
            for (unsigned wal = 0; wal < 2; wal++, kills++)
                kill_round(*state, (enum t_load_way)way, wal ? "WAL" : "DELETE", seed++);
    print_message("killed %llu times\n", (unsigned long long)kills);
}

int main(void)
{
    const struct CMUnitTest tests[] = {T_TEST(what_was_acknowledged_survives_kill_9)};
    return T_RUN(tests);
}
