/* awaitable.h: the one awaitable, and what a call has to say to become one. */
#ifndef LP_AWAITABLE_H
#define LP_AWAITABLE_H

#include "convert.h"
#include "loop.h"
#include "state.h"

/* What a step of a call came to. */
typedef enum lp_step {
    LP_SHUN = -2,   /* an exception is set, for a second awaiter only */
    LP_ERROR = -1,  /* an exception is set */
    LP_DONE = 0,    /* call->result is the answer (NULL: None) */
    LP_WAIT = 1,    /* a request was accepted; finish() follows once it has called back */
    LP_YIELD = 2,   /* let the loop turn once; finish() follows */
    LP_TURN = 4,    /* not begun: let the loop turn first */
    LP_AGAIN = 3,   /* a request finished inside its submission; finish() follows at once */
    LP_DELEGATE = 5 /* call->delegate, a coroutine, goes on in its place (delegate.c) */
} lp_step;

enum {
    LP_OP_SHIELD = 1u << 0, /* happens all the same when its task is cancelled */
    LP_OP_QUIET = 1u << 1,  /* may be dropped without being awaited */
    LP_OP_DETACH = 1u << 2, /* a cancelled task does not wait for it */
    LP_OP_SMALL = 1u << 3,  /* takes far less than a microsecond, unless it submits */
    LP_OP_LEAVE =
        1u
        << 4, /* with SHIELD: a cancelled task does not wait for it, and it happens all the same */
    LP_OP_STAY = 1u << 5 /* its answer may be stayed for (linger.c) */
};

/* One kind of call. */
typedef struct lp_op {
    const char *name;                /* "Connection.commit" */
    lp_step (*start)(lp_call *call); /* first await: checks, converts, submits */
    void (*record)(lp_call *call);   /* call->request has finished: notes what others can see; never
                                          fails, may take the request. Also when nobody waits. NULL: nothing */
    lp_step (*finish)(
        lp_call *call); /* makes the result, or submits once more. NULL: the result is None */
    void (*cancelled)(
        lp_call *call); /* given up before its end; the request may still run. Or NULL */
    unsigned flags;
} lp_op;

/* NEW -> (WAITING | YIELDED)* -> DELIVERING? -> OVER, or NEW -> YIELDED* -> DELEGATED -> OVER */
enum {
    LP_NEW,
    LP_WAITING,
    LP_YIELDED,
    LP_DELIVERING, /* under trio: done, and its task is cancelled */
    LP_DELEGATED,
    LP_OVER
};

struct lp_call {
    PyObject_HEAD
    /* fixed after creation */
    lp_state *st; /* the type keeps it alive */
    const lp_op *op;
    PyObject *owner;    /* the Connection or Cursor it is a call of */
    PyObject *sql;      /* first argument, or NULL */
    PyObject *argument; /* second argument, or NULL */

    /* GIL, the loop that awaits it */
    lp_loop *loop;
    PyObject *future; /* what the task waits for; under trio the task */
    PyObject *trap;   /* under trio: its coroutine in which the task waits (trio.c) */
    PyObject *result; /* being made; given to the awaiter in the end */
    PyObject *kept;   /* the result again, for `async with` */
    PyObject
        *thrown; /* the CancelledError to raise once the outcome is known; or what raises trio's */
    PyObject *iterator; /* executemany: where the rows come from */
    PyObject *late;     /* executemany: what the iterator raised, after the rows before it ran */
    PyObject *context;  /* what callbacks of its request run in; NULL: there are none */
    PyObject *target;   /* the Cursor a statement answers with, if that is not the owner */
    PyObject *delegate; /* the coroutine that does it all, once it is DELEGATED */
    ll_request *request;
    lp_call *previous,
        *next;        /* in loop->pending or st->orphans; linked: the list holds a reference */
    lp_call **list;   /* the head of the list it is in, or NULL */
    size_t limit;     /* fetchmany: rows wanted */
    int64_t since;    /* start of this slice, ns */
    ll_status status; /* of the request, once `finished` */
    ll_outcome outcome;
    uint8_t phase;
    uint8_t gave_way; /* how often it has let the loop turn before it began */
    bool starving;    /* counted in loop->starving */
    bool awaited;     /* though NEW: it lets the loop turn before it begins */
    bool running;     /* inside a step: no step inside a step */
    bool finished;    /* the request has called back */
    bool keep;        /* entered by `async with` */
    bool uncommon;    /* trap, hook or hook_context were set */
    bool owed;        /* under trio: begun though its task is cancelled, which is to be told so */
    bool begun;       /* the statement itself was submitted */
    bool again;       /* ... for the second time (pool.c) */
    PyObject *hook;   /* whom to tell of the statement (hook.c), or NULL */
    PyObject *hook_context; /* the contextvars to tell it in; NULL: those of now */
    lp_call *behind;        /* a fetch: the next one that waits for the same batch; owned */
    bool barrier;        /* a fetch that waits for an execute() of its cursor that is under way */
    uint64_t generation; /* a fetch: the statement of the cursor it is meant for */

