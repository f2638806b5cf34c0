/* Opening and closing on the loop: when it is done inside the call, when a worker does it, and that the file is left
 * the same either way. */
#include "world.h"

#include "db/vfs_gate.h"

#include <sys/stat.h>
#include <unistd.h>

/* Opens a file through our VFS, as the Python package does. */
struct source {
    struct world *w;
    const char *path;
    int opened, closed, released;
    int fail;          /* so many openings fail first */
    uint64_t takes_ns; /* an opening takes so long */
    uint64_t close_takes_ns;
};

static int source_open(void *arg, sqlite3 **ret_db, char **ret_message)
{
    struct source *source = arg;
    source->opened++;
    if (source->takes_ns > 0)
        lli_step_advance(&source->w->step, source->takes_ns);
    if (source->fail > 0) {
        source->fail--;
        return SQLITE_CANTOPEN;
    }
    const char *path = source->path[0] != '\0' ? source->path : ":memory:";
    int rc = sqlite3_open_v2(path, ret_db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX,
                             LLI_VFS_NAME);
    if (rc != SQLITE_OK) {
        *ret_message = strdup(sqlite3_errmsg(*ret_db));
        sqlite3_close(*ret_db);
        *ret_db = NULL;
    }
    return rc;
}

static int source_close(void *arg, sqlite3 *db)
{
    struct source *source = arg;
    source->closed++;
    if (source->close_takes_ns > 0)
        lli_step_advance(&source->w->step, source->close_takes_ns);
    return sqlite3_close(db);
}

static void source_release(void *arg)
{
    ((struct source *)arg)->released++;
}

static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

/* A world whose engine knows its loop, and a database "a.db" in it, last used in this journal mode. */
static const char *begin(struct world *w, t_env *t, const char *mode)
{
    const char *path = t_path(t, "a.db");
    world_needs_guarded_files(t);
    T_NEEDS(T_HAS_DB_NAME); /* an older one closes on a worker */
    t_file_sql(path, t_printf(t,
                              "PRAGMA journal_mode=%s; CREATE TABLE t(x); "
                              "INSERT INTO t VALUES(7)",
                              mode));
    uint64_t device, inode;
    if (!lli_nowait_path(path, &device, &inode))
        skip(); /* an older kernel, or a sandbox */
    world_begin(w, t);
    ll_engine_new_turn(w->step.engine);
    return path;
}

/* Opens, waits for the end, which must be a good one. True: inside the call. */
static bool opens(struct world *w, struct source *source, const ll_open_options *options,
                  const ll_submit *how, ll_conn **ret_conn)
{
    ll_adopt adopt = {.open = source_open,
                      .close = source_close,
                      .release = source_release,
                      .arg = source,
                      .path = source->path};
    ll_request *request = NULL;
    ll_engine_new_turn(w->step.engine);
    ll_status status = ll_conn_open_adopted(w->step.engine, &adopt, options, how, ret_conn,
                                            &request);
    T_CHECK(status == LL_OK || status == LL_PENDING);
    T_CHECK(status == LL_PENDING || ll_request_is_done(request));
    if (status == LL_PENDING)
        lli_step_settle(&w->step);
    t_is(request, LL_OK, LL_APPLIED);
    T_CHECK(t_state(*ret_conn).open && t_state(*ret_conn).idle);
    ll_request_unref(request);
    return status == LL_OK;
}

static bool closes(struct world *w, ll_conn *conn)
{
    ll_request *request = NULL;
    ll_engine_new_turn(w->step.engine);
    ll_status status = ll_conn_close(conn, NULL, &request);
    T_CHECK(status == LL_OK || status == LL_PENDING);
    if (status == LL_PENDING)
        lli_step_settle(&w->step);
    t_is(request, LL_OK, LL_APPLIED);
    T_CHECK(!t_state(conn).open);
    ll_request_unref(request);
    ll_conn_unref(conn);
    return status == LL_OK;
}

