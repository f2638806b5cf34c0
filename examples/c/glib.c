/* glib.c: looplite on a GLib main loop, by adapters/looplite_glib.h. A thumbnail cache fills a table while
 * a timer of GLib goes on ticking; then a search that would take for ever is given up after a while, as
 * when a user closes its window.
 *
 *     glib [FILE]      uses FILE, or a temporary database
 *
 * The program checks what it was told: the rows, the cancellation and its outcome. */
#include <looplite_glib.h>

#include <stdio.h>

enum {
    PICTURES = 500,
    PATIENCE_MS = 30
};

typedef struct app {
    GMainLoop *loop;
    ll_glib *bridge;
    ll_engine *engine;
    ll_conn *conn;
    ll_request *search;
    unsigned long ticks;
    int inserted;
    gboolean given_up, failed;
} app;

static void on_open(ll_request *request, void *user);
static void on_made(ll_request *request, void *user);
static void on_inserted(ll_request *request, void *user);
static void on_found(ll_request *request, void *user);
static void on_closed(ll_request *request, void *user);

static void fail(app *self, const char *what, const char *why)
{
    g_printerr("%s: %s\n", what, why);
    self->failed = TRUE;
    g_main_loop_quit(self->loop);
}

static void on_bridge_error(ll_status status, void *user)
{
    fail(user, "looplite", ll_status_text(status));
}

/* Pending: the callback will come. Finished at once: we call it. Refused: it never will. */
static void follow(app *self, ll_status status, ll_request *request, ll_done_fn done)
{
    if (status == LL_OK)
        done(request, self);
    else if (status < 0)
        fail(self, "refused", ll_last_error());
    ll_request_unref(request); /* it lives until its callback has returned */
}

static gboolean went_well(app *self, ll_request *request)
{
    if (ll_request_status(request) == LL_OK)
        return TRUE;
    fail(self, ll_status_name(ll_request_status(request)), ll_request_error(request)->message);
    return FALSE;
}

static gboolean on_tick(gpointer user)
{
    app *self = user;
    self->ticks++;
    return G_SOURCE_CONTINUE;
}

static void on_open(ll_request *request, void *user)
{
    app *self = user;
    if (!went_well(self, request))
        return;
    static const char script[] = "DROP TABLE IF EXISTS thumbnail;"
                                 "CREATE TABLE thumbnail(path TEXT PRIMARY KEY, picture BLOB);";
    ll_request *next = NULL;
    ll_submit how = {.done = on_made, .user = self};
    ll_status status = ll_script(self->conn, script, LL_NUL_TERMINATED, false, &how, &next);
    follow(self, status, next, on_made);
}

/* One picture after the other, each in a transaction of its own. */
static void insert_next(app *self)
{
    char *path = g_strdup_printf("holiday/%04d.jpg", self->inserted);
    ll_value values[] = {ll_text(path), ll_blob("\xff\xd8\xff\xe0", 4)};
    ll_request *next = NULL;
    ll_submit how = {.done = on_inserted, .user = self};
    ll_status status = ll_exec(self->conn, "INSERT INTO thumbnail VALUES(?, ?)", values, 2, &how,
                               &next);
    g_free(path); /* it was copied */
    follow(self, status, next, on_inserted);
}

static void on_made(ll_request *request, void *user)
{
    app *self = user;
    if (went_well(self, request))
        insert_next(self);
}

static gboolean on_impatient(gpointer user)
{
    app *self = user;
    if (self->search && ll_request_cancel(self->search) == LL_OK)
        self->given_up = TRUE;
    return G_SOURCE_REMOVE;
}

static void on_inserted(ll_request *request, void *user)
{
    app *self = user;
    if (!went_well(self, request))
        return;
    if (++self->inserted < PICTURES) {
        insert_next(self);
        return;
    }
    static const char endless[] = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n)"
                                  " SELECT path FROM n, thumbnail WHERE path = 'winter/' || i";
    ll_request *next = NULL;
    ll_submit how = {.done = on_found, .user = self};
    ll_status status = ll_query(self->conn, endless, NULL, 0, &how, &next);
    self->search = ll_request_ref(next);
    g_timeout_add(PATIENCE_MS, on_impatient, self);
    follow(self, status, next, on_found);
}

static void on_found(ll_request *request, void *user)
{
    app *self = user;
    printf("the search: %s\n", ll_status_text(ll_request_status(request)));
    if (!self->given_up || ll_request_status(request) != LL_ECANCELLED ||
        ll_request_outcome(request) != LL_NOT_APPLIED) {
        fail(self, "search", "it was to be cancelled");
        return;
    }
    ll_request *next = NULL;
    ll_submit how = {.done = on_closed, .user = self};
    ll_status status = ll_conn_close(self->conn, &how, &next);
    follow(self, status, next, on_closed);
}

static void on_closed(ll_request *request, void *user)
{
    app *self = user;
    if (went_well(self, request))
        g_main_loop_quit(self->loop);
}

int main(int argc, char **argv)
{
    app self = {.loop = g_main_loop_new(NULL, FALSE)};
    guint timer = g_timeout_add(1, on_tick, &self);
    ll_status status = ll_engine_new(NULL, &self.engine);
    if (status == LL_OK)
        status = ll_glib_attach(NULL, self.engine, on_bridge_error, &self, &self.bridge);
    if (status == LL_OK) {
        ll_request *open = NULL;
        ll_submit how = {.done = on_open, .user = &self};
        status = ll_conn_open(self.engine, argc > 1 ? argv[1] : "", NULL, &how, &self.conn, &open);
        follow(&self, status, open, on_open);
    }
    if (status >= 0 && !self.failed)
        g_main_loop_run(self.loop);

    ll_glib_detach(self.bridge);
    ll_request_unref(self.search);
    ll_conn_unref(self.conn);
    ll_engine_free(self.engine);
    g_source_remove(timer);
    g_main_loop_unref(self.loop);
    printf("%d pictures, %lu ticks\n", self.inserted, self.ticks);
    return status >= 0 && !self.failed && self.inserted == PICTURES && self.ticks > 0 ? 0 : 1;
}
