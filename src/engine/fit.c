/* fit.c: finding out what a connection is set to.
 *
 * A write that somebody else runs in one's place must do there what it would do here. What can make a difference:
 * the file; TEMP objects (a TEMP trigger fires for tables of "main"); attached files; functions, collations and hooks
 * of the program's own; and the settings below, read one by one. They change by PRAGMA, by calls of the C API, and
 * by what a program does with an adopted handle; all of that passes lli_facts_mind(), which forgets what is known
 * here. So a connection is looked at once, some 50 us on a worker, and compared by memcmp() from then on.
 *
 * `synchronous` is not compared: the strictest one of a batch is met. journal_mode is: in rollback mode it belongs to
 * the connection, and says what a crash may do. A setting that SQLite does not have reads as -1 everywhere.
 *
 * Nothing is asked under an authorizer or a trace callback, which would see it, nor inside a transaction, which an
 * error of ours could end. */
#include "engine/fit.h"

#include "base/alloc.h"
#include "db/inspect.h"
#include "db/vfs_shim.h"
#include "engine/conn.h"
#include "engine/facts.h"
#include "engine/resident.h"

#include <string.h>
#include <strings.h>

/* Their numbers, in this order; "locking_mode" and "journal_mode" are words. */
static const char questions[] =
    "PRAGMA foreign_keys;PRAGMA recursive_triggers;PRAGMA query_only;"
    "PRAGMA ignore_check_constraints;PRAGMA writable_schema;PRAGMA trusted_schema;"
    "PRAGMA count_changes;PRAGMA reverse_unordered_selects;PRAGMA short_column_names;"
    "PRAGMA full_column_names;PRAGMA defer_foreign_keys;PRAGMA cell_size_check;"
    "PRAGMA main.secure_delete;PRAGMA fullfsync;PRAGMA checkpoint_fullfsync;"
    "SELECT 'a' LIKE 'A';"; /* case_sensitive_like cannot be read */
enum {
    FOREIGN_KEYS = 0,
    DEFER_FOREIGN_KEYS = 10
};

/* Calls `see` for each row of each statement. A SQLite code. */
static int ask(ll_conn *conn, const char *sql,
               bool (*see)(void *arg, int number, sqlite3_stmt *row), void *arg)
{
    int rc = SQLITE_OK;
    for (int number = 0; rc == SQLITE_OK && *sql; number++) {
        sqlite3_stmt *stmt = NULL;
        rc = lli_sq.prepare_v3(conn->db.handle, sql, -1, 0, &stmt, &sql);
        if (rc != SQLITE_OK)
            return rc;
        while ((rc = lli_sq.step(stmt)) == SQLITE_ROW)
            if (!see(arg, number, stmt)) {
                rc = SQLITE_DONE;
                break;
            }
        lli_sq.finalize(stmt);
        rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
    }
    return rc;
}

static bool see_number(void *arg, int number, sqlite3_stmt *row)
{
    int *numbers = arg;
    if (number < LLI_PRINT_NUMBERS)
        numbers[number] = lli_sq.column_int(row, 0);
    return false;
}

static bool see_word(void *arg, int number, sqlite3_stmt *row)
{
    const char *word = (const char *)lli_sq.column_text(row, 0);
    (void)number;
    strncpy(arg, word ? word : "?", sizeof((struct lli_print *)NULL)->journal - 1);
    return false;
}

static bool see_attached(void *arg, int number, sqlite3_stmt *row)
{
    bool *attached = arg;
    (void)number;
    *attached = *attached || lli_sq.column_int(row, 0) >= 2;
    return true;
}

static bool see_any(void *arg, int number, sqlite3_stmt *row)
{
    (void)number;
    (void)row;
    *(bool *)arg = true;
    return false;
}

struct functions {
    bool listed, own, tally;
};

static bool see_function(void *arg, int number, sqlite3_stmt *row)
{
    struct functions *functions = arg;
    const char *name = (const char *)lli_sq.column_text(row, 0);
    (void)number;
    functions->listed = true;
    bool ours = functions->tally && name &&
                (strcasecmp(name, "changes") == 0 || strcasecmp(name, "total_changes") == 0);
    if (!ours && lli_sq.column_int(row, 1) == 0)
        functions->own = true;
    return true;
}

/* Whether nobody has registered a function. On a handle of ours only ll_function_create() can, or what is told of. */
static int learn_functions(ll_conn *conn)
{
    struct functions functions = {.tally = conn->tally != NULL};
    if (!conn->db.adopted) {
        conn->fit.clean = !lli_udf_any(&conn->db.udfs);
        return SQLITE_OK;
    }
    int rc = ask(conn, "PRAGMA function_list;", see_function, &functions);
    conn->fit.clean = functions.listed && !functions.own;
    return rc;
}

