/* names.c: which names of a program's own functions and collations matter.
 *
 * A statement is kept from the loop when it calls anything that is not on our list. So only what takes the place of
 * something on it, under the same name, has to be told. */
#include "db/opcodes.h"

#include <looplite/sqlite.h>

unsigned ll_own_function(const char *name)
{
    return name && lli_function_name_is_cheap(name) ? LL_OWN_FUNCTIONS : 0;
}

unsigned ll_own_collation(const char *name)
{
    return name && lli_collation_name_is_own(name) ? LL_OWN_COLLATIONS : 0;
}
