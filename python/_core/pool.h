/* pool.h: pools of connections: looplite._core.Pool (pool.c) and Lease (lease.c). */
#ifndef LP_POOL_H
#define LP_POOL_H

#include "hub.h"

#include <looplite/pool.h>
#include <looplite/writer.h>

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
    struct lp_group *group; /* group.c; NULL: each statement has a commit of its own */
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

/* group.c: single writes share commits, by a connection of their own. `options`: how it is opened; `timeout_ns`: how
 * long a statement may take, 0: as long as it likes. NULL with an exception. */
struct lp_group *lp_group_new(lp_pool *pool, const ll_open_options *options, uint64_t timeout_ns);
void lp_group_free(struct lp_group *group);
/* As ll_pool_exec(), if the statement is one for the group; LL_ENEEDSLEASE: it is not, or not now. */
ll_status lp_group_exec(lp_pool *pool, lp_call *call, const ll_sql *sql, const ll_submit *how);
/* Whether a finished call that went to the group was not run, because its connection's file is not the one of that name
 * any more: the pool's connections are the ones to look for it. */
bool lp_group_refused(const lp_call *call);
/* Closes its connection: as ll_pool_close(). LL_OK: it has none. */
ll_status lp_group_close(lp_pool *pool, lp_call *call, const ll_submit *how);
void lp_group_stats(const lp_pool *pool, ll_writer_stats *ret_stats);

/* The atexit hook: warns of the pools that were not closed. */
void lp_pools_warn(lp_state *st);
/* In the child of a fork: they are the parent's. */
void lp_pools_forget(lp_state *st);

int lp_pool_init(PyObject *module, lp_state *st);

#endif
