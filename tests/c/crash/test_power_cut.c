/* Power cuts: the disk loses, tears and reorders what was not synced, under load, in each journal mode, with connections
 * of one's own, group commit, a pool, and both.
 *
 * One round: a load (support/load.h) runs in threads on a file whose VFS keeps a tape (support/tape.h); then the power
 * is cut at random places of that tape, each time anew (support/cut.h), and what is left is opened, through looplite
 * and through sqlite3, and compared with what the clients had been told by then:
 *   - the file is sound (integrity_check), each transaction is there whole or not at all, triggers' work included;
 *   - what was told not to be applied is never there, and nothing that nobody had asked for;
 *   - what was told to be applied is there, where SQLite promises that: synchronous=FULL with a WAL or with a rollback
 *     journal that is truncated or overwritten, EXTRA with one that is deleted. (FULL with DELETE does not sync the
 *     directory after the commit: the last transaction may be rolled back. https://www.sqlite.org/pragma.html#pragma_synchronous)
 *   - otherwise the last ones may be missing, but none of which another one that is there could have known.
 * synchronous=NORMAL with a rollback journal is tried on a disk that works in order only: on another one a torn page in
 * the journal can pass its checksum, which looks at every 200th byte, and SQLite promises no more than that it is rare.
 *
 * LL_ROUNDS=1000 runs so many rounds with random settings, LL_SEED=n begins with that seed. Threads make the tape, so a
 * seed alone does not bring the same one: what a failure leaves is kept, and its name printed. */
#include "cutround.h"

static void what_was_acknowledged_survives_a_power_cut(void **state)
{
    t_env *t = *state;
    const char *given = getenv("LL_ROUNDS"), *first = getenv("LL_SEED");
    uint64_t seed = first ? strtoull(first, NULL, 10) : 1;
    memset(&cut_all, 0, sizeof cut_all);
    if (given) {
        uint64_t rounds = strtoull(given, NULL, 10);
        for (uint64_t i = 0; i < rounds; i++, seed++) {
            fprintf(stderr, "\rseed %llu ", (unsigned long long)seed);
            cut_round(t, &cut_modes[cut_mix(seed) % CUT_MODES],
                      (enum t_load_way)(cut_mix(seed) / CUT_MODES % T_LOAD_WAYS), seed);
        }
    } else {
        /* Where everything is slow each mode once, with another way each time. */
        for (unsigned mode = 0; mode < CUT_MODES; mode++)
            for (unsigned way = 0; way < T_LOAD_WAYS; way++)
                if (!getenv("LL_TEST_SLOW") || way == mode % T_LOAD_WAYS)
                    cut_round(t, &cut_modes[mode], (enum t_load_way)way, seed++);
    }
    print_message(
        "%llu rounds, %llu power cuts survived; %llu transactions acknowledged, %llu of the "
        "last ones lost where that is allowed\n",
        (unsigned long long)cut_all.rounds, (unsigned long long)cut_all.cuts,
        (unsigned long long)cut_all.told, (unsigned long long)cut_all.missing);
}

int main(void)
{
    t_tape_install();
    const struct CMUnitTest tests[] = {
        T_TEST(what_was_acknowledged_survives_a_power_cut),
    };
    return T_RUN(tests);
}
