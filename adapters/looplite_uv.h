/* looplite_uv.h: an engine on a libuv loop.
 *
 * Header only; it uses looplite's public header and libuv's, nothing else. An engine is one descriptor
 * that becomes readable and one function to call then: here a uv_poll_t watches the descriptor, and its
 * callback dispatches.
 *
 *     ll_uv *bridge;
 *     int code = ll_uv_attach(loop, engine, NULL, NULL, &bridge);
 *     ...
 *     uv_run(loop, UV_RUN_DEFAULT);       // callbacks of looplite run from here
 *     ...
 *     ll_uv_detach(bridge);               // then the loop can end
 *     ll_engine_free(engine);
 *
 * The bridge keeps the loop alive until it is detached, as every active handle does; a program whose
 * loop should end when only looplite is left takes that away with uv_unref(ll_uv_handle(bridge)).
 *
 * All functions belong to the loop's thread. Detach before the engine is freed, and never inside a
 * callback of looplite free the engine: that is refused by the engine itself. */
#ifndef LOOPLITE_UV_H
#define LOOPLITE_UV_H

#include <looplite.h>
#include <stdlib.h>
#include <uv.h>

/* Told when dispatching or polling fails: a libuv code (UV_EIO for an error of looplite, then
 * ll_last_error() says more). The bridge has stopped watching; detach it. */
typedef void (*ll_uv_error_fn)(int code, void *user);

typedef struct ll_uv {
    uv_poll_t poll; /* first: libuv hands it back to us */
    ll_engine *engine;
    ll_uv_error_fn failed;
    void *user;
} ll_uv;

/* The handle that watches the descriptor, for uv_ref(), uv_unref() and uv_is_active().
 * Thread: loop. Owns: the bridge's. Errors: none. Since: 0.1 */
static inline uv_handle_t *ll_uv_handle(ll_uv *bridge)
{
    return (uv_handle_t *)&bridge->poll;
}

static inline void ll_uv_free_(uv_handle_t *handle)
{
    free(handle);
}

static inline void ll_uv_ready_(uv_poll_t *poll, int code, int events)
{
    ll_uv *bridge = (ll_uv *)poll;
    (void)events;
    if (code == 0 && ll_engine_dispatch(bridge->engine, NULL) != LL_OK)
        code = UV_EIO;
    /* a callback may have detached: then the handle is closing and nobody is to be told */
    if (code != 0 && !uv_is_closing((uv_handle_t *)poll)) {
        uv_poll_stop(poll);
        if (bridge->failed)
            bridge->failed(code, bridge->user);
    }
}

/* Lets a loop dispatch an engine. `failed` (NULL allowed) is told when that stops working.
 * Thread: the loop's, which becomes the engine's loop. Owns: the caller ends *ret_bridge with
 * ll_uv_detach(), before ll_engine_free(). Errors: a libuv code (UV_EINVAL for a missing argument or an
 * engine of the parent process, UV_ENOMEM, those of uv_poll_init() and uv_poll_start()); *ret_bridge is
 * then untouched. Since: 0.1 */
static inline int ll_uv_attach(uv_loop_t *loop, ll_engine *engine, ll_uv_error_fn failed,
                               void *user, ll_uv **ret_bridge)
{
    int fd = loop && engine && ret_bridge ? ll_engine_fd(engine) : -1;
    if (fd < 0)
        return UV_EINVAL;
    ll_uv *bridge = (ll_uv *)calloc(1, sizeof *bridge);
    if (!bridge)
        return UV_ENOMEM;
    bridge->engine = engine;
    bridge->failed = failed;
    bridge->user = user;
    int code = uv_poll_init(loop, &bridge->poll, fd);
    if (code != 0) {
        free(bridge); /* libuv has not seen it */
        return code;
    }
    code = uv_poll_start(&bridge->poll, UV_READABLE, ll_uv_ready_);
    if (code != 0) {
        uv_close((uv_handle_t *)&bridge->poll, ll_uv_free_);
        return code;
    }
    *ret_bridge = bridge;
    return 0;
}

/* Ends the bridge; the engine is left as it is. The memory goes when the loop next runs, so run it
 * once more (uv_run(loop, UV_RUN_NOWAIT) is enough) before uv_loop_close().
 * Thread: loop; inside callbacks of looplite, too. Owns: takes the bridge; NULL is fine. Errors: none.
 * Since: 0.1 */
static inline void ll_uv_detach(ll_uv *bridge)
{
    if (bridge && !uv_is_closing((uv_handle_t *)&bridge->poll))
        uv_close((uv_handle_t *)&bridge->poll, ll_uv_free_);
}

#endif
