/* store_sqlite.c: the same notes by calls of sqlite3 on the loop: the peer of store_looplite.c in the measurement.
 * One connection, prepared statements, the same settings; each call runs to its end before anything else
 * happens in the program. */
#include "store.h"

#include <looplite/sqlite.h> /* for sqlite3.h alone: nothing of looplite runs here */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    ROWS_AT_ONCE = 256
};

enum statement {
    GET,
    PUT,
    ADD,
    DELETE,
    SEARCH,
    BEGIN,
    COMMIT,
    ROLLBACK,
    STATEMENTS
};

static const char *const texts[STATEMENTS] = {
    [GET] = "SELECT id, changed, text FROM note WHERE id = ?1",
    [PUT] = ("INSERT INTO note(id, changed, text) VALUES(?1, ?2, ?3)"
             " ON CONFLICT(id) DO UPDATE SET changed = ?2, text = ?3"),
    [ADD] = "INSERT INTO note(changed, text) VALUES(?1, ?2)",
    [DELETE] = "DELETE FROM note WHERE id = ?1",
    [SEARCH] = "SELECT count(*) FROM note WHERE instr(text, ?1)",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
};

struct store {
    sqlite3 *db;
    sqlite3_stmt *stmts[STATEMENTS];
    unsigned long long statements;
};

const char *store_name(void)
{
    return "sqlite3 on the loop";
}

static void tell(store_op *op, int code)
{
    sqlite3 *db = op->store->db;
    if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
        op->result.code = STORE_BUSY;
    else if (code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE)
        op->result.code = STORE_FAILED;
    if (op->result.code == STORE_BUSY || op->result.code == STORE_FAILED)
        op->result.message = sqlite3_errmsg(db);
    store_result result = op->result;
    op->done(op, &result); /* `op` may be gone then */
}

static sqlite3_stmt *begin(store *self, store_op *op, enum statement which)
{
    op->store = self;
    op->cancelled = false;
    op->stmt = NULL;
    op->result = (store_result){0};
    self->statements++;
    return self->stmts[which];
}

static void note_of(sqlite3_stmt *stmt, store_note *ret_note)
{
    ret_note->id = sqlite3_column_int64(stmt, 0);
    ret_note->changed = sqlite3_column_int64(stmt, 1);
    ret_note->text = (const char *)sqlite3_column_text(stmt, 2);
    ret_note->size = (size_t)sqlite3_column_bytes(stmt, 2);
}

void store_get(store *self, store_op *op, int64_t id)
{
    sqlite3_stmt *stmt = begin(self, op, GET);
    sqlite3_bind_int64(stmt, 1, id);
    int code = sqlite3_step(stmt);
    op->result.code = code == SQLITE_ROW ? STORE_OK : STORE_NONE;
    if (code == SQLITE_ROW)
        note_of(stmt, &op->result.note);
    tell(op, code);
    sqlite3_reset(stmt);
}

/* A write: its statement is bound, it is a transaction of its own. */
static void write_now(store_op *op, sqlite3_stmt *stmt)
{
    int code = sqlite3_step(stmt);
    op->result.code = sqlite3_changes(op->store->db) > 0 ? STORE_OK : STORE_NONE;
    op->result.note.id = sqlite3_last_insert_rowid(op->store->db);
    int reset = sqlite3_reset(stmt);
    tell(op, code == SQLITE_DONE ? reset : code);
}

void store_put(store *self, store_op *op, int64_t id, const char *text, size_t size)
{
    sqlite3_stmt *stmt = begin(self, op, PUT);
    sqlite3_bind_int64(stmt, 1, id);
    sqlite3_bind_int64(stmt, 2, time(NULL));
    sqlite3_bind_text(stmt, 3, text, (int)size, SQLITE_STATIC);
    write_now(op, stmt);
}

void store_add(store *self, store_op *op, const char *text, size_t size)
{
    sqlite3_stmt *stmt = begin(self, op, ADD);
    sqlite3_bind_int64(stmt, 1, time(NULL));
    sqlite3_bind_text(stmt, 2, text, (int)size, SQLITE_STATIC);
    write_now(op, stmt);
}

void store_delete(store *self, store_op *op, int64_t id)
{
    sqlite3_stmt *stmt = begin(self, op, DELETE);
    sqlite3_bind_int64(stmt, 1, id);
    write_now(op, stmt);
}

