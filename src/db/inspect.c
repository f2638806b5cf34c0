/* inspect.c: reading a program by EXPLAIN.
 *
 * An interrupted read leaves its transaction alone, with one exception that an experiment found: reading
 * an R*Tree inside a transaction, interrupted, ends the transaction. So a read that opens a virtual table
 * inside a transaction is not interrupted, and one has to know which those are: their programs have a
 * VOpen instruction. EXPLAIN costs some 20 us, once per prepared statement, and is only asked when a
 * read runs inside a transaction. */
#include "db/inspect.h"

#include "base/alloc.h"
#include "db/api.h"

#include <limits.h>
#include <string.h>

enum {
    OPCODE_COLUMN = 1
};

static bool explain_finds_vtab(sqlite3 *db, const char *sql, size_t size)
{
    static const char prefix[] = "EXPLAIN ";
    if (size > INT_MAX - sizeof prefix)
        return true;
    char *text = lli_resize(NULL, sizeof prefix + size);
    if (!text)
        return true;
    memcpy(text, prefix, sizeof prefix - 1);
    memcpy(text + sizeof prefix - 1, sql, size);
    text[sizeof prefix - 1 + size] = '\0';
    sqlite3_stmt *explain = NULL;
    bool found = true;
    if (lli_sq.prepare_v3(db, text, -1, 0, &explain, NULL) == SQLITE_OK && explain) {
        int rc;
        found = false;
        while ((rc = lli_sq.step(explain)) == SQLITE_ROW) {
            const unsigned char *opcode = lli_sq.column_text(explain, OPCODE_COLUMN);
            if (!opcode || strcmp((const char *)opcode, "VOpen") == 0)
                found = true;
        }
        if (rc != SQLITE_DONE)
            found = true;
    }
    lli_sq.finalize(explain);
    lli_free(text);
    return found;
}

bool lli_stmt_uses_vtab(struct lli_stmtcache *cache, struct lli_stmt *stmt)
{
    if (!stmt->inspected) {
        stmt->uses_vtab = explain_finds_vtab(cache->db, stmt->sql, stmt->entry.size);
        stmt->inspected = true;
    }
    return stmt->uses_vtab;
}
