/* gate.h: lines in which the connections of this process wait for each other, first come first served. */
#ifndef LLI_ENGINE_GATE_H
#define LLI_ENGINE_GATE_H

#include "base/list.h"
#include "db/others.h"

#include <looplite/conn.h>

struct lli_gate;

/* What a gate stands in front of, if not of a file: in place of the device. The number in place of the inode is
 * the address of the page cache (lli_file_facts.pager). */
#define LLI_GATE_CACHE UINT64_MAX       /* the write lock of a shared cache that is no file */
#define LLI_GATE_TURN  (UINT64_MAX - 1) /* the turn of one statement in a shared cache */

/* One gate of a seat. */
struct lli_gate_place {
    struct lli_gate *gate;      /* a reference */
    char *schema;               /* by which name the connection knows the file; NULL: it is none */
    struct lli_gate_seat *seat; /* under the registry, while linked */
    struct lli_node node;       /* under the registry: in gate->line */
    enum lli_others others;     /* owner only: what was found when the gate was given back */
};

/* What a connection has to do with a set of gates, which it enters all at once. */
struct lli_gate_seat {
    /* owner only; others read them under the registry while it stands in line, when they do not change */
    ll_conn *conn;
    struct lli_gate_place *places;
    size_t count;
    bool asked; /* stands in line, or holds */
    /* under the registry */
    bool holds; /* all of them */
};

/* One more gate. Not while it has asked. Errors: LL_ENOMEM, nothing has changed then. */
ll_status lli_gate_join(struct lli_gate_seat *seat, uint64_t device, uint64_t inode,
                        const char *schema);
/* Gives back and leaves all. */
void lli_gate_leave(struct lli_gate_seat *seat);
/* Leaves all and takes over what another seat has, which has not asked and is empty then. */
void lli_gate_move(struct lli_gate_seat *seat, struct lli_gate_seat *from);
/* True: it is its turn, it holds all its gates (or has none). False: it stands in line, at the end if it did not
 * before. Its connection is unparked when something has changed; and it asks again at *ret_again_ns, if that is
 * not LLI_NEVER. */
bool lli_gate_enter(struct lli_gate_seat *seat, uint64_t now_ns, uint64_t *ret_again_ns);
/* Owner: who holds the gates has met a lock of somebody who does not come here, of another process most of the time. */
void lli_gate_note_lock(struct lli_gate_seat *seat, uint64_t now_ns);
/* Owner: whether that was a moment ago at one of its gates, whoever it was. A hint. */
bool lli_gate_is_kept_out(const struct lli_gate_seat *seat, uint64_t now_ns);
/* Leaves all lines, and unparks those whose turn it is. Nothing if it has not asked. */
void lli_gate_give_back(struct lli_gate_seat *seat);

#endif
