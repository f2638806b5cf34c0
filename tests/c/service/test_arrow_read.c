/* Arrow import: what the values of each type become, that none is lost without a word, and that what is malformed is
 * refused: layouts, offsets, slices, encodings. */
#include "support/arrays.h"

#include <math.h>

static ll_status load(ll_conn *conn, t_source *source, const ll_arrow_load_options *options,
                      ll_request **ret_request)
{
    struct ArrowArrayStream stream = t_stream(source);
    ll_status status = t_end(ll_arrow_load(conn, "t", &stream, options, NULL, ret_request),
                             *ret_request);
    T_CHECK(stream.release == NULL);
    return status;
}

/* All values of t.x, in the order in which they came, as SQLite writes them. */
static const char *stored(t_env *t, ll_conn *conn)
{
    t_rows rows = {.request = t_query(conn, "SELECT group_concat(quote(x), ' ') FROM"
                                            " (SELECT x FROM t ORDER BY rowid)")};
    const ll_value *row = t_rows_next(&rows);
    const char *text = t_printf(t, "%.*s", row->type == LL_TEXT ? (int)row->size : 0,
                                row->type == LL_TEXT ? row->as.text : "");
    t_rows_done(&rows);
    return text;
}

/* A column of these rows in t.x, which is declared so, becomes this. */
static void becomes_(t_env *t, ll_conn *conn, const char *declared, const t_array *column,
                     const char *expected, int line)
{
    t_exec(conn, "DROP TABLE IF EXISTS t");
    t_exec(conn, t_printf(t, "CREATE TABLE t(x %s)", declared));
    t_source source = {.columns = column, .width = 1, .rows = column->length, .batches = 1};
    ll_request *request = NULL;
    ll_status status = load(conn, &source, NULL, &request);
    if (status != LL_OK)
        t_fail(__FILE__, line, "%s: %s", column->format, ll_request_error(request)->message);
    T_EQUAL(ll_request_progress(request), column->length);
    T_EQUAL(ll_request_changes(request), column->length);
    T_EQUAL(ll_request_outcome(request), LL_APPLIED);
    ll_request_unref(request);
    if (expected) /* (SQLite's versions write long doubles differently) */
        t_same_text_(stored(t, conn), expected, __FILE__, line);
    T_EQUAL(atomic_load(&source.alive), 0);
}
#define becomes(declared, column, expected) becomes_(t, conn, declared, column, expected, __LINE__)

/* ... is refused with these words, and nothing is stored. */
static void refused_(t_env *t, ll_conn *conn, const char *declared, const t_array *column,
                     const char *words, int line)
{
    t_exec(conn, "DROP TABLE IF EXISTS t");
    t_exec(conn, t_printf(t, "CREATE TABLE t(x %s)", declared));
    t_source source = {.columns = column, .width = 1, .rows = column->length, .batches = 1};
    ll_request *request = NULL;
    ll_status status = load(conn, &source, NULL, &request);
    t_equal_(status, LL_EINVAL, words, __FILE__, line);
    if (!strstr(ll_request_error(request)->message, words))
        t_fail(__FILE__, line, "'%s' does not say '%s'", ll_request_error(request)->message, words);
    T_EQUAL(ll_request_outcome(request), LL_NOT_APPLIED);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    T_CHECK(!t_state(conn).in_transaction);
    T_EQUAL(atomic_load(&source.alive), 0);
}
#define refused(declared, column, words) refused_(t, conn, declared, column, words, __LINE__)

/* A column of numbers, without NULLs. */
#define NUMBERS(type_format, type, ...)                                                    \
    &(t_array)                                                                             \
    {                                                                                      \
        .format = (type_format), .name = "x",                                              \
        .length = (int64_t)(sizeof((type[]){__VA_ARGS__}) / sizeof(type)), .n_buffers = 2, \
        .buffers = {                                                                       \
            NULL,                                                                          \
            (type[]){__VA_ARGS__}                                                          \
        }                                                                                  \
    }

