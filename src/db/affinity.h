/* affinity.h: what a column's declared type says of it. */
#ifndef LLI_DB_AFFINITY_H
#define LLI_DB_AFFINITY_H

#include "base/defs.h"

enum lli_affinity {
    LLI_AFFINITY_BLOB, /* values stay what they are */
    LLI_AFFINITY_TEXT,
    LLI_AFFINITY_NUMERIC,
    LLI_AFFINITY_INTEGER,
    LLI_AFFINITY_REAL
};

/* As SQLite determines it; NULL: no type. (The type ANY of a STRICT table counts as NUMERIC, as it is elsewhere.) */
enum lli_affinity lli_affinity_of(const char *decltype);
/* Whether a declared type has these letters in it, large or small. */
bool lli_decltype_has(const char *decltype, const char *letters);

#endif
