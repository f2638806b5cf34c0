/* resident.c: the list of what is open on a handle.
 *
 * SQLite refuses to close a handle with an open blob or backup, and to reset the statement inside a blob, as giving back
 * a connection of a pool does with all that are live, would leave the blob with a cursor that is gone. So whatever is
 * opened on a handle beside statements is listed, and ended by the connection's owner first.
 *
 * A node is taken out under the mutex by whoever ends the thing, so exactly one does; the ending itself is done
 * without it, for it calls SQLite. How many there are is counted beside the list, for the owner asks behind each
 * request of a pool or a group. */
#include "engine/resident.h"

void lli_resident_add(ll_conn *conn, struct lli_resident *resident)
{
    lli_lock(&conn->mu);
    lli_list_push(&conn->residents, &resident->node);
    atomic_fetch_add_explicit(&conn->resident_count, 1, memory_order_relaxed);
    lli_unlock(&conn->mu);
}

/* Under mu. */
static void take_out(ll_conn *conn, struct lli_node *node)
{
    lli_list_remove(node);
    atomic_fetch_sub_explicit(&conn->resident_count, 1, memory_order_relaxed);
}

bool lli_resident_remove(ll_conn *conn, struct lli_resident *resident)
{
    lli_lock(&conn->mu);
    bool mine = lli_node_linked(&resident->node);
    if (mine)
        take_out(conn, &resident->node);
    lli_unlock(&conn->mu);
    return mine;
}

size_t lli_resident_cut(ll_conn *conn, const char *why)
{
    for (size_t count = 0;; count++) {
        lli_lock(&conn->mu);
        struct lli_node *node = lli_list_first(&conn->residents);
        if (node)
            take_out(conn, node);
        lli_unlock(&conn->mu);
        if (!node)
            return count;
        struct lli_resident *resident = LLI_CONTAINER_OF(node, struct lli_resident, node);
        resident->cut(resident, why);
    }
}