/* ---- values --------------------------------------------------------------------------------------- */

static void integers(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    becomes("", NUMBERS("c", int8_t, -128, 0, 127), "-128 0 127");
    becomes("", NUMBERS("C", uint8_t, 0, 255), "0 255");
    becomes("", NUMBERS("s", int16_t, INT16_MIN, INT16_MAX), "-32768 32767");
    becomes("", NUMBERS("S", uint16_t, 0, UINT16_MAX), "0 65535");
    becomes("", NUMBERS("i", int32_t, INT32_MIN, INT32_MAX), "-2147483648 2147483647");
    becomes("", NUMBERS("I", uint32_t, 0, UINT32_MAX), "0 4294967295");
    becomes("INTEGER", NUMBERS("l", int64_t, INT64_MIN, INT64_MAX),
            "-9223372036854775808 9223372036854775807");
    becomes("INTEGER", NUMBERS("L", uint64_t, 0, INT64_MAX), "0 9223372036854775807");
    becomes("TEXT", NUMBERS("L", uint64_t, 7, UINT64_MAX), "'7' '18446744073709551615'");
    refused("INTEGER", NUMBERS("L", uint64_t, 7, UINT64_MAX),
            "row 1 (the first is 0), column 'x': 18446744073709551615 is larger than an INTEGER");
    refused("", NUMBERS("L", uint64_t, UINT64_C(1) << 63), "9223372036854775808 is larger");
    /* what a column of doubles would make of them */
    becomes("REAL", NUMBERS("l", int64_t, 1, -4096), "1.0 -4096.0");
    becomes("REAL", NUMBERS("l", int64_t, INT64_C(1) << 53), NULL);
    T_EQUAL(t_int(conn, "SELECT sum(CAST(x AS INTEGER)) FROM t"), INT64_C(1) << 53);
    refused("REAL", NUMBERS("l", int64_t, 1, (INT64_C(1) << 53) + 1),
            "9007199254740993 is no double");
    becomes("", NUMBERS("tDn", int64_t, -5), "-5"); /* a duration: its ticks */
    static const uint8_t bits[] = {0x0d};
    becomes("",
            (&(t_array){
                .format = "b", .name = "x", .length = 4, .n_buffers = 2, .buffers = {NULL, bits}}),
            "1 0 1 1");
    becomes("", (&(t_array){.format = "n", .name = "x", .length = 2, .null_count = 2}),
            "NULL NULL");
    t_close(conn);
}

static void doubles(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    becomes("", NUMBERS("g", double, 0.5, -1e300, 2.0), "0.5 -1.0e+300 2.0");
    becomes("", NUMBERS("f", float, 0.5f, 16777216.0f), "0.5 16777216.0");
    becomes("", NUMBERS("e", uint16_t, 0x3800, 0xc000, 0x7bff, 0x8000), "0.5 -2.0 65504.0 0.0");
    becomes("", NUMBERS("e", uint16_t, 0x0001), NULL);
    T_EQUAL(t_int(conn, "SELECT sum(x = 5.9604644775390625e-08) FROM t"), 1);
    becomes("REAL", NUMBERS("e", uint16_t, 0x7c00, 0xfc00), NULL);
    T_EQUAL(t_int(conn, "SELECT sum(x = 9e999) + 2 * sum(x = -9e999) FROM t"), 3);
    /* as text they have the digits that give them back, which SQLite's own have not */
    becomes("TEXT", NUMBERS("g", double, 0.1 + 0.2, 1.0), "'0.30000000000000004' '1.0'");
    becomes("TEXT", NUMBERS("f", float, 0.1f), "'0.10000000149011612'");
    becomes("TEXT", NUMBERS("g", double, (double)NAN), "'nan'");
    refused("REAL", NUMBERS("g", double, 1.0, (double)NAN), "column 'x': NaN would become NULL");
    t_close(conn);
}

