/* closed.c: what a call is told that comes behind a close().
 *
 * aiosqlite tells two things apart. What is called while a close() is under way runs behind it on its thread, and gets
 * sqlite3's ProgrammingError("Cannot operate on a closed database."). What is called after that gets a ValueError.
 * A close() of ours that finishes inside its call is never under way for long enough to be met; yet tasks that the loop
 * runs in the same turn began, as they see it, at the same time, and are written for the first of the two.
 *
 * So a connection remembers the turn it was closed in, and the task that closed it: for that one the close() is over,
 * for every other one it is under way until the loop comes round. The turn is posted (loop.c), or it would not end. A call
 * of that turn does not give way when the turn's time is spent: it would begin in the next one, and be told the other thing. */
#include "closed.h"

#include "acursor.h"
#include "errors.h"

/* The asyncio task that runs, by its address; 0: none, or another kind of loop. */
static uintptr_t this_task(lp_state *st)
{
    PyObject *task = PyObject_CallNoArgs(st->current_task);
    uintptr_t found = task && task != Py_None ? (uintptr_t)task : 0;
    PyErr_Clear();
    Py_XDECREF(task);
    return found;
}

void lp_closed_note(lp_conn *conn, lp_loop *loop)
{
    conn->closed_by = this_task(conn->st);
    if (!conn->closed_by)
        return;
    if (lp_loop_turn_end(loop) >= 0)
        conn->closed_turn = loop->turn;
    PyErr_Clear(); /* the loop is closing: nobody is left to be told */
}

bool lp_closed_under_way(const lp_conn *conn)
{
    if (conn->phase == LP_CONN_CLOSING)
        return true;
    if (conn->phase != LP_CONN_CLOSED || conn->closed_turn == 0)
        return false;
    lp_loop *loop = lp_loop_running(conn->st);
    bool now = loop && loop->turn_end && loop->turn == conn->closed_turn &&
               this_task(conn->st) != conn->closed_by;
    Py_XDECREF((PyObject *)loop);
    PyErr_Clear();
    return now;
}

bool lp_closed_before(const lp_call *call)
{
    const lp_state *st = call->st;
    const lp_conn *conn = NULL;
    if (PyObject_TypeCheck(call->owner, st->conn_type))
        conn = (const lp_conn *)call->owner;
    else if (PyObject_TypeCheck(call->owner, st->cursor_type))
        conn = ((const lp_cursor *)call->owner)->conn;
    return conn && lp_closed_under_way(conn);
}
