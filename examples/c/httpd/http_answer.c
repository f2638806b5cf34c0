/* http_answer.c: answers, whole or bit by bit.
 *
 * They are gathered in `out`. A short one is written at once, without a write request, where the socket takes it;
 * what it does not take goes into a uv_write(), one at a time. */
#include "http_inside.h"

static void on_shutdown(uv_shutdown_t *request, int code)
{
    http_exchange *self = request->data;
    if (code != 0)
        http_drop(self);
}

/* No more requests: shuts our side as soon as everything is written. */
static void end(http_exchange *self)
{
    self->state = ENDING;
    self->since_ms = http_now_ms(self);
    http_flush(self);
}

static void after_writing(http_exchange *self)
{
    self->since_ms = http_now_ms(self);
    if (self->out.size > 0)
        http_flush(self);
    else if (self->state == STREAMING)
        self->server->options.drained(self, self->server->options.user);
    else if (self->state == READING && self->half_closed)
        http_drop(self);
    else if (self->state == ENDING)
        http_flush(self); /* shuts */
}

static void on_written(uv_write_t *request, int code)
{
    http_exchange *self = request->data;
    buffer_free(&self->writing);
    if (self->state == CLOSING)
        return;
    if (code != 0)
        http_drop(self);
    else
        after_writing(self);
}

void http_flush(http_exchange *self)
{
    if (self->state == CLOSING || self->writing.data)
        return;
    if (self->out.size == 0) {
        if (self->state == ENDING && !self->shut) {
            self->shut = true;
            self->shutdown.data = self;
            if (uv_shutdown(&self->shutdown, (uv_stream_t *)&self->tcp, on_shutdown) != 0)
                http_drop(self);
            else if (self->half_closed)
                http_drop(self);
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
                http_flush(self);
            return;
        }
    }
    self->writing = self->out;
    self->out = (buffer){0};
    uv_buf_t buf = uv_buf_init(self->writing.data, (unsigned)self->writing.size);
    self->write.data = self;
    self->since_ms = http_now_ms(self);
    if (uv_write(&self->write, (uv_stream_t *)&self->tcp, &buf, 1, on_written) != 0) {
        /* not here: the application is in the middle of its answer */
        buffer_free(&self->writing);
        self->broken = true;
    }
}

const char *http_reason(int status)
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
    int size = snprintf(line, sizeof line, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
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
    self->since_ms = http_now_ms(self);
    http_flush(self);
}

/* The answer is whole, and the next request may be here already. If http_process() is above us it goes on by itself. */
static void go_on(http_exchange *self)
{
    bool inside = self->complete;
    answered(self);
    if (inside)
        return;
    if (self->state == READING)
        http_process(self);
    http_read_on(self);
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
    http_flush(self);
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
    http_drop(self);
}
