/* spare.h: objects that are kept for the next call.
 *
 * A point read makes two calls and a cursor and drops them at once. What is dropped is kept, up to a number, and
 * taken again: it saves the allocator, the collector's count of allocations, and clearing what the object's
 * own fields do not need.
 *
 * Only objects of exactly one type with room for a pointer behind the head, that the collector tracks. GIL. */
#ifndef LP_SPARE_H
#define LP_SPARE_H

#include "compat.h"

#include <string.h>

enum {
    LP_SPARES_KEPT = 64
};

typedef struct lp_spare {
    PyObject_HEAD
    struct lp_spare *next;
} lp_spare;

typedef struct lp_spares {
    lp_spare *first;
    size_t count;
} lp_spares;

/* An object of `type` whose first `size` bytes behind the head are zero; tracked. NULL with an exception. */
static inline PyObject *lp_spare_take(lp_spares *spares, PyTypeObject *type, size_t size)
{
    lp_spare *spare = spares->first;
    if (!spare)
        return lp_new(type);
    spares->first = spare->next;
    spares->count--;
    memset((char *)spare + sizeof(PyObject), 0, size);
    PyObject *op = PyObject_Init((PyObject *)spare, type);
    PyObject_GC_Track(op);
    return op;
}

/* The end of a tp_dealloc, in place of tp_free: `op` is untracked and holds nothing any more. One that was
 * finalized is not kept: it would never be again. */
static inline void lp_spare_give(lp_spares *spares, PyObject *op)
{
    if (spares->count >= LP_SPARES_KEPT || PyObject_GC_IsFinalized(op)) {
        PyObject_GC_Del(op);
        return;
    }
    lp_spare *spare = (lp_spare *)op;
    spare->next = spares->first;
    spares->first = spare;
    spares->count++;
}

/* Frees all. */
static inline void lp_spares_free(lp_spares *spares)
{
    while (spares->first) {
        lp_spare *spare = spares->first;
        spares->first = spare->next;
        spares->count--;
        PyObject_GC_Del(spare);
    }
}

#endif
