/* request.h: one piece of work and its way from submission to result. */
#ifndef LLI_ENGINE_REQUEST_H
#define LLI_ENGINE_REQUEST_H

#include "base/arena.h"
#include "base/list.h"
#include "base/status.h"
#include "db/classify.h"
#include "db/guard.h"
#include "db/rowbatch.h"
#include "engine/timer.h"

#include <looplite/conn.h>
#include <looplite/sqlite.h>
#include <looplite/stmt.h>
#include <looplite/writer.h>

enum lli_op {
    LLI_OP_OPEN,
    LLI_OP_CLOSE,
    LLI_OP_SQL,
    LLI_OP_MANY,
    LLI_OP_SCRIPT,
    LLI_OP_CALL,
    LLI_OP_PREPARE,
    LLI_OP_TASK, /* what the layer above does with the handle, in its turn: in.task */
    LLI_OP_NEXT, /* waits at a cursor, never in a connection's queue */
    LLI_OP_WAIT, /* waits at something of the layer above (lli_wait_ops), never in a connection's queue */
    /* internal: nobody is told, they lie inside the object they serve and need no memory */
    LLI_OP_PUMP,      /* a cursor's next batch */
    LLI_OP_END,       /* end of a cursor */
    LLI_OP_UNPREPARE, /* end of a prepared handle */
    LLI_OP_AUTOCLOSE, /* close of a connection that nobody closed */
    LLI_OP_GROUP,     /* a writer's next transaction */
    LLI_OP_CHORE,     /* what the layer above does with a connection of its own: in.chore */
    LLI_OP_LEAVE,     /* the end of what it has opened on somebody's: in.chore */
    LLI_OP_NEWS,      /* on its way to a loop, never in a queue: in.news */
    LLI_OP_LEND       /* a read that lends its rows: never in a queue */
};

/* See the drawing in request.c. */
enum lli_request_state {
    LLI_REQUEST_NEW,
    LLI_REQUEST_QUEUED,
    LLI_REQUEST_RUNNING,
    LLI_REQUEST_PARKED,
    LLI_REQUEST_DONE,
    LLI_REQUEST_STATES
};

/* Where a member of a group is. */
enum lli_member_place {
    LLI_PLACE_HOME,  /* with its own connection */
    LLI_PLACE_LINE,  /* in the line of its writer: it has not begun */
    LLI_PLACE_WRITER /* taken from it */
};

enum {
    /* in ll_request.flags, beside LL_SUBMIT_*: its deadline ends it even while it writes */
    LLI_SUBMIT_BREAKS = 1u << 30
};

/* Where an executemany gets its rows from that come one after the other. */
struct lli_row_source {
    /* Owner, before the first row, once: sets the statement (in.many.many.text, in.many.size, in.many.many.width).
     * Errors: in request->error. */
    ll_status (*begin)(void *arg, ll_request *request);
    /* Owner, the statement is prepared: the values of row `at`, valid until the next call. Rows are asked for in
     * order; the same one again when a lock was met. NULL: there are no more. LL_ECANCELLED: the request was stopped
     * meanwhile. Other errors: in request->error. */
    ll_status (*row)(void *arg, ll_request *request, size_t at, const ll_value **ret_values);
    /* Nobody will ask it again. Any thread, once. */
    void (*done)(void *arg);
};

/* For a request that waits, or once waited, at something of the layer above. */
struct lli_wait_ops {
    /* It is stopped. True: that is dealt with; false: it does not wait there any more. Any thread. */
    bool (*stop)(ll_request *request, enum lli_stop why);
    /* Its memory goes. Any thread. */
    void (*gone)(ll_request *request);
};

