/* looplite.h: SQLite for event loops.
 *
 * How it works
 * ------------
 * An *engine* (engine.h) belongs to one event loop. It offers one descriptor to
 * poll for reading and one function, ll_engine_dispatch(), to call when that
 * descriptor is readable. Programs without a loop call ll_engine_wait().
 *
 * A *connection* (conn.h) is an actor: it carries out its requests one after
 * another, in the order in which they were submitted, on whatever thread owns it
 * at that moment. It has no thread of its own: with work to do it borrows one
 * from the engine's elastic crew of workers, so a thousand idle connections cost
 * no thread at all.
 *
 * Every call that may take time makes a *request* (request.h). Its return value
 * tells what has become of it:
 *
 *   LL_OK       finished already, well or not: ll_request_status() says which. The
 *               results are in *ret_request; the callback will NOT be called.
 *   LL_PENDING  accepted. The callback will be called, once, by a later
 *               ll_engine_dispatch() of the request's engine.
 *   negative    refused: nothing was submitted, nothing will be called;
 *               ll_last_error() says what was wrong.
 *
 * A callback is never called from inside the function that started the work, and
 * never on a worker.
 *
 * Guarantees
 * ----------
 *  1. Requests of one connection run in the order of their submission.
 *  2. Each accepted request completes exactly once; nothing is run twice with effect.
 *  3. Each completion says whether the request was applied, not applied, or whether
 *     that cannot be known (ll_request_outcome()).
 *  4. A request that was cancelled or timed out before it began never runs.
 *  5. No worker sleeps for a locked database: the connection is parked on a timer
 *     and gives its worker back. Only a transaction that already holds the write
 *     lock waits where it is, for it must not let go of it.
 *  6. After fork() the child may not use what the parent made: each call answers
 *     LL_EFORK and touches nothing. ll_engine_new() works there.
 *
 * This header includes the topic headers. None of them includes sqlite3.h; a
 * program that brings its own sqlite3 handle includes looplite/sqlite.h as well.
 */
#ifndef LOOPLITE_H
#define LOOPLITE_H

#include <looplite/adk.h>
#include <looplite/arrow.h>
#include <looplite/backup.h>
#include <looplite/base.h>
#include <looplite/blob.h>
#include <looplite/conn.h>
#include <looplite/cursor.h>
#include <looplite/engine.h>
#include <looplite/func.h>
#include <looplite/info.h>
#include <looplite/pool.h>
#include <looplite/request.h>
#include <looplite/row.h>
#include <looplite/serialize.h>
#include <looplite/stats.h>
#include <looplite/stmt.h>
#include <looplite/txn.h>
#include <looplite/value.h>
#include <looplite/writer.h>

#endif
