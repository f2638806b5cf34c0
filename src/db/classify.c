/* classify.c: reading the first word of a statement.
 *
 * Python's sqlite3 decides by the first word when to open a transaction, and the engine must know before
 * a statement is prepared that it is a COMMIT, which is never dropped. A statement that begins WITH is
 * "other": whether it writes is asked of SQLite after it was prepared. Comments are skipped as SQLite's
 * tokenizer does (a vertical tab is no white space to it): from -- to the end of the line, and from slash-star to star-slash or the end of the text. */
#include "db/classify.h"

#include <string.h>
#include <strings.h>

static bool is_white(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

size_t lli_skip_blank(const char *sql, size_t size)
{
    size_t at = 0;
    while (at < size) {
        char c = sql[at];
        if (is_white(c)) {
            at++;
            while (at < size && (is_white(sql[at]) || sql[at] == '\v'))
                at++; /* SQLite takes a vertical tab for white space behind some, and for an error elsewhere */
        } else if (c == '-' && at + 1 < size && sql[at + 1] == '-') {
            while (at < size && sql[at] != '\n')
                at++;
        } else if (c == '/' && at + 1 < size && sql[at + 1] == '*') {
            at += 2;
            while (at < size && !(sql[at] == '*' && at + 1 < size && sql[at + 1] == '/'))
                at++;
            at = at + 2 < size ? at + 2 : size;
        } else if ((unsigned char)c == 0xef && at + 2 < size &&
                   (unsigned char)sql[at + 1] == 0xbb && (unsigned char)sql[at + 2] == 0xbf) {
            at += 3; /* a byte order mark is white space to SQLite */
        } else {
            break;
        }
    }
    return at;
}

static size_t word_size(const char *sql, size_t size)
{
    size_t at = 0;
    while (at < size && ((sql[at] >= 'a' && sql[at] <= 'z') || (sql[at] >= 'A' && sql[at] <= 'Z') ||
                         sql[at] == '_'))
        at++;
    return at;
}

static bool is_word(const char *text, size_t size, const char *word)
{
    return strlen(word) == size && (text[0] | 0x20) == (word[0] | 0x20) &&
           strncasecmp(text, word, size) == 0;
}

static enum lli_kind classify_pragma(const char *sql, size_t size)
{
    size_t at = lli_skip_blank(sql, size);
    size_t word = word_size(sql + at, size - at);
    size_t next = at + word + lli_skip_blank(sql + at + word, size - at - word);
    if (next < size && sql[next] == '.') { /* PRAGMA schema.name */
        next++;
        at = next + lli_skip_blank(sql + next, size - next);
        word = word_size(sql + at, size - at);
    }
    if (is_word(sql + at, word, "busy_timeout"))
        return LLI_KIND_PRAGMA_BUSY_TIMEOUT;
    if (is_word(sql + at, word, "journal_mode"))
        return LLI_KIND_PRAGMA_JOURNAL_MODE;
    return LLI_KIND_PRAGMA;
}

enum lli_kind lli_classify(const char *sql, size_t size)
{
    static const struct {
        const char *word;
        enum lli_kind kind;
    } words[] = {
        {"SELECT", LLI_KIND_SELECT},     {"INSERT", LLI_KIND_DML},
        {"UPDATE", LLI_KIND_DML},        {"DELETE", LLI_KIND_DML},
        {"REPLACE", LLI_KIND_DML},       {"BEGIN", LLI_KIND_BEGIN},
        {"COMMIT", LLI_KIND_COMMIT},     {"END", LLI_KIND_COMMIT},
        {"ROLLBACK", LLI_KIND_ROLLBACK}, {"SAVEPOINT", LLI_KIND_SAVEPOINT},
        {"RELEASE", LLI_KIND_RELEASE},
    };
    size_t at = lli_skip_blank(sql, size);
    while (at < size && sql[at] == ';')
        at += 1 + lli_skip_blank(sql + at + 1, size - at - 1);
    if (at == size)
        return LLI_KIND_EMPTY;
    size_t word = word_size(sql + at, size - at);
    for (size_t i = 0; i < LLI_COUNT(words); i++)
        if (is_word(sql + at, word, words[i].word))
            return words[i].kind;
    if (is_word(sql + at, word, "PRAGMA"))
        return classify_pragma(sql + at + word, size - at - word);
    return LLI_KIND_OTHER;
}
