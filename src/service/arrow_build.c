/* arrow_build.c: schemas, and batches of columns as arrays.
 *
 * The buffers of a column were filled on the worker as Arrow wants them (db/colbatch.c); here they move into an
 * ArrowArray, which frees them. What the batch's own type differs from the shape's is converted: integers to doubles in
 * place, everything else into a new column of texts or blobs.
 *
 * A consumer may move the children out of an array and release them later, on any thread, in any order: each child
 * owns its buffers alone, and the parent only the block in which the children were handed over. */
#include "base/alloc.h"
#include "base/status.h"
#include "service/arrow.h"
#include "service/arrow_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- schema -------------------------------------------------------------------------------------- */

static const char *const formats[] = {
    [LLI_ARROW_NULL] = "n", [LLI_ARROW_INT64] = "l",  [LLI_ARROW_DOUBLE] = "g",
    [LLI_ARROW_UTF8] = "u", [LLI_ARROW_BINARY] = "z",
};
static const char *const type_names[] = {
    [LLI_ARROW_NULL] = "null", [LLI_ARROW_INT64] = "int64",   [LLI_ARROW_DOUBLE] = "double",
    [LLI_ARROW_UTF8] = "utf8", [LLI_ARROW_BINARY] = "binary",
};

struct schemas { /* the parent's private_data */
    struct ArrowSchema *children;
    struct ArrowSchema *places[]; /* of the children */
};

static void release_field(struct ArrowSchema *field)
{
    lli_free(field->private_data); /* the name */
    field->release = NULL;
    lli_live(-1);
}

static void release_schema(struct ArrowSchema *schema)
{
    struct schemas *own = schema->private_data;
    for (int64_t i = 0; i < schema->n_children; i++)
        if (schema->children[i]->release)
            schema->children[i]->release(schema->children[i]);
    lli_free(own->children);
    lli_free(own);
    schema->release = NULL;
    lli_live(-1);
}

ll_status ll_arrow_schema(const ll_arrow_shape *shape, struct ArrowSchema *ret_schema)
{
    if (!shape || !ret_schema)
        return lli_refuse(LL_EINVAL, "ll_arrow_schema: %s is NULL", shape ? "ret_schema" : "shape");
    struct schemas *own = lli_new(sizeof *own + shape->width * sizeof own->places[0]);
    struct ArrowSchema *children = lli_new_array(shape->width, sizeof *children);
    if (!own || !children) {
        lli_free(own);
        lli_free(children);
        return lli_refuse(LL_ENOMEM, "out of memory for a schema");
    }
    own->children = children;
    struct ArrowSchema schema = {.format = "+s",
                                 .name = "",
                                 .n_children = (int64_t)shape->width,
                                 .children = own->places,
                                 .release = release_schema,
                                 .private_data = own};
    lli_live(+1);
    for (size_t i = 0; i < shape->width; i++)
        own->places[i] = &children[i];
    for (size_t i = 0; i < shape->width; i++) {
        const char *name = ll_columns_name(shape->columns, i);
        char *copy = lli_copy_text(name, strlen(name));
        if (!copy) {
            release_schema(&schema);
            return lli_refuse(LL_ENOMEM, "out of memory for a schema");
        }
        children[i] = (struct ArrowSchema){.format = formats[shape->types[i]],
                                           .name = copy,
                                           .flags = ARROW_FLAG_NULLABLE,
                                           .release = release_field,
                                           .private_data = copy};
        lli_live(+1);
    }
    *ret_schema = schema;
    return LL_OK;
}

/* ---- columns of another type than the shape's ---------------------------------------------------- */

/* The value of a row as texts or blobs are written. */
static size_t write_value(const struct lli_col *col, size_t row, char *room, size_t room_size,
                          const void **ret_at)
{
    *ret_at = room;
    uint64_t word = (uint64_t)col->words[row];
    double real;
    switch (col->tags ? col->tags[row] : col->kind) {
    case LL_INTEGER:
        return (size_t)snprintf(room, room_size, "%" PRId64, col->words[row]);
    case LL_FLOAT:
        memcpy(&real, &word, sizeof real);
        return lli_arrow_write_double(real, room, room_size);
    case LL_TEXT:
    case LL_BLOB:
        *ret_at = col->bytes ? col->bytes + (word >> 32) : (const void *)""; /* all are empty */
        return (size_t)(word & UINT32_MAX);
    default:
        return 0;
    }
}

