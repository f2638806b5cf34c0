/* arrays.c: Arrow arrays and streams made by hand. Each schema and array is memory of its own, so that a sanitizer sees
 * what is read after its release. */
#include "support/arrays.h"

#include <pthread.h>

/* ---- releasing: the same for all; private_data is the counter ------------------------------------- */

static void release_schema(struct ArrowSchema *schema)
{
    atomic_int *alive = schema->private_data;
    for (int64_t i = 0; i < schema->n_children; i++) {
        if (schema->children[i]->release)
            schema->children[i]->release(schema->children[i]);
        free(schema->children[i]);
    }
    free(schema->children);
    if (schema->dictionary && schema->dictionary->release)
        schema->dictionary->release(schema->dictionary);
    free(schema->dictionary);
    schema->release = NULL;
    atomic_fetch_sub(alive, 1);
}

static void release_array(struct ArrowArray *array)
{
    atomic_int *alive = array->private_data;
    for (int64_t i = 0; i < array->n_children; i++) {
        if (array->children[i]->release)
            array->children[i]->release(array->children[i]);
        free(array->children[i]);
    }
    free(array->children);
    if (array->dictionary && array->dictionary->release)
        array->dictionary->release(array->dictionary);
    free(array->dictionary);
    free((void *)array->buffers);
    array->release = NULL;
    atomic_fetch_sub(alive, 1);
}

/* ---- making --------------------------------------------------------------------------------------- */

static void make_schema(const t_array *from, atomic_int *alive, struct ArrowSchema *to)
{
    memset(to, 0, sizeof *to);
    to->format = from->format;
    to->name = from->name;
    to->flags = ARROW_FLAG_NULLABLE;
    to->n_children = from->n_children;
    to->release = release_schema;
    to->private_data = alive;
    atomic_fetch_add(alive, 1);
    to->children = calloc((size_t)from->n_children + 1, sizeof *to->children);
    for (int64_t i = 0; i < from->n_children; i++) {
        to->children[i] = malloc(sizeof *to->children[i]);
        make_schema(from->children[i], alive, to->children[i]);
    }
    if (from->dictionary) {
        to->dictionary = malloc(sizeof *to->dictionary);
        make_schema(from->dictionary, alive, to->dictionary);
    }
}

static void make_array(const t_array *from, atomic_int *alive, struct ArrowArray *to)
{
    memset(to, 0, sizeof *to);
    if (from->released)
        return;
    to->length = from->length;
    to->offset = from->offset;
    to->null_count = from->null_count;
    to->n_buffers = from->n_buffers;
    to->n_children = from->n_children;
    to->release = release_array;
    to->private_data = alive;
    atomic_fetch_add(alive, 1);
    to->buffers = malloc(sizeof from->buffers);
    memcpy((void *)to->buffers, (const void *)from->buffers, sizeof from->buffers);
    to->children = calloc((size_t)from->n_children + 1, sizeof *to->children);
    for (int64_t i = 0; i < from->n_children; i++) {
        to->children[i] = malloc(sizeof *to->children[i]);
        make_array(from->children[i], alive, to->children[i]);
    }
    if (from->dictionary) {
        to->dictionary = malloc(sizeof *to->dictionary);
        make_array(from->dictionary, alive, to->dictionary);
    }
}

/* ---- the stream ----------------------------------------------------------------------------------- */

/* The record batch as an array of structs: children are filled in by hand, for there may be many. */
static int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    t_source *source = stream->private_data;
    source->thread = pthread_self();
    if (source->schema_fails)
        return source->schema_fails;
    t_array batch = {.format = source->format ? source->format : "+s", .name = ""};
    make_schema(&batch, &source->alive, out);
    free(out->children);
    out->n_children = (int64_t)source->width;
    out->children = calloc(source->width + 1, sizeof *out->children);
    for (size_t i = 0; i < source->width; i++) {
        out->children[i] = malloc(sizeof *out->children[i]);
        make_schema(&source->columns[i], &source->alive, out->children[i]);
    }
    return 0;
}

static int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    t_source *source = stream->private_data;
    source->thread = pthread_self();
    source->asked++;
    if (source->point)
        source->point(source);
    memset(out, 0, sizeof *out);
    if (source->asked > source->batches)
        return source->next_fails;
    t_array batch = {.length = source->rows,
                     .offset = source->offset,
                     .n_buffers = 1,
                     .buffers = {source->valid}};
    make_array(&batch, &source->alive, out);
    free(out->children);
    out->n_children = (int64_t)source->width;
    out->children = calloc(source->width + 1, sizeof *out->children);
    for (size_t i = 0; i < source->width; i++) {
        out->children[i] = malloc(sizeof *out->children[i]);
        make_array(&source->columns[i], &source->alive, out->children[i]);
    }
    return 0;
}

static const char *get_last_error(struct ArrowArrayStream *stream)
{
    t_source *source = stream->private_data;
    return source->error;
}

static void release(struct ArrowArrayStream *stream)
{
    t_source *source = stream->private_data;
    stream->release = NULL;
    atomic_fetch_sub(&source->alive, 1);
}

struct ArrowArrayStream t_stream(t_source *source)
{
    source->asked = 0;
    atomic_store(&source->alive, 1);
    return (struct ArrowArrayStream){.get_schema = get_schema,
                                     .get_next = get_next,
                                     .get_last_error = get_last_error,
                                     .release = release,
                                     .private_data = source};
}
