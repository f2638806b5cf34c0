/* store.h: the notes, as the application sees them: a table of texts by number. There are two stores behind it:
 * store_looplite.c asks looplite, store_sqlite.c calls sqlite3 on the loop, as servers do that do not know
 * better. The program is linked with one of them; nothing else differs.
 *
 * An operation lives in memory of the caller, from its start to its `done`, which is called exactly once and may
 * be called before the function that started it returns. A scan calls `row` and `done` in turns: see
 * store_scan(). */
#ifndef HTTPD_STORE_H
#define HTTPD_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

typedef struct store store;
typedef struct store_op store_op;

typedef struct store_options {
    const char *path;
    unsigned connections;
    bool durable; /* a commit is on the disk when it is answered: synchronous=FULL, else NORMAL */
    uint64_t timeout_ms; /* for one operation, but for a scan */
} store_options;

typedef enum store_code {
    STORE_OK,
    STORE_NONE, /* no such note; the end of a scan */
    STORE_BUSY, /* try again later */
    STORE_CANCELLED,
    STORE_FAILED
} store_code;

typedef struct store_note {
    int64_t id, changed; /* seconds since 1970 */
    const char *text;    /* UTF-8; lives until the function that is told returns */
    size_t size;
} store_note;

typedef struct store_result {
    store_code code;
    store_note note;     /* of store_get(); the id of store_add() */
    int64_t count;       /* of store_search(), store_import() */
    const char *message; /* when it failed */
} store_result;

typedef void (*store_done_fn)(store_op *op, const store_result *result);
typedef void (*store_row_fn)(store_op *op, const store_note *note);

/* The caller sets the first three members. */
struct store_op {
    store_done_fn done;
    store_row_fn row; /* of store_scan() */
    void *user;
    /* the store's */
    store *store;
    bool cancelled;
    bool owed; /* a callback will come */
    int step;
    struct ll_request *request;
    struct ll_lease *lease;
    struct ll_cursor *cursor;
    struct sqlite3_stmt *stmt;
    const store_note *notes; /* of store_import(): the caller's, until it is done */
    size_t count;
    store_result result;
};

/* Opens, before the loop runs, and makes the table. NULL: *ret_message says why. */
store *store_open(uv_loop_t *loop, const store_options *options, const char **ret_message);
/* Closes; calls back when no operation is left and everything is closed. */
void store_close(store *self, void (*closed)(void *user), void *user);
/* Gives back what is left, after `closed` and the end of the loop. */
void store_free(store *self);
const char *store_name(void);
/* What it has done, as JSON members. */
void store_stats(store *self, char *text, size_t size);

void store_get(store *self, store_op *op, int64_t id);
void store_put(store *self, store_op *op, int64_t id, const char *text, size_t size);
void store_add(store *self, store_op *op, const char *text, size_t size);
void store_delete(store *self, store_op *op, int64_t id);
/* How many notes have a text in them: reads all of them. */
void store_search(store *self, store_op *op, const char *text, size_t size);
/* Adds all these notes, or none. The texts stay the caller's and as they are until it is done. */
void store_import(store *self, store_op *op, const store_note *notes, size_t count);

/* All notes, some at a time: `row` for each of them, then `done` with STORE_OK. The next some are given after
 * store_more(); `done` with anything else is the end. */
void store_scan(store *self, store_op *op);
void store_more(store_op *op);

/* Ends an operation early: what has not begun will not, a read stops, a transaction that is not committed yet is
 * rolled back. `done` comes all the same, with STORE_CANCELLED or with what was faster. */
void store_cancel(store_op *op);

#endif