static bool has_value(const struct lli_col *col, size_t row)
{
    return !col->valid || (col->valid[row / 8] >> (row % 8) & 1);
}

/* Numbers, or values of several types, as texts or blobs. */
static ll_status write_all(struct lli_col *col, size_t rows)
{
    char digits[64];
    const void *at;
    size_t size = 0;
    for (size_t i = 0; i < rows; i++)
        size += has_value(col, i) ? write_value(col, i, digits, sizeof digits, &at) : 0;
    if (size > INT32_MAX)
        return lli_refuse(LL_ENOMEM, "a column of a batch would have 2 GiB of text");
    int32_t *offsets = lli_new_array(rows + 1, sizeof *offsets);
    uint8_t *bytes = lli_resize(NULL, size > 0 ? size : 1);
    if (!offsets || !bytes) {
        lli_free(offsets);
        lli_free(bytes);
        return lli_refuse(LL_ENOMEM, "out of memory for a column");
    }
    size_t end = 0;
    for (size_t i = 0; i < rows; i++) {
        size_t more = has_value(col, i) ? write_value(col, i, digits, sizeof digits, &at) : 0;
        if (more > 0)
            memcpy(bytes + end, at, more);
        end += more;
        offsets[i + 1] = (int32_t)end;
    }
    lli_free(col->words);
    lli_free(col->bytes);
    col->words = NULL;
    col->offsets = offsets;
    col->bytes = bytes;
    return LL_OK;
}

static void make_doubles(struct lli_col *col, size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        if ((col->tags ? col->tags[i] : col->kind) != LL_INTEGER)
            continue;
        double real = (double)col->words[i];
        memcpy(&col->words[i], &real, sizeof real);
    }
}

/* Makes the buffers of a column those of `type`, which it fits. */
static ll_status convert(struct lli_col *col, enum lli_arrow_type type, size_t rows)
{
    switch (type) {
    case LLI_ARROW_NULL:
        return LL_OK;
    case LLI_ARROW_INT64:
    case LLI_ARROW_DOUBLE:
        if (!col->words && !(col->words = lli_new_array(rows + 1, sizeof *col->words)))
            return lli_refuse(LL_ENOMEM, "out of memory for a column");
        if (type == LLI_ARROW_DOUBLE && col->kind != LL_FLOAT)
            make_doubles(col, rows);
        return LL_OK;
    case LLI_ARROW_UTF8:
    case LLI_ARROW_BINARY:
        if (col->words)
            return write_all(col, rows);
        if (!col->offsets && !(col->offsets = lli_new_array(rows + 1, sizeof *col->offsets)))
            return lli_refuse(LL_ENOMEM, "out of memory for a column");
        return LL_OK;
    }
    return LL_OK;
}

/* ---- arrays ------------------------------------------------------------------------------------- */

struct child { /* a child's private_data */
    void *owned[3];
    const void *buffers[3];
};

struct parent { /* the parent's private_data */
    const void *buffers[1];
    struct ArrowArray *children;
    struct ArrowArray *places[];
};

static void release_column(struct ArrowArray *array)
{
    struct child *own = array->private_data;
    for (size_t i = 0; i < LLI_COUNT(own->owned); i++)
        lli_free(own->owned[i]);
    lli_free(own);
    array->release = NULL;
    lli_live(-1);
}

static void release_batch(struct ArrowArray *array)
{
    struct parent *own = array->private_data;
    for (int64_t i = 0; i < array->n_children; i++)
        if (array->children[i]->release)
            array->children[i]->release(array->children[i]);
    lli_free(own->children);
    lli_free(own);
    array->release = NULL;
    lli_live(-1);
}

