/* arrays.h: Arrow arrays and streams made by hand, well or badly, for what reads them. */
#ifndef T_ARRAYS_H
#define T_ARRAYS_H

#include "support/support.h"

#include <pthread.h>
#include <stdatomic.h>

/* A field and its array. What is not set is zero; the memory behind `buffers` is the test's. */
typedef struct t_array {
    const char *format, *name;
    int64_t length, offset, null_count;
    int64_t n_buffers;
    const void *buffers[6];
    int64_t n_children;
    const struct t_array *children[4];
    const struct t_array *dictionary;
    bool released; /* the array comes released, the field does not */
} t_array;

/* A stream that gives the same record batch `batches` times. */
typedef struct t_source {
    const t_array *columns;
    size_t width;
    int64_t rows;
    int64_t offset; /* of the record batch */
    const void *valid;
    size_t batches;
    const char *format;           /* of its schema; NULL: "+s" */
    int schema_fails, next_fails; /* codes; the second after the batches */
    const char *error;
    /* called by get_next before it does anything; may be NULL */
    void (*point)(struct t_source *source);
    void *point_arg;
    /* what has happened */
    size_t asked;
    atomic_int alive; /* stream, schemas, arrays that are not released */
    pthread_t thread; /* that asked last */
} t_source;

/* The stream of a source, which has to outlive it. */
struct ArrowArrayStream t_stream(t_source *source);

#endif
