/* fuzz_classify.c: what looplite thinks of a text by its words and by its program, against what SQLite then does.
 *
 *   - nothing is read behind the end of the text, which has no NUL;
 *   - "only reads": SQLite says so too (sqlite3_stmt_readonly());
 *   - "any connection will do": afterwards no transaction is open, nothing is attached, no temporary object is there;
 *   - "empty": SQLite finds no statement in it, and the other way round;
 *   - "bounded": it takes no more steps than was said. */
#include "fuzz.h"

#include "db/api.h"
#include "db/classify.h"
#include "db/inspect.h"

static int count_down(void *arg)
{
    int *left = arg;
    return --*left < 0;
}

static int no_attach(void *arg, int action, const char *one, const char *two, const char *three,
                     const char *four)
{
    (void)arg, (void)one, (void)two, (void)three, (void)four;
    return action == SQLITE_ATTACH ? SQLITE_DENY : SQLITE_OK;
}

static sqlite3 *fresh(void)
{
    sqlite3 *db = NULL;
    T_CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
    t_raw(db,
          "CREATE TABLE t(a INTEGER PRIMARY KEY, b, c TEXT); CREATE INDEX i ON t(b);"
          "CREATE VIEW v AS SELECT * FROM t; CREATE TABLE u(x REFERENCES t(a));"
          "CREATE TRIGGER g AFTER INSERT ON u BEGIN UPDATE t SET b = b + 1 WHERE a = NEW.x; END;"
          "INSERT INTO t VALUES(1, 2, 'x'), (2, 3, 'y')");
    sqlite3_set_authorizer(db, no_attach, NULL);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 100000);
    return db;
}

static bool has_word(const char *text, const char *word)
{
    size_t size = strlen(word);
    for (; *text; text++)
        if (sqlite3_strnicmp(text, word, (int)size) == 0)
            return true;
    return false;
}

static void judge(sqlite3 *db, const char *text, size_t size, enum lli_kind kind)
{
    sqlite3_stmt *stmt = NULL;
    const char *tail = NULL;
    int left = 200;
    if (sqlite3_prepare_v2(db, text, (int)size, &stmt, &tail) != SQLITE_OK)
        return;
    T_EQUAL(stmt == NULL && tail == text + size, kind == LLI_KIND_EMPTY);
    bool more = tail < text + size &&
                lli_classify(tail, (size_t)(text + size - tail)) != LLI_KIND_EMPTY;
    if (!stmt || more) { /* more than one: refused before */
        sqlite3_finalize(stmt);
        return;
    }
    if (lli_classify_reads(text, size) && kind != LLI_KIND_PRAGMA)
        T_CHECK(sqlite3_stmt_readonly(stmt));
    struct lli_program program = lli_explain(db, text, size);
    sqlite3_progress_handler(db, 1000, count_down, &left);
    while (sqlite3_step(stmt) == SQLITE_ROW) {}
    int steps = sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_VM_STEP, 0);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    bool prepared_again = sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_REPREPARE, 0) > 0;
    if (lli_program_bounded(&program) && !prepared_again && steps > program.steps)
        t_fail(__FILE__, __LINE__, "bounded by %d steps, and takes %d", program.steps, steps);
    sqlite3_finalize(stmt);
    if (left < 0)
        return;
    if (!lli_classify_own(text, size)) {
        T_CHECK(sqlite3_get_autocommit(db));
        T_EQUAL(t_raw_int(db, "SELECT count(*) FROM temp.sqlite_master"), 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool prepared;
    if (!prepared) {
        prepared = true;
        t_group(__FILE__);
        t_failing_ends_the_process();
        T_CHECK(lli_sqlite_ready() == LL_OK);
    }
    if (size > 2000)
        return 0;
    char *text = malloc(size ? size : 1); /* as long as it is: a checker sees what lies behind */
    char *copy = malloc(size + 1);
    T_CHECK(text && copy);
    memcpy(text, data, size);
    memcpy(copy, data, size);
    copy[size] = '\0';
    T_CHECK(lli_skip_blank(text, size) <= size);
    enum lli_kind kind = lli_classify(text, size);
    (void)lli_classify_own(text, size);
    (void)lli_classify_may_stay(text, size);
    (void)lli_classify_reads(text, size);
    (void)lli_classify_rolls_all_back(text, size);
    if (!memchr(text, 0, size) && !has_word(copy, "_directory")) {
        sqlite3 *db = fresh();
        judge(db, copy, size, kind);
        sqlite3_close(db);
    }
    free(text);
    free(copy);
    return 0;
}
