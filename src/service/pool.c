/* pool.c: making and closing a pool, leases and their return.
 *
 * A pool is a set of slots, each of which holds a connection or none (pool_slot.c), and three lines of those who wait
 * for one (pool_serve.c). Nothing of it is a thread: whoever makes something possible does what follows from it.
 *
 * Giving back. Most owners leave nothing behind, and what they may leave is noted as it happens (engine/tenant.c).
 * So a lease that was clean goes back inside the call, without a look at SQLite; any other is looked at on a worker
 * (engine/reset.c), behind whatever was submitted under it.
 *
 * References. The pool's memory is kept by the program's handle, each lease, each request that waits, and each
 * connection. Each connection is the program's of a lease or the pool's; closing lets go of them all.
 *
 * Lock order: `mu` of the pool alone; no call into the engine, no callback under it. */
#include "service/pool.h"

#include "base/alloc.h"
#include "engine/engine.h"
#include "platform/clock.h"
#include "service/conn.h"
#include "service/memdb.h"

#include <stdio.h>
#include <string.h>

enum {
    DEFAULT_SIZE = 5,
    MOST_SIZE = 1024,
    DEFAULT_CHECKPOINT_FRAMES = 1000, /* as SQLite */
    BOUND_FACTOR = 4
};
static const uint64_t default_connect_ns = 30 * LLI_SECOND;
static const uint64_t default_idle_ns = 86400 * LLI_SECOND;
static const uint64_t default_health_ns = 10 * LLI_SECOND;

ll_pool *lli_pool_ref(ll_pool *pool)
{
    atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
    return pool;
}

static void free_pool(ll_pool *pool)
{
    if (pool->anchor)
        ll_conn_unref(pool->anchor);
    for (unsigned i = 0; pool->slots && i < pool->options.max_size; i++)
        lli_error_done(&pool->slots[i].chore.error);
    lli_error_done(&pool->keeper.chore.error);
    lli_error_done(&pool->scribe.chore.error);
    if (pool->adopt.release)
        pool->adopt.release(pool->adopt.arg);
    for (char **pragma = pool->pragmas; pragma && *pragma; pragma++)
        lli_free(*pragma);
    lli_free(pool->pragmas);
    lli_free(pool->vfs);
    lli_free(pool->path);
    lli_free(pool->slots);
    lli_mutex_done(&pool->mu);
    lli_live(-1);
    lli_free(pool);
}

void lli_pool_unref(ll_pool *pool)
{
    if (atomic_fetch_sub_explicit(&pool->refs, 1, memory_order_acq_rel) == 1)
        free_pool(pool);
}

/* ---- making ---- */

static ll_status check_options(const ll_pool_options *options)
{
    static const char caller[] = "ll_pool_new";
    if (options->max_size > MOST_SIZE)
        return lli_refuse(LL_EINVAL, "%s: max_size is %u, the most is %d", caller,
                          options->max_size, MOST_SIZE);
    unsigned most = options->max_size > 0 ? options->max_size : DEFAULT_SIZE;
    if (options->min_size > most)
        return lli_refuse(LL_EINVAL, "%s: min_size is %u, more than max_size, which is %u", caller,
                          options->min_size, most);
    if (options->open.flags & ~LLI_OPEN_FLAGS)
        return lli_refuse(LL_EINVAL, "%s: open.flags has unknown bits: 0x%x", caller,
                          options->open.flags & ~LLI_OPEN_FLAGS);
    if (options->adopt && !options->adopt->open)
        return lli_refuse(LL_EINVAL, "%s: adopt->open is NULL", caller);
    uint32_t frames = options->checkpoint_frames;
    if (options->wal_bound_frames > 0 && frames != LL_POOL_OFF &&
        options->wal_bound_frames < (frames > 0 ? frames : DEFAULT_CHECKPOINT_FRAMES))
        return lli_refuse(
            LL_EINVAL, "%s: wal_bound_frames is %u, less than checkpoint_frames, which is %u",
            caller, options->wal_bound_frames, frames > 0 ? frames : DEFAULT_CHECKPOINT_FRAMES);
    return LL_OK;
}

