/* http.c: the server of http.h, on libuv and the HTTP parser that Debian packages (libhttp-parser).
 *
 * A connection is in one of these states:
 *
 *        +--> READING --> RUNNING --> STREAMING --+
 *        |                   |                    |
 *        +------ answered, kept alive ------------+
 *                            |
 *     refused, or not kept   v
 *        alive: ------->  ENDING  (the rest is written, our side is shut, what still comes is thrown away)
 *                            |
 *                            v
 *                         CLOSING (from every state, at once, when the client has gone)
 *
 * The parser is paused at the end of each message, so that the next one stays in `in` until this one is
 * answered. A client that gets an error still sends, as a rule; closing right away would make its kernel throw
 * the answer away, hence ENDING.
 *
 * Answers are gathered in `out`. A short one is written at once, without a write request, where the socket takes
 * it; what it does not take goes into a uv_write(), one at a time. */
#include "http.h"

#include "buffer.h"

#include <http_parser.h>
#include <strings.h>

enum {
    READ_AHEAD = 64 * 1024, /* bytes of later requests that are kept while one is in hand */
    READ_ROOM = 16 * 1024,
    SWEEP_MS = 100,
    ENDING_MS = 2000
};

enum state {
    READING,
    RUNNING,
    STREAMING,
    ENDING,
    CLOSING
};

struct http_exchange {
    uv_tcp_t tcp;
    http_server *server;
    http_exchange *next, *previous;
    void *task;
    enum state state;
    bool reading;     /* libuv reads from the socket */
    bool half_closed; /* the client sends no more, and has nothing in hand */
    bool keep_alive, chunked, head_only;
    bool shut;   /* uv_shutdown() was asked for */
    bool broken; /* it cannot be written any more: the sweeper takes it away */

    buffer in; /* what came and was not parsed yet */
    http_parser parser;
    buffer url, body;
    size_t head; /* bytes of URL and headers so far */
    char field[32];
    bool in_value, expects;
    int refused;       /* the status that the parser's callbacks ask for */
    bool complete;     /* the parser has reached the end of a message */
    uint64_t since_ms; /* of the state, or of the last byte that was written */
    bool begun;        /* some of a request has come */

    buffer out;
    uv_write_t write;
    buffer writing; /* under way; empty: nothing is */
    uv_shutdown_t shutdown;
};

struct http_server {
    uv_tcp_t listener;
    uv_timer_t sweeper;
    uv_loop_t *loop;
    http_options options;
    http_exchange *first;
    http_counts counts;
    int port;
    bool stopping;
    uint64_t cut_at_ms;
    int handles; /* of the server itself that are not closed yet */
    void (*stopped)(void *user);
    void *stopped_user;
};

static void process(http_exchange *self);
static void read_on(http_exchange *self);
static void flush(http_exchange *self);

static uint64_t now_ms(const http_exchange *self)
{
    return uv_now(self->server->loop);
}

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

/* Ends a connection at once. If a request is in hand its application is told. */
static void drop(http_exchange *self)
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

static void on_shutdown(uv_shutdown_t *request, int code)
{
    http_exchange *self = request->data;
    if (code != 0)
        drop(self);
}

/* No more requests: shuts our side as soon as everything is written. */
static void end(http_exchange *self)
{
    self->state = ENDING;
    self->since_ms = now_ms(self);
    flush(self);
}

/* ---- writing ---- */

static void after_writing(http_exchange *self)
{
    self->since_ms = now_ms(self);
    if (self->out.size > 0)
        flush(self);
    else if (self->state == STREAMING)
        self->server->options.drained(self, self->server->options.user);
    else if (self->state == READING && self->half_closed)
        drop(self);
    else if (self->state == ENDING)
        flush(self); /* shuts */
}

static void on_written(uv_write_t *request, int code)
{
    http_exchange *self = request->data;
    buffer_free(&self->writing);
    if (self->state == CLOSING)
        return;
    if (code != 0)
        drop(self);
    else
        after_writing(self);
}

static void flush(http_exchange *self)
{
    if (self->state == CLOSING || self->writing.data)
        return;
    if (self->out.size == 0) {
        if (self->state == ENDING && !self->shut) {
            self->shut = true;
            self->shutdown.data = self;
            if (uv_shutdown(&self->shutdown, (uv_stream_t *)&self->tcp, on_shutdown) != 0)
                drop(self);
            else if (self->half_closed)
                drop(self);
        }
        return;
    }
    /* A part of a stream always takes the long way: it is answered by `drained` in a later round of the loop, so
     * that one fast reader cannot keep the others waiting. */
    if (self->state != STREAMING) {
        uv_buf_t buf = uv_buf_init(self->out.data, (unsigned)self->out.size);
        int written = uv_try_write((uv_stream_t *)&self->tcp, &buf, 1);
        if (written > 0)
            buffer_drop(&self->out, (size_t)written);
        if (self->out.size == 0) {
            if (self->state == ENDING)
                flush(self);
            return;
        }
    }
    self->writing = self->out;
    self->out = (buffer){0};
    uv_buf_t buf = uv_buf_init(self->writing.data, (unsigned)self->writing.size);
    self->write.data = self;
    self->since_ms = now_ms(self);
    if (uv_write(&self->write, (uv_stream_t *)&self->tcp, &buf, 1, on_written) != 0) {
        /* not here: the application is in the middle of its answer */
        buffer_free(&self->writing);
        self->broken = true;
    }
}

