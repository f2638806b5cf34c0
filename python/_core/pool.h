/* pool.h: pools of connections: looplite._core.Pool (pool.c) and Lease (lease.c). */
#ifndef LP_POOL_H
#define LP_POOL_H

#include "hub.h"

#include <looplite/pool.h>

typedef struct lp_pool lp_pool;
struct lp_pool {
    PyObject_HEAD
    /* fixed after creation */
    lp_state *st;
    PyObject *module; /* keeps st alive */
    ll_pool *pool;    /* NULL: it could not be made */
    lp_hub *hub;
    PyObject *connector;    /* opens the same database with plain sqlite3 */
    PyObject *text_factory; /* of shared statements; NULL: str */
    PyObject *name;         /* of the database */
    Py_ssize_t chunk;
    int detect_types;
    ll_begin begin;      /* what a statement that writes would begin */
    uint64_t generation; /* of the process (fork) */
    /* GIL */
    PyObject *weakrefs;
    bool closed; /* close() was called */
    bool warned;
    lp_pool *next, *previous;
};

/* 0 when it can be used in this process; else -1 with an exception. */
int lp_pool_need(const lp_pool *pool);

/* Whether a finished call stood in line when the pool was closed; then the exception is set. */
bool lp_pool_closed_meanwhile(const lp_call *call);

/* lease.c: Pool.acquire(label). */
PyObject *lp_pool_acquire(PyObject *pool, PyObject *label);
int lp_lease_init(PyObject *module, lp_state *st);

/* Whether some pool of the process is open. */
bool lp_pools_are_open(const lp_state *st);

/* The atexit hook: warns of the pools that were not closed. */
void lp_pools_warn(lp_state *st);
/* In the child of a fork: they are the parent's. */
void lp_pools_forget(lp_state *st);

int lp_pool_init(PyObject *module, lp_state *st);

#endif
