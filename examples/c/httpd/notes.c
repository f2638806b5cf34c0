/* notes.c: notes over HTTP.
 *
 *     GET    /notes/7          {"id":7,"changed":1700000000,"text":"..."}
 *     PUT    /notes/7          the body becomes its text: 204
 *     DELETE /notes/7          204
 *     POST   /notes            a new note of the body: 201 {"id":8}
 *     GET    /notes            all of them, a JSON object a line, as they are read
 *     POST   /import           a note of each line of the body, all of them or none: 201 {"count":3}
 *     GET    /search?TEXT      {"count":2}: in how many notes the text is; reads all of them
 *     GET    /stats            what the server and the store have done
 *
 * A task is a request that the store has in hand. When its client leaves, the store is told to give up, and the
 * task goes on without an exchange until the store says that it has. */
#include "notes.h"

#include "buffer.h"

#include <errno.h>

typedef struct task {
    store_op op;             /* first: the store hands it back to us */
    http_exchange *exchange; /* NULL: its client has left */
    store_note *lines;       /* of an import */
    buffer body;             /* of an import; of a scan, what was read and not sent */
    /* of a scan */
    bool begun, asking, ended, pumping;
} task;

static const char json[] = "application/json";

/* ---- helpers ---- */

static bool is_utf8(const char *text, size_t size)
{
    const unsigned char *s = (const unsigned char *)text, *end = s + size;
    while (s < end) {
        if (*s < 0x80) {
            if (*s++ == 0)
                return false;
            continue;
        }
        int more = *s >= 0xf0 ? 3 : *s >= 0xe0 ? 2 : 1;
        if (*s < 0xc2 || *s > 0xf4 || end - s <= more)
            return false;
        /* overlong forms, surrogates, beyond U+10FFFF */
        if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) ||
            (*s == 0xf0 && s[1] < 0x90) || (*s == 0xf4 && s[1] > 0x8f))
            return false;
        for (s++; more-- > 0; s++)
            if ((*s & 0xc0) != 0x80)
                return false;
    }
    return true;
}

static void put_note(buffer *out, const store_note *note)
{
    buffer_text(out, "{\"id\":");
    buffer_number(out, note->id);
    buffer_text(out, ",\"changed\":");
    buffer_number(out, note->changed);
    buffer_text(out, ",\"text\":");
    buffer_json(out, note->text, note->size);
    buffer_text(out, "}\n");
}

static void respond_error(http_exchange *exchange, int status, const char *message)
{
    buffer out = {0};
    buffer_text(&out, "{\"error\":");
    buffer_json(&out, message, strlen(message));
    buffer_text(&out, "}\n");
    http_respond(exchange, status, json, out.data, out.size);
    buffer_free(&out);
}

static void respond_number(http_exchange *exchange, int status, const char *name, int64_t number)
{
    char text[64];
    int size = snprintf(text, sizeof text, "{\"%s\":%lld}\n", name, (long long)number);
    http_respond(exchange, status, json, text, (size_t)size);
}

static task *task_new(http_exchange *exchange, store_done_fn done)
{
    task *self = checked(calloc(1, sizeof *self));
    self->op.done = done;
    self->exchange = exchange;
    http_set_task(exchange, self);
    return self;
}

/* The end of a task: gives its exchange, which the caller answers, or NULL if nobody is there to be answered. */
static http_exchange *task_end(store_op *op, const store_result *result)
{
    task *self = (task *)op;
    http_exchange *exchange = self->exchange;
    if (exchange && result->code != STORE_OK) {
        if (result->code == STORE_NONE)
            respond_error(exchange, 404, "there is no such note");
        else if (result->code == STORE_FAILED)
            respond_error(exchange, 500, result->message ? result->message : "it failed");
        else
            respond_error(exchange, 503, result->message ? result->message : "busy");
        exchange = NULL;
    }
    free(self->lines);
    buffer_free(&self->body);
    free(self);
    return exchange;
}

/* ---- one note ---- */

static void on_got(store_op *op, const store_result *result)
{
    buffer out = {0};
    if (result->code == STORE_OK)
        put_note(&out, &result->note);
    http_exchange *exchange = task_end(op, result);
    if (exchange)
        http_respond(exchange, 200, json, out.data, out.size);
    buffer_free(&out);
}

static void on_changed(store_op *op, const store_result *result)
{
    http_exchange *exchange = task_end(op, result);
    if (exchange)
        http_respond(exchange, 204, NULL, NULL, 0);
}

static void on_added(store_op *op, const store_result *result)
{
    http_exchange *exchange = task_end(op, result);
    if (exchange)
        respond_number(exchange, 201, "id", result->note.id);
}

static void on_counted(store_op *op, const store_result *result)
{
    http_exchange *exchange = task_end(op, result);
    if (exchange)
        respond_number(exchange, 200, "count", result->count);
}

static void on_imported(store_op *op, const store_result *result)
{
    http_exchange *exchange = task_end(op, result);
    if (exchange)
        respond_number(exchange, 201, "count", result->count);
}

/* ---- many notes ---- */

static void import(notes *app, http_exchange *exchange, const char *body, size_t size)
{
    if (size == 0) {
        respond_error(exchange, 400, "a note a line");
        return;
    }
    task *self = task_new(exchange, on_imported);
    /* the exchange may go before the store has done */
    buffer_add(&self->body, body, size);
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += body[i] == '\n' || i + 1 == size;
    self->lines = checked(calloc(count, sizeof *self->lines));
    const char *at = self->body.data, *end = at + size;
    for (size_t i = 0; i < count; i++) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        self->lines[i].text = at;
        self->lines[i].size = (size_t)((eol ? eol : end) - at);
        at += self->lines[i].size + 1;
    }
    store_import(app->store, &self->op, self->lines, count);
}