void store_search(store *self, store_op *op, const char *text, size_t size)
{
    sqlite3_stmt *stmt = begin(self, op, SEARCH);
    sqlite3_bind_text(stmt, 1, text, (int)size, SQLITE_STATIC);
    int code = sqlite3_step(stmt);
    op->result.count = sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    tell(op, code);
}

static int simple(store *self, enum statement which)
{
    int code = sqlite3_step(self->stmts[which]);
    int reset = sqlite3_reset(self->stmts[which]);
    return code == SQLITE_DONE ? reset : code;
}

void store_import(store *self, store_op *op, const store_note *notes, size_t count)
{
    sqlite3_stmt *stmt = begin(self, op, ADD);
    int code = simple(self, BEGIN);
    if (code != SQLITE_OK) {
        tell(op, code);
        return;
    }
    sqlite3_bind_int64(stmt, 1, time(NULL));
    for (size_t i = 0; i < count && code == SQLITE_OK; i++) {
        sqlite3_bind_text(stmt, 2, notes[i].text, (int)notes[i].size, SQLITE_STATIC);
        sqlite3_step(stmt);
        code = sqlite3_reset(stmt);
    }
    if (code == SQLITE_OK)
        code = simple(self, COMMIT);
    if (code == SQLITE_OK) {
        op->result.count = (int64_t)count;
        tell(op, code);
        return;
    }
    store_result result = {.code = code == SQLITE_BUSY ? STORE_BUSY : STORE_FAILED,
                           .message = sqlite3_errstr(code)};
    simple(self, ROLLBACK);
    op->done(op, &result);
}

void store_scan(store *self, store_op *op)
{
    begin(self, op, GET);
    int code = sqlite3_prepare_v2(self->db, "SELECT id, changed, text FROM note", -1, &op->stmt,
                                  NULL);
    if (code != SQLITE_OK)
        tell(op, code);
    else
        store_more(op);
}

void store_more(store_op *op)
{
    int code = SQLITE_ROW;
    for (int i = 0; i < ROWS_AT_ONCE && (code = sqlite3_step(op->stmt)) == SQLITE_ROW; i++) {
        store_note note;
        note_of(op->stmt, &note);
        op->row(op, &note);
    }
    op->result.code = code == SQLITE_ROW ? STORE_OK : STORE_NONE;
    if (code != SQLITE_ROW) {
        sqlite3_finalize(op->stmt);
        op->stmt = NULL;
    }
    tell(op, code);
}

void store_cancel(store_op *op)
{
    /* Only a scan can be met between two of its parts. */
    sqlite3_finalize(op->stmt);
    op->stmt = NULL;
    op->done(op, &(store_result){.code = STORE_CANCELLED});
}

store *store_open(uv_loop_t *loop, const store_options *options, const char **ret_message)
{
    static char message[512];
    (void)loop;
    *ret_message = message;
    store *self = calloc(1, sizeof *self);
    if (!self) {
        snprintf(message, sizeof message, "out of memory");
        return NULL;
    }
    int code = sqlite3_open(options->path, &self->db);
    if (code == SQLITE_OK) {
        sqlite3_busy_timeout(self->db, (int)options->timeout_ms);
        code = sqlite3_exec(
            self->db,
            "PRAGMA journal_mode=WAL; PRAGMA cache_size=-65536;"
            "CREATE TABLE IF NOT EXISTS note(id INTEGER PRIMARY KEY, changed INTEGER NOT NULL,"
            " text TEXT NOT NULL)",
            NULL, NULL, NULL);
    }
    if (code == SQLITE_OK)
        code = sqlite3_exec(
            self->db, options->durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL",
            NULL, NULL, NULL);
    for (int i = 0; i < STATEMENTS && code == SQLITE_OK; i++)
        code = sqlite3_prepare_v3(self->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                  &self->stmts[i], NULL);
    if (code == SQLITE_OK)
        return self;
    snprintf(message, sizeof message, "%s", sqlite3_errmsg(self->db));
    store_free(self);
    return NULL;
}

void store_close(store *self, void (*closed)(void *user), void *user)
{
    (void)self;
    closed(user);
}

void store_free(store *self)
{
    if (!self)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(self->stmts[i]);
    sqlite3_close(self->db);
    free(self);
}

void store_stats(store *self, char *text, size_t size)
{
    snprintf(text, size, "\"statements\":%llu", self->statements);
}
