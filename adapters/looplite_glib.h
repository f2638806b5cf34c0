/* looplite_glib.h: an engine on a GLib main loop, and so in GTK programs and on D-Bus services.
 *
 * Header only; it uses looplite's public header and GLib's, nothing else. An engine is one descriptor
 * that becomes readable and one function to call then: here a GSource watches the descriptor, and its
 * dispatch function dispatches.
 *
 *     ll_glib *bridge;
 *     ll_status status = ll_glib_attach(NULL, engine, NULL, NULL, &bridge);
 *     ...
 *     g_main_loop_run(loop);              // callbacks of looplite run from here
 *     ...
 *     ll_glib_detach(bridge);
 *     ll_engine_free(engine);
 *
 * A callback of looplite may run a loop of its own inside (a modal dialog does that): GLib then leaves
 * the bridge out until the callback has returned, so nothing of looplite calls back meanwhile.
 *
 * All functions belong to the thread that runs the context. Detach before the engine is freed, and never
 * inside a callback of looplite free the engine: that is refused by the engine itself. */
#ifndef LOOPLITE_GLIB_H
#define LOOPLITE_GLIB_H

#include <glib-unix.h>
#include <looplite.h>

/* Told when dispatching or polling fails: the status of ll_engine_dispatch(), about which
 * ll_last_error() says more; LL_ESYS when the descriptor cannot be polled. The bridge has stopped
 * watching; detach it. */
typedef void (*ll_glib_error_fn)(ll_status status, void *user);

typedef struct ll_glib {
    GSource source; /* first: GLib hands it back to us */
    gpointer watched;
    ll_engine *engine;
    ll_glib_error_fn failed;
    void *user;
} ll_glib;

/* The source, for g_source_set_priority() and its like.
 * Thread: the context's. Owns: the bridge's. Errors: none. Since: 0.1 */
static inline GSource *ll_glib_source(ll_glib *bridge)
{
    return &bridge->source;
}

static inline gboolean ll_glib_ready_(GSource *source, GSourceFunc unused, gpointer unused_data)
{
    ll_glib *bridge = (ll_glib *)(void *)source;
    (void)unused;
    (void)unused_data;
    ll_status status = LL_ESYS; /* the descriptor is no descriptor any more */
    if ((g_source_query_unix_fd(source, bridge->watched) & (G_IO_NVAL | G_IO_ERR)) == 0)
        status = ll_engine_dispatch(bridge->engine, NULL);
    if (status == LL_OK)
        return G_SOURCE_CONTINUE;
    /* a callback may have detached: then nobody is to be told */
    if (!g_source_is_destroyed(source) && bridge->failed)
        bridge->failed(status, bridge->user);
    return G_SOURCE_REMOVE;
}

/* Lets a context (NULL: the default one) dispatch an engine. `failed` (NULL allowed) is told when that
 * stops working.
 * Thread: the context's, which becomes the engine's loop. Owns: the caller ends *ret_bridge with
 * ll_glib_detach(), before ll_engine_free(). Errors: LL_EINVAL for a missing argument, LL_EFORK for an
 * engine of the parent process; *ret_bridge is then untouched. Without memory GLib ends the program, as
 * everywhere. Since: 0.1 */
static inline ll_status ll_glib_attach(GMainContext *context, ll_engine *engine,
                                       ll_glib_error_fn failed, void *user, ll_glib **ret_bridge)
{
    static GSourceFuncs functions = {NULL, NULL, ll_glib_ready_, NULL, NULL, NULL};
    if (!engine || !ret_bridge)
        return LL_EINVAL;
    int fd = ll_engine_fd(engine);
    if (fd < 0)
        return LL_EFORK;
    ll_glib *bridge = (ll_glib *)(void *)g_source_new(&functions, sizeof *bridge);
    bridge->engine = engine;
    bridge->failed = failed;
    bridge->user = user;
    bridge->watched = g_source_add_unix_fd(&bridge->source, fd, G_IO_IN);
    g_source_set_name(&bridge->source, "looplite");
    g_source_attach(&bridge->source, context);
    *ret_bridge = bridge;
    return LL_OK;
}

/* Ends the bridge; the engine is left as it is.
 * Thread: the context's; inside callbacks of looplite, too. Owns: takes the bridge; NULL is fine.
 * Errors: none. Since: 0.1 */
static inline void ll_glib_detach(ll_glib *bridge)
{
    if (!bridge)
        return;
    g_source_destroy(&bridge->source);
    g_source_unref(&bridge->source);
}

#endif
