/* marks.c: the parameters that are written in the text of a statement: `?`, `?12`, `:name`, `@name`, `$name`.
 *
 * The statement is prepared later, on a worker, so what sqlite3 learns from it is read from the text here. The scan knows
 * strings, quoted names and comments; in a text that is no SQL it may find too much, never too little.
 *
 * Numbers are SQLite's (its documentation, "SQL Language Expressions", under Parameters): `?` gets the next one, `?12` is
 * number 12, a name has the number that it got where it stood first, the next one. Every mark but `?` gives its number a
 * name, for SQLite `?12` too; the first one stays. */
#include "marks.h"

#include <stdlib.h>
#include <string.h>

/* ---- the scan ------------------------------------------------------------------------------------ */

static bool is_name_byte(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || c >= 0x80;
}

/* The next mark from *at on, with its first character. */
static bool next_mark(const char *sql, size_t size, size_t *at, size_t *ret_start, size_t *ret_size)
{
    size_t i = *at;
    while (i < size) {
        char c = sql[i];
        if (c == '\'' || c == '"' || c == '`' || c == '[') {
            char end = c == '[' ? ']' : c;
            for (i++; i < size && sql[i] != end; i++)
                ; /* a doubled quote ends and begins again: the same marks are skipped */
            i++;
        } else if (c == '-' && i + 1 < size && sql[i + 1] == '-') {
            while (i < size && sql[i] != '\n')
                i++;
        } else if (c == '/' && i + 1 < size && sql[i + 1] == '*') {
            for (i += 2; i + 1 < size && !(sql[i] == '*' && sql[i + 1] == '/'); i++)
                ;
            i += 2;
        } else if (c == ':' || c == '@' || c == '$' || c == '?') {
            size_t start = i++;
            while (i < size && (c == '?' ? sql[i] >= '0' && sql[i] <= '9'
                                         : is_name_byte((unsigned char)sql[i])))
                i++;
            if (i > start + 1 || c == '?') {
                *ret_start = start;
                *ret_size = i - start;
                *at = i;
                return true;
            }
        } else if (is_name_byte((unsigned char)c)) {
            while (i < size &&
                   is_name_byte((unsigned char)sql[i])) /* a$b is a name, not a parameter */
                i++;
        } else {
            i++;
        }
    }
    *at = size;
    return false;
}

bool lp_marks_next_name(const char *sql, size_t size, size_t *at, size_t *ret_start,
                        size_t *ret_size)
{
    while (next_mark(sql, size, at, ret_start, ret_size)) {
        if (sql[*ret_start] != '?') {
            ++*ret_start;
            --*ret_size;
            return true;
        }
    }
    return false;
}

size_t lp_marks_number_of(const char *sql, size_t size, const char *name)
{
    size_t at = 0, start, length, number = 0;
    while (lp_marks_next_name(sql, size, &at, &start, &length)) {
        size_t before = 0, old_start, old_length;
        bool seen = false;
        while (!seen && lp_marks_next_name(sql, start, &before, &old_start, &old_length))
            seen = old_length == length && memcmp(sql + old_start, sql + start, length) == 0;
        number += !seen;
        if (strlen(name) == length && memcmp(sql + start, name, length) == 0)
            return number;
    }
    return 0;
}

/* ---- a sequence for marks that have names -------------------------------------------------------- */

#if PY_VERSION_HEX >= 0x030C0000

typedef struct named {
    size_t number;
    const char *name; /* in the text */
    size_t size;
} named;

static int by_number(const void *one, const void *other)
{
    size_t a = ((const named *)one)->number, b = ((const named *)other)->number;
    return (a > b) - (a < b);
}

/* `?12` counted as a name until Python 3.12.4; one extension serves all 3.12. */
static bool numbers_are_names(void)
{
    return Py_Version < 0x030C0400;
}

/* Nearly every text has `?` alone, and is passed over quickly. */
static bool may_have_names(const char *text)
{
    if (strpbrk(text, ":@$"))
        return true;
    if (!numbers_are_names())
        return false;
    for (const char *mark = strchr(text, '?'); mark; mark = strchr(mark + 1, '?'))
        if (mark[1] >= '0' && mark[1] <= '9')
            return true;
    return false;
}

/* The marks that have names, by their numbers; NULL with an exception. To be freed with PyMem_Free(). */
static named *names_of(const char *sql, size_t size, size_t *ret_count)
{
    size_t at = 0, start, length, last = 0, count = 0, room = 8;
    named *found = PyMem_Malloc(room * sizeof *found);
    while (found && next_mark(sql, size, &at, &start, &length)) {
        const char *name = sql + start;
        size_t number = last + 1;
        bool known = length == 1; /* `?` has none */
        if (*name == '?' && length > 1) {
            number = length < 12 ? strtoul(name + 1, NULL, 10)
                                 : SIZE_MAX; /* SQLite will refuse it */
            for (size_t i = 0; i < count && !known; i++)
                known = found[i].number == number;
        } else if (*name != '?') {
            for (size_t i = 0; i < count && !known; i++)
                if (found[i].size == length && memcmp(found[i].name, name, length) == 0) {
                    known = true;
                    number = found[i].number;
                }
        }
        last = number > last && number < SIZE_MAX ? number : last;
        if (known || (*name == '?' && !numbers_are_names()))
            continue;
        if (count == room) {
            named *grown = PyMem_Realloc(found, 2 * room * sizeof *found);
            if (!grown) {
                PyMem_Free(found);
                found = NULL;
                break;
            }
            found = grown;
            room *= 2;
        }
        found[count++] = (named){.number = number, .name = name, .size = length};
    }
    if (!found) {
        PyErr_NoMemory();
        return NULL;
    }
    qsort(found, count, sizeof *found, by_number);
    *ret_count = count;
    return found;
}

/* -1 with an exception. */
static int tell_of(lp_state *st, const named *it)
{
    char name[80];
    PyOS_snprintf(name, sizeof name, "%.*s", (int)(it->size < 70 ? it->size : 70), it->name);
#    if PY_VERSION_HEX >= 0x030E0000
    PyErr_Format(st->sqlite3.ProgrammingError,
                 "Binding %zu ('%s') is a named parameter, but you supplied a sequence which "
                 "requires nameless (qmark) placeholders.",
                 it->number, name);
    return -1;
#    else
    (void)st;
    return PyErr_WarnFormat(PyExc_DeprecationWarning, 1,
                            "Binding %zu ('%s') is a named parameter, but you supplied a sequence "
                            "which requires nameless (qmark) placeholders. Starting with Python "
                            "3.14 an sqlite3.ProgrammingError will be raised.",
                            it->number, name);
#    endif
}

int lp_marks_check_sequence(lp_state *st, PyObject *sql)
{
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(sql, &size);
    size_t count = 0;
    int rc = 0;
    if (!text)
        return -1;
    if (!may_have_names(text))
        return 0;
    named *names = names_of(text, (size_t)size, &count);
    if (!names)
        return -1;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = tell_of(st, &names[i]);
    PyMem_Free(names);
    return rc;
}

#else

int lp_marks_check_sequence(lp_state *st, PyObject *sql)
{
    (void)st;
    (void)sql;
    return 0;
}

#endif
