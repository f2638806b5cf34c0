/* hub.h: how the connections of a pool are opened: the sqlite3.Connections behind them. */
#ifndef LP_HUB_H
#define LP_HUB_H

#include "callback.h"

typedef struct lp_hub lp_hub;

/* One open connection of a pool. */
typedef struct lp_seat lp_seat;
struct lp_seat {
    /* fixed after creation */
    lp_seat *next;
    ll_conn *handle; /* the core's; until it is closed */
    sqlite3 *db;
    PyObject *connection;   /* the sqlite3.Connection */
    lp_link *link;          /* or NULL */
    PyObject *factories[2]; /* row_factory and text_factory that it began with */
    /* GIL */
    bool given; /* somebody has had it */
};

/* Opens with `opener`, whose reference it takes; then calls setup(connection), if that is not None, on the worker. NULL
 * with an exception. */
lp_hub *lp_hub_new(PyObject *module, lp_state *st, lp_opener *opener, PyObject *setup);
void lp_hub_unref(lp_hub *hub);

/* The hooks for ll_pool_new(), which hold a reference of their own until `release`. */
ll_adopt lp_hub_adopt(lp_hub *hub);

/* The seat of a connection of the pool; NULL: there is none. GIL. */
lp_seat *lp_hub_find(const lp_hub *hub, const ll_conn *handle);

int lp_hub_traverse(const lp_hub *hub, visitproc visit, void *arg);

#endif
