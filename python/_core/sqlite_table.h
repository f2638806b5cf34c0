/* sqlite_table.h: the few functions of SQLite that the extension itself calls. */
#ifndef LP_SQLITE_TABLE_H
#define LP_SQLITE_TABLE_H

#include <looplite/sqlite.h>

/* Process-wide, written once at import and never again: the same SQLite that _sqlite3 calls. */
struct lp_sqlite {
    const char *(*libversion)(void);
    int (*libversion_number)(void);
    const char *(*sourceid)(void);
    int (*threadsafe)(void);
    int (*auto_extension)(void (*entry)(void));
    int (*cancel_auto_extension)(void (*entry)(void));
    int (*file_control)(sqlite3 *, const char *, int, void *);
    sqlite3_mutex *(*db_mutex)(sqlite3 *);
    int (*txn_state)(sqlite3 *, const char *);
};
extern struct lp_sqlite lp_sq;

#endif
