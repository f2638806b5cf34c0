/* delay.h: connections that wait for their loop: for a page that is on its way, or for the next turn. */
#ifndef LLI_ENGINE_DELAY_H
#define LLI_ENGINE_DELAY_H

#include "engine/conn.h"
#include "engine/engine.h"

/* For a new engine. */
void lli_delay_init(ll_engine *engine);

/* Whether a request of an idle connection is kept for the next turn. Loop of the request, under conn->mu. */
bool lli_delay_may_defer(ll_conn *conn, const ll_request *request);
/* Keeps the connection, which is DELAYED by now (or was, for a moment). Loop. */
void lli_delay_defer(ll_engine *engine, ll_conn *conn);

/* Whether the connection may be tried on: this turn has missed few pages, or it can miss none. Loop, owner. */
bool lli_delay_may_miss(const ll_engine *engine, const ll_conn *conn);
/* Whether a request whose try has just ended may be tried again when its page has come. Loop, owner; must be
 * followed by lli_delay_retry(). */
bool lli_delay_may_retry(ll_engine *engine, ll_conn *conn, const ll_request *request);
/* It does (DELAYED by now), or it does not after all. Loop. */
void lli_delay_retry(ll_engine *engine, ll_conn *conn, bool does);

/* The beginning of a dispatch: tries what is due, as far as the turn's time goes. */
void lli_delay_run(ll_engine *engine);
/* Its end, after the callbacks: what waits for the next turn makes the descriptor readable. */
void lli_delay_announce(ll_engine *engine);
/* When the next retry is due; LLI_NEVER. Loop. */
uint64_t lli_delay_next(const ll_engine *engine);
/* The end of the engine: workers get everything. */
void lli_delay_flush(ll_engine *engine);

#endif
