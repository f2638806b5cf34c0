/* memory.c: pages of large blocks.
 *
 * A fresh block has no pages; the first write to each of them is an exception, in a virtual machine a dear one ([M] for
 * a million rows of five columns, 13 000 exceptions, a tenth of the whole time). Linux gives many in one call since 5.14
 * (madvise(2), MADV_POPULATE_WRITE); elsewhere, and where it is refused, nothing happens. */
#include "platform/memory.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    LARGE = 64 * 1024 /* below, a call costs what it saves */
};

void lli_memory_ready(void *block, size_t size)
{
#if defined(__linux__)
#    if !defined(MADV_POPULATE_WRITE)
    enum {
        MADV_POPULATE_WRITE = 23 /* older headers than the system that runs */
    };
#    endif
    if (size < LARGE)
        return;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t skipped = (page - (uintptr_t)block % page) % page;
    int error = errno;
    if (skipped < size)
        (void)madvise((char *)block + skipped, (size - skipped) / page * page, MADV_POPULATE_WRITE);
    errno = error;
#else
    (void)block;
    (void)size;
#endif
}
