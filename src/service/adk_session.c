/* adk_session.c: the sessions of the ADK store: one statement each.
 *
 * Nothing here waits or touches a database: a call is filled with a text that was made once (adk_schema.c) and with
 * values that point to what the program gave. The program runs it where it likes. */
#include "service/adk.h"

ll_status ll_adk_create_session(const ll_adk *adk, const ll_adk_session *session,
                                ll_adk_call *ret_call)
{
    static const char caller[] = "ll_adk_create_session";
    LL_TRY(lli_adk_begin(adk, LL_ADK_CREATE_SESSION, ret_call, caller));
    if (!session)
        return lli_refuse(LL_EINVAL, "%s: session is NULL", caller);
    ll_value *values = ret_call->values;
    LL_TRY(lli_adk_need(session->id, caller, "session->id", &values[0]));
    LL_TRY(lli_adk_need(session->app_name, caller, "session->app_name", &values[1]));
    LL_TRY(lli_adk_need(session->user_id, caller, "session->user_id", &values[2]));
    LL_TRY(
        lli_adk_may(session->state ? session->state : "{}", caller, "session->state", &values[3]));
    values[4] = ll_real(ll_adk_julian(session->create_time_us));
    values[5] = ll_real(ll_adk_julian(session->update_time_us));
    ret_call->sql.params.count = 6;
    if (adk->owner_name)
        lli_adk_add(ret_call, session->owner);
    else if (session->owner.type != LL_NULL)
        return lli_refuse(LL_EINVAL,
                          "%s: session->owner is given, but the sessions have no column "
                          "for it (ll_adk_options.owner_column)",
                          caller);
    return LL_OK;
}

/* A statement whose only parameter is a session's id. */
static ll_status by_id(const ll_adk *adk, ll_adk_statement statement, const char *session_id,
                       ll_adk_call *ret_call, const char *caller)
{
    LL_TRY(lli_adk_begin(adk, statement, ret_call, caller));
    LL_TRY(lli_adk_need(session_id, caller, "session_id", &ret_call->values[0]));
    ret_call->sql.params.count = 1;
    return LL_OK;
}

ll_status ll_adk_get_session(const ll_adk *adk, const char *session_id, ll_adk_call *ret_call)
{
    return by_id(adk, LL_ADK_GET_SESSION, session_id, ret_call, "ll_adk_get_session");
}

ll_status ll_adk_delete_session(const ll_adk *adk, const char *session_id, ll_adk_call *ret_call)
{
    return by_id(adk, LL_ADK_DELETE_SESSION, session_id, ret_call, "ll_adk_delete_session");
}

ll_status ll_adk_update_state(const ll_adk *adk, const char *session_id, const char *state,
                              int64_t now_us, ll_adk_call *ret_call)
{
    static const char caller[] = "ll_adk_update_state";
    LL_TRY(by_id(adk, LL_ADK_UPDATE_STATE, session_id, ret_call, caller));
    LL_TRY(lli_adk_need(state, caller, "state", &ret_call->values[1]));
    ret_call->values[2] = ll_real(ll_adk_julian(now_us));
    ret_call->sql.params.count = 3;
    return LL_OK;
}

ll_status ll_adk_list_sessions(const ll_adk *adk, const char *app_name, const char *user_id,
                               ll_adk_call *ret_call)
{
    static const char caller[] = "ll_adk_list_sessions";
    LL_TRY(lli_adk_begin(adk, user_id ? LL_ADK_LIST_USER_SESSIONS : LL_ADK_LIST_SESSIONS, ret_call,
                         caller));
    LL_TRY(lli_adk_need(app_name, caller, "app_name", &ret_call->values[0]));
    LL_TRY(lli_adk_may(user_id, caller, "user_id", &ret_call->values[1]));
    ret_call->sql.params.count = user_id ? 2 : 1;
    return LL_OK;
}

ll_status ll_adk_session_of(const ll_value *row, ll_adk_session *ret_session)
{
    static const char caller[] = "ll_adk_session_of";
    if (!row || !ret_session)
        return lli_refuse(LL_EINVAL, "%s: %s is NULL", caller, row ? "ret_session" : "row");
    ll_adk_session session = {0};
    LL_TRY(lli_adk_text_of(&row[0], caller, "id", &session.id));
    LL_TRY(lli_adk_text_of(&row[1], caller, "app_name", &session.app_name));
    LL_TRY(lli_adk_text_of(&row[2], caller, "user_id", &session.user_id));
    LL_TRY(lli_adk_text_of(&row[3], caller, "state", &session.state));
    LL_TRY(lli_adk_time_of(&row[4], caller, "create_time", &session.create_time_us));
    LL_TRY(lli_adk_time_of(&row[5], caller, "update_time", &session.update_time_us));
    *ret_session = session;
    return LL_OK;
}
