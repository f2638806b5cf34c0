/* trio.h: waiting as trio wants it. */
#ifndef LP_TRIO_H
#define LP_TRIO_H

#include "awaitable.h"

/* If trio runs in this thread: true, and *loop is replaced by the token of the run (a reference each). */
bool lp_trio_token(lp_state *st, PyObject **loop);

/* What stands for the loop object in the entry of a trio run; a new reference. NULL with an exception. */
PyObject *lp_trio_host(PyObject *entry, PyObject *token);

/* Whether a task of trio awaits the call, and not one of asyncio. */
bool lp_trio_awaits(lp_call *call);

/* Whether what the task does now is cancelled: it must not begin. */
bool lp_trio_is_cancelled(lp_call *call);

/* The three ways to suspend; what is yielded to trio, a new reference, or NULL with an exception. */
PyObject *lp_trio_wait(lp_call *call);       /* until lp_trio_wake() */
PyObject *lp_trio_checkpoint(lp_call *call); /* lets others run */
PyObject *lp_trio_deliver(lp_call *call);    /* raises the cancellation, if there is still one */

/* Lets the task go on that waits. */
void lp_trio_wake(lp_call *call);

/* The suspended call was sent `value`. PYGEN_RETURN: go on; PYGEN_NEXT: *ret is to be yielded. PYGEN_ERROR: an
 * exception is set, by trio's will if *ret_raised, else because somebody else awaits the call. */
PySendResult lp_trio_resume(lp_call *call, PyObject *value, PyObject **ret, bool *ret_raised);

/* The exception that trio wanted raised when it cancelled a wait which could not end at once (call->thrown, whose
 * reference it takes); a new reference. */
PyObject *lp_trio_raised(PyObject *raise_cancel);

/* Whether an exception is the same cancellation of an asyncio task once more: anyio's scopes cancel it in each turn of
 * the loop until they have been left, always with the same text. */
bool lp_is_repeated(PyObject *first, PyObject *exc);

#endif
