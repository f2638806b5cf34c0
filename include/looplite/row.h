/* row.h: rows come in batches; a batch is immutable and belongs to whoever took it. */
#ifndef LOOPLITE_ROW_H
#define LOOPLITE_ROW_H

#include <looplite/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Names and declared types of the columns of one statement. Immutable, counted. */
typedef struct ll_columns ll_columns;

/* Some rows of one result, in order. Immutable. */
typedef struct ll_batch ll_batch;

/* How many columns.
 * Thread: any. Owns: nothing. Errors: NULL gives 0. Since: 0.1 */
LL_API size_t ll_columns_count(const ll_columns *columns);

/* The name of a column, as SQLite gives it (the AS name, or the column's own).
 * Thread: any. Owns: lives as long as the columns object. Errors: NULL if out of range. Since: 0.1 */
LL_API const char *ll_columns_name(const ll_columns *columns, size_t column);

/* The declared type of a column ("VARCHAR(10)").
 * Thread: any. Owns: lives as long as the columns object. Errors: NULL for an expression or if out
 * of range. Since: 0.1 */
LL_API const char *ll_columns_decltype(const ll_columns *columns, size_t column);

/* One reference more.
 * Thread: any. Owns: the caller has to give it back with ll_columns_unref(). Errors: none.
 * Since: 0.1 */
LL_API ll_columns *ll_columns_ref(const ll_columns *columns);

/* One reference less; the last one frees.
 * Thread: any. Owns: takes the caller's reference; NULL is fine. Errors: none. Since: 0.1 */
LL_API void ll_columns_unref(const ll_columns *columns);

/* How many rows a batch holds.
 * Thread: any, one at a time. Owns: nothing. Errors: NULL gives 0. Since: 0.1 */
LL_API size_t ll_batch_rows(const ll_batch *batch);

/* How many values a row of it has.
 * Thread: any. Owns: nothing. Errors: NULL gives 0. Since: 0.1 */
LL_API size_t ll_batch_columns(const ll_batch *batch);

/* The values of one row, ll_batch_columns() of them. Consecutive rows of a batch need not be
 * neighbours in memory.
 * Thread: any. Owns: the values and what they point to live as long as the batch. Errors: NULL if
 * out of range, and for a batch that is kept as columns. Since: 0.1 */
LL_API const ll_value *ll_batch_row(const ll_batch *batch, size_t row);

/* A copy of a batch of rows as a batch of columns.
 * Thread: any. Owns: the caller frees it with ll_batch_free(); the batch given stays the caller's. Errors: NULL if
 * there is no memory, or it is one of columns already. Since: 0.1 */
LL_API ll_batch *ll_batch_to_columns(const ll_batch *batch);

/* The same without its first rows: from row `first` on.
 * Thread: any. Owns: as ll_batch_to_columns(). Errors: as ll_batch_to_columns(). Since: 0.1 */
LL_API ll_batch *ll_batch_to_columns_from(const ll_batch *batch, size_t first);

/* Frees a batch.
 * Thread: any. Owns: takes it; NULL is fine. Errors: none. Since: 0.1 */
LL_API void ll_batch_free(ll_batch *batch);

#ifdef __cplusplus
}
#endif
#endif
