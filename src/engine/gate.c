/* gate.c: the fair lines in front of SQLite's locks.
 *
 *   file 1:  conn A   conn B   conn C        one line per gate; the first one holds it, or is next
 *   file 2:  conn D   conn B                 B has both files: it goes when it is the first in both lines
 *
 * SQLite lets writers poll for its lock with growing sleeps, so who waits longest sleeps longest: [M] 16
 * writers with transactions of 2 ms wait up to 40 times their fair share. The writers of one process need
 * not poll: they queue here, before SQLite, without holding a thread, and each hands over to the next.
 *
 * Rules
 *  1. Only a connection that holds nothing waits (SQLITE_TXN_NONE). One that already reads is not sent here:
 *     waiting it would keep its SHARED lock, and the writer in front of it could never commit.
 *  2. The gate is given back when the connection no longer is in SQLITE_TXN_WRITE.
 *  3. A connection with attached files enters the gates of all of them, whatever it writes. BEGIN IMMEDIATE locks
 *     them all anyway; of other writes only their program would tell which, and a transaction that goes on to the
 *     next file while another one comes from there would be a deadlock that ends with a busy timeout.
 *  4. All or none: it enters all lines in one step under one mutex, so any two stand in the same order in every
 *     line that they share. So there is no deadlock, whatever the order of ATTACH; nobody overtakes in any line;
 *     and nobody holds one gate while he waits for another.
 *  5. Waiting ends with the busy timeout of the connection, as any wait for a lock.
 *
 * The gap. Writers that hand over without a pause leave the lock free for microseconds, so another process, which
 * polls with sleeps up to 100 ms, meets it held: [M] it waited 3 to 5 s of its 5 s. So whenever a gate was in use
 * for WINDOW_NS and free for less than GAP_NS of that, and another process has the file open (db/others.h), it
 * stays closed to us for GAP_NS: [M] 6 ms in 56 let the other process in after 0.6 to 1.5 s. Where the locks do
 * not tell whether there is one (rollback mode: SQLite lets go of everything between two tries), it is left all the
 * same, but not before the gate was in use for BURST_NS. Whoever is first asks again when the gap is over.
 *
 * Shared caches (SQLITE_OPEN_SHAREDCACHE) have one mutex for all their connections, held for the whole of
 * sqlite3_step(). Their connections take turns by a gate of the cache, LLI_GATE_TURN, for each request instead of
 * for a transaction: so no worker sleeps in that mutex. What the tables' locks refuse is waited for at the gate for
 * writers, by readers too. See conn_wait.c.
 *
 * Process-wide: the list of gates, one mutex, never held across SQLite, a system call, a callback or another lock.
 * A gate lives while a connection refers to it. A waiter's connection is alive: its request is parked. Whose turn
 * it is gets a reference under the mutex, so that it can be unparked after the mutex is let go. A child of fork()
 * begins with no gates: whoever holds one in the parent does not exist there. */
#include "engine/gate.h"

#include "base/alloc.h"
#include "engine/conn.h"
#include "platform/clock.h"

#include <string.h>

static const uint64_t window_ns = 50 * LLI_MS;
static const uint64_t gap_ns = 6 * LLI_MS;
static const uint64_t burst_ns = 250 * LLI_MS;
static const uint64_t kept_out_ns = 20 *
                                    LLI_MS; /* more than a step of who waits for a lock (run.c) */

struct lli_gate {
    struct lli_node node;
    uint64_t device, inode; /* fixed */
    unsigned refs;
    struct lli_list line; /* of lli_gate_place.node */
    /* the gap */
    uint64_t freed_ns;        /* when it was given back last */
    uint64_t window_ns;       /* since then it was free for `free_ns`, which is little */
    uint64_t free_ns;         /* (without what it is now) */
    uint64_t busy_ns;         /* since then it never was free for long but in our own gaps */
    uint64_t closed_until_ns; /* nobody of ours enters before */

    /* any thread, relaxed: a hint */
    _Atomic uint64_t met_ns; /* when its holder met a lock of somebody else's; 0: never */
};

static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct lli_list gates = {{&gates.head, &gates.head}}; /* under registry */

/* ---- fork ---- */

static void before_fork(void)
{
    lli_lock(&registry);
}

static void in_parent(void)
{
    lli_unlock(&registry);
}

