/* arrow_load.c: the rows of an ArrowArrayStream into a table.
 *
 *   source --get_next--> record batch --row by row--> values --> INSERT, inside a savepoint
 *            worker                    arrow_read.c              engine/run_many.c
 *
 * It is an atomic executemany whose rows come one after the other (struct lli_row_source): begun, parked, cancelled,
 * rolled back and told as that is. The source is asked on the worker, so nothing of it is read on the loop; the schema,
 * from which the INSERT is made, and the first batch come before the table is locked. One batch is held at a time.
 *
 * While the source is asked, another thread may take this one's place among the workers: it may wait for one.
 *
 * What a column's declared type does to a value is SQLite's business, except where it would lose something without a
 * word: a decimal, a large integer, a double in a column of text. For that the affinities are looked up, by a call that is no
 * statement, so that no trace and no authorizer of the program sees it. */
#include "base/alloc.h"
#include "db/affinity.h"
#include "db/api.h"
#include "db/colbatch.h"
#include "engine/submit.h"
#include "service/arrow.h"
#include "service/arrow_read.h"
#include "service/exec.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    EXACT_DIGITS = 15 /* of a decimal that a double gives back */
};

struct load {
    /* fixed after submission */
    ll_conn *conn; /* the request keeps it */
    const char *schema_name, *table;
    bool overwrite;
    /* the connection's owner; then who lets go of the request */
    struct ArrowArrayStream source;
    struct ArrowSchema schema;
    struct ArrowArray batch; /* released: there is none */
    size_t width;
    struct lli_arrow_column *columns;
    uint8_t *affinities; /* enum lli_affinity of each column */
    ll_value *values;
    size_t first, rows; /* of the batch: the number of its first row, how many it has */
    size_t ready;       /* the row that `values` has, and one more; 0: none */
    bool looked, ended;
};

/* The connection for which a source is asked on this thread; NULL: none. A stream of ours that reads from the same one
 * would wait for itself (arrow_pull.c). */
static _Thread_local const ll_conn *loading;

bool lli_arrow_is_loading(const ll_conn *conn)
{
    return loading == conn;
}

/* ---- asking the source ---------------------------------------------------------------------------- */

static void begin_asking(const struct load *load)
{
    loading = load->conn;
    ll_conn_wait_begin(load->conn);
}

static void end_asking(const struct load *load)
{
    ll_conn_wait_end(load->conn);
    loading = NULL;
}

static ll_status source_failed(struct load *load, ll_request *request, int code)
{
    const char *why = load->source.get_last_error ? load->source.get_last_error(&load->source)
                                                  : NULL;
    ll_status status = code == ENOMEM ? LL_ENOMEM : LL_EINVAL;
    if (why && why[0])
        lli_error_set(&request->error, status, "the Arrow source failed: %s", why);
    else
        lli_error_set(&request->error, status, "the Arrow source failed: %s", strerror(code));
    return status;
}

static ll_status no_memory(ll_request *request)
{
    lli_error_set(&request->error, LL_ENOMEM, "out of memory for the rows of an Arrow source");
    return LL_ENOMEM;
}

static ll_status get_schema(struct load *load, ll_request *request)
{
    begin_asking(load);
    int code = load->source.get_schema(&load->source, &load->schema);
    end_asking(load);
    if (code != 0) {
        load->schema.release = NULL;
        return source_failed(load, request, code);
    }
    const struct ArrowSchema *schema = &load->schema;
    if (!schema->release || !schema->format || strcmp(schema->format, "+s") != 0) {
        lli_error_set(&request->error, LL_EINVAL,
                      "the Arrow source gives arrays of the format '%.40s', not record batches "
                      "(structs)",
                      schema->release && schema->format ? schema->format : "");
        return LL_EINVAL;
    }
    if (schema->n_children < 1 || !schema->children) {
        lli_error_set(&request->error, LL_EINVAL, "the Arrow source has no columns");
        return LL_EINVAL;
    }
    int most = lli_sq.limit(load->conn->db.handle, SQLITE_LIMIT_COLUMN, -1);
    if (schema->n_children > most) {
        lli_error_set(&request->error, LL_EINVAL,
                      "the Arrow source has %" PRId64 " columns, and SQLite takes %d at most",
                      schema->n_children, most);
        return LL_EINVAL;
    }
    load->width = (size_t)schema->n_children;
    return LL_OK;
}

