/* Every allocation, thread start and VFS call fails once, in turn, while a program uses what stands on the handle itself:
 * blobs, serializing, functions, backups.
 *
 * Each step either works or gives a documented error; nothing may crash, hang or leak, and the file is whole. What a
 * scenario has to promise beyond that it checks itself. */
#include "support/support.h"

#include "base/fault.h"
#include "db/api.h"

#include <unistd.h>

struct run {
    const char *path;
    ll_engine *engine;
    ll_conn *conn;
    enum lli_fault_kind kind;
    unsigned long nth;
    size_t errors;
};

typedef void scenario_fn(struct run *run);

#define BAD(run, format, ...) \
    t_fail(__FILE__, __LINE__, "fault %d, %lu: " format, (int)(run)->kind, (run)->nth, __VA_ARGS__)

/* Whether a step may end like this. */
static bool may_be(struct run *run, ll_status status, int sqlite_code, const char *step,
                   const char *message)
{
    bool ok = status == LL_OK;
    if (status == LL_ECLOSED)
        ok = run->errors > 0;
    else if (status == LL_ENOMEM || status == LL_ESYS)
        ok = run->kind != LLI_FAULT_VFS;
    else if (status == LL_ESQL || status == LL_EBUSY)
        ok = sqlite_code != 0 && (sqlite_code & 0xff) != SQLITE_MISUSE &&
             (sqlite_code & 0xff) != SQLITE_CORRUPT && (sqlite_code & 0xff) != SQLITE_INTERRUPT;
    if (!ok)
        BAD(run, "%s gave %s (%d): %s", step, ll_status_name(status), sqlite_code, message);
    if (status != LL_OK) {
        run->errors++;
        if (!lli_fault_fired())
            BAD(run, "%s gave %s before any fault: %s", step, ll_status_name(status), message);
    }
    return status == LL_OK;
}

/* Waits for a step; true when it worked. The request is the caller's. */
static bool step(struct run *run, const char *name, ll_status submitted, ll_request **request)
{
    if (submitted < 0) {
        T_CHECK(*request == NULL);
        return may_be(run, submitted, 0, name, ll_last_error());
    }
    if (submitted == LL_PENDING && ll_request_wait(*request) != LL_OK)
        T_CHECK(ll_request_is_done(*request));
    const ll_error *error = ll_request_error(*request);
    return may_be(run, error->status, error->sqlite_code, name, error->message);
}

static void finish(ll_request **request)
{
    ll_request_unref(*request);
    *request = NULL;
}

static bool exec(struct run *run, const char *sql)
{
    ll_request *request = NULL;
    bool fine = step(run, sql, ll_exec(run->conn, sql, NULL, 0, NULL, &request), &request);
    finish(&request);
    return fine;
}

/* ---- the scenarios ------------------------------------------------------------------------------ */

static void use_blob(struct run *run)
{
    ll_request *request = NULL;
    ll_blob_place place = {.table = "t", .column = "data", .rowid = 1, .writable = true};
    step(run, "open", ll_blob_open(run->conn, &place, NULL, &request), &request);
    ll_blob_handle *blob = ll_request_take_blob(request);
    finish(&request);
    if (!blob)
        return;
    step(run, "write", ll_blob_write(blob, 100, "written", 7, NULL, &request), &request);
    bool written = request && ll_request_outcome(request) == LL_APPLIED;
    bool not = !request || ll_request_outcome(request) == LL_NOT_APPLIED;
    finish(&request);
    if (step(run, "read", ll_blob_read(blob, 100, 7, NULL, &request), &request) && written)
        T_CHECK(memcmp(ll_request_bytes(request, NULL), "written", 7) == 0);
    finish(&request);
    bool closed = step(run, "close", ll_blob_close(blob, NULL, &request), &request);
    bool told = request && ll_request_outcome(request) == LL_APPLIED;
    finish(&request);
    ll_blob_free(blob);
    exec(run, "CREATE TABLE IF NOT EXISTS behind(x)"); /* the lock is free again */
    static const char there[] = "SELECT substr(data, 101, 7) = CAST('written' AS BLOB) FROM t";
    if (written && closed && told && t_file_int(run->path, there) != 1)
        BAD(run, "%s", "what was written and closed is not there");
    if (not &&t_file_int(run->path, there) != 0)
        BAD(run, "%s", "what was not written is there");
    step(run, "reopen", ll_blob_open(run->conn, &place, NULL, &request), &request);
    finish(&request); /* with the handle that nobody took */
}