static void texts_and_blobs(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    static const int32_t offsets[] = {0, 2, 2, 5};
    static const int64_t large[] = {0, 2, 2, 5};
    static const uint8_t valid[] = {0x05};
    static const char bytes[] = "a'xyz";
    t_array column = {
        .format = "u", .name = "x", .length = 3, .n_buffers = 3, .buffers = {NULL, offsets, bytes}};
    becomes("", &column, "'a''' '' 'xyz'");
    column.format = "z";
    becomes("TEXT", &column, "X'6127' X'' X'78797A'");
    column.buffers[1] = large;
    column.format = "Z";
    becomes("", &column, "X'6127' X'' X'78797A'");
    column.format = "U";
    column.buffers[0] = valid;
    column.null_count = -1;
    becomes("", &column, "'a''' NULL 'xyz'");
    column = (t_array){
        .format = "w:2", .name = "x", .length = 2, .n_buffers = 2, .buffers = {NULL, "abcd"}};
    becomes("", &column, "X'6162' X'6364'");
    column.format = "w:0";
    becomes("", &column, "X'' X''");
    static const char nul[] = "a\0b";
    column = (t_array){.format = "u",
                       .name = "x",
                       .length = 1,
                       .n_buffers = 3,
                       .buffers = {NULL, (int32_t[]){0, 3}, nul}};
    becomes("", &column, "'a'"); /* quote() ends there */
    T_EQUAL(t_int(conn, "SELECT length(CAST(x AS BLOB)) FROM t"), 3);
    column.buffers[2] = "a\xff";
    column.buffers[1] = (int32_t[]){0, 2};
    refused("", &column,
            "row 0 (the first is 0): column 'x' of the Arrow source has a text that is "
            "no UTF-8");
    t_close(conn);
}

/* One view of 16 bytes. */
struct view {
    int32_t size;
    union {
        char inlined[12];
        struct {
            char prefix[4];
            int32_t buffer, offset;
        } far;
    } at;
};

