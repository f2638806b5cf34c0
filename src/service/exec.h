/* exec.h: submitting one statement whose text needs no more checks. */
#ifndef LLI_SERVICE_EXEC_H
#define LLI_SERVICE_EXEC_H

#include "engine/submit.h"

/* Whether the parameters can be looked at. Errors: LL_EINVAL. */
ll_status lli_exec_check(const ll_params *params, const char *caller);
/* `sql` has a size and no NUL inside, and is of this kind. */
ll_status lli_exec_submit(ll_conn *conn, const ll_sql *sql, enum lli_kind kind,
                          const ll_submit *how, ll_request **ret_request, const char *caller);
/* The same, but only makes the request, with copies of all it needs: it is to wait for its connection. */
ll_status lli_exec_new(ll_conn *conn, const ll_sql *sql, enum lli_kind kind, const ll_submit *how,
                       ll_request **ret_request, const char *caller, ll_request **ret_new);
/* The size of a text argument that the caller calls `name`. Errors: LL_EINVAL, NULL or a NUL byte inside. */
ll_status lli_exec_text_size(const char *text, size_t size, const char *caller, const char *name,
                             size_t *ret_size);
/* groupcommit.c: whether a statement may be a single write, by its first word. `sql` has a size. */
bool lli_writer_takes(enum lli_kind kind, const ll_sql *sql);

#endif
