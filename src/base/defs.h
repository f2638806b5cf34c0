/* defs.h: the few macros that every file of ours uses. */
#ifndef LLI_BASE_DEFS_H
#define LLI_BASE_DEFS_H

#include <assert.h>
#include <looplite/base.h>
#include <stdatomic.h>
#include <stddef.h>

/* The object that holds `member` at `ptr`. */
#define LLI_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define LLI_COUNT(array)                    (sizeof(array) / sizeof((array)[0]))

/* Leaves the function with the status of `call` if it is an error; for places with nothing to undo. */
#define LL_TRY(call)                     \
    do {                                 \
        ll_status ll_try_status_ = call; \
        if (ll_try_status_ < 0)          \
            return ll_try_status_;       \
    } while (0)

#define LLI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define LLI_UNUSED            __attribute__((unused))
#define LLI_LIKELY(x)         __builtin_expect(!!(x), 1)
#define LLI_UNLIKELY(x)       __builtin_expect(!!(x), 0)

#define LLI_MS                UINT64_C(1000000)
#define LLI_SECOND            UINT64_C(1000000000)
#define LLI_NEVER             UINT64_MAX

#endif