static void inside_the_call(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "DELETE")};
    ll_conn *conn = NULL;
    for (int i = 1; i <= 3; i++) {
        ll_stats before = world_stats(&w);
        T_CHECK(opens(&w, &source, NULL, NULL, &conn));
        T_EQUAL(world_stats(&w).connections, 1);
        T_CHECK(closes(&w, conn));
        ll_stats after = world_stats(&w);
        T_EQUAL(after.inline_opens, before.inline_opens + 1);
        T_EQUAL(after.inline_closes, before.inline_closes + 1);
        T_EQUAL(after.worker_runs, before.worker_runs);
        T_EQUAL(after.connections, 0);
        T_CHECK(source.opened == i && source.closed == i && source.released == i);
    }
    /* It is a connection like any other. */
    T_CHECK(opens(&w, &source, NULL, NULL, &conn));
    T_CHECK(!world_exec(&w, conn, "INSERT INTO t VALUES(8)"));
    world_exec(&w, conn, "SELECT x FROM t");
    T_CHECK(closes(&w, conn));
    T_EQUAL(t_file_int(source.path, "SELECT sum(x) FROM t"), 15);
    world_end(&w);
}

/* They say so, too. */
static void on_the_loop_and_timed(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "DELETE")};
    const ll_submit timed = {.flags = LL_SUBMIT_TIMED};
    ll_adopt adopt = {
        .open = source_open, .close = source_close, .arg = &source, .path = source.path};
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    ll_timing timing;
    source.takes_ns = source.close_takes_ns = 1000;
    ll_engine_new_turn(w.step.engine);
    T_CHECK(ll_conn_open_adopted(w.step.engine, &adopt, NULL, &timed, &conn, &request) == LL_OK);
    ll_request_get_timing(request, &timing);
    T_EQUAL(timing.place, LL_PLACE_LOOP);
    T_CHECK(timing.begun_ns > 0 && timing.ended_ns >= timing.begun_ns + 1000);
    ll_request_unref(request);
    request = NULL;
    T_CHECK(ll_conn_close(conn, &timed, &request) == LL_OK);
    ll_request_get_timing(request, &timing);
    T_EQUAL(timing.place, LL_PLACE_LOOP);
    T_CHECK(timing.begun_ns > 0 && timing.ended_ns >= timing.begun_ns + 1000);
    ll_request_unref(request);
    ll_conn_unref(conn);
    world_end(&w);
}

static void what_is_asked_for_later_waits_for_nothing(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "DELETE")};
    ll_conn *conn = NULL;
    ll_request *read = NULL, *close = NULL, *late = NULL;
    T_CHECK(opens(&w, &source, NULL, NULL, &conn));
    T_CHECK(ll_exec(conn, "SELECT x FROM t", NULL, 0, NULL, &read) == LL_PENDING);
    /* Something is queued: the close keeps its place behind it. */
    T_CHECK(ll_conn_close(conn, NULL, &close) == LL_PENDING);
    T_CHECK(ll_exec(conn, "SELECT 1", NULL, 0, NULL, &late) == LL_ECLOSED);
    lli_step_settle(&w.step);
    t_is(read, LL_OK, LL_APPLIED);
    t_is(close, LL_OK, LL_APPLIED);
    ll_request_unref(read);
    ll_request_unref(close);
    ll_conn_unref(conn);
    /* After a close inside the call it is as after any other. */
    T_CHECK(opens(&w, &source, NULL, NULL, &conn));
    close = NULL;
    ll_engine_new_turn(w.step.engine);
    T_CHECK(ll_conn_close(conn, NULL, &close) == LL_OK);
    ll_request_unref(close);
    T_CHECK(ll_exec(conn, "SELECT 1", NULL, 0, NULL, &late) == LL_ECLOSED);
    T_CHECK(ll_conn_close(conn, NULL, &close) == LL_OK);
    ll_request_unref(close);
    ll_conn_unref(conn);
    T_CHECK(source.opened == 2 && source.closed == 2 && source.released == 2);
    world_end(&w);
}

/* ---- opening ---- */

