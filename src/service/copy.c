/* copy.c: a backup, from one connection into another, as a request of the target.
 *
 *   target   QUEUED --> [ reserve ] ----------------- AWAY: OWNED by the copy, no thread ----------------> complete
 *                            |  ^                                                                    ^
 *                      leave |  | pause: PARKED on the target's own timer                            |
 *                            v  |                                                                    |
 *   source                 [ step ] other requests [ step ] ...                      [ step: the end ]
 *
 * SQLite wants both handles in one thread during a step, and the target's in nobody's hands from the first step to the
 * last. So the request takes the target in its turn and keeps it OWNED without a thread, as a member of a group keeps
 * its home (group.c); the steps are an internal request in the source's queue, which goes to its end again after each
 * step. Whoever runs a step owns both connections. Nobody waits for one while it holds the other but in this one
 * order, target first; two copies that would wait for each other are found by `copied_from` (below), and the later one
 * is told so.
 *
 * sqlite3_backup belongs to the source's owner, who alone steps it; it is a resident of the source, so closing the
 * source ends it. It may also be ended by who fails the request because there is no thread (lost()): the target is
 * nobody's then, no step is queued, and SQLite's mutexes keep the two handles. Who takes it from the list ends it.
 *
 * Waiting. While the copy has the target, its busy handler is not to wait inside SQLite, for that would hold the
 * source, too: the step ends with SQLITE_BUSY, which leaves the copy where it was, and the request parks on
 * the target's timer. The gate of the target's file is entered before the first step and kept until the end.
 *
 * Stops are looked for before each step, in the request's word, and end the copy there. The request cannot be dropped
 * then, for the target is half written: it is `midway`.
 *
 * Progress is told by a note that lies in the request: one at most is on its way to the loop, and reads the numbers
 * when it arrives. It was posted before the request is, so it is delivered before, or dropped with the engine. */
#include "db/sqlerror.h"
#include "engine/facts.h"
#include "engine/resident.h"
#include "engine/run.h"
#include "engine/task.h"
#include "platform/clock.h"

#include <looplite/backup.h>

#include <limits.h>
#include <string.h>

enum {
    FIRST_PAGES = 256
};
static const uint64_t lock_sleep_ns = 5 * LLI_MS;

/* What comes behind a step. */
enum next {
    NEXT_STEP,  /* another one */
    NEXT_PAUSE, /* ... after `pause_ns` */
    NEXT_END    /* the request has its result */
};

struct copy {
    /* fixed after submission */
    ll_request *request; /* which this lies in */
    ll_conn *source;     /* a handle */
    const char *source_schema, *target_schema;
    uint64_t pause_ns, sleep_ns;
    ll_backup_fn progress;
    bool grows, to_file;

    /* whoever owns the target, or has it from its owner */
    bool begun;
    bool (*nap)(void *arg, uint64_t span_ns); /* the target's own */
    ll_request step;                          /* internal, in the source's queue */
    enum next next;
    uint64_t wait_ns;
    int pages;

    /* the source's owner */
    sqlite3_backup *raw; /* taken out with `resident` */
    struct lli_resident resident;
    const char *cut;      /* static: why it was ended from outside */
    uint64_t done, total; /* pages, after the last step */

    /* any thread: relaxed, a report */
    _Atomic uint64_t remaining_now, total_now;
    atomic_uint restarts_now;
    atomic_bool waiting_now;

    /* to the loop */
    ll_request news;     /* internal */
    atomic_bool telling; /* it is on its way */
};

static const struct lli_task_ops copy_ops;

static ll_conn *target_of(const struct copy *copy)
{
    return copy->request->conn;
}

/* ---- who copies from whom ----------------------------------------------------------------------- */

/* Notes that `target` is written from `source` until it is forgotten; false: something waits in a circle. Who is the
 * second of two to note it sees the first. */
static bool note_source(ll_conn *target, ll_conn *source)
{
    lli_lock(&target->mu);
    target->copied_from = source;
    lli_unlock(&target->mu);
    ll_conn *at = lli_conn_ref(source);
    while (at && at != target) {
        lli_lock(&at->mu);
        ll_conn *next = at->copied_from ? lli_conn_ref(at->copied_from) : NULL;
        lli_unlock(&at->mu);
        lli_conn_unref(at);
        at = next;
    }
    if (!at)
        return true;
    lli_conn_unref(at);
    return false;
}

static void forget_source(ll_conn *target)
{
    lli_lock(&target->mu);
    target->copied_from = NULL;
    lli_unlock(&target->mu);
}

/* ---- progress ----------------------------------------------------------------------------------- */

