/* exec.h: submitting one statement whose text needs no more checks. */
#ifndef LLI_SERVICE_EXEC_H
#define LLI_SERVICE_EXEC_H

#include "engine/submit.h"

/* Whether the parameters can be looked at. Errors: LL_EINVAL. */
ll_status lli_exec_check(const ll_params *params, const char *caller);
/* `sql` has a size and no NUL inside, and is of this kind. */
ll_status lli_exec_submit(ll_conn *conn, const ll_sql *sql, enum lli_kind kind,
                          const ll_submit *how, ll_request **ret_request, const char *caller);

#endif
