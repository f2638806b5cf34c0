/* looplite_event.h: an engine on a libevent loop.
 *
 * Header only; it uses looplite's public header and libevent's, nothing else (libevent_core is enough to
 * link with). An engine is one descriptor that becomes readable and one function to call then: here a
 * persistent event watches the descriptor, and its callback dispatches.
 *
 *     ll_event *bridge;
 *     ll_status status = ll_event_attach(base, engine, NULL, NULL, &bridge);
 *     ...
 *     event_base_dispatch(base);          // callbacks of looplite run from here
 *     ...
 *     ll_event_detach(bridge);            // then the loop can end
 *     ll_engine_free(engine);
 *
 * event_base_dispatch() goes on until the bridge is detached, as with every event that is pending.
 *
 * All functions belong to the loop's thread. Detach before the engine and before the event_base are
 * freed, and never inside a callback of looplite free the engine: that is refused by the engine itself. */
#ifndef LOOPLITE_EVENT_H
#define LOOPLITE_EVENT_H

#include <event2/event.h>
#include <looplite.h>
#include <stdlib.h>

/* Told when dispatching fails: the status of ll_engine_dispatch(), about which ll_last_error() says more.
 * The bridge has stopped watching; detach it. */
typedef void (*ll_event_error_fn)(ll_status status, void *user);

typedef struct ll_event {
    struct event *event; /* NULL: detached, while its callback still runs */
    ll_engine *engine;
    ll_event_error_fn failed;
    void *user;
    bool dispatching; /* the callback frees the bridge if it was detached meanwhile */
} ll_event;

/* The event that watches the descriptor, for event_priority_set(), which is to be called before the loop
 * next runs, and event_pending().
 * Thread: loop. Owns: the bridge's. Errors: none. Since: 0.1 */
static inline struct event *ll_event_handle(ll_event *bridge)
{
    return bridge->event;
}

static inline void ll_event_ready_(evutil_socket_t fd, short what, void *arg)
{
    ll_event *bridge = (ll_event *)arg;
    (void)fd;
    (void)what;
    bridge->dispatching = true;
    ll_status status = ll_engine_dispatch(bridge->engine, NULL);
    if (status != LL_OK && bridge->event) {
        event_del(bridge->event);
        if (bridge->failed)
            bridge->failed(status, bridge->user);
    }
    bridge->dispatching = false;
    if (!bridge->event)
        free(bridge);
}

/* Lets a loop dispatch an engine. `failed` (NULL allowed) is told when that stops working.
 * Thread: the loop's, which becomes the engine's loop. Owns: the caller ends *ret_bridge with
 * ll_event_detach(), before ll_engine_free() and event_base_free(). Errors: LL_EINVAL for a missing
 * argument, LL_EFORK for an engine of the parent process, LL_ENOMEM, LL_ESYS when libevent does not take
 * the descriptor; *ret_bridge is then untouched. Since: 0.1 */
static inline ll_status ll_event_attach(struct event_base *base, ll_engine *engine,
                                        ll_event_error_fn failed, void *user, ll_event **ret_bridge)
{
    if (!base || !engine || !ret_bridge)
        return LL_EINVAL;
    int fd = ll_engine_fd(engine);
    if (fd < 0)
        return LL_EFORK;
    ll_event *bridge = (ll_event *)calloc(1, sizeof *bridge);
    if (!bridge)
        return LL_ENOMEM;
    bridge->engine = engine;
    bridge->failed = failed;
    bridge->user = user;
    bridge->event = event_new(base, fd, EV_READ | EV_PERSIST, ll_event_ready_, bridge);
    if (!bridge->event) {
        free(bridge);
        return LL_ENOMEM;
    }
    if (event_add(bridge->event, NULL) != 0) {
        event_free(bridge->event);
        free(bridge);
        return LL_ESYS;
    }
    *ret_bridge = bridge;
    return LL_OK;
}

/* Ends the bridge; the engine is left as it is.
 * Thread: loop; inside callbacks of looplite, too. Owns: takes the bridge; NULL is fine. Errors: none.
 * Since: 0.1 */
static inline void ll_event_detach(ll_event *bridge)
{
    if (!bridge || !bridge->event)
        return;
    event_free(bridge->event);
    bridge->event = NULL;
    if (!bridge->dispatching)
        free(bridge);
}

#endif
