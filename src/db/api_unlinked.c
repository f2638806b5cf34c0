/* api_unlinked.c: for builds that are linked with no SQLite and are given one by ll_sqlite_use(). */
#include "db/api.h"

const ll_find_fn lli_sqlite_default = NULL;
