/* gate.c: the fair gate in front of SQLite's write lock.
 *
 *   conn A  holds  <-  waiters: conn B, conn C, ...        one gate per (device, inode)
 *
 * SQLite lets writers poll for its lock with growing sleeps, so who waits longest sleeps longest: [M] 16
 * writers with transactions of 2 ms wait up to 40 times their fair share. The writers of one process need
 * not poll: they queue here, before SQLite, without holding a thread, and each hands over to the next.
 *
 * Rules
 *  1. Only a connection that holds nothing waits (SQLITE_TXN_NONE). One that already reads is not sent here:
 *     waiting it would keep its SHARED lock, and the writer in front of it could never commit.
 *  2. The gate is given back when the connection no longer is in SQLITE_TXN_WRITE.
 *  3. A connection with attached files does not use it (SQLite's own locks and short even steps serve it).
 *  4. Waiting ends with the busy timeout of the connection, as any wait for a lock.
 *
 * Process-wide: the list of gates, one mutex, never held across SQLite, a callback or another lock. A gate
 * lives while a connection refers to it. A waiter's connection is alive: its request is parked. Taking it out
 * of the line takes a reference under the mutex, so that it can be unparked after the mutex is let go. */
#include "engine/gate.h"

#include "base/alloc.h"
#include "engine/conn.h"

struct lli_gate {
    struct lli_node node;
    uint64_t device, inode; /* fixed */
    unsigned refs;
    struct lli_gate_seat *holder; /* NULL: free */
    struct lli_list waiters;
};

static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct lli_list gates = {{&gates.head, &gates.head}}; /* under registry */

ll_status lli_gate_join(struct lli_gate_seat *seat, uint64_t device, uint64_t inode)
{
    struct lli_gate *gate = NULL;
    lli_lock(&registry);
    for (struct lli_node *node = lli_list_first(&gates); node && !gate;
         node = lli_list_next(&gates, node)) {
        struct lli_gate *known = LLI_CONTAINER_OF(node, struct lli_gate, node);
        if (known->device == device && known->inode == inode)
            gate = known;
    }
    if (!gate && (gate = lli_new(sizeof *gate)) != NULL) {
        gate->device = device;
        gate->inode = inode;
        lli_list_init(&gate->waiters);
        lli_list_push(&gates, &gate->node);
    }
    if (gate) {
        gate->refs++;
        seat->gate = gate;
    }
    lli_unlock(&registry);
    return gate ? LL_OK : LL_ENOMEM;
}

void lli_gate_leave(struct lli_gate_seat *seat)
{
    lli_lock(&registry);
    struct lli_gate *gate = seat->gate;
    assert(!seat->holds && !lli_node_linked(&seat->node));
    seat->gate = NULL;
    if (gate && --gate->refs == 0) {
        lli_list_remove(&gate->node);
        lli_free(gate);
    }
    lli_unlock(&registry);
}

bool lli_gate_enter(struct lli_gate_seat *seat)
{
    if (!seat->gate) /* the owner's own to read: only the owner joins and leaves */
        return true;
    lli_lock(&registry);
    struct lli_gate *gate = seat->gate;
    bool free = !gate->holder && lli_list_empty(&gate->waiters);
    if (!seat->holds && free) {
        gate->holder = seat;
        seat->holds = true;
    } else if (!seat->holds && !lli_node_linked(&seat->node)) {
        lli_list_push(&gate->waiters, &seat->node);
    }
    bool holds = seat->holds;
    seat->engaged = true;
    lli_unlock(&registry);
    return holds;
}

ll_conn *lli_gate_exit(struct lli_gate_seat *seat)
{
    if (!seat->gate)
        return NULL;
    ll_conn *next = NULL;
    seat->engaged = false;
    lli_lock(&registry);
    struct lli_gate *gate = seat->gate;
    if (lli_node_linked(&seat->node))
        lli_list_remove(&seat->node);
    if (seat->holds) {
        seat->holds = false;
        gate->holder = NULL;
    }
    struct lli_node *node = gate->holder ? NULL : lli_list_pop(&gate->waiters);
    if (node) {
        struct lli_gate_seat *first = LLI_CONTAINER_OF(node, struct lli_gate_seat, node);
        first->holds = true;
        gate->holder = first;
        next = lli_conn_ref(LLI_CONTAINER_OF(first, ll_conn, seat));
    }
    lli_unlock(&registry);
    return next;
}