static void in_child(void)
{
    lli_list_init(&gates);
    lli_unlock(&registry);
}

static void watch_forks(void)
{
    pthread_atfork(before_fork, in_parent, in_child);
}

/* ---- membership ---- */

/* Under registry. */
static struct lli_gate *find(uint64_t device, uint64_t inode)
{
    for (struct lli_node *node = lli_list_first(&gates); node; node = lli_list_next(&gates, node)) {
        struct lli_gate *gate = LLI_CONTAINER_OF(node, struct lli_gate, node);
        if (gate->device == device && gate->inode == inode)
            return gate;
    }
    return NULL;
}

/* The gate with a reference; NULL: out of memory. */
static struct lli_gate *take_gate(uint64_t device, uint64_t inode)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    lli_lock(&registry);
    struct lli_gate *gate = find(device, inode);
    if (!gate && (gate = lli_new(sizeof *gate)) != NULL) {
        gate->device = device;
        gate->inode = inode;
        lli_list_init(&gate->line);
        lli_list_push(&gates, &gate->node);
    }
    if (gate)
        gate->refs++;
    lli_unlock(&registry);
    return gate;
}

static void drop_gate(struct lli_gate *gate)
{
    lli_lock(&registry);
    bool last = --gate->refs == 0;
    if (last)
        lli_list_remove(&gate->node);
    lli_unlock(&registry);
    if (last)
        lli_free(gate);
}

ll_status lli_gate_join(struct lli_gate_seat *seat, uint64_t device, uint64_t inode,
                        const char *schema)
{
    assert(!seat->asked);
    struct lli_gate *gate = take_gate(device, inode);
    if (!gate)
        return LL_ENOMEM;
    for (size_t i = 0; i < seat->count; i++)
        if (seat->places[i].gate == gate) { /* one file under two names */
            drop_gate(gate);
            return LL_OK;
        }
    struct lli_gate_place place = {.gate = gate};
    struct lli_gate_place *places = NULL;
    if (!schema || (place.schema = lli_copy_text(schema, strlen(schema))) != NULL)
        places = lli_resize(seat->places, (seat->count + 1) * sizeof *places);
    if (!places) {
        lli_free(place.schema);
        drop_gate(gate);
        return LL_ENOMEM;
    }
    places[seat->count++] = place;
    seat->places = places;
    return LL_OK;
}

void lli_gate_leave(struct lli_gate_seat *seat)
{
    lli_gate_give_back(seat);
    for (size_t i = 0; i < seat->count; i++) {
        drop_gate(seat->places[i].gate);
        lli_free(seat->places[i].schema);
    }
    lli_free(seat->places);
    seat->places = NULL;
    seat->count = 0;
}

void lli_gate_move(struct lli_gate_seat *seat, struct lli_gate_seat *from)
{
    assert(!from->asked);
    lli_gate_leave(seat);
    seat->places = from->places;
    seat->count = from->count;
    from->places = NULL;
    from->count = 0;
}

/* ---- the gap; all under registry ---- */

static bool window_is_over(const struct lli_gate *gate, uint64_t now)
{
    return gate->device < LLI_GATE_TURN && now - gate->window_ns >= window_ns;
}

/* The gate was free, and is taken. */
static void note_taken(struct lli_gate *gate, uint64_t now)
{
    gate->free_ns += now - gate->freed_ns;
    if (gate->free_ns < gap_ns)
        return;
    gate->free_ns = 0;
    gate->window_ns = now;
    if (gate->closed_until_ns <= gate->freed_ns) /* by itself */
        gate->busy_ns = now;
}

/* The gate is given back. True: and stays closed for a while. */
static bool note_freed(struct lli_gate *gate, uint64_t now, enum lli_others others)
{
    gate->freed_ns = now;
    if (!window_is_over(gate, now))
        return false;
    gate->window_ns = now;
    gate->free_ns = 0;
    if (others == LLI_OTHERS_NONE ||
        (others == LLI_OTHERS_UNKNOWN && now - gate->busy_ns < burst_ns))
        return false;
    gate->closed_until_ns = now + gap_ns;
    return true;
}

/* ---- the line ---- */

/* Whether it is its turn everywhere; then it holds. False with *ret_again_ns: it would be, but for a gap that ends
 * then. Under registry. */
