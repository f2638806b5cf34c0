/* linger.c: staying for an answer.
 *
 * [M] To wake a sleeping worker takes some 25 us, and another 25 pass until the loop has been woken by the answer and
 * comes back to the task. A statement that needs the worker, but not for long (the first write of a transaction, a
 * commit that does not wait for the disk), takes 10. So a call that has just been handed over, and is the only one of
 * its loop, looks for the answer for as long as the way back would take: it then costs half. At worst it is as long
 * again.
 *
 * Whoever stays keeps the loop. So it is part of the turn's time, like what runs on the loop; nobody stays for a
 * worker while other calls of the loop are under way (there is something else to do); and who has stayed in vain
 * does not the next 1, 2, 4, ... 256 times, so that a disk that has to be waited for costs nothing. Commits and all
 * others are counted apart: a commit takes longer than what goes before it.
 *
 * Only statements, commits and rollbacks. Behind a close() others may have been started in the same turn, and expect to
 * find a connection that is closing, not one that is closed (aiosqlite's own tests do).
 *
 * [M] An insert and a commit on a WAL file, synchronous NORMAL, one behind the other: 62 us, 20 with it; in
 * SQLAlchemy's ORM, where the worker has fallen asleep in between: 359 us, 282 with it. */
#include "awaitable.h"

#include <unistd.h>

enum {
    MOST_SKIPS_LOG2 = 8
};

const int64_t lp_stay_ns = INT64_C(50) * 1000;

/* With one processor the worker would wait for us. */
static bool has_cores(void)
{
    static int cores; /* the GIL; the same for all */
    if (cores == 0)
        cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return cores > 1;
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
    int64_t until = lp_now_ns() + call->st->stay_ns;
    while (call->list && lp_now_ns() < until) {
        if (!ll_request_is_done(call->request))
            continue;
        if (lp_loop_dispatch(loop) < 0)
            PyErr_Clear(); /* the loop's own dispatch will find it, too */
        if (call->finished) {
            linger->failures = 0;
            loop->stays++;
            return true;
        }
    }
    linger->skip = 1u << linger->failures;
    if (linger->failures < MOST_SKIPS_LOG2)
        linger->failures++;
    return false;
}
