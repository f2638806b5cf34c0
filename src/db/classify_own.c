/* classify_own.c: whether a statement can run on a connection that it shares with others.
 *
 * One that only reads or writes tables can. One that begins a transaction, sets something (PRAGMA), makes a temporary
 * object or attaches a file leaves that behind for whoever comes next; and one that names changes(),
 * total_changes() or last_insert_rowid() would be told what somebody else did. The text is read word by word: quoted
 * text and comments are passed over, quoted names count as names. */
#include "db/classify.h"

#include <string.h>
#include <strings.h>

struct reader {
    const char *sql;
    size_t size, at;
};

struct word {
    const char *text; /* NULL: the end */
    size_t size;
    char other; /* a character that is no word */
};

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

/* The next word, quoted name or single character. A text in single quotes counts as a name here, as it may to SQLite
 * where a name is wanted. */
static struct word next(struct reader *r)
{
    r->at += lli_skip_blank(r->sql + r->at, r->size - r->at);
    struct word word = {0};
    if (r->at >= r->size)
        return word;
    word.text = r->sql + r->at;
    char c = *word.text;
    if (c == '"' || c == '`' || c == '\'' || c == '[') {
        char end = c == '[' ? ']' : c;
        size_t from = ++r->at;
        while (r->at < r->size && (r->sql[r->at] != end ||
                                   (r->at + 1 < r->size && c != '[' && r->sql[r->at + 1] == end)))
            r->at += r->sql[r->at] == end ? 2 : 1;
        word.text = r->sql + from;
        word.size = r->at < r->size ? r->at - from : r->size - from;
        if (r->at < r->size)
            r->at++;
        return word;
    }
    while (r->at < r->size && is_name(r->sql[r->at]))
        r->at++;
    word.size = (size_t)(r->sql + r->at - word.text);
    if (word.size == 0) {
        word.other = c;
        r->at++;
    }
    return word;
}

static bool is(struct word word, const char *text)
{
    return word.text && word.size == strlen(text) && strncasecmp(word.text, text, word.size) == 0;
}

/* CREATE: the words up to what it is made of. TEMP may be the keyword or the name of the schema. */
static bool makes_temporary(struct reader r)
{
    for (int i = 0; i < 12; i++) {
        struct word word = next(&r);
        if (!word.text || word.other == '(' || is(word, "AS"))
            return false;
        if (is(word, "TEMP") || is(word, "TEMPORARY"))
            return true;
    }
    return false;
}

/* A function that knows, or leaves, more than its arguments say. */
static const char *asks_connection(struct reader r)
{
    static const char *const names[] = {"changes", "total_changes", "last_insert_rowid",
                                        "load_extension"};
    struct word before = {0};
    for (struct word word = next(&r); word.text; before = word, word = next(&r)) {
        if (word.other != '(')
            continue;
        for (size_t i = 0; i < LLI_COUNT(names); i++)
            if (is(before, names[i]))
                return "it calls a function that asks for what was done before on its connection";
    }
    return NULL;
}

static struct word first_word(struct reader *r)
{
    struct word word = next(r);
    while (word.other == ';')
        word = next(r);
    return word;
}

static const char *leaves(struct reader *r, struct word first)
{
    if (is(first, "EXPLAIN")) { /* a PRAGMA acts even so */
        first = next(r);
        if (is(first, "QUERY") && is(next(r), "PLAN"))
            first = next(r);
    }
    if (is(first, "PRAGMA"))
        return "a PRAGMA is about the connection that it runs on";
    if (is(first, "ATTACH") || is(first, "DETACH"))
        return "an attached file belongs to one connection";
    if (is(first, "CREATE") && makes_temporary(*r))
        return "a temporary object belongs to one connection";
    return NULL;
}

const char *lli_classify_own(const char *sql, size_t size)
{
    struct reader r = {sql, size, 0};
    struct word first = first_word(&r);
    if (!first.text)
        return NULL;
    static const char *const control[] = {"BEGIN",    "COMMIT",    "END",
                                          "ROLLBACK", "SAVEPOINT", "RELEASE"};
    for (size_t i = 0; i < LLI_COUNT(control); i++)
        if (is(first, control[i]))
            return "it begins or ends a transaction";
    const char *why = leaves(&r, first);
    return why ? why : asks_connection(r);
}

bool lli_classify_reads(const char *sql, size_t size)
{
    static const char *const writers[] = {"INSERT", "UPDATE", "DELETE", "REPLACE"};
    struct reader r = {sql, size, 0};
    struct word first = first_word(&r);
    if (!first.text || is(first, "SELECT") || is(first, "VALUES") || is(first, "EXPLAIN"))
        return true;
    if (!is(first, "WITH"))
        return false;
    for (struct word word = next(&r); word.text; word = next(&r))
        for (size_t i = 0; i < LLI_COUNT(writers); i++)
            if (is(word, writers[i]))
                return false;
    return true;
}

bool lli_classify_may_stay(const char *sql, size_t size)
{
    struct reader r = {sql, size, 0};
    struct word first = first_word(&r);
    return first.text && leaves(&r, first) != NULL;
}

bool lli_classify_rolls_all_back(const char *sql, size_t size)
{
    struct reader r = {sql, size, 0};
    (void)first_word(&r);
    for (struct word word = next(&r); word.text; word = next(&r))
        if (is(word, "TO"))
            return false;
    return true;
}