static void set_defaults(ll_pool_options *options)
{
    if (options->max_size == 0)
        options->max_size = DEFAULT_SIZE;
    if (options->connect_timeout_ns == 0)
        options->connect_timeout_ns = default_connect_ns;
    if (options->idle_timeout_ns == 0)
        options->idle_timeout_ns = default_idle_ns;
    if (options->health_interval_ns == 0)
        options->health_interval_ns = default_health_ns;
    if (options->operation_timeout_ns == LL_POOL_NEVER)
        options->operation_timeout_ns = 0;
    if (options->checkpoint_frames == 0)
        options->checkpoint_frames = DEFAULT_CHECKPOINT_FRAMES;
    if (options->wal_bound_frames == 0)
        options->wal_bound_frames = options->checkpoint_frames < UINT32_MAX / BOUND_FACTOR
                                      ? options->checkpoint_frames * BOUND_FACTOR
                                      : UINT32_MAX;
}

static ll_status copy_texts(ll_pool *pool, const ll_open_options *open)
{
    size_t count = 0;
    while (open->pragmas && open->pragmas[count])
        count++;
    pool->pragmas = lli_new_array(count + 1, sizeof *pool->pragmas);
    if (!pool->pragmas)
        return LL_ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (!(pool->pragmas[i] = lli_copy_text(open->pragmas[i], strlen(open->pragmas[i]))))
            return LL_ENOMEM;
    if (open->vfs && !(pool->vfs = lli_copy_text(open->vfs, strlen(open->vfs))))
        return LL_ENOMEM;
    pool->options.open.pragmas = (const char *const *)pool->pragmas;
    pool->options.open.vfs = pool->vfs;
    return LL_OK;
}