static void on_row(store_op *op, const store_note *note)
{
    put_note(&((task *)op)->body, note);
}

/* Sends what was read, and asks for more when the client has taken what was sent before. The store may answer
 * inside the call: then this goes on here, not one level deeper. */
static void pump(task *self)
{
    if (self->pumping)
        return;
    self->pumping = true;
    while (self->asking && !self->ended) {
        self->asking = false;
        store_more(&self->op);
    }
    self->pumping = false;
    if (self->ended) {
        store_result result = {.code = STORE_OK};
        http_exchange *exchange = task_end(&self->op, &result);
        if (exchange)
            http_end(exchange);
    }
}

static void on_scanned(store_op *op, const store_result *result)
{
    task *self = (task *)op;
    bool more = result->code == STORE_OK;
    if (!self->begun && !more && result->code != STORE_NONE) {
        task_end(op, result); /* it answers */
        return;
    }
    self->ended = !more;
    if (self->exchange && !more && result->code != STORE_NONE) {
        http_exchange *exchange =
            self->exchange; /* it was begun as a success: the client has to see that it is not */
        self->exchange = NULL;
        http_abort(exchange);
    }
    if (self->exchange && !self->begun)
        http_begin(self->exchange, 200, "application/x-ndjson");
    self->begun = true;
    if (self->exchange && self->body.size > 0)
        http_chunk(self->exchange, self->body.data, self->body.size);
    self->body.size = 0;
    if (self->ended)
        pump(self);
    /* else `drained` comes, and asks for more */
}

void notes_drained(http_exchange *exchange, void *user)
{
    (void)user;
    task *self = http_task(exchange);
    self->asking = true;
    pump(self);
}

/* ---- requests ---- */

static void stats(notes *self, http_exchange *exchange)
{
    char members[512], text[1024];
    store_stats(self->store, members, sizeof members);
    http_counts counts = http_server_counts(self->server);
    int size = snprintf(text, sizeof text,
                        "{\"store\":\"%s\",\"open\":%u,\"accepted\":%llu,\"requests\":%llu,"
                        "\"refused\":%llu,\"gone\":%llu,\"unsent\":%zu,%s}\n",
                        store_name(), counts.open, (unsigned long long)counts.accepted,
                        (unsigned long long)counts.requests, (unsigned long long)counts.refused,
                        (unsigned long long)counts.gone, counts.unsent, members);
    http_respond(exchange, 200, json, text, (size_t)size);
}

/* The number behind "/notes/"; -1: it is none. */
static int64_t number_of(const char *text)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    return errno || end == text || *end || number < 0 ? -1 : number;
}

static void one_note(notes *self, http_exchange *exchange, const char *method, const char *number)
{
    size_t size;
    const char *body = http_body(exchange, &size);
    int64_t id = number_of(number);
    if (id < 0)
        respond_error(exchange, 404, "a note has a number");
    else if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
        store_get(self->store, &task_new(exchange, on_got)->op, id);
    else if (strcmp(method, "PUT") == 0)
        store_put(self->store, &task_new(exchange, on_changed)->op, id, body, size);
    else if (strcmp(method, "DELETE") == 0)
        store_delete(self->store, &task_new(exchange, on_changed)->op, id);
    else
        respond_error(exchange, 405, "GET, HEAD, PUT or DELETE");
}

void notes_request(http_exchange *exchange, void *user)
{
    notes *self = user;
    const char *method = http_method(exchange), *path = http_path(exchange);
    bool get = strcmp(method, "GET") == 0, post = strcmp(method, "POST") == 0;
    size_t size;
    const char *body = http_body(exchange, &size);
    if (!is_utf8(body, size)) {
        respond_error(exchange, 400, "the body is no UTF-8 text");
    } else if (strncmp(path, "/notes/", 7) == 0) {
        one_note(self, exchange, method, path + 7);
    } else if (strcmp(path, "/notes") == 0 && get) {
        task *scan = task_new(exchange, on_scanned);
        scan->op.row = on_row;
        store_scan(self->store, &scan->op);
    } else if (strcmp(path, "/notes") == 0 && post) {
        store_add(self->store, &task_new(exchange, on_added)->op, body, size);
    } else if (strcmp(path, "/import") == 0 && post) {
        import(self, exchange, body, size);
    } else if (strcmp(path, "/search") == 0 && get) {
        const char *query = http_query(exchange);
        store_search(self->store, &task_new(exchange, on_counted)->op, query, strlen(query));
    } else if (strcmp(path, "/stats") == 0 && get) {
        stats(self, exchange);
    } else if (strcmp(path, "/notes") == 0 || strcmp(path, "/import") == 0 ||
               strcmp(path, "/search") == 0 || strcmp(path, "/stats") == 0) {
        respond_error(exchange, 405, "not this method");
    } else {
        respond_error(exchange, 404, "there is nothing of this name");
    }
}

void notes_gone(http_exchange *exchange, void *user)
{
    (void)user;
    task *self = http_task(exchange);
    if (!self)
        return;
    self->exchange = NULL;
    store_cancel(&self->op);
}
