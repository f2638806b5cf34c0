/* Arrow import of streams that random bytes make: nothing is read beyond its buffer, all rows come or none. LL_SEED, which
 * is printed, gives the same ones again. */
#include "support/arrays_of_bytes.h"

#include <time.h>

enum {
    INPUT = 600
};

/* The next of a sequence (splitmix64). */
static uint64_t next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void random_streams(void **state)
{
    t_env *t = *state;
    const char *given = getenv("LL_SEED");
    size_t inputs = getenv("LL_TEST_SLOW") && !given ? 150 : 1500, loaded = 0;
    ll_conn *conn = t_open_with(t->engine, ":memory:", NULL);
    t_exec(conn, "CREATE TABLE t(a, b TEXT, c REAL)");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) << 20;
    fprintf(stderr, "LL_SEED=%llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < inputs; i++, seed++) {
        uint8_t input[INPUT];
        uint64_t random = seed;
        for (size_t at = 0; at < sizeof input; at++)
            input[at] = (uint8_t)next(&random);
        loaded += t_load_bytes(conn, input, next(&random) % INPUT) == LL_OK;
    }
    fprintf(stderr, "%zu of %zu were loaded\n", loaded, inputs);
    T_CHECK(loaded > inputs / 50); /* else they are all too wild to say anything */
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(random_streams),
    };
    return T_RUN(tests);
}
