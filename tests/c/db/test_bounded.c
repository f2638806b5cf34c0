/* Bounded programs: a corpus of statements with the verdict each must get, and what changes a verdict. */
#include "support/support.h"

#include "base/fault.h"
#include "db/api.h"
#include "db/cost.h"
#include "db/inspect.h"
#include "platform/clock.h"

static const char schema[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b INT, u TEXT UNIQUE, j TEXT);"
    "CREATE INDEX t_b ON t(b);"
    "CREATE TABLE plain(a, b);"
    "CREATE TABLE w(k TEXT, l INT, v, PRIMARY KEY(k, l)) WITHOUT ROWID;"
    "CREATE TABLE pair(x INT, y INT, z, UNIQUE(x, y));"
    "CREATE TABLE parent(id INTEGER PRIMARY KEY, name);"
    "CREATE TABLE child(id INTEGER PRIMARY KEY, p REFERENCES parent, n);"
    "CREATE INDEX child_p ON child(p);"
    "CREATE TABLE owner(id INTEGER PRIMARY KEY);"
    "CREATE TABLE owned(id INTEGER PRIMARY KEY, o REFERENCES owner ON DELETE CASCADE);"
    "CREATE TABLE autoinc(id INTEGER PRIMARY KEY AUTOINCREMENT, x);"
    "CREATE TABLE sums(id INTEGER PRIMARY KEY, x, y AS (x || x), z AS (y || y) STORED);"
    "CREATE TABLE checked(id INTEGER PRIMARY KEY, x CHECK(length(x) < 9));"
    "CREATE TABLE costly(id INTEGER PRIMARY KEY, x CHECK(hex(x) <> ''));"
    "CREATE TABLE strange(id INTEGER PRIMARY KEY, x TEXT COLLATE strange UNIQUE);"
    "CREATE TABLE nocase(k TEXT COLLATE NOCASE PRIMARY KEY, v);"
    "CREATE TABLE watched(id INTEGER PRIMARY KEY, x);"
    "CREATE TRIGGER watching AFTER DELETE ON watched BEGIN UPDATE plain SET a = 1; END;"
    "CREATE VIEW one AS SELECT id, a FROM t WHERE id = 1;"
    "CREATE VIEW many AS SELECT id, a FROM t;"
    "CREATE VIRTUAL TABLE box USING rtree(id, x0, x1);"
    "CREATE VIRTUAL TABLE words USING fts5(body);";

enum {
    OK = LLI_BOUNDED,
    LOOP = LLI_HAS_LOOP,
    OPCODE = LLI_HAS_OPCODE,
    FUNCTION = LLI_HAS_FUNCTION,
    COLLATION = LLI_HAS_COLLATION,
    CONCATS = LLI_HAS_CONCATS,
    TOO_MANY = LLI_HAS_TOO_MANY,
    EITHER = 99, /* differs between versions */
    ANY = 100    /* not bounded; which reason comes first differs between versions */
};

#define REP5(x)  x x x x x
#define REP50(x) REP5(REP5(x) REP5(x))

