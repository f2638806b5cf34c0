/* adk.h: what the files of the ADK store share. */
#ifndef LLI_SERVICE_ADK_H
#define LLI_SERVICE_ADK_H

#include "base/arena.h"
#include "base/status.h"

#include <looplite/adk.h>

struct ll_adk {
    /* fixed after creation; all texts lie in the arena */
    struct lli_arena arena;
    ll_adk_layout layout;
    const char *owner_name; /* unquoted; NULL: no such column */
    const char *schema;
    const char *texts[LL_ADK_STATEMENTS];
    size_t sizes[LL_ADK_STATEMENTS];
};

/* Begins to fill a call with a statement. Errors: LL_EINVAL when `adk` or `call` is NULL. */
ll_status lli_adk_begin(const ll_adk *adk, ll_adk_statement statement, ll_adk_call *call,
                        const char *caller);

/* One value more; they fit. */
static inline void lli_adk_add(ll_adk_call *call, ll_value value)
{
    call->values[call->sql.params.count++] = value;
}

/* A text that must be there. Errors: LL_EINVAL, which names it. */
ll_status lli_adk_need(const char *text, const char *caller, const char *name, ll_value *ret_value);
/* A text or NULL. */
ll_status lli_adk_may(const char *text, const char *caller, const char *name, ll_value *ret_value);

/* A text of a row; NULL for SQL's. Errors: LL_EINVAL, which names the column. */
ll_status lli_adk_text_of(const ll_value *value, const char *caller, const char *name,
                          const char **ret_text);
/* A time of a row, likewise. */
ll_status lli_adk_time_of(const ll_value *value, const char *caller, const char *name,
                          int64_t *ret_us);

#endif
