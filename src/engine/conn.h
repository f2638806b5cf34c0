/* conn.h: the connection as an actor: one owner at a time, one queue. */
#ifndef LLI_ENGINE_CONN_H
#define LLI_ENGINE_CONN_H

#include "db/api.h"
#include "db/db.h"
#include "engine/fit.h"
#include "engine/gate.h"
#include "engine/request.h"
#include "engine/tenant.h"
#include "engine/worker.h"
#include "platform/nowait.h"

/* See the drawing in conn.c. */
enum lli_conn_mode {
    LLI_CONN_IDLE,
    LLI_CONN_READY,
    LLI_CONN_OWNED,
    LLI_CONN_PARKED,
    LLI_CONN_DELAYED,
    LLI_CONN_MODES
};

enum {
    LLI_OWN_HOOKED = 1u << 29,  /* in own_code: ll_hooks_set() has set some */
    LLI_OWN_TOUCHED = 1u << 30, /* ... somebody else has used the handle */
    LLI_OWN_HOOKS = LL_OWN_HOOKS | LLI_OWN_HOOKED,
    LLI_OWN_ANYTHING = LL_OWN_COLLATIONS | LL_OWN_AUTHORIZER | LL_OWN_TRACE | LL_OWN_PROGRESS
};

struct ll_conn {
    /* fixed after creation */
    struct lli_crew *crew; /* a reference */
    ll_engine *engine;     /* a reference: where requests complete unless they say otherwise */
    char *path;            /* NULL when adopted */
    char *vfs;
    char **pragmas; /* NULL-terminated, or NULL */
    ll_open_options options;
    ll_adopt adopt;
    bool shares_cache; /* with others, in SQLite's way: for workers only, one at a time */

    /* any thread */
    atomic_uint refs;             /* memory; last unref is acq_rel */
    _Atomic(ll_engine *) holder;  /* whose list `hold_node` is in; set and cleared by its loop */
    _Atomic(ll_engine *) delayer; /* which one's loop it waits for, or did last; the same */
    atomic_uint resident_count;   /* in `residents`; relaxed: the owner alone adds one, and asks */
    atomic_uint own_code; /* LL_OWN_*; relaxed: it is set before the statement it concerns */
    atomic_uint handles;  /* the user's references; the last one closes */

    /* under mu */
    lli_mutex mu;
    lli_cond poked;            /* with mu: wakes a nap */
    struct lli_list queue;     /* of ll_request.queue_node */
    struct lli_list residents; /* of lli_resident.node */
    enum lli_conn_mode mode;
    ll_request *current; /* what runs, for interrupt and naps; no reference of its own */
    bool unpark_pending; /* a wake-up came before the connection was parked */
    bool closing;        /* a close was accepted */
    bool autoclosing;    /* `autoclose` is or was queued */
    bool writing;        /* a write transaction was open after the last request */
    unsigned outside;    /* threads in ll_conn_enter(), or between it and ll_conn_leave() */
    unsigned asking;     /* of them, who have not got it yet */
    bool lent;           /* by the worker that owns it, which waits until it is no more */
    bool borrowed;       /* ... to one of them */
    bool leaving;        /* it closes as soon as they have left; nobody else gets in */
    ll_conn
        *copied_from;  /* a backup writes to it, from there; no reference: that is the backup's */
    bool needs_worker; /* something in the queue is not for the loop of `delayer` */
    ll_conn_state snapshot; /* after the last request */
    int64_t counted;        /* what SQLite's total_changes() was then */
    struct {
        bool on_loop;
        enum lli_disk_guard guard;
        const char *reason; /* static; NULL: nobody has looked */
    } facts;                /* what facts.c has decided, for info.c */

    /* the loop of `holder` */
    struct lli_node hold_node;

    /* the loop of `delayer`: see delay.c */
    struct lli_node delay_node;
    struct lli_timer retry;
    uint64_t delayed_turn; /* the turn in which it began to wait */

    /* under crew->mu */
    struct lli_node ready_node, crew_node;
    struct lli_timer park;
    bool swept; /* seen by the end of the crew */

    /* whoever holds SQLite's mutex of an adopted handle: own.c */
    unsigned inside; /* how often it was entered */
    bool entered; /* from outside, and the connection was idle: OWNED; else it is lent. Set by who
                          has got it, before the mutex is his */
    bool from_outside;                               /* what is done is no request's */
    bool (*nap_inside)(void *arg, uint64_t span_ns); /* what nap of the guard is for workers */