static const struct {
    const char *sql;
    int why;
} corpus[] = {
    /* Nothing from a table. */
    {"SELECT 1", OK},
    {"SELECT ?1 + ?2 * 3, ?3 || 'x', -?1, NOT ?2, ?1 << 2, ?1 & 3, ~?2", OK},
    {"VALUES (1, 2)", OK},
    {"SELECT 1 UNION ALL SELECT 2", OK},
    {"SELECT 1 UNION SELECT 2", EITHER}, /* 3.40: an own table of two rows */
    {"SELECT CASE WHEN ?1 > 3 THEN 'a' WHEN ?1 IS NULL THEN 'b' ELSE 'c' END", OK},
    {"SELECT CAST(?1 AS INTEGER), ?2 BETWEEN 1 AND 9, ?1 IN (1, 2), ?1 IS NOT ?2",
     EITHER}, /* 3.34: a table for IN */
    {"SELECT 1 WHERE ?1 IN (1, 2, 3, 4, 5)", OK},
    {"SELECT * FROM (SELECT 1 AS x) LIMIT 1", ANY}, /* a coroutine */

    /* Point reads. */
    {"SELECT * FROM t WHERE id = ?", OK},
    {"SELECT * FROM t WHERE rowid = ? AND b > 3", OK},
    {"SELECT a FROM t WHERE id = ? LIMIT ?", OK},
    {"SELECT a FROM t WHERE id = ? ORDER BY b DESC, a", OK}, /* one row needs no sorter */
    {"SELECT DISTINCT a FROM t WHERE id = ?", OK},
    {"SELECT * FROM t WHERE u = ?", OK},           /* unique index, then the table */
    {"SELECT u FROM t WHERE u = ?", OK},           /* covering */
    {"SELECT * FROM t WHERE u = ? AND a = ?", OK}, /* the rest is only checked */
    {"SELECT * FROM w WHERE k = ? AND l = ?", OK},
    {"SELECT * FROM pair WHERE x = ? AND y = ?", OK},
    {"SELECT * FROM nocase WHERE k = ?", OK},
    {"SELECT * FROM one", OK},
    {"SELECT * FROM many WHERE id = ?", OK},
    {"SELECT count(*) FROM t WHERE id = ?", OK},
    {"SELECT sum(b), avg(b), total(b), min(b), max(b) FROM t WHERE id = ?", OK},
    {"SELECT EXISTS(SELECT 1 FROM t WHERE id = ?)", OK},
    {"SELECT (SELECT a FROM t WHERE id = ?1), (SELECT a FROM t WHERE id = ?2)", OK},
    {"SELECT t.a, w.v FROM t JOIN w ON w.k = t.a AND w.l = t.b WHERE t.id = ?", OK},
    {"WITH x AS (SELECT * FROM t WHERE id = ?) SELECT a FROM x", OK},
    {"SELECT id FROM t WHERE id = ? AND a = (SELECT v FROM w WHERE k = ? AND l = 1)", OK},
    {"SELECT * FROM t WHERE id IN (?)", OK},
    {"SELECT * FROM t WHERE id IN (?, ?, ?)", OK}, /* a loop over an own table of three rows */
    {"SELECT * FROM t WHERE id = ? OR id = ?", OK},
    {"SELECT max(id) FROM t", OK}, /* the Prev behind it is never reached */
    {"SELECT name FROM parent WHERE id = ? UNION ALL SELECT n FROM child WHERE id = ?", OK},

    /* One step too far. */
    {"SELECT * FROM t", LOOP},
    {"SELECT * FROM t LIMIT 1", LOOP}, /* true of an empty range only; not tried */
    {"SELECT * FROM t WHERE id > ?", LOOP},
    {"SELECT * FROM t WHERE id BETWEEN ? AND ?", LOOP},
    {"SELECT * FROM t WHERE b = ?", LOOP},         /* an index that is not unique */
    {"SELECT * FROM t WHERE u IS NULL", LOOP},     /* of NULLs a unique index has many */
    {"SELECT * FROM t WHERE u IN (?, ?)", EITHER}, /* older ones look for a second entry of each */
    {"SELECT * FROM w WHERE k = ?", LOOP},         /* half a key */
    {"SELECT * FROM pair WHERE y = ?", LOOP},      /* the other half */
    {"SELECT * FROM plain WHERE a = ?", ANY},      /* a scan, perhaps with an index made for it */
    {"SELECT * FROM t WHERE +id = ?", LOOP},       /* + keeps the key from being used */
    {"SELECT * FROM t ORDER BY a LIMIT 1", ANY},   /* a sorter */
    {"SELECT a, count(*) FROM t GROUP BY a", ANY}, /* subroutines */
    {"SELECT DISTINCT a FROM t", ANY},
    {"SELECT count(*) FROM t", OPCODE}, /* Count walks the whole tree in one step */
    {"SELECT max(a) FROM t", LOOP},
    {"SELECT * FROM t, w", LOOP},
    {"SELECT * FROM t LEFT JOIN w ON w.k = t.a AND w.l = 1 WHERE t.id = ?",
     LOOP}, /* twice at most */
    {"WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c) SELECT x FROM c", ANY},
    {"SELECT * FROM t WHERE id IN (SELECT b FROM t)", ANY}, /* LOOP, and a filter in newer ones */
    {"SELECT EXISTS(SELECT 1 FROM t WHERE a = ?)", LOOP},
    {"SELECT row_number() OVER () FROM t WHERE id = 1", ANY},
    {"SELECT * FROM t WHERE id IN (" REP50("?,") REP50("?,") "?)", TOO_MANY},

    /* Functions: in proportion to their arguments, and no larger. */
    {"SELECT upper(a), lower(a), trim(a), length(a), typeof(a), substr(a, 2) FROM t WHERE id = ?",
     OK},
    {"SELECT coalesce(a, b, 1), ifnull(a, 2), nullif(a, b), abs(b), round(b, 2) FROM t WHERE id = 1",
     OK},
    {"SELECT date(?), datetime(?, '+1 day'), julianday('now'), CURRENT_TIMESTAMP", OK},
    {"SELECT max(?1, ?2), min(?1, ?2, 3), char(?1, 65), unicode(?1), random()", OK},
    {"SELECT j -> '$.a', j ->> '$.a', json_type(j), json_array_length(j) FROM t WHERE id = ?", OK},
    {"SELECT a || '-' || b || '-' || u FROM t WHERE id = ?", OK},
    {"SELECT changes(), last_insert_rowid(), total_changes()", OK},
    {"SELECT randomblob(?)", FUNCTION}, /* long from short */
    {"SELECT hex(randomblob(?))", FUNCTION},
    {"SELECT zeroblob(?)", FUNCTION},
    {"SELECT printf('%*d', ?, 1)", FUNCTION},
    {"SELECT replace(a, 'x', ?) FROM t WHERE id = ?", FUNCTION},
    {"SELECT hex(a) FROM t WHERE id = ?", FUNCTION}, /* doubles: hex(hex(hex(...))) */
    {"SELECT quote(a) FROM t WHERE id = ?", FUNCTION},
    {"SELECT group_concat(a) FROM t WHERE id = ?", FUNCTION},
    {"SELECT a LIKE ? FROM t WHERE id = ?", FUNCTION}, /* patterns can be quadratic and worse */
    {"SELECT a GLOB ? FROM t WHERE id = ?", FUNCTION},
    {"SELECT instr(a, ?) FROM t WHERE id = ?", FUNCTION},            /* quadratic */
    {"SELECT trim(a, ?) FROM t WHERE id = ?", FUNCTION},             /* quadratic */
    {"SELECT json_extract(j, '$.a') FROM t WHERE id = ?", FUNCTION}, /* may repeat its argument */
    {"SELECT json_object('a', a) FROM t WHERE id = ?", FUNCTION},
    {"SELECT strftime(?, 'now')", FUNCTION}, /* a long format */
    {"SELECT own(a) FROM t WHERE id = ?", FUNCTION},
    {"SELECT ?1||?1||?1||?1||?1||?1||?1||?1||?1||?1", CONCATS},

    /* Collations. */
    {"SELECT * FROM t WHERE id = ? AND a = ? COLLATE NOCASE", OK},
    {"SELECT * FROM t WHERE id = ? AND a = ? COLLATE RTRIM", OK},
    {"SELECT * FROM t WHERE id = ? AND a = ? COLLATE strange", COLLATION},
    {"SELECT * FROM strange WHERE x = ?", COLLATION},
    {"INSERT INTO strange(x) VALUES (?)", COLLATION},
    {"SELECT * FROM strange WHERE id = ?", OK}, /* x is only read */

    /* Virtual tables, also those behind functions. */
    {"SELECT * FROM box WHERE id = ?", OPCODE},
    {"SELECT * FROM words WHERE words MATCH ?", OPCODE},
    {"SELECT * FROM pragma_table_info('t')", ANY},
    {"SELECT value FROM json_each(?)", ANY},
    {"INSERT INTO box VALUES (?, ?, ?)", OPCODE},

    /* Bounded writes. */
    {"INSERT INTO t(a, b) VALUES (?, ?)", OK},
    {"INSERT INTO t VALUES (?, ?, ?, ?, ?)", OK},
    {"INSERT OR IGNORE INTO t(id, u) VALUES (?, ?)", OK},
    {"INSERT OR REPLACE INTO t(id, u) VALUES (?, ?)", OK},
    {"REPLACE INTO w VALUES (?, ?, ?)", OK},
    {"INSERT INTO t DEFAULT VALUES", OK},
    {"INSERT INTO w VALUES (?, ?, ?)", OK},
    {"INSERT INTO t(id, b) VALUES (?, ?) ON CONFLICT(id) DO UPDATE SET b = excluded.b", OK},
    {"INSERT INTO t(u, b) VALUES (?, ?) ON CONFLICT(u) DO UPDATE SET b = b + 1", OK},
    {"INSERT INTO t(u) VALUES (?) ON CONFLICT DO NOTHING", OK},
    {"INSERT INTO w VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET v = v + 1", OK},
    {"INSERT INTO t(a) VALUES (?) RETURNING id", OK},
    {"INSERT INTO t(a) VALUES (?) RETURNING id, a, upper(a), *", OK},
    {"UPDATE t SET a = ? WHERE id = ?", OK},
    {"UPDATE t SET b = b + 1, u = ? WHERE id = ?", OK}, /* moves entries of two indexes */
    {"UPDATE t SET a = ? WHERE u = ?", OK},
    {"UPDATE w SET v = ? WHERE k = ? AND l = ?", OK},
    {"UPDATE t SET a = ? WHERE id = ? RETURNING a, b", OK},
    {"DELETE FROM t WHERE id = ?", OK},
    {"DELETE FROM t WHERE u = ?", OK},
    {"DELETE FROM w WHERE k = ? AND l = ?", OK},
    {"DELETE FROM t WHERE id = ? RETURNING *", OK},
    {"INSERT INTO sums(id, x) VALUES (?, ?)", OK},
    {"INSERT INTO checked(x) VALUES (?)", OK},
    {"INSERT INTO child(p) VALUES (?)", OK}, /* foreign keys on: one lookup of the parent */
    {"DELETE FROM child WHERE id = ?", OK},
    {"DELETE FROM t WHERE id IN (?, ?)", OK},
    {"DELETE FROM owned WHERE id = ?", OK},

    /* And writes that are not. */
    {"DELETE FROM plain", OPCODE}, /* Clear */
    {"DELETE FROM t", ANY},
    {"DELETE FROM t WHERE b = ?", ANY},
    {"DELETE FROM t WHERE id > ?", ANY},
    {"UPDATE t SET a = ?", ANY},
    {"UPDATE t SET a = ? WHERE b = ?", ANY},
    {"INSERT INTO t(a) VALUES (?), (?), (?)", ANY}, /* a coroutine */
    {"INSERT INTO plain SELECT a, b FROM t", ANY},
    {"INSERT INTO plain SELECT * FROM plain", ANY},
    {"INSERT INTO autoinc(x) VALUES (?)", LOOP}, /* searches sqlite_sequence */
    {"INSERT INTO costly(x) VALUES (?)", FUNCTION},
    {"DELETE FROM watched WHERE id = ?", OPCODE}, /* a trigger */
    {"INSERT INTO watched(x) VALUES (?)", OK},    /* which has none for this */
    {"DELETE FROM parent WHERE id = ?", LOOP},    /* foreign keys on: looks for all children */
    {"DELETE FROM owner WHERE id = ?", ANY},      /* foreign keys on: deletes them */
    {"UPDATE t SET a = 1 WHERE id IN (SELECT b FROM t)", ANY},
    {"WITH x AS (SELECT 1 AS i) DELETE FROM t WHERE id IN (SELECT i FROM x)", ANY},
    {"INSERT INTO t(b) VALUES ((SELECT count(*) FROM t))", ANY},
    {"INSERT INTO t(b) VALUES ((SELECT max(id) FROM t))", OK},
};

