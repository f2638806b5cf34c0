/* attempt.c: the attempt of each thread.
 *
 * A thread is in at most one attempt, and only between lli_attempt_begin() and lli_attempt_end(), which
 * stand around one call of sqlite3_prepare or sqlite3_step. Everything that guards it runs on the same
 * thread, called by SQLite, so nothing here is shared.
 *
 * How an attempt ends SQLite. The shim turns every error that a guard made into SQLITE_INTERRUPT. That
 * code is the only one that is safe: after an I/O error, SQLITE_FULL or SQLITE_NOMEM in any statement,
 * sqlite3VdbeHalt() rolls the enclosing transaction back, and the pager goes into its error state; after
 * SQLITE_INTERRUPT in a statement that only reads it does neither. sqlite3_errcode() of the connection
 * and the log callback of the process (SQLITE_CONFIG_LOG) still see "interrupted" once for each attempt
 * that was cut off; no function of SQLite prevents it. */
#include "db/attempt.h"

#include "platform/clock.h"

_Thread_local struct lli_attempt *lli_attempt_now;

void lli_attempt_begin(struct lli_attempt *attempt, uint64_t budget_ns, bool shielded)
{
    struct lli_attempt **place = &lli_attempt_now; /* looked up once */
    assert(!*place);
    uint64_t now = lli_now_ns();
    *attempt = (struct lli_attempt){
        .begun_ns = now, .deadline_ns = lli_deadline_from(now, budget_ns), .shielded = shielded};
    *place = attempt;
}

enum lli_bounce lli_attempt_end(struct lli_attempt *attempt)
{
    assert(lli_attempt_now == attempt);
    lli_attempt_now = NULL;
    return attempt->bounce;
}

const char *lli_bounce_name(enum lli_bounce bounce)
{
    static const char *const names[] = {
        [LLI_BOUNCE_NONE] = "none",      [LLI_BOUNCE_TIME] = "time", [LLI_BOUNCE_DISK] = "disk",
        [LLI_BOUNCE_WRITE] = "write",    [LLI_BOUNCE_LOCK] = "lock", [LLI_BOUNCE_MUTEX] = "mutex",
        [LLI_BOUNCE_FOREIGN] = "foreign"};
    return (size_t)bounce < LLI_COUNT(names) ? names[bounce] : "none";
}