static const char *reason(int status)
{
    switch (status) {
#define CASE(number, name, text) \
    case number:                 \
        return #text;
        HTTP_STATUS_MAP(CASE)
#undef CASE
    default:
        return "Unknown";
    }
}

static void put_head(http_exchange *self, int status, const char *type)
{
    char line[160];
    int size = snprintf(line, sizeof line, "HTTP/1.1 %d %s\r\n", status, reason(status));
    buffer_add(&self->out, line, (size_t)size);
    if (type) {
        size = snprintf(line, sizeof line, "Content-Type: %s\r\n", type);
        buffer_add(&self->out, line, (size_t)size);
    }
    if (status == 503)
        buffer_text(&self->out, "Retry-After: 1\r\n");
    if (!self->keep_alive)
        buffer_text(&self->out, "Connection: close\r\n");
}

/* The answer is whole. */
static void answered(http_exchange *self)
{
    self->task = NULL;
    if (!self->keep_alive || self->server->stopping) {
        end(self);
        return;
    }
    self->state = READING;
    self->since_ms = now_ms(self);
    flush(self);
}

/* The answer is whole, and the next request may be here already. If process() is above us it goes on by itself. */
static void go_on(http_exchange *self)
{
    bool inside = self->complete;
    answered(self);
    if (inside)
        return;
    if (self->state == READING)
        process(self);
    read_on(self);
}

void http_respond(http_exchange *self, int status, const char *type, const void *body, size_t size)
{
    self->keep_alive = self->keep_alive && !self->server->stopping;
    put_head(self, status, type);
    if (status != 204) {
        char line[48];
        int n = snprintf(line, sizeof line, "Content-Length: %zu\r\n", size);
        buffer_add(&self->out, line, (size_t)n);
    }
    buffer_text(&self->out, "\r\n");
    if (!self->head_only && status != 204)
        buffer_add(&self->out, body, size);
    go_on(self);
}

