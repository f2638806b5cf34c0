/* reset.h: making a connection as it was when it was opened, for its next owner. Owner of the connection only. */
#ifndef LLI_ENGINE_RESET_H
#define LLI_ENGINE_RESET_H

#include "engine/conn.h"

/* What was found and done. */
struct lli_reset {
    bool rolled_back;            /* a transaction was open */
    bool dropped_writes;         /* ... and had written */
    bool was_aborted;            /* it had been rolled back by an error before */
    bool undone;                 /* settings were set back */
    unsigned statements;         /* live ones that were ended */
    bool unfit;                  /* it cannot be made so: to be closed */
    char why[LLI_TENANT_TEXT];   /* it is unfit, or what was undone; "" */
    char wrote[LLI_TENANT_TEXT]; /* the last statement that wrote in the transaction; "" */
};

/* Right after it was opened: notes its settings. */
void lli_reset_learn(ll_conn *conn);
/* Ends all statements and the transaction, and compares the settings if they may have changed. `look`: also whether
 * the file is still there and can be read. */
void lli_reset_run(ll_conn *conn, bool look, struct lli_reset *ret_reset);

#endif
