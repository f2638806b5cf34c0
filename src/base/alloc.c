/* alloc.c: the allocator hook, its fault point, and the count of live objects.
 *
 * Out of memory is an ordinary error everywhere in the library, so there is no function here that
 * cannot fail, and each can be made to fail by a test. The two function pointers are process-wide and
 * may only be changed while no object lives, so they need no lock. */
#include "base/alloc.h"

#include "base/fault.h"
#include "base/status.h"

#include <looplite/stats.h>
#include <stdlib.h>
#include <string.h>

static void *(*resize_hook)(void *, size_t) = realloc;
static void (*release_hook)(void *) = free;
static atomic_size_t live_objects; /* any thread, relaxed: a statistic */

/* Not inlined: a compiler that sees through the hook makes calloc() of it and the memset() below, which in glibc passes
 * by the thread's own blocks ([M] 400 of the 13 000 instructions of an insert). */
__attribute__((noinline)) void *lli_resize(void *block, size_t size)
{
    if (LLI_FAULT(LLI_FAULT_ALLOC))
        return NULL;
    return resize_hook(block, size > 0 ? size : 1);
}

void *lli_new(size_t size)
{
    void *block = lli_resize(NULL, size);
    if (block)
        memset(block, 0, size);
    return block;
}

void *lli_new_array(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return lli_new(bytes);
}

char *lli_copy_text(const char *text, size_t size)
{
    if (size == SIZE_MAX)
        return NULL;
    char *copy = lli_resize(NULL, size + 1);
    if (!copy)
        return NULL;
    if (size > 0)
        memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

void lli_free(void *block)
{
    if (block)
        release_hook(block);
}

void lli_live(int change)
{
    if (change > 0)
        atomic_fetch_add_explicit(&live_objects, 1, memory_order_relaxed);
    else
        atomic_fetch_sub_explicit(&live_objects, 1, memory_order_relaxed);
}

size_t ll_live_objects(void)
{
    return atomic_load_explicit(&live_objects, memory_order_relaxed);
}

ll_status ll_set_allocator(void *(*resize)(void *, size_t), void (*release)(void *))
{
    if (!resize || !release)
        return lli_refuse(LL_EINVAL, "ll_set_allocator: %s is NULL", resize ? "release" : "resize");
    if (ll_live_objects() > 0)
        return lli_refuse(LL_EINVAL, "ll_set_allocator: %zu objects are alive; call it first",
                          ll_live_objects());
    resize_hook = resize;
    release_hook = release;
    return LL_OK;
}
