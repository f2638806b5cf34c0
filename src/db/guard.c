/* guard.c: the progress handler and the busy handler.
 *
 * A request is stopped by its own word, never by sqlite3_interrupt(), which ends whatever happens to run
 * on the connection when it arrives and stays set as long as any statement is live.
 *
 * Locks. SQLite asks the busy handler only where waiting can help; where waiting would deadlock (a
 * reader that wants to write beside a pending writer) it answers SQLITE_BUSY without asking. So
 * `lock_asked` tells the two apart, and only the first kind is worth a retry. The handler itself never
 * waits unless the connection already holds the write lock: then the statement has work behind it that
 * must not be given up (a COMMIT keeps its PENDING lock and so gets in as soon as the readers leave).
 * In all other cases it declines, the statement ends with SQLITE_BUSY before it did anything, and the
 * engine parks the connection on a timer.
 *
 * While the program's own statements run (_conn, _execute() in Python), which cannot be put back, SQLite's own handler
 * waits: `PRAGMA busy_timeout` shows 0 where another one is installed ([M] SQLSpec's tests read it there). It sleeps
 * through the VFS, which is where a stop reaches it.
 *
 * In an attempt on the event loop (db/attempt.h) the busy handler declines at once, whatever the
 * connection holds, and the progress handler also ends the statement when the attempt's time is up or
 * another guard has fired. An inline write is never ended by either: its rows would be rolled back, and
 * its transaction with them. */
#include "db/guard.h"

#include "db/api.h"
#include "db/attempt.h"
#include "platform/clock.h"

/* A thousand machine steps take some 10 to 100 us; the handler's cost is not measurable at that rate. */
enum {
    STEPS_BETWEEN_CHECKS = 1000
};

static const uint64_t nap_ns =
    LLI_MS; /* even steps: a growing one would lose to whoever polls faster */

enum lli_stop lli_guard_check(const struct lli_guard *guard)
{
    enum lli_stop stop = LLI_STOP_NONE;
    if (guard->stop)
        stop = (enum lli_stop)atomic_load_explicit(guard->stop, memory_order_relaxed);
    if (stop == LLI_STOP_INTERRUPT || stop == LLI_STOP_CLOSE)
        return stop;
    if (!guard->interruptible && !guard->deadline_breaks)
        return LLI_STOP_NONE;
    if (!guard->interruptible && stop == LLI_STOP_CANCEL)
        stop = LLI_STOP_NONE;
    if (stop == LLI_STOP_NONE && guard->deadline_ns != LLI_NEVER &&
        lli_now_ns() >= guard->deadline_ns)
        stop = LLI_STOP_DEADLINE;
    return stop;
}

/* Whether the attempt that this thread is in has to end here. */
static bool attempt_ends(void)
{
    struct lli_attempt *attempt = lli_attempt_now;
    if (LLI_LIKELY(!attempt))
        return false;
    if (lli_attempt_is_over())
        return true;
    return lli_now_ns() >= attempt->deadline_ns && lli_attempt_refuses(LLI_BOUNCE_TIME);
}

int lli_guard_progress(struct lli_guard *guard)
{
    if (LLI_UNLIKELY(guard->point != NULL))
        guard->point(guard->point_arg);
    if (guard->committing)
        return 0;
    /* SQLite asks once more on its way out of a statement that has halted, and then says "interrupted" of what it has
     * committed. */
    if (guard->writer && !lli_sq.stmt_busy(guard->writer))
        return 0;
    enum lli_stop stop = lli_guard_check(guard);
    if (stop == LLI_STOP_NONE)
        return attempt_ends();
    guard->stopped = stop;
    return 1;
}

static int on_progress(void *arg)
{
    return lli_guard_progress(arg);
}

static int on_busy(void *arg, int times)
{
    struct lli_guard *guard = arg;
    guard->lock_asked = true;
    if (LLI_UNLIKELY(lli_attempt_now != NULL)) {
        lli_attempt_refuses(LLI_BOUNCE_LOCK);
        return 0;
    }
    (void)times;
    if (!guard->nap || lli_sq.txn_state(guard->db, NULL) != SQLITE_TXN_WRITE)
        return 0;
    enum lli_stop stop = lli_guard_check(guard);
    if (stop != LLI_STOP_NONE) {
        guard->stopped = stop;
        return 0;
    }
    uint64_t now = lli_now_ns();
    if (now >= guard->busy_until_ns)
        return 0;
    uint64_t left = guard->busy_until_ns - now;
    return guard->nap(guard->nap_arg, left < nap_ns ? left : nap_ns);
}

void lli_guard_install(struct lli_guard *guard, sqlite3 *db)
{
    guard->db = db;
    lli_sq.busy_handler(db, on_busy, guard);
    if (!guard->progress_is_taken)
        lli_sq.progress_handler(db, STEPS_BETWEEN_CHECKS, on_progress, guard);
}

void lli_guard_remove(struct lli_guard *guard)
{
    lli_sq.busy_handler(guard->db, NULL, NULL);
    if (!guard->progress_is_taken)
        lli_sq.progress_handler(guard->db, 0, NULL, NULL);
    guard->db = NULL;
}

/* The guard that is lent on this thread. */
static _Thread_local struct lli_guard *lent;

void lli_guard_lend(struct lli_guard *guard, uint64_t busy_timeout_ns)
{
    uint64_t ms = busy_timeout_ns / LLI_MS;
    guard->lent_ms = ms > INT32_MAX ? INT32_MAX : (int)ms;
    lli_sq.busy_timeout(guard->db, guard->lent_ms);
    guard->outer = lent;
    lent = guard;
}

void lli_guard_return(struct lli_guard *guard)
{
    struct lli_guard **at = &lent;
    while (*at && *at != guard) /* two connections may be left in any order */
        at = &(*at)->outer;
    if (*at)
        *at = guard->outer;
}

bool lli_guard_sleep(int microseconds)
{
    struct lli_guard *guard = lent;
    if (!guard || !guard->nap || microseconds <= 0)
        return false;
    enum lli_stop stop = lli_guard_check(guard);
    if (stop != LLI_STOP_NONE)
        guard->stopped = stop; /* the handler's time goes by in no time */
    else
        (void)guard->nap(guard->nap_arg, (uint64_t)microseconds * (LLI_MS / 1000));
    return true;
}

void lli_guard_arm(struct lli_guard *guard)
{
    /* SQLite does not ask a handler again that has declined, until a program starts; what prepares a statement, or
     * prepares it again because the schema has changed, would be told of a lock at once. */
    if (guard->lock_asked && guard->db)
        lli_sq.busy_handler(guard->db, on_busy, guard);
    guard->stopped = LLI_STOP_NONE;
    guard->lock_asked = false;
}
