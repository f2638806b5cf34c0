/* submit.h: from a call's arguments to an accepted request. */
#ifndef LLI_ENGINE_SUBMIT_H
#define LLI_ENGINE_SUBMIT_H

#include "engine/conn.h"
#include "engine/engine.h"

/* The engine on which a request of `conn` completes. Errors: LL_EFORK, LL_EINVAL, named for `caller`. */
ll_status lli_engine_for(ll_conn *conn, const ll_submit *how, const char *caller,
                         ll_engine **ret_engine);

/* A request of this kind for `conn`, after all arguments common to all calls were checked. */
ll_status lli_submit_new(ll_conn *conn, enum lli_op op, const ll_submit *how,
                         ll_request **ret_request, const char *caller, ll_request **ret_new);

/* Accepts it: LL_PENDING with *ret_request set (if given), or an error with the request freed. */
ll_status lli_submit(ll_request *request, ll_request **ret_request);
/* It is finished, without having been queued: LL_OK with *ret_request set (if given). `here`: by its engine's
 * loop, which calls this. */
ll_status lli_submit_finished(ll_request *request, bool here, ll_request **ret_request);

/* Copies into the request's own memory unless it borrows. Errors: LL_ENOMEM. */
ll_status lli_submit_text(ll_request *request, const char *text, size_t size,
                          const char **ret_text);
ll_status lli_submit_values(ll_request *request, const ll_value *values, size_t count,
                            const ll_value **ret_values);
ll_status lli_submit_names(ll_request *request, const char *const *names, size_t count,
                           const char *const **ret_names);

#endif