    /* whoever owns the connection */
    struct lli_db db;
    struct lli_error open_error; /* why it is not open */
    uint64_t busy_timeout_ns;
    struct lli_list streams; /* of ll_cursor.stream_node: live statements */
    size_t stream_count;
    struct lli_list prepared;    /* of ll_stmt.node: handles that pin a cached statement */
    struct lli_attempt *attempt; /* the owner is in it, on a loop; NULL otherwise */
    /* what the loop may do with it; see facts.c */
    uint64_t read_turn; /* the turn of the engine in which `turn_reads` were made on a loop */
    unsigned turn_reads;
    bool facts_stale;         /* to be looked at again, on a worker */
    bool can_inline;          /* its file can be read without blocking */
    enum lli_disk_guard disk; /* ... and by what it is kept from blocking */
    bool writes_late;         /* a write touches no file before the commit */
    bool
        cookie_known; /* `cookie` is the schema's, and cannot change under this write transaction */
    bool cache_is_full; /* nearly: the next write may spill */
    bool
        cache_is_flushed; /* by a worker, in this transaction; then it is full once more pages spill */
    int spilled;          /* SQLite's count of such pages, when it was flushed or looked at last */
    uint32_t cookie;
    unsigned inline_writes;
    int64_t cache_bytes; /* size of the page cache */
    uint64_t file_key;   /* names the file in the cost history */

    struct lli_fit fit;      /* who may write for it: see fit.c */
    struct lli_tally *tally; /* what others have written for it; NULL: SQLite's own counts serve */

    /* as gate.h says */
    struct lli_gate_seat seat;  /* the files it may write to */
    struct lli_gate_seat turns; /* the shared caches it may use; held while a request runs */

    struct lli_tenant tenant; /* as tenant.h says: what it is to its pool, if it has one */

    ll_request autoclose; /* in place, so that the last close needs no memory */
};

/* A connection with one reference and one handle. Errors: LL_ENOMEM. */
ll_status lli_conn_new(ll_engine *engine, ll_conn **ret_conn);
ll_conn *lli_conn_ref(ll_conn *conn);
void lli_conn_unref(ll_conn *conn);

/* Appends a request to the queue and calls a worker if nobody has the connection. The queue takes a
 * reference. Errors: LL_ECLOSED, LL_ESYS; the request is then not queued. */
ll_status lli_conn_enqueue(ll_conn *conn, ll_request *request);
/* Queues its own close unless one was accepted already. Cannot fail. */
void lli_conn_autoclose(ll_conn *conn);
/* Calls a worker for what was left queued when none could be started. */
void lli_conn_kick(ll_conn *conn);
/* A request that has waited elsewhere, with `conn` set to this one by now. What cannot be queued is finished with
 * the error. */
void lli_conn_enqueue_waited(ll_conn *conn, ll_request *request);
/* For a close that is no request: nothing more is admitted. False: it closes by itself already. */
bool lli_conn_begin_close(ll_conn *conn);
/* Moves of whoever takes the connection from the line. */
void lli_conn_own(ll_conn *conn); /* READY -> OWNED */
void lli_conn_run(
    ll_conn *conn); /* until the queue is empty, it is parked, or others wait too long */
/* One request. False: it is no longer owned by the caller, who may not touch it again. */
bool lli_conn_run_one(ll_conn *conn);
void lli_conn_yield(ll_conn *conn); /* OWNED -> READY, at the end of the line */

/* A loop takes an idle connection for one request, with a reference; false: it is not idle. */
bool lli_conn_try_own(ll_conn *conn, ll_request *request);
/* ... or one that is to be opened, by the thread that has made it; */
bool lli_conn_try_own_new(ll_conn *conn, ll_request *request);
/* ... or one that waits elsewhere with this request (group.c): it does not look idle; */
bool lli_conn_try_own_waiting(ll_conn *conn, ll_request *request);
/* ... says, if it closes it, that nothing more is taken, */
void lli_conn_set_closing(ll_conn *conn);
/* ... and lets go of it when the request is done, */
void lli_conn_disown(ll_conn *conn, ll_request *request);
/* The same two without a reference, for one that has another: the request's. `read`: it was a read that left
 * nothing behind, so most of what the connection looks like need not be asked for. */
bool lli_conn_borrow(ll_conn *conn, ll_request *request);
void lli_conn_return(ll_conn *conn, ll_request *request, bool read);
/* ... or when nothing was done that anybody has to know, */
void lli_conn_let_go(ll_conn *conn);
/* ... or puts the request (state NEW) at the front of the queue, for a worker, or, if *delay is true and
 * nobody stands behind it, for the loop; *delay says which. Errors: LL_ESYS, as lli_conn_enqueue(). */
