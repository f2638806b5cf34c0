/* load.c: see the header. Each client is a small machine that submits its next step when the one before has finished. */
#include "support/load.h"

#include <unistd.h>

enum {
    MOST_PARTS = 6,
    MOST_CLIENTS = 32,
    POOL_SIZE = 3,
    CHECKPOINT_FRAMES = 40
};

const char *const t_load_way_names[T_LOAD_WAYS] = {
    [T_LOAD_CONNS] = "connections",
    [T_LOAD_GROUP] = "group commit",
    [T_LOAD_POOL] = "pool",
    [T_LOAD_POOL_GROUP] = "pool with group commit",
};

enum step {
    STEP_LEASE,
    STEP_SINGLE,
    STEP_MANY,
    STEP_BEGIN,
    STEP_INSERT,
    STEP_COMMIT,
    STEP_ROLLBACK,
    STEP_BACKUP,
    STEP_READ,
    STEP_STREAM,
    STEP_NEXT
};

struct client {
    t_load *load;
    unsigned number;
    bool reads, resting;
    ll_conn *conn; /* its own, or that of the lease; NULL: none */
    ll_lease *lease;
    ll_cursor *cursor;
    ll_request *request; /* what it waits for */
    enum step step, after_lease;
    size_t op;
    unsigned part;
    bool gives_up; /* ends with ROLLBACK */
    char backup[640];
};

struct t_load {
    t_load_options options;
    ll_engine *engine;
    ll_writer *writer;
    ll_conn *writing;
    ll_pool *pool;
    struct client clients[MOST_CLIENTS];
    unsigned count, active; /* clients; those that have something outstanding */
    struct t_load_op *ops;
    size_t op_count, most;
    uint64_t random;
    unsigned backups;
};

