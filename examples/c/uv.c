/* uv.c: looplite on a libuv loop, by adapters/looplite_uv.h. A timer ticks every millisecond while heavy
 * queries run: they run on workers, so the loop stays free.
 *
 *     uv [QUERIES]      so many queries, 4 unless told
 *
 * The program checks its answers, and that the timer ticked meanwhile. */
#include <looplite_uv.h>

#include <stdio.h>
#include <stdlib.h>

typedef struct app {
    uv_loop_t loop;
    uv_timer_t timer;
    ll_uv *bridge;
    ll_engine *engine;
    ll_conn *conn;
    unsigned long ticks, ticks_at_start;
    int queries, answered;
    int failed;
} app;

static void ask(app *self);

static void fail(app *self, const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    self->failed = 1;
    uv_stop(&self->loop);
}

static void on_tick(uv_timer_t *timer)
{
    app *self = timer->data;
    self->ticks++;
}

static void on_bridge_error(int code, void *user)
{
    fail(user, "looplite", uv_strerror(code));
}

static void on_closed(ll_request *request, void *user)
{
    app *self = user;
    if (ll_request_status(request) != LL_OK)
        fail(self, "close", ll_request_error(request)->message);
    /* nothing is left on the loop, so uv_run() returns */
    uv_close((uv_handle_t *)&self->timer, NULL);
    ll_uv_detach(self->bridge);
    self->bridge = NULL;
}

/* The number of ways to put eight queens on a chess board: some work for SQLite. */
static const char queens[] =
    "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 8),"
    " board(row, queens) AS ("
    "  VALUES(0, '') UNION ALL"
    "  SELECT row + 1, queens || i FROM board, n WHERE row < 8 AND NOT EXISTS ("
    "   SELECT 1 FROM n AS r WHERE r.i <= row AND abs(substr(queens, r.i, 1) - n.i)"
    "    IN (0, row + 1 - r.i)))"
    " SELECT count(*) FROM board WHERE row = 8";

static void on_answer(ll_request *request, void *user)
{
    app *self = user;
    if (ll_request_status(request) != LL_OK) {
        fail(self, "query", ll_request_error(request)->message);
        return;
    }
    ll_batch *batch = ll_request_take_batch(request);
    int64_t count = ll_batch_row(batch, 0)[0].as.integer;
    ll_batch_free(batch);
    unsigned long ticks = self->ticks - self->ticks_at_start;
    printf("%lld ways to place eight queens; the timer ticked %lu times meanwhile\n",
           (long long)count, ticks);
    if (count != 92) {
        fail(self, "query", "a wrong answer");
        return;
    }
    self->answered++;
    ask(self);
}

/* Asks once more, or closes. A pending request calls back; LL_OK would mean: finished already. */
static void ask(app *self)
{
    int last = self->answered == self->queries;
    ll_done_fn done = last ? on_closed : on_answer;
    ll_submit how = {.done = done, .user = self};
    ll_request *request = NULL;
    self->ticks_at_start = self->ticks;
    ll_status status = last ? ll_conn_close(self->conn, &how, &request)
                            : ll_query(self->conn, queens, NULL, 0, &how, &request);
    if (status == LL_OK)
        done(request, self);
    else if (status < 0)
        fail(self, "submit", ll_last_error());
    ll_request_unref(request);
}

static void on_open(ll_request *request, void *user)
{
    app *self = user;
    if (ll_request_status(request) != LL_OK)
        fail(self, "open", ll_request_error(request)->message);
    else
        ask(self);
}

static int start(app *self)
{
    if (uv_timer_init(&self->loop, &self->timer) != 0 ||
        uv_timer_start(&self->timer, on_tick, 1, 1) != 0)
        return 0;
    self->timer.data = self;
    if (ll_engine_new(NULL, &self->engine) != LL_OK ||
        ll_uv_attach(&self->loop, self->engine, on_bridge_error, self, &self->bridge) != 0)
        return 0;
    ll_submit how = {.done = on_open, .user = self};
    ll_request *request = NULL;
    ll_status status = ll_conn_open(self->engine, "", NULL, &how, &self->conn, &request);
    if (status == LL_OK)
        on_open(request, self);
    ll_request_unref(request);
    return status >= 0;
}

int main(int argc, char **argv)
{
    app self = {.queries = argc > 1 ? atoi(argv[1]) : 4};
    if (uv_loop_init(&self.loop) != 0)
        return 1;
    if (start(&self))
        uv_run(&self.loop, UV_RUN_DEFAULT);
    else
        fail(&self, "start", ll_last_error());

    ll_uv_detach(self.bridge); /* on errors it is still there */
    if (!uv_is_closing((uv_handle_t *)&self.timer))
        uv_close((uv_handle_t *)&self.timer, NULL);
    uv_run(&self.loop, UV_RUN_DEFAULT);
    ll_conn_unref(self.conn);
    ll_engine_free(self.engine);
    int closed = uv_loop_close(&self.loop) == 0;
    printf("%d queries, %lu ticks\n", self.answered, self.ticks);
    return !self.failed && closed && self.answered == self.queries && self.ticks > 0 ? 0 : 1;
}