static void what_a_worker_opens(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "DELETE")};
    ll_conn *conn = NULL;
    static const char *const pragmas[] = {"foreign_keys=ON", NULL};
    const ll_open_options never = {.flags = LL_OPEN_NO_INLINE}, with = {.pragmas = pragmas},
                          shared = {.flags = LL_OPEN_SHARED_CACHE};
    const ll_submit not_here = {.flags = LL_SUBMIT_NO_INLINE};
    T_CHECK(!opens(&w, &source, &never, NULL, &conn));
    T_CHECK(!closes(&w, conn));                         /* nor closes */
    T_CHECK(!opens(&w, &source, &shared, NULL, &conn)); /* its mutex may be held for long */
    T_CHECK(conn->turns.count == 1);
    T_CHECK(!closes(&w, conn));
    T_CHECK(!opens(&w, &source, NULL, &not_here, &conn));
    T_CHECK(closes(&w, conn));
    T_CHECK(!opens(&w, &source, &with, NULL, &conn));
    T_CHECK(closes(&w, conn));
    /* A file that is not there: to make it is a matter of the disk. */
    struct source fresh = {.w = &w, .path = t_path(t, "new.db")};
    T_CHECK(!opens(&w, &fresh, NULL, NULL, &conn));
    T_CHECK(exists(fresh.path));
    T_CHECK(closes(&w, conn));
    T_CHECK(opens(&w, &fresh, NULL, NULL, &conn));
    T_CHECK(closes(&w, conn));
    /* Nobody is the loop, or its time is spent. */
    ll_request *request = NULL;
    ll_adopt adopt = {
        .open = source_open, .close = source_close, .arg = &source, .path = source.path};
    ll_engine_new_turn(w.step.engine);
    ll_engine_turn_charge(w.step.engine, T_MS);
    T_CHECK(ll_conn_open_adopted(w.step.engine, &adopt, NULL, NULL, &conn, &request) == LL_PENDING);
    lli_step_settle(&w.step);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    ll_engine_turn_charge(w.step.engine, T_MS);
    T_CHECK(ll_conn_close(conn, NULL, &request) == LL_PENDING);
    lli_step_settle(&w.step);
    ll_request_unref(request);
    ll_conn_unref(conn);
    world_end(&w);
}

static void without_a_file(void **state)
{
    t_env *t = *state;
    struct world w;
    begin(&w, t, "DELETE");
    struct source source = {.w = &w, .path = ""};
    ll_conn *conn = NULL;
    T_CHECK(opens(&w, &source, NULL, NULL, &conn));
    T_CHECK(closes(&w, conn));
    T_CHECK(opens(&w, &source, NULL, NULL, &conn));
    world_exec(&w, conn, "CREATE TABLE t(x)");
    world_exec(&w, conn, "INSERT INTO t VALUES(zeroblob(100000))");
    T_CHECK(closes(&w, conn));
    /* To give back much memory takes long. */
    T_CHECK(opens(&w, &source, NULL, NULL, &conn));
    world_exec(&w, conn, "CREATE TABLE t(x)");
    world_exec(&w, conn, "INSERT INTO t VALUES(zeroblob(10000000))");
    T_CHECK(!closes(&w, conn));
    world_end(&w);
}

/* The header is not in the kernel's cache. */
static void a_page_that_is_missing(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "DELETE")};
    ll_conn *conn = NULL;
    lli_fault_arm(LLI_FAULT_ATTEMPT, 1);
    T_CHECK(!opens(&w, &source, NULL, NULL, &conn));
    T_CHECK(lli_fault_fired());
    lli_fault_disarm();
    T_CHECK(source.opened == 2); /* here, and by the worker */
    T_EQUAL(world_stats(&w).inline_opens, 0);
    world_exec(&w, conn, "INSERT INTO t VALUES(8)");
    T_CHECK(closes(&w, conn));
    T_EQUAL(t_file_int(source.path, "SELECT sum(x) FROM t"), 15);
    world_end(&w);
}

static void somebody_holds_a_mutex(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "DELETE")};
    struct stat info;
    T_CHECK(stat(source.path, &info) == 0);
    struct lli_vfs_gate *const gates[] = {
        &lli_vfs_gate_all, lli_vfs_gate_of((uint64_t)info.st_dev, (uint64_t)info.st_ino)};
    for (size_t i = 0; i < 2; i++) {
        ll_conn *conn = NULL;
        lli_vfs_gate_enter(gates[i]);
        T_CHECK(!opens(&w, &source, NULL, NULL, &conn));
        T_CHECK(!closes(&w, conn));
        lli_vfs_gate_leave(gates[i]);
        T_CHECK(opens(&w, &source, NULL, NULL, &conn));
        T_CHECK(closes(&w, conn));
    }
    world_end(&w);
}

