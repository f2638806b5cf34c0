/* affinity.c: what a column's declared type says of it: the rules of SQLite's "Datatypes", section 3.1, in their order.
 *
 * SQLite has no call that tells an affinity, but the rules are part of its file format and do not change. */
#include "db/affinity.h"

#include <string.h>
#include <strings.h>

bool lli_decltype_has(const char *decltype, const char *letters)
{
    size_t size = strlen(letters);
    for (; *decltype; decltype ++)
        if (strncasecmp(decltype, letters, size) == 0)
            return true;
    return false;
}

enum lli_affinity lli_affinity_of(const char *decltype)
{
    static const struct {
        const char *letters;
        enum lli_affinity affinity;
    } rules[] = {
        {"INT", LLI_AFFINITY_INTEGER}, {"CHAR", LLI_AFFINITY_TEXT}, {"CLOB", LLI_AFFINITY_TEXT},
        {"TEXT", LLI_AFFINITY_TEXT},   {"BLOB", LLI_AFFINITY_BLOB}, {"REAL", LLI_AFFINITY_REAL},
        {"FLOA", LLI_AFFINITY_REAL},   {"DOUB", LLI_AFFINITY_REAL},
    };
    if (!decltype || !decltype[0])
        return LLI_AFFINITY_BLOB;
    for (size_t i = 0; i < LLI_COUNT(rules); i++)
        if (lli_decltype_has(decltype, rules[i].letters))
            return rules[i].affinity;
    return LLI_AFFINITY_NUMERIC;
}
