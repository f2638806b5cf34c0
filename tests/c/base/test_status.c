/* Status codes and errors: every code has name and text, the first error wins, no memory is no loss. */
#include "support/support.h"

#include "base/fault.h"
#include "base/status.h"

static void every_status_has_words(void **state)
{
    (void)state;
    static const ll_status all[] = {LL_OK,    LL_PENDING,  LL_ENOMEM,     LL_EINVAL,  LL_ESQL,
                                    LL_EBUSY, LL_ETIMEOUT, LL_ECANCELLED, LL_ECLOSED, LL_EFORK,
                                    LL_ESYS,  LL_EPARAM,   LL_ESTATEMENTS};
    for (size_t i = 0; i < LLI_COUNT(all); i++) {
        T_CHECK(strncmp(ll_status_name(all[i]), "LL_", 3) == 0);
        T_CHECK(strcmp(ll_status_name(all[i]), "LL_?") != 0);
        T_CHECK(strcmp(ll_status_text(all[i]), "unknown status") != 0);
        for (size_t k = 0; k < i; k++)
            T_CHECK(strcmp(ll_status_name(all[i]), ll_status_name(all[k])) != 0);
    }
    T_SAME_TEXT(ll_status_name((ll_status)-9999), "LL_?");
    T_SAME_TEXT(ll_status_text((ll_status)-9999), "unknown status");
}

static void first_error_wins(void **state)
{
    (void)state;
    struct lli_error error = {0}, other = {0};
    lli_error_set(&error, LL_EBUSY, "file %d is %s", 3, "locked");
    lli_error_set(&error, LL_ENOMEM, "later");
    T_CHECK(error.pub.status == LL_EBUSY && error.pub.sql_offset == -1);
    T_SAME_TEXT(error.pub.message, "file 3 is locked");
    lli_error_move(&other, &error);
    T_CHECK(error.pub.status == LL_OK && error.owned == NULL);
    T_SAME_TEXT(other.pub.message, "file 3 is locked");
    lli_error_done(&other);
    lli_error_done(&error); /* of none */
    T_CHECK(other.pub.status == LL_OK);
}

static void without_memory_the_text_is_static(void **state)
{
    (void)state;
    struct lli_error error = {0};
    lli_fault_arm(LLI_FAULT_ALLOC, 1);
    lli_error_set(&error, LL_ESQL, "text %d", 1);
    T_CHECK(lli_fault_fired());
    lli_fault_disarm();
    T_CHECK(error.pub.status == LL_ESQL && error.owned == NULL);
    T_SAME_TEXT(error.pub.message, ll_status_text(LL_ESQL));
    lli_error_done(&error);
}

static void refusals_are_cut_not_overrun(void **state)
{
    (void)state;
    char *text = malloc(5000);
    T_CHECK(text != NULL);
    memset(text, 'x', 4999);
    text[4999] = '\0';
    T_CHECK(lli_refuse(LL_EINVAL, "%s", text) == LL_EINVAL);
    T_CHECK(strlen(ll_last_error()) > 100 && strlen(ll_last_error()) < 1000);
    free(text);
    T_CHECK(lli_refuse(LL_ECLOSED, "closed") == LL_ECLOSED);
    T_SAME_TEXT(ll_last_error(), "closed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(every_status_has_words),
        T_TEST(first_error_wins),
        T_TEST(without_memory_the_text_is_static),
        T_TEST(refusals_are_cut_not_overrun),
    };
    return T_RUN(tests);
}
