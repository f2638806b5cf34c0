/* sqlerror.c: one place that turns a SQLite result into an error of ours.
 *
 * The message and the extended code are SQLite's own, unchanged, for programs compare them. Only the
 * status is added. SQLITE_LOCKED is not LL_EBUSY: it is a conflict inside one connection, which waiting does
 * not end, or inside a shared cache, where the engine has waited before it is told. */
#include "db/sqlerror.h"

#include "db/api.h"

ll_status lli_sql_status(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return LL_OK;
    case SQLITE_NOMEM:
        return LL_ENOMEM;
    case SQLITE_BUSY:
        return LL_EBUSY;
    default:
        return LL_ESQL;
    }
}

void lli_error_from_sqlite(struct lli_error *error, sqlite3 *db, int code)
{
    if (error->pub.status < 0)
        return;
    int extended = db ? lli_sq.extended_errcode(db) : code;
    if ((extended & 0xff) != (code & 0xff))
        extended = code; /* the handle has gone on to something else */
    const char *text = db && extended != SQLITE_NOMEM && lli_sq.extended_errcode(db) == extended
                         ? lli_sq.errmsg(db)
                         : lli_sq.errstr(code);
    lli_error_set(error, lli_sql_status(code), "%s", text ? text : "unknown error");
    error->pub.sqlite_code = extended;
    if (db && lli_sq.error_offset && lli_sq.extended_errcode(db) == extended)
        error->pub.sql_offset = lli_sq.error_offset(db);
}
