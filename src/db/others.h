/* others.h: whether another process has a database file open. */
#ifndef LLI_DB_OTHERS_H
#define LLI_DB_OTHERS_H

#include <sqlite3.h>
#include <stdint.h>

enum lli_others {
    LLI_OTHERS_NONE,   /* no other process has it open */
    LLI_OTHERS_SOME,   /* one has */
    LLI_OTHERS_UNKNOWN /* nobody can tell */
};

/* Looks at the locks on the file that `db` (NULL: closed already) knows as `schema`, if it still is this one. Owner
 * of the connection, not in an attempt. */
enum lli_others lli_others_look(sqlite3 *db, const char *schema, uint64_t device, uint64_t inode);

#endif