static int strange(void *arg, int size1, const void *text1, int size2, const void *text2)
{
    (void)arg;
    int size = size1 < size2 ? size1 : size2;
    int order = memcmp(text1, text2, (size_t)size);
    return order ? order : size1 - size2;
}

static void own(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    sqlite3_result_value(context, values[0]);
}

static sqlite3 *open_db(t_env *t, const char *name)
{
    sqlite3 *db = t_raw_open(t_path(t, name));
    T_CHECK(sqlite3_create_collation(db, "strange", SQLITE_UTF8, NULL, strange) == SQLITE_OK);
    T_CHECK(sqlite3_create_function(db, "own", 1, SQLITE_UTF8, NULL, own, NULL, NULL) == SQLITE_OK);
    return db;
}

static sqlite3 *open_corpus(t_env *t)
{
    sqlite3 *db = open_db(t, "corpus.db");
    t->damaged = true; /* its integrity cannot be checked without the collation */
    t_raw(db, schema);
    t_raw(db, "PRAGMA foreign_keys = ON");
    return db;
}

static struct lli_program explain(sqlite3 *db, const char *sql)
{
    return lli_explain(db, sql, strlen(sql));
}

/* Whether this SQLite knows the words. */
static bool is_known(const char *sql)
{
    return (t_has(T_HAS_RETURNING) ||
            (!strstr(sql, "RETURNING") && !strstr(sql, "CONFLICT DO UP"))) &&
           (t_has(T_HAS_ARROWS) || !strstr(sql, "->"));
}