/* What the connections open, and whether it is in memory. */
static ll_status set_path(ll_pool *pool, const char *path)
{
    unsigned flags;
    if (pool->adopt.open && !path)
        return LL_OK; /* nobody says what it is: a file */
    LL_TRY(lli_memdb_uri(path, pool->options.open.flags, &pool->path, &flags));
    if (pool->path) {
        uint64_t hash = UINT64_C(14695981039346656037);
        for (const char *c = pool->path; *c; c++)
            hash = (hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
        pool->memory_key = hash | 1;
        pool->options.open.flags |= flags;
        return LL_OK;
    }
    pool->path = lli_copy_text(path, strlen(path));
    return pool->path ? LL_OK : LL_ENOMEM;
}

static ll_status fill(ll_pool *pool, ll_engine *engine, const char *path,
                      const ll_open_options *open)
{
    pool->slots = lli_new_array(pool->options.max_size, sizeof *pool->slots);
    if (!pool->slots)
        return LL_ENOMEM;
    for (unsigned i = 0; i < pool->options.max_size; i++)
        pool->slots[i].pool = pool;
    LL_TRY(copy_texts(pool, open));
    LL_TRY(set_path(pool, path));
    LL_TRY(lli_conn_new(engine, &pool->anchor));
    (void)lli_conn_begin_close(pool->anchor); /* its handle is given back without a close */
    pool->engine = pool->anchor->engine;
    pool->checkpoints = pool->memory_key == 0 && pool->options.checkpoint_frames != LL_POOL_OFF;
    return LL_OK;
}

ll_status ll_pool_new(ll_engine *engine, const char *path, const ll_pool_options *options,
                      ll_pool **ret_pool)
{
    static const char caller[] = "ll_pool_new";
    static const ll_pool_options none = {0};
    if (!options)
        options = &none;
    ll_pool *pool = NULL;
    ll_status status = engine ? lli_engine_check(engine, caller)
                              : lli_refuse(LL_EINVAL, "%s: engine is NULL", caller);
    if (status == LL_OK && !ret_pool)
        status = lli_refuse(LL_EINVAL, "%s: ret_pool is NULL", caller);
    if (status == LL_OK)
        status = check_options(options);
    if (status == LL_OK && !(pool = lli_new(sizeof *pool)))
        status = lli_refuse(LL_ENOMEM, "%s: out of memory", caller);
    if (status != LL_OK) {
        if (options->adopt && options->adopt->release)
            options->adopt->release(options->adopt->arg);
        return status;
    }
    lli_live(+1);
    atomic_init(&pool->refs, 1);
    lli_mutex_init(&pool->mu);
    for (int line = 0; line < LLI_LINES; line++)
        lli_list_init(&pool->lines[line]);
    lli_list_init(&pool->closers);
    pool->options = *options;
    pool->options.adopt = NULL;
    if (options->adopt)
        pool->adopt = *options->adopt;
    set_defaults(&pool->options);
    pool->keep_trying = true;
    pool->keeper.pool = pool->scribe.pool = pool;
    if (fill(pool, engine, path, &options->open) != LL_OK) {
        free_pool(pool);
        return lli_refuse(LL_ENOMEM, "%s: out of memory", caller);
    }
    if (pool->options.group_commit && pool->memory_key != 0) {
        free_pool(pool);
        return lli_refuse(LL_EINVAL,
                          "%s: group_commit is for files; this is a database in memory, where a "
                          "commit costs nothing that could be shared",
                          caller);
    }
    *ret_pool = pool;
    lli_pool_serve(pool);
    return LL_OK;
}

ll_status ll_pool_memory_uri(const char *path, unsigned flags, char *ret_uri, size_t room)
{
    static const char caller[] = "ll_pool_memory_uri";
    char *uri;
    unsigned more;
    if (!ret_uri)
        return lli_refuse(LL_EINVAL, "%s: ret_uri is NULL", caller);
    if (lli_memdb_uri(path, flags, &uri, &more) != LL_OK)
        return lli_refuse(LL_ENOMEM, "%s: out of memory", caller);
    size_t size = uri ? strlen(uri) : 0;
    if (size >= room) {
        lli_free(uri);
        return lli_refuse(LL_EINVAL, "%s: room is %zu, %zu are needed", caller, room, size + 1);
    }
    memcpy(ret_uri, uri ? uri : "", size + 1);
    lli_free(uri);
    return LL_OK;
}

/* ---- leases ---- */

static void free_lease(ll_lease *lease)
{
    lli_live(-1);
    lli_free(lease);
}

static ll_lease *new_lease(const char *label)
{
    ll_lease *lease = lli_new(sizeof *lease);
    if (!lease)
        return NULL;
    lli_live(+1);
    size_t size = label ? strlen(label) : 0;
    if (size >= sizeof lease->label) { /* not in the middle of a character */
        size = sizeof lease->label - 1;
        while (size > 0 && ((unsigned char)label[size] & 0xc0) == 0x80)
            size--;
    }
    if (size > 0)
        memcpy(lease->label, label, size);
    return lease;
}

/* A request that will wait for a lease. */
static ll_status new_acquire(ll_pool *pool, const char *label, const ll_submit *how,
                             ll_request **ret_request, const char *caller, ll_request **ret_new)
{
    ll_request *request = NULL;
    LL_TRY(lli_submit_new(pool->anchor, LLI_OP_WAIT, how, ret_request, caller, &request));
    struct lli_waiter *waiter = lli_arena_take(&request->arena, sizeof *waiter);
    ll_lease *lease = waiter ? new_lease(label) : NULL;
    if (!lease) {
        ll_request_unref(request);
        return lli_refuse(LL_ENOMEM, "%s: out of memory", caller);
    }
    *waiter = (struct lli_waiter){.line = LLI_LINE_ACQUIRE,
                                  .since_ns = lli_now_ns(),
                                  .deadline_ns = LLI_NEVER,
                                  .lease = lease};
    if (request->deadline_ns == LLI_NEVER && pool->options.connect_timeout_ns != LL_POOL_NEVER)
        request->deadline_ns = lli_deadline_from(waiter->since_ns,
                                                 pool->options.connect_timeout_ns);
    request->wait = &lli_pool_acquire_ops;
    request->waits_for = lli_pool_ref(pool);
    request->extra = waiter;
    *ret_new = request;
    return LL_OK;
}

ll_status ll_pool_acquire(ll_pool *pool, const char *label, const ll_submit *how,
                          ll_request **ret_request)
{
    static const char caller[] = "ll_pool_acquire";
    if (!pool)
        return lli_refuse(LL_EINVAL, "%s: pool is NULL", caller);
    LL_TRY(lli_engine_check(pool->engine, caller));
    ll_request *request = NULL;
    LL_TRY(new_acquire(pool, label, how, ret_request, caller, &request));
    struct lli_waiter *waiter = lli_waiter_of(request);
    bool engine_ended = atomic_load(&request->engine->closed);
    lli_lock(&pool->mu);
    bool closing = pool->closing || engine_ended;
    struct lli_slot *slot = closing ? NULL
                                    : lli_pool_pick(pool, LLI_LINE_ACQUIRE, waiter->since_ns);
    if (slot) {
        lli_slot_lease(slot, waiter->lease, waiter->since_ns);
        pool->stats.immediate++;
    }
    lli_unlock(&pool->mu);
    if (closing) {
        ll_request_unref(request);
        return lli_refuse(LL_ECLOSED, "%s: the %s is closed", caller,
                          engine_ended ? "engine" : "pool");
    }
    if (!slot)
        return lli_pool_wait(pool, request, ret_request);
    request->outcome = LL_APPLIED;
    return lli_submit_finished(request, false, ret_request);
}

ll_lease *ll_request_take_lease(ll_request *request)
{
    if (!ll_request_is_done(request) || request->wait != &lli_pool_acquire_ops ||
        request->error.pub.status < 0)
        return NULL;
    struct lli_waiter *waiter = lli_waiter_of(request);
    ll_lease *lease = waiter->lease;
    waiter->lease = NULL;
    return lease;
}

ll_conn *ll_lease_conn(const ll_lease *lease)
{
    return lease ? lease->conn : NULL;
}

/* ---- giving back ---- */

/* It ends when the reset has ended, whatever is said meanwhile. */
static bool stop_release(ll_request *request, enum lli_stop why)
{
    (void)request;
    (void)why;
    return true;
}

static void release_gone(ll_request *request)
{
    lli_free(request->extra);
    lli_pool_unref(request->waits_for);
}

static const struct lli_wait_ops release_ops = {stop_release, release_gone};

static ll_status new_release(ll_pool *pool, const ll_submit *how, ll_request **ret_request,
                             ll_request **ret_new)
{
    ll_request *request = NULL;
    LL_TRY(
        lli_submit_new(pool->anchor, LLI_OP_WAIT, how, ret_request, "ll_pool_release", &request));
    struct lli_released *released = lli_new(sizeof *released);
    if (!released) {
        ll_request_unref(request);
        return lli_refuse(LL_ENOMEM, "ll_pool_release: out of memory");
    }
    released->pub.last_write = released->pub.reason = "";
    request->flags |= LL_SUBMIT_SHIELD;
    request->deadline_ns = LLI_NEVER;
    request->wait = &release_ops;
    request->waits_for = lli_pool_ref(pool);
    request->extra = released;
    *ret_new = request;
    return LL_OK;
}

/* Nothing was left behind: its next owner can have it at once. */
static void give_back_clean(ll_pool *pool, struct lli_slot *slot)
{
    atomic_fetch_add_explicit(&slot->conn->tenant.lease, 1, memory_order_relaxed);
    lli_lock(&pool->mu);
    lli_slot_move(slot, LLI_SLOT_FREE);
    slot->lease = NULL;
    slot->serves = LLI_LINE_READ;
    slot->used_ns = lli_now_ns();
    lli_unlock(&pool->mu);
}

/* With a reset. `request`: NULL, or who waits for it, with a reference for the slot. */
static void give_back_used(ll_pool *pool, struct lli_slot *slot, ll_request *request)
{
    lli_lock(&pool->mu);
    lli_slot_move(slot, LLI_SLOT_RESETTING);
    slot->lease = NULL;
    slot->look = false;
    slot->releasing = request;
    lli_unlock(&pool->mu);
    lli_slot_reset(slot);
}

ll_status ll_pool_release(ll_lease *lease, const ll_submit *how, ll_request **ret_request)
{
    if (!lease)
        return LL_OK;
    if (!lease->conn) { /* it was never given out */
        free_lease(lease);
        return LL_OK;
    }
    ll_pool *pool = lease->pool;
    struct lli_slot *slot = lease->slot;
    if (lli_engine_foreign(pool->engine))
        return LL_EFORK;
    bool asked = ret_request || (how && how->done);
    ll_request *request = NULL;
    ll_status status = asked ? new_release(pool, how, ret_request, &request) : LL_OK;
    bool clean = lli_tenant_is_clean(slot->conn);
    if (!clean && request) {
        ll_status added = lli_engine_add(request->engine, request);
        if (added != LL_OK) { /* the engine has ended: nobody can be told */
            ll_request_unref(request);
            request = NULL;
            status = added;
        } else {
            lli_request_enqueued(request);
            ll_request_ref(request);
        }
    }
    if (clean) {
        give_back_clean(pool, slot);
        if (request) {
            request->outcome = LL_APPLIED;
            status = lli_submit_finished(request, false, ret_request);
        }
    } else {
        give_back_used(pool, slot, request);
        if (request) {
            status = LL_PENDING;
            if (ret_request)
                *ret_request = request;
            else
                ll_request_unref(request);
        }
    }
    lli_pool_serve(pool);
    free_lease(lease);
    lli_pool_unref(pool);
    return status;
}

void ll_request_get_released(const ll_request *request, ll_released *ret_released)
{
    if (!ret_released)
        return;
    *ret_released = (ll_released){.last_write = "", .reason = ""};
    if (ll_request_is_done(request) && request->wait == &release_ops)
        *ret_released = ((const struct lli_released *)request->extra)->pub;
}

/* ---- the end ---- */

/* Only the end of an engine stops it, and only while leases are out: all else comes to its end by itself. */
static bool stop_close(ll_request *request, enum lli_stop why)
{
    ll_pool *pool = request->waits_for;
    if (why != LLI_STOP_CLOSE)
        return true;
    lli_lock(&pool->mu);
    bool leased = false;
    for (unsigned i = 0; i < pool->options.max_size; i++)
        leased = leased || pool->slots[i].state == LLI_SLOT_LEASED;
    bool ends = leased && lli_node_linked(&request->queue_node);
    if (ends)
        lli_list_remove(&request->queue_node);
    lli_unlock(&pool->mu);
    if (ends && lli_request_claim(request)) {
        lli_request_set_stopped(request, why, false);
        lli_request_finish(request);
    }
    if (ends)
        ll_request_unref(request);
    return true;
}

static void close_gone(ll_request *request)
{
    lli_pool_unref(request->waits_for);
}

static const struct lli_wait_ops close_ops = {stop_close, close_gone};

/* Under mu. */
static bool is_closed(const ll_pool *pool)
{
    bool closed = pool->closing && pool->keeper.state == LLI_SLOT_EMPTY &&
                  pool->scribe.state == LLI_SLOT_EMPTY;
    for (unsigned i = 0; closed && i < pool->options.max_size; i++)
        closed = pool->slots[i].state == LLI_SLOT_EMPTY;
    return closed;
}

ll_status ll_pool_close(ll_pool *pool, const ll_submit *how, ll_request **ret_request)
{
    static const char caller[] = "ll_pool_close";
    if (!pool)
        return lli_refuse(LL_EINVAL, "%s: pool is NULL", caller);
    LL_TRY(lli_engine_check(pool->engine, caller));
    ll_request *request = NULL;
    LL_TRY(lli_submit_new(pool->anchor, LLI_OP_WAIT, how, ret_request, caller, &request));
    request->flags |= LL_SUBMIT_SHIELD;
    request->deadline_ns = LLI_NEVER;
    request->wait = &close_ops;
    request->waits_for = lli_pool_ref(pool);
    lli_lock(&pool->mu);
    pool->closing = true;
    lli_unlock(&pool->mu);
    lli_pool_serve(pool); /* what is at rest closes inside the call when the engine has ended */
    lli_lock(&pool->mu);
    bool closed = is_closed(pool);
    lli_unlock(&pool->mu);
    if (closed) {
        request->outcome = LL_APPLIED;
        return lli_submit_finished(request, false, ret_request);
    }
    ll_status status = lli_engine_add(request->engine, request);
    if (status != LL_OK) {
        ll_request_unref(request);
        return status;
    }
    lli_lock(&pool->mu);
    lli_request_enqueued(request);
    ll_request_ref(request);
    lli_list_push(&pool->closers, &request->queue_node);
    lli_unlock(&pool->mu);
    unsigned stop = atomic_load_explicit(&request->stop, memory_order_relaxed);
    if (stop != LLI_STOP_NONE)
        lli_request_stop(request, (enum lli_stop)stop);
    lli_pool_serve(pool);
    if (ret_request)
        *ret_request = request;
    else
        ll_request_unref(request);
    return LL_PENDING;
}

void ll_pool_unref(ll_pool *pool)
{
    if (!pool || lli_engine_foreign(pool->engine))
        return;
    lli_lock(&pool->mu);
    pool->closing = true;
    lli_unlock(&pool->mu);
    lli_pool_serve(pool);
    lli_pool_unref(pool);
}
