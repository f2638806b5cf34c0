/* adapters.h: whether types that need no adapter have one all the same. */
#ifndef LP_ADAPTERS_H
#define LP_ADAPTERS_H

#include "state.h"

/* The version of a dictionary that nothing has: look. */
#define LP_ADAPTERS_UNSEEN UINT64_MAX

/* Counts the changes of sqlite3's adapters. */
uint64_t lp_adapters_version(const lp_state *st);

/* Looks through the registry; 1: some base type has an adapter, 0: none, -1: an exception. */
int lp_adapters_look(lp_state *st, uint64_t version);

/* Called for each statement: usually a comparison. As lp_adapters_look(). */
static inline int lp_adapters_of_bases(lp_state *st)
{
    uint64_t version = lp_adapters_version(st);
    return version == st->adapters_seen ? st->bases_adapted : lp_adapters_look(st, version);
}

/* Once, when the module is made. 0, or -1 with an exception. */
int lp_adapters_init(lp_state *st);

#endif
