/* http.h: an HTTP/1.1 server on a libuv loop: connections, limits, keep-alive, pipelining, streaming, an end in
 * good order. It knows nothing of databases; it hands whole requests to one function and is told the answers.
 *
 * A connection has one request in hand at a time. What a client sends after it (pipelining) waits, up to a
 * limit; then the socket is not read, and TCP makes the client wait. So answers keep their order by themselves.
 *
 * While a request is in hand, the socket is still read: that is how a client that leaves is noticed. */
#ifndef HTTPD_HTTP_H
#define HTTPD_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

typedef struct http_server http_server;

/* A connection, and the request that it has in hand. */
typedef struct http_exchange http_exchange;

typedef struct http_options {
    const char *host;
    int port;                 /* 0: any; http_server_port() tells */
    unsigned max_connections; /* those above get 503 and are closed */
    size_t max_head;          /* bytes of URL and headers: 431 */
    size_t max_url;           /* 414 */
    size_t max_body;          /* 413 */
    uint64_t idle_ms;         /* a connection without a request for so long is closed */
    uint64_t request_ms;      /* a request has to arrive whole within this time: 408 */
    uint64_t write_ms;        /* a client that takes nothing for so long is cut off */

    /* A request has arrived whole. To be answered by http_respond(), or http_begin() ... http_end(), now or
     * later. */
    void (*request)(http_exchange *exchange, void *user);
    /* The client of a request in hand has left: nothing may be sent any more, the exchange is not to be used
     * any more. */
    void (*gone)(http_exchange *exchange, void *user);
    /* Between http_begin() and http_end(): the client has taken what was sent. */
    void (*drained)(http_exchange *exchange, void *user);
    void *user;
} http_options;

/* Listens. A libuv code; the options are copied. */
int http_server_new(uv_loop_t *loop, const http_options *options, http_server **ret_server);
int http_server_port(const http_server *server);

/* Ends in good order: accepts nobody, closes idle connections at once and others after the answer to the
 * request they have in hand; those that are left after `patience_ms` are cut off. Then calls back; the server is
 * gone by then. */
void http_server_stop(http_server *server, uint64_t patience_ms, void (*stopped)(void *user),
                      void *user);

typedef struct http_counts {
    unsigned open;
    uint64_t accepted, requests, refused, gone;
    size_t unsent; /* bytes of answers that wait for their clients */
} http_counts;
http_counts http_server_counts(const http_server *server);

/* ---- the request ---- */

const char *http_method(const http_exchange *exchange);
const char *http_path(const http_exchange *exchange);  /* "/notes/7", not decoded */
const char *http_query(const http_exchange *exchange); /* after the '?', "" if there is none */
const char *http_body(const http_exchange *exchange, size_t *ret_size);

/* What the application keeps with a request; NULL for each new one. */
void http_set_task(http_exchange *exchange, void *task);
void *http_task(const http_exchange *exchange);

/* ---- the answer ---- */

/* Answers whole. The body is copied. */
void http_respond(http_exchange *exchange, int status, const char *type, const void *body,
                  size_t size);

/* Answers bit by bit. After each http_chunk() wait for `drained` before the next one: that is the whole
 * back-pressure. http_end() may follow at any time. */
void http_begin(http_exchange *exchange, int status, const char *type);
void http_chunk(http_exchange *exchange, const void *data, size_t size);
void http_end(http_exchange *exchange);

/* Breaks an answer off that was begun: the client sees that it is not whole. */
void http_abort(http_exchange *exchange);

#endif
