/* acursor.h: cursors: the rows of a statement. */
#ifndef LP_ACURSOR_H
#define LP_ACURSOR_H

#include "aconn.h"
#include "awaitable.h"
#include "decode.h"

enum {
    LP_FEW_BATCHES = 4
};

typedef struct lp_cursor {
    PyObject_HEAD
    /* fixed after __init__ */
    lp_state *st;
    lp_conn *conn; /* owned */

    PyObject *foreign; /* generic: the DB-API cursor that does it all; or NULL */
    Py_ssize_t chunk;  /* iter_chunk_size of the connection */

    /* GIL */
    PyObject *dict, *weakrefs;
    PyObject *row_factory; /* None: tuples */
    PyObject *description; /* made when first asked for; NULL before */
    PyObject *direct;      /* a sqlite3.Cursor for whoever reaches for one; NULL before */
    PyObject *shape;       /* what the row factory gets; NULL before */
    PyObject
        *converters; /* of the columns; None: none has one; NULL before, and with detect_types 0 */
    PyObject *types; /* type adapters of statements to come (typed.h); NULL: none */
    PyObject *used;  /* those of the statement whose rows these are; NULL: none */
    struct lp_plan *plan; /* of its columns, by `used`; NULL before */
    int64_t rowcount;
    int64_t rowid;  /* what lastrowid shows, if has_rowid */
    bool has_rowid; /* a statement was executed */
    Py_ssize_t arraysize;
    ll_columns *columns; /* of the rows below; NULL: no rows */
    ll_cursor *rest;     /* goes on where the batches end; NULL: they are all there is */
    ll_arrow_tap *tap;   /* the rest was given away to Arrow; NULL: it was not */
    ll_batch **batches;  /* `few` or of the heap: [first, first + count) */
    size_t first, count, room;
    size_t row;               /* next row of the first batch */
    const lp_call *executing; /* the call whose statement fills this cursor; NULL: none */
    lp_call *asking;          /* the fetch that waits for the next batch; NULL: none */
    lp_call *waiting;         /* fetches behind it, on the same loop; owned, linked by `behind` */
    uint64_t generation;      /* counts statements: a fetch knows which one it is of */
    bool busy;   /* rows are made, or parameters converted: Python code may run in there */
    bool broken; /* the statement was interrupted in the middle */
    bool closed;
    ll_batch *few[LP_FEW_BATCHES];
} lp_cursor;

/* A cursor of an open connection, with its row factory; a new reference. */
lp_cursor *lp_cursor_new(lp_conn *conn);

/* Ends the statement and forgets its rows. */
void lp_cursor_reset(lp_cursor *cursor);

/* Drops the rows, as if they had been fetched. */
void lp_cursor_drop_rows(lp_cursor *cursor);

/* arrow.c: a capsule "arrow_array_stream" of the rows that are left, which the cursor then has not. */
PyObject *lp_arrow_of_cursor(lp_cursor *cursor);

/* Takes the rows out of a finished request: its columns, batches and what goes on after them. */
void lp_cursor_take(lp_cursor *cursor, ll_request *request);

/* The attribute; a new reference. */
PyObject *lp_cursor_lastrowid(const lp_cursor *cursor);

/* 0 when calls may be made on it; else -1 and the exception. */
int lp_cursor_need(const lp_cursor *cursor);

/* fetch.c: goes on fetching into call->result, a list, until it has call->limit rows (0: all). Slices:
 * may say LP_YIELD. */
lp_step lp_fetch_all(lp_call *call, lp_cursor *cursor);

/* fetch.c: call->cancelled of every call that fetches. */
void lp_fetch_forget(lp_call *call, lp_cursor *cursor);

/* fetch.c: call->record of every call that fetches from its cursor by lp_fetch_all(). */
void lp_fetch_record(lp_call *call, lp_cursor *cursor);

/* fetch.c: the calls. */
extern const lp_op lp_op_fetchone, lp_op_fetchmany, lp_op_fetchall;

/* fetch.c: what `async for` goes through; a new reference. */
PyObject *lp_rows_new(lp_cursor *cursor);
int lp_rows_init(PyObject *module, lp_state *st);

/* execute.c: the calls that run SQL; their owner is a Connection or a Cursor. */
extern const lp_op lp_op_execute, lp_op_executemany, lp_op_executescript, lp_op_execute_insert,
    lp_op_execute_fetchall, lp_op_cursor;

/* execute.c: the same under the names of the Cursor. */
extern const lp_op lp_op_cursor_execute, lp_op_cursor_executemany, lp_op_cursor_executescript;

#endif
