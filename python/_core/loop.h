/* loop.h: one engine per event loop. */
#ifndef LP_LOOP_H
#define LP_LOOP_H

#include "state.h"

#include <time.h>

/* helper.c: the thread that watches the descriptor for a loop that cannot. All under the GIL. */
struct lp_helper {
    PyObject *thread; /* the threading.Thread, or NULL */
    int control[2];   /* a pipe that wakes it; its own to close while `serving` */
    bool wanted;      /* the loop has no add_reader() */
    bool serving;     /* the thread has not left yet */
    bool posted;      /* a dispatch is on its way to the loop */
    bool stopping;
    ll_engine *last; /* to be abandoned by the thread when it leaves, or NULL */
};

/* idle.c: whether it can be seen that the loop has nothing to do. */
enum {
    LP_NOT_LOOKED,
    LP_VISIBLE,
    LP_INVISIBLE
};

/* linger.c: whether it is worth while to stay for an answer. */
struct lp_linger {
    unsigned skip;     /* so many requests are not stayed for */
    unsigned failures; /* in a row */
};

struct lp_loop {
    PyObject_HEAD
    /* fixed after creation */
    lp_state *st;       /* the type keeps it alive */
    PyObject *loop_ref; /* weak: the asyncio loop keeps us, not we it; of a trio run: its token */
    PyObject *key;      /* in st->loops */

    /* GIL */
    PyObject
        *host; /* under trio: what is asked in the loop's place (looplite._trio.Host); else NULL */
    ll_engine *engine;  /* NULL once the loop is gone */
    lp_call *pending;   /* calls that an accepted request will call back; each holds a reference */
    size_t connections; /* opened from this loop and not closed */
    bool reading;       /* the descriptor is registered with add_reader() */
    int visible;        /* LP_NOT_LOOKED, or what was found */
    int64_t turn_end;   /* when this turn's time is spent; 0: nothing has used it yet */
    uint64_t turn;      /* its number among those of all loops */
    bool turn_posted;   /* `_turn` will end it; if not, the next dispatch does */
    bool turn_over;     /* somebody has found it spent */
    size_t starving;    /* calls that have given way too often: others let them go first */
    unsigned unlooked;  /* small calls since the clock was looked at */
    struct lp_linger linger[2]; /* by whether the call is shielded: commits, and all others */
    uint64_t stays;             /* answers that were stayed for, and came */
    struct lp_helper helper;    /* of a loop that cannot watch descriptors */
};

/* The entry of the loop that runs in this thread, made if need be. A new reference; NULL with a
 * RuntimeError when no loop runs. */
lp_loop *lp_loop_running(lp_state *st);

/* The asyncio loop itself, or what stands for it; a new reference. NULL with an exception when it is gone. */
PyObject *lp_loop_object(lp_loop *loop);

/* Registers the descriptor, if it is not: before anything is submitted that may call back. */
int lp_loop_watch(lp_loop *loop);

/* When the time of the loop's present turn is spent (lp_now_ns() time). The first who asks in a turn begins
 * it. -1 with an exception. */
int64_t lp_loop_turn_end(lp_loop *loop);
/* Begins a turn for a call that may only submit: nothing is posted. 0, or -1 with an exception. */
int lp_loop_turn_begin(lp_loop *loop);
/* Whether it is spent. */
bool lp_loop_turn_over(lp_loop *loop);
/* The same for calls that take far less than a microsecond: looks at the clock for some of them only. */
bool lp_loop_turn_over_small(lp_loop *loop);

/* Runs the callbacks of what has finished. 0, or -1 with an exception. */
int lp_loop_dispatch(lp_loop *loop);

/* linger.c: for how long a call stays, unless a test says otherwise, in a loop that cannot be looked into, and in one
 * that has nothing else to do (lp_state.stay_ns, .stay_idle_ns). */
extern const int64_t lp_stay_ns, lp_stay_idle_ns;

/* linger.c: a worker has this call's request, and no other of the loop. Stays for its answer for a moment. True:
 * the call has finished. */
bool lp_call_linger(lp_call *call);

/* helper.c: has a thread watch the descriptor and call the loop by call_soon_threadsafe(). -1 with an exception. */
int lp_helper_start(lp_loop *loop);
/* The dispatch that was on its way has come. */
void lp_helper_dispatched(lp_loop *loop);
/* Ends the thread, if there is one. It is waited for if `wait`; never from the thread itself. */
void lp_helper_stop(lp_loop *loop, bool wait);
/* In the child of a fork: there is no such thread. */
void lp_helper_forget(lp_loop *loop);
/* The thread's function. */
PyObject *lp_helper_serve(PyObject *loop, PyObject *unused);

/* The loop was found closed, or is gone: takes its engine out of use. Waits for nobody. */
void lp_loop_end(lp_loop *loop);

/* A connection of this loop was opened (+1) or has ended (-1). */
void lp_loop_count(lp_loop *loop, int change);
/* Behind a close() that has ended inside the call: waits for a thread that the loop has no more use for. */
void lp_loop_leave(lp_loop *loop);

/* The engine that all connections belong to, made if need be. NULL with an exception. */
ll_engine *lp_root_engine(lp_state *st);

/* The atexit hook: takes the engines of all loops out of use; what is queued is dropped. */
void lp_loops_end(lp_state *st);

/* The atexit hook: ends the root engine and its workers. Waits for a running commit, without the GIL; not if a
 * worker is in something that does not end (`whole` is false). */
void lp_root_end(lp_state *st, bool whole);

/* In the child of a fork: forgets what belongs to the parent, touching nothing of it. */
void lp_loops_forget(lp_state *st);

/* Monotonic time. */
static inline int64_t lp_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif
