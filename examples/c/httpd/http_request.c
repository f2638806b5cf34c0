/* http_request.c: requests, by the HTTP parser that Debian packages (libhttp-parser).
 *
 * The parser is paused at the end of each message, so that the next one stays in `in` until this one is answered. */
#include "http_inside.h"

#include <strings.h>

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
    self->since_ms = http_now_ms(self);
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
        http_flush(self);
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

void http_refuse(http_exchange *self, int status)
{
    self->server->counts.refused++;
    self->keep_alive = self->head_only = false;
    self->in.size = 0;
    self->complete = true; /* http_respond() is not to go on with what is in `in` */
    http_respond(self, status, "text/plain", http_reason(status), strlen(http_reason(status)));
    self->complete = false;
}

void http_process(http_exchange *self)
{
    while (self->state == READING && self->in.size > 0) {
        size_t used = http_parser_execute(&self->parser, &settings, self->in.data, self->in.size);
        enum http_errno error = HTTP_PARSER_ERRNO(&self->parser);
        if (error != HPE_OK && error != HPE_PAUSED) {
            int status = error == HPE_HEADER_OVERFLOW ? 431 : 400;
            http_refuse(self, self->refused ? self->refused : status);
            return;
        }
        buffer_drop(&self->in, used);
        if (!self->complete)
            break;
        http_parser_pause(&self->parser, 0);
        self->begun = false;
        self->state = RUNNING;
        self->since_ms = http_now_ms(self);
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

void http_request_init(http_exchange *self)
{
    http_parser_init(&self->parser, HTTP_REQUEST);
    self->parser.data = self;
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