static void views(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    static const char one[] = "abcdefghijklmnopqrstuvwxyz", two[] = "0123456789ABCDEF";
    static const int64_t sizes[] = {26, 16};
    struct view rows[] = {
        {.size = 12, .at.inlined = "twelve bytes"},
        {.size = 13, .at.far = {"nopq", 0, 13}},
        {.size = 16, .at.far = {"0123", 1, 0}},
        {.size = 0},
    };
    t_array column = {.format = "vu",
                      .name = "x",
                      .length = 4,
                      .n_buffers = 5,
                      .buffers = {NULL, rows, one, two, sizes}};
    becomes("", &column, "'twelve bytes' 'nopqrstuvwxyz' '0123456789ABCDEF' ''");
    column.format = "vz";
    column.offset = 2;
    column.length = 2;
    becomes("", &column, "X'30313233343536373839414243444546' X''");
    column.offset = 0;
    column.length = 1;
    static const struct view bad[] = {
        {.size = -1},
        {.size = 14, .at.far = {"nopq", 0, 13}},
        {.size = 13, .at.far = {"abcd", 2, 0}},
        {.size = 13, .at.far = {"abcd", -1, 0}},
        {.size = 13, .at.far = {"abcd", 0, -1}},
        {.size = 13, .at.far = {"abcd", 0, INT32_MAX}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        column.buffers[1] = &bad[i];
        refused("", &column, "which are not there");
    }
    column.buffers[1] = rows;
    column.buffers[4] = NULL;
    refused("", &column, "without the sizes");
    column.buffers[4] = (int64_t[]){26, -16};
    refused("", &column, "buffer 1 is missing");
    column.n_buffers = 2;
    refused("", &column, "2 buffers, but 'vz' has 3 or more");
    t_close(conn);
}

static void dates_and_times(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    becomes("", NUMBERS("tdD", int32_t, 0, -1, 11016, 20637, -719528, 2932896),
            "'1970-01-01' '1969-12-31' '2000-02-29' '2026-07-03' '0000-01-01' '9999-12-31'");
    refused("", NUMBERS("tdD", int32_t, 2932897), "the date 2932897 ('tdD')");
    refused("", NUMBERS("tdD", int32_t, -719529), "the date -719529");
    becomes("", NUMBERS("tdm", int64_t, 86400000, -1), "'1970-01-02' '1969-12-31T23:59:59.999000'");
    becomes("", NUMBERS("tts", int32_t, 0, 86399), "'00:00:00' '23:59:59'");
    becomes("", NUMBERS("ttm", int32_t, 1500, 2000), "'00:00:01.500000' '00:00:02'");
    becomes("", NUMBERS("ttu", int64_t, 1), "'00:00:00.000001'");
    becomes("", NUMBERS("ttn", int64_t, 1, 1000), "'00:00:00.000000001' '00:00:00.000001'");
    refused("", NUMBERS("tts", int32_t, 86400), "the time 86400");
    refused("", NUMBERS("ttu", int64_t, -1), "the time -1");
    becomes("DATETIME", NUMBERS("tss:", int64_t, 0, -1),
            "'1970-01-01T00:00:00' '1969-12-31T23:59:59'");
    becomes("", NUMBERS("tsm:UTC", int64_t, 1), "'1970-01-01T00:00:00.001000+00:00'");
    becomes("", NUMBERS("tsu:Europe/Berlin", int64_t, INT64_C(1767225600123456)),
            "'2026-01-01T00:00:00.123456+00:00'");
    becomes("", NUMBERS("tsn:", int64_t, INT64_MIN, INT64_MAX),
            "'1677-09-21T00:12:43.145224192' '2262-04-11T23:47:16.854775807'");
    refused("", NUMBERS("tss:", int64_t, INT64_MAX), "the timestamp 9223372036854775807 ('tss:')");
    refused("", NUMBERS("tss:", int64_t, INT64_MIN), "cannot be written as ISO 8601");
    t_close(conn);
}

static void decimals(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    uint8_t wide[4][32];
    memset(wide, 0, sizeof wide);
    wide[0][0] = 5;
    memset(wide[1], 0xff, 32); /* -1 */
    wide[2][0] = 0x39;         /* 12345 */
    wide[2][1] = 0x30;
    wide[3][31] = 0x80; /* the smallest of all */
    t_array column = {
        .format = "d:76,2,256", .name = "x", .length = 4, .n_buffers = 2, .buffers = {NULL, wide}};
    becomes("TEXT", &column,
            "'0.05' '-0.01' '123.45' "
            "'-578960446186580977117854925043439539266349923328202820197287920039565648199.68'");
    column.format = "d:76,-3,256";
    column.length = 3;
    becomes("", &column, "'5000' '-1000' '12345000'");
    becomes("NUMERIC", &column, "5000 -1000 12345000");
    becomes("REAL", &column, "5000.0 -1000.0 12345000.0");
    column.format = "d:76,0,256";
    becomes("", &column, "'5' '-1' '12345'");
    column.format = "d:4,2";
    becomes("DECIMAL(4, 2)", NUMBERS("d:4,2,32", int32_t, 150, 0, -1), "1.5 0 -0.01");
    becomes("", NUMBERS("d:4,2,64", int64_t, 150, 0, -1), "'1.50' '0.00' '-0.01'");
    static const int64_t sixteen[] = {150, 0, INT64_C(1234567890123456), 0};
    column.buffers[1] = sixteen;
    column.length = 2;
    becomes("TEXT", &column, "'1.50' '12345678901234.56'");
    refused(
        "NUMERIC", &column,
        "row 1 (the first is 0), column 'x': 12345678901234.56 has more digits than a column of "
        "numbers keeps: one declared TEXT holds it");
    column.format = "d:38,0"; /* an integer of 64 bits is whole, whatever its digits */
    becomes("NUMERIC", &column, "150 1234567890123456");
    becomes("INTEGER", NUMBERS("d:18,0,64", int64_t, INT64_C(999999999999999999)),
            "999999999999999999");
    refused("REAL", NUMBERS("d:18,0,64", int64_t, INT64_C(999999999999999999)), "more digits");
    static const char *const bad[] = {"d:",         "d:4",   "d:4,",   "d:4,2,", "d:4,2,7",
                                      "d:4,2,128x", "d:0,0", "d:77,0", "d:9,77", "d:9,-77"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        column.format = bad[i];
        refused("", &column, "which is no decimal");
    }
    t_close(conn);
}

/* ---- layouts -------------------------------------------------------------------------------------- */

static void slices(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x, y)");
    static const int16_t numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    static const int32_t offsets[] = {3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
    static const uint8_t valid[] = {0xbf, 0x03}; /* row 6 is NULL */
    t_array columns[] = {
        {.format = "s",
         .name = "x",
         .length = 8,
         .offset = 2,
         .null_count = 1,
         .n_buffers = 2,
         .buffers = {valid, numbers}},
        {.format = "u",
         .name = "y",
         .length = 10,
         .n_buffers = 3,
         .buffers = {NULL, offsets, "---abcdefghij"}},
    };
    t_source source = {.columns = columns, .width = 2, .rows = 3, .offset = 3, .batches = 2};
    ll_request *request = NULL;
    T_EQUAL(load(conn, &source, NULL, &request), LL_OK);
    T_EQUAL(ll_request_progress(request), 6);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t WHERE x = 5 AND y = 'd'"), 2);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t WHERE x IS NULL AND y = 'e'"), 2);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t WHERE x = 7 AND y = 'f'"), 2);
    source.offset = 6; /* one row more than the column has */
    T_EQUAL(load(conn, &source, NULL, &request), LL_EINVAL);
    T_CHECK(strstr(ll_request_error(request)->message, "8 rows, but the batch has 9") != NULL);
    ll_request_unref(request);
    t_close(conn);
}

