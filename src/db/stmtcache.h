/* stmtcache.h: prepared statements, kept for their next use, least recently used first out. */
#ifndef LLI_DB_STMTCACHE_H
#define LLI_DB_STMTCACHE_H

#include "base/list.h"
#include "base/map.h"
#include "base/status.h"
#include "db/bounded.h"
#include "db/classify.h"
#include "db/columns.h"

#include <looplite/row.h>
#include <sqlite3.h>

struct lli_cost;

enum lli_inspected {
    LLI_INSPECTED_NOT,
    LLI_INSPECTED_SHARED, /* by another connection */
    LLI_INSPECTED_OWN
};

struct lli_stmt {
    struct lli_map_entry entry; /* key: the text; in the map only while `cached` */
    struct lli_node lru;        /* in the list of idle statements while not in use */
    sqlite3_stmt *raw;          /* NULL for a text without a statement */
    enum lli_kind kind;
    bool cached, in_use, read_only, has_rows;
    bool bulky;         /* its rows were once more than a group may hold (engine/run_group.c) */
    bool bound_numbers; /* set by who binds: nothing but numbers and NULL, since it was taken */
    enum lli_inspected inspected; /* where `program` comes from; see inspect.h */
    int inspected_at;             /* SQLite's counter of preparations when it was read */
    struct lli_program program;
    struct lli_cost *cost; /* its history, a reference; NULL: none, until somebody sets it */
    int reprepared;        /* SQLite's counter when `columns` was read */
    ll_columns *columns;   /* NULL until asked for */
    unsigned pins;         /* ll_stmt handles; never evicted while above 0 */
    char sql[];
};

struct lli_stmtcache {
    sqlite3 *db;
    struct lli_map map;
    struct lli_list idle; /* least recently used first */
    size_t limit;
    const struct lli_udf_list *udfs; /* for whoever judges programs; NULL: none */
};

ll_status lli_stmtcache_init(struct lli_stmtcache *cache, sqlite3 *db, size_t limit);
/* Forgets what was found of the programs of idle statements: a function has changed. */
void lli_stmtcache_forget_programs(struct lli_stmtcache *cache);
/* Finalises all idle statements. Those in use must have been given back before. */
void lli_stmtcache_done(struct lli_stmtcache *cache);

/* A statement for this text, for the caller alone until lli_stmt_give(). Errors: LL_ESTATEMENTS, LL_ESQL,
 * LL_ENOMEM, in *error. */
ll_status lli_stmt_take(struct lli_stmtcache *cache, const char *sql, size_t size,
                        struct lli_stmt **ret_stmt, struct lli_error *error);
/* Resets it, drops its bindings, and keeps it for the next use or finalises it. */
void lli_stmt_give(struct lli_stmtcache *cache, struct lli_stmt *stmt);
/* Resets one that has a program, and drops its bindings. */
void lli_stmt_rest(struct lli_stmt *stmt);
/* Its columns, read again when SQLite has prepared it again. The statement keeps the reference. */
ll_status lli_stmt_columns(struct lli_stmt *stmt, ll_columns **ret_columns);

/* Whether a text is no longer than the connection allows (SQLITE_LIMIT_SQL_LENGTH); LL_ESQL with the error if it is. SQLite
 * would say "string or blob too big" of some such texts and "statement too long" of others. */
ll_status lli_sql_fits(sqlite3 *db, size_t size, struct lli_error *error);

#endif
