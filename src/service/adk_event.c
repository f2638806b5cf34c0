/* adk_event.c: the events of the ADK store.
 *
 * Appending is one INSERT: it reads nothing of the session's history, and the foreign key says whether the session
 * exists. Many are one executemany inside a savepoint, all or none. */
#include "service/adk.h"

#include <math.h>

enum {
    COMMON = 6, /* values that both layouts have */
    COLUMNS = LL_ADK_MOST_VALUES,
    DOCUMENT = COMMON + 1
};

static size_t width_of(const ll_adk *adk)
{
    return adk->layout == LL_ADK_DOCUMENT ? DOCUMENT : COLUMNS;
}

static ll_value of_flag(ll_adk_flag flag)
{
    return flag == LL_ADK_UNSET ? ll_null() : ll_integer(flag == LL_ADK_TRUE);
}

/* The values of one event, width_of() of them. Errors: LL_EINVAL. */
static ll_status fill(const ll_adk *adk, const ll_adk_event *event, ll_value *values,
                      const char *caller)
{
    LL_TRY(lli_adk_need(event->id, caller, "event->id", &values[0]));
    LL_TRY(lli_adk_need(event->session_id, caller, "event->session_id", &values[1]));
    LL_TRY(lli_adk_need(event->app_name, caller, "event->app_name", &values[2]));
    LL_TRY(lli_adk_need(event->user_id, caller, "event->user_id", &values[3]));
    values[5] = ll_real(ll_adk_julian(event->timestamp_us));
    if (adk->layout == LL_ADK_DOCUMENT) {
        LL_TRY(lli_adk_may(event->invocation_id, caller, "event->invocation_id", &values[4]));
        return lli_adk_need(event->data, caller, "event->data", &values[6]);
    }
    LL_TRY(lli_adk_need(event->invocation_id, caller, "event->invocation_id", &values[4]));
    LL_TRY(lli_adk_need(event->author, caller, "event->author", &values[6]));
    if (event->actions_size > UINT32_MAX)
        return lli_refuse(LL_EINVAL, "%s: event->actions_size is %zu", caller, event->actions_size);
    if (!event->actions && event->actions_size > 0)
        return lli_refuse(LL_EINVAL, "%s: event->actions is NULL, but actions_size is %zu", caller,
                          event->actions_size);
    values[7] = ll_blob(event->actions ? event->actions : "", (uint32_t)event->actions_size);
    LL_TRY(lli_adk_may(event->long_running_tool_ids_json, caller,
                       "event->long_running_tool_ids_json", &values[8]));
    LL_TRY(lli_adk_may(event->branch, caller, "event->branch", &values[9]));
    LL_TRY(lli_adk_may(event->content, caller, "event->content", &values[10]));
    LL_TRY(
        lli_adk_may(event->grounding_metadata, caller, "event->grounding_metadata", &values[11]));
    LL_TRY(lli_adk_may(event->custom_metadata, caller, "event->custom_metadata", &values[12]));
    values[13] = of_flag(event->partial);
    values[14] = of_flag(event->turn_complete);
    values[15] = of_flag(event->interrupted);
    LL_TRY(lli_adk_may(event->error_code, caller, "event->error_code", &values[16]));
    return lli_adk_may(event->error_message, caller, "event->error_message", &values[17]);
}

ll_status ll_adk_append_event(const ll_adk *adk, const ll_adk_event *event, ll_adk_call *ret_call)
{
    static const char caller[] = "ll_adk_append_event";
    LL_TRY(lli_adk_begin(adk, LL_ADK_APPEND_EVENT, ret_call, caller));
    if (!event)
        return lli_refuse(LL_EINVAL, "%s: event is NULL", caller);
    LL_TRY(fill(adk, event, ret_call->values, caller));
    ret_call->sql.params.count = width_of(adk);
    return LL_OK;
}

ll_status ll_adk_append_events(const ll_adk *adk, const ll_adk_event *events, size_t count,
                               ll_value *values, ll_many *ret_many)
{
    static const char caller[] = "ll_adk_append_events";
    if (!adk || !ret_many)
        return lli_refuse(LL_EINVAL, "%s: %s is NULL", caller, adk ? "ret_many" : "adk");
    if (count > 0 && (!events || !values))
        return lli_refuse(LL_EINVAL, "%s: %s is NULL, but count is %zu", caller,
                          events ? "values" : "events", count);
    size_t width = width_of(adk);
    for (size_t i = 0; i < count; i++)
        LL_TRY(fill(adk, &events[i], values + i * width, caller));
    *ret_many = (ll_many){.text = adk->texts[LL_ADK_APPEND_EVENT],
                          .size = adk->sizes[LL_ADK_APPEND_EVENT],
                          .values = values,
                          .rows = count,
                          .width = width,
                          .atomic = true,
                          .dml_only = true};
    return LL_OK;
}