void ll_backup_get_progress(const ll_request *request, ll_backup_progress *ret_progress)
{
    if (!ret_progress)
        return;
    memset(ret_progress, 0, sizeof *ret_progress);
    if (!request || request->op != LLI_OP_TASK || request->in.task.ops != &copy_ops ||
        lli_engine_foreign(request->engine))
        return;
    const struct copy *copy = lli_task_data(request);
    ret_progress->remaining = atomic_load_explicit(&copy->remaining_now, memory_order_relaxed);
    ret_progress->total = atomic_load_explicit(&copy->total_now, memory_order_relaxed);
    ret_progress->restarts = atomic_load_explicit(&copy->restarts_now, memory_order_relaxed);
    ret_progress->waiting = atomic_load_explicit(&copy->waiting_now, memory_order_relaxed);
}

/* On the loop. */
static void tell(ll_request *news)
{
    struct copy *copy = LLI_CONTAINER_OF(news, struct copy, news);
    ll_backup_progress progress;
    /* From here on it may be posted again: the numbers are read behind this. */
    atomic_store_explicit(&copy->telling, false, memory_order_release);
    ll_backup_get_progress(copy->request, &progress);
    copy->progress(copy->request, &progress, copy->request->user);
}

static void report(struct copy *copy, bool waiting, bool restarted)
{
    uint64_t remaining = copy->total - copy->done;
    atomic_store_explicit(&copy->remaining_now, remaining, memory_order_relaxed);
    atomic_store_explicit(&copy->total_now, copy->total, memory_order_relaxed);
    atomic_store_explicit(&copy->waiting_now, waiting, memory_order_relaxed);
    if (restarted)
        atomic_fetch_add_explicit(&copy->restarts_now, 1, memory_order_relaxed);
    if (copy->progress && !atomic_exchange_explicit(&copy->telling, true, memory_order_acq_rel))
        lli_engine_post(copy->request->engine, &copy->news);
}

/* ---- a step, by the source's owner -------------------------------------------------------------- */

/* Ends SQLite's part, if nobody has. Its result is that of the whole copy. */
static int end_raw(struct copy *copy)
{
    if (!lli_resident_remove(copy->source, &copy->resident))
        return SQLITE_OK;
    sqlite3_backup *raw = copy->raw;
    copy->raw = NULL;
    int rc = lli_sq.backup_finish(raw);
    ll_request_unref(copy->request); /* the list's; the engine has one until it is told */
    return rc;
}

static void cut(struct lli_resident *resident, const char *why)
{
    struct copy *copy = LLI_CONTAINER_OF(resident, struct copy, resident);
    copy->cut = why;
    (void)lli_sq.backup_finish(copy->raw);
    copy->raw = NULL;
    lli_conn_unpark(target_of(copy)); /* which need not wait any more */
    ll_request_unref(copy->request);
}

static enum next fail(struct copy *copy, ll_status status, int code, const char *text)
{
    lli_error_set(&copy->request->error, status, "%s", text);
    copy->request->error.pub.sqlite_code = code;
    copy->request->outcome = LL_NOT_APPLIED;
    return NEXT_END;
}

/* Whether it has to end before the next step. */
static bool is_over(struct copy *copy)
{
    ll_request *request = copy->request;
    const ll_conn *source = copy->source;
    enum lli_stop stop = (enum lli_stop)atomic_load_explicit(&request->stop, memory_order_relaxed);
    if (stop != LLI_STOP_NONE) {
        lli_request_set_stopped(request, stop, false);
    } else if (copy->cut) {
        lli_error_set(&request->error, LL_ECLOSED, "the source of the backup is gone: %s",
                      copy->cut);
    } else if (!source->db.handle) {
        lli_error_set(&request->error, LL_ECLOSED, "the source of the backup is not open: %s",
                      source->open_error.pub.status < 0 ? source->open_error.pub.message
                                                        : "it was closed");
    } else {
        return false;
    }
    return true;
}

static bool begin_raw(struct copy *copy)
{
    sqlite3 *target = target_of(copy)->db.handle;
    copy->raw = lli_sq.backup_init(target, copy->target_schema, copy->source->db.handle,
                                   copy->source_schema);
    if (!copy->raw) { /* the error is the target's */
        lli_error_from_sqlite(&copy->request->error, target, lli_sq.extended_errcode(target));
        return false;
    }
    ll_request_ref(copy->request);
    lli_resident_add(copy->source, &copy->resident);
    return true;
}

/* Notes how far it is; whether it has begun anew since the step before. */
static bool count_pages(struct copy *copy, int rc)
{
    uint64_t total = (uint64_t)lli_sq.backup_pagecount(copy->raw);
    uint64_t done = total - (uint64_t)lli_sq.backup_remaining(copy->raw);
    bool restarted = rc == SQLITE_OK
                       ? done < copy->done + (uint64_t)copy->pages
                       : rc == SQLITE_DONE && total - copy->done > (uint64_t)copy->pages;
    restarted = restarted && copy->done > 0;
    copy->done = done;
    copy->total = total;
    return restarted;
}

