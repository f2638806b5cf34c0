/* idle.h: whether an event loop has nothing to do but wait. */
#ifndef LP_IDLE_H
#define LP_IDLE_H

#include "loop.h"

/* What would end the wait of a loop that has nothing to do. */
struct lp_idle {
    int fd;           /* readable: the loop has something to do */
    int64_t until_ns; /* lp_now_ns() time of its first timer; INT64_MAX: there is none */
};

/* Whether the loop, whose thread this is, would wait if its running callback returned now. False also when that
 * cannot be seen. Never fails. */
bool lp_idle_look(lp_loop *loop, struct lp_idle *ret_idle);
/* Whether it has something to do by now. Needs no GIL. */
bool lp_idle_is_over(const struct lp_idle *idle);

#endif
