/* resident.c: the list of what is open on a handle.
 *
 * SQLite refuses to close a handle with an open blob or backup, and to reset the statement inside a blob, as giving back
 * a connection of a pool does with all that are live, would leave the blob with a cursor that is gone. So whatever is
 * opened on a handle beside statements is listed, and ended by the connection's owner first.
 *
 * A node is taken out under the mutex by whoever ends the thing, so exactly one does; the ending itself is done
 * without it, for it calls SQLite. */
#include "engine/resident.h"

void lli_resident_add(ll_conn *conn, struct lli_resident *resident)
{
    lli_lock(&conn->mu);
    lli_list_push(&conn->residents, &resident->node);
    lli_unlock(&conn->mu);
}

bool lli_resident_remove(ll_conn *conn, struct lli_resident *resident)
{
    lli_lock(&conn->mu);
    bool mine = lli_node_linked(&resident->node);
    if (mine)
        lli_list_remove(&resident->node);
    lli_unlock(&conn->mu);
    return mine;
}

size_t lli_resident_cut(ll_conn *conn, const char *why)
{
    for (size_t count = 0;; count++) {
        lli_lock(&conn->mu);
        struct lli_node *node = lli_list_pop(&conn->residents);
        lli_unlock(&conn->mu);
        if (!node)
            return count;
        struct lli_resident *resident = LLI_CONTAINER_OF(node, struct lli_resident, node);
        resident->cut(resident, why);
    }
}

bool lli_resident_any(ll_conn *conn)
{
    lli_lock(&conn->mu);
    bool any = !lli_list_empty(&conn->residents);
    lli_unlock(&conn->mu);
    return any;
}
