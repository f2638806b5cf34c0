/* load_look.c: what lies in a file that a load has written to, against its account. */
#include "support/load.h"

static char wrong[512];

static const char *complain(sqlite3 *db, const char *what)
{
    snprintf(wrong, sizeof wrong, "%s: %s", what, db ? sqlite3_errmsg(db) : "");
    return wrong;
}

static const char *look(sqlite3 *db, size_t ops, unsigned char *found)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL);
    if (rc != SQLITE_OK || sqlite3_step(stmt) != SQLITE_ROW)
        rc = SQLITE_ERROR;
    else if (strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") != 0) {
        snprintf(wrong, sizeof wrong, "integrity_check: %s", sqlite3_column_text(stmt, 0));
        sqlite3_finalize(stmt);
        return wrong;
    }
    sqlite3_finalize(stmt);
    if (rc != SQLITE_OK ||
        sqlite3_prepare_v2(db,
                           "SELECT op, count(*), max(parts), min(parts), max(part) FROM item"
                           " GROUP BY op",
                           -1, &stmt, NULL) != SQLITE_OK)
        return complain(db, "cannot read it");
    const char *said = NULL;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW && !said) {
        int64_t op = sqlite3_column_int64(stmt, 0), count = sqlite3_column_int64(stmt, 1);
        if (op < 0 || (size_t)op >= ops)
            said = "an op that nobody has asked for";
        else if (count != sqlite3_column_int64(stmt, 2) || count != sqlite3_column_int64(stmt, 3) ||
                 count != sqlite3_column_int64(stmt, 4) + 1)
            said = "an op is there in part";
        else
            found[op] = T_LOAD_WHOLE;
        if (said) {
            snprintf(wrong, sizeof wrong, "%s: %lld", said, (long long)op);
            said = wrong;
        }
    }
    sqlite3_finalize(stmt);
    if (said)
        return said;
    if (rc != SQLITE_DONE)
        return complain(db, "cannot read its items");
    if (sqlite3_prepare_v2(
            db,
            "SELECT count(*) FROM tally t WHERE parts <> (SELECT count(*) FROM item i"
            " WHERE i.client = t.client) OR ops <> (SELECT count(DISTINCT op) FROM"
            " item i WHERE i.client = t.client)",
            -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW)
        said = complain(db, "cannot read its tally");
    else if (sqlite3_column_int(stmt, 0) != 0)
        said = "the tally is not that of the items: something happened twice, or in part";
    sqlite3_finalize(stmt);
    return said;
}

const char *t_load_look(const char *path, size_t ops, unsigned char *found)
{
    sqlite3 *db = NULL;
    memset(found, T_LOAD_ABSENT, ops);
    int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL);
    const char *said = rc == SQLITE_OK ? look(db, ops, found) : complain(db, "cannot open it");
    sqlite3_close(db);
    return said;
}

const char *t_load_compare(const struct t_load_op *ops, size_t count, const unsigned char *found,
                           size_t at, bool durable, size_t *ret_missing)
{
    size_t last_asked = 0, missing = 0; /* when the last one that is there was asked for */
    bool any = false;
    for (size_t i = 0; i < count; i++)
        if (found[i] == T_LOAD_WHOLE && (!any || ops[i].asked_at > last_asked)) {
            any = true;
            last_asked = ops[i].asked_at;
        }
    const char *said = NULL;
    for (size_t i = 0; i < count && !said; i++) {
        const struct t_load_op *op = &ops[i];
        bool there = found[i] == T_LOAD_WHOLE;
        if (there && op->told && op->outcome == LL_NOT_APPLIED)
            said = "it was told not to be applied, and is there";
        if (there && op->asked_at >= at)
            said = "it is there before it was asked for";
        if (!there && op->told && op->outcome == LL_APPLIED && op->told_at <= at) {
            missing++;
            if (durable)
                said = "it was told to be applied, and is missing";
            else if (any && op->told_at < last_asked)
                said = "it is missing, and one that was asked for later is there";
        }
        if (said) {
            snprintf(wrong, sizeof wrong,
                     "op %zu (%s of client %u, asked at %zu, told at %zu: %s, %d): %s", i,
                     op->how ? op->how : "", op->client, op->asked_at, op->told_at,
                     ll_status_name(op->status), op->sqlite_code, said);
            return wrong;
        }
    }
    *ret_missing = missing;
    return NULL;
}
