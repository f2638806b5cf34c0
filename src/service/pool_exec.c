/* pool_exec.c: single statements that share the connections of a pool.
 *
 * The short way: nobody waits and a connection has nothing to do, so the statement is submitted to it as any other,
 * which may run it on the loop, inside the call. `users` keeps the connection from being leased or closed between
 * the choice and the submission. Otherwise the statement waits in a line of the pool (pool_serve.c) and is
 * given to a connection when its turn comes; until then the request refers to the pool's anchor.
 *
 * With group commit, writes go to a writer on a connection of its own, as soon as there is one (engine/group.c).
 *
 * Whoever asks for one statement after another sees his own: each is committed before it is answered, and the next
 * begins with what is committed. */
#include "service/pool.h"

#include "platform/clock.h"
#include "service/exec.h"

static ll_status check(const ll_pool *pool, const ll_sql *sql, size_t *ret_size)
{
    static const char caller[] = "ll_pool_exec";
    if (!pool)
        return lli_refuse(LL_EINVAL, "%s: pool is NULL", caller);
    if (!sql)
        return lli_refuse(LL_EINVAL, "%s: sql is NULL", caller);
    LL_TRY(lli_engine_check(pool->engine, caller));
    LL_TRY(lli_exec_text_size(sql->text, sql->size, caller, "sql->text", ret_size));
    const char *why = lli_classify_own(sql->text, *ret_size);
    if (!why && (sql->flags & LL_SQL_STREAM))
        why = "a stream keeps its connection until it ends";
    if (!why && sql->begin_before != LL_BEGIN_NONE)
        why = "it would begin a transaction";
    if (why)
        return lli_refuse(
            LL_ENEEDSLEASE,
            "%s: this statement needs a connection of its own (ll_pool_acquire()): %s", caller,
            why);
    return LL_OK;
}

/* It waits in line. */
static ll_status wait_in_line(ll_pool *pool, const ll_sql *sql, enum lli_kind kind,
                              enum lli_line line, uint64_t now, const ll_submit *how,
                              ll_request **ret_request)
{
    ll_request *request = NULL;
    LL_TRY(lli_exec_new(pool->anchor, sql, kind, how, ret_request, "ll_pool_exec", &request));
    struct lli_waiter *waiter = lli_arena_take(&request->arena, sizeof *waiter);
    if (!waiter) {
        ll_request_unref(request);
        return lli_refuse(LL_ENOMEM, "ll_pool_exec: out of memory");
    }
    *waiter = (struct lli_waiter){
        .line = line, .since_ns = now, .deadline_ns = request->deadline_ns};
    if (request->deadline_ns == LLI_NEVER && pool->options.operation_timeout_ns > 0)
        request->flags |= LLI_SUBMIT_BREAKS; /* the time begins when it has its connection */
    request->wait = &lli_pool_exec_ops;
    request->waits_for = lli_pool_ref(pool);
    request->extra = waiter;
    /* It has some deadline while it waits, for then it can be given another one when it has its connection. */
    uint64_t until = pool->options.connect_timeout_ns == LL_POOL_NEVER
                       ? LLI_NEVER - 1
                       : lli_deadline_from(now, pool->options.connect_timeout_ns);
    if (until < request->deadline_ns)
        request->deadline_ns = until;
    return lli_pool_wait(pool, request, ret_request);
}

/* Whether a statement is one of those that may share a transaction, by its first word. (The writer looks further, and
 * runs by itself what cannot.) */
static bool may_be_grouped(const ll_pool *pool, const ll_sql *sql, enum lli_kind kind,
                           enum lli_line line)
{
    return pool->options.group_commit && line == LLI_LINE_WRITE &&
           !(sql->flags & LL_SQL_READ_ONLY) && lli_writer_takes(kind, sql);
}

/* To the writer. False: there is none now. */
static bool try_group(ll_pool *pool, const ll_sql *sql, uint64_t now, const ll_submit *how,
                      ll_request **ret_request, ll_status *ret_status)
{
    struct lli_slot *scribe = &pool->scribe;
    lli_lock(&pool->mu);
    pool->scribe_wanted = true;
    ll_writer *writer = NULL;
    if (!pool->closing && scribe->state == LLI_SLOT_FREE && !scribe->suspect &&
        !lli_slot_needs_look(scribe, now) && pool->writer) {
        writer = pool->writer;
        lli_slot_share(scribe, LLI_LINE_WRITE, now);
    }
    lli_unlock(&pool->mu);
    if (!writer) {
        lli_pool_serve(pool);
        return false;
    }
    bool broken = ll_writer_is_broken(writer);
    if (!broken)
        *ret_status = ll_writer_submit(writer, NULL, sql, how, ret_request);
    lli_lock(&pool->mu);
    scribe->users--;
    scribe->suspect |= broken; /* another one is opened in its place */
    bool serve = pool->closing || broken;
    lli_unlock(&pool->mu);
    if (serve)
        lli_pool_serve(pool);
    return !broken;
}

ll_status ll_pool_exec(ll_pool *pool, const ll_sql *sql, const ll_submit *how,
                       ll_request **ret_request)
{
    size_t size;
    LL_TRY(check(pool, sql, &size));
    ll_sql checked = *sql;
    checked.size = size;
    enum lli_kind kind = lli_classify(checked.text, size);
    enum lli_line line = lli_classify_reads(checked.text, size) ? LLI_LINE_READ : LLI_LINE_WRITE;
    uint64_t now = lli_now_ns();
    ll_status grouped = LL_OK;
    if (may_be_grouped(pool, &checked, kind, line) &&
        try_group(pool, &checked, now, how, ret_request, &grouped))
        return grouped;
    lli_lock(&pool->mu);
    bool closing = pool->closing;
    struct lli_slot *slot = closing ? NULL : lli_pool_pick(pool, line, now);
    if (slot)
        lli_slot_share(slot, line, now);
    lli_unlock(&pool->mu);
    if (closing)
        return lli_refuse(LL_ECLOSED, "ll_pool_exec: the pool is closed");
    if (!slot)
        return wait_in_line(pool, &checked, kind, line, now, how, ret_request);
    ll_status status = lli_exec_submit(slot->conn, &checked, kind, how, ret_request,
                                       "ll_pool_exec");
    lli_lock(&pool->mu);
    slot->users--;
    bool serve = atomic_load_explicit(&pool->waiting, memory_order_relaxed) > 0 || pool->closing;
    lli_unlock(&pool->mu);
    if (serve)
        lli_pool_serve(pool);
    return status;
}
