/* notes.h: the application: what each path means, in terms of http.h and store.h. */
#ifndef HTTPD_NOTES_H
#define HTTPD_NOTES_H

#include "http.h"
#include "store.h"

typedef struct notes {
    store *store;
    http_server *server; /* for its counts; set when it is there */
} notes;

/* For http_options; `user` is a notes. */
void notes_request(http_exchange *exchange, void *user);
void notes_gone(http_exchange *exchange, void *user);
void notes_drained(http_exchange *exchange, void *user);

#endif
