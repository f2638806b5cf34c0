/* resident.h: what the layer above keeps open on a connection's handle: a blob, a backup. It has to end before the
 * handle goes, and before a pooled connection goes to somebody else. */
#ifndef LLI_ENGINE_RESIDENT_H
#define LLI_ENGINE_RESIDENT_H

#include "engine/conn.h"

struct lli_resident {
    struct lli_node node; /* conn->residents, under conn->mu */
    /* Has to end here and now, as `why` (static) says; it is out of the list already. Owner. */
    void (*cut)(struct lli_resident *resident, const char *why);
};

/* Owner: from now on it is ended with the connection. */
void lli_resident_add(ll_conn *conn, struct lli_resident *resident);
/* Any thread: it ends by itself. False: somebody else has ended it, or is about to. */
bool lli_resident_remove(ll_conn *conn, struct lli_resident *resident);
/* Owner: ends all of them; how many there were. */
size_t lli_resident_cut(ll_conn *conn, const char *why);
/* Owner: whether there is any. (Only he adds one.) */
static inline bool lli_resident_any(const ll_conn *conn)
{
    return atomic_load_explicit(&conn->resident_count, memory_order_relaxed) > 0;
}

#endif
