/* tally.c: changes() and total_changes() of a connection whose writes another one has done.
 *
 * last_insert_rowid() can be set (sqlite3_set_last_insert_rowid()), what these two answer cannot: SQLite counts only
 * what the connection itself runs. Of the two ways out - functions of our own under these names, or statements that
 * ask for them sent to whoever has written - the second one does not work: the writer has written for others since.
 * So they are replaced, once per connection, when it is first found fit for being written for.
 *
 * Ours gives the number of the last statement that was run elsewhere, until the connection changes rows itself.
 * Whoever runs a statement that writes says so (lli_tally_forget()); inside scripts and the program's own calls
 * nobody does, so what SQLite counts is compared with what it was, too.
 *
 * They replace what may be cheap (opcodes.c) by what is cheap, so a read that calls them still runs on the loop. What
 * cannot be corrected is sqlite3_changes() and sqlite3_total_changes() in C.
 *
 * Replacing a function makes SQLite prepare every statement of the connection again: once, and only if some were
 * prepared before. It cannot be undone - a name whose replacement is deleted is gone, SQLite's own does not come
 * back - so both stay with an adopted handle when it is given back, and then answer as SQLite's. The counts
 * therefore lie apart from the connection, with three references: its own and one of each function. SQLite holds its
 * mutex of the connection when it drops one, and no one else does then. */
#include "base/alloc.h"
#include "engine/conn.h"
#include "engine/fit.h"

struct lli_tally {
    unsigned refs;
    bool elsewhere; /* the last statement that changed rows was run elsewhere ... */
    int64_t changes, total;
    int64_t own_changes, own_total; /* ... when SQLite counted this */
};

static void unref(void *arg)
{
    struct lli_tally *tally = arg;
    if (--tally->refs == 0)
        lli_free(tally);
}

static int64_t own_changes(sqlite3 *db)
{
    return lli_sq.changes64 ? lli_sq.changes64(db) : lli_sq.changes(db);
}

static int64_t own_total(sqlite3 *db)
{
    return lli_sq.total_changes64 ? lli_sq.total_changes64(db) : lli_sq.total_changes(db);
}

static void sql_changes(sqlite3_context *context, int count, sqlite3_value **values)
{
    const struct lli_tally *tally = lli_sq.user_data(context);
    sqlite3 *db = lli_sq.context_db_handle(context);
    int64_t own = own_changes(db);
    (void)count;
    (void)values;
    bool elsewhere = tally->elsewhere && own == tally->own_changes &&
                     own_total(db) == tally->own_total;
    lli_sq.result_int64(context, elsewhere ? tally->changes : own);
}

static void sql_total(sqlite3_context *context, int count, sqlite3_value **values)
{
    const struct lli_tally *tally = lli_sq.user_data(context);
    (void)count;
    (void)values;
    lli_sq.result_int64(context, own_total(lli_sq.context_db_handle(context)) + tally->total);
}

int lli_tally_install(ll_conn *conn)
{
    if (conn->tally)
        return SQLITE_OK;
    struct lli_tally *tally = lli_new(sizeof *tally);
    if (!tally)
        return SQLITE_NOMEM;
    tally->refs = 3;
    const int flags = SQLITE_UTF8 | SQLITE_INNOCUOUS;
    /* One that cannot be registered is destroyed at once. */
    int rc = lli_sq.create_function_v2(conn->db.handle, "changes", 0, flags, tally, sql_changes,
                                       NULL, NULL, unref);
    if (rc == SQLITE_OK) {
        rc = lli_sq.create_function_v2(conn->db.handle, "total_changes", 0, flags, tally, sql_total,
                                       NULL, NULL, unref);
    } else {
        unref(tally);
    }
    if (rc == SQLITE_OK)
        conn->tally = tally;
    else
        unref(tally);
    return rc;
}

void lli_tally_note(ll_conn *conn, int64_t changes, int64_t total)
{
    struct lli_tally *tally = conn->tally;
    if (!tally)
        return;
    tally->elsewhere = true;
    tally->changes = changes;
    tally->total += total;
    tally->own_changes = own_changes(conn->db.handle);
    tally->own_total = own_total(conn->db.handle);
}

void lli_tally_forget(ll_conn *conn)
{
    if (conn->tally)
        conn->tally->elsewhere = false;
}

int64_t lli_tally_total(const ll_conn *conn)
{
    return conn->tally ? conn->tally->total : 0;
}

void lli_tally_leave(ll_conn *conn)
{
    if (conn->tally)
        unref(conn->tally);
    conn->tally = NULL;
}
