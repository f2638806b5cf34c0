/* hold.h: connections whose snapshot is kept open until the end of a loop's turn. Loop only. */
#ifndef LLI_ENGINE_HOLD_H
#define LLI_ENGINE_HOLD_H

#include "engine/conn.h"

/* Before a read that was admitted, inside its attempt: joins the snapshot that is held, or takes one from
 * the second read of a turn on. */
void lli_hold_read(ll_engine *engine, ll_conn *conn, uint64_t now_ns);
/* The turn has ended: lets go of all of them. */
void lli_hold_end_turn(ll_engine *engine);

#endif