/* ---- texts ---------------------------------------------------------------------------------------- */

/* An identifier in quotes. Gives the place behind it; `to` NULL: only counts. */
static size_t quote(char *to, size_t at, const char *name)
{
    if (to)
        to[at] = '"';
    at++;
    for (; *name; name++) {
        for (int i = 0; i < (*name == '"' ? 2 : 1); i++, at++)
            if (to)
                to[at] = *name;
    }
    if (to)
        to[at] = '"';
    return at + 1;
}

static size_t put(char *to, size_t at, const char *text)
{
    size_t size = strlen(text);
    if (to)
        memcpy(to + at, text, size);
    return at + size;
}

static size_t put_table(char *to, size_t at, const struct load *load)
{
    if (load->schema_name)
        at = put(to, quote(to, at, load->schema_name), ".");
    return quote(to, at, load->table);
}

static size_t put_insert(char *to, const struct load *load)
{
    size_t at = put_table(to, put(to, 0, "INSERT INTO "), load);
    for (size_t i = 0; i < load->width; i++)
        at = quote(to, put(to, at, i == 0 ? "(" : ","), load->schema.children[i]->name);
    at = put(to, at, ") VALUES ");
    for (size_t i = 0; i < load->width; i++)
        at = put(to, at, i == 0 ? "(?" : ",?");
    return put(to, at, ")");
}

static size_t put_clear(char *to, const struct load *load)
{
    return put_table(to, put(to, 0, "DELETE FROM "), load);
}

/* A text in the memory of the request, which is asked for it when the load is long gone. */
static const char *made(size_t (*write)(char *, const struct load *), const struct load *load,
                        ll_request *request)
{
    size_t size = write(NULL, load);
    char *text = lli_arena_take(&request->arena, size + 1);
    if (!text)
        return NULL;
    (void)write(text, load);
    text[size] = '\0';
    return text;
}

/* ---- the columns ---------------------------------------------------------------------------------- */

static ll_status check_name(const struct load *load, ll_request *request, size_t index)
{
    const struct ArrowSchema *field = load->schema.children[index];
    const char *name = field && field->release ? field->name : NULL;
    if (!name || !name[0]) {
        lli_error_set(&request->error, LL_EINVAL, "column %zu of the Arrow source has no name",
                      index);
        return LL_EINVAL;
    }
    for (size_t i = 0; i < index; i++) {
        if (strcasecmp(load->schema.children[i]->name, name) != 0)
            continue;
        lli_error_set(&request->error, LL_EINVAL,
                      "the Arrow source has two columns '%s', and SQLite would keep one of them",
                      name);
        return LL_EINVAL;
    }
    return LL_OK;
}

static ll_status column_failed(const struct load *load, ll_request *request, size_t index,
                               ll_status status)
{
    if (status == LL_ENOMEM)
        return no_memory(request);
    lli_error_set(&request->error, status, "column '%s' of the Arrow source %s",
                  load->schema.children[index]->name, load->columns[index].trouble);
    return status;
}

