/* main.c: an HTTP server for notes in a SQLite file, on one libuv loop.
 *
 *     httpd [OPTION VALUE]...
 *
 *     --database FILE          notes.db
 *     --host ADDRESS           127.0.0.1
 *     --port NUMBER            8080; 0: any that is free
 *     --connections NUMBER     to the database: 5
 *     --max-clients NUMBER     4096
 *     --max-body BYTES         4194304
 *     --idle-ms, --request-ms, --write-ms, --patience-ms, --timeout-ms MS
 *     --durable 0|1            1: an answered write is on the disk
 *
 * SIGTERM and SIGINT end it in good order: nobody new, those that are served are answered, then the database is
 * closed. A second one ends it at once. Its first line of output tells the port. */
#include "http.h"
#include "notes.h"
#include "store.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A number that the command line may set. */
struct setting {
    const char *name;
    uint64_t value;
};

typedef struct program {
    uv_loop_t loop;
    uv_signal_t signals[2];
    notes notes;
    uint64_t patience_ms;
    bool stopping;
} program;

static void on_store_closed(void *user)
{
    program *self = user;
    for (int i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&self->signals[i], NULL);
}

static void on_server_stopped(void *user)
{
    program *self = user;
    store_close(self->notes.store, on_store_closed, self);
}

static void on_signal(uv_signal_t *handle, int number)
{
    program *self = handle->data;
    if (self->stopping)
        exit(128 + number);
    self->stopping = true;
    http_server_stop(self->notes.server, self->patience_ms, on_server_stopped, self);
}

enum {
    PORT,
    CONNECTIONS,
    MAX_CLIENTS,
    MAX_BODY,
    IDLE_MS,
    REQUEST_MS,
    WRITE_MS,
    PATIENCE_MS,
    TIMEOUT_MS,
    DURABLE,
    SETTINGS
};

static int usage(const char *wrong)
{
    fprintf(stderr, "httpd: %s is no option with a value; see the top of main.c\n", wrong);
    return 0;
}

static int parse(int argc, char **argv, struct setting *settings, const char **path,
                 const char **host)
{
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1]; /* NULL at the end */
        char *end = NULL;
        if (!value || strncmp(name, "--", 2) != 0)
            return usage(name);
        if (strcmp(name, "--database") == 0) {
            *path = value;
        } else if (strcmp(name, "--host") == 0) {
            *host = value;
        } else {
            int at = 0;
            while (at < SETTINGS && strcmp(settings[at].name, name + 2) != 0)
                at++;
            if (at == SETTINGS)
                return usage(name);
            settings[at].value = strtoull(value, &end, 10);
            if (end == value || *end)
                return usage(name);
        }
    }
    return 1;
}

int main(int argc, char **argv)
{
    struct setting set[SETTINGS] = {
        [PORT] = {"port", 8080},
        [CONNECTIONS] = {"connections", 5},
        [MAX_CLIENTS] = {"max-clients", 4096},
        [MAX_BODY] = {"max-body", 4 << 20},
        [IDLE_MS] = {"idle-ms", 60000},
        [REQUEST_MS] = {"request-ms", 10000},
        [WRITE_MS] = {"write-ms", 30000},
        [PATIENCE_MS] = {"patience-ms", 10000},
        [TIMEOUT_MS] = {"timeout-ms", 10000},
        [DURABLE] = {"durable", 1},
    };
    const char *path = "notes.db", *host = "127.0.0.1", *message = NULL;
    if (!parse(argc, argv, set, &path, &host))
        return 2;

    program self = {.patience_ms = set[PATIENCE_MS].value};
    signal(SIGPIPE, SIG_IGN);
    if (uv_loop_init(&self.loop) != 0)
        return 1;
    store_options how = {.path = path,
                         .connections = (unsigned)set[CONNECTIONS].value,
                         .durable = set[DURABLE].value != 0,
                         .timeout_ms = set[TIMEOUT_MS].value};
    self.notes.store = store_open(&self.loop, &how, &message);
    if (!self.notes.store) {
        fprintf(stderr, "httpd: %s: %s\n", path, message);
        uv_loop_close(&self.loop);
        return 1;
    }
    http_options options = {.host = host,
                            .port = (int)set[PORT].value,
                            .max_connections = (unsigned)set[MAX_CLIENTS].value,
                            .max_head = 8192,
                            .max_url = 1024,
                            .max_body = set[MAX_BODY].value,
                            .idle_ms = set[IDLE_MS].value,
                            .request_ms = set[REQUEST_MS].value,
                            .write_ms = set[WRITE_MS].value,
                            .request = notes_request,
                            .gone = notes_gone,
                            .drained = notes_drained,
                            .user = &self.notes};
    int code = http_server_new(&self.loop, &options, &self.notes.server);
    if (code != 0) {
        fprintf(stderr, "httpd: %s port %d: %s\n", host, options.port, uv_strerror(code));
    } else {
        const int numbers[] = {SIGTERM, SIGINT};
        for (int i = 0; i < 2; i++) {
            uv_signal_init(&self.loop, &self.signals[i]);
            self.signals[i].data = &self;
            uv_signal_start(&self.signals[i], on_signal, numbers[i]);
        }
        printf("httpd: %s, http://%s:%d/notes\n", store_name(), host,
               http_server_port(self.notes.server));
        fflush(stdout);
        uv_run(&self.loop, UV_RUN_DEFAULT);
    }
    store_free(self.notes.store);
    uv_run(&self.loop, UV_RUN_DEFAULT); /* what was closed last */
    return uv_loop_close(&self.loop) == 0 && code == 0 ? 0 : 1;
}
