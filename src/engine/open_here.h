/* open_here.h: opening and closing a connection on the loop, where neither waits. */
#ifndef LLI_ENGINE_OPEN_HERE_H
#define LLI_ENGINE_OPEN_HERE_H

#include "engine/conn.h"

/* Tries to run a request (state NEW, LLI_OP_OPEN or LLI_OP_CLOSE) inside the call that makes it. True: it has
 * run, and its results are set. False: nothing has happened, queue it. Any thread. */
bool lli_open_here(ll_request *request);
bool lli_close_here(ll_request *request);

#endif
