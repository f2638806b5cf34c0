/* groupcommit.c: writers (writer.h): what is asked of them, checked, and which statements need not go there at all.
 *
 * What happens to those that do is in engine/group.c and engine/run_group.c. */
#include "engine/group.h"
#include "service/exec.h"

#include <string.h>
#include <strings.h>

ll_status ll_writer_new(ll_conn *conn, const ll_writer_options *options, ll_writer **ret_writer)
{
    static const char caller[] = "ll_writer_new";
    if (!conn || !ret_writer)
        return lli_refuse(LL_EINVAL, "%s: %s is NULL", caller, conn ? "ret_writer" : "conn");
    LL_TRY(lli_engine_check(conn->engine, caller));
    if (lli_group_new(conn, options, ret_writer) != LL_OK)
        return lli_refuse(LL_ENOMEM, "%s: out of memory", caller);
    return LL_OK;
}

bool lli_writer_takes(enum lli_kind kind, const ll_sql *sql)
{
    size_t at = lli_skip_blank(sql->text, sql->size);
    return kind == LLI_KIND_DML || (kind == LLI_KIND_OTHER && sql->size - at >= 4 &&
                                    strncasecmp(sql->text + at, "WITH", 4) == 0);
}

static ll_status submit_homeless(ll_writer *writer, const ll_sql *sql, enum lli_kind kind,
                                 const ll_submit *how, ll_request **ret_request, const char *caller)
{
    ll_request *request;
    if (!lli_writer_takes(kind, sql))
        return lli_refuse(LL_EINVAL,
                          "%s: home is NULL, and the statement is no INSERT, UPDATE, DELETE, "
                          "REPLACE or WITH",
                          caller);
    if (sql->begin_before != LL_BEGIN_NONE || (sql->flags & LL_SQL_STREAM))
        return lli_refuse(LL_EINVAL, "%s: home is NULL, but %s needs one", caller,
                          sql->flags & LL_SQL_STREAM ? "LL_SQL_STREAM" : "begin_before");
    LL_TRY(lli_exec_new(writer->conn, sql, kind, how, ret_request, caller, &request));
    request->writer = lli_group_ref(writer);
    return lli_submit(request, ret_request);
}

/* Whether it is a matter of its connection alone, as far as that can be told from here. */
static bool stays_at_home(const ll_conn *home, const ll_sql *sql, enum lli_kind kind)
{
    ll_conn_state state;
    if (!lli_writer_takes(kind, sql) || sql->begin_before != LL_BEGIN_NONE ||
        (sql->flags & LL_SQL_READ_ONLY))
        return true;
    ll_conn_get_state(home, &state);
    return state.in_transaction;
}

ll_status ll_writer_submit(ll_writer *writer, ll_conn *home, const ll_sql *sql,
                           const ll_submit *how, ll_request **ret_request)
{
    static const char caller[] = "ll_writer_submit";
    if (!writer || !sql)
        return lli_refuse(LL_EINVAL, "%s: %s is NULL", caller, writer ? "sql" : "writer");
    LL_TRY(lli_engine_check(writer->conn->engine, caller));
    if (home == writer->conn)
        return lli_refuse(LL_EINVAL, "%s: home is the writer's own connection; NULL stands for it",
                          caller);
    if (home && home->crew != writer->conn->crew)
        return lli_refuse(LL_EINVAL, "%s: home does not share its workers with the writer", caller);
    ll_sql checked = *sql;
    LL_TRY(lli_exec_text_size(sql->text, sql->size, caller, "sql->text", &checked.size));
    enum lli_kind kind = lli_classify(checked.text, checked.size);
    if (!home)
        return submit_homeless(writer, &checked, kind, how, ret_request, caller);
    if (stays_at_home(home, &checked, kind)) {
        lli_group_count_alone(writer);
        return lli_exec_submit(home, &checked, kind, how, ret_request, caller);
    }
    ll_request *request;
    LL_TRY(lli_exec_new(home, &checked, kind, how, ret_request, caller, &request));
    request->writer = lli_group_ref(writer);
    return lli_submit(request, ret_request);
}

void ll_writer_get_stats(const ll_writer *writer, ll_writer_stats *ret_stats)
{
    if (!ret_stats)
        return;
    *ret_stats = (ll_writer_stats){0};
    if (!writer || lli_engine_foreign(writer->conn->engine))
        return;
    ret_stats->batches = atomic_load_explicit(&writer->stats.batches, memory_order_relaxed);
    ret_stats->members = atomic_load_explicit(&writer->stats.members, memory_order_relaxed);
    ret_stats->largest = atomic_load_explicit(&writer->stats.largest, memory_order_relaxed);
    ret_stats->alone = atomic_load_explicit(&writer->stats.alone, memory_order_relaxed);
    ret_stats->reruns = atomic_load_explicit(&writer->stats.reruns, memory_order_relaxed);
}

bool ll_writer_is_broken(const ll_writer *writer)
{
    return writer && !lli_engine_foreign(writer->conn->engine) &&
           lli_tenant_is_broken(writer->conn);
}

void ll_writer_free(ll_writer *writer)
{
    if (writer && !lli_engine_foreign(writer->conn->engine))
        lli_group_unref(writer);
}
