/* group.c: single writes of a pool that share commits (looplite/writer.h).
 *
 * A writer needs a connection that nobody uses for anything else, opened as those of the pool are. It is opened when
 * the first write comes; until it is open, writes go to the pool's connections, each with a commit of its own. Should
 * opening fail, so they do for good, and the pool's own connections say what is wrong; the next write tries again.
 * One that has met an error of its file is given up, and opened again in the same way. What it refused because the file
 * has lost its name goes to the pool's connections, which are looked at in the pool's intervals.
 *
 * Only what begins with INSERT, UPDATE, DELETE or REPLACE comes here. What asks for changes() and the like, or names
 * temporary objects, has a connection of its own before it gets here (looplite.adapters.aiosqlite._text).
 *
 * A statement is answered when its group is durable, so whoever reads afterwards sees it, on any connection. */
#include "pool.h"

#include <string.h>

typedef struct lp_group lp_group;
struct lp_group {
    /* fixed after creation */
    ll_open_options options;
    const char **pragmas; /* of options; NULL-terminated, each of the heap */
    uint64_t timeout_ns;
    /* GIL */
    ll_conn *conn; /* NULL: not opened yet */
    ll_writer *writer;
};

static void free_texts(lp_group *group)
{
    for (size_t i = 0; group->pragmas && group->pragmas[i]; i++)
        PyMem_Free((void *)(uintptr_t)group->pragmas[i]);
    PyMem_Free((void *)group->pragmas);
}

static int copy_texts(lp_group *group, const char *const *pragmas)
{
    size_t count = 0;
    while (pragmas && pragmas[count])
        count++;
    group->pragmas = PyMem_Calloc(count + 1, sizeof *group->pragmas);
    if (!group->pragmas)
        return -1;
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(pragmas[i]) + 1;
        char *copy = PyMem_Malloc(size);
        if (!copy)
            return -1;
        memcpy(copy, pragmas[i], size);
        group->pragmas[i] = copy;
    }
    group->options.pragmas = group->pragmas;
    return 0;
}

lp_group *lp_group_new(lp_pool *pool, const ll_open_options *options, uint64_t timeout_ns)
{
    (void)pool;
    lp_group *group = PyMem_Calloc(1, sizeof *group);
    if (group) {
        group->options = *options;
        group->timeout_ns = timeout_ns;
    }
    if (!group || copy_texts(group, options->pragmas) < 0) {
        lp_group_free(group);
        PyErr_NoMemory();
        return NULL;
    }
    return group;
}

static void let_go(lp_group *group)
{
    ll_writer_free(group->writer);
    group->writer = NULL;
    ll_conn_unref(group->conn);
    group->conn = NULL;
}

void lp_group_free(lp_group *group)
{
    if (!group)
        return;
    let_go(group);
    free_texts(group);
    PyMem_Free(group);
}

static void opened(ll_request *request, void *user)
{
    (void)request;
    (void)user; /* it is seen at the connection */
}

/* Begins to open the writer's connection. */
static void begin_to_open(lp_pool *pool, const ll_submit *how)
{
    lp_group *group = pool->group;
    ll_adopt adopt = lp_hub_adopt(pool->hub);
    ll_submit quietly = {.done = opened, .engine = how->engine};
    ll_request *request = NULL;
    ll_status status = ll_conn_open_adopted(pool->st->root, &adopt, &group->options, &quietly,
                                            &group->conn, &request);
    if (status < 0) {
        group->conn = NULL;
        return;
    }
    ll_request_unref(request);
    if (ll_writer_new(group->conn, NULL, &group->writer) != LL_OK) {
        group->writer = NULL;
        let_go(group);
    }
}

/* Whether the writer can be used now. */
static bool is_ready(lp_pool *pool, const ll_submit *how)
{
    lp_group *group = pool->group;
    ll_conn_state state;
    if (group->conn) {
        ll_conn_get_state(group->conn, &state);
        if (!state.open && !state.idle)
            return false; /* being opened */
        if (state.open && !ll_writer_is_broken(group->writer))
            return !state.closing;
        let_go(group); /* it closes behind what it was given */
    }
    begin_to_open(pool, how);
    return false;
}

static bool is_write(const ll_sql *sql)
{
    static const char *const words[] = {"INSERT", "UPDATE", "DELETE", "REPLACE"};
    const char *text = sql->text + strspn(sql->text, " \t\n\r\f");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (PyOS_strnicmp(text, words[i], (Py_ssize_t)strlen(words[i])) == 0)
            return true;
    return false;
}

ll_status lp_group_exec(lp_pool *pool, lp_call *call, const ll_sql *sql, const ll_submit *how)
{
    if (pool->closed || !is_write(sql) || !is_ready(pool, how))
        return LL_ENEEDSLEASE;
    ll_submit limited = *how;
    if (pool->group->timeout_ns > 0) {
        limited.timeout_ns = pool->group->timeout_ns;
        limited.flags |= LL_SUBMIT_INTERRUPT;
    }
    ll_status status = ll_writer_submit(pool->group->writer, NULL, sql, &limited, &call->request);
    return status == LL_EINVAL || status == LL_ECLOSED ? LL_ENEEDSLEASE : status;
}

bool lp_group_refused(const lp_call *call)
{
    return call->finished && call->request && call->status != LL_OK &&
           call->outcome == LL_NOT_APPLIED &&
           ll_request_error(call->request)->sqlite_code == SQLITE_READONLY_DBMOVED;
}

ll_status lp_group_close(lp_pool *pool, lp_call *call, const ll_submit *how)
{
    lp_group *group = pool->group;
    if (!group || !group->conn)
        return LL_OK;
    ll_status status = ll_conn_close(group->conn, how, &call->request);
    let_go(group);
    return status;
}

void lp_group_stats(const lp_pool *pool, ll_writer_stats *ret_stats)
{
    ll_writer_get_stats(pool->group ? pool->group->writer : NULL, ret_stats);
}
