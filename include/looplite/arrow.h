/* arrow.h: results as Arrow columns, and Arrow columns into a table, by the Arrow C Data and C Stream interfaces.
 *
 * Submit a statement with LL_SQL_COLUMNS, and the worker that steps it writes its values into buffers that Arrow takes
 * as they are. A whole result becomes a stream with ll_arrow_stream_of(). A result that is read through a cursor
 * (LL_SQL_STREAM too) is turned batch by batch: a shape says the names and types, ll_arrow_array() gives each batch.
 *
 * The type of a column is int64 (format "l"), double ("g"), utf8 ("u"), binary ("z") or null ("n"):
 *
 *   declared  INT..: int64   CHAR, CLOB, TEXT: utf8   BLOB: binary   REAL, FLOA, DOUB, DEC, NUM: double   (in this order)
 *             if every value is of that type; in a column of doubles also integers that a double is equal to
 *   else what is there:
 *             integers: int64   doubles, also with integers that a double is equal to: double   texts: utf8
 *             blobs, also with texts; texts that are no UTF-8: binary
 *             numbers with texts, or doubles with an integer that no double is equal to: utf8, each number in digits
 *             that give it back
 *             blobs, or texts that are no UTF-8, with numbers: LL_EINVAL, as no type holds both; CAST one of them
 *   else (NULLs only, or no rows) null; in a shape of a result that goes on, utf8 */
#ifndef LOOPLITE_ARROW_H
#define LOOPLITE_ARROW_H

#include <looplite/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As the Arrow specification lays them down, under its guards: another header may have them already. */
#ifndef ARROW_C_DATA_INTERFACE
#    define ARROW_C_DATA_INTERFACE

#    define ARROW_FLAG_DICTIONARY_ORDERED 1
#    define ARROW_FLAG_NULLABLE           2
#    define ARROW_FLAG_MAP_KEYS_SORTED    4

struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};
#endif

#ifndef ARROW_C_STREAM_INTERFACE
#    define ARROW_C_STREAM_INTERFACE

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};
#endif

/* Names and types of the record batches of one result. Immutable. */
typedef struct ll_arrow_shape ll_arrow_shape;

/* The shape of a result of which these batches (of columns) are there: all of it, or with `more` its beginning. Batches
 * that come later then have to fit.
 * Thread: any. Owns: the caller frees it with ll_arrow_shape_free(); the batches stay the caller's. Errors: LL_EINVAL
 * (no columns, a batch of rows or of another width, a column that no type holds), LL_ENOMEM. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_arrow_shape_new(const ll_columns *columns,
                                                 const ll_batch *const *batches, size_t count,
                                                 bool more, ll_arrow_shape **ret_shape);

/* Frees a shape.
 * Thread: any. Owns: takes it; NULL is fine. Errors: none. Since: 0.1 */
LL_API void ll_arrow_shape_free(ll_arrow_shape *shape);

/* The schema: a struct with a child for each column.
 * Thread: any. Owns: the caller releases it, on any thread. Errors: LL_EINVAL, LL_ENOMEM. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_arrow_schema(const ll_arrow_shape *shape,
                                              struct ArrowSchema *ret_schema);

/* A batch of columns as a record batch. Its buffers move into the array; only a column of mixed types is copied.
 * Thread: any. Owns: takes the batch, also when it fails; the caller releases the array, on any thread. Errors:
 * LL_EINVAL (a batch of rows; a column that does not fit the shape: the message names it), LL_ENOMEM. After fork: the
 * child may release what it inherited. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_arrow_array(const ll_arrow_shape *shape, ll_batch *batch,
                                             struct ArrowArray *ret_array);

/* A whole result as a stream, one record batch for each batch. Batches of rows are copied into columns. The stream
 * never waits and never fails for what lies in the database: all has been read.
 * Thread: any; the stream is for one thread at a time. Owns: takes the batches, also when it fails, but not the array
 * they are in; the caller releases the stream. Errors: as ll_arrow_shape_new(). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_arrow_stream_new(const ll_columns *columns, ll_batch **batches,
                                                  size_t count,
                                                  struct ArrowArrayStream *ret_stream);

/* The same with all batches that are still in a finished request. If the request has a cursor, that one is part of it:
 * as ll_arrow_stream_live().
 * Thread: any, one at a time. Owns: takes the request's batches and cursor; the request stays the caller's. Errors: as
 * ll_arrow_stream_new(); LL_EINVAL if the request is not done; its own error if it failed. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_arrow_stream_of(ll_request *request,
                                                 struct ArrowArrayStream *ret_stream);

/* By which whoever gave a stream away ends it. */
typedef struct ll_arrow_tap ll_arrow_tap;

