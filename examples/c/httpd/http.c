/* http.c: the server of http.h, on libuv: listening, reading, limits in number and time, closing. Its requests are in
 * http_request.c, its answers in http_answer.c, the states of a connection in http_inside.h. */
#include "http_inside.h"

enum {
    READ_AHEAD = 64 * 1024, /* bytes of later requests that are kept while one is in hand */
    READ_ROOM = 16 * 1024,
    SWEEP_MS = 100,
    ENDING_MS = 2000
};

/* ---- closing ---- */

static void on_server_handle_closed(uv_handle_t *handle);

/* When the last connection has gone the timer goes, and with the last handle the server. */
static void server_maybe_done(http_server *server)
{
    if (!server->stopping || server->counts.open > 0)
        return;
    if (!uv_is_closing((uv_handle_t *)&server->sweeper))
        uv_close((uv_handle_t *)&server->sweeper, on_server_handle_closed);
    if (server->handles > 0)
        return;
    void (*stopped)(void *) = server->stopped;
    void *user = server->stopped_user;
    free(server);
    stopped(user);
}

static void on_server_handle_closed(uv_handle_t *handle)
{
    http_server *server = handle->data;
    server->handles--;
    server_maybe_done(server);
}

static void on_closed(uv_handle_t *handle)
{
    http_exchange *self = (http_exchange *)handle;
    http_server *server = self->server;
    buffer_free(&self->in);
    buffer_free(&self->url);
    buffer_free(&self->body);
    buffer_free(&self->out);
    buffer_free(&self->writing);
    free(self);
    server->counts.open--;
    server_maybe_done(server);
}

void http_drop(http_exchange *self)
{
    if (self->state == CLOSING)
        return;
    bool in_hand = self->state == RUNNING || self->state == STREAMING;
    self->state = CLOSING;
    if (self->next)
        self->next->previous = self->previous;
    if (self->previous)
        self->previous->next = self->next;
    else
        self->server->first = self->next;
    uv_close((uv_handle_t *)&self->tcp, on_closed);
    if (in_hand) {
        self->server->counts.gone++;
        self->server->options.gone(self, self->server->options.user);
    }
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    (void)suggested;
    http_exchange *self = (http_exchange *)handle;
    *ret_buf = uv_buf_init(buffer_reserve(&self->in, READ_ROOM), READ_ROOM);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf);

void http_read_on(http_exchange *self)
{
    bool wanted = self->state != CLOSING && !self->half_closed &&
                  (self->state == READING || self->state == ENDING || self->in.size < READ_AHEAD);
    if (wanted == self->reading)
        return;
    self->reading = wanted;
    if (!wanted)
        uv_read_stop((uv_stream_t *)&self->tcp);
    else if (uv_read_start((uv_stream_t *)&self->tcp, on_alloc, on_read) != 0)
        http_drop(self);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    (void)buf;
    http_exchange *self = (http_exchange *)stream;
    if (size < 0) {
        /* A client that has sent all its requests may shut its side before it has read the answers. One that
         * does so while its request is in hand has left. */
        bool waits = size == UV_EOF && self->writing.data &&
                     (self->state == READING || self->state == ENDING);
        if (!waits) {
            http_drop(self);
            return;
        }
        self->half_closed = true;
    } else if (self->state == ENDING) {
        return; /* thrown away: in.size was not moved */
    } else {
        self->in.size += (size_t)size;
        http_process(self);
    }
    http_read_on(self);
}

/* ---- the server ---- */

static void sweep_one(http_exchange *self)
{
    const http_options *options = &self->server->options;
    uint64_t age = http_now_ms(self) - self->since_ms;
    if (self->broken ||
        ((self->writing.data || self->state == STREAMING) && age > options->write_ms)) {
        http_drop(self);
        return;
    }
    if (self->state == READING && self->begun && age > options->request_ms)
        http_refuse(self, 408);
    else if (self->state == READING && !self->begun && !self->writing.data &&
             (age > options->idle_ms || self->server->stopping))
        http_drop(self);
    else if (self->state == ENDING && self->shut && age > ENDING_MS)
        http_drop(self);
    /* reading may have rested while a request was in hand */
    http_read_on(self);
}

static void on_sweep(uv_timer_t *timer)
{
    http_server *server = timer->data;
    bool cut = server->stopping && uv_now(server->loop) >= server->cut_at_ms;
    for (http_exchange *next, *one = server->first; one; one = next) {
        next = one->next;
        if (cut)
            http_drop(one);
        else
            sweep_one(one);
    }
}

static void on_connection(uv_stream_t *listener, int code)
{
    http_server *server = listener->data;
    if (code != 0)
        return;
    http_exchange *self = checked(calloc(1, sizeof *self));
    self->server = server;
    self->keep_alive = true;
    http_request_init(self);
    if (uv_tcp_init(server->loop, &self->tcp) != 0) {
        free(self);
        return;
    }
    server->counts.open++;
    server->counts.accepted++;
    self->since_ms = uv_now(server->loop);
    self->next = server->first;
    if (self->next)
        self->next->previous = self;
    server->first = self;
    if (uv_accept(listener, (uv_stream_t *)&self->tcp) != 0) {
        http_drop(self);
        return;
    }
    uv_tcp_nodelay(&self->tcp, 1);
    if (server->counts.open > server->options.max_connections)
        http_refuse(self, 503);
    http_read_on(self);
}

int http_server_new(uv_loop_t *loop, const http_options *options, http_server **ret_server)
{
    struct sockaddr_storage name;
    int size = sizeof name;
    struct sockaddr_in address;
    int code = uv_ip4_addr(options->host, options->port, &address);
    if (code != 0)
        return code;
    http_server *self = checked(calloc(1, sizeof *self));
    self->loop = loop;
    self->options = *options;
    self->listener.data = self->sweeper.data = self;
    uv_tcp_init(loop, &self->listener);
    uv_timer_init(loop, &self->sweeper);
    self->handles = 2;
    if ((code = uv_tcp_bind(&self->listener, (struct sockaddr *)&address, 0)) != 0 ||
        (code = uv_listen((uv_stream_t *)&self->listener, 1024, on_connection)) != 0 ||
        (code = uv_tcp_getsockname(&self->listener, (struct sockaddr *)&name, &size)) != 0) {
        uv_close((uv_handle_t *)&self->listener, NULL);
        uv_close((uv_handle_t *)&self->sweeper, NULL);
        uv_run(loop, UV_RUN_NOWAIT); /* they are closed after one round */
        free(self);
        return code;
    }
    self->port = ntohs(((struct sockaddr_in *)&name)->sin_port);
    uv_timer_start(&self->sweeper, on_sweep, SWEEP_MS, SWEEP_MS);
    *ret_server = self;
    return 0;
}

int http_server_port(const http_server *self)
{
    return self->port;
}

void http_server_stop(http_server *self, uint64_t patience_ms, void (*stopped)(void *user),
                      void *user)
{
    self->stopping = true;
    self->cut_at_ms = uv_now(self->loop) + patience_ms;
    self->stopped = stopped;
    self->stopped_user = user;
    uv_close((uv_handle_t *)&self->listener, on_server_handle_closed);
    for (http_exchange *next, *one = self->first; one; one = next) {
        next = one->next;
        sweep_one(one);
    }
}

http_counts http_server_counts(const http_server *self)
{
    http_counts counts = self->counts;
    for (const http_exchange *one = self->first; one; one = one->next)
        counts.unsent += one->out.size + one->writing.size;
    return counts;
}