static enum next met_lock(struct copy *copy, int rc)
{
    const ll_request *request = copy->request;
    uint64_t now = lli_now_ns();
    report(copy, true, false);
    if (now < request->busy_until_ns) {
        uint64_t left = request->busy_until_ns - now;
        copy->wait_ns = copy->sleep_ns < left ? copy->sleep_ns : left;
        return NEXT_PAUSE;
    }
    bool own = lli_sq.txn_state(copy->source->db.handle, copy->source_schema) == SQLITE_TXN_WRITE;
    return fail(
        copy, LL_EBUSY, rc,
        own ? "the source of the backup has a write transaction open: commit or roll back first"
            : lli_sq.errstr(rc));
}

static enum next run_one(struct copy *copy)
{
    ll_request *request = copy->request;
    request->outcome = LL_NOT_APPLIED;
    if (is_over(copy) || (!copy->raw && !begin_raw(copy)))
        return NEXT_END;
    int rc = lli_sq.backup_step(copy->raw, copy->pages);
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return met_lock(copy, rc);
    case SQLITE_OK:
    case SQLITE_DONE:
        break;
    default:
        lli_error_from_sqlite(&request->error, NULL, rc);
        return NEXT_END;
    }
    bool restarted = count_pages(copy, rc);
    if (restarted && copy->grows && copy->pages < INT_MAX / 2)
        copy->pages *= 2;
    report(copy, false, restarted);
    if (rc == SQLITE_DONE) {
        request->outcome = LL_APPLIED;
        return NEXT_END;
    }
    request->busy_until_ns = lli_deadline_after(target_of(copy)->busy_timeout_ns);
    copy->wait_ns = copy->pause_ns;
    return copy->pause_ns > 0 ? NEXT_PAUSE : NEXT_STEP;
}

static int run_step(ll_conn *source, ll_request *step, uint64_t *ret_park_ns)
{
    struct copy *copy = LLI_CONTAINER_OF(step, struct copy, step);
    (void)ret_park_ns;
    atomic_store_explicit(&step->stop, LLI_STOP_NONE, memory_order_relaxed);
    if (source->db.handle) {
        if (source->db.adopted)
            lli_own_install_guard(source);
        lli_run_arm(source, step, true, false);
    }
    copy->next = run_one(copy);
    if (copy->next != NEXT_END)
        return LLI_RUN_DONE;
    int rc = end_raw(copy);
    if (rc != SQLITE_OK && copy->request->outcome == LL_APPLIED) {
        copy->request->outcome = LL_UNKNOWN;
        lli_error_from_sqlite(&copy->request->error, NULL, rc);
    }
    return LLI_RUN_DONE;
}

/* ---- the target --------------------------------------------------------------------------------- */

/* It is as before; nobody else has touched it meanwhile. */
static void restore_target(struct copy *copy)
{
    ll_conn *target = target_of(copy);
    target->db.guard.nap = copy->nap;
    forget_source(target);
}

static void complete(struct copy *copy)
{
    ll_conn *target = target_of(copy);
    ll_request *request = copy->request;
    restore_target(copy);
    request->midway = false;
    if (copy->to_file) {
        lli_run_arm(target, request, false, true);
        ll_outcome outcome = request->outcome;
        lli_run_close(target, request);
        request->outcome = outcome;
    } else {
        bool locked = lli_own_lock(target, LLI_OP_TASK);
        if (target->facts_stale)
            lli_facts_learn(target);
        if (locked)
            lli_own_unlock(target);
    }
    if (lli_conn_complete(target, request))
        (void)lli_conn_put_back(target, NULL, false);
}

/* The step has run, and the source was let go. */
static void after_step(ll_conn *source, ll_request *step)
{
    struct copy *copy = LLI_CONTAINER_OF(step, struct copy, step);
    ll_conn *target = target_of(copy);
    switch (copy->next) {
    case NEXT_STEP:
        (void)lli_conn_enqueue(source, &copy->step);
        return;
    case NEXT_PAUSE:
        lli_conn_ref(target); /* it may be told of its end before we are done */
        if (lli_conn_park(target, copy->request, copy->wait_ns))
            (void)lli_conn_put_back(target, NULL, false);
        lli_conn_unref(target);
        return;
    default:
        complete(copy);
        return;
    }
}

/* No worker can be started for the step. */
static void strand(ll_request *step)
{
    struct copy *copy = LLI_CONTAINER_OF(step, struct copy, step);
    (void)end_raw(copy);
    (void)fail(copy, LL_ESYS, 0, ll_last_error());
    complete(copy);
}

