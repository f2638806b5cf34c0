/* cursor.h: the rest of a streamed result, fetched ahead under a bound.
 *
 * A cursor is a live statement on its connection. Other requests of the connection run between its
 * batches. At most `credit` batches are read ahead of the consumer; then the statement rests until
 * one of them was taken. */
#ifndef LOOPLITE_CURSOR_H
#define LOOPLITE_CURSOR_H

#include <looplite/request.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sets how far the cursor reads ahead: `credit` batches (1 to 64; default 3) of at most `rows` rows
 * (default 1024; a batch also ends at 256 KiB, or after 5 ms once it has a row).
 * Thread: any. Owns: nothing. Errors: LL_EINVAL. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_cursor_set_ahead(ll_cursor *cursor, unsigned credit, size_t rows);

/* The next batch: ll_request_take_batch(); none and LL_OK means that the result is complete. When a
 * batch was read ahead it is there at once (LL_OK). Several may wait; they are served in order.
 * Cancelling it interrupts the statement if it runs, and the cursor has then ended.
 * Thread: any. Owns: as ll_conn_submit(). Errors: LL_ECLOSED, and those of the statement. Since: 0.1
 */
LL_API LL_NODISCARD ll_status ll_cursor_next(ll_cursor *cursor, const ll_submit *how,
                                             ll_request **ret_request);

/* The columns of the result.
 * Thread: any. Owns: lives as long as the cursor. Errors: none. Since: 0.1 */
LL_API const ll_columns *ll_cursor_columns(const ll_cursor *cursor);

/* Ends the statement: at once when the connection is idle, else as the next thing it does; a batch
 * that is being read is interrupted. Requests of ll_cursor_next() that wait end with LL_ECLOSED.
 * Thread: any. Owns: takes the cursor; NULL is fine. Errors: none, it needs no memory. After fork:
 * frees nothing. Since: 0.1 */
LL_API void ll_cursor_close(ll_cursor *cursor);

#ifdef __cplusplus
}
#endif
#endif