static void use_serialize(struct run *run)
{
    ll_request *request = NULL, *back = NULL;
    if (step(run, "serialize", ll_serialize(run->conn, NULL, NULL, &request), &request)) {
        size_t size;
        const void *bytes = ll_request_bytes(request, &size);
        step(run, "deserialize", ll_deserialize(run->conn, NULL, bytes, size, 0, NULL, &back),
             &back);
        finish(&back);
    }
    finish(&request);
    exec(run, "SELECT count(*) FROM t");
}

static size_t destroyed;

static void destroy(void *user)
{
    (void)user;
    __atomic_add_fetch(&destroyed, 1, __ATOMIC_SEQ_CST);
}

static void twice(ll_context *context, const ll_value *args, size_t count)
{
    (void)count;
    ll_value result = ll_integer(2 * args[0].as.integer);
    ll_context_result(context, &result);
}

static int compare(void *user, const char *a, size_t a_size, const char *b, size_t b_size)
{
    (void)user;
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order != 0 ? order : (int)a_size - (int)b_size;
}

static void on_rollback(void *user)
{
    (void)user;
}

/* Each `user` is given back once, whatever has failed. */
static void use_functions(struct run *run)
{
    ll_request *request = NULL;
    ll_function function = {.name = "twice", .args = 1, .call = twice, .destroy = destroy};
    ll_collation collation = {.name = "bytes", .compare = compare, .destroy = destroy};
    ll_hooks hooks = {.rollback = on_rollback, .destroy = destroy};
    destroyed = 0;
    bool f = step(run, "function", ll_function_create(run->conn, &function, NULL, &request),
                  &request);
    finish(&request);
    bool c = step(run, "collation", ll_collation_create(run->conn, &collation, NULL, &request),
                  &request);
    finish(&request);
    bool h = step(run, "hooks", ll_hooks_set(run->conn, &hooks, NULL, &request), &request);
    finish(&request);
    size_t failed = (size_t)!f + (size_t)!c + (size_t)!h;
    if (__atomic_load_n(&destroyed, __ATOMIC_SEQ_CST) != failed)
        BAD(run, "%zu failed, and %zu were given back", failed, destroyed);
    if (f && c)
        exec(run, "SELECT twice(id) FROM t ORDER BY data COLLATE bytes");
}

/* The target holds all of the source, or what it held. */
static void use_backup(struct run *run)
{
    char path[640];
    snprintf(path, sizeof path, "%s.copy", run->path);
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < 4; i++) {
        char name[660];
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
    t_file_sql(path,
               "CREATE TABLE t(id INTEGER PRIMARY KEY, data); INSERT INTO t VALUES(7, 'old')");
    ll_request *request = NULL;
    ll_backup_options options = {.pages = 3};
    step(run, "backup", ll_backup_to_file(run->conn, path, &options, NULL, &request), &request);
    ll_outcome outcome = request ? ll_request_outcome(request) : LL_NOT_APPLIED;
    finish(&request);
    exec(run, "INSERT INTO t(data) VALUES('goes on')");
    if (access(path, F_OK) != 0)
        BAD(run, "%s", "the target is gone");
    t_integrity(path);
    bool copied = t_file_int(path, "SELECT count(*) FROM t WHERE id = 7") == 0;
    if (outcome == LL_APPLIED ? !copied : outcome == LL_NOT_APPLIED && copied)
        BAD(run, "it says %s, and the target is%s a copy",
            outcome == LL_APPLIED ? "applied" : "not applied", copied ? "" : " not");
}

