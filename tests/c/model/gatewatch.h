/* gatewatch.h: looks at the lines in front of the gates after each move of a schedule.
 *
 * Checked are
 *   - a line keeps its order: nobody passes another one, and who comes stands at its end. Only whoever made the
 *     move may have left, or have come again at the end;
 *   - who holds a gate is the first in its line, in each of its lines; so two never hold one gate;
 *   - nobody waits longer than it may: its timer is due by the end of its busy timeout and its deadline;
 *   - nobody is forgotten: who is the first everywhere and is parked waits for another process or for the end of
 *     a gap, which is some milliseconds off. */
#ifndef T_MODEL_GATEWATCH_H
#define T_MODEL_GATEWATCH_H

#include "support/support.h"

#include "engine/conn.h"
#include "platform/clock.h"

enum {
    WATCH_MOST = 8,  /* connections */
    WATCH_FILES = 3, /* gates of one connection, at most */
    WATCH_LINES = 8  /* gates */
};

struct gatewatch {
    ll_conn *const *conns;
    size_t count;
    struct watch_line {
        const struct lli_gate *gate; /* NULL: none */
        size_t conns[WATCH_MOST], length;
    } lines[WATCH_LINES];
    size_t waited, gaps, both; /* what was seen: waiting at all, in a gap, for two files */
};

/* Whose place this is; false: nobody's, it is the head of the list. */
static inline bool watch_owner(const struct gatewatch *watch, const struct lli_node *node,
                               size_t *ret_conn)
{
    for (size_t c = 0; c < watch->count; c++)
        for (size_t i = 0; i < watch->conns[c]->seat.count; i++)
            if (&watch->conns[c]->seat.places[i].node == node) {
                *ret_conn = c;
                return true;
            }
    return false;
}

/* The line that this place stands in, from its beginning. */
static inline struct watch_line watch_line_of(const struct gatewatch *watch,
                                              const struct lli_gate_place *place)
{
    struct watch_line line = {.gate = place->gate};
    size_t conn;
    const struct lli_node *node = &place->node;
    while (watch_owner(watch, node->prev, &conn))
        node = node->prev;
    for (; watch_owner(watch, node, &conn); node = node->next) {
        T_CHECK(line.length < WATCH_MOST);
        line.conns[line.length++] = conn;
    }
    return line;
}

static inline void watch_put(struct watch_line *lines, const struct watch_line *line)
{
    size_t i = 0;
    while (lines[i].gate && lines[i].gate != line->gate)
        T_CHECK(++i < WATCH_LINES);
    lines[i] = *line;
}

/* The line without `mover`; *ret_at: how many stand before it, or -1. */
static inline struct watch_line watch_others(const struct watch_line *line, size_t mover,
                                             int *ret_at)
{
    struct watch_line others = {.gate = line->gate};
    *ret_at = -1;
    for (size_t i = 0; i < line->length; i++)
        if (line->conns[i] == mover)
            *ret_at = (int)others.length;
        else
            others.conns[others.length++] = line->conns[i];
    return others;
}

static inline void watch_same_order(const struct watch_line *before, const struct watch_line *now,
                                    size_t mover)
{
    int stood, stands;
    struct watch_line old = watch_others(before, mover, &stood);
    struct watch_line new = watch_others(now, mover, &stands);
    T_EQUAL(new.length, old.length);
    for (size_t i = 0; i < old.length; i++)
        if (old.conns[i] != new.conns[i])
            t_fail(__FILE__, __LINE__, "connection %zu has passed %zu in a line", new.conns[i],
                   old.conns[i]);
    T_CHECK(stands < 0 || stands == stood || stands == (int)new.length);
}

static inline void watch_parked(struct gatewatch *watch, ll_conn *conn)
{
    const struct lli_gate_seat *seat = &conn->seat;
    uint64_t now = lli_now_ns();
    struct lli_node *node = lli_list_first(&conn->queue);
    T_CHECK(node && lli_timer_armed(&conn->park));
    const ll_request *request = LLI_CONTAINER_OF(node, ll_request, queue_node);
    T_CHECK(conn->park.due_ns <= request->busy_until_ns);
    if (!(request->flags & LL_SUBMIT_SHIELD))
        T_CHECK(conn->park.due_ns <= request->deadline_ns);
    if (!seat->asked)
        return;
    bool first = true;
    for (size_t i = 0; i < seat->count; i++) {
        size_t ahead;
        first = first && !watch_owner(watch, seat->places[i].node.prev, &ahead);
    }
    watch->waited++;
    watch->both += !first && seat->count > 1;
    if (!first)
        return;
    if (!seat->holds)
        watch->gaps++;
    T_CHECK(conn->park.due_ns <= now + (seat->holds ? 5 : 6) * LLI_MS);
}

/* `mover`: which connection ran a request in this move; `count`: none; SIZE_MAX: some, nobody knows which. */
static inline void watch_look(struct gatewatch *watch, size_t mover)
{
    struct watch_line lines[WATCH_LINES] = {{0}};
    for (size_t c = 0; c < watch->count; c++) {
        ll_conn *conn = watch->conns[c];
        const struct lli_gate_seat *seat = &conn->seat;
        T_CHECK(!seat->holds || seat->asked);
        for (size_t i = 0; seat->asked && i < seat->count; i++) {
            struct watch_line line = watch_line_of(watch, &seat->places[i]);
            T_CHECK(!seat->holds || line.conns[0] == c);
            watch_put(lines, &line);
        }
        if (conn->mode == LLI_CONN_PARKED)
            watch_parked(watch, conn);
    }
    static const struct watch_line nobody;
    for (size_t i = 0; mover != SIZE_MAX && i < WATCH_LINES; i++) {
        const struct watch_line *before = &watch->lines[i];
        const struct watch_line *now = &nobody;
        for (size_t j = 0; j < WATCH_LINES; j++)
            if (before->gate && lines[j].gate == before->gate)
                now = &lines[j];
        if (before->gate)
            watch_same_order(before, now, mover);
    }
    memcpy(watch->lines, lines, sizeof lines);
}

#endif
