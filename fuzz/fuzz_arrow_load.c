/* fuzz_arrow_load.c: Arrow streams of somebody else into a table: what is malformed is refused, nothing is read beyond its
 * buffer, and either all rows come, or none.
 *
 * Input: columns, rows, then formats, lengths and buffers as tests/c/support/arrays_of_bytes.c takes them. */
#include "support/arrays_of_bytes.h"

static ll_engine *engine; /* made once: opening a connection takes longer than a load */
static ll_conn *conn;

/* A thread that nobody has joined would be a leak. */
static void end(void)
{
    ll_conn_unref(conn);
    ll_engine_free(engine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!engine) {
        T_EQUAL(ll_engine_new(NULL, &engine), LL_OK);
        conn = t_open_with(engine, ":memory:", NULL);
        t_exec(conn, "CREATE TABLE t(a, b TEXT, c REAL)");
        T_CHECK(atexit(end) == 0);
    }
    (void)t_load_bytes(conn, data, size);
    return 0;
}