    lp_params
        params; /* read by the worker until the request has finished; last: see lp_call_new() */
};

/* A call that does nothing until it is awaited. `owner` must not be NULL; `sql`, `argument` may. */
PyObject *lp_call_new(lp_state *st, const lp_op *op, PyObject *owner, PyObject *sql,
                      PyObject *argument);

/* How to submit for this call: its loop's engine, its callback. -1 with an exception. */
int lp_call_how(lp_call *call, unsigned flags, ll_submit *ret_how);

/* Waits without a request of its own, until lp_call_wake(): what its step says. */
lp_step lp_call_wait(lp_call *call);
void lp_call_wake(lp_call *call);

/* What the status of a submission into call->request means for the step. */
lp_step lp_call_submitted(lp_call *call, ll_status status);

/* Raises if the request failed. 0: it did not. */
int lp_call_check(lp_call *call);

/* "applied", "not applied", "unknown". */
const char *lp_outcome_name(ll_outcome outcome);
/* Its answer goes to the awaiter; a new reference. The call is over. */
PyObject *lp_call_answer(lp_call *call, PyObject *value);

/* Lets go of all but what the worker may still read and what the result is. */
void lp_call_over(lp_call *call);

/* delegate.c: hands a call over to an awaitable, whose reference is taken: LP_DELEGATE or LP_ERROR. */
lp_step lp_delegate_to(lp_call *call, PyObject *awaitable);

/* delegate.c: the steps of a call that a coroutine does in its place. */
PySendResult lp_delegate_send(lp_call *call, PyObject *value, PyObject **ret);
PyObject *lp_delegate_throw(lp_call *call, PyObject *exc);
int lp_delegate_close(lp_call *call);

/* delegate.c: Result(coroutine): tp_new. */
PyObject *lp_delegate_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);

/* Whether nobody waits for the answer any more. */
static inline bool lp_call_is_lost(const lp_call *call)
{
    return call->phase == LP_OVER || call->thrown;
}

/* The loop is gone: cancels the calls of a list and moves them to the orphans. */
void lp_calls_orphan(lp_state *st, lp_call **list);

/* Lets go of the orphans whose requests have finished. */
void lp_calls_sweep(lp_call **orphans);

/* Raises StopIteration(value). */
void lp_stop_iteration(PyObject *value);

/* The exception that throw(type[, value[, traceback]]) means; a new reference, NULL with a TypeError. */
PyObject *lp_exception_of(PyObject *const *args, Py_ssize_t count);

/* Makes asyncio.iscoroutine() and create_task() accept a type. */
int lp_register_coroutine(PyTypeObject *type);

/* ready.c: a finished awaitable: gives `value`, whose reference it takes, when awaited. */
PyObject *lp_ready_new(lp_state *st, PyObject *value);

int lp_ready_init(PyObject *module, lp_state *st);

#endif
