/* stmtcache.c: a hash map by text plus a list by age.
 *
 * A statement is taken for exclusive use and given back; while it is out, the same text is prepared a
 * second time, and that second one is finalised when it comes back and finds its place taken. Idle
 * statements are reset and unbound: nothing of a former user's parameters stays reachable, which matters
 * because parameters are bound without copying.
 *
 * Texts are compared whole, so two spellings are two statements, as in SQLite's own documentation of
 * caches. A text with more than one statement never enters the cache. */
#include "db/stmtcache.h"

#include "base/alloc.h"
#include "db/api.h"
#include "db/cost.h"
#include "db/sqlerror.h"

#include <limits.h>
#include <string.h>

ll_status lli_stmtcache_init(struct lli_stmtcache *cache, sqlite3 *db, size_t limit)
{
    cache->db = db;
    cache->limit = limit;
    lli_list_init(&cache->idle);
    return lli_map_init(&cache->map, limit);
}

static void stmt_free(struct lli_stmtcache *cache, struct lli_stmt *stmt)
{
    if (stmt->cached)
        lli_map_remove(&cache->map, &stmt->entry);
    if (lli_node_linked(&stmt->lru))
        lli_list_remove(&stmt->lru);
    lli_sq.finalize(stmt->raw);
    ll_columns_unref(stmt->columns);
    lli_cost_unref(stmt->cost);
    lli_free(stmt);
}

void lli_stmtcache_done(struct lli_stmtcache *cache)
{
    if (!cache->map.buckets)
        return;
    struct lli_node *node;
    while ((node = lli_list_first(&cache->idle)) != NULL)
        stmt_free(cache, LLI_CONTAINER_OF(node, struct lli_stmt, lru));
    assert(cache->map.count == 0);
    lli_map_done(&cache->map);
}

ll_status lli_sql_fits(sqlite3 *db, size_t size, struct lli_error *error)
{
    int most = lli_sq.limit(db, SQLITE_LIMIT_SQL_LENGTH, -1);
    if (size <= (size_t)most && size <= INT_MAX - 1)
        return LL_OK;
    lli_error_set(error, LL_ESQL, "query string is too large");
    error->pub.sqlite_code = SQLITE_TOOBIG;
    return LL_ESQL;
}

static ll_status prepare(struct lli_stmtcache *cache, const char *sql, size_t size, uint64_t hash,
                         struct lli_stmt **ret_stmt, struct lli_error *error)
{
    LL_TRY(lli_sql_fits(cache->db, size, error));
    struct lli_stmt *stmt = lli_new(sizeof *stmt + size + 1);
    if (!stmt) {
        lli_error_set(error, LL_ENOMEM, "out of memory while preparing a statement");
        return LL_ENOMEM;
    }
    memcpy(stmt->sql, sql, size);
    stmt->sql[size] = '\0';
    const char *tail = NULL;
    int rc = lli_sq.prepare_v3(cache->db, stmt->sql, (int)size + 1, SQLITE_PREPARE_PERSISTENT,
                               &stmt->raw, &tail);
    if (rc != SQLITE_OK) {
        lli_error_from_sqlite(error, cache->db, rc);
        lli_free(stmt);
        return error->pub.status;
    }
    size_t rest = tail ? (size_t)(tail - stmt->sql) : size;
    if (stmt->raw && lli_classify(stmt->sql + rest, size - rest) != LLI_KIND_EMPTY) {
        lli_sq.finalize(stmt->raw);
        lli_free(stmt);
        lli_error_set(error, LL_ESTATEMENTS, "You can only execute one statement at a time.");
        return LL_ESTATEMENTS;
    }
    stmt->entry.hash = hash;
    stmt->entry.key = stmt->sql;
    stmt->entry.size = size;
    stmt->kind = lli_classify(sql, size);
    stmt->read_only = !stmt->raw || lli_sq.stmt_readonly(stmt->raw) != 0;
    stmt->has_rows = stmt->raw && lli_sq.column_count(stmt->raw) > 0;
    *ret_stmt = stmt;
    return LL_OK;
}