static void an_opening_that_fails(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "DELETE"), .fail = 1};
    ll_conn *conn = NULL;
    /* Here: a worker tries again. */
    T_CHECK(!opens(&w, &source, NULL, NULL, &conn));
    T_CHECK(source.opened == 2 && source.released == 0);
    T_CHECK(closes(&w, conn));
    /* There as well: that is what is told. */
    ll_adopt adopt = {.open = source_open,
                      .close = source_close,
                      .release = source_release,
                      .arg = &source,
                      .path = source.path};
    ll_request *request = NULL;
    source = (struct source){.w = &w, .path = source.path, .fail = 2};
    ll_engine_new_turn(w.step.engine);
    T_CHECK(ll_conn_open_adopted(w.step.engine, &adopt, NULL, NULL, &conn, &request) == LL_PENDING);
    lli_step_settle(&w.step);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    T_CHECK((ll_request_error(request)->sqlite_code & 0xff) == SQLITE_CANTOPEN);
    ll_request_unref(request);
    ll_conn_unref(conn);
    T_CHECK(source.opened == 2 && source.closed == 0);
    lli_step_settle(&w.step);
    T_EQUAL(world_stats(&w).connections, 0);
    world_end(&w);
    T_EQUAL(source.released, 1);
}

static void a_cancelled_opening_happens_nowhere(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "DELETE"), .fail = 1};
    ll_adopt adopt = {.open = source_open,
                      .close = source_close,
                      .release = source_release,
                      .arg = &source,
                      .path = source.path};
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    T_CHECK(ll_conn_open_adopted(w.step.engine, &adopt, NULL, NULL, &conn, &request) == LL_PENDING);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    lli_step_settle(&w.step);
    t_is(request, LL_ECANCELLED, LL_NOT_APPLIED);
    ll_request_unref(request);
    ll_conn_unref(conn);
    lli_step_settle(&w.step);
    T_CHECK(source.opened == 1 && source.closed == 0 && source.released == 1);
    world_end(&w);
}

/* Something that cannot be known before makes it slow: a watcher, an extension. */
static void an_opening_that_is_slow(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "DELETE"), .takes_ns = 5 * T_MS};
    ll_conn *conn = NULL;
    for (int penalty = 8; penalty <= 32; penalty *= 2) {
        ll_stats before = world_stats(&w);
        T_CHECK(opens(&w, &source, NULL, NULL, &conn));
        T_EQUAL(world_stats(&w).stalls, before.stalls + 1); /* longer than a turn may */
        T_CHECK(closes(&w, conn));
        for (int i = 0; i < penalty; i++) {
            T_CHECK(!opens(&w, &source, NULL, NULL, &conn));
            T_CHECK(closes(&w, conn));
        }
    }
    /* The history is the file's, not the process's. */
    struct source other = {.w = &w, .path = t_path(t, "b.db")};
    t_file_sql(other.path, "CREATE TABLE t(x)");
    T_CHECK(opens(&w, &source, NULL, NULL, &conn));
    T_CHECK(closes(&w, conn));
    T_CHECK(opens(&w, &other, NULL, NULL, &conn));
    T_CHECK(closes(&w, conn));
    world_end(&w);
}

static void a_close_that_is_slow(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "DELETE"), .close_takes_ns = 5 * T_MS};
    ll_conn *conn = NULL;
    for (int i = 0; i < 9; i++) {
        T_CHECK(opens(&w, &source, NULL, NULL, &conn));
        T_CHECK(closes(&w, conn) == (i == 0));
    }
    source.close_takes_ns = 0;
    T_CHECK(opens(&w, &source, NULL, NULL, &conn));
    T_CHECK(closes(&w, conn));
    world_end(&w);
}

/* ---- closing ---- */

static void a_close_with_something_to_undo(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "DELETE")};
    ll_conn *conn = NULL;
    T_CHECK(opens(&w, &source, NULL, NULL, &conn));
    world_exec(&w, conn, "BEGIN");
    world_exec(&w, conn, "INSERT INTO t VALUES(100)");
    T_CHECK(!closes(&w, conn));
    T_EQUAL(t_file_int(source.path, "SELECT sum(x) FROM t"), 7);
    T_CHECK(opens(&w, &source, NULL, NULL, &conn));
    world_exec(&w, conn, "BEGIN");
    world_exec(&w, conn, "SELECT * FROM t");
    T_CHECK(!closes(&w, conn));
    world_end(&w);
}

