/* arrow_stream.c: a whole result as an ArrowArrayStream.
 *
 * All has been read when the stream is made, so a consumer that pulls never waits for the database and never blocks a
 * loop. What is not known before the end of a result, the types of its columns, is known here; columns of mixed types
 * are converted when their batch is asked for, on the consumer's thread.
 *
 * A result that is larger than memory does not come this way, but as it is read (arrow_live.c). */
#include "base/alloc.h"
#include "base/status.h"
#include "service/arrow.h"

#include <looplite/cursor.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The stream's private_data. */
struct whole {
    ll_arrow_shape *shape;
    ll_batch **batches;
    size_t count, next;
    char error[256]; /* the last one's text */
};

static int code_of(struct whole *whole, ll_status status)
{
    if (status == LL_OK)
        return 0;
    snprintf(whole->error, sizeof whole->error, "%.*s", (int)sizeof whole->error - 1,
             ll_last_error());
    return status == LL_ENOMEM ? ENOMEM : EINVAL;
}

static int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    struct whole *whole = stream->private_data;
    return code_of(whole, ll_arrow_schema(whole->shape, out));
}

static int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    struct whole *whole = stream->private_data;
    if (whole->next == whole->count) {
        memset(out, 0, sizeof *out); /* a released array: the end */
        return 0;
    }
    ll_batch *batch = whole->batches[whole->next];
    whole->batches[whole->next++] = NULL;
    return code_of(whole, ll_arrow_array(whole->shape, batch, out));
}

static const char *get_last_error(struct ArrowArrayStream *stream)
{
    const struct whole *whole = stream->private_data;
    return whole->error[0] ? whole->error : NULL;
}

static void free_batches(ll_batch **batches, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ll_batch_free(batches[i]);
}

static void release(struct ArrowArrayStream *stream)
{
    struct whole *whole = stream->private_data;
    free_batches(whole->batches, whole->count);
    lli_free((void *)whole->batches);
    ll_arrow_shape_free(whole->shape);
    lli_free(whole);
    stream->release = NULL;
    lli_live(-1);
}

/* Takes the batches out of `batches`; those of rows become columns. */
static ll_status take(struct whole *whole, ll_batch **batches, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ll_batch *batch = batches[i];
        if (!batch->columns) {
            ll_batch *columns = ll_batch_to_columns(batch);
            if (!columns) {
                free_batches(batches + i, count - i);
                return lli_refuse(LL_ENOMEM, "out of memory for a result's columns");
            }
            ll_batch_free(batch);
            batch = columns;
        }
        whole->batches[whole->count++] = batch;
    }
    return LL_OK;
}

ll_status ll_arrow_stream_new(const ll_columns *columns, ll_batch **batches, size_t count,
                              struct ArrowArrayStream *ret_stream)
{
    if (!ret_stream) {
        free_batches(batches, count);
        return lli_refuse(LL_EINVAL, "ll_arrow_stream_new: ret_stream is NULL");
    }
    struct whole *whole = lli_new(sizeof *whole);
    if (whole)
        whole->batches = lli_new_array(count > 0 ? count : 1, sizeof *whole->batches);
    if (!whole || !whole->batches) {
        free_batches(batches, count);
        lli_free(whole);
        return lli_refuse(LL_ENOMEM, "out of memory for a stream");
    }
    ll_status status = take(whole, batches, count);
    if (status == LL_OK)
        status = ll_arrow_shape_new(columns, (const ll_batch *const *)whole->batches, whole->count,
                                    false, &whole->shape);
    struct ArrowArrayStream stream = {.get_schema = get_schema,
                                      .get_next = get_next,
                                      .get_last_error = get_last_error,
                                      .release = release,
                                      .private_data = whole};
    lli_live(+1);
    if (status != LL_OK)
        release(&stream);
    else
        *ret_stream = stream;
    return status;
}

ll_status ll_arrow_stream_of(ll_request *request, struct ArrowArrayStream *ret_stream)
{
    if (!request || !ll_request_is_done(request))
        return lli_refuse(LL_EINVAL, request ? "ll_arrow_stream_of: the request is not done"
                                             : "ll_arrow_stream_of: request is NULL");
    const ll_error *error = ll_request_error(request);
    if (error->status < 0)
        return lli_refuse(error->status, "%s", error->message);
    size_t count = 0, room = 0;
    ll_batch **batches = NULL;
    ll_status status = LL_OK;
    for (ll_batch *batch; (batch = ll_request_take_batch(request)) != NULL;) {
        if (count == room) {
            room = room > 0 ? room * 2 : 16;
            ll_batch **grown = lli_resize((void *)batches, room * sizeof *grown);
            if (!grown) {
                ll_batch_free(batch);
                free_batches(batches, count);
                status = lli_refuse(LL_ENOMEM, "out of memory for a stream");
                break;
            }
            batches = grown;
        }
        batches[count++] = batch;
    }
    ll_cursor *rest = ll_request_take_cursor(request);
    if (status == LL_OK && rest)
        status = ll_arrow_stream_live(batches, count, 0, rest, NULL, ret_stream);
    else if (status == LL_OK)
        status = ll_arrow_stream_new(ll_request_columns(request), batches, count, ret_stream);
    else
        ll_cursor_close(rest);
    lli_free((void *)batches);
    return status;
}

/* ---- one batch that somebody else has made -------------------------------------------------------- */

struct one {                   /* the stream's private_data */
    struct ArrowSchema schema; /* released: it was given */
    struct ArrowArray batch;   /* the same */
};

static int one_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    struct one *one = stream->private_data;
    if (!one->schema.release)
        return EINVAL;
    *out = one->schema; /* moved: it is asked for once */
    one->schema.release = NULL;
    return 0;
}

static int one_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    struct one *one = stream->private_data;
    *out = one->batch;
    one->batch.release = NULL;
    return 0;
}

static const char *one_error(struct ArrowArrayStream *stream)
{
    (void)stream;
    return "the schema was given already";
}

static void one_release(struct ArrowArrayStream *stream)
{
    struct one *one = stream->private_data;
    if (one->schema.release)
        one->schema.release(&one->schema);
    if (one->batch.release)
        one->batch.release(&one->batch);
    lli_free(one);
    stream->release = NULL;
    lli_live(-1);
}

ll_status ll_arrow_stream_of_batch(struct ArrowSchema *schema, struct ArrowArray *batch,
                                   struct ArrowArrayStream *ret_stream)
{
    bool given = schema && schema->release && batch && batch->release && ret_stream;
    struct one *one = given ? lli_new(sizeof *one) : NULL;
    if (!one) {
        if (schema && schema->release)
            schema->release(schema);
        if (batch && batch->release)
            batch->release(batch);
        return given ? lli_refuse(LL_ENOMEM, "ll_arrow_stream_of_batch: out of memory")
                     : lli_refuse(LL_EINVAL, "ll_arrow_stream_of_batch: %s is NULL or released",
                                  !ret_stream                 ? "ret_stream"
                                  : !batch || !batch->release ? "batch"
                                                              : "schema");
    }
    one->schema = *schema;
    one->batch = *batch;
    schema->release = NULL;
    batch->release = NULL;
    lli_live(+1);
    *ret_stream = (struct ArrowArrayStream){.get_schema = one_schema,
                                            .get_next = one_next,
                                            .get_last_error = one_error,
                                            .release = one_release,
                                            .private_data = one};
    return LL_OK;
}