/* ---- the corpus ---- */

static void corpus_gets_its_verdicts(void **state)
{
    sqlite3 *db = open_corpus(*state);
    size_t wrong = 0;
    for (size_t i = 0; i < LLI_COUNT(corpus); i++) {
        struct lli_program program = explain(db, corpus[i].sql);
        if (!is_known(corpus[i].sql)) {
            T_CHECK(!program.known);
        } else if (!program.known) {
            print_error("%s: cannot be explained: %s\n", corpus[i].sql, sqlite3_errmsg(db));
            wrong++;
        } else if (corpus[i].why != EITHER &&
                   (corpus[i].why == ANY ? program.why == LLI_BOUNDED
                                         : program.why != corpus[i].why)) {
            print_error("%s: expected %d, got %d\n", corpus[i].sql, corpus[i].why, program.why);
            wrong++;
        }
        T_CHECK((program.why == LLI_BOUNDED) == (program.steps > 0));
    }
    T_CHECK(wrong == 0);
    t_raw_close(db);
}

/* Counts the steps of the virtual machine as the progress handler sees them, every single one. */
static int count_step(void *arg)
{
    ++*(int *)arg;
    return 0;
}

/* What is bounded takes no more steps than was promised, with a full database too. */
static void bounded_programs_keep_their_promise(void **state)
{
    sqlite3 *db = open_corpus(*state);
    t_raw(db, "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE x < 3000)"
              "INSERT INTO t SELECT x, x, x % 7, 'u' || x, '{\"a\":1}' FROM c");
    t_raw(db,
          "INSERT INTO w SELECT a, b, 0 FROM t; INSERT INTO parent SELECT id, a FROM t;"
          "INSERT INTO child SELECT id, id, 0 FROM t; INSERT INTO pair SELECT id, id, 0 FROM t;");
    for (size_t i = 0; i < LLI_COUNT(corpus); i++) {
        struct lli_program program = explain(db, corpus[i].sql);
        if (!lli_program_bounded(&program))
            continue;
        for (int value = 1; value <= 20; value += 19) {
            sqlite3_stmt *stmt = NULL;
            T_CHECK(sqlite3_prepare_v2(db, corpus[i].sql, -1, &stmt, NULL) == SQLITE_OK);
            for (int k = 1; k <= sqlite3_bind_parameter_count(stmt); k++)
                sqlite3_bind_int(stmt, k, value + k);
            int steps = 0;
            sqlite3_progress_handler(db, 1, count_step, &steps);
            while (sqlite3_step(stmt) == SQLITE_ROW)
                ;
            sqlite3_progress_handler(db, 0, NULL, NULL);
            sqlite3_finalize(stmt);
            if (steps > program.steps)
                t_fail(__FILE__, __LINE__, "%s: %d steps, promised %u", corpus[i].sql, steps,
                       program.steps);
        }
    }
    t_raw_close(db);
}

