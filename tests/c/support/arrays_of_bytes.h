/* arrays_of_bytes.h: Arrow streams that bytes decide, for random tests and for the fuzzer: mostly well made, sometimes not. */
#ifndef T_ARRAYS_OF_BYTES_H
#define T_ARRAYS_OF_BYTES_H

#include "support/arrays.h"

/* Loads what the bytes make into the table t(a, b TEXT, c REAL) of this connection, waits, and checks that either all rows
 * are there, or none; and takes them away again. Gives the status. */
ll_status t_load_bytes(ll_conn *conn, const uint8_t *data, size_t size);

#endif
