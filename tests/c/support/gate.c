/* gate.c: holds a statement or a call where a test wants it, without a clock.
 *
 * All is under one mutex: how often the gate was entered, how many may still pass, and whether it
 * stands open. Teardown opens every gate, so that a failing test cannot leave a worker behind. */
#include "support.h"

#include <pthread.h>

struct t_gate {
    t_gate *next;
    pthread_mutex_t mu;
    pthread_cond_t changed;
    size_t entered; /* under mu */
    size_t passes;  /* under mu */
    bool open;      /* under mu */
};

t_gate *t_gate_new(t_env *t)
{
    t_gate *gate = calloc(1, sizeof *gate);
    T_CHECK(gate != NULL);
    pthread_mutex_init(&gate->mu, NULL);
    pthread_cond_init(&gate->changed, NULL);
    gate->next = t->gates;
    t->gates = gate;
    return gate;
}

static void enter(t_gate *gate, bool wait)
{
    pthread_mutex_lock(&gate->mu);
    gate->entered++;
    pthread_cond_broadcast(&gate->changed);
    while (wait && !gate->open && gate->passes == 0)
        pthread_cond_wait(&gate->changed, &gate->mu);
    if (wait && !gate->open)
        gate->passes--;
    pthread_mutex_unlock(&gate->mu);
}

void t_gate_entered(t_gate *gate, size_t times)
{
    pthread_mutex_lock(&gate->mu);
    while (gate->entered < times)
        pthread_cond_wait(&gate->changed, &gate->mu);
    pthread_mutex_unlock(&gate->mu);
}

size_t t_gate_times(t_gate *gate)
{
    pthread_mutex_lock(&gate->mu);
    size_t times = gate->entered;
    pthread_mutex_unlock(&gate->mu);
    return times;
}

void t_gate_let(t_gate *gate, size_t times)
{
    pthread_mutex_lock(&gate->mu);
    gate->passes += times;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mu);
}

void t_gate_open(t_gate *gate)
{
    pthread_mutex_lock(&gate->mu);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mu);
}

void t_gates_open(t_gate *first)
{
    for (; first; first = first->next)
        t_gate_open(first);
}

void t_gates_free(t_gate *first)
{
    while (first) {
        t_gate *next = first->next;
        pthread_cond_destroy(&first->changed);
        pthread_mutex_destroy(&first->mu);
        free(first);
        first = next;
    }
}

static void answer(sqlite3_context *context, int count, sqlite3_value **values)
{
    if (count > 0)
        sqlite3_result_value(context, values[0]);
    else
        sqlite3_result_int(context, 1);
}

static void sql_gate(sqlite3_context *context, int count, sqlite3_value **values)
{
    enter(sqlite3_user_data(context), true);
    answer(context, count, values);
}

static void sql_seen(sqlite3_context *context, int count, sqlite3_value **values)
{
    enter(sqlite3_user_data(context), false);
    answer(context, count, values);
}

static int install(sqlite3 *db, void *arg)
{
    int code = sqlite3_create_function(db, "gate", -1, SQLITE_UTF8, arg, sql_gate, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_create_function(db, "seen", -1, SQLITE_UTF8, arg, sql_seen, NULL, NULL);
    return code;
}

void t_gate_install(t_gate *gate, ll_conn *conn)
{
    ll_request *request = NULL;
    T_CHECK(t_end(ll_conn_call(conn, install, gate, NULL, &request), request) == LL_OK);
    ll_request_unref(request);
}

int t_gate_call(sqlite3 *db, void *arg)
{
    (void)db;
    enter(arg, true);
    return SQLITE_OK;
}