static void a_close_of_more_than_the_file(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "DELETE")};
    ll_conn *conn = NULL;
    T_CHECK(opens(&w, &source, NULL, NULL, &conn));
    world_exec(&w, conn, t_printf(t, "ATTACH '%s' AS other", t_path(t, "other.db")));
    T_CHECK(!closes(&w, conn));
    /* A temporary table in memory, and one that has become a file. */
    static const char fill[] = "INSERT INTO temp.big " T_ENDLESS
                               "SELECT randomblob(1000) FROM c LIMIT 3000";
    for (int spilled = 0; spilled < 2; spilled++) {
        T_CHECK(opens(&w, &source, NULL, NULL, &conn));
        world_exec(&w, conn, "CREATE TEMP TABLE big(x)");
        if (spilled) {
            world_exec(&w, conn, "PRAGMA temp.cache_size=10");
            world_exec(&w, conn, fill);
        }
        sqlite3_file *file = NULL;
        T_CHECK(sqlite3_file_control(conn->db.handle, "temp", SQLITE_FCNTL_FILE_POINTER, &file) ==
                SQLITE_OK);
        bool is_file = file && file->pMethods;
        T_CHECK(is_file == (spilled == 1));
        T_CHECK(closes(&w, conn) == !is_file);
    }
    /* A journal that is kept open. */
    T_CHECK(opens(&w, &source, NULL, NULL, &conn));
    world_exec(&w, conn, "PRAGMA locking_mode=EXCLUSIVE");
    world_exec(&w, conn, "INSERT INTO t VALUES(1)");
    T_CHECK(!closes(&w, conn));
    T_CHECK(!exists(t_path(t, "a.db-journal")));
    world_end(&w);
}

static void a_cursor_that_is_half_read(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "DELETE")};
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    T_CHECK(opens(&w, &source, NULL, NULL, &conn));
    T_CHECK(ll_stream(conn, T_ENDLESS "SELECT x FROM c", NULL, 0, NULL, &request) >= 0);
    lli_step_settle(&w.step);
    ll_cursor *cursor = ll_request_take_cursor(request);
    T_CHECK(cursor != NULL);
    T_CHECK(!closes(&w, conn));
    ll_cursor_close(cursor);
    ll_request_unref(request);
    lli_step_settle(&w.step);
    world_end(&w);
}

/* The last connection checkpoints and deletes the WAL, as always. */
static void the_last_one_of_a_wal(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "WAL")};
    const char *wal = t_path(t, "a.db-wal");
    ll_conn *one = NULL, *two = NULL, *three = NULL;
    /* None has looked into the file: there is no WAL open that would have to be closed. */
    T_CHECK(opens(&w, &source, NULL, NULL, &one));
    T_CHECK(closes(&w, one));
    T_CHECK(!exists(wal));
    /* Alone. */
    T_CHECK(opens(&w, &source, NULL, NULL, &one));
    world_exec(&w, one, "INSERT INTO t VALUES(1)");
    T_CHECK(exists(wal));
    T_CHECK(!closes(&w, one));
    T_CHECK(!exists(wal));
    /* One after the other, in the order in which they were opened and not. */
    for (int i = 0; i < 2; i++) {
        T_CHECK(opens(&w, &source, NULL, NULL, &one));
        T_CHECK(opens(&w, &source, NULL, NULL, &two));
        T_CHECK(opens(&w, &source, NULL, NULL, &three));
        world_exec(&w, one, "INSERT INTO t VALUES(10)");
        world_exec(&w, two, "SELECT * FROM t");
        world_exec(&w, two, "SELECT * FROM t");
        /* The third does not count, for it has not looked. */
        T_CHECK(closes(&w, i == 0 ? one : two));
        T_CHECK(exists(wal));
        T_CHECK(!closes(&w, i == 0 ? two : one));
        T_CHECK(!exists(wal));
        T_CHECK(closes(&w, three));
    }
    /* One that is about to be closed does not count either. */
    ll_request *first = NULL;
    T_CHECK(opens(&w, &source, NULL, NULL, &one));
    T_CHECK(opens(&w, &source, NULL, NULL, &two));
    world_exec(&w, one, "INSERT INTO t VALUES(100)");
    world_exec(&w, two, "BEGIN");
    world_exec(&w, two, "SELECT * FROM t");
    T_CHECK(ll_conn_close(two, NULL, &first) == LL_PENDING); /* in a transaction */
    lli_step_settle(&w.step);
    T_CHECK(!closes(&w, one));
    T_CHECK(!exists(wal));
    ll_request_unref(first);
    ll_conn_unref(two);
    T_EQUAL(t_file_int(source.path, "SELECT sum(x) FROM t"), 7 + 1 + 2 * 10 + 100);
    world_end(&w);
}