static void facts(void **state)
{
    t_env *t = *state;
    sqlite3 *db = open_corpus(t);
    struct lli_program p = explain(db, "SELECT * FROM t WHERE id = ?");
    T_CHECK(!p.writes && !p.uses_vtab && !p.temp && !p.attached && p.calls == 0);
    T_CHECK(p.cookie == (uint32_t)t_raw_int(db, "PRAGMA schema_version"));
    p = explain(db, "SELECT upper(a), lower(a) FROM t WHERE id = ?");
    T_CHECK(p.calls == 2);
    p = explain(db, "SELECT 1");
    T_CHECK(p.cookie == 0);
    T_CHECK(explain(db, "SELECT * FROM box").uses_vtab);
    T_CHECK(explain(db, "SELECT * FROM pragma_table_info('t')").uses_vtab);
    t_raw(db, "CREATE TEMP TABLE tt(x); ATTACH ':memory:' AS other; CREATE TABLE other.o(x)");
    T_CHECK(explain(db, "SELECT * FROM tt").temp);
    T_CHECK(explain(db, "SELECT * FROM o").attached);
    p = explain(db, "SELECT * FROM o, t");
    T_CHECK(p.attached && p.cookie != 0 && !p.temp);
    T_CHECK(explain(db, "INSERT INTO t(a) VALUES (1)").writes);
    t_raw_close(db);
}

/* [measured] Deleting a row of 100 MB by its key takes 245 ms: such a write says so. */
static void overwrites(void **state)
{
    sqlite3 *db = open_corpus(*state);
    static const char *const yes[] = {
        "DELETE FROM t WHERE id = 1",
        "DELETE FROM w WHERE k = 1 AND l = 1",
        "UPDATE t SET a = 1 WHERE id = 1",
        "UPDATE w SET v = 1 WHERE k = 1 AND l = 1",
        "REPLACE INTO t(id) VALUES (1)",
        "REPLACE INTO parent VALUES (1, 1)",
        "REPLACE INTO w VALUES (1, 1, 1)",
        "UPDATE w SET l = 2 WHERE k = 1 AND l = 1",
        "INSERT INTO w VALUES (1, 1, 1) ON CONFLICT(k, l) DO UPDATE SET v = 2",
        "INSERT INTO t(id) VALUES (1) ON CONFLICT(id) DO UPDATE SET a = 1",
        "DELETE FROM plain",
    };
    static const char *const no[] = {
        "INSERT INTO t(a) VALUES (1)",
        "INSERT INTO t(id, u) VALUES (1, 2)",
        "INSERT INTO plain VALUES (1, 2)",
        "INSERT INTO w VALUES (1, 2, 3)",
        "INSERT OR IGNORE INTO t(id, u) VALUES (1, 2)",
        "INSERT INTO t(u) VALUES (1) ON CONFLICT DO NOTHING",
        "INSERT INTO t(a) VALUES (1) RETURNING id",
        "SELECT * FROM t WHERE id IN (1, 2)",
        "SELECT 1 UNION SELECT 2",
    };
    for (size_t i = 0; i < LLI_COUNT(yes); i++)
        if (!explain(db, yes[i]).overwrites)
            t_fail(__FILE__, __LINE__, "%s: does overwrite", yes[i]);
    for (size_t i = 0; i < LLI_COUNT(no); i++)
        if (explain(db, no[i]).overwrites)
            t_fail(__FILE__, __LINE__, "%s: does not overwrite", no[i]);
    t_raw_close(db);
}

static void what_cannot_be_explained(void **state)
{
    sqlite3 *db = open_corpus(*state);
    static const char *const texts[] = {"SELECT", "EXPLAIN SELECT 1", "SELECT * FROM nowhere", ""};
    for (size_t i = 0; i < LLI_COUNT(texts); i++) {
        struct lli_program program = explain(db, texts[i]);
        T_CHECK(!program.known && program.why == LLI_NOT_EXPLAINED);
        T_CHECK(!lli_program_bounded(&program));
    }
    lli_fault_arm(LLI_FAULT_ALLOC, 1);
    T_CHECK(!explain(db, "SELECT 1").known && lli_fault_fired());
    lli_fault_disarm();
    struct lli_program zero = {0};
    T_CHECK(!lli_program_bounded(&zero));
    t_raw_close(db);
}

/* ---- the judge alone ---- */

static struct lli_program judge(const struct lli_vdbe_op *ops, int count)
{
    static struct lli_judge judge;
    lli_judge_begin(&judge);
    for (int i = 0; i < count; i++) {
        struct lli_vdbe_op op = ops[i];
        op.addr = i;
        lli_judge_add(&judge, &op);
    }
    return lli_judge_end(&judge);
}
#define JUDGE(...)                                   \
    judge((const struct lli_vdbe_op[]){__VA_ARGS__}, \
          (int)LLI_COUNT(((const struct lli_vdbe_op[]){__VA_ARGS__})))

