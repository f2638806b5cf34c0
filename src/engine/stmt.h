/* stmt.h: the handle of a prepared statement. */
#ifndef LLI_ENGINE_STMT_H
#define LLI_ENGINE_STMT_H

#include "db/stmtcache.h"
#include "engine/request.h"

#include <looplite/stmt.h>

struct ll_stmt {
    /* fixed after creation */
    ll_conn *conn; /* a reference */
    char *text;
    size_t size, parameters;
    enum lli_kind kind;
    bool read_only;
    unsigned lease;      /* of a pool's connection, under which it was prepared */
    ll_columns *columns; /* a reference, or NULL */

    /* whoever owns the connection */
    struct lli_stmt
        *pinned;          /* in the cache; NULL if it was not cached, or the connection is closed */
    struct lli_node node; /* in conn->prepared */

    ll_request end; /* internal, in place: freeing a handle needs no memory */

    /* the loop, inside ll_stmt_read(): see lend.c */
    ll_batch *rows;     /* lent until the next read; NULL until the first */
    ll_request reading; /* internal: what an interrupt from another thread finds */
};

#endif