static ll_status begin(void *arg, ll_request *request)
{
    struct load *load = arg;
    LL_TRY(get_schema(load, request));
    load->columns = lli_new_array(load->width, sizeof *load->columns);
    load->values = lli_new_array(load->width, sizeof *load->values);
    load->affinities = lli_new_array(load->width, sizeof *load->affinities);
    if (!load->columns || !load->values || !load->affinities)
        return no_memory(request);
    for (size_t i = 0; i < load->width; i++) {
        LL_TRY(check_name(load, request, i));
        ll_status status = lli_arrow_column_init(&load->columns[i], load->schema.children[i]);
        if (status != LL_OK)
            return column_failed(load, request, i, status);
    }
    const char *insert = made(put_insert, load, request);
    const char *clear = load->overwrite ? made(put_clear, load, request) : NULL;
    if (!insert || (load->overwrite && !clear))
        return no_memory(request);
    request->in.many.many.text = insert;
    request->in.many.size = strlen(insert);
    request->in.many.many.width = load->width;
    request->in.many.before = clear;
    return LL_OK;
}

/* ---- batches -------------------------------------------------------------------------------------- */

static void drop_batch(struct load *load)
{
    if (load->batch.release)
        load->batch.release(&load->batch);
    load->batch.release = NULL;
    load->first += load->rows;
    load->rows = 0;
}

static ll_status check_batch(struct load *load, ll_request *request)
{
    const struct ArrowArray *batch = &load->batch;
    const uint8_t *valid = batch->n_buffers > 0 && batch->buffers ? batch->buffers[0] : NULL;
    bool wrong = batch->length < 0 || batch->offset < 0 ||
                 batch->length > INT64_MAX / 2 - batch->offset;
    if (wrong || batch->n_children != load->schema.n_children || !batch->children) {
        lli_error_set(&request->error, LL_EINVAL,
                      "the Arrow source gave a batch of %" PRId64 " columns, length %" PRId64
                      ", offset %" PRId64 "; its schema has %zu columns",
                      batch->n_children, batch->length, batch->offset, load->width);
        return LL_EINVAL;
    }
    for (int64_t i = batch->offset; valid && i < batch->offset + batch->length; i++) {
        if (valid[i / 8] >> (i % 8) & 1)
            continue;
        lli_error_set(&request->error, LL_EINVAL,
                      "row %zu of the Arrow source (the first is 0) is NULL as a whole",
                      load->first + (size_t)(i - batch->offset));
        return LL_EINVAL;
    }
    for (size_t i = 0; i < load->width; i++) {
        ll_status status = lli_arrow_column_read(&load->columns[i], batch->children[i],
                                                 batch->offset, batch->length);
        if (status != LL_OK)
            return column_failed(load, request, i, status);
    }
    load->rows = (size_t)batch->length;
    return LL_OK;
}

/* The next batch that has rows; none: `ended`. */
static ll_status next_batch(struct load *load, ll_request *request)
{
    do {
        drop_batch(load);
        begin_asking(load);
        int code = load->source.get_next(&load->source, &load->batch);
        end_asking(load);
        if (code != 0) {
            load->batch.release = NULL;
            return source_failed(load, request, code);
        }
        load->ended = !load->batch.release;
        if (!load->ended)
            LL_TRY(check_batch(load, request));
    } while (!load->ended && load->rows == 0 &&
             atomic_load_explicit(&request->stop, memory_order_relaxed) == LLI_STOP_NONE);
    return LL_OK;
}

/* ---- values that a column would bend -------------------------------------------------------------- */

/* The table is known to be there: the INSERT is prepared. What is no column of a table has no affinity. */
static void look_up_affinities(struct load *load)
{
    sqlite3 *db = load->conn->db.handle;
    for (size_t i = 0; i < load->width; i++) {
        const char *decltype = NULL, *collation;
        int flags[3];
        int rc = lli_sq.table_column_metadata(db, load->schema_name, load->table,
                                              load->schema.children[i]->name, &decltype, &collation,
                                              &flags[0], &flags[1], &flags[2]);
        load->affinities[i] = (uint8_t)(rc == SQLITE_OK ? lli_affinity_of(decltype)
                                                        : LLI_AFFINITY_BLOB);
    }
    load->looked = true;
}