/* Those of another VFS, or of another file, do not count: SQLite may be asked to checkpoint. */
static void others_that_do_not_count(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "WAL")};
    ll_conn *conn = NULL, *other = NULL;
    sqlite3 *raw = t_raw_open(source.path);
    t_raw(raw, "SELECT * FROM t");
    T_CHECK(opens(&w, &source, NULL, NULL, &conn));
    world_exec(&w, conn, "SELECT * FROM t");
    T_CHECK(!closes(&w, conn));
    T_CHECK(exists(t_path(t, "a.db-wal")));
    t_raw_close(raw);
    struct source elsewhere = {.w = &w, .path = t_path(t, "b.db")};
    t_file_sql(elsewhere.path, "PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
    T_CHECK(opens(&w, &elsewhere, NULL, NULL, &other));
    world_exec(&w, other, "SELECT * FROM t");
    T_CHECK(opens(&w, &source, NULL, NULL, &conn));
    world_exec(&w, conn, "INSERT INTO t VALUES(1)");
    T_CHECK(!closes(&w, conn));
    T_CHECK(!exists(t_path(t, "a.db-wal")));
    T_CHECK(!closes(&w, other));
    /* A WAL that is its connection's alone has no index that others could see. */
    T_CHECK(opens(&w, &source, NULL, NULL, &conn));
    world_exec(&w, conn, "PRAGMA locking_mode=EXCLUSIVE");
    world_exec(&w, conn, "INSERT INTO t VALUES(1)");
    T_CHECK(!closes(&w, conn));
    T_CHECK(!exists(t_path(t, "a.db-wal")));
    world_end(&w);
}

/* A read transaction that was held for the turn ends with the close. */
static void a_held_snapshot(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "WAL")};
    ll_conn *one = NULL, *two = NULL;
    T_CHECK(opens(&w, &source, NULL, NULL, &one));
    T_CHECK(opens(&w, &source, NULL, NULL, &two));
    world_exec(&w, two, "SELECT * FROM t");
    ll_request *request = NULL;
    for (int i = 0; i < 4; i++) {
        request = NULL;
        if (ll_exec(one, "SELECT x FROM t WHERE rowid = 1", NULL, 0, NULL, &request) == LL_PENDING)
            lli_step_settle(&w.step);
        t_is(request, LL_OK, LL_APPLIED);
        ll_request_unref(request);
    }
    T_CHECK(lli_snapshot_held(&one->db.snapshot));
    request = NULL;
    T_CHECK(ll_conn_close(one, NULL, &request) == LL_OK);
    ll_request_unref(request);
    ll_conn_unref(one);
    ll_engine_new_turn(w.step.engine);
    world_exec(&w, two, "INSERT INTO t VALUES(1)");
    T_CHECK(!closes(&w, two));
    T_EQUAL(t_file_int(source.path, "SELECT sum(x) FROM t"), 8);
    world_end(&w);
}

/* Each call of the VFS fails once: here or, when a worker opens again, there. */
static void each_call_fails_once(void **state)
{
    t_env *t = *state;
    struct world w;
    struct source source = {.w = &w, .path = begin(&w, t, "WAL")};
    bool fired = true;
    for (unsigned long nth = 1; fired; nth++) {
        T_CHECK(nth < 100);
        int before = source.opened;
        ll_conn *conn = NULL;
        lli_fault_arm(LLI_FAULT_VFS, nth);
        bool here = opens(&w, &source, NULL, NULL, &conn);
        fired = lli_fault_fired();
        lli_fault_disarm();
        T_CHECK(here == !fired && source.opened == before + (fired ? 2 : 1));
        T_CHECK(closes(&w, conn));
    }
    world_end(&w);
    T_EQUAL(source.opened - source.closed, source.opened - source.released);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(inside_the_call),
        T_TEST(on_the_loop_and_timed),
        T_TEST(what_is_asked_for_later_waits_for_nothing),
        T_TEST(what_a_worker_opens),
        T_TEST(without_a_file),
        T_TEST(a_page_that_is_missing),
        T_TEST(somebody_holds_a_mutex),
        T_TEST(an_opening_that_fails),
        T_TEST(a_cancelled_opening_happens_nowhere),
        T_TEST(an_opening_that_is_slow),
        T_TEST(a_close_that_is_slow),
        T_TEST(a_close_with_something_to_undo),
        T_TEST(a_close_of_more_than_the_file),
        T_TEST(a_cursor_that_is_half_read),
        T_TEST(the_last_one_of_a_wal),
        T_TEST(others_that_do_not_count),
        T_TEST(a_held_snapshot),
        T_TEST(each_call_fails_once),
    };
    return T_RUN(tests);
}
