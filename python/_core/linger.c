/* linger.c: staying for an answer.
 *
 * [M] To wake a sleeping worker takes some 25 us, and another 25 to 50 pass until the loop has been woken by the answer
 * and comes back to the task. A statement that needs the worker, but not for long (the first write of a transaction,
 * a commit that does not wait for the disk), takes 10, a commit that does wait 100. So a call that has just been handed
 * over, and is the only one of its loop, looks for the answer before its task is suspended.
 *
 * A loop that has nothing else to do (idle.c) would only sleep. Staying there keeps nobody waiting: it lets go of the
 * GIL, as the loop does while it sleeps, and ends as soon as the loop has something to do. It costs a core, so it ends
 * after 0.3 ms, too: what takes longer gains little.
 *
 * A loop that cannot be looked into may have something to do. There a call stays for as long as the way back would take:
 * it then costs half, and at worst it is as long again.
 *
 * In a loop that is seen to have something else to do nobody stays.
 *
 * The time is part of the turn's, like that of what runs on the loop, nobody stays for a worker while other calls of the
 * loop are under way, and who has stayed in vain does not the next 1, 2, 4, ... 256 times, so that a disk that has to be
 * waited for costs nothing. Commits and all others are counted apart: a commit takes longer than what goes before it.
 *
 * Only statements, commits and rollbacks. Behind a close() others may have been started in the same turn, and expect to
 * find a connection that is closing, not one that is closed (aiosqlite's own tests do).
 *
 * [M] An insert and a commit on a WAL file, synchronous NORMAL, one behind the other: 62 us, 20 with it; in
 * SQLAlchemy's ORM, where the worker has fallen asleep in between: 359 us, 282 with it. */
#include "awaitable.h"
#include "idle.h"

#include <unistd.h>
#ifdef __linux__
#    include <sched.h>
#endif

enum {
    MOST_SKIPS_LOG2 = 8,
    LOOKS_A_POLL = 16 /* some 0.3 us, as a call of poll() */
};

const int64_t lp_stay_ns = INT64_C(50) * 1000;
const int64_t lp_stay_idle_ns = INT64_C(300) * 1000;

/* With one processor the worker would wait for us. */
static bool has_cores(void)
{
    static int cores; /* the GIL; the same for all */
    if (cores == 0) {
        cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
#ifdef __linux__
        cpu_set_t mine;
        if (sched_getaffinity(0, sizeof mine, &mine) == 0)
            cores = CPU_COUNT(&mine);
#endif
    }
    return cores > 1;
}

static void pause_a_little(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Why staying ended. */
enum ended {
    ANSWERED,
    IN_VAIN,
    CALLED /* the loop has something to do */
};

/* In the place of a loop that would sleep. Without the GIL. */
static enum ended stay_idle(const ll_engine *engine, const struct lp_idle *idle, int64_t until)
{
    for (;;) {
        int64_t now = lp_now_ns();
        if (now >= until)
            return IN_VAIN;
        for (int i = 0; i < LOOKS_A_POLL; i++) {
            if (ll_engine_has_finished(engine))
                return ANSWERED;
            pause_a_little();
        }
        if (now >= idle->until_ns || lp_idle_is_over(idle))
            return CALLED;
    }
}

static enum ended stay_blind(const ll_engine *engine, int64_t until)
{
    while (lp_now_ns() < until) {
        if (ll_engine_has_finished(engine))
            return ANSWERED;
        pause_a_little();
    }
    return IN_VAIN;
}

static enum ended stay(lp_loop *loop)
{
    lp_state *st = loop->st;
    ll_engine *engine = loop->engine;
    struct lp_idle idle;
    if (!lp_idle_look(loop, &idle))
        return loop->visible == LP_VISIBLE ? CALLED : stay_blind(engine, lp_now_ns() + st->stay_ns);
    enum ended ended;
    int64_t until = lp_now_ns() + st->stay_idle_ns;
    Py_BEGIN_ALLOW_THREADS ended = stay_idle(engine, &idle, until);
    Py_END_ALLOW_THREADS return ended;
}

/* Stays, and takes the answer if it comes. */
static enum ended stay_and_take(lp_call *call)
{
    lp_loop *loop = call->loop;
    ll_request *request = ll_request_ref(
        call->request); /* it keeps the engine, whoever ends that */
    ll_engine_spin_begin(loop->engine);
    enum ended ended = stay(loop);
    ll_request_unref(request);
    if (!loop->engine) /* somebody ended it while the GIL was let go */
        return CALLED;
    if (ended != ANSWERED) {
        ll_engine_spin_end(loop->engine);
        return ended;
    }
    if (lp_loop_dispatch(loop) < 0)
        PyErr_Clear(); /* the loop's own dispatch will find it, too */
    return call->finished ? ANSWERED : CALLED;
}

bool lp_call_linger(lp_call *call)
{
    lp_loop *loop = call->loop;
    bool alone = call->list == &loop->pending && loop->pending == call && !call->next;
    if (!alone || !(call->op->flags & LP_OP_STAY) || call->trap || loop->host ||
        loop->helper.wanted || !loop->engine || !has_cores())
        return false;
    struct lp_linger *linger = &loop->linger[(call->op->flags & LP_OP_SHIELD) != 0];
    if (linger->skip > 0) {
        linger->skip--;
        return false;
    }
    switch (stay_and_take(call)) {
    case ANSWERED:
        linger->failures = 0;
        loop->stays++;
        return true;
    case IN_VAIN:
        linger->skip = 1u << linger->failures;
        if (linger->failures < MOST_SKIPS_LOG2)
            linger->failures++;
        return false;
    default:
        return false;
    }
}