static int64_t count_nulls(const struct lli_col *col, size_t rows)
{
    size_t nulls = 0;
    for (size_t i = 0; col->valid && i < rows; i++)
        nulls += !has_value(col, i);
    return (int64_t)nulls;
}

static void *take(void *block)
{
    void *taken;
    memcpy(&taken, block, sizeof taken);
    memset(block, 0, sizeof taken);
    return taken;
}

/* Moves the buffers of a converted column into an array. */
static ll_status move(struct lli_col *col, enum lli_arrow_type type, size_t rows,
                      struct ArrowArray *array)
{
    static const uint8_t nothing[8];
    struct child *own = lli_new(sizeof *own);
    if (!own)
        return lli_refuse(LL_ENOMEM, "out of memory for a column");
    *array = (struct ArrowArray){.length = (int64_t)rows,
                                 .null_count = count_nulls(col, rows),
                                 .buffers = own->buffers,
                                 .release = release_column,
                                 .private_data = own};
    if (array->null_count > 0)
        own->buffers[0] = own->owned[0] = take(&col->valid);
    switch (type) {
    case LLI_ARROW_NULL: /* has no buffers; every row is NULL */
        array->null_count = array->length;
        break;
    case LLI_ARROW_INT64:
    case LLI_ARROW_DOUBLE:
        array->n_buffers = 2;
        own->buffers[1] = own->owned[1] = take(&col->words);
        break;
    case LLI_ARROW_UTF8:
    case LLI_ARROW_BINARY:
        array->n_buffers = 3;
        own->buffers[1] = own->owned[1] = take(&col->offsets);
        own->buffers[2] = own->owned[2] = take(&col->bytes);
        if (!own->buffers[2])
            own->buffers[2] = nothing;
        break;
    }
    lli_live(+1);
    return LL_OK;
}

static ll_status build(const ll_arrow_shape *shape, ll_batch *batch, struct ArrowArray *ret_array)
{
    for (size_t i = 0; i < shape->width; i++)
        if (!lli_arrow_fits(shape->types[i], &batch->columns[i]))
            return lli_refuse(LL_EINVAL,
                              "column %zu (%s) began as %s and goes on with values that this type "
                              "does not hold: CAST it, or read the whole result",
                              i, ll_columns_name(shape->columns, i), type_names[shape->types[i]]);
    struct parent *own = lli_new(sizeof *own + shape->width * sizeof own->places[0]);
    struct ArrowArray *children = lli_new_array(shape->width, sizeof *children);
    if (!own || !children) {
        lli_free(own);
        lli_free(children);
        return lli_refuse(LL_ENOMEM, "out of memory for a record batch");
    }
    own->children = children;
    struct ArrowArray array = {.length = (int64_t)batch->rows,
                               .n_buffers = 1,
                               .n_children = (int64_t)shape->width,
                               .buffers = own->buffers,
                               .children = own->places,
                               .release = release_batch,
                               .private_data = own};
    lli_live(+1);
    for (size_t i = 0; i < shape->width; i++)
        own->places[i] = &children[i];
    for (size_t i = 0; i < shape->width; i++) {
        struct lli_col *col = &batch->columns[i];
        ll_status status = convert(col, shape->types[i], batch->rows);
        if (status == LL_OK)
            status = move(col, shape->types[i], batch->rows, &children[i]);
        if (status != LL_OK) {
            release_batch(&array);
            return status;
        }
    }
    *ret_array = array;
    return LL_OK;
}

ll_status ll_arrow_array(const ll_arrow_shape *shape, ll_batch *batch, struct ArrowArray *ret_array)
{
    ll_status status;
    if (!shape || !batch || !ret_array)
        status = lli_refuse(LL_EINVAL, "ll_arrow_array: %s is NULL",
                            !shape   ? "shape"
                            : !batch ? "batch"
                                     : "ret_array");
    else if (!batch->columns || batch->width != shape->width)
        status = lli_refuse(LL_EINVAL,
                            "ll_arrow_array: the batch is not one of %zu columns (LL_SQL_COLUMNS)",
                            shape->width);
    else
        status = build(shape, batch, ret_array);
    ll_batch_free(batch);
    return status;
}
