/* hook.h: Connection.on_statement: who is told of each statement. */
#ifndef LP_HOOK_H
#define LP_HOOK_H

#include "awaitable.h"

/* The call is about to submit a statement of a connection that has a hook. */
void lp_hook_arm(lp_call *call, PyObject *hook, ll_submit *how);

/* It was accepted, and the hook will be called from a callback of the loop: in the contextvars of now. */
void lp_hook_keep_context(lp_call *call);

/* The request has finished: calls the hook. Never fails. */
void lp_hook_tell(lp_call *call);

int lp_hook_init(PyObject *module, lp_state *st);

#endif
