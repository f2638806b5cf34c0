/* functions.c: SQL that calls back into the program: a function, an aggregate, a collation, and a hook that tells what
 * was changed.
 *
 *     cc functions.c $(pkg-config --cflags --libs looplite) && ./a.out */
#include <looplite.h>

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* What a submission came to: refused, or accepted and waited for. */
static int finished(ll_status status, ll_request *request)
{
    if (status >= 0)
        status = ll_request_wait(request);
    if (status == LL_OK)
        return 1;
    fprintf(stderr, "%s: %s\n", ll_status_name(status),
            request ? ll_request_error(request)->message : ll_last_error());
    return 0;
}

static int run(ll_conn *conn, const char *text)
{
    ll_request *request = NULL;
    ll_status status = ll_query(conn, text, NULL, 0, NULL, &request);
    int fine = finished(status, request);
    for (ll_batch *batch; fine && (batch = ll_request_take_batch(request)) != NULL;) {
        for (size_t i = 0; i < ll_batch_rows(batch); i++) {
            const ll_value *row = ll_batch_row(batch, i);
            if (row[0].type == LL_TEXT)
                printf("%s\n", row[0].as.text);
            else
                printf("%lld\n", (long long)row[0].as.integer);
        }
        ll_batch_free(batch);
    }
    ll_request_unref(request);
    return fine;
}

/* celsius(fahrenheit): it takes no time and waits for nothing, so the loop may run it. */
static void celsius(ll_context *context, const ll_value *args, size_t count)
{
    (void)count; /* one, as it was registered */
    if (args[0].type != LL_INTEGER) {
        ll_context_error(context, 0, "celsius() wants a whole number");
        return;
    }
    ll_value result = ll_integer((args[0].as.integer - 32) * 5 / 9);
    ll_context_result(context, &result);
}

/* longest(text): the longest text of a group. */
struct longest {
    size_t size; /* of what is kept, cut to what has room */
    char text[100];
};

static void longest_step(ll_context *context, const ll_value *args, size_t count)
{
    struct longest *longest = ll_context_state(context, sizeof *longest);
    (void)count;
    if (longest && args[0].type == LL_TEXT && args[0].size > longest->size &&
        args[0].size < sizeof longest->text) {
        longest->size = args[0].size;
        memcpy(longest->text, args[0].as.text, args[0].size);
    }
}

static void longest_final(ll_context *context)
{
    const struct longest *longest = ll_context_state(context, sizeof *longest);
    if (!longest) {
        ll_context_error(context, 7, NULL); /* SQLITE_NOMEM */
        return;
    }
    ll_value result = ll_text_n(longest->text, (uint32_t)longest->size);
    ll_context_result(context, &result);
}

/* Backwards. */
static int backwards(void *user, const char *a, size_t a_size, const char *b, size_t b_size)
{
    (void)user;
    int order = memcmp(b, a, a_size < b_size ? a_size : b_size);
    return order != 0 ? order : a_size < b_size ? 1 : a_size > b_size ? -1 : 0;
}

/* On a worker, in the middle of the statement: it only counts, and the loop looks when it likes. */
static void on_update(void *user, ll_change change, const char *schema, const char *table,
                      int64_t rowid)
{
    (void)change, (void)schema, (void)table, (void)rowid;
    atomic_fetch_add((atomic_int *)user, 1);
}

static int register_all(ll_conn *conn, atomic_int *changes)
{
    ll_request *requests[4] = {NULL};
    ll_function scalar = {.name = "celsius",
                          .args = 1,
                          .flags = LL_FUNCTION_DETERMINISTIC | LL_FUNCTION_ON_LOOP,
                          .call = celsius};
    ll_function aggregate = {
        .name = "longest", .args = 1, .step = longest_step, .final = longest_final};
    ll_collation collation = {.name = "backwards", .compare = backwards};
    ll_hooks hooks = {.update = on_update, .user = changes};
    /* all four at once: they run in this order, and what is submitted behind them finds them */
    ll_status status[4] = {ll_function_create(conn, &scalar, NULL, &requests[0]),
                           ll_function_create(conn, &aggregate, NULL, &requests[1]),
                           ll_collation_create(conn, &collation, NULL, &requests[2]),
                           ll_hooks_set(conn, &hooks, NULL, &requests[3])};
    int fine = 1;
    for (int i = 0; i < 4; i++) {
        fine = finished(status[i], requests[i]) && fine;
        ll_request_unref(requests[i]);
    }
    return fine;
}

int main(void)
{
    ll_engine *engine = NULL;
    ll_conn *conn = NULL;
    ll_request *open = NULL;
    atomic_int changes = 0;
    if (ll_engine_new(NULL, &engine) != LL_OK)
        return 1;
    ll_status status = ll_conn_open(engine, ":memory:", NULL, NULL, &conn, &open);
    int fine = finished(status, open) && register_all(conn, &changes) &&
               run(conn, "CREATE TABLE city(name TEXT, warm INTEGER)") &&
               run(conn, "INSERT INTO city VALUES('Oslo', 41), ('Lima', 66), ('Nairobi', 77)") &&
               run(conn, "SELECT celsius(warm) FROM city") &&
               run(conn, "SELECT longest(name) FROM city") &&
               run(conn, "SELECT name FROM city ORDER BY name COLLATE backwards");
    printf("%d changes\n", atomic_load(&changes));
    ll_request_unref(open);
    ll_conn_unref(conn);
    ll_engine_free(engine);
    return fine && changes == 3 ? 0 : 1;
}