/* At any address. */
static void buffers_may_be_unaligned(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    static const int64_t numbers[] = {INT64_C(0x0102030405060708), -1};
    char room[sizeof numbers + 1];
    memcpy(room + 1, numbers, sizeof numbers);
    becomes(
        "",
        (&(t_array){
            .format = "l", .name = "x", .length = 2, .n_buffers = 2, .buffers = {NULL, room + 1}}),
        "72623859790382856 -1");
    t_close(conn);
}

static void dictionaries(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    static const uint8_t valid[] = {0x0b}, some[] = {0x05};
    t_array words = {.format = "u",
                     .length = 3,
                     .n_buffers = 3,
                     .buffers = {NULL, (int32_t[]){0, 3, 6, 11}, "onetwothree"}};
    t_array column = {.format = "c",
                      .name = "x",
                      .length = 4,
                      .null_count = 1,
                      .n_buffers = 2,
                      .buffers = {valid, (int8_t[]){2, 0, 9, 2}},
                      .dictionary = &words};
    becomes("", &column, "'three' 'one' NULL 'three'");
    words.buffers[0] = some; /* a NULL inside the dictionary */
    words.null_count = 1;
    column.buffers[0] = NULL;
    column.null_count = 0;
    column.buffers[1] = (int8_t[]){1, 2, 1, 0};
    becomes("", &column, "NULL 'three' NULL 'one'");
    column.format = "C";
    column.buffers[1] = (uint8_t[]){0, 1, 2, 3};
    refused("", &column,
            "row 3 (the first is 0): column 'x' of the Arrow source has the index 3 into "
            "a dictionary of 3 values");
    column.format = "c";
    column.buffers[1] = (int8_t[]){0, -1, 2, 0};
    refused("", &column, "the index -1 into");
    column.format = "u";
    refused("", &column, "a dictionary whose indices are no integers");
    /* a dictionary of decimals in a column of numbers */
    static const int64_t sixteen[] = {150, 0, INT64_C(1234567890123456), 0};
    words = (t_array){.format = "d:20,2", .length = 2, .n_buffers = 2, .buffers = {NULL, sixteen}};
    column = *NUMBERS("i", int32_t, 0, 1);
    column.dictionary = &words;
    refused("NUMERIC", &column, "12345678901234.56 has more digits");
    becomes("", &column, "'1.50' '12345678901234.56'");
    words = (t_array){
        .format = "L", .length = 1, .n_buffers = 2, .buffers = {NULL, (uint64_t[]){UINT64_MAX}}};
    column = *NUMBERS("i", int32_t, 0);
    column.dictionary = &words;
    refused("", &column, "18446744073709551615 is larger than an INTEGER");
    words.released = true;
    refused("", &column, "no array, or one that was released");
    t_close(conn);
}