static void judge_knows_loops(void **state)
{
    (void)state;
    T_CHECK(JUDGE({"Init", .p2 = 1}, {"Halt"}).why == LLI_BOUNDED);
    T_CHECK(JUDGE({"Init", .p2 = 1}, {"Teleport"}, {"Halt"}).why == LLI_HAS_OPCODE);
    /* A jump back into what was passed, beyond the end, before the start. */
    T_CHECK(JUDGE({"Init", .p2 = 1}, {"Noop"}, {"If", .p2 = 1}, {"Halt"}).why == LLI_HAS_LOOP);
    T_CHECK(JUDGE({"Init", .p2 = 1}, {"Goto", .p2 = 9}, {"Halt"}).why == LLI_HAS_LOOP);
    T_CHECK(JUDGE({"Init", .p2 = 1}, {"Goto", .p2 = -1}, {"Halt"}).why == LLI_HAS_LOOP);
    T_CHECK(JUDGE({"Init", .p2 = 1}, {"Noop"}).why == LLI_HAS_LOOP); /* runs off its end */
    /* Goto 1 is allowed where Init leads, and nowhere else. */
    T_CHECK(JUDGE({"Init", .p2 = 2}, {"Halt"}, {"Goto", .p2 = 1}).why == LLI_BOUNDED);
    T_CHECK(JUDGE({"Init", .p2 = 3}, {"If", .p2 = 3}, {"Halt"}, {"Goto", .p2 = 1}).why ==
            LLI_HAS_LOOP);
    T_CHECK(JUDGE({"Init", .p2 = 1}, {"Jump", .p1 = 2, .p2 = 1, .p3 = 2}, {"Halt"}).why ==
            LLI_HAS_LOOP);
}

static void judge_knows_own_tables(void **state)
{
    (void)state;
#define FILLED                                                          \
    {"Init", .p2 = 1}, {"OpenEphemeral", .p1 = 5}, {"Insert", .p1 = 5}, \
    {                                                                   \
        "Rewind", .p1 = 5, .p2 = 6                                      \
    }
    struct lli_program p = JUDGE(FILLED, {"Column", .p1 = 5}, {"Next", .p1 = 5, .p2 = 4}, {"Halt"});
    T_CHECK(p.why == LLI_BOUNDED && p.steps == 14);
    /* It grows while it is read, is read from its start again, or is somebody's table. */
    T_CHECK(JUDGE(FILLED, {"Insert", .p1 = 5}, {"Next", .p1 = 5, .p2 = 4}, {"Halt"}).why ==
            LLI_HAS_LOOP);
    T_CHECK(JUDGE(FILLED, {"SeekGE", .p1 = 5}, {"Next", .p1 = 5, .p2 = 4}, {"Halt"}).why ==
            LLI_HAS_LOOP);
    T_CHECK(JUDGE({"Init", .p2 = 1}, {"OpenRead", .p1 = 5}, {"Noop"}, {"Rewind", .p1 = 5, .p2 = 6},
                  {"Column"}, {"Next", .p1 = 5, .p2 = 4}, {"Halt"})
                .why == LLI_HAS_LOOP);
    /* Both, on one number. */
    T_CHECK(JUDGE(FILLED, {"Next", .p1 = 5, .p2 = 4}, {"OpenRead", .p1 = 5}, {"Halt"}).why ==
            LLI_HAS_LOOP);
    /* A second one that is filled inside the loop over the first. */
    T_CHECK(JUDGE(FILLED, {"Insert", .p1 = 6}, {"Next", .p1 = 5, .p2 = 4},
                  {"OpenEphemeral", .p1 = 6}, {"Rewind", .p1 = 6, .p2 = 9},
                  {"Next", .p1 = 6, .p2 = 8}, {"Halt"})
                .why == LLI_HAS_LOOP);
    /* A loop inside the loop that starts anew each time. */
    T_CHECK(JUDGE({"Init", .p2 = 1}, {"OpenEphemeral", .p1 = 5}, {"OpenEphemeral", .p1 = 6},
                  {"Rewind", .p1 = 5, .p2 = 7}, {"Rewind", .p1 = 6, .p2 = 6},
                  {"Next", .p1 = 6, .p2 = 5}, {"Next", .p1 = 5, .p2 = 4}, {"Halt"})
                .why == LLI_HAS_LOOP);
}

/* A row of a table WITHOUT ROWID is an entry of an index, counted as a change. Without SQLITE_ENABLE_PREUPDATE_HOOK nothing
 * else tells an entry in the place of another from a new one than that its key was looked for. */
static void judge_knows_replaced_entries(void **state)
{
    (void)state;
    T_CHECK(JUDGE({"Init", .p2 = 3}, {"IdxInsert", .p1 = 1, .p5 = 1}, {"Halt"},
                  {"Transaction", .p2 = 1}, {"Goto", .p2 = 1})
                .overwrites);
    T_CHECK(!JUDGE({"Init", .p2 = 5}, {"NoConflict", .p1 = 1, .p2 = 3}, {"Halt", .p1 = 1555},
                   {"IdxInsert", .p1 = 1, .p5 = 1}, {"Halt"}, {"Transaction", .p2 = 1},
                   {"Goto", .p2 = 1})
                 .overwrites);
    /* another key was looked for */
    T_CHECK(JUDGE({"Init", .p2 = 5}, {"NoConflict", .p1 = 2, .p2 = 3}, {"Halt", .p1 = 2067},
                  {"IdxInsert", .p1 = 1, .p5 = 1}, {"Halt"}, {"Transaction", .p2 = 1},
                  {"Goto", .p2 = 1})
                .overwrites);
    /* an index beside the table */
    T_CHECK(!JUDGE({"Init", .p2 = 3}, {"IdxInsert", .p1 = 1}, {"Halt"}, {"Transaction", .p2 = 1},
                   {"Goto", .p2 = 1})
                 .overwrites);
}

