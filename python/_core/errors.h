/* errors.h: errors of the core as the exceptions of the sqlite3 module. */
#ifndef LP_ERRORS_H
#define LP_ERRORS_H

#include "convert.h"
#include "state.h"

/* Sets the exception for a request that failed. `params` (NULL allowed): what it was given; a refused
 * value raises what refused it. */
void lp_raise_request(lp_state *st, const ll_request *request, const lp_params *params);

/* Sets the exception for a call of the core that was refused with `status`. */
void lp_raise_refused(lp_state *st, ll_status status);

/* PoolClosedError. */
void lp_raise_pool_closed(void);

/* "Cannot operate on a closed database." and the two ValueErrors of aiosqlite, which programs tell
 * apart by their text. */
void lp_raise_closed_database(lp_state *st);
void lp_raise_no_connection(void);
void lp_raise_connection_closed(void);

#endif