static ll_status some_events(const ll_adk *adk, ll_adk_statement statement, const char *session_id,
                             int64_t time_us, size_t limit, ll_adk_call *ret_call,
                             const char *caller)
{
    LL_TRY(lli_adk_begin(adk, statement, ret_call, caller));
    LL_TRY(lli_adk_need(session_id, caller, "session_id", &ret_call->values[0]));
    double from = time_us == LL_ADK_ALWAYS ? -HUGE_VAL : ll_adk_julian(time_us);
    ret_call->values[1] = ll_real(from);
    ret_call->values[2] = ll_integer(limit > INT64_MAX ? -1 : (int64_t)limit);
    ret_call->sql.params.count = 3;
    return LL_OK;
}

ll_status ll_adk_get_events(const ll_adk *adk, const char *session_id, int64_t after_us,
                            size_t limit, ll_adk_call *ret_call)
{
    return some_events(adk, LL_ADK_GET_EVENTS, session_id, after_us, limit, ret_call,
                       "ll_adk_get_events");
}

ll_status ll_adk_recent_events(const ll_adk *adk, const char *session_id, int64_t from_us,
                               size_t limit, ll_adk_call *ret_call)
{
    return some_events(adk, LL_ADK_RECENT_EVENTS, session_id, from_us, limit, ret_call,
                       "ll_adk_recent_events");
}

static ll_status flag_of(const ll_value *value, const char *caller, const char *name,
                         ll_adk_flag *ret_flag)
{
    if (value->type != LL_NULL && value->type != LL_INTEGER)
        return lli_refuse(LL_EINVAL, "%s: %s is no truth value", caller, name);
    *ret_flag = value->type == LL_NULL ? LL_ADK_UNSET
              : value->as.integer      ? LL_ADK_TRUE
                                       : LL_ADK_FALSE;
    return LL_OK;
}

ll_status ll_adk_event_of(const ll_adk *adk, const ll_value *row, ll_adk_event *ret_event)
{
    static const char caller[] = "ll_adk_event_of";
    if (!adk || !row || !ret_event)
        return lli_refuse(LL_EINVAL, "%s: %s is NULL", caller,
                          !adk  ? "adk"
                          : row ? "ret_event"
                                : "row");
    ll_adk_event event = {0};
    struct {
        const char **text;
        const char *name;
        size_t column;
    } texts[] = {
        {&event.id, "id", 0},
        {&event.session_id, "session_id", 1},
        {&event.app_name, "app_name", 2},
        {&event.user_id, "user_id", 3},
        {&event.invocation_id, "invocation_id", 4},
        /* the document layout ends here, with event_data */
        {&event.author, "author", 6},
        {&event.long_running_tool_ids_json, "long_running_tool_ids_json", 8},
        {&event.branch, "branch", 9},
        {&event.content, "content", 10},
        {&event.grounding_metadata, "grounding_metadata", 11},
        {&event.custom_metadata, "custom_metadata", 12},
        {&event.error_code, "error_code", 16},
        {&event.error_message, "error_message", 17},
    };
    bool document = adk->layout == LL_ADK_DOCUMENT;
    for (size_t i = 0; i < LLI_COUNT(texts); i++)
        if (!document || texts[i].column < COMMON)
            LL_TRY(lli_adk_text_of(&row[texts[i].column], caller, texts[i].name, texts[i].text));
    LL_TRY(lli_adk_time_of(&row[5], caller, "timestamp", &event.timestamp_us));
    if (document) {
        LL_TRY(lli_adk_text_of(&row[6], caller, "event_data", &event.data));
    } else {
        if (row[7].type != LL_BLOB && row[7].type != LL_TEXT)
            return lli_refuse(LL_EINVAL, "%s: actions are no bytes", caller);
        event.actions = row[7].as.blob;
        event.actions_size = row[7].size;
        LL_TRY(flag_of(&row[13], caller, "partial", &event.partial));
        LL_TRY(flag_of(&row[14], caller, "turn_complete", &event.turn_complete));
        LL_TRY(flag_of(&row[15], caller, "interrupted", &event.interrupted));
    }
    *ret_event = event;
    return LL_OK;
}
