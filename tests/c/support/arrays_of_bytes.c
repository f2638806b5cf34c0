/* arrays_of_bytes.c: Arrow streams that bytes decide.
 *
 * What an array cannot say is how long its buffers are, so that is always true here: each has exactly the bytes that its
 * offset and length demand, in memory of its own, where a sanitizer sees what is read beyond. Everything else may be wrong:
 * formats, numbers of buffers and children, lengths and offsets below zero or beyond all bounds, offsets that go back, views
 * and indices that point nowhere, runs that do not grow. */
#include "support/arrays_of_bytes.h"

enum {
    COLUMNS = 3,
    MOST_ROWS = 40,
    MOST_BYTES = 512, /* of a text, and of a buffer that views point into */
    BLOCKS = 64
};

struct bytes {
    const uint8_t *data;
    size_t size;
    void *blocks[BLOCKS]; /* all memory that was made */
    size_t block_count;
};

/* At the end there are zeros. */
static int next(struct bytes *from)
{
    if (from->size == 0)
        return 0;
    from->size--;
    return *from->data++;
}

static bool rarely(struct bytes *from)
{
    return next(from) > 240;
}

/* Memory that is exactly so long. */
static uint8_t *block(struct bytes *from, size_t size)
{
    T_CHECK(from->block_count < BLOCKS);
    uint8_t *made = malloc(size > 0 ? size : 1);
    T_CHECK(made != NULL);
    from->blocks[from->block_count++] = made;
    return made;
}

static uint8_t *filled(struct bytes *from, size_t size)
{
    uint8_t *made = block(from, size);
    for (size_t i = 0; i < size; i++)
        made[i] = (uint8_t)next(from);
    return made;
}

static void put(uint8_t *at, int64_t number, size_t width)
{
    memcpy(at, &number, width); /* the least significant bytes come first */
}

/* Offsets that mostly grow; *ret_end: what they demand of the bytes behind them. */
static uint8_t *offsets(struct bytes *from, size_t count, size_t width, size_t *ret_end)
{
    uint8_t *made = block(from, count * width);
    int64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        at += next(from) % 14;
        if (rarely(from))
            at -= 3 * next(from);
        if (at > MOST_BYTES)
            at = MOST_BYTES;
        put(made + i * width, at, width);
    }
    *ret_end = MOST_BYTES;
    return made;
}

static uint8_t *views(struct bytes *from, size_t count)
{
    uint8_t *made = block(from, count * 16);
    for (size_t i = 0; i < count; i++) {
        put(made + i * 16, rarely(from) ? -1 : next(from) % 40, 4);
        put(made + i * 16 + 4, next(from), 4);
        put(made + i * 16 + 8, rarely(from) ? next(from) - 9 : next(from) % 2, 4);
        put(made + i * 16 + 12, next(from) - (rarely(from) ? 9 : 0), 4);
    }
    return made;
}

static const struct {
    const char *format;
    int width; /* of a value; 0: something else */
} formats[] = {
    {"n", 0},   {"b", 0},        {"c", 1},          {"C", 1},       {"s", 2},
    {"S", 2},   {"i", 4},        {"I", 4},          {"l", 8},       {"L", 8},
    {"e", 2},   {"f", 4},        {"g", 8},          {"u", 0},       {"U", 0},
    {"z", 0},   {"Z", 0},        {"vu", 0},         {"vz", 0},      {"w:3", 3},
    {"w:0", 0}, {"d:9,2,32", 4}, {"d:18,-3,64", 8}, {"d:38,9", 16}, {"d:76,76,256", 32},
    {"tdD", 4}, {"tdm", 8},      {"tts", 4},        {"ttm", 4},     {"ttu", 8},
    {"ttn", 8}, {"tss:", 8},     {"tsm:UTC", 8},    {"tsu:x", 8},   {"tsn:", 8},
    {"tDs", 8}, {"+r", 0},       {"+s", 0},         {"+l", 0},      {"tin", 16},
    {"", 0},    {"d:1,", 8},     {"q", 0},
};

static const char *const names[] = {"a", "b", "c", "A", "x", "", "a\"b"};

/* A length or an offset; now and then one that cannot be. */
static int64_t wild(struct bytes *from, int64_t number)
{
    static const int64_t wrong[] = {-1, INT64_MIN, INT64_MAX, INT64_MAX - 7};
    return rarely(from) ? wrong[next(from) % 4] : number;
}

