/* http_inside.h: what the three sources of the server share: a connection, its states, and what they call of each
 * other. Nothing of it is for the application.
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
 * A client that gets an error still sends, as a rule; closing right away would make its kernel throw the answer
 * away, hence ENDING. */
#ifndef HTTPD_HTTP_INSIDE_H
#define HTTPD_HTTP_INSIDE_H

#include "buffer.h"
#include "http.h"

#include <http_parser.h>

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

/* ---- http.c ---- */

static inline uint64_t http_now_ms(const http_exchange *self)
{
    return uv_now(self->server->loop);
}

/* Ends a connection at once. If a request is in hand its application is told. */
void http_drop(http_exchange *self);
/* Reads from the socket, or lets it rest, as the state and what is there already ask for. */
void http_read_on(http_exchange *self);

/* ---- http_request.c ---- */

void http_request_init(http_exchange *self);
/* Parses what is there, one request after the other, until one is in hand. */
void http_process(http_exchange *self);
/* Answers an error that is the client's, and ends the connection. */
void http_refuse(http_exchange *self, int status);

/* ---- http_answer.c ---- */

/* Writes what is to be written; in ENDING, shuts our side after it. */
void http_flush(http_exchange *self);
/* "Not Found", ... */
const char *http_reason(int status);

#endif
