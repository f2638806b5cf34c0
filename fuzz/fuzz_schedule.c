/* fuzz_schedule.c: schedules of everything at once (tests/c/model/everything.h), each choice of which is a byte of the
 * input, until it is over. LL_TRACE=1 shows what it does. */
#include "fuzz.h"

#include "model/everything_run.h"

static t_env env;

static void remove_dir(void)
{
    rmdir(env.dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct histories all;
    if (!env.dir[0]) {
        const char *base = getenv("TMPDIR");
        snprintf(env.dir, sizeof env.dir, "%s/looplite-fuzz-XXXXXX", base && *base ? base : "/tmp");
        T_CHECK(mkdtemp(env.dir) != NULL && atexit(remove_dir) == 0);
        t_group(__FILE__);
        t_failing_ends_the_process();
    }
    struct history_plan plan = {.t = &env,
                                .seed = 1,
                                .all = &all,
                                .trace = getenv("LL_TRACE") != NULL,
                                .bytes = data,
                                .bytes_left = size};
    memset(plan.keep, 1, sizeof plan.keep);
    if (size > 4)
        history(&plan);
    return 0;
}