static void fill(struct bytes *from, t_array *array, size_t rows, int depth)
{
    size_t which = (size_t)next(from) % (sizeof formats / sizeof *formats);
    size_t offset = rarely(from) ? (size_t)next(from) % 9 : 0, all = rows + offset, end;
    const char *format = formats[which].format;
    memset(array, 0, sizeof *array);
    array->format = format;
    array->name = names[next(from) % 4 == 0 ? next(from) % 7 : depth % 3];
    array->length = (int64_t)rows;
    array->offset = (int64_t)offset;
    array->null_count = (int64_t)(next(from) % 4) - 1;
    array->n_buffers = strcmp(format, "n") == 0 || format[0] == '+' ? 0 : 2;
    if (array->null_count != 0)
        array->buffers[0] = filled(from, all / 8 + 1);
    size_t width = (size_t)formats[which].width;
    if (width > 0) {
        array->buffers[1] = filled(from, all * width);
    } else if (strcmp(format, "b") == 0) {
        array->buffers[1] = filled(from, all / 8 + 1);
    } else if (format[0] == 'u' || format[0] == 'z' || format[0] == 'U' || format[0] == 'Z') {
        array->n_buffers = 3;
        array->buffers[1] = offsets(from, all + 1, format[0] == 'u' || format[0] == 'z' ? 4 : 8,
                                    &end);
        array->buffers[2] = filled(from, end);
    } else if (format[0] == 'v') {
        array->n_buffers = 5;
        array->buffers[1] = views(from, all);
        uint8_t *sizes = block(from, 16);
        for (size_t i = 0; i < 2; i++) {
            size_t bytes = (size_t)next(from);
            array->buffers[2 + i] = filled(from, bytes);
            put(sizes + i * 8, (int64_t)bytes, 8);
        }
        array->buffers[4] = sizes;
    } else if (strcmp(format, "+r") == 0 && depth < 6) {
        static const char *const kinds[] = {"s", "i", "l", "g"};
        static const size_t widths[] = {2, 4, 8, 8};
        size_t kind = rarely(from) ? 3 : (size_t)next(from) % 3, count = (size_t)next(from) % 9;
        t_array *children = (t_array *)(void *)block(from, 2 * sizeof *children);
        int64_t last = 0;
        uint8_t *ends = block(from, count * widths[kind]);
        for (size_t i = 0; i < count; i++) {
            last += rarely(from) ? 0 : 1 + next(from) % MOST_ROWS;
            put(ends + i * widths[kind], last, widths[kind]);
        }
        children[0] = (t_array){.format = kinds[kind],
                                .name = "e",
                                .length = (int64_t)count,
                                .n_buffers = 2,
                                .buffers = {NULL, ends}};
        fill(from, &children[1], count, depth + 3);
        array->n_children = 2;
        array->children[0] = &children[0];
        array->children[1] = &children[1];
    }
    if (next(from) % 8 == 0 && depth < 6) {
        t_array *dictionary = (t_array *)(void *)block(from, sizeof *dictionary);
        fill(from, dictionary, (size_t)next(from) % 9, depth + 3);
        array->dictionary = dictionary;
    }
    if (rarely(from))
        array->n_buffers = next(from) % 6;
    if (rarely(from))
        array->buffers[next(from) % 5] = NULL;
    if (rarely(from) && array->n_children == 2)
        array->n_children = next(from) % 2;
    if (rarely(from))
        array->released = true;
    array->length = wild(from, array->length);
    array->offset = array->length < 0 || array->length > MOST_ROWS ? array->offset
                                                                   : wild(from, array->offset);
}

ll_status t_load_bytes(ll_conn *conn, const uint8_t *data, size_t size)
{
    struct bytes from = {.data = data, .size = size};
    t_array columns[COLUMNS];
    size_t width = 1 + (size_t)next(&from) % COLUMNS, rows = (size_t)next(&from) % MOST_ROWS;
    size_t skipped = rarely(&from) ? (size_t)next(&from) % 5 : 0;
    for (size_t i = 0; i < width; i++)
        fill(&from, &columns[i], rows + skipped, (int)i);
    t_source source = {.columns = columns,
                       .width = rarely(&from) ? 0 : width,
                       .rows = wild(&from, (int64_t)rows),
                       .offset = (int64_t)skipped,
                       .batches = (size_t)next(&from) % 3};
    struct ArrowArrayStream stream = t_stream(&source);
    ll_request *request = NULL;
    ll_arrow_load_options options = {.overwrite = rarely(&from)};
    ll_status status = t_end(ll_arrow_load(conn, "t", &stream, &options, NULL, &request), request);
    T_CHECK(status == LL_OK || ll_request_error(request)->message[0] != '\0');
    T_EQUAL(atomic_load(&source.alive), 0);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"),
            status == LL_OK ? (int64_t)ll_request_progress(request) : 0);
    ll_request_unref(request);
    T_CHECK(!t_state(conn).in_transaction);
    if (status == LL_OK)
        t_exec(conn, "DELETE FROM t");
    for (size_t i = 0; i < from.block_count; i++)
        free(from.blocks[i]);
    return status;
}