static int run_copy(ll_conn *target, ll_request *request, uint64_t *ret_park_ns)
{
    struct copy *copy = lli_task_data(request);
    request->outcome = LL_NOT_APPLIED;
    if (copy->begun)
        return LLI_RUN_AWAY;
    lli_run_arm(target, request, true, false);
    bool temp = strcmp(copy->target_schema, "temp") == 0;
    if (lli_run_must_wait(target, request, !temp, LLI_KIND_SELECT, NULL, 0, ret_park_ns))
        return LLI_RUN_PARK;
    if (!note_source(target, copy->source)) {
        forget_source(target);
        (void)fail(copy, LL_EBUSY, SQLITE_BUSY,
                   "the source of the backup is itself the target of one that waits for this "
                   "connection");
        return LLI_RUN_DONE;
    }
    copy->begun = request->midway = true;
    copy->nap = target->db.guard.nap;
    target->db.guard.nap = NULL;
    return LLI_RUN_AWAY;
}

static void leave(ll_request *request)
{
    struct copy *copy = lli_task_data(request);
    (void)lli_conn_enqueue(copy->source, &copy->step); /* internal: always admitted */
}

/* It was parked, and no worker can be started to go on. */
static void lost(ll_request *request)
{
    struct copy *copy = lli_task_data(request);
    if (!copy->begun)
        return;
    (void)end_raw(copy);
    lli_conn_pass_gate(request->conn);
    restore_target(copy);
}

static void gone(ll_request *request)
{
    struct copy *copy = lli_task_data(request);
    ll_conn_unref(copy->source);
}

static const struct lli_task_ops copy_ops = {
    .name = "ll_backup()",
    .run = run_copy,
    .leave = leave,
    .lost = lost,
    .gone = gone,
    .kind = LLI_KIND_PRAGMA,
    .opens = true,
};

/* ---- the calls ---------------------------------------------------------------------------------- */

static ll_status submit(ll_conn *source, ll_conn *target, const ll_backup_options *options,
                        bool to_file, const ll_submit *how, ll_request **ret_request,
                        const char *caller)
{
    static const ll_backup_options defaults;
    if (!options)
        options = &defaults;
    ll_request *request;
    LL_TRY(
        lli_task_new(target, &copy_ops, sizeof(struct copy), how, ret_request, caller, &request));
    struct copy *copy = lli_task_data(request);
    const char *from = options->source_schema ? options->source_schema : "main";
    const char *to = options->target_schema ? options->target_schema : "main";
    copy->request = request;
    copy->source = ll_conn_ref(source);
    copy->pause_ns = options->pause_ns;
    copy->sleep_ns = options->sleep_ns > 0 ? options->sleep_ns : lock_sleep_ns;
    copy->progress = options->progress;
    copy->grows = options->pages == 0;
    copy->pages = copy->grows              ? FIRST_PAGES
                : options->pages > INT_MAX ? INT_MAX
                                           : (int)options->pages;
    copy->to_file = to_file;
    copy->resident.cut = cut;
    lli_request_init_internal(&copy->step, source, LLI_OP_CHORE);
    copy->step.in.chore.run = run_step;
    copy->step.in.chore.end = after_step;
    copy->step.in.chore.strand = strand;
    lli_request_init_internal(&copy->news, target, LLI_OP_NEWS);
    copy->news.in.news.tell = tell;
    if (lli_submit_text(request, from, strlen(from), &copy->source_schema) != LL_OK ||
        lli_submit_text(request, to, strlen(to), &copy->target_schema) != LL_OK)
        return lli_task_no_memory(request, caller);
    return lli_submit(request, ret_request);
}

ll_status ll_backup(ll_conn *source, ll_conn *target, const ll_backup_options *options,
                    const ll_submit *how, ll_request **ret_request)
{
    static const char caller[] = "ll_backup";
    if (!source || !target)
        return lli_refuse(LL_EINVAL, "%s: %s is NULL", caller, source ? "target" : "source");
    LL_TRY(lli_engine_check(source->engine, caller));
    if (source == target)
        return lli_refuse(LL_EINVAL, "%s: source and target are the same connection", caller);
    return submit(source, target, options, false, how, ret_request, caller);
}

ll_status ll_backup_to_file(ll_conn *source, const char *path, const ll_backup_options *options,
                            const ll_submit *how, ll_request **ret_request)
{
    static const char caller[] = "ll_backup_to_file";
    if (!source || !path)
        return lli_refuse(LL_EINVAL, "%s: %s is NULL", caller, source ? "path" : "source");
    LL_TRY(lli_engine_check(source->engine, caller));
    ll_open_options open = {.flags = LL_OPEN_NO_INLINE};
    ll_request *opening = NULL;
    ll_conn *target = NULL;
    LL_TRY(ll_conn_open(source->engine, path, &open, NULL, &target, &opening));
    ll_status status = submit(source, target, options, true, how, ret_request, caller);
    ll_request_unref(opening);
    ll_conn_unref(target); /* it closes behind the copy */
    return status;
}
