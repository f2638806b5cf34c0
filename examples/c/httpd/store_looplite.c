/* store_looplite.c: the notes on looplite.
 *
 * Single statements go to the pool, which runs them on whichever connection is free: a point read mostly on the
 * loop itself, within this call, a search on a worker. Single writes of all clients that wait at the same time
 * share a transaction and its fsync (group commit). An import and a scan need a connection of their own:
 *
 *     import   lease -> BEGIN IMMEDIATE -> all rows -> COMMIT -> give the lease back
 *     scan     lease -> some rows -> (store_more) -> some rows -> ... -> give the lease back
 *
 * Giving a lease back rolls back what is open under it, so whatever goes wrong on the way, and a client that
 * leaves, ends there. */
#include "store.h"

#include <looplite_uv.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    ROWS_AT_ONCE = 256,
    BATCHES_AHEAD = 2
};

struct store {
    ll_engine *engine;
    ll_uv *bridge;
    ll_pool *pool;
    void (*closed)(void *user);
    void *closed_user;
};

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS note(id INTEGER PRIMARY KEY, changed INTEGER NOT NULL,"
    " text TEXT NOT NULL)";

const char *store_name(void)
{
    return "looplite";
}

/* ---- the ways of an operation to its end ---- */

/* Tells; `op` may be gone then, and what the result points to is kept for it. */
static void finish(store_op *op)
{
    store_result result = op->result;
    ll_request *request = op->request;
    op->request = NULL;
    op->done(op, &result);
    ll_request_unref(request);
}

static store_code code_of(ll_status status)
{
    switch (status) {
    case LL_OK:
        return STORE_OK;
    case LL_ECANCELLED:
        return STORE_CANCELLED;
    case LL_EBUSY:
    case LL_ETIMEOUT:
    case LL_EEXHAUSTED:
        return STORE_BUSY;
    default:
        return STORE_FAILED;
    }
}

static void on_released(ll_request *request, void *user)
{
    (void)request;
    finish(user);
}

/* Gives back what the operation holds, and then tells how it ended. */
static void end(store_op *op, store_code code, const char *message)
{
    op->result.code = code;
    op->result.message = message;
    ll_cursor_close(op->cursor);
    op->cursor = NULL;
    ll_lease *lease = op->lease;
    op->lease = NULL;
    if (!lease) {
        finish(op);
        return;
    }
    /* the message may be part of this request: it is kept until the end */
    ll_submit how = {.done = on_released, .user = op};
    if (ll_pool_release(lease, &how, NULL) != LL_PENDING)
        finish(op);
}

/* Whether a request went well; ends its operation if not. */
static bool went_well(store_op *op, ll_request *request)
{
    op->owed = false;
    if (op->request != request) {
        ll_request_unref(op->request);
        op->request = ll_request_ref(request);
    }
    ll_status status = ll_request_status(request);
    if (status == LL_OK)
        return true;
    end(op, code_of(status), ll_request_error(request)->message);
    return false;
}

/* What a submission came to: finished, on its way, or refused. */
static void follow(store_op *op, ll_status status, ll_request *request, ll_done_fn done)
{
    if (status == LL_PENDING) {
        ll_request_unref(op->request);
        op->request = request;
        op->owed = true;
        return;
    }
    if (status == LL_OK)
        done(request, op);
    else
        end(op, code_of(status), ll_last_error());
    ll_request_unref(request);
}

static void begin(store *self, store_op *op)
{
    op->store = self;
    op->cancelled = op->owed = false;
    op->step = 0;
    op->request = NULL;
    op->lease = NULL;
    op->cursor = NULL;
    op->result = (store_result){0};
}

/* ---- single statements ---- */

static void single(store *self, store_op *op, const char *text, const ll_value *values,
                   size_t count, ll_done_fn done)
{
    begin(self, op);
    ll_sql sql = {
        .text = text, .size = LL_NUL_TERMINATED, .params = {.values = values, .count = count}};
    ll_submit how = {.done = done, .user = op};
    ll_request *request = NULL;
    ll_status status = ll_pool_exec(self->pool, &sql, &how, &request);
    follow(op, status, request, done);
}

static void note_of(const ll_value *row, store_note *ret_note)
{
    ret_note->id = row[0].as.integer;
    ret_note->changed = row[1].as.integer;
    ret_note->text = row[2].as.text;
    ret_note->size = row[2].size;
}

static void on_got(ll_request *request, void *user)
{
    store_op *op = user;
    if (!went_well(op, request))
        return;
    ll_batch *batch = ll_request_take_batch(request);
    const ll_value *row = ll_batch_row(batch, 0);
    if (row)
        note_of(row, &op->result.note);
    end(op, row ? STORE_OK : STORE_NONE, NULL);
    ll_batch_free(batch);
}

void store_get(store *self, store_op *op, int64_t id)
{
    ll_value value = ll_integer(id);
    single(self, op, "SELECT id, changed, text FROM note WHERE id = ?1", &value, 1, on_got);
}

static void on_changed(ll_request *request, void *user)
{
    store_op *op = user;
    if (!went_well(op, request))
        return;
    op->result.note.id = ll_request_rowid(request);
    end(op, ll_request_changes(request) > 0 ? STORE_OK : STORE_NONE, NULL);
}

void store_put(store *self, store_op *op, int64_t id, const char *text, size_t size)
{
    ll_value values[] = {ll_integer(id), ll_integer(time(NULL)), ll_text_n(text, (uint32_t)size)};
    single(self, op,
           "INSERT INTO note(id, changed, text) VALUES(?1, ?2, ?3)"
           " ON CONFLICT(id) DO UPDATE SET changed = ?2, text = ?3",
           values, 3, on_changed);
}

void store_add(store *self, store_op *op, const char *text, size_t size)
{
    ll_value values[] = {ll_integer(time(NULL)), ll_text_n(text, (uint32_t)size)};
    single(self, op, "INSERT INTO note(changed, text) VALUES(?1, ?2)", values, 2, on_changed);
}

void store_delete(store *self, store_op *op, int64_t id)
{
    ll_value value = ll_integer(id);
    single(self, op, "DELETE FROM note WHERE id = ?1", &value, 1, on_changed);
}

static void on_searched(ll_request *request, void *user)
{
    store_op *op = user;
    if (!went_well(op, request))
        return;
    ll_batch *batch = ll_request_take_batch(request);
    op->result.count = ll_batch_row(batch, 0)[0].as.integer;
    ll_batch_free(batch);
    end(op, STORE_OK, NULL);
}

void store_search(store *self, store_op *op, const char *text, size_t size)
{
    ll_value value = ll_text_n(text, (uint32_t)size);
    single(self, op, "SELECT count(*) FROM note WHERE instr(text, ?1)", &value, 1, on_searched);
}

/* ---- import ---- */

enum step {
    LEASING,
    BEGINNING,
    INSERTING,
    COMMITTING,
    DONE
};

static void on_import_step(ll_request *request, void *user);

static void import_next(store_op *op)
{
    ll_submit how = {.done = on_import_step, .user = op, .flags = LL_SUBMIT_INTERRUPT};
    ll_request *request = NULL;
    ll_status status = LL_ENOMEM;
    ll_conn *conn = ll_lease_conn(op->lease);
    switch (++op->step) {
    case BEGINNING:
        status = ll_txn_begin(conn, LL_BEGIN_IMMEDIATE, &how, &request);
        break;
    case INSERTING: {
        ll_value *values = calloc(op->count * 2, sizeof *values);
        if (!values)
            break;
        int64_t now = time(NULL);
        for (size_t i = 0; i < op->count; i++) {
            values[2 * i] = ll_integer(now);
            values[2 * i + 1] = ll_text_n(op->notes[i].text, (uint32_t)op->notes[i].size);
        }
        ll_many many = {.text = "INSERT INTO note(changed, text) VALUES(?1, ?2)",
                        .size = LL_NUL_TERMINATED,
                        .values = values,
                        .rows = op->count,
                        .width = 2};
        status = ll_exec_many(conn, &many, &how, &request);
        free(values); /* they were copied */
        break;
    }
    case COMMITTING:
        status = ll_txn_commit(conn, &how, &request);
        break;
    default:
        op->result.count = (int64_t)op->count;
        end(op, STORE_OK, NULL);
        return;
    }
    follow(op, status, request, on_import_step);
}

static void on_import_step(ll_request *request, void *user)
{
    store_op *op = user;
    if (!went_well(op, request))
        return;
    if (op->step == LEASING)
        op->lease = ll_request_take_lease(request);
    if (op->cancelled && op->step < COMMITTING)
        end(op, STORE_CANCELLED, NULL);
    else
        import_next(op);
}

static void lease(store *self, store_op *op, const char *label, ll_done_fn done)
{
    begin(self, op);
    ll_submit how = {.done = done, .user = op};
    ll_request *request = NULL;
    ll_status status = ll_pool_acquire(self->pool, label, &how, &request);
    follow(op, status, request, done);
}

void store_import(store *self, store_op *op, const store_note *notes, size_t count)
{
    op->notes = notes;
    op->count = count;
    lease(self, op, "import", on_import_step);
}

/* ---- scan ---- */

static void on_rows(ll_request *request, void *user)
{
    store_op *op = user;
    if (!went_well(op, request))
        return;
    if (op->cancelled) {
        end(op, STORE_CANCELLED, NULL);
        return;
    }
    size_t rows = 0;
    for (ll_batch *batch; (batch = ll_request_take_batch(request)) != NULL;) {
        size_t count = ll_batch_rows(batch);
        for (size_t i = 0; i < count; i++) {
            store_note note;
            note_of(ll_batch_row(batch, i), &note);
            op->row(op, &note);
        }
        rows += count;
        ll_batch_free(batch);
    }
    if (!op->cursor) {
        op->cursor = ll_request_take_cursor(request);
        if (op->cursor && ll_cursor_set_ahead(op->cursor, BATCHES_AHEAD, ROWS_AT_ONCE) != LL_OK) {
            end(op, STORE_FAILED, ll_last_error());
            return;
        }
    }
    if (op->cursor && rows > 0) {
        store_result some = {.code = STORE_OK};
        op->done(op, &some);
    } else {
        end(op, STORE_NONE, NULL);
    }
}

static void on_scan_leased(ll_request *request, void *user)
{
    store_op *op = user;
    if (!went_well(op, request))
        return;
    op->lease = ll_request_take_lease(request);
    if (op->cancelled) {
        end(op, STORE_CANCELLED, NULL);
        return;
    }
    ll_submit how = {.done = on_rows, .user = op};
    ll_request *next = NULL;
    ll_status status = ll_stream(ll_lease_conn(op->lease), "SELECT id, changed, text FROM note",
                                 NULL, 0, &how, &next);
    follow(op, status, next, on_rows);
}

void store_scan(store *self, store_op *op)
{
    lease(self, op, "scan", on_scan_leased);
}

void store_more(store_op *op)
{
    ll_submit how = {.done = on_rows, .user = op};
    ll_request *request = NULL;
    ll_status status = ll_cursor_next(op->cursor, &how, &request);
    follow(op, status, request, on_rows);
}

void store_cancel(store_op *op)
{
    op->cancelled = true;
    if (op->owed) {
        /* It calls back in any case, also if it has been done meanwhile and the loop has not come to it. A commit is
         * never undone by this. */
        if (ll_request_cancel(op->request) != LL_OK)
            fprintf(stderr, "httpd: %s\n", ll_last_error());
    } else if (op->cursor) {
        end(op, STORE_CANCELLED, NULL); /* it rested between two store_more() */
    }
}

/* ---- opening, closing ---- */

static void on_bridge_error(int code, void *user)
{
    (void)user;
    fprintf(stderr, "httpd: looplite: %s: %s\n", uv_strerror(code), ll_last_error());
    abort();
}

store *store_open(uv_loop_t *loop, const store_options *options, const char **ret_message)
{
    static char message[512];
    *ret_message = message;
    store *self = calloc(1, sizeof *self);
    if (!self) {
        snprintf(message, sizeof message, "out of memory");
        return NULL;
    }
    const char *pragmas[] = {"journal_mode=WAL",
                             options->durable ? "synchronous=FULL" : "synchronous=NORMAL",
                             "cache_size=-65536", NULL};
    ll_pool_options pool = {.max_size = options->connections,
                            .operation_timeout_ns = options->timeout_ms * 1000000,
                            .connect_timeout_ns = options->timeout_ms * 1000000,
                            .group_commit = true,
                            .open.pragmas = pragmas};
    ll_request *request = NULL;
    ll_sql make = {.text = schema, .size = LL_NUL_TERMINATED};
    if (ll_engine_new(NULL, &self->engine) != LL_OK ||
        ll_pool_new(self->engine, options->path, &pool, &self->pool) != LL_OK ||
        ll_pool_exec(self->pool, &make, NULL, &request) < 0) {
        snprintf(message, sizeof message, "%s", ll_last_error());
        goto fail;
    }
    /* before the loop there is nobody to be kept waiting */
    if (!ll_request_is_done(request) && ll_request_wait(request) < 0 &&
        !ll_request_is_done(request)) {
        snprintf(message, sizeof message, "%s", ll_last_error());
        goto fail;
    }
    if (ll_request_status(request) != LL_OK) {
        snprintf(message, sizeof message, "%s", ll_request_error(request)->message);
        goto fail;
    }
    int code = ll_uv_attach(loop, self->engine, on_bridge_error, self, &self->bridge);
    if (code != 0) {
        snprintf(message, sizeof message, "%s", uv_strerror(code));
        goto fail;
    }
    ll_request_unref(request);
    return self;

fail:
    ll_request_unref(request);
    ll_pool_unref(self->pool);
    ll_engine_free(self->engine);
    free(self);
    return NULL;
}

static void on_pool_closed(ll_request *request, void *user)
{
    store *self = user;
    if (ll_request_status(request) != LL_OK)
        fprintf(stderr, "httpd: closing: %s\n", ll_request_error(request)->message);
    ll_uv_detach(self->bridge);
    self->bridge = NULL;
    self->closed(self->closed_user);
}

void store_close(store *self, void (*closed)(void *user), void *user)
{
    self->closed = closed;
    self->closed_user = user;
    ll_submit how = {.done = on_pool_closed, .user = self};
    ll_request *request = NULL;
    ll_status status = ll_pool_close(self->pool, &how, &request);
    if (status == LL_OK)
        on_pool_closed(request, self);
    else if (status < 0)
        fprintf(stderr, "httpd: closing: %s\n", ll_last_error());
    ll_request_unref(request);
}

void store_free(store *self)
{
    if (!self)
        return;
    ll_uv_detach(self->bridge);
    ll_pool_unref(self->pool);
    ll_engine_free(self->engine);
    free(self);
    if (ll_live_objects() != 0)
        fprintf(stderr, "httpd: %zu objects of looplite were not given back\n", ll_live_objects());
}

void store_stats(store *self, char *text, size_t size)
{
    ll_pool_stats pool;
    ll_stats engine;
    ll_pool_get_stats(self->pool, &pool);
    ll_engine_get_stats(self->engine, &engine);
    snprintf(text, size,
             "\"connections\":%u,\"leased\":%u,\"waiting\":%u,\"statements\":%llu,"
             "\"rolled_back\":%llu,\"commits\":%llu,\"writes\":%llu,\"threads\":%u",
             pool.size, pool.leased, pool.waiting, (unsigned long long)pool.executed,
             (unsigned long long)pool.rolled_back,
             (unsigned long long)(pool.group.batches + pool.group.alone),
             (unsigned long long)(pool.group.members + pool.group.alone), engine.threads);
}