ll_status lli_conn_hand_over(ll_conn *conn, ll_request *request, bool *delay);

/* The moves of a connection that waits for its loop; see delay.c. On the loop of `delayer`. */

/* DELAYED -> OWNED. False: a worker has it, or it is idle. */
bool lli_conn_resume(ll_conn *conn);
/* The next request for this loop, RUNNING. NULL: there is none, and the connection is let go. */
ll_request *lli_conn_next_here(ll_conn *conn, const ll_engine *engine);
/* Tells that a request of the queue is done. False: the connection is let go. Nothing of the request may be
 * used later. Also for workers. */
bool lli_conn_complete(ll_conn *conn, ll_request *request);
/* OWNED -> DELAYED if `delay` allows it and the queue does: true; else a worker gets it. `request` (may be
 * NULL) was tried and undone, and goes back to the front; it waits only if nobody stands behind it. */
bool lli_conn_put_back(ll_conn *conn, ll_request *request, bool delay);
/* OWNED -> READY: a worker goes on with the request, which comes to the front. `begun`: it cannot be dropped. */
void lli_conn_pass_on(ll_conn *conn, ll_request *request, bool begun);
/* The owner puts a request that it has taken from elsewhere, RUNNING, at the end of its queue. */
void lli_conn_queue_again(ll_conn *conn, ll_request *request);
/* Whether it takes nothing more. Any thread. */
bool lli_conn_is_closing(ll_conn *conn);
/* DELAYED -> READY, if it is. */
void lli_conn_release(ll_conn *conn);

/* Between conn.c and conn_wait.c. */

/* Under mu. */
void lli_conn_set_mode(ll_conn *conn, enum lli_conn_mode mode);
/* The connection, READY, with a reference for the line, gets a worker; if there is no thread at all, what is
 * queued fails. `unpark` as lli_crew_ready(). */
void lli_conn_call_worker(ll_conn *conn, bool unpark);
/* Puts a request that met a lock back to the front. False: the connection is parked and no longer ours. */
bool lli_conn_park(ll_conn *conn, ll_request *request, uint64_t span_ns);

/* PARKED -> READY, or a note for one that is about to be parked. Any thread. */
void lli_conn_unpark(ll_conn *conn);
/* A request of it was stopped: wakes it if that one is parked or naps. Any thread. */
void lli_conn_poke(ll_conn *conn, ll_request *request);
/* Stops what runs. Any thread. */
void lli_conn_stop_current(ll_conn *conn, enum lli_stop why);

/* Gives the gate of its files back unless it has the write lock. Owner only. */
void lli_conn_pass_gate(ll_conn *conn);
/* Whether it is its turn in the caches that it shares; if not it stands in line, and is to be parked. Before a
 * request runs; given back behind it. Owner only. */
bool lli_conn_take_turn(ll_conn *conn, const ll_request *request);

/* Whether nobody has it, nothing is queued and no transaction is open: a commit has nothing to do. */
bool lli_conn_is_at_rest(ll_conn *conn);
bool lli_conn_is_closed(ll_conn *conn);

/* own.c. */

/* Whoever runs a request on an adopted handle, or closes it: takes SQLite's mutex of the connection, if it is worth it;
 * then lli_own_unlock(). */
bool lli_own_lock(ll_conn *conn, enum lli_op op);
void lli_own_unlock(ll_conn *conn);
/* A worker, before a request: lets those have the connection who ask for it from outside. */
void lli_own_lend(ll_conn *conn, const ll_request *request);
/* Not in the middle of one that has begun something: rolling back to its savepoint would take back the others' work. */
static inline bool lli_own_may_lend(const ll_request *request)
{
    return !request->midway;
}
/* Before the handle goes: until nobody from outside is in ll_conn_enter() or behind it. */
void lli_own_wait_outside(ll_conn *conn);
/* The same without waiting: false, and nothing has changed, if somebody is there. */
bool lli_own_keep_outside(ll_conn *conn);
/* It does not go after all. */
void lli_own_admit_outside(ll_conn *conn);
/* Puts what SQLite says at this moment into `state`, if the handle was adopted, and no other thread is in it. Does not
 * wait. Any thread, under mu. */
void lli_own_look(ll_conn *conn, ll_conn_state *state);
/* Installs the handlers, but in a slot that is the program's. */
void lli_own_install_guard(ll_conn *conn);
static inline bool lli_own_has(const ll_conn *conn, unsigned what)
{
    return (atomic_load_explicit(&conn->own_code, memory_order_relaxed) & what) != 0;
}

#endif