static void judge_reads_names(void **state)
{
    (void)state;
    static const struct {
        const char *opcode, *p4;
        int why;
    } cases[] = {
        {"Function", "upper(1)", OK},
        {"Function", "upper(2)", FUNCTION},
        {"Function", "coalesce(-1)", OK},
        {"Function", "coalesce(-4)", OK},
        {"Function", "upperx(1)", FUNCTION},
        {"Function", NULL, FUNCTION},
        {"Function", "upper", FUNCTION},
        {"Eq", "BINARY-8", OK},
        {"Eq", "NOCASE-16LE", OK},
        {"Eq", "NOCASES-8", COLLATION},
        {"Eq", "a-b-8", COLLATION},
        {"Eq", NULL, OK},
        {"OpenRead", "k(2,B,)", OK},
        {"OpenRead", "k(2,-B,N.NOCASE)", OK},
        {"OpenRead", "k(2,B,GERMAN)", COLLATION},
        {"OpenRead", "k(1,-GERMAN)", COLLATION},
        {"OpenRead", "5", OK},
        {"String8", "k(1,GERMAN)", OK},
    };
    for (size_t i = 0; i < LLI_COUNT(cases); i++) {
        struct lli_program p = JUDGE(
            {"Init", .p2 = 1}, {.name = cases[i].opcode, .p4 = cases[i].p4, .p2 = 2}, {"Halt"});
        if (p.why != cases[i].why)
            t_fail(__FILE__, __LINE__, "%s %s: %d", cases[i].opcode,
                   cases[i].p4 ? cases[i].p4 : "-", p.why);
    }
}

/* ---- statements: when it is asked, and asked again ---- */

static struct lli_stmt *take(struct lli_stmtcache *cache, const char *sql)
{
    struct lli_error error = {0};
    struct lli_stmt *stmt = NULL;
    if (lli_stmt_take(cache, sql, strlen(sql), &stmt, &error) != LL_OK)
        t_fail(__FILE__, __LINE__, "%s: %s", sql, error.pub.message);
    return stmt;
}

static int run(struct lli_stmt *stmt)
{
    int rc;
    while ((rc = sqlite3_step(stmt->raw)) == SQLITE_ROW)
        ;
    sqlite3_reset(stmt->raw);
    return rc;
}

static bool bounded(struct lli_stmtcache *cache, struct lli_stmt *stmt)
{
    return lli_program_bounded(lli_stmt_program(cache, stmt));
}

static void schema_change_changes_the_verdict(void **state)
{
    t_env *t = *state;
    sqlite3 *db = t_raw_open(t_path(t, "a.db"));
    t_raw(db, "CREATE TABLE t(k, v); CREATE UNIQUE INDEX t_k ON t(k)");
    struct lli_stmtcache cache;
    T_CHECK(lli_stmtcache_init(&cache, db, 8) == LL_OK);
    struct lli_stmt *stmt = take(&cache, "SELECT v FROM t WHERE k = ?");
    T_CHECK(bounded(&cache, stmt));
    uint32_t before = lli_stmt_program(&cache, stmt)->cookie, now;
    T_CHECK(lli_schema_cookie(&cache, &now) == LL_OK && now == before);

    /* Another connection: this one learns of it in its next step. The cookie of the file tells before. */
    t_file_sql(t_path(t, "a.db"), "DROP INDEX t_k");
    T_CHECK(lli_schema_cookie(&cache, &now) == LL_OK && now != before);
    T_CHECK(run(stmt) == SQLITE_DONE);
    T_CHECK(!bounded(&cache, stmt));
    T_CHECK(lli_stmt_program(&cache, stmt)->cookie == now);

    t_raw(db, "CREATE UNIQUE INDEX t_k ON t(k)");
    T_CHECK(run(stmt) == SQLITE_DONE);
    T_CHECK(bounded(&cache, stmt));
    lli_stmt_give(&cache, stmt);
    lli_stmtcache_done(&cache);
    t_raw_close(db);
}