static ll_status would_lose(const struct load *load, ll_request *request, size_t index,
                            const char *value, const char *why)
{
    lli_error_set(&request->error, LL_EINVAL, "row %zu (the first is 0), column '%s': %s %s",
                  load->ready, load->schema.children[index]->name, value, why);
    return LL_EINVAL;
}

/* What the values of a column are, behind its encodings. */
static enum lli_arrow_kind kind_of(const struct lli_arrow_column *col)
{
    while (col->inner)
        col = col->inner;
    return col->kind;
}

/* A number in digits, which SQLite would make one of 64 bits. */
static ll_status keep_digits(const struct load *load, ll_request *request, size_t index,
                             const ll_value *value)
{
    char digits[LLI_ARROW_TEXT_ROOM + 1];
    enum lli_affinity affinity = load->affinities[index];
    bool is_integer = kind_of(&load->columns[index]) == LLI_FROM_UINT64;
    if (affinity == LLI_AFFINITY_TEXT || (affinity == LLI_AFFINITY_BLOB && !is_integer))
        return LL_OK;
    memcpy(digits, value->as.text, value->size);
    digits[value->size] = '\0';
    errno = 0;
    long long whole = strtoll(digits, NULL, 10);
    bool fits = errno == 0 && !memchr(digits, '.', value->size) &&
                (affinity != LLI_AFFINITY_REAL || lli_is_exact_double(whole));
    if (fits || (!is_integer && lli_arrow_significant_digits(digits, value->size) <= EXACT_DIGITS))
        return LL_OK;
    return would_lose(load, request, index, digits,
                      is_integer
                          ? "is larger than an INTEGER of SQLite: a column declared TEXT holds it"
                          : "has more digits than a column of numbers keeps: one declared TEXT "
                            "holds it");
}

static ll_status keep_double(struct load *load, ll_request *request, size_t index, ll_value *value)
{
    struct lli_arrow_column *col = &load->columns[index];
    if (load->affinities[index] == LLI_AFFINITY_TEXT) {
        size_t size = lli_arrow_write_double(value->as.real, col->text_room, sizeof col->text_room);
        *value = ll_text_n(col->text_room, (uint32_t)size);
        return LL_OK;
    }
    return isnan(value->as.real)
             ? would_lose(load, request, index, "NaN", "would become NULL: make it NULL first")
             : LL_OK;
}

static ll_status keep(struct load *load, ll_request *request, size_t index, ll_value *value)
{
    char digits[24];
    switch (value->type) {
    case LL_FLOAT:
        return keep_double(load, request, index, value);
    case LL_TEXT:
        return load->columns[index].in_digits ? keep_digits(load, request, index, value) : LL_OK;
    case LL_INTEGER:
        if (load->affinities[index] != LLI_AFFINITY_REAL || lli_is_exact_double(value->as.integer))
            return LL_OK;
        snprintf(digits, sizeof digits, "%" PRId64, value->as.integer);
        return would_lose(load, request, index, digits,
                          "is no double, which a column declared REAL would make of it");
    default:
        return LL_OK;
    }
}

/* ---- rows ----------------------------------------------------------------------------------------- */

static ll_status row(void *arg, ll_request *request, size_t at, const ll_value **ret_values)
{
    struct load *load = arg;
    *ret_values = NULL;
    if (!load->looked)
        look_up_affinities(load);
    while (!load->ended && at >= load->first + load->rows) {
        LL_TRY(next_batch(load, request));
        if (!load->ended && load->rows == 0)
            return LL_ECANCELLED;
    }
    if (load->ended)
        return LL_OK;
    if (load->ready != at + 1) {
        load->ready = at;
        for (size_t i = 0; i < load->width; i++) {
            struct lli_arrow_column *col = &load->columns[i];
            if (lli_arrow_column_value(col, (int64_t)(at - load->first), &load->values[i]) !=
                LL_OK) {
                lli_error_set(&request->error, LL_EINVAL,
                              "row %zu (the first is 0): column '%s' of the Arrow source %s", at,
                              load->schema.children[i]->name, col->trouble);
                return LL_EINVAL;
            }
            LL_TRY(keep(load, request, i, &load->values[i]));
        }
        load->ready = at + 1;
    }
    *ret_values = load->values;
    return LL_OK;
}