static uint64_t draw(t_load *load, uint64_t below)
{
    load->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = load->random;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

static size_t now(const t_load *load)
{
    return load->options.clock ? load->options.clock() : 0;
}

static bool pooled(const t_load *load)
{
    return load->options.way == T_LOAD_POOL || load->options.way == T_LOAD_POOL_GROUP;
}

/* ---- the schema ---- */

void t_load_schema(const char *path, const char *journal)
{
    char text[128];
    sqlite3 *db = t_raw_open(path);
    snprintf(text, sizeof text, "PRAGMA journal_mode = %s; PRAGMA synchronous = OFF", journal);
    t_raw(db, text);
    t_raw(
        db,
        "CREATE TABLE tally(client INTEGER PRIMARY KEY, ops INTEGER NOT NULL, parts INTEGER NOT "
        "NULL);"
        "CREATE TABLE item(op INTEGER NOT NULL, part INTEGER NOT NULL, client INTEGER NOT NULL,"
        " parts INTEGER NOT NULL, payload TEXT, PRIMARY KEY(op, part));"
        "CREATE INDEX by_payload ON item(payload);"
        "CREATE TRIGGER counted AFTER INSERT ON item BEGIN"
        " UPDATE tally SET parts = parts + 1, ops = ops + (NEW.part = 0) WHERE client = NEW.client;"
        "END;"
        "WITH RECURSIVE c(x) AS (VALUES(0) UNION ALL SELECT x + 1 FROM c WHERE x < 31)"
        " INSERT INTO tally SELECT x, 0, 0 FROM c");
    t_raw_close(db);
}

/* ---- one step ---- */

static const char single_text[] =
    "WITH RECURSIVE p(n) AS (VALUES(0) UNION ALL SELECT n + 1 FROM p WHERE n < ?3 - 1)"
    " INSERT INTO item SELECT ?1, n, ?2, ?3, hex(randomblob(?4)) FROM p";
static const char row_text[] = "INSERT INTO item VALUES(?1, ?5, ?2, ?3, hex(randomblob(?4)))";
static const char broken_text[] =
    "SELECT count(*) FROM (SELECT 1 FROM item GROUP BY op HAVING count(*) <> max(parts))";

static void go(struct client *c);

static void take_lease(struct client *c)
{
    c->lease = ll_request_take_lease(c->request);
    c->conn = ll_lease_conn(c->lease);
}

static void give_lease(struct client *c)
{
    if (c->lease) {
        ll_status status = ll_pool_release(c->lease, NULL, NULL);
        (void)status;
        c->lease = NULL;
        c->conn = NULL;
    }
}

static void on_done(ll_request *request, void *user);

static ll_status submit_op(struct client *c, const ll_submit *how)
{
    t_load *load = c->load;
    const struct t_load_op *op = &load->ops[c->op];
    int64_t size = (int64_t)(draw(load, 12) == 0 ? 3000 : 20 + draw(load, 300));
    ll_value values[5 * MOST_PARTS];
    ll_value row[5] = {ll_integer((int64_t)c->op), ll_integer(c->number), ll_integer(op->parts),
                       ll_integer(size), ll_integer(c->part)};
    if (c->step == STEP_MANY) {
        for (unsigned i = 0; i < op->parts; i++) {
            memcpy(&values[5 * i], row, sizeof row);
            values[5 * i + 4] = ll_integer(i);
        }
        ll_many many = {.text = row_text,
                        .size = LL_NUL_TERMINATED,
                        .values = values,
                        .rows = op->parts,
                        .width = 5,
                        .atomic = true};
        return ll_exec_many(c->conn, &many, how, &c->request);
    }
    ll_sql sql = {.text = c->step == STEP_SINGLE ? single_text : row_text,
                  .size = LL_NUL_TERMINATED,
                  .params = {.values = row, .count = c->step == STEP_SINGLE ? 4 : 5}};
    if (c->step == STEP_SINGLE && pooled(load))
        return ll_pool_exec(load->pool, &sql, how, &c->request);
    if (c->step == STEP_SINGLE && load->writer)
        return ll_writer_submit(load->writer, c->conn, &sql, how, &c->request);
    return ll_conn_submit(c->conn, &sql, how, &c->request);
}

static ll_status submit(struct client *c)
{
    t_load *load = c->load;
    char text[800];
    ll_submit how = {.done = on_done, .user = c};
    ll_sql read = {.text = broken_text, .size = LL_NUL_TERMINATED};
    c->request = NULL;
    switch (c->step) {
    case STEP_LEASE:
        return ll_pool_acquire(load->pool, "load", &how, &c->request);
    case STEP_SINGLE:
    case STEP_MANY:
    case STEP_INSERT:
        how.flags = draw(load, 2) ? LL_SUBMIT_INTERRUPT : 0;
        return submit_op(c, &how);
    case STEP_BEGIN:
        return ll_txn_begin(c->conn, draw(load, 4) ? LL_BEGIN_IMMEDIATE : LL_BEGIN_DEFERRED, &how,
                            &c->request);
    case STEP_COMMIT:
        return ll_txn_commit(c->conn, &how, &c->request);
    case STEP_ROLLBACK:
        return ll_txn_rollback(c->conn, &how, &c->request);
    case STEP_BACKUP:
        snprintf(c->backup, sizeof c->backup, "%s/backup%u", load->options.backup_dir,
                 load->backups++);
        snprintf(text, sizeof text, "VACUUM INTO '%s'", c->backup);
        return ll_exec(c->conn, text, NULL, 0, &how, &c->request);
    case STEP_READ:
        return pooled(load) ? ll_pool_exec(load->pool, &read, &how, &c->request)
                            : ll_conn_submit(c->conn, &read, &how, &c->request);
    case STEP_STREAM:
        read.text = "SELECT op, part FROM item";
        read.flags = LL_SQL_STREAM;
        read.first_rows = 20;
        return ll_conn_submit(c->conn, &read, &how, &c->request);
    case STEP_NEXT:
        return ll_cursor_next(c->cursor, &how, &c->request);
    }
    abort();
}

/* ---- what comes after a step ---- */

/* The first step of something that needs a connection for itself. */
static enum step with_conn(struct client *c, enum step step)
{
    c->after_lease = step;
    return pooled(c->load) && !c->lease ? STEP_LEASE : step;
}

/* False: there is nothing left for this client. */
static bool begin_op(struct client *c)
{
    t_load *load = c->load;
    if (load->op_count >= load->most)
        return false;
    c->op = load->op_count++;
    c->part = 0;
    c->gives_up = draw(load, 8) == 0;
    load->ops[c->op] = (struct t_load_op){
        .asked_at = now(load), .client = c->number, .parts = 1 + (unsigned)draw(load, MOST_PARTS)};
    if (load->options.asking)
        load->options.asking(load->options.arg, c->op);
    uint64_t kind = draw(load, 8);
    c->step = kind < 4  ? STEP_SINGLE
            : kind == 4 ? with_conn(c, STEP_MANY)
                        : with_conn(c, STEP_BEGIN);
    load->ops[c->op].how = kind < 4 ? "single" : kind == 4 ? "many" : "transaction";
    return true;
}

static bool begin_read(struct client *c)
{
    if (c->load->op_count >= c->load->most)
        return false;
    c->step = draw(c->load, 3) ? STEP_READ : with_conn(c, STEP_STREAM);
    return true;
}

static void tell(struct client *c, const ll_request *request, ll_outcome outcome)
{
    struct t_load_op *op = &c->load->ops[c->op];
    T_CHECK(!op->told);
    op->told = true;
    op->outcome = outcome;
    op->told_at = now(c->load);
    if (request) {
        op->status = ll_request_status(request);
        op->sqlite_code = ll_request_error(request)->sqlite_code;
    }
    if (c->load->options.told)
        c->load->options.told(c->load->options.arg, c->op);
}

static bool op_is_over(struct client *c)
{
    give_lease(c);
    if (draw(c->load, 64) < c->load->options.backup_of_64) {
        c->step = with_conn(c, STEP_BACKUP);
        return true;
    }
    return begin_op(c);
}

static void check_no_broken_op(struct client *c, ll_request *request)
{
    if (ll_request_status(request) != LL_OK)
        return;
    ll_batch *batch = ll_request_take_batch(request);
    T_CHECK(batch && ll_batch_rows(batch) == 1);
    T_EQUAL(ll_batch_row(batch, 0)[0].as.integer, 0);
    ll_batch_free(batch);
    (void)c;
}

/* A file that VACUUM INTO has made is whole, or the statement has failed. */
static void check_backup(struct client *c, ll_request *request)
{
    if (ll_request_status(request) == LL_OK) {
        unsigned char *found = calloc(c->load->most, 1);
        T_CHECK(found != NULL);
        const char *wrong = t_load_look(c->backup, c->load->most, found);
        if (wrong)
            t_fail(__FILE__, __LINE__, "%s: %s", c->backup, wrong);
        free(found);
    }
    unlink(c->backup);
}

/* Takes the end of a writer's step. False: nothing left to do. */
static bool wrote(struct client *c, ll_status status, ll_request *request)
{
    ll_outcome outcome = request ? ll_request_outcome(request) : LL_NOT_APPLIED;
    const struct t_load_op *op = &c->load->ops[c->op];
    switch (c->step) {
    case STEP_LEASE:
        if (status == LL_OK) {
            take_lease(c);
            c->step = c->after_lease;
            return true;
        }
        if (c->after_lease != STEP_BACKUP)
            tell(c, request, LL_NOT_APPLIED);
        return c->after_lease == STEP_BACKUP ? begin_op(c) : op_is_over(c);
    case STEP_SINGLE:
    case STEP_MANY:
        tell(c, request, outcome);
        return op_is_over(c);
    case STEP_BEGIN:
        c->step = STEP_INSERT;
        if (status == LL_OK)
            return true;
        c->step = STEP_ROLLBACK; /* cancelled or not: nothing is open afterwards */
        return true;
    case STEP_INSERT:
        if (status != LL_OK)
            c->step = STEP_ROLLBACK;
        else if (++c->part == op->parts)
            c->step = c->gives_up ? STEP_ROLLBACK : STEP_COMMIT;
        return true;
    case STEP_COMMIT:
        if (status == LL_OK || outcome != LL_NOT_APPLIED) {
            tell(c, request, outcome);
            if (status == LL_OK)
                return op_is_over(c);
        }
        c->step = STEP_ROLLBACK;
        return true;
    case STEP_ROLLBACK:
        /* Without memory it has not run: what comes next would be part of a transaction that is never committed. */
        if (status == LL_ENOMEM)
            return true;
        if (!op->told)
            tell(c, request, LL_NOT_APPLIED);
        return op_is_over(c);
    case STEP_BACKUP:
        if (request)
            check_backup(c, request);
        give_lease(c);
        return begin_op(c);
    default:
        abort();
    }
}

static bool read_more(struct client *c, ll_status status, ll_request *request)
{
    if (c->step == STEP_READ) {
        if (request)
            check_no_broken_op(c, request);
        return begin_read(c);
    }
    if (c->step == STEP_LEASE && status == LL_OK) {
        take_lease(c);
        c->step = STEP_STREAM;
        return true;
    }
    if (c->step == STEP_STREAM && status == LL_OK)
        c->cursor = ll_request_take_cursor(request);
    if (c->step == STEP_STREAM || c->step == STEP_NEXT) {
        ll_batch *batch = request ? ll_request_take_batch(request) : NULL;
        bool ended = status != LL_OK || !batch;
        ll_batch_free(batch);
        if (c->cursor && !ended && draw(c->load, 8)) {
            c->step = STEP_NEXT;
            return true;
        }
    }
    if (c->cursor)
        ll_cursor_close(c->cursor);
    c->cursor = NULL;
    give_lease(c);
    return begin_read(c);
}

static bool goes_on(struct client *c, ll_status status, ll_request *request)
{
    return c->reads ? read_more(c, status, request) : wrote(c, status, request);
}

/* Submits until something is pending or nothing is left. */
static void go(struct client *c)
{
    t_load *load = c->load;
    for (;;) {
        ll_status status = submit(c);
        if (status == LL_PENDING) {
            bool may = c->step == STEP_SINGLE || c->step == STEP_MANY || c->step == STEP_INSERT ||
                       c->step == STEP_COMMIT;
            if (may && draw(load, 16) < load->options.cancel_of_16)
                T_CHECK(ll_request_cancel(c->request) == LL_OK);
            return;
        }
        ll_request *request = c->request;
        c->request = NULL;
        if (request)
            status = ll_request_status(request);
        bool more;
        if (c->step == STEP_LEASE && request) { /* take_lease() looks there */
            c->request = request;
            more = goes_on(c, status, request);
        } else {
            more = goes_on(c, status, request);
        }
        c->request = NULL;
        ll_request_unref(request);
        if (!more)
            break;
    }
    c->resting = true;
    load->active--;
}

static void on_done(ll_request *request, void *user)
{
    struct client *c = user;
    T_CHECK(request == c->request);
    bool more = goes_on(c, ll_request_status(request), request);
    ll_request_unref(request);
    if (more) {
        go(c);
        return;
    }
    c->request = NULL;
    c->resting = true;
    c->load->active--;
}

/* ---- all of them ---- */

/* Connections are told about by t_load_run(): one that cannot be opened refuses everything. */
static bool open_conn(t_load *load, const char *path, const ll_open_options *options,
                      ll_conn **ret_conn)
{
    ll_request *request = NULL;
    ll_status status = ll_conn_open(load->engine, path, options, NULL, ret_conn, &request);
    if (status == LL_PENDING)
        status = ll_request_wait(request);
    ll_request_unref(request);
    return status == LL_OK;
}

static bool open_way(t_load *load, const char *path)
{
    const t_load_options *o = &load->options;
    char journal[64], synchronous[64];
    snprintf(journal, sizeof journal, "journal_mode=%s", o->journal);
    snprintf(synchronous, sizeof synchronous, "synchronous=%s", o->synchronous);
    const char *const pragmas[] = {journal, synchronous, "wal_autocheckpoint=40", "cache_size=30",
                                   NULL};
    ll_open_options open = {.pragmas = pragmas, .busy_timeout_ns = T_HOUR};
    if (pooled(load)) {
        ll_pool_options pool = {.max_size = POOL_SIZE,
                                .connect_timeout_ns = LL_POOL_NEVER,
                                .checkpoint_frames = CHECKPOINT_FRAMES,
                                .open = open,
                                .group_commit = o->way == T_LOAD_POOL_GROUP};
        return ll_pool_new(load->engine, path, &pool, &load->pool) == LL_OK;
    }
    bool opened = true;
    for (unsigned i = 0; i < load->count; i++)
        opened = open_conn(load, path, &open, &load->clients[i].conn) && opened;
    if (opened && o->way == T_LOAD_GROUP)
        opened = open_conn(load, path, &open, &load->writing) &&
                 ll_writer_new(load->writing, NULL, &load->writer) == LL_OK;
    return opened;
}

bool t_load_begin(t_load **ret_load, ll_engine *engine, const char *path,
                  const t_load_options *options)
{
    t_load *load = calloc(1, sizeof *load);
    T_CHECK(load != NULL && options->writers + options->readers <= MOST_CLIENTS);
    load->options = *options;
    load->engine = engine;
    load->random = options->seed;
    load->most = options->ops;
    load->ops = calloc(options->ops + 1, sizeof *load->ops);
    T_CHECK(load->ops != NULL);
    load->count = options->writers + options->readers;
    for (unsigned i = 0; i < load->count; i++)
        load->clients[i] = (struct client){
            .load = load, .number = i, .reads = i >= options->writers, .resting = true};
    *ret_load = load;
    return open_way(load, path);
}

void t_load_run(t_load *load)
{
    for (unsigned i = 0; i < load->count; i++) {
        struct client *c = &load->clients[i];
        if (c->resting && (c->reads ? begin_read(c) : begin_op(c))) {
            c->resting = false;
            load->active++;
            go(c);
        }
    }
    while (load->active > 0)
        T_CHECK(ll_engine_wait(load->engine, -1, NULL) == LL_OK);
}

void t_load_more(t_load *load, size_t ops)
{
    load->most += ops;
    load->ops = realloc(load->ops, (load->most + 1) * sizeof *load->ops);
    T_CHECK(load->ops != NULL);
    t_load_run(load);
}

ll_outcome t_load_outcome(const t_load *load, size_t op)
{
    return load->ops[op].outcome;
}

struct t_load_op *t_load_end(t_load *load, size_t *ret_count)
{
    for (unsigned i = 0; i < load->count; i++)
        ll_conn_unref(load->clients[i].conn);
    ll_writer_free(load->writer);
    ll_conn_unref(load->writing);
    ll_pool_unref(load->pool);
    /* Closing by itself is nobody's request: the caller frees the engine. */
    struct t_load_op *ops = load->ops;
    *ret_count = load->op_count;
    free(load);
    return ops;
}
