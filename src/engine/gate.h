/* gate.h: one writer at a time per file, first come first served, within this process. */
#ifndef LLI_ENGINE_GATE_H
#define LLI_ENGINE_GATE_H

#include "base/list.h"

#include <looplite/conn.h>

struct lli_gate;

/* What a connection has to do with the gate of its file. */
struct lli_gate_seat {
    /* under the registry's lock */
    struct lli_gate *gate; /* a reference; NULL: no file, or it has several */
    struct lli_node node;  /* in gate->waiters */
    bool holds;
    /* whoever owns the connection */
    bool engaged; /* it has entered and not left since: it holds the gate or stands in line */
};

/* The connection writes to this file from now on. Errors: LL_ENOMEM; it then writes without a gate. */
ll_status lli_gate_join(struct lli_gate_seat *seat, uint64_t device, uint64_t inode);
/* It is closed, or writes to other files too. Not while it holds or waits. */
void lli_gate_leave(struct lli_gate_seat *seat);
/* True: it may write (there is no gate, or it holds it now). False: it stands in line, and is unparked when
 * it is its turn. */
bool lli_gate_enter(struct lli_gate_seat *seat);
/* Gives the gate back, or leaves the line. The next one, if any, holds the gate and is to be unparked by the
 * caller, with the reference that comes with it; or NULL. */
ll_conn *lli_gate_exit(struct lli_gate_seat *seat);
/* Whether it holds the gate or stands in line. Asked behind each request, so it takes no lock: nobody else puts
 * a connection in line or takes it out (others only pass the gate on to one that stands there). */
static inline bool lli_gate_concerned(const struct lli_gate_seat *seat)
{
    return seat->engaged;
}

#endif
