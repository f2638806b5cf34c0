/* api_linked.c: the default for builds that are linked with libsqlite3: its functions by name.
 *
 * Functions newer than the headers we are compiled with are not looked for, and ones newer than the
 * oldest SQLite we admit are weak, so that the library loads with an older libsqlite3.so. */
#include "db/api.h"

#include <string.h>

#if defined(__ELF__)
#    pragma weak sqlite3_error_offset
#    pragma weak sqlite3_changes64
#    pragma weak sqlite3_db_name
#    pragma weak sqlite3_deserialize
#    pragma weak sqlite3_serialize
#    pragma weak sqlite3_total_changes64
#endif

static ll_symbol find_linked(void *arg, const char *name)
{
    (void)arg;
    static const struct {
        const char *name;
        ll_symbol function;
    } linked[] = {
#define X(since, result, name, arguments) {"sqlite3_" #name, (ll_symbol)sqlite3_##name},
        LLI_SQLITE_FUNCTIONS(X)
#undef X
#define X(result, name, arguments) {"sqlite3_" #name, (ll_symbol)sqlite3_##name},
            LLI_SQLITE_OPTIONAL(X)
#undef X
    };
    for (size_t i = 0; i < LLI_COUNT(linked); i++)
        if (strcmp(linked[i].name, name) == 0)
            return linked[i].function;
    return NULL;
}

const ll_find_fn lli_sqlite_default = find_linked;
