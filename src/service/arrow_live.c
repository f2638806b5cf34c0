/* arrow_live.c: a result as an ArrowArrayStream while it is read.
 *
 *   worker --pump--> [batch][batch][batch] --get_next--> consumer
 *                    as far ahead as the cursor's credit; then the statement rests
 *
 * The C stream interface has no way to wait but to block, so get_next blocks the thread that pulls until a worker has the
 * next batch (lli_stream_wait()). It can be pulled on any thread, and nothing of the program's loop is dispatched meanwhile.
 *
 * Two parties hold it: the stream, for its consumer, and the tap, by which whoever gave the stream away ends it. The
 * cursor is closed by whoever comes first, which also wakes a consumer that waits. Types are those of the first batch
 * (arrow_type.c), which may have to be waited for, so they are found when somebody asks.
 *
 * Lock: `mu` guards `cursor` alone, and nothing is called under it. Who waits holds a reference of the cursor's own. */
#include "base/alloc.h"
#include "base/status.h"
#include "engine/conn.h"
#include "engine/engine.h"
#include "engine/stream.h"
#include "service/arrow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    BATCH_ROWS = 65536 /* at most; a batch ends at 256 KiB, too */
};

struct ll_arrow_tap {
    atomic_uint refs;    /* the stream's and the tap's; -1 is acquire and release */
    ll_conn *conn;       /* a reference; fixed */
    ll_columns *columns; /* a reference; fixed */

    /* under mu */
    lli_mutex mu;
    ll_cursor *cursor; /* NULL: ended */
    bool closed;       /* ... by the tap, before the last row */

    /* the consumer */
    ll_batch **batches; /* read before it was made; those of rows until they are asked for */
    size_t count, next;
    size_t skip; /* rows of the first one that somebody else has had */
    ll_arrow_shape *shape;
    char error[512];
};

static int fail(ll_arrow_tap *it, ll_status status, const char *message)
{
    snprintf(it->error, sizeof it->error, "%s", message);
    switch (status) {
    case LL_ENOMEM:
        return ENOMEM;
    case LL_ECANCELLED:
    case LL_ECLOSED:
        return ECANCELED;
    case LL_EINVAL:
        return EINVAL;
    default:
        return EIO;
    }
}

static int fail_refused(ll_arrow_tap *it, ll_status status)
{
    return fail(it, status, ll_last_error());
}

/* The cursor, which is then nobody's. */
static ll_cursor *take_cursor(ll_arrow_tap *it, bool closed)
{
    lli_lock(&it->mu);
    ll_cursor *cursor = it->cursor;
    it->cursor = NULL;
    it->closed = it->closed || (closed && cursor);
    lli_unlock(&it->mu);
    return cursor;
}

/* ---- batches -------------------------------------------------------------------------------------- */

/* The next batch that is not there yet; NULL: there is none. */
static int read_batch(ll_arrow_tap *it, ll_batch **ret_batch)
{
    *ret_batch = NULL;
    ll_status status = lli_engine_check(it->conn->engine, "the Arrow stream");
    if (status == LL_OK && lli_arrow_is_loading(it->conn))
        status = lli_refuse(LL_EINVAL,
                            "the Arrow stream reads from the very connection that loads its rows, "
                            "which cannot do both: read it whole first, or use two connections");
    if (status != LL_OK)
        return fail_refused(it, status);
    lli_lock(&it->mu);
    ll_cursor *cursor = it->cursor;
    bool closed = it->closed;
    if (cursor)
        lli_stream_ref(cursor); /* the tap may close it meanwhile */
    lli_unlock(&it->mu);
    if (!cursor)
        return closed ? fail(it, LL_ECLOSED, "the result was closed before its last row") : 0;
    struct lli_error error = {0};
    int code = 0;
    if (lli_stream_wait(cursor, ret_batch, &error) < 0)
        code = fail(it, error.pub.status, error.pub.message);
    lli_error_done(&error);
    lli_stream_unref(cursor);
    if (!*ret_batch)
        ll_cursor_close(take_cursor(it, false));
    return code;
}

/* A batch of columns, without its first rows. Takes the batch. */
static ll_batch *as_columns(ll_batch *batch, size_t skip)
{
    if (batch->columns)
        return batch;
    ll_batch *columns = ll_batch_to_columns_from(batch, skip);
    ll_batch_free(batch);
    return columns;
}

/* Types need the first batch, and all that are there already. */
static int need_shape(ll_arrow_tap *it)
{
    if (it->shape)
        return 0;
    if (it->count == 0) {
        ll_batch *batch;
        int code = read_batch(it, &batch);
        if (code != 0)
            return code;
        if (batch)
            it->batches[it->count++] = batch;
    }
    for (size_t i = 0; i < it->count; i++) {
        it->batches[i] = as_columns(it->batches[i], i == 0 ? it->skip : 0);
        if (!it->batches[i]) {
            it->next = it->count; /* rows are lost: nothing more is given */
            return fail(it, LL_ENOMEM, "out of memory for a result's columns");
        }
    }
    lli_lock(&it->mu);
    bool more = it->cursor != NULL;
    lli_unlock(&it->mu);
    ll_status status = ll_arrow_shape_new(it->columns, (const ll_batch *const *)it->batches,
                                          it->count, more, &it->shape);
    return status == LL_OK ? 0 : fail_refused(it, status);
}