/* ---- the loop ----------------------------------------------------------------------------------- */

static void program(struct run *run, scenario_fn *scenario)
{
    static const char *const pragmas[] = {"synchronous=OFF", NULL};
    ll_open_options options = {.pragmas = pragmas, .busy_timeout_ns = 50 * T_MS};
    ll_request *request = NULL;
    if (!may_be(run, ll_engine_new(NULL, &run->engine), 0, "engine", ll_last_error()))
        return;
    step(run, "open", ll_conn_open(run->engine, run->path, &options, NULL, &run->conn, &request),
         &request);
    finish(&request);
    if (run->conn) {
        scenario(run);
        step(run, "close", ll_conn_close(run->conn, NULL, &request), &request);
        finish(&request);
        ll_conn_unref(run->conn);
    }
    ll_engine_free(run->engine);
}

static void fail_each_once(t_env *t, enum lli_fault_kind kind, scenario_fn *scenario,
                           const char *schema, unsigned long least)
{
    unsigned long stride = getenv("LL_TEST_SLOW") ? 7 : 1, nth = 0;
    for (bool fired = true; fired;) {
        nth += nth < 20 ? 1 : stride;
        char path[600];
        snprintf(path, sizeof path, "%s/f%d-%lu", t->dir, (int)kind, nth);
        struct run run = {.path = path, .kind = kind, .nth = nth};
        t_file_sql(path, schema);
        size_t before = ll_live_objects();
        alarm(0);
        t_watchdog();
        lli_fault_arm(kind, nth);
        program(&run, scenario);
        fired = lli_fault_fired();
        lli_fault_disarm();
        if (scenario == use_functions && run.conn && destroyed != 3)
            BAD(&run, "%zu of 3 were given back", destroyed);
        if (ll_live_objects() != before)
            BAD(&run, "%zu objects leak", ll_live_objects() - before);
        if (!fired && run.errors)
            BAD(&run, "%s", "errors without a fault");
        t_integrity(path);
        static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
        for (size_t i = 0; i < 4; i++) {
            char name[640];
            snprintf(name, sizeof name, "%s%s", path, endings[i]);
            unlink(name);
        }
    }
    if (nth <= least)
        t_fail(__FILE__, __LINE__, "only %lu calls were there to fail", nth - 1);
}

static void in_all_ways(t_env *t, scenario_fn *scenario, const char *schema)
{
    fail_each_once(t, LLI_FAULT_ALLOC, scenario, schema, 15);
    fail_each_once(t, LLI_FAULT_THREAD, scenario, schema, 1);
    fail_each_once(t, LLI_FAULT_VFS, scenario, schema, 15);
}

static void blobs(void **state)
{
    static const char schema[] = "CREATE TABLE t(id INTEGER PRIMARY KEY, data);"
                                 "INSERT INTO t VALUES(1, zeroblob(20000))";
    in_all_ways(*state, use_blob, schema);
}

static void serializing(void **state)
{
    static const char schema[] = "CREATE TABLE t(id INTEGER PRIMARY KEY, data);"
                                 "INSERT INTO t VALUES(1, randomblob(20000))";
    if (lli_sqlite_ready() == LL_OK && lli_sq.serialize) /* not every SQLite has it */
        in_all_ways(*state, use_serialize, schema);
}

static void functions(void **state)
{
    static const char schema[] = "CREATE TABLE t(id INTEGER PRIMARY KEY, data);"
                                 "INSERT INTO t VALUES(1, 'b'), (2, 'a')";
    in_all_ways(*state, use_functions, schema);
}

static void backups(void **state)
{
    static const char schema[] = "CREATE TABLE t(id INTEGER PRIMARY KEY, data);"
                                 "INSERT INTO t VALUES(1, randomblob(50000))";
    in_all_ways(*state, use_backup, schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(blobs),
        T_TEST(serializing),
        T_TEST(functions),
        T_TEST(backups),
    };
    return T_RUN(tests);
}
