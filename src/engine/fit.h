/* fit.h: what a connection is set to, as far as it decides what a write does: two that are set alike may write for
 * each other. And what SQL answers on one whose writes somebody else has done. */
#ifndef LLI_ENGINE_FIT_H
#define LLI_ENGINE_FIT_H

#include "base/defs.h"

#include <looplite/conn.h>

struct lli_gate;
struct lli_tally;

enum {
    LLI_PRINT_NUMBERS = 16, /* room for the PRAGMAs and settings of fit.c */
    LLI_PRINT_LIMITS = 12
};

/* Compared byte by byte: to be zeroed before it is filled. */
struct lli_print {
    const struct lli_gate *gate; /* of its only file: stands for that file */
    int numbers[LLI_PRINT_NUMBERS];
    int limits[LLI_PRINT_LIMITS];
    char journal[16];
};

/* Of one connection; its owner only. */
struct lli_fit {
    bool known;        /* the rest holds; PRAGMA, ATTACH, DDL and use from outside make it false */
    const char *unfit; /* static: why it writes for nobody and nobody for it; NULL: no reason */
    bool clean;        /* it has no functions but SQLite's own */
    bool foreign_keys;
    int synchronous; /* apart: the strictest one is met */
    struct lli_print print;
};

/* Looks, unless it is known. On a worker, outside a transaction. Owner only. */
void lli_fit_learn(ll_conn *conn);
/* Whether it could be written for right now: learnt, no own code, no transaction, nothing live. Owner only; any
 * thread; asks nothing of the file. */
bool lli_fit_is_free(ll_conn *conn);

/* ---- changes() and total_changes() (tally.c); owner only ---- */

/* Makes SQL's changes() and total_changes() tell of what others write for this connection. A SQLite code. */
int lli_tally_install(ll_conn *conn);
/* Somebody has written for it: how many rows the statement has changed, and all its triggers with it. */
void lli_tally_note(ll_conn *conn, int64_t changes, int64_t total);
/* It has written itself. */
void lli_tally_forget(ll_conn *conn);
/* What total_changes() is above SQLite's own. */
int64_t lli_tally_total(const ll_conn *conn);
/* The connection closes; the functions stay with the handle. */
void lli_tally_leave(ll_conn *conn);

#endif
