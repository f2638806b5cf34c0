/* base.h: version, status codes, errors and the allocator: what every other header needs. */
#ifndef LOOPLITE_BASE_H
#define LOOPLITE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What stands in front of each function. A program that has the library inside may define it before, as when
 * its own library is not to export these names. */
#ifndef LL_API
#    if defined(__GNUC__) || defined(__clang__)
#        define LL_API __attribute__((visibility("default")))
#    else
#        define LL_API
#    endif
#endif

#if defined(__GNUC__) || defined(__clang__)
#    define LL_NODISCARD __attribute__((warn_unused_result))
#else
#    define LL_NODISCARD
#endif

#define LL_VERSION_MAJOR 0
#define LL_VERSION_MINOR 1
#define LL_VERSION_PATCH 0
#define LL_VERSION       "0.1.0"

/* What a function or a request came to. Zero and above: fine. Below zero: an error. */
typedef enum ll_status {
    LL_OK = 0,            /* done */
    LL_PENDING = 1,       /* accepted; the callback will tell */
    LL_ENOMEM = -1,       /* out of memory */
    LL_EINVAL = -2,       /* an argument is wrong; the message names it */
    LL_ESQL = -3,         /* SQLite said no; ll_error.sqlite_code holds its extended code */
    LL_EBUSY = -4,        /* the database stayed locked for longer than the busy timeout */
    LL_ETIMEOUT = -5,     /* the request's own deadline passed */
    LL_ECANCELLED = -6,   /* ll_request_cancel() */
    LL_ECLOSED = -7,      /* the connection or the cursor is closed, or never opened */
    LL_EFORK = -8,        /* made before fork(), used in the child */
    LL_ESYS = -9,         /* the operating system said no; ll_error.sys_errno holds errno */
    LL_EPARAM = -10,      /* parameters do not fit the statement: number, name or type */
    LL_ESTATEMENTS = -11, /* more than one statement where one was expected */
    LL_EEXHAUSTED =
        -12,           /* all connections of the pool are out, for longer than one was waited for */
    LL_EABORTED = -13, /* the transaction was rolled back by an error; it has to be ended first */
    LL_ENEEDSLEASE = -14 /* the statement needs a connection of its own: ll_pool_acquire() */
} ll_status;

/* What became of the work, whatever the status. */
typedef enum ll_outcome {
    LL_NOT_APPLIED = 0, /* nothing was changed by it */
    LL_APPLIED = 1,     /* it ran to its end */
    LL_UNKNOWN = 2      /* some of it may stand: a script or executemany that failed midway, INSERT
                           OR FAIL, an I/O error inside a commit */
} ll_outcome;

/* One error, whole. All pointers live as long as the object that returned it. */
typedef struct ll_error {
    ll_status status;    /* LL_OK: no error */
    int sqlite_code;     /* SQLite's extended result code, 0 when SQLite was not asked */
    int sys_errno;       /* errno of the operating system, 0 when it was not asked */
    int sql_offset;      /* byte offset of the offending token in the SQL text, -1 when unknown */
    const char *message; /* one sentence, UTF-8, never NULL */
} ll_error;

/* The library's version, as "major.minor.patch".
 * Thread: any. Owns: static text. Errors: none. After fork: works. Since: 0.1 */
LL_API const char *ll_version(void);

/* The name of a status ("LL_EBUSY"), for messages and logs.
 * Thread: any. Owns: static text. Errors: an unknown number gives "LL_?". Since: 0.1 */
LL_API const char *ll_status_name(ll_status status);

/* One sentence on a status ("the database is locked").
 * Thread: any. Owns: static text. Errors: none. Since: 0.1 */
LL_API const char *ll_status_text(ll_status status);

/* Why the last looplite function of this thread that returned a negative status did so.
 * Thread: any; each thread has its own. Owns: the text lives until the next call that fails on
 * this thread. Errors: none; "" when nothing failed yet. Since: 0.1 */
LL_API const char *ll_last_error(void);

/* Replaces the allocator of the whole library. `resize` is realloc: (NULL, n) allocates, and it is
 * never called with n == 0; `release` frees, NULL allowed. SQLite keeps its own allocator.
 * Thread: any, before the first object is made. Owns: nothing. Errors: LL_EINVAL if one is NULL or
 * an object is alive already. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_set_allocator(void *(*resize)(void *, size_t),
                                               void (*release)(void *));

#ifdef __cplusplus
}
#endif
#endif
