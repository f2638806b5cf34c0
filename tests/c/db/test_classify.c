/* First words: what a statement is before it is prepared. */
#include "support/support.h"

#include "db/classify.h"

static void first_words(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        enum lli_kind kind;
    } cases[] = {
        {"", LLI_KIND_EMPTY},
        {" \t\r\n\f;; ; ", LLI_KIND_EMPTY},
        {"-- only a comment", LLI_KIND_EMPTY},
        {"/* open for ever", LLI_KIND_EMPTY},
        {"/**/ -- x\n", LLI_KIND_EMPTY},
        {"/", LLI_KIND_OTHER},
        {"-", LLI_KIND_OTHER},
        {"select 1", LLI_KIND_SELECT},
        {"SELECT", LLI_KIND_SELECT},
        {"SELECTED", LLI_KIND_OTHER},
        {"-- c\n/* d */ \xef\xbb\xbf Select(1)", LLI_KIND_SELECT},
        {"/* -- */ select 1", LLI_KIND_SELECT},
        {"-- /*\nselect 1", LLI_KIND_SELECT},
        {"/*/ select */ insert", LLI_KIND_DML},
        {";;insert into t values(1)", LLI_KIND_DML},
        {"UPDATE t SET a=1", LLI_KIND_DML},
        {"delete from t", LLI_KIND_DML},
        {"Replace into t", LLI_KIND_DML},
        {"with x as (select 1) insert into t select * from x", LLI_KIND_OTHER},
        {"values (1)", LLI_KIND_OTHER},
        {"explain select 1", LLI_KIND_OTHER},
        {"begin", LLI_KIND_BEGIN},
        {"BEGIN IMMEDIATE;", LLI_KIND_BEGIN},
        {"commit", LLI_KIND_COMMIT},
        {"end transaction", LLI_KIND_COMMIT},
        {"rollback to x", LLI_KIND_ROLLBACK},
        {"savepoint x", LLI_KIND_SAVEPOINT},
        {"release x", LLI_KIND_RELEASE},
        {"pragma user_version", LLI_KIND_PRAGMA},
        {"PRAGMA busy_timeout = 5", LLI_KIND_PRAGMA_BUSY_TIMEOUT},
        {"pragma /* x */ main . Busy_Timeout(5)", LLI_KIND_PRAGMA_BUSY_TIMEOUT},
        {"pragma journal_mode=wal", LLI_KIND_PRAGMA_JOURNAL_MODE},
        {"pragma busy_timeout_x", LLI_KIND_PRAGMA},
        {"pragma", LLI_KIND_PRAGMA},
        {"create table t(x)", LLI_KIND_OTHER},
        {" \v\v begin", LLI_KIND_BEGIN}, /* white space, behind some */
        {"\n\v", LLI_KIND_EMPTY},
        {"\vbegin", LLI_KIND_OTHER}, /* an error */
    };
    for (size_t i = 0; i < LLI_COUNT(cases); i++) {
        enum lli_kind kind = lli_classify(cases[i].sql, strlen(cases[i].sql));
        if (kind != cases[i].kind)
            t_fail(__FILE__, __LINE__, "%s: expected %d, got %d", cases[i].sql, (int)cases[i].kind,
                   (int)kind);
    }
}

/* Every prefix of a text in memory of just its size: a checker sees a read beyond it. */
static void reads_no_further_than_told(void **state)
{
    (void)state;
    static const char text[] = " ;-- x\n/* y */ \xef\xbb\xbf pragma main . busy_timeout = 1";
    for (size_t size = 0; size < sizeof text; size++) {
        char *copy = malloc(size > 0 ? size : 1);
        T_CHECK(copy != NULL);
        memcpy(copy, text, size);
        T_CHECK(lli_skip_blank(copy, size) <= size);
        lli_classify(copy, size);
        free(copy);
    }
    T_CHECK(lli_classify("SELECT", 3) == LLI_KIND_OTHER);
    T_CHECK(lli_classify_own(" \vBEGIN", 7) != NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(first_words),
        T_TEST(reads_no_further_than_told),
    };
    return T_RUN(tests);
}