/* ---- the stream ----------------------------------------------------------------------------------- */

static int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    ll_arrow_tap *it = stream->private_data;
    int code = need_shape(it);
    if (code != 0)
        return code;
    ll_status status = ll_arrow_schema(it->shape, out);
    return status == LL_OK ? 0 : fail_refused(it, status);
}

static int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    ll_arrow_tap *it = stream->private_data;
    int code = need_shape(it);
    if (code != 0)
        return code;
    ll_batch *batch = NULL;
    if (it->next < it->count) {
        batch = it->batches[it->next];
        it->batches[it->next++] = NULL;
    } else if ((code = read_batch(it, &batch)) != 0) {
        return code;
    } else if (batch && !(batch = as_columns(batch, 0))) {
        return fail(it, LL_ENOMEM, "out of memory for a result's columns");
    }
    if (!batch) {
        memset(out, 0, sizeof *out); /* a released array: the end */
        return 0;
    }
    ll_status status = ll_arrow_array(it->shape, batch, out);
    if (status == LL_OK)
        return 0;
    code = fail_refused(it, status);
    ll_cursor_close(take_cursor(it, true)); /* what comes later would follow a gap */
    return code;
}

static const char *get_last_error(struct ArrowArrayStream *stream)
{
    const ll_arrow_tap *it = stream->private_data;
    return it->error[0] ? it->error : NULL;
}

static void unref(ll_arrow_tap *it)
{
    if (atomic_fetch_sub_explicit(&it->refs, 1, memory_order_acq_rel) != 1)
        return;
    ll_columns_unref(it->columns);
    lli_mutex_done(&it->mu);
    lli_conn_unref(it->conn);
    lli_live(-1);
    lli_free(it);
}

static void release(struct ArrowArrayStream *stream)
{
    ll_arrow_tap *it = stream->private_data;
    stream->release = NULL;
    if (lli_engine_foreign(it->conn->engine))
        return; /* in the child of a fork */
    ll_cursor_close(take_cursor(it, true));
    for (size_t i = 0; i < it->count; i++)
        ll_batch_free(it->batches[i]);
    lli_free((void *)it->batches);
    it->batches = NULL;
    it->count = it->next = 0;
    ll_arrow_shape_free(it->shape);
    unref(it);
}

static void free_all(ll_batch **batches, size_t count, ll_cursor *rest)
{
    for (size_t i = 0; i < count; i++)
        ll_batch_free(batches[i]);
    ll_cursor_close(rest);
}

ll_status ll_arrow_stream_live(ll_batch **batches, size_t count, size_t skip, ll_cursor *rest,
                               ll_arrow_tap **ret_tap, struct ArrowArrayStream *ret_stream)
{
    static const char caller[] = "ll_arrow_stream_live";
    if (!rest || !ret_stream) {
        free_all(batches, count, rest);
        return lli_refuse(LL_EINVAL, "%s: %s is NULL", caller, rest ? "ret_stream" : "rest");
    }
    while (count > 0 && skip >= ll_batch_rows(batches[0])) { /* types come from batches with rows */
        skip -= ll_batch_rows(batches[0]);
        ll_batch_free(batches[0]);
        batches++;
        count--;
    }
    ll_arrow_tap *it = lli_new(sizeof *it);
    if (it)
        it->batches = lli_new_array(count + 1, sizeof *it->batches);
    if (!it || !it->batches) {
        free_all(batches, count, rest);
        lli_free(it);
        return lli_refuse(LL_ENOMEM, "%s: out of memory", caller);
    }
    atomic_init(&it->refs, ret_tap ? 2 : 1);
    it->conn = lli_conn_ref(rest->conn);
    it->columns = ll_columns_ref(rest->columns);
    lli_mutex_init(&it->mu);
    it->cursor = rest;
    if (count > 0)
        memcpy((void *)it->batches, (void *)batches, count * sizeof *batches);
    it->count = count;
    it->skip = skip;
    lli_stream_keep_columns(rest, BATCH_ROWS);
    lli_live(+1);
    *ret_stream = (struct ArrowArrayStream){.get_schema = get_schema,
                                            .get_next = get_next,
                                            .get_last_error = get_last_error,
                                            .release = release,
                                            .private_data = it};
    if (ret_tap)
        *ret_tap = it;
    return LL_OK;
}

void ll_arrow_tap_close(ll_arrow_tap *tap)
{
    if (!tap || lli_engine_foreign(tap->conn->engine))
        return;
    ll_cursor_close(take_cursor(tap, true));
    unref(tap);
}

void ll_arrow_tap_free(ll_arrow_tap *tap)
{
    if (tap && !lli_engine_foreign(tap->conn->engine))
        unref(tap);
}
