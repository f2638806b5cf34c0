/* epoll.c: looplite on a bare epoll loop. The loop watches the engine's descriptor; when it is readable,
 * ll_engine_dispatch() runs the callbacks. Nothing else is needed.
 *
 *     epoll [FILE]      uses FILE, or a temporary database
 *
 * It makes a table, fills it with one ll_exec_many(), reads it back as a stream, and checks that what
 * came back is what went in. It is written as callbacks, each of which starts the next step. */
#include <looplite.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    ROWS = 10000
};

typedef struct app {
    ll_engine *engine;
    ll_conn *conn;
    ll_cursor *cursor;
    int64_t rows, sum;
    int running;
    int failed;
} app;

static void on_open(ll_request *request, void *user);
static void on_created(ll_request *request, void *user);
static void on_inserted(ll_request *request, void *user);
static void on_first_rows(ll_request *request, void *user);
static void on_next_rows(ll_request *request, void *user);
static void on_closed(ll_request *request, void *user);

/* A submission is pending, and the callback will come; or it finished at once, and we call it
 * ourselves; or it was refused. One place for all three. */
static void follow(app *self, ll_status status, ll_request *request, ll_done_fn done)
{
    if (status == LL_OK)
        done(request, self);
    else if (status < 0) {
        fprintf(stderr, "refused: %s\n", ll_last_error());
        self->failed = 1;
        self->running = 0;
    }
    ll_request_unref(request); /* it lives until its callback has returned */
}

/* Whether a request went well. If not, the connection closes and the program ends. */
static int went_well(app *self, ll_request *request)
{
    if (ll_request_status(request) == LL_OK)
        return 1;
    fprintf(stderr, "%s: %s\n", ll_status_name(ll_request_status(request)),
            ll_request_error(request)->message);
    self->failed = 1;
    self->running = 0;
    return 0;
}

static void on_open(ll_request *request, void *user)
{
    app *self = user;
    if (!went_well(self, request))
        return;
    static const char script[] = "DROP TABLE IF EXISTS numbers;"
                                 "CREATE TABLE numbers(n INTEGER, word TEXT);";
    ll_request *next = NULL;
    ll_submit how = {.done = on_created, .user = self};
    ll_status status = ll_script(self->conn, script, LL_NUL_TERMINATED, false, &how, &next);
    follow(self, status, next, on_created);
}

static void on_created(ll_request *request, void *user)
{
    app *self = user;
    if (!went_well(self, request))
        return;
    /* The values are copied when the request is submitted: this memory is ours again at once. */
    ll_value *values = calloc(ROWS * 2, sizeof *values);
    if (!values) {
        self->failed = 1;
        self->running = 0;
        return;
    }
    for (int i = 0; i < ROWS; i++) {
        values[2 * i] = ll_integer(i);
        values[2 * i + 1] = ll_text(i % 2 ? "odd" : "even");
    }
    ll_many many = {.text = "INSERT INTO numbers VALUES(?, ?)",
                    .size = LL_NUL_TERMINATED,
                    .values = values,
                    .rows = ROWS,
                    .width = 2,
                    .atomic = true};
    ll_request *next = NULL;
    ll_submit how = {.done = on_inserted, .user = self};
    ll_status status = ll_exec_many(self->conn, &many, &how, &next);
    free(values);
    follow(self, status, next, on_inserted);
}

static void on_inserted(ll_request *request, void *user)
{
    app *self = user;
    if (!went_well(self, request))
        return;
    printf("inserted %lld rows\n", (long long)ll_request_changes(request));
    ll_request *next = NULL;
    ll_submit how = {.done = on_first_rows, .user = self};
    ll_status status = ll_stream(self->conn, "SELECT n, word FROM numbers ORDER BY n", NULL, 0,
                                 &how, &next);
    follow(self, status, next, on_first_rows);
}

/* Counts the rows of a request; gives how many there were. */
static size_t take_rows(app *self, ll_request *request)
{
    size_t count = 0;
    for (ll_batch *batch; (batch = ll_request_take_batch(request)) != NULL;) {
        for (size_t i = 0; i < ll_batch_rows(batch); i++) {
            const ll_value *row = ll_batch_row(batch, i);
            if (self->rows++ < 3)
                printf("row: %lld %s\n", (long long)row[0].as.integer, row[1].as.text);
            self->sum += row[0].as.integer;
        }
        count += ll_batch_rows(batch);
        ll_batch_free(batch);
    }
    return count;
}

static void close_all(app *self)
{
    ll_cursor_close(self->cursor);
    self->cursor = NULL;
    ll_request *next = NULL;
    ll_submit how = {.done = on_closed, .user = self};
    ll_status status = ll_conn_close(self->conn, &how, &next);
    follow(self, status, next, on_closed);
}

/* Asks for batches as long as they are there at once; the first that is not calls back. */
static void read_on(app *self)
{
    for (;;) {
        ll_request *next = NULL;
        ll_submit how = {.done = on_next_rows, .user = self};
        ll_status status = ll_cursor_next(self->cursor, &how, &next);
        if (status != LL_OK) {
            follow(self, status, next, on_next_rows);
            return;
        }
        size_t rows = take_rows(self, next);
        ll_request_unref(next);
        if (rows == 0) {
            close_all(self);
            return;
        }
    }
}

static void on_first_rows(ll_request *request, void *user)
{
    app *self = user;
    if (!went_well(self, request))
        return;
    take_rows(self, request);
    self->cursor = ll_request_take_cursor(request);
    if (self->cursor)
        read_on(self);
    else
        close_all(self); /* the result was short */
}

static void on_next_rows(ll_request *request, void *user)
{
    app *self = user;
    if (!went_well(self, request))
        return;
    if (take_rows(self, request) > 0)
        read_on(self);
    else
        close_all(self);
}

static void on_closed(ll_request *request, void *user)
{
    app *self = user;
    went_well(self, request);
    self->running = 0;
}

/* The loop: wait until the engine's descriptor is readable, then dispatch. */
static int run(app *self)
{
    int loop = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (loop < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, ll_engine_fd(self->engine), &event) != 0) {
        perror("epoll");
        return 0;
    }
    while (self->running) {
        int ready = epoll_wait(loop, &event, 1, -1);
        if (ready > 0 && ll_engine_dispatch(self->engine, NULL) != LL_OK)
            break;
    }
    close(loop);
    return !self->running && !self->failed;
}

int main(int argc, char **argv)
{
    app self = {.running = 1};
    ll_request *open = NULL;
    if (ll_engine_new(NULL, &self.engine) != LL_OK) {
        fprintf(stderr, "no engine: %s\n", ll_last_error());
        return 1;
    }
    ll_submit how = {.done = on_open, .user = &self};
    ll_status status = ll_conn_open(self.engine, argc > 1 ? argv[1] : "", NULL, &how, &self.conn,
                                    &open);
    follow(&self, status, open, on_open);
    int fine = run(&self);
    ll_cursor_close(self.cursor);
    ll_conn_unref(self.conn);
    ll_engine_free(self.engine);
    printf("read %lld rows, sum %lld\n", (long long)self.rows, (long long)self.sum);
    return fine && self.rows == ROWS && self.sum == (int64_t)ROWS * (ROWS - 1) / 2 ? 0 : 1;
}