void http_begin(http_exchange *self, int status, const char *type)
{
    self->keep_alive = self->keep_alive && !self->server->stopping;
    self->chunked = self->parser.http_minor >= 1;
    self->keep_alive = self->keep_alive &&
                       self->chunked; /* else the end of the answer is that of all */
    put_head(self, status, type);
    buffer_text(&self->out, self->chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
    self->state = STREAMING;
}

void http_chunk(http_exchange *self, const void *data, size_t size)
{
    if (size > 0 && !self->head_only) {
        char line[24];
        int n = snprintf(line, sizeof line, "%zx\r\n", size);
        if (self->chunked)
            buffer_add(&self->out, line, (size_t)n);
        buffer_add(&self->out, data, size);
        if (self->chunked)
            buffer_text(&self->out, "\r\n");
    }
    flush(self);
}

void http_end(http_exchange *self)
{
    if (self->chunked && !self->head_only)
        buffer_text(&self->out, "0\r\n\r\n");
    go_on(self);
}

void http_abort(http_exchange *self)
{
    self->state = READING; /* nobody is to be told */
    self->task = NULL;
    drop(self);
}

/* ---- parsing ---- */

static int refuse(http_exchange *self, int status)
{
    if (self->refused == 0)
        self->refused = status;
    return -1; /* the parser stops; 1 would mean something else to it */
}

static int count_head(http_exchange *self, size_t size)
{
    self->head += size;
    return self->head > self->server->options.max_head ? refuse(self, 431) : 0;
}

static int on_message_begin(http_parser *parser)
{
    http_exchange *self = parser->data;
    self->url.size = self->body.size = 0;
    self->head = 0;
    self->field[0] = '\0';
    self->in_value = self->expects = false;
    self->begun = true;
    self->since_ms = now_ms(self);
    return 0;
}

static int on_url(http_parser *parser, const char *data, size_t size)
{
    http_exchange *self = parser->data;
    buffer_add(&self->url, data, size);
    if (self->url.size > self->server->options.max_url)
        return refuse(self, 414);
    return count_head(self, size);
}

static int on_header_field(http_parser *parser, const char *data, size_t size)
{
    http_exchange *self = parser->data;
    size_t have = self->in_value ? 0 : strlen(self->field);
    self->in_value = false;
    size_t room = sizeof self->field - 1 - have;
    memcpy(self->field + have, data, size < room ? size : room);
    self->field[have + (size < room ? size : room)] = '\0';
    return count_head(self, size);
}

static int on_header_value(http_parser *parser, const char *data, size_t size)
{
    http_exchange *self = parser->data;
    self->in_value = true;
    if (strcasecmp(self->field, "expect") == 0)
        self->expects = true;
    return count_head(self, size);
}

static int on_headers_complete(http_parser *parser)
{
    http_exchange *self = parser->data;
    if (parser->content_length != UINT64_MAX &&
        parser->content_length > self->server->options.max_body)
        return refuse(self, 413);
    if (self->expects && parser->http_minor >= 1) {
        buffer_text(&self->out, "HTTP/1.1 100 Continue\r\n\r\n");
        flush(self);
    }
    return 0;
}

static int on_body(http_parser *parser, const char *data, size_t size)
{
    http_exchange *self = parser->data;
    if (self->body.size + size > self->server->options.max_body)
        return refuse(self, 413);
    buffer_add(&self->body, data, size);
    return 0;
}

static int on_message_complete(http_parser *parser)
{
    http_exchange *self = parser->data;
    self->complete = true;
    self->keep_alive = http_should_keep_alive(parser) != 0;
    self->head_only = parser->method == HTTP_HEAD;
    http_parser_pause(parser, 1);
    return 0;
}

static const http_parser_settings settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

static void refuse_now(http_exchange *self, int status)
{
    self->server->counts.refused++;
    self->keep_alive = self->head_only = false;
    self->in.size = 0;
    self->complete = true; /* http_respond() is not to go on with what is in `in` */
    http_respond(self, status, "text/plain", reason(status), strlen(reason(status)));
    self->complete = false;
}

/* Parses what is there, one request after the other, until one is in hand. */
static void process(http_exchange *self)
{
    while (self->state == READING && self->in.size > 0) {
        size_t used = http_parser_execute(&self->parser, &settings, self->in.data, self->in.size);
        enum http_errno error = HTTP_PARSER_ERRNO(&self->parser);
        if (error != HPE_OK && error != HPE_PAUSED) {
            int status = error == HPE_HEADER_OVERFLOW ? 431 : 400;
            refuse_now(self, self->refused ? self->refused : status);
            return;
        }
        buffer_drop(&self->in, used);
        if (!self->complete)
            break;
        http_parser_pause(&self->parser, 0);
        self->begun = false;
        self->state = RUNNING;
        self->since_ms = now_ms(self);
        self->server->counts.requests++;
        buffer_add(&self->url, "", 1);
        char *query = strchr(self->url.data, '?');
        if (query)
            *query = '\0';
        self->server->options.request(self, self->server->options.user);
        if (self->state == CLOSING)
            return;
        self->complete = false;
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

static void read_on(http_exchange *self)
{
    bool wanted = self->state != CLOSING && !self->half_closed &&
                  (self->state == READING || self->state == ENDING || self->in.size < READ_AHEAD);
    if (wanted == self->reading)
        return;
    self->reading = wanted;
    if (!wanted)
        uv_read_stop((uv_stream_t *)&self->tcp);
    else if (uv_read_start((uv_stream_t *)&self->tcp, on_alloc, on_read) != 0)
        drop(self);
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
            drop(self);
            return;
        }
        self->half_closed = true;
    } else if (self->state == ENDING) {
        return; /* thrown away: in.size was not moved */
    } else {
        self->in.size += (size_t)size;
        process(self);
    }
    read_on(self);
}

/* ---- the server ---- */

static void sweep_one(http_exchange *self)
{
    const http_options *options = &self->server->options;
    uint64_t age = now_ms(self) - self->since_ms;
    if (self->broken ||
        ((self->writing.data || self->state == STREAMING) && age > options->write_ms)) {
        drop(self);
        return;
    }
    if (self->state == READING && self->begun && age > options->request_ms)
        refuse_now(self, 408);
    else if (self->state == READING && !self->begun && !self->writing.data &&
             (age > options->idle_ms || self->server->stopping))
        drop(self);
    else if (self->state == ENDING && self->shut && age > ENDING_MS)
        drop(self);
    /* reading may have rested while a request was in hand */
    read_on(self);
}

static void on_sweep(uv_timer_t *timer)
{
    http_server *server = timer->data;
    bool cut = server->stopping && uv_now(server->loop) >= server->cut_at_ms;
    for (http_exchange *next, *one = server->first; one; one = next) {
        next = one->next;
        if (cut)
            drop(one);
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
    http_parser_init(&self->parser, HTTP_REQUEST);
    self->parser.data = self;
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
        drop(self);
        return;
    }
    uv_tcp_nodelay(&self->tcp, 1);
    if (server->counts.open > server->options.max_connections)
        refuse_now(self, 503);
    read_on(self);
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

/* ---- what the application asks ---- */

const char *http_method(const http_exchange *self)
{
    return http_method_str((enum http_method)self->parser.method);
}

const char *http_path(const http_exchange *self)
{
    return self->url.data;
}

const char *http_query(const http_exchange *self)
{
    size_t path = strlen(self->url.data);
    return path + 1 < self->url.size ? self->url.data + path + 1 : "";
}

const char *http_body(const http_exchange *self, size_t *ret_size)
{
    *ret_size = self->body.size;
    return self->body.data ? self->body.data : "";
}

void http_set_task(http_exchange *self, void *task)
{
    self->task = task;
}

void *http_task(const http_exchange *self)
{
    return self->task;
}
