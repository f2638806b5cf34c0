/* inspect.c: reading a program by EXPLAIN, once, and who may share what was found.
 *
 *   lli_explain()            text -> rows of EXPLAIN -> judge (bounded.c) -> struct lli_program
 *   lli_stmt_program()       the statement's own, kept in struct lli_stmt
 *   lli_stmt_program_hint()  own, or from the history of the process (cost.c), to which it also gives
 *
 * EXPLAIN of a point read, judging included, takes 8 us on an idle machine and 50 us on a busy one, that of
 * an UPDATE with two indexes 30 to 110: preparing the text a second time, more or less. A connection that
 * lives for one call would pay that for each statement. So what was found is kept for (file, text, cookie).
 * Beyond these three a program depends on settings of the connection: attached files, TEMP tables that shadow
 * others, foreign_keys, ignore_check_constraints, the user's functions, statistics read by ANALYZE. So
 *   - only reads are shared. An attempt at a read is aborted when its budget is spent, whatever was believed;
 *     a write on the loop is not, so each connection explains its own;
 *   - only programs that touch nothing but "main" are given away, and only a connection that has no TEMP
 *     database takes them: names are looked for in TEMP first, then in "main", then in attached files.
 *
 * The cookie comes from the program itself (P3 of Transaction): that is the schema it was compiled for,
 * while the file may have a newer one by now, which SQLite notices in the first step.
 *
 * What EXPLAIN must not be asked for:
 *   - PRAGMA: many act while they are prepared, EXPLAIN or not;
 *   - a write outside a transaction, where nobody needs to know. Stepping EXPLAIN of an INSERT sets changes()
 *     to 0 (seen with 3.40: it ends as a statement that changed nothing). The statement itself sets it anew,
 *     so this can only be seen by one that reads changes() itself: not explained; a trigger that does so
 *     before its own first statement sees 0, which is the price.
 *
 * An interrupted read leaves its transaction alone, with one exception that an experiment found: reading an
 * R*Tree inside a transaction, interrupted, ends the transaction. So lli_stmt_uses_vtab(). */
#include "db/inspect.h"

#include "base/alloc.h"
#include "db/api.h"
#include "db/cost.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

/* Columns of EXPLAIN. */
enum {
    COLUMN_ADDR,
    COLUMN_OPCODE,
    COLUMN_P1,
    COLUMN_P2,
    COLUMN_P3,
    COLUMN_P4,
    COLUMN_P5
};

static struct lli_program explain(sqlite3 *db, const struct lli_udf_list *udfs, const char *sql,
                                  size_t size)
{
    static const char prefix[] = "EXPLAIN ";
    struct lli_program unknown = {.why = LLI_NOT_EXPLAINED};
    if (size > INT_MAX - sizeof prefix)
        return unknown;
    char *text = lli_resize(NULL, sizeof prefix + size);
    if (!text)
        return unknown;
    memcpy(text, prefix, sizeof prefix - 1);
    memcpy(text + sizeof prefix - 1, sql, size);
    text[sizeof prefix - 1 + size] = '\0';
    sqlite3_stmt *explain = NULL;
    struct lli_judge judge;
    lli_judge_begin(&judge);
    judge.udfs = udfs;
    int rc = lli_sq.prepare_v3(db, text, -1, 0, &explain, NULL);
    lli_free(text);
    if (rc != SQLITE_OK || !explain || lli_sq.column_count(explain) <= COLUMN_P5)
        rc = SQLITE_ERROR;
    else
        while ((rc = lli_sq.step(explain)) == SQLITE_ROW) {
            struct lli_vdbe_op op = {
                .name = (const char *)lli_sq.column_text(explain, COLUMN_OPCODE),
                .p4 = (const char *)lli_sq.column_text(explain, COLUMN_P4),
                .addr = lli_sq.column_int(explain, COLUMN_ADDR),
                .p1 = lli_sq.column_int(explain, COLUMN_P1),
                .p2 = lli_sq.column_int(explain, COLUMN_P2),
                .p3 = lli_sq.column_int(explain, COLUMN_P3),
                .p5 = lli_sq.column_int(explain, COLUMN_P5),
            };
            if (!op.name)
                break; /* no memory for a text */
            lli_judge_add(&judge, &op);
        }
    lli_sq.finalize(explain);
    return rc == SQLITE_DONE ? lli_judge_end(&judge) : unknown;
}

struct lli_program lli_explain(sqlite3 *db, const char *sql, size_t size)
{
    return explain(db, NULL, sql, size);
}

static bool has_word(const char *text, size_t size, const char *word)
{
    size_t length = strlen(word);
    for (size_t i = 0; i + length <= size; i++)
        if (strncasecmp(text + i, word, length) == 0)
            return true;
    return false;
}