static void runs(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    static const uint8_t some[] = {0x05};
    t_array ends = {.format = "i",
                    .name = "run_ends",
                    .length = 3,
                    .n_buffers = 2,
                    .buffers = {NULL, (int32_t[]){2, 3, 6}}};
    t_array values = {.format = "l",
                      .name = "values",
                      .length = 3,
                      .n_buffers = 2,
                      .buffers = {NULL, (int64_t[]){10, 20, 30}}};
    t_array column = {
        .format = "+r", .name = "x", .length = 6, .n_children = 2, .children = {&ends, &values}};
    becomes("", &column, "10 10 20 30 30 30");
    column.offset = 1;
    column.length = 3;
    becomes("", &column, "10 20 30");
    values.buffers[0] = some;
    values.null_count = 1;
    becomes("", &column, "10 NULL 30");
    column.length = 6;
    refused("", &column, "runs that end before its last row");
    column.offset = 0;
    ends.buffers[1] = (int32_t[]){2, 2, 6};
    refused("", &column, "whose ends do not grow");
    ends.buffers[1] = (int32_t[]){0, 2, 6};
    refused("", &column, "whose ends do not grow");
    ends.format = "s";
    ends.buffers[1] = (int16_t[]){1, 5, 6};
    becomes("", &column, "10 NULL NULL NULL NULL 30");
    ends.format = "g";
    refused("", &column, "runs whose ends are no integers");
    ends.format = "l";
    ends.buffers[1] = NULL;
    refused("", &column, "runs without their ends");
    column.n_children = 1;
    refused("", &column, "has 1 children, but the format '+r' has 2");
    t_close(conn);
}

/* ---- what is refused ------------------------------------------------------------------------------ */

