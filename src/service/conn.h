/* conn.h: making connections, for the rest of this layer. */
#ifndef LLI_SERVICE_CONN_H
#define LLI_SERVICE_CONN_H

#include "engine/conn.h"

#define LLI_OPEN_FLAGS                                                                            \
    (LL_OPEN_READONLY | LL_OPEN_NO_CREATE | LL_OPEN_URI | LL_OPEN_NO_FOLLOW | LL_OPEN_NO_INLINE | \
     LL_OPEN_SHARED_CACHE)

/* A connection that is not opened yet, with one reference and one handle. Errors: LL_ENOMEM. */
ll_status lli_service_conn_new(ll_engine *engine, const char *path, const ll_open_options *options,
                               ll_conn **ret_conn);

#endif