/* What the layer above does with a connection's handle, in its turn, always on a worker. */
struct lli_task_ops {
    const char *name; /* of the public function, as "ll_blob_open()" */
    /* Owner. enum lli_run_result, but nothing that only a loop gives. */
    int (*run)(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns);
    /* After LLI_RUN_AWAY, as the last thing that the worker does with the connection, which stays OWNED, by whoever has
     * the request. */
    void (*leave)(ll_request *request);
    /* It was parked, and fails because there is no thread: before anybody is told. NULL: nothing to do. */
    void (*lost)(ll_request *request);
    /* The request's memory goes, and in.task.data with it. Any thread; NULL: nothing to do. */
    void (*gone)(ll_request *request);
    enum lli_kind kind; /* of a statement that changes as much of what is known of the connection */
    bool timed;         /* the operation timeout of a pool is for it, too */
    bool stays;         /* it leaves something on the handle that nobody can look for */
    bool ends;          /* it ends something, and is not refused in a transaction that was lost */
    bool opens;         /* its connection was opened for it alone: it tells why that failed */
};

struct ll_request {
    /* fixed after submission */
    ll_engine *engine; /* a reference unless it is the connection's; NULL for internal ones */
    ll_conn
        *conn; /* a reference; internal ones lie inside something that has one. One that waits for a
                          connection of a pool has another one's until it gets it, under the pool's mutex */
    const struct lli_wait_ops *wait; /* NULL: it never waits so */
    void *waits_for, *extra;         /* for `wait` */
    enum lli_op op;
    enum lli_kind kind; /* of LLI_OP_SQL, by its first word */
    unsigned flags;     /* LL_SUBMIT_* */
    ll_done_fn done;
    void *user;
    uint64_t deadline_ns; /* LLI_NEVER: none */
    ll_writer *writer;    /* a reference: it may be carried out by this one; NULL: none */
    bool
        loopable; /* asked for on its engine's loop, which may try it; the submitter, then the owner */

    /* any thread */
    atomic_uint refs;  /* last unref is acq_rel */
    atomic_uint state; /* moves by compare-and-swap; DONE is a release that publishes the results */
    atomic_uint stop;  /* enum lli_stop; relaxed, read by the guard */

    /* under the lock of the queue it waits in: conn->mu, cursor->mu for LLI_OP_NEXT, or writer->mu */
    struct lli_node queue_node;

    /* under writer->mu */
    enum lli_member_place place;

    /* under engine->mu */
    enum lli_stop swept; /* the stop that the engine's end has sent it */
    struct lli_node engine_node;
    struct lli_timer timer;

    /* whoever has just finished it, then the loop */
    ll_request *next_finished;

    /* input: the submitter, then whoever owns the connection */
    struct lli_arena arena;
    union {
        struct {
            const char *text;
            size_t size;
            ll_params params;
            unsigned flags; /* LL_SQL_* */
            ll_begin begin_before;
            size_t first_rows;
            bool only_in_transaction; /* done without a word when none is open */
        } sql;
        struct {
            ll_many many;
            size_t size;
            const struct lli_row_source
                *source; /* NULL: the rows are those of `many`, or it is done */
            void *source_arg;
            const char *before; /* run in the savepoint before the first row; NULL: nothing */
            bool begun, asked, before_ran; /* the source was begun; gave its first row */
        } many;
        struct {
            const char *text;
            size_t size;
            bool commit_first;
        } script;
        struct {
            ll_call_fn call;
            void *arg;
        } call;
        struct {
            const struct lli_task_ops *ops;
            void *data; /* in the arena */
        } task;
        struct {
            int (*run)(ll_conn *, ll_request *,
                       uint64_t *ret_park_ns); /* enum lli_run_result; owner */
            void (*end)(ll_conn *,
                        ll_request *); /* it has run; the connection is let go. Any thread */
            void (*strand)(
                ll_request
                    *); /* there is no thread for it: it was taken from the queue. NULL: it waits
                                             there for the next one */
        } chore;
        struct {
            void (*tell)(ll_request *); /* the loop */
        } news;
        ll_cursor *cursor; /* LLI_OP_NEXT, LLI_OP_PUMP, LLI_OP_END */
        ll_stmt *stmt;     /* LLI_OP_UNPREPARE */
        ll_writer *writer; /* LLI_OP_GROUP */
    } in;

