/* libevent.c: looplite on a libevent loop, by adapters/looplite_event.h. A tiny dictionary server: a client
 * sends words, a line each, and gets their meanings in the same order. Both ends are in this program, joined
 * by a pair of sockets.
 *
 *     libevent [FILE]      uses FILE, or a temporary database
 *
 * The program checks the answers. */
#include <looplite_event.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdio.h>
#include <string.h>

typedef struct app {
    struct event_base *base;
    struct bufferevent *server, *client;
    ll_event *bridge;
    ll_engine *engine;
    ll_conn *conn;
    size_t answered;
    int failed;
} app;

static const char *const words[][2] = {
    {"loop", "what comes round"},
    {"lite", "not heavy"},
    {"heavy", "no such word"},
    {"select", "to choose"},
};

enum {
    WORDS = sizeof words / sizeof words[0]
};

static void fail(app *self, const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    self->failed = 1;
    event_base_loopbreak(self->base);
}

static void on_bridge_error(ll_status status, void *user)
{
    fail(user, "looplite", ll_status_text(status));
}

static void on_meaning(ll_request *request, void *user)
{
    app *self = user;
    if (ll_request_status(request) != LL_OK) {
        fail(self, "look up", ll_request_error(request)->message);
        return;
    }
    ll_batch *batch = ll_request_take_batch(request);
    const ll_value *row = ll_batch_row(batch, 0); /* NULL: no row */
    evbuffer_add_printf(bufferevent_get_output(self->server), "%s\n",
                        row ? row[0].as.text : "no such word");
    ll_batch_free(batch);
}

/* The server has been sent something: a question for each line. Those that are on their way already are
 * answered first, for the requests of one connection run in order. */
static void on_question(struct bufferevent *server, void *user)
{
    app *self = user;
    size_t size = 0;
    char *line = NULL;
    while ((line = evbuffer_readln(bufferevent_get_input(server), &size, EVBUFFER_EOL_LF))) {
        ll_value word = ll_text_n(line, (uint32_t)size);
        ll_request *request = NULL;
        ll_submit how = {.done = on_meaning, .user = self};
        ll_status status = ll_query(self->conn, "SELECT meaning FROM dictionary WHERE word = ?",
                                    &word, 1, &how, &request);
        free(line); /* it was copied */
        if (status == LL_OK)
            on_meaning(request, self);
        else if (status < 0)
            fail(self, "refused", ll_last_error());
        ll_request_unref(request);
    }
}

static void on_closed(ll_request *request, void *user)
{
    app *self = user;
    if (ll_request_status(request) != LL_OK)
        fail(self, "close", ll_request_error(request)->message);
    /* with the two ends of the pair, nothing is left in the loop, so it ends */
    ll_event_detach(self->bridge);
    self->bridge = NULL;
    bufferevent_disable(self->server, EV_READ | EV_WRITE);
    bufferevent_disable(self->client, EV_READ | EV_WRITE);
}

static void on_answer(struct bufferevent *client, void *user)
{
    app *self = user;
    char *line = NULL;
    while ((line = evbuffer_readln(bufferevent_get_input(client), NULL, EVBUFFER_EOL_LF))) {
        printf("%s: %s\n", words[self->answered][0], line);
        if (strcmp(line, words[self->answered][1]) != 0)
            fail(self, words[self->answered][0], "a wrong answer");
        free(line);
        if (++self->answered == WORDS) {
            ll_request *request = NULL;
            ll_submit how = {.done = on_closed, .user = self};
            ll_status status = ll_conn_close(self->conn, &how, &request);
            if (status == LL_OK)
                on_closed(request, self);
            else if (status < 0)
                fail(self, "close", ll_last_error());
            ll_request_unref(request);
            return;
        }
    }
}

static int start(app *self, const char *path)
{
    struct bufferevent *pair[2];
    self->base = event_base_new();
    if (!self->base || bufferevent_pair_new(self->base, 0, pair) != 0)
        return 0;
    self->server = pair[0];
    self->client = pair[1];
    bufferevent_setcb(self->server, on_question, NULL, NULL, self);
    bufferevent_setcb(self->client, on_answer, NULL, NULL, self);
    if (bufferevent_enable(self->server, EV_READ | EV_WRITE) != 0 ||
        bufferevent_enable(self->client, EV_READ | EV_WRITE) != 0)
        return 0;
    if (ll_engine_new(NULL, &self->engine) != LL_OK ||
        ll_event_attach(self->base, self->engine, on_bridge_error, self, &self->bridge) != LL_OK)
        return 0;

    /* Before the loop there is nobody to be kept waiting. */
    ll_request *open = NULL, *fill = NULL;
    ll_status status = ll_conn_open(self->engine, path, NULL, NULL, &self->conn, &open);
    if (status >= 0)
        status = ll_script(self->conn,
                           "DROP TABLE IF EXISTS dictionary;"
                           "CREATE TABLE dictionary(word TEXT PRIMARY KEY, meaning TEXT);"
                           "INSERT INTO dictionary VALUES('loop', 'what comes round'),"
                           " ('lite', 'not heavy'), ('select', 'to choose');",
                           LL_NUL_TERMINATED, false, NULL, &fill);
    if (status >= 0)
        status = ll_request_wait(fill);
    if (status != LL_OK)
        fprintf(stderr, "fill: %s\n", fill ? ll_request_error(fill)->message : ll_last_error());
    ll_request_unref(fill);
    ll_request_unref(open);
    return status == LL_OK;
}

int main(int argc, char **argv)
{
    app self = {0};
    if (start(&self, argc > 1 ? argv[1] : "")) {
        for (size_t i = 0; i < WORDS; i++) {
            bufferevent_write(self.client, words[i][0], strlen(words[i][0]));
            bufferevent_write(self.client, "\n", 1);
        }
        event_base_dispatch(self.base);
    } else {
        self.failed = 1;
    }
    ll_event_detach(self.bridge); /* on errors it is still there */
    ll_conn_unref(self.conn);
    ll_engine_free(self.engine);
    if (self.server) {
        bufferevent_free(self.server);
        bufferevent_free(self.client);
    }
    if (self.base)
        event_base_free(self.base);
    return !self.failed && self.answered == WORDS ? 0 : 1;
}
