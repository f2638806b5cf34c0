/* hold.c: the held snapshots of a turn.
 *
 * [M] Two thirds of a point read are the locks that open and close its read transaction. From the second
 * read of a turn on, a connection keeps one open (db/snapshot.c), and the reads that follow join it as long
 * as nobody commits. It must not last: a held reader keeps the WAL from being reset. So the engine lists the
 * connections that hold one, and the beginning of the next turn lets go of them. A program whose loop may
 * sleep without making a turn is woken: unless its host makes turns by itself (ll_engine_options.host_turns),
 * the descriptor becomes readable a millisecond after the first take.
 *
 * There is none while somebody outside of this process keeps our writers out: a checkpoint that wants to reset the WAL has
 * the lock of the writers while it waits for the readers, looking now and then whether there is a moment without one.
 * [M] With three tasks that read all the time such a moment did not come within a minute; without snapshots in a tenth
 * of a second or two.
 *
 * The snapshot belongs to whoever owns the connection. A worker that gets the connection lets go of it
 * before anything else; the end of the turn lets go of it only if it finds the connection idle or waiting for
 * this loop, for else somebody who will do so has it. A connection is in one engine's list at a time; the others read without. */
#include "engine/hold.h"

#include "engine/engine.h"
#include "platform/clock.h"

static const uint64_t longest_hold_ns = LLI_MS;

static void enlist(ll_engine *engine, ll_conn *conn)
{
    ll_engine *none = NULL;
    if (!atomic_compare_exchange_strong(&conn->holder, &none, engine))
        return; /* in our list already: lli_hold_read() has looked */
    lli_conn_ref(conn);
    lli_list_push(&engine->holders, &conn->hold_node);
    if (engine->host_turns)
        return;
    lli_lock(&engine->mu);
    uint64_t due = lli_deadline_after(longest_hold_ns);
    if (due < engine->pollset.timer_due)
        lli_pollset_set_timer(&engine->pollset, due);
    lli_unlock(&engine->mu);
}

void lli_hold_read(ll_engine *engine, ll_conn *conn, uint64_t now_ns)
{
    struct lli_db *db = &conn->db;
    if (conn->read_turn != engine->turn) {
        conn->read_turn = engine->turn;
        conn->turn_reads = 0;
    }
    bool kept_out = lli_gate_is_kept_out(&conn->seat, now_ns);
    if (lli_snapshot_held(&db->snapshot) &&
        (kept_out ||
         (now_ns > db->snapshot.taken_ns && now_ns - db->snapshot.taken_ns > longest_hold_ns)))
        lli_snapshot_release(db);
    ll_engine *holder = atomic_load(&conn->holder);
    bool again = conn->turn_reads++ > 0 && (!holder || holder == engine) && !kept_out;
    if (lli_snapshot_is_current(db)) {
        lli_stat_add(&engine->stats.snapshot_hits, 1);
    } else if (again && lli_snapshot_take(db)) {
        lli_stat_add(&engine->stats.snapshot_takes, 1);
        enlist(engine, conn);
    }
}

void lli_hold_end_turn(ll_engine *engine)
{
    struct lli_node *node;
    while ((node = lli_list_pop(&engine->holders)) != NULL) {
        ll_conn *conn = LLI_CONTAINER_OF(node, ll_conn, hold_node);
        atomic_store(&conn->holder, NULL);
        bool delayed = atomic_load(&conn->delayer) == engine && lli_conn_resume(conn);
        if (delayed || lli_conn_try_own(conn, NULL)) {
            sqlite3_mutex *mutex = conn->db.mutex;
            if (lli_sq.mutex_try(mutex) == SQLITE_OK) { /* else: at the next request */
                lli_snapshot_release(&conn->db);
                lli_sq.mutex_leave(mutex);
            }
            if (delayed)
                (void)lli_conn_put_back(conn, NULL, true);
            else
                lli_conn_let_go(conn);
        }
        lli_conn_unref(conn);
    }
}
