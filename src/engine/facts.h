/* facts.h: what must be known of a connection before the loop may run anything on it. Owner only. */
#ifndef LLI_ENGINE_FACTS_H
#define LLI_ENGINE_FACTS_H

#include "engine/conn.h"

/* Looks again: file, guard of its reads, journal mode, cache, attached databases. On a worker. */
void lli_facts_learn(ll_conn *conn);
/* It was just opened: if it shares its cache, takes its place there, before anything else is done with it. */
void lli_facts_share(ll_conn *conn);
/* The connection is closed: it has no file any more. */
void lli_facts_forget(ll_conn *conn);
/* A request of this kind is about to run on a worker: may it change any of that? */
void lli_facts_mind(ll_conn *conn, enum lli_kind kind);
/* A statement is about to run on a worker: if it begins a transaction, in which nothing can be learned, what
 * is not known yet is learned now, unless it stands in line already. Not for a request that has run in part. */
void lli_facts_before(ll_conn *conn, const ll_request *request);
/* A write has ended on a worker: if the loop found the cache full of dirty pages, they are written to the WAL, so
 * that the loop may go on. */
void lli_facts_make_room(ll_conn *conn);
/* Gives the statement its history, unless it has it. */
void lli_facts_cost(ll_conn *conn, struct lli_stmt *stmt);

#endif