/* A result as it is read: the batches that are there, without the first `skip` rows of the first one, then those of the
 * cursor, which reads ahead as far as its credit. Pulling blocks the calling thread until a worker has the next batch,
 * so it is not for a loop's thread. The types are those of the batches that are there, or of the next one; later ones
 * have to fit. Releasing the stream ends the statement, whether or not it was read to its end. `ret_tap` may be NULL.
 * Thread: any; the stream is for one thread at a time. Owns: takes the batches, of rows or of columns, and the cursor,
 * also when it fails, but not the array the batches are in; the caller releases the stream, and gives the tap back.
 * Errors: LL_EINVAL, LL_ENOMEM; when it is pulled, those of the statement. After fork: pulling fails, releasing frees
 * nothing. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_arrow_stream_live(ll_batch **batches, size_t count, size_t skip,
                                                   ll_cursor *rest, ll_arrow_tap **ret_tap,
                                                   struct ArrowArrayStream *ret_stream);

/* Ends the statement behind a stream. Who pulls, or waits in it, gets an error, unless all was read.
 * Thread: any. Owns: takes the tap; NULL is fine. The stream is still to be released. Errors: none. Since: 0.1 */
LL_API void ll_arrow_tap_close(ll_arrow_tap *tap);

/* Gives a tap back without ending anything.
 * Thread: any. Owns: takes the tap; NULL is fine. Errors: none. Since: 0.1 */
LL_API void ll_arrow_tap_free(ll_arrow_tap *tap);

/* One record batch as a stream, for ll_arrow_load().
 * Thread: any; the stream is for one thread at a time. Owns: takes schema and batch, also when it fails; the caller
 * releases the stream. Errors: LL_EINVAL (one is NULL or released), LL_ENOMEM. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_arrow_stream_of_batch(struct ArrowSchema *schema,
                                                       struct ArrowArray *batch,
                                                       struct ArrowArrayStream *ret_stream);

/* How ll_arrow_load() inserts. Zero-initialise. */
typedef struct ll_arrow_load_options {
    const char
        *schema;    /* "main", "temp" or an attached database; NULL: where SQLite finds the table */
    bool overwrite; /* deletes all rows of the table first, in the same transaction */
    ll_begin
        begin_before; /* transaction to open before, if none is open; it stays open. Without, the rows are
                              committed at the end, or are part of the transaction that is open */
} ll_arrow_load_options;

/* Inserts the record batches of a stream into a table that exists, each column into the one of its name: all rows or
 * none. ll_request_progress() tells how many. The worker asks the source, one batch at a time; its get_schema and first
 * get_next run before the table is locked. Cancelling stops it between two rows, not inside the source. The source must
 * not wait for this very connection.
 *
 *   null, (u)int8 to int64, bool: NULL, INTEGER   uint64: INTEGER, beyond int64 refused, in a TEXT column digits
 *   half, float, double: REAL; NaN, which SQLite does not have, refused; in a TEXT column digits that give it back
 *   utf8, binary, fixed-size binary, large and view forms: TEXT, BLOB
 *   date, time, timestamp: TEXT as ISO 8601, years 0 to 9999, one with a zone in UTC   duration: INTEGER, its ticks
 *   decimal: TEXT digits; one of more than 15 in a column of numbers refused
 *   dictionary and run-end encoded: their values   list, struct, map, union, interval: refused
 *
 * Thread: any. Owns: takes the source, also when it fails, and releases it on a worker or with the request; table and
 * options are copied. Errors: as ll_exec_many(); LL_EINVAL at once (source NULL or released, table empty) and of the
 * request: a source that fails or is malformed, a value that would be lost; the message names column and row.
 * Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_arrow_load(ll_conn *conn, const char *table,
                                            struct ArrowArrayStream *source,
                                            const ll_arrow_load_options *options,
                                            const ll_submit *how, ll_request **ret_request);

#ifdef __cplusplus
}
#endif
#endif
