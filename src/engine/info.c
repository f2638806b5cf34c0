/* info.c: telling how the library stands; see looplite/info.h.
 *
 * What a connection may do on the loop is its owner's knowledge (facts.c), so the owner leaves a copy under
 * the connection's lock. */
#include <looplite/info.h>

#include "db/vfs_shim.h"
#include "engine/conn.h"
#include "engine/engine.h"

#include <string.h>

void ll_engine_get_info(const ll_engine *engine, ll_engine_info *ret_info)
{
    memset(ret_info, 0, sizeof *ret_info);
    if (!engine || lli_engine_foreign(engine))
        return;
    ret_info->sqlite_version = lli_sq.libversion();
    ret_info->sqlite_source_id = lli_sq.sourceid();
    ret_info->sqlite_threadsafe = lli_sq.threadsafe();
    ret_info->sqlite_origin = lli_sqlite_is_host() ? "host" : "linked";
    ret_info->reads_hooked = lli_vfs_reads_hooked();
    ret_info->host_turns = engine->host_turns;
    ret_info->max_workers = lli_crew_max(engine->crew);
    ret_info->turn_ns = engine->turn_ns;
    ret_info->attempt_ns = engine->attempt_ns;
}

void ll_conn_get_info(const ll_conn *conn, ll_conn_info *ret_info)
{
    memset(ret_info, 0, sizeof *ret_info);
    if (!conn || lli_engine_foreign(conn->engine))
        return;
    ll_conn *mine = (ll_conn *)(uintptr_t)conn;
    lli_lock(&mine->mu);
    const char *unknown =
        mine->snapshot.open
            ? "nobody has looked: an adopted handle is looked at behind its first statement"
            : "the connection is not open yet";
    ret_info->on_loop = mine->facts.on_loop;
    ret_info->disk_guard = lli_disk_guard_name(mine->facts.guard);
    ret_info->reason = mine->facts.reason ? mine->facts.reason : unknown;
    lli_unlock(&mine->mu);
}