static void what_sqlite_has_not(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    static const struct {
        const char *format, *words;
    } cases[] = {
        {"+s", "column 'x' of the Arrow source is a struct"},
        {"+l", "is a list ('+l')"},
        {"+L", "is a list"},
        {"+vl", "is a list"},
        {"+w:3", "is a list of a fixed size"},
        {"+m", "is a map"},
        {"+ud:0,1", "is a union"},
        {"+us:0,1", "is a union"},
        {"tin", "is an interval ('tin'), and SQLite has no such value: make it text"},
        {"", "has the format ''"},
        {"q", "has the format 'q', which looplite does not know"},
        {"ts", "no timestamp"},
        {"tsx:", "no timestamp"},
        {"tss", "no timestamp"},
        {"w:", "no fixed size"},
        {"w:-1", "no fixed size"},
        {"w:3x", "no fixed size"},
        {"w:99999999999999999999", "no fixed size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused("", (&(t_array){.format = cases[i].format, .name = "x"}), cases[i].words);
    refused("", (&(t_array){.format = NULL, .name = "x"}), "has no type");
    t_close(conn);
}

static void malformed_arrays(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    static const int64_t numbers[] = {1, 2};
    const t_array good = {
        .format = "l", .name = "x", .length = 2, .n_buffers = 2, .buffers = {NULL, numbers}};
    t_array bad = good;
    bad.released = true;
    refused("", &bad, "no array, or one that was released");
    bad = good;
    bad.n_buffers = 1;
    refused("", &bad, "1 buffers, but 'l' has 2");
    bad.n_buffers = 3;
    refused("", &bad, "3 buffers");
    bad = good;
    bad.buffers[1] = NULL;
    refused("", &bad, "without its values");
    bad = good;
    bad.null_count = 1;
    refused("", &bad, "has an array with NULLs that does not say where");
    bad = good;
    bad.null_count = -2;
    refused("", &bad, "null_count -2");
    bad = good;
    bad.offset = -1;
    refused("", &bad, "offset -1");
    bad.offset = INT64_MAX;
    refused("", &bad, "at the offset 9223372036854775807");
    bad.offset = INT64_MAX / 64;
    refused("", &bad, "at the offset");
    static const char bytes[] = "abcdef";
    bad = (t_array){.format = "u",
                    .name = "x",
                    .length = 2,
                    .n_buffers = 3,
                    .buffers = {NULL, (int32_t[]){0, 3, 2}, bytes}};
    refused("", &bad, "whose offsets are negative, or go back");
    bad.buffers[1] = (int32_t[]){-1, 3, 4};
    refused("", &bad, "whose offsets are negative, or go back");
    bad.buffers[1] = (int32_t[]){0, 3, 4};
    bad.buffers[2] = NULL;
    refused("", &bad, "without its bytes");
    bad.buffers[1] = (int32_t[]){0, 0, 0};
    becomes("", &bad, "'' ''");
    t_close(conn);
}

static void malformed_batches(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    static const int64_t numbers[] = {1, 2, 3};
    t_array columns[] = {
        {.format = "l", .name = "x", .length = 3, .n_buffers = 2, .buffers = {NULL, numbers}},
        {.format = "l", .name = "X", .length = 3, .n_buffers = 2, .buffers = {NULL, numbers}}};
    static const uint8_t valid[] = {0x05};
    static const struct {
        t_source source;
        const char *words;
    } cases[] = {
        {{.rows = -1, .width = 1, .batches = 1}, "length -1"},
        {{.rows = INT64_MAX, .width = 1, .batches = 1}, "length 9223372036854775807"},
        {{.rows = 1, .offset = -1, .width = 1, .batches = 1}, "offset -1"},
        {{.rows = 3, .width = 1, .batches = 1, .valid = valid}, "row 1 of the Arrow source"},
        {{.rows = 3, .width = 0, .batches = 1}, "has no columns"},
        {{.rows = 3, .width = 2, .batches = 1}, "two columns 'X'"},
        {{.rows = 3, .width = 1, .batches = 1, .format = "l"},
         "gives arrays of the format 'l', not record batches"},
        {{.rows = 3, .width = 1, .batches = 1, .schema_fails = 5},
         "the Arrow source failed: Input/output error"},
        {{.rows = 3, .width = 1, .batches = 1, .next_fails = 22, .error = "no more of it"},
         "the Arrow source failed: no more of it"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        t_source source = cases[i].source;
        source.columns = columns;
        ll_request *request = NULL;
        T_EQUAL(load(conn, &source, NULL, &request), LL_EINVAL);
        if (!strstr(ll_request_error(request)->message, cases[i].words))
            t_fail(__FILE__, __LINE__, "'%s' does not say '%s'", ll_request_error(request)->message,
                   cases[i].words);
        ll_request_unref(request);
        T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
        T_EQUAL(atomic_load(&source.alive), 0);
    }
    columns[0].name = "";
    t_source source = {.columns = columns, .width = 1, .rows = 3, .batches = 1};
    ll_request *request = NULL;
    T_EQUAL(load(conn, &source, NULL, &request), LL_EINVAL);
    T_CHECK(strstr(ll_request_error(request)->message, "column 0 of the Arrow source has no name"));
    ll_request_unref(request);
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(integers),
        T_TEST(doubles),
        T_TEST(texts_and_blobs),
        T_TEST(views),
        T_TEST(dates_and_times),
        T_TEST(decimals),
        T_TEST(slices),
        T_TEST(buffers_may_be_unaligned),
        T_TEST(dictionaries),
        T_TEST(runs),
        T_TEST(what_sqlite_has_not),
        T_TEST(malformed_arrays),
        T_TEST(malformed_batches),
    };
    return T_RUN(tests);
}