static void learn_settings(ll_conn *conn, struct lli_print *print)
{
    /* What the PRAGMAs above do not tell. */
    static const int settings[] = {SQLITE_DBCONFIG_ENABLE_TRIGGER, SQLITE_DBCONFIG_ENABLE_VIEW,
                                   SQLITE_DBCONFIG_DEFENSIVE, SQLITE_DBCONFIG_DQS_DML};
    int bits = 0;
    for (size_t i = 0; i < LLI_COUNT(settings); i++) {
        int on = 0;
        if (lli_sq.db_config(conn->db.handle, settings[i], -1, &on) == SQLITE_OK && on)
            bits |= 1 << i;
    }
    print->numbers[DEFER_FOREIGN_KEYS] = bits; /* which is 0 where it matters, see below */
    for (int i = 0; i < LLI_PRINT_LIMITS; i++)
        print->limits[i] = lli_sq.limit(conn->db.handle, i, -1);
}

/* Asks. *ret_unfit: why it cannot be. A SQLite code. */
static int look(ll_conn *conn, const char **ret_unfit)
{
    struct lli_fit *fit = &conn->fit;
    struct lli_print *print = &fit->print;
    char locking[sizeof print->journal] = "";
    bool attached = false, temp = false;
    memset(print, 0, sizeof *print);
    memset(print->numbers, 0xff, sizeof print->numbers);
    if (conn->turns.count > 0)
        *ret_unfit = "it shares its cache";
    else if (conn->seat.count != 1)
        *ret_unfit = "it has no file, or several";
    if (*ret_unfit)
        return SQLITE_OK;
    print->gate = conn->seat.places[0].gate;
    int rc = ask(conn, "PRAGMA database_list;", see_attached, &attached);
    if (rc == SQLITE_OK && lli_has_temp(conn->db.handle))
        rc = ask(conn, "SELECT 1 FROM temp.sqlite_master LIMIT 1;", see_any, &temp);
    if (rc == SQLITE_OK)
        rc = ask(conn, questions, see_number, print->numbers);
    if (rc == SQLITE_OK)
        rc = ask(conn, "PRAGMA main.synchronous;", see_number, &fit->synchronous);
    if (rc == SQLITE_OK)
        rc = ask(conn, "PRAGMA main.journal_mode;", see_word, print->journal);
    if (rc == SQLITE_OK)
        rc = ask(conn, "PRAGMA main.locking_mode;", see_word, locking);
    if (rc == SQLITE_OK)
        rc = learn_functions(conn);
    if (rc != SQLITE_OK)
        return rc;
    fit->foreign_keys = print->numbers[FOREIGN_KEYS] == 1;
    if (attached)
        *ret_unfit = "other databases are attached";
    else if (temp)
        *ret_unfit = "it has TEMP objects";
    else if (strcasecmp(locking, "normal") != 0)
        *ret_unfit = "it keeps its locks";
    else if (print->numbers[DEFER_FOREIGN_KEYS] != 0)
        *ret_unfit = "its foreign keys are deferred";
    learn_settings(conn, print);
    return SQLITE_OK;
}

void lli_fit_learn(ll_conn *conn)
{
    struct lli_fit *fit = &conn->fit;
    if (fit->known)
        return;
    fit->unfit = "nothing is known of it";
    if (lli_own_has(conn, ~(unsigned)LL_OWN_TOLD) || lli_db_in_transaction(&conn->db))
        return;
    if (conn->facts_stale || (conn->db.adopted && conn->file_key == 0))
        lli_facts_learn(conn); /* which file it has */
    lli_guard_arm(&conn->db.guard);
    conn->db.guard.stop = NULL; /* these statements belong to no request */
    conn->db.guard.deadline_ns = LLI_NEVER;
    const char *unfit = NULL;
    int rc = look(conn, &unfit);
    if (rc == SQLITE_OK && !unfit)
        rc = lli_tally_install(conn);
    fit->known = rc == SQLITE_OK; /* else it was locked, or there was no memory: another time */
    if (fit->known)
        fit->unfit = unfit;
}

/* Statements of the program's own, on a handle that is not ours. */
static bool has_live_statement(ll_conn *conn)
{
    sqlite3_stmt *stmt = NULL;
    while ((stmt = lli_sq.next_stmt(conn->db.handle, stmt)) != NULL)
        if (lli_sq.stmt_busy(stmt))
            return true;
    return false;
}

bool lli_fit_is_free(ll_conn *conn)
{
    return conn->fit.known && !conn->fit.unfit && !lli_own_has(conn, ~(unsigned)LL_OWN_TOLD) &&
           conn->busy_timeout_ns > 0 && conn->stream_count == 0 && !lli_resident_any(conn) &&
           !lli_db_in_transaction(&conn->db) && !(conn->db.adopted && has_live_statement(conn));
}
