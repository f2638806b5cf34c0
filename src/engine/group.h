/* group.h: single writes of many connections, carried out by one of them in common transactions. See group.c. */
#ifndef LLI_ENGINE_GROUP_H
#define LLI_ENGINE_GROUP_H

#include "engine/conn.h"
#include "engine/run.h"

#include <looplite/writer.h>

struct ll_writer {
    /* fixed after creation */
    ll_conn *conn; /* one of its handles: it writes */
    size_t most_members, most_bytes;
    uint64_t most_ns, busy_timeout_ns;

    /* any thread */
    atomic_uint refs; /* the program's, each member's, that of `called`; last unref is acq_rel */
    struct {          /* relaxed: statistics */
        _Atomic uint64_t batches, members, largest, alone, reruns;
    } stats;

    /* under mu */
    lli_mutex mu;
    struct lli_list line;   /* of ll_request.queue_node: members that have not begun */
    bool called;            /* `run` is queued, runs or is parked */
    bool stranded;          /* ... but there was no thread for it */
    uint64_t looks_ns;      /* when it will look at the line by itself; 0: it runs */
    bool print_known;       /* `print` is what homes have to be; else nobody knows yet */
    struct lli_print print; /* ... written by the owner of `conn` only */

    /* whoever owns `conn` */
    struct lli_list batch; /* of ll_request.queue_node: have run, wait for the commit */
    struct lli_list again; /* ... have run, and lost their transaction; before `line` */
    struct lli_list
        solo; /* ... have no home, and are to run alone behind this transaction; before `line` */
    size_t count, bytes; /* of `batch`: members, and what their rows take */
    bool committing;     /* parked, with the transaction open: COMMIT met a lock */
    bool cookie_known;   /* the schema is the one of `cookie`, and has been looked at */
    bool deferred;       /* ... and has a constraint that may be violated until COMMIT */
    uint32_t cookie;
    bool lost;            /* the transaction has ended before its COMMIT */
    int synchronous;      /* of `conn`, as it is now; -1: not known */
    int base_synchronous; /* ... as its program has set it */
    unsigned tries;       /* of BEGIN or COMMIT, since it met a lock */

    ll_request run; /* internal, in place: calling the writer needs no memory */
};

/* A writer with one reference. Errors: LL_ENOMEM. */
ll_status lli_group_new(ll_conn *conn, const ll_writer_options *options, ll_writer **ret_writer);
ll_writer *lli_group_ref(ll_writer *writer);
void lli_group_unref(ll_writer *writer);

/* Whether it belongs to no connection: the writer's own stands in for its home. */
static inline bool lli_group_has_no_home(const ll_request *request)
{
    return request->conn == request->writer->conn;
}

/* In place of lli_conn_enqueue(), for a request with a writer. */
ll_status lli_group_enqueue(ll_request *request);
/* Owner of the home, on a worker: whether its next request is for its writer; else it is to run alone. */
bool lli_group_admits(ll_conn *home, ll_request *request);
/* The home's owner hands it over, with its reference, to the line of the writer. Nothing of it may be used later. */
void lli_group_join(ll_request *request);
/* A member is stopped. True: it stood in line, and was dropped. */
bool lli_group_stop(ll_request *request, enum lli_stop why);
/* The writer's connection got no thread: those in line are told. Any thread. */
void lli_group_strand(ll_writer *writer);
/* A statement of a home runs on it by itself. */
void lli_group_count_alone(ll_writer *writer);

/* Moves of the writer, which has taken a member from the line. */

/* The next one, RUNNING; NULL: there is none whose connection is not stricter than `synchronous`. */
ll_request *lli_group_next(ll_writer *writer);
/* A run begins: what it finds in line need not call it. */
void lli_group_begin(ll_writer *writer);
/* Until when the least patient one in line waits, or `earliest_ns`; who comes later and waits less wakes the writer.
 * *ret_synchronous is raised to that of the strictest one. *ret_any: there is one. */
uint64_t lli_group_patience(ll_writer *writer, uint64_t earliest_ns, int *ret_synchronous,
                            bool *ret_any);
/* Whether the line is empty; then the next member calls the writer. */
bool lli_group_rests(ll_writer *writer);
/* What the writer's connection is set to was learnt. */
void lli_group_show_print(ll_writer *writer);
/* Sets the error of a member that a lock has kept out. */
void lli_group_set_busy(ll_request *request);
/* Those in line that have waited until `now_ns` are told that the database is locked. */
void lli_group_expire(ll_writer *writer, uint64_t now_ns);
/* Its results are set: its home looks as if it had run it, is let go, and it is finished. */
void lli_group_answer(ll_request *request);
/* Its home runs it itself, or the writer's connection as an ordinary request: it has no effect and no results yet. */
void lli_group_send_home(ll_request *request);
/* Owner of the home: what lli_group_answer() does to it. */
void lli_group_apply(ll_conn *home, const ll_request *request);

/* Carries out what is waiting: the internal request of a writer (run_group.c). */
enum lli_run_result lli_run_group(ll_conn *conn, ll_request *run, uint64_t *ret_park_ns);

#endif