void lli_stmtcache_forget_programs(struct lli_stmtcache *cache)
{
    for (struct lli_node *node = lli_list_first(&cache->idle); node;
         node = lli_list_next(&cache->idle, node))
        LLI_CONTAINER_OF(node, struct lli_stmt, lru)->inspected = LLI_INSPECTED_NOT;
}

/* The one that is most often asked for: a loop over one text needs no search. */
static struct lli_stmt *last_given(struct lli_stmtcache *cache)
{
    struct lli_node *node = lli_list_last(&cache->idle);
    struct lli_stmt *stmt = node ? LLI_CONTAINER_OF(node, struct lli_stmt, lru) : NULL;
    return stmt && stmt->cached ? stmt : NULL;
}

ll_status lli_stmt_take(struct lli_stmtcache *cache, const char *sql, size_t size,
                        struct lli_stmt **ret_stmt, struct lli_error *error)
{
    struct lli_stmt *last = last_given(cache);
    if (last && last->entry.size == size && memcmp(last->sql, sql, size) == 0) {
        lli_list_remove(&last->lru);
        last->in_use = true;
        *ret_stmt = last;
        return LL_OK;
    }
    uint64_t hash = lli_map_hash(sql, size);
    struct lli_map_entry *entry = lli_map_find(&cache->map, hash, sql, size);
    if (entry) {
        struct lli_stmt *stmt = LLI_CONTAINER_OF(entry, struct lli_stmt, entry);
        if (!stmt->in_use) {
            lli_list_remove(&stmt->lru);
            stmt->in_use = true;
            *ret_stmt = stmt;
            return LL_OK;
        }
    }
    struct lli_stmt *stmt = NULL;
    LL_TRY(prepare(cache, sql, size, hash, &stmt, error));
    assert(stmt);
    stmt->in_use = true;
    /* PRAGMA busy_timeout acts, and takes its answer, while it is prepared: it must be prepared each time. */
    if (!entry && cache->limit > 0 && stmt->kind != LLI_KIND_PRAGMA_BUSY_TIMEOUT) {
        lli_map_insert(&cache->map, &stmt->entry);
        stmt->cached = true;
    }
    *ret_stmt = stmt;
    return LL_OK;
}

void lli_stmt_rest(struct lli_stmt *stmt)
{
    lli_sq.reset(stmt->raw); /* its error, if any, was told by the step before */
    if (!stmt->bound_numbers)
        lli_sq.clear_bindings(stmt->raw);
    stmt->bound_numbers = false;
}

void lli_stmt_give(struct lli_stmtcache *cache, struct lli_stmt *stmt)
{
    if (stmt->raw)
        lli_stmt_rest(stmt);
    stmt->in_use = false;
    if (!stmt->cached && stmt->pins == 0) {
        stmt_free(cache, stmt);
        return;
    }
    lli_list_push(&cache->idle, &stmt->lru);
    struct lli_node *node = lli_list_first(&cache->idle);
    while (node && cache->map.count > cache->limit) {
        struct lli_stmt *oldest = LLI_CONTAINER_OF(node, struct lli_stmt, lru);
        node = lli_list_next(&cache->idle, node);
        if (oldest->pins == 0)
            stmt_free(cache, oldest);
    }
}

ll_status lli_stmt_columns(struct lli_stmt *stmt, ll_columns **ret_columns)
{
    *ret_columns = NULL;
    if (!stmt->has_rows)
        return LL_OK;
    int reprepared = lli_sq.stmt_status(stmt->raw, SQLITE_STMTSTATUS_REPREPARE, 0);
    if (!stmt->columns || stmt->reprepared != reprepared) {
        ll_columns *columns;
        LL_TRY(lli_columns_of(stmt->raw, &columns));
        ll_columns_unref(stmt->columns);
        stmt->columns = columns;
        stmt->reprepared = reprepared;
    }
    *ret_columns = stmt->columns;
    return LL_OK;
}
