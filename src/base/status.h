/* status.h: errors as our own code carries them. */
#ifndef LLI_BASE_STATUS_H
#define LLI_BASE_STATUS_H

#include "base/defs.h"

/* An ll_error that owns its text. Zeroed means "no error"; the first error that is set wins. */
struct lli_error {
    ll_error pub;
    char *owned; /* what pub.message points to, or NULL when that is static */
};

/* Sets an error from a format. If there is no memory for the text, a static one takes its place. */
void lli_error_set(struct lli_error *error, ll_status status, const char *format, ...)
    LLI_PRINTF(3, 4);
/* Frees the text; the error is zeroed. */
void lli_error_done(struct lli_error *error);
/* Moves an error; `from` is zeroed. */
void lli_error_move(struct lli_error *to, struct lli_error *from);

/* Sets the calling thread's ll_last_error() and returns `status`, for calls that refuse. */
ll_status lli_refuse(ll_status status, const char *format, ...) LLI_PRINTF(2, 3);

#endif
