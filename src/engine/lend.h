/* lend.h: a read on the loop without a request: its rows are lent. */
#ifndef LLI_ENGINE_LEND_H
#define LLI_ENGINE_LEND_H

#include "engine/stmt.h"

enum lli_lend {
    LLI_LEND_NO,     /* it is to be submitted as any other */
    LLI_LEND_DONE,   /* handle->rows has all rows */
    LLI_LEND_BOUNCED /* ... but not to be tried on the loop again */
};

/* Tries on the calling thread. Whatever did not end well has left nothing behind. */
enum lli_lend lli_lend_rows(ll_stmt *handle, const ll_params *params);

#endif