static void trigger_makes_a_delete_unbounded(void **state)
{
    t_env *t = *state;
    sqlite3 *db = t_raw_open(t_path(t, "a.db"));
    t_raw(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE log(x); BEGIN");
    struct lli_stmtcache cache;
    T_CHECK(lli_stmtcache_init(&cache, db, 8) == LL_OK);
    struct lli_stmt *stmt = take(&cache, "DELETE FROM t WHERE id = ?");
    T_CHECK(bounded(&cache, stmt));
    T_CHECK(lli_stmt_program(&cache, stmt)->writes);
    uint32_t before = lli_stmt_program(&cache, stmt)->cookie, now;
    t_raw(db, "CREATE TRIGGER tr AFTER DELETE ON t BEGIN INSERT INTO log SELECT * FROM log; END");
    T_CHECK(lli_schema_cookie(&cache, &now) == LL_OK && now != before);
    T_CHECK(run(stmt) == SQLITE_DONE);
    T_CHECK(!bounded(&cache, stmt));
    t_raw(db, "DROP TRIGGER tr");
    T_CHECK(run(stmt) == SQLITE_DONE);
    T_CHECK(bounded(&cache, stmt));
    t_raw(db, "COMMIT");
    lli_stmt_give(&cache, stmt);
    lli_stmtcache_done(&cache);
    t_raw_close(db);
}

/* EXPLAIN of an INSERT sets changes() to 0: only asked inside a transaction, not of who speaks of changes(). */
static void what_is_not_asked(void **state)
{
    t_env *t = *state;
    sqlite3 *db = t_raw_open(t_path(t, "a.db"));
    t_raw(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
    struct lli_stmtcache cache;
    T_CHECK(lli_stmtcache_init(&cache, db, 16) == LL_OK);
    struct lli_stmt *insert = take(&cache, "INSERT INTO t(v) VALUES (1)");
    T_CHECK(!lli_stmt_program(&cache, insert)->known);
    T_CHECK(lli_stmt_uses_vtab(&cache, insert)); /* nothing known */
    t_raw(db, "BEGIN");
    T_CHECK(lli_stmt_program(&cache, insert)->known);
    lli_stmt_give(&cache, insert);

    insert = take(&cache, "INSERT INTO t(v) SELECT Changes()");
    t_raw(db, "INSERT INTO t(v) VALUES (1), (2), (3)");
    T_CHECK(!lli_stmt_program(&cache, insert)->known);
    T_CHECK(run(insert) == SQLITE_DONE);
    T_CHECK(t_raw_int(db, "SELECT v FROM t WHERE id = last_insert_rowid()") == 3);
    lli_stmt_give(&cache, insert);
    t_raw(db, "COMMIT");

    /* PRAGMA acts while it is prepared. */
    static const char *const never[] = {"PRAGMA foreign_keys = 1",
                                        "CREATE TABLE x(y)",
                                        "BEGIN",
                                        "SAVEPOINT s",
                                        "VACUUM",
                                        "-- nothing"};
    for (size_t i = 0; i < LLI_COUNT(never); i++) {
        struct lli_stmt *stmt = take(&cache, never[i]);
        T_CHECK(!lli_stmt_program(&cache, stmt)->known);
        lli_stmt_give(&cache, stmt);
    }
    struct lli_stmt *with = take(&cache, " /* x */ with a as (values(1)) select 1 from a limit 0");
    T_CHECK(lli_stmt_program(&cache, with)->known);
    lli_stmt_give(&cache, with);
    lli_stmtcache_done(&cache);
    t_raw_close(db);
}

/* ---- sharing ---- */

static void two_connections_share_a_read(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
    uint64_t key = lli_cost_private_key();
    static const char sql[] = "SELECT v FROM t WHERE id = ?";
    lli_cost_clear();
    for (int i = 0; i < 4; i++) {
        sqlite3 *db = t_raw_open(t_path(t, "a.db"));
        struct lli_stmtcache cache;
        T_CHECK(lli_stmtcache_init(&cache, db, 8) == LL_OK);
        uint32_t cookie = 0;
        T_CHECK(lli_schema_cookie(&cache, &cookie) == LL_OK);
        if (i == 2) /* names may mean something else here */
            t_raw(db, "CREATE TEMP TABLE t(id, v)");
        struct lli_stmt *stmt = take(&cache, sql);
        stmt->cost = lli_cost_get(key, sql, sizeof sql - 1);
        bool first = lli_program_bounded(lli_stmt_program_hint(&cache, stmt, cookie));
        T_CHECK(first == (i != 2));
        T_CHECK(stmt->inspected == (i == 1 || i == 3 ? LLI_INSPECTED_SHARED : LLI_INSPECTED_OWN));
        if (i == 3) { /* for certain */
            T_CHECK(lli_stmt_program(&cache, stmt)->known);
            T_CHECK(stmt->inspected == LLI_INSPECTED_OWN);
        }
        lli_stmt_give(&cache, stmt);
        lli_stmtcache_done(&cache);
        t_raw_close(db);
    }
    struct lli_program program;
    struct lli_cost *cost = lli_cost_get(key, sql, sizeof sql - 1);
    T_CHECK(!lli_cost_take_program(cost, 12345, &program)); /* another schema */
    lli_cost_unref(cost);
    lli_cost_clear();
}

static void what_explain_costs(void **state)
{
    sqlite3 *db = open_corpus(*state);
    enum {
        TIMES = 300
    };
    uint64_t start = lli_now_ns();
    for (int i = 0; i < TIMES; i++)
        explain(db, "SELECT * FROM t WHERE id = ?");
    uint64_t read = lli_now_ns();
    for (int i = 0; i < TIMES; i++)
        explain(db, "UPDATE t SET b = b + 1, u = ? WHERE id = ?");
    uint64_t write = lli_now_ns();
    print_message("             explain and judge: read %.1f us, write %.1f us\n",
                  (double)(read - start) / TIMES / 1000, (double)(write - read) / TIMES / 1000);
    t_raw_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(corpus_gets_its_verdicts),
        T_TEST(bounded_programs_keep_their_promise),
        T_TEST(facts),
        T_TEST(overwrites),
        T_TEST(what_cannot_be_explained),
        T_TEST(judge_knows_loops),
        T_TEST(judge_knows_own_tables),
        T_TEST(judge_knows_replaced_entries),
        T_TEST(judge_reads_names),
        T_TEST(schema_change_changes_the_verdict),
        T_TEST(trigger_makes_a_delete_unbounded),
        T_TEST(what_is_not_asked),
        T_TEST(two_connections_share_a_read),
        T_TEST(what_explain_costs),
    };
    return T_RUN(tests);
}
