/* checkpoint.h: moving the frames of a WAL into its database, on a connection of the pool's own. Owner only. */
#ifndef LLI_ENGINE_CHECKPOINT_H
#define LLI_ENGINE_CHECKPOINT_H

#include "engine/conn.h"

struct lli_checkpoint {
    uint32_t bound;    /* frames: from here on the WAL is to be emptied, not only copied */
    uint64_t until_ns; /* waits for the gate; set by itself, to be 0 at first */
    bool synced;       /* the WAL was, before it waited; the same */
    /* result */
    bool none;               /* there was nothing to do, or there is no WAL */
    bool busy;               /* somebody reads what is behind, so not all could be done */
    uint32_t frames, filled; /* afterwards */
    int code;                /* of SQLite */
};

/* enum lli_run_result: LLI_RUN_PARK while it waits for the write gate. */
int lli_checkpoint_run(ll_conn *conn, struct lli_checkpoint *checkpoint, uint64_t *ret_park_ns);

#endif