static bool grant(struct lli_gate_seat *seat, uint64_t now, uint64_t *ret_again_ns)
{
    uint64_t closed_until = 0;
    *ret_again_ns = LLI_NEVER;
    for (size_t i = 0; i < seat->count; i++) {
        const struct lli_gate_place *place = &seat->places[i];
        if (lli_list_first(&place->gate->line) != &place->node)
            return false;
        if (place->gate->closed_until_ns > closed_until)
            closed_until = place->gate->closed_until_ns;
    }
    if (closed_until > now) {
        *ret_again_ns = closed_until;
        return false;
    }
    seat->holds = true;
    for (size_t i = 0; i < seat->count; i++)
        note_taken(seat->places[i].gate, now);
    return true;
}

bool lli_gate_enter(struct lli_gate_seat *seat, uint64_t now_ns, uint64_t *ret_again_ns)
{
    *ret_again_ns = LLI_NEVER;
    if (seat->count == 0)
        return true;
    lli_lock(&registry);
    if (!seat->asked)
        for (size_t i = 0; i < seat->count; i++) {
            struct lli_gate_place *place = &seat->places[i];
            place->seat = seat;
            lli_list_push(&place->gate->line, &place->node);
        }
    seat->asked = true;
    bool holds = seat->holds || grant(seat, now_ns, ret_again_ns);
    lli_unlock(&registry);
    return holds;
}

void lli_gate_note_lock(struct lli_gate_seat *seat, uint64_t now_ns)
{
    lli_lock(&registry);
    for (size_t i = 0; seat->holds && i < seat->count; i++)
        atomic_store_explicit(&seat->places[i].gate->met_ns, now_ns, memory_order_relaxed);
    lli_unlock(&registry);
}

bool lli_gate_is_kept_out(const struct lli_gate_seat *seat, uint64_t now_ns)
{
    for (size_t i = 0; i < seat->count; i++) {
        uint64_t met = atomic_load_explicit(&seat->places[i].gate->met_ns, memory_order_relaxed);
        if (met > 0 && now_ns < met + kept_out_ns)
            return true;
    }
    return false;
}

/* Leaves one of the lines. The connection that has something to do now, with a reference; or NULL. Under
 * registry. */
static ll_conn *leave_line(struct lli_gate_place *place, uint64_t now)
{
    uint64_t again;
    lli_list_remove(&place->node);
    struct lli_node *node = lli_list_first(&place->gate->line);
    if (!node)
        return NULL;
    struct lli_gate_seat *first = LLI_CONTAINER_OF(node, struct lli_gate_place, node)->seat;
    /* It may hold already, when we were behind it; and in a gap it has to set its clock. */
    if (first->holds || (!grant(first, now, &again) && again == LLI_NEVER))
        return NULL;
    return lli_conn_ref(first->conn);
}

/* Looks for other processes where it is time for a gap; the answers lie in the places. */
static void look_for_others(struct lli_gate_seat *seat, uint64_t now)
{
    for (size_t i = 0; i < seat->count; i++) {
        struct lli_gate_place *place = &seat->places[i];
        lli_lock(&registry);
        bool due = seat->holds && place->schema && window_is_over(place->gate, now);
        lli_unlock(&registry);
        place->others = LLI_OTHERS_NONE;
        if (due)
            place->others = lli_others_look(seat->conn->db.handle, place->schema,
                                            place->gate->device, place->gate->inode);
    }
}

void lli_gate_give_back(struct lli_gate_seat *seat)
{
    if (!seat->asked)
        return;
    uint64_t now = lli_now_ns();
    unsigned gaps = 0;
    look_for_others(seat, now);
    lli_lock(&registry);
    for (size_t i = 0; seat->holds && i < seat->count; i++)
        gaps += note_freed(seat->places[i].gate, now, seat->places[i].others);
    seat->holds = false;
    for (size_t i = 0; i < seat->count; i++) {
        ll_conn *next = leave_line(&seat->places[i], now);
        if (!next)
            continue;
        lli_unlock(&registry);
        lli_conn_unpark(next);
        lli_conn_unref(next);
        lli_lock(&registry);
    }
    lli_unlock(&registry);
    seat->asked = false;
    if (gaps > 0)
        atomic_fetch_add_explicit(&seat->conn->crew->stats.gate_gaps, gaps, memory_order_relaxed);
}
