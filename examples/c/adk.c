/* adk.c: an agent's conversations in a database: stores one, then lists what is there. Run it twice with a file, and
 * the second run goes on where the first one ended.
 *
 *     cc adk.c $(pkg-config --cflags --libs looplite) && ./a.out agents.db
 *
 * Without a file it uses a database in memory. It has no event loop: it submits and waits. */
#include <looplite.h>

#include <stdio.h>
#include <time.h>

static ll_conn *conn;
static ll_adk *adk;

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Waits for what a submission answered. NULL, and words, if it failed; else the request, to be given back. */
static ll_request *finished(ll_status status, ll_request *request)
{
    if (status >= 0)
        status = ll_request_wait(request);
    if (status == LL_OK)
        return request;
    fprintf(stderr, "%s: %s\n", ll_status_name(status),
            request ? ll_request_error(request)->message : ll_last_error());
    ll_request_unref(request);
    return NULL;
}

static ll_request *run(ll_status filled, const ll_adk_call *call)
{
    ll_request *request = NULL;
    if (filled == LL_OK)
        filled = ll_conn_submit(conn, &call->sql, NULL, &request);
    return finished(filled, request);
}

static int prepare(ll_engine *engine, const char *path)
{
    /* The foreign key deletes a session's events with it. */
    const char *const pragmas[] = {"journal_mode=WAL", "foreign_keys=ON", NULL};
    ll_request *request = NULL;
    ll_status status = ll_conn_open(engine, path, &(ll_open_options){.pragmas = pragmas}, NULL,
                                    &conn, &request);
    if (!(request = finished(status, request)))
        return 0;
    ll_request_unref(request);
    if (ll_adk_new(NULL, &adk) != LL_OK)
        return 0;
    request = NULL;
    status = ll_script(conn, ll_adk_schema(adk), LL_NUL_TERMINATED, false, NULL, &request);
    if (!(request = finished(status, request)))
        return 0;
    ll_request_unref(request);
    return 1;
}

static int say(const char *session_id, const char *author, const char *words)
{
    static int count;
    char id[64], content[256];
    int64_t now = now_us();
    snprintf(id, sizeof id, "%lld-%d", (long long)now, count++);
    snprintf(content, sizeof content, "{\"parts\":[{\"text\":\"%s\"}]}", words);
    ll_adk_event event = {
        .id = id,
        .session_id = session_id,
        .app_name = "weather",
        .user_id = "ann",
        .invocation_id = "turn",
        .timestamp_us = now,
        .author = author,
        .content = content,
    };
    ll_adk_call call;
    ll_request *request = run(ll_adk_append_event(adk, &event, &call), &call);
    ll_request_unref(request);
    return request != NULL;
}

static int converse(void)
{
    char id[32];
    int64_t now = now_us();
    snprintf(id, sizeof id, "%lld", (long long)now);
    ll_adk_session session = {
        .id = id,
        .app_name = "weather",
        .user_id = "ann",
        .state = "{\"city\":\"Oslo\"}",
        .create_time_us = now,
        .update_time_us = now,
    };
    ll_adk_call call;
    ll_request *request = run(ll_adk_create_session(adk, &session, &call), &call);
    ll_request_unref(request);
    return request && say(id, "user", "Do I need an umbrella?") &&
           say(id, "agent", "No: it is dry in Oslo today.");
}

static int list(void)
{
    ll_adk_call call;
    ll_request *sessions = run(ll_adk_list_sessions(adk, "weather", NULL, &call), &call);
    for (ll_batch *batch; sessions && (batch = ll_request_take_batch(sessions));
         ll_batch_free(batch))
        for (size_t i = 0; i < ll_batch_rows(batch); i++) {
            ll_adk_session session;
            if (ll_adk_session_of(ll_batch_row(batch, i), &session) != LL_OK)
                continue;
            printf("%s of %s, %s\n", session.app_name, session.user_id, session.state);
            ll_request *events = run(
                ll_adk_get_events(adk, session.id, LL_ADK_ALWAYS, LL_ADK_ALL, &call), &call);
            for (ll_batch *some; events && (some = ll_request_take_batch(events));
                 ll_batch_free(some))
                for (size_t k = 0; k < ll_batch_rows(some); k++) {
                    ll_adk_event event;
                    if (ll_adk_event_of(adk, ll_batch_row(some, k), &event) == LL_OK)
                        printf("  %s: %s\n", event.author, event.content);
                }
            ll_request_unref(events);
        }
    ll_request_unref(sessions);
    return sessions != NULL;
}

int main(int count, char **arguments)
{
    ll_engine *engine = NULL;
    if (ll_engine_new(NULL, &engine) != LL_OK)
        return 1;
    int ok = prepare(engine, count > 1 ? arguments[1] : ":memory:") && converse() && list();
    ll_adk_free(adk);
    ll_conn_unref(conn);
    ll_engine_free(engine);
    return !ok;
}