static void done(void *arg)
{
    struct load *load = arg;
    drop_batch(load);
    for (size_t i = 0; load->columns && i < load->width; i++)
        lli_arrow_column_done(&load->columns[i]);
    if (load->schema.release)
        load->schema.release(&load->schema);
    if (load->source.release)
        load->source.release(&load->source);
    lli_free(load->columns);
    lli_free(load->values);
    lli_free(load->affinities);
    lli_free(load);
    lli_live(-1);
}

static const struct lli_row_source rows_of = {.begin = begin, .row = row, .done = done};

/* ---- the call ------------------------------------------------------------------------------------- */

static ll_status check(const char *table, const struct ArrowArrayStream *source, const char *caller)
{
    if (!table || !table[0])
        return lli_refuse(LL_EINVAL, "%s: table is %s", caller, table ? "empty" : "NULL");
    if (!source->get_schema || !source->get_next)
        return lli_refuse(LL_EINVAL, "%s: source has no get_schema or get_next", caller);
    return LL_OK;
}

static ll_status submit(ll_conn *conn, const char *table, struct load *load,
                        const ll_arrow_load_options *options, const ll_submit *how,
                        ll_request **ret_request, const char *caller)
{
    ll_request *request;
    ll_status status = lli_submit_new(conn, LLI_OP_MANY, how, ret_request, caller, &request);
    if (status != LL_OK) {
        done(load);
        return status;
    }
    load->conn = conn;
    load->overwrite = options && options->overwrite;
    request->in.many.source = &rows_of;
    request->in.many.source_arg = load;
    request->in.many.many.atomic = request->in.many.many.dml_only = true;
    request->in.many.many.begin_before = options ? options->begin_before : LL_BEGIN_NONE;
    const char *name = options ? options->schema : NULL;
    /* Copied whatever was said of borrowing: this is what the request is known by before it has its statement. */
    load->table = lli_arena_copy(&request->arena, table, strlen(table));
    if (name)
        load->schema_name = lli_arena_copy(&request->arena, name, strlen(name));
    bool copied = load->table && (!name || load->schema_name);
    char *text = copied
                   ? lli_arena_take(&request->arena, put_table(NULL, sizeof "INSERT INTO ", load))
                   : NULL;
    if (!text) {
        ll_request_unref(request);
        return lli_refuse(LL_ENOMEM, "%s: out of memory", caller);
    }
    request->in.many.size = put_table(text, put(text, 0, "INSERT INTO "), load);
    request->in.many.many.text = text;
    return lli_submit(request, ret_request);
}

ll_status ll_arrow_load(ll_conn *conn, const char *table, struct ArrowArrayStream *source,
                        const ll_arrow_load_options *options, const ll_submit *how,
                        ll_request **ret_request)
{
    static const char caller[] = "ll_arrow_load";
    if (!source || !source->release)
        return lli_refuse(LL_EINVAL, "%s: source is %s", caller,
                          source ? "released already" : "NULL");
    ll_status status = check(table, source, caller);
    if (status == LL_OK && options && options->begin_before > LL_BEGIN_DEFAULT)
        status = lli_refuse(LL_EINVAL, "%s: begin_before is %d", caller,
                            (int)options->begin_before);
    struct load *load = status == LL_OK ? lli_new(sizeof *load) : NULL;
    if (!load) {
        if (status == LL_OK)
            status = lli_refuse(LL_ENOMEM, "%s: out of memory", caller);
        source->release(source);
        return status;
    }
    lli_live(+1);
    load->source = *source;
    source->release = NULL;
    return submit(conn, table, load, options, how, ret_request, caller);
}
