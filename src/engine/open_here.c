/* open_here.c: the policy of opening and closing on the loop.
 *
 * [M] sqlite3_open_v2() and sqlite3_close() of a file whose name and first page are in memory take 12 us together,
 * 23 with the interpreter's sqlite3.Connection around them. Handing each to a worker that needs the interpreter's
 * lock took 106. So both are done where they are asked for, if nothing can make them wait:
 *
 *   the name    every part of it is in the kernel's cache, on a file system of this machine (lli_nowait_path())
 *   the file    is there: creating one is a matter of the disk. It is opened without O_CREAT, which would take its
 *               folder's lock
 *   the header  SQLite reads 100 bytes, by a call that does not wait
 *   mutexes     nobody is inside a call that holds SQLite's for this file, or for all files (db/vfs_gate.h)
 *   the close   has nothing to write, sync or delete (lli_vfs_closes_at_once())
 *   the rest    no PRAGMA is to be run; the host has said, by ll_adopt.path, that its own part is short
 *
 * What cannot be known before is learned: what a watcher of the file system (fanotify), an extension that is loaded
 * into every connection, or a thread that keeps the interpreter's lock costs, is in the history of the
 * file, as for statements (db/cost.h): one that took longer than a try may sends those that follow to a worker,
 * for a while that grows each time.
 *
 * An opening that fails for whatever reason has not happened: a worker opens again, and what it meets is what the
 * program is told. */
#include "engine/open_here.h"

#include "db/cost.h"
#include "db/vfs_shim.h"
#include "engine/engine.h"
#include "engine/resident.h"
#include "engine/run.h"
#include "engine/turn.h"
#include "platform/clock.h"

#include <string.h>

enum {
    /* To give back memory takes time, too: the default page cache has 2 MB. */
    MOST_CACHE_BYTES = 4 * 1024 * 1024,
    MOST_STATEMENTS = 256
};

static const char opening_text[] = "to open", closing_text[] = "to close";

/* Whether this is the place, at this moment. */
static bool is_the_place(const ll_request *request)
{
    const ll_conn *conn = request->conn;
    return conn->adopt.path && !conn->shares_cache && !(conn->options.flags & LL_OPEN_NO_INLINE) &&
           !(request->flags & LL_SUBMIT_NO_INLINE) && lli_turn_is_loop(request->engine) &&
           request->engine->turn_used_ns < request->engine->turn_ns;
}

/* Whether it was quick before. Who is sent to a worker serves part of the probation: what it takes there, with
 * the wait for the interpreter, says nothing. */
static bool is_admitted(struct lli_cost *cost)
{
    if (lli_cost_admit(cost, true) == LLI_ADMIT_INLINE)
        return true;
    lli_cost_ran(cost, LLI_COST_LIMIT_NS / 2, false);
    return false;
}

static void count_time(ll_engine *engine, struct lli_cost *cost, uint64_t begun_ns)
{
    uint64_t took = lli_now_ns() - begun_ns;
    lli_turn_charge(engine, took);
    if (took > engine->attempt_ns)
        lli_cost_overran(cost);
    else
        lli_cost_ran(cost, took, true);
}

static bool try_open(ll_conn *conn, ll_request *request, struct lli_cost *cost,
                     const struct lli_opening *opening)
{
    if (!lli_conn_try_own_new(conn, request))
        return false;
    uint64_t begun = lli_now_ns();
    lli_request_time_begin_at(request, LL_PLACE_LOOP);
    lli_opening_now = opening;
    ll_status status = lli_run_adopt(conn, request);
    lli_opening_now = NULL;
    count_time(request->engine, cost, begun);
    if (status != LL_OK) {
        lli_error_done(&request->error);
        lli_request_time_undo(request);
        lli_conn_let_go(conn);
        return false;
    }
    request->outcome = LL_APPLIED;
    lli_stat_add(&request->engine->stats.inline_opens, 1);
    lli_conn_disown(conn, request);
    return true;
}

bool lli_open_here(ll_request *request)
{
    ll_conn *conn = request->conn;
    struct lli_opening opening = {0};
    if (!is_the_place(request) || conn->pragmas)
        return false;
    bool file = conn->adopt.path[0] != '\0';
    if (file && !lli_nowait_path(conn->adopt.path, &opening.device, &opening.inode))
        return false;
    struct lli_cost *cost = lli_cost_get(lli_cost_file_key(opening.device, opening.inode),
                                         opening_text, sizeof opening_text - 1);
    bool open = is_admitted(cost) && try_open(conn, request, cost, file ? &opening : NULL);
    lli_cost_unref(cost);
    return open;
}

/* Whether there is nothing to undo, and little to give back. */
static bool is_plain(ll_conn *conn)
{
    sqlite3 *handle = conn->db.handle;
    int now = 0, most = 0;
    if (conn->stream_count > 0 || lli_resident_any(conn) ||
        conn->db.cache.map.count > MOST_STATEMENTS)
        return false;
    if (lli_snapshot_held(&conn->db.snapshot))
        lli_snapshot_release(&conn->db);
    return lli_sq.get_autocommit(handle) && lli_sq.txn_state(handle, NULL) == SQLITE_TXN_NONE &&
           lli_sq.db_status(handle, SQLITE_DBSTATUS_CACHE_USED, &now, &most, 0) == SQLITE_OK &&
           now <= MOST_CACHE_BYTES;
}

static bool may_close(ll_conn *conn, struct lli_cost **ret_cost)
{
    /* A program that uses an adopted handle beside us may hold its mutex, and wait for this thread. */
    sqlite3_mutex *mutex = lli_sq.db_mutex(conn->db.handle);
    if (lli_sq.mutex_try(mutex) != SQLITE_OK)
        return false;
    struct lli_file_id id = lli_vfs_file_id(conn->db.handle);
    *ret_cost = lli_cost_get(lli_cost_file_key(id.device, id.inode), closing_text,
                             sizeof closing_text - 1);
    bool may = is_admitted(*ret_cost) && is_plain(conn) && lli_vfs_closes_at_once(conn->db.handle);
    lli_sq.mutex_leave(mutex);
    return may;
}

bool lli_close_here(ll_request *request)
{
    ll_conn *conn = request->conn;
    if (!is_the_place(request) || !lli_conn_try_own(conn, request))
        return false;
    struct lli_cost *cost = NULL;
    uint64_t begun = lli_now_ns();
    bool kept = lli_own_keep_outside(conn), may = kept && may_close(conn, &cost);
    if (may) {
        lli_request_time_begin_at(request, LL_PLACE_LOOP);
        lli_conn_set_closing(conn);
        lli_run_close(conn, request);
        count_time(request->engine, cost, begun);
        lli_stat_add(&request->engine->stats.inline_closes, 1);
        lli_conn_disown(conn, request);
    } else {
        if (kept)
            lli_own_admit_outside(conn);
        lli_conn_let_go(conn);
    }
    lli_cost_unref(cost);
    return may;
}
