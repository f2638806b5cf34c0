/* exec.h: submitting one statement whose text needs no more checks. */
#ifndef LLI_SERVICE_EXEC_H
#define LLI_SERVICE_EXEC_H

#include "engine/submit.h"

/* Whether the parameters can be looked at. Errors: LL_EINVAL. */
ll_status lli_exec_check(const ll_params *params, const char *caller);
/* The size of a text argument. Errors: LL_EINVAL. */
ll_status lli_exec_text_size(const char *text, size_t size, const char *caller, const char *name,
                             size_t *ret_size);
/* A request for a statement, with all that it needs, not submitted: for who does not want it tried on the loop.
 * `sql` has a size and no NUL inside. */
ll_status lli_exec_new(ll_conn *conn, const ll_sql *sql, enum lli_kind kind, const ll_submit *how,
                       ll_request **ret_request, const char *caller, ll_request **ret_new);
/* `sql` has a size and no NUL inside, and is of this kind. */
ll_status lli_exec_submit(ll_conn *conn, const ll_sql *sql, enum lli_kind kind,
                          const ll_submit *how, ll_request **ret_request, const char *caller);

#endif