    /* kept between the runs of a request that was parked or handed over: the connection's owner */
    struct lli_stmt *taken; /* LLI_OP_SQL: taken from the cache before the run; NULL: not yet */
    bool live;              /* ... and stepped: the run goes on where the loop left it */
    uint64_t begun_ns;      /* when a run on a worker began; 0: not measured */
    int64_t changes_before; /* total_changes() before a live statement began */
    bool started;           /* busy_until_ns is set */
    unsigned char
        missed; /* tries on the loop that a missing page ended; also read under conn->mu */
    bool
        midway; /* what it has begun has to be ended by itself: an atomic executemany its savepoint */
    uint64_t busy_until_ns; /* a lock is waited for until then */
    size_t position;        /* of a script: bytes done; of an open: pragmas done */
    bool alone;             /* its connection runs it itself, although it has a writer */
    struct {                /* by its writer; then the connection's owner */
        bool ran;           /* it was stepped, and counts as the last statement of its connection */
        bool answered;      /* the connection's owner only has to finish it */
        unsigned char lost; /* how often its transaction was */
        int64_t changes, total; /* what changes() is, and by how much total_changes() has grown */
    } member;

    /* results: the owner until DONE, then anybody, except what is taken out, by one thread at a time */
    struct lli_error error;
    ll_outcome outcome;
    bool read_only, dml;
    ll_timing timing; /* with LL_SUBMIT_TIMED; else zero */
    int64_t changes, rowid;
    size_t progress;
    void *bytes; /* ll_request_bytes() */
    size_t size;
    void (*free_bytes)(void *); /* NULL: they are not its own */
    ll_columns *columns;        /* a reference */
    struct lli_list batches;    /* of ll_batch */
    ll_cursor *cursor;
    ll_stmt *stmt;
};

/* A request with one reference, or NULL. Takes references to both. */
ll_request *lli_request_new(ll_engine *engine, ll_conn *conn, enum lli_op op, const ll_submit *how);
/* Prepares one that lies inside another object. */
void lli_request_init_internal(ll_request *request, ll_conn *conn, enum lli_op op);
static inline bool lli_request_internal(const ll_request *request)
{
    return request->op >= LLI_OP_PUMP;
}

/* QUEUED or PARKED -> RUNNING. False: somebody else took it (it was dropped). */
bool lli_request_claim(ll_request *request);
/* RUNNING -> QUEUED: it was tried on the loop, and that was undone. */
void lli_request_requeue(ll_request *request);
/* RUNNING -> PARKED. */
void lli_request_park(ll_request *request);
/* Whether it has begun and waits, or waited and no worker has come yet. Any thread that keeps it from being claimed. */
bool lli_request_is_parked(const ll_request *request);
/* NEW -> QUEUED; one that has waited elsewhere is QUEUED already, or finished. */
void lli_request_enqueued(ll_request *request);
/* RUNNING -> DONE, and the engine is told. The results must be set; the caller keeps its reference. */
void lli_request_finish(ll_request *request);
/* NEW -> DONE, inside the call that submits it. */
void lli_request_finish_now(ll_request *request);

/* It begins to run, or goes on, in this thread: in a try on the loop, or on a worker. */
void lli_request_time_begin(ll_request *request);
/* The same for what is done on a loop without a try. */
void lli_request_time_begin_at(ll_request *request, ll_place place);
/* What was begun on the loop is undone. */
void lli_request_time_undo(ll_request *request);

/* Asks for its end, from any thread: drops it, wakes it, or leaves the word for the guard. */
void lli_request_stop(ll_request *request, enum lli_stop why);
/* Sets the error that belongs to a stop, if none is set. */
void lli_request_set_stopped(ll_request *request, enum lli_stop why, bool changed);

#endif
