/* closed.h: what a call is told that comes behind a close(). */
#ifndef LP_CLOSED_H
#define LP_CLOSED_H

#include "aconn.h"
#include "awaitable.h"

/* A close() has ended inside its call. With the GIL, on the loop's thread. */
void lp_closed_note(lp_conn *conn, lp_loop *loop);

/* Whether a close() is under way for who asks: then sqlite3's own error is due, and else aiosqlite's. */
bool lp_closed_under_way(const lp_conn *conn);

/* Whether a call that has not begun comes behind a close() that is under way for it: what it is told is due now. */
bool lp_closed_before(const lp_call *call);

#endif
