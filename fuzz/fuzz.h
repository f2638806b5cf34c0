/* fuzz.h: what the fuzz targets share: taking an input apart, and a world with a connection in single steps.
 *
 * A target is one file with LLVMFuzzerTestOneInput(). It is built twice: with libFuzzer (make fuzz), and with
 * replay_main.c, which runs the kept inputs of corpus/<target>/ among the tests. What must not be is said by T_CHECK and
 * ends the process. */
#ifndef LL_FUZZ_H
#define LL_FUZZ_H

#include "support/support.h"

#include "db/cost.h"
#include "engine/step.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- taking an input apart: when it is over, there are zeros ---- */

struct fuzz_input {
    const uint8_t *data;
    size_t size;
};

static inline unsigned fuzz_byte(struct fuzz_input *in)
{
    if (in->size == 0)
        return 0;
    in->size--;
    return *in->data++;
}

static inline int64_t fuzz_integer(struct fuzz_input *in)
{
    uint64_t value = 0;
    unsigned bytes = fuzz_byte(in) % 9;
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | fuzz_byte(in);
    return (int64_t)value;
}

/* A value whose memory lies in the input. */
static inline ll_value fuzz_value(struct fuzz_input *in)
{
    ll_value value = {.type = fuzz_byte(in) % 5};
    int64_t number;
    switch (value.type) {
    case LL_INTEGER:
        value.as.integer = fuzz_integer(in);
        break;
    case LL_FLOAT:
        number = fuzz_integer(in);
        memcpy(&value.as.real, &number, sizeof number);
        break;
    case LL_TEXT:
    case LL_BLOB:
        value.size = (uint32_t)(fuzz_byte(in) % (in->size + 1));
        value.as.blob = in->size > 0 ? (const void *)in->data : "";
        in->data += value.size;
        in->size -= value.size;
        break;
    default:
        break;
    }
    return value;
}

/* ---- a world ---- */

struct fuzz_world {
    struct lli_step step;
    unsigned points; /* calls of the progress handler since the last request began */
    bool stopped;    /* it ran too long and was cancelled */
    ll_request *running;
};

enum {
    FUZZ_POINTS = 60 /* thousand steps */
};

static inline void fuzz_point(void *arg)
{
    struct fuzz_world *w = arg;
    if (++w->points > FUZZ_POINTS && w->running && !w->stopped) {
        w->stopped = true;
        T_CHECK(ll_request_cancel(w->running) == LL_OK);
    }
}

static inline void fuzz_begin(struct fuzz_world *w)
{
    static bool prepared;
    if (!prepared) {
        prepared = true;
        t_group(__FILE__);
        t_failing_ends_the_process();
    }
    memset(w, 0, sizeof *w);
    lli_cost_clear();
    T_CHECK(lli_step_new(&w->step, 2, fuzz_point, w) == LL_OK);
}

static inline void fuzz_end(struct fuzz_world *w)
{
    lli_step_free(&w->step);
    T_EQUAL(ll_live_objects(), 0);
}

/* To the end of what was submitted; gives its status. `request` is a variable, which the submission may set in the same
 * expression. */
#define fuzz_wait(w, submitted, request) fuzz_wait_(w, submitted, &(request))
static inline ll_status fuzz_wait_(struct fuzz_world *w, ll_status submitted,
                                   ll_request *const *slot)
{
    ll_request *request = *slot;
    if (submitted < 0)
        return submitted;
    w->running = submitted == LL_PENDING ? request : NULL;
    w->points = 0;
    w->stopped = false;
    lli_step_settle(&w->step);
    w->running = NULL;
    T_CHECK(ll_request_is_done(request));
    T_CHECK(ll_request_status(request) != LL_OK || ll_request_outcome(request) == LL_APPLIED);
    T_CHECK(ll_request_status(request) == LL_OK || ll_request_error(request)->message[0]);
    return ll_request_status(request);
}

static inline ll_conn *fuzz_open(struct fuzz_world *w, const char *path,
                                 const ll_open_options *options)
{
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    ll_status status = ll_conn_open(w->step.engine, path, options, NULL, &conn, &request);
    status = fuzz_wait(w, status, request);
    ll_request_unref(request);
    if (status != LL_OK) {
        ll_conn_unref(conn);
        lli_step_settle(&w->step);
        return NULL;
    }
    return conn;
}

#endif