static bool explainable(struct lli_stmtcache *cache, const struct lli_stmt *stmt)
{
    if (!stmt->raw)
        return false;
    if (stmt->kind != LLI_KIND_SELECT && stmt->kind != LLI_KIND_DML) {
        size_t at = lli_skip_blank(stmt->sql, stmt->entry.size);
        if (strncasecmp(stmt->sql + at, "WITH", 4) != 0 &&
            strncasecmp(stmt->sql + at, "VALUES", 6) != 0)
            return false;
    }
    if (stmt->read_only)
        return true;
    return !lli_sq.get_autocommit(cache->db) && !has_word(stmt->sql, stmt->entry.size, "changes");
}

/* Whether what `stmt` has found still is about what it would run. */
static bool is_fresh(const struct lli_stmt *stmt)
{
    return stmt->inspected != LLI_INSPECTED_NOT &&
           stmt->inspected_at == lli_sq.stmt_status(stmt->raw, SQLITE_STMTSTATUS_REPREPARE, 0);
}

static void keep(struct lli_stmt *stmt, struct lli_program program, enum lli_inspected how)
{
    stmt->program = program;
    stmt->inspected = how;
    stmt->inspected_at = lli_sq.stmt_status(stmt->raw, SQLITE_STMTSTATUS_REPREPARE, 0);
}

bool lli_stmt_is_explained(const struct lli_stmt *stmt)
{
    return stmt->raw && stmt->inspected == LLI_INSPECTED_OWN && is_fresh(stmt);
}

const struct lli_program *lli_stmt_program(struct lli_stmtcache *cache, struct lli_stmt *stmt)
{
    static const struct lli_program unknown = {.why = LLI_NOT_EXPLAINED};
    /* Asked of each insert in a transaction; the text is looked through only when nothing is known. */
    bool known = lli_stmt_is_explained(stmt);
    if (!known && !explainable(cache, stmt))
        return &unknown;
    if (!known) {
        keep(stmt, explain(cache->db, cache->udfs, stmt->sql, stmt->entry.size), LLI_INSPECTED_OWN);
        if (stmt->cost && stmt->read_only && stmt->program.known && !stmt->program.temp &&
            !stmt->program.attached && !stmt->program.own)
            lli_cost_give_program(stmt->cost, &stmt->program);
    }
    return &stmt->program;
}

const struct lli_program *lli_stmt_program_of_write(struct lli_stmtcache *cache,
                                                    struct lli_stmt *stmt, uint32_t cookie)
{
    if (!lli_stmt_is_explained(stmt) || stmt->program.cookie != cookie)
        keep(stmt, explain(cache->db, cache->udfs, stmt->sql, stmt->entry.size), LLI_INSPECTED_OWN);
    return &stmt->program;
}

/* SQLite opens the TEMP database when somebody first creates or names something in it; until then it answers
 * every file control on it with an error. */
bool lli_has_temp(sqlite3 *db)
{
    unsigned version;
    return lli_sq.file_control(db, "temp", SQLITE_FCNTL_DATA_VERSION, &version) != SQLITE_ERROR;
}

const struct lli_program *lli_stmt_program_hint(struct lli_stmtcache *cache, struct lli_stmt *stmt,
                                                uint32_t cookie)
{
    if (!stmt->raw || !stmt->read_only)
        return lli_stmt_program(cache, stmt);
    if (is_fresh(stmt))
        return &stmt->program;
    struct lli_program program;
    if (!stmt->cost || lli_has_temp(cache->db) ||
        !lli_cost_take_program(stmt->cost, cookie, &program))
        return lli_stmt_program(cache, stmt);
    keep(stmt, program, LLI_INSPECTED_SHARED);
    return &stmt->program;
}

ll_status lli_schema_cookie(struct lli_stmtcache *cache, uint32_t *ret_cookie)
{
    static const char sql[] = "PRAGMA main.schema_version";
    struct lli_error error = {0};
    struct lli_stmt *stmt;
    ll_status status = lli_stmt_take(cache, sql, sizeof sql - 1, &stmt, &error);
    lli_error_done(&error);
    if (status != LL_OK)
        return status;
    int rc = lli_sq.step(stmt->raw);
    if (rc == SQLITE_ROW)
        *ret_cookie = (uint32_t)lli_sq.column_int(stmt->raw, 0);
    lli_stmt_give(cache, stmt);
    if (rc == SQLITE_ROW)
        return LL_OK;
    return (rc & 0xff) == SQLITE_BUSY  ? LL_EBUSY
         : (rc & 0xff) == SQLITE_NOMEM ? LL_ENOMEM
                                       : LL_ESQL;
}

bool lli_stmt_uses_vtab(struct lli_stmtcache *cache, struct lli_stmt *stmt)
{
    if (!stmt->read_only)
        return true;
    const struct lli_program *program = lli_stmt_program(cache, stmt);
    return !program->known || program->uses_vtab;
}
