/* value.h: one SQLite value, used both ways: bound as a parameter, read as a column. */
#ifndef LOOPLITE_VALUE_H
#define LOOPLITE_VALUE_H

#include <looplite/base.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The type of a value. */
typedef enum ll_type {
    LL_NULL = 0, /* a zeroed value is NULL */
    LL_INTEGER = 1,
    LL_FLOAT = 2,
    LL_TEXT = 3, /* UTF-8, `size` bytes; values read from a row have a NUL behind them */
    LL_BLOB = 4,
    LL_REFUSED = 5 /* parameters only: cannot be bound; `text` says why. For bindings of other
                      languages, whose values are converted before it is known which are used. */
} ll_type;

/* One value, sixteen bytes. Whoever makes it owns the memory behind `text` and `blob`. */
typedef struct ll_value {
    uint32_t type; /* ll_type */
    uint32_t size; /* bytes of text or blob, without the NUL; else 0 */
    union {
        int64_t integer;
        double real;
        const char *text;
        const void *blob;
    } as;
} ll_value;

/* The parameters of a statement. `names` is NULL for positional ones (the first is ?1); otherwise
 * names[i] is the name of values[i], with or without its ':', '@' or '$', and names that the
 * statement does not use are ignored. */
typedef struct ll_params {
    const ll_value *values;
    const char *const *names;
    size_t count;
} ll_params;

/* NULL. */
static inline ll_value ll_null(void)
{
    ll_value v;
    memset(&v, 0, sizeof v);
    return v;
}

/* An INTEGER. */
static inline ll_value ll_integer(int64_t n)
{
    ll_value v = ll_null();
    v.type = LL_INTEGER;
    v.as.integer = n;
    return v;
}

/* A REAL. */
static inline ll_value ll_real(double d)
{
    ll_value v = ll_null();
    v.type = LL_FLOAT;
    v.as.real = d;
    return v;
}

/* `size` bytes of UTF-8; they are not copied by this function. */
static inline ll_value ll_text_n(const char *text, uint32_t size)
{
    ll_value v = ll_null();
    v.type = LL_TEXT;
    v.size = size;
    v.as.text = text;
    return v;
}

/* A text that ends with a NUL; not copied. */
static inline ll_value ll_text(const char *text)
{
    return ll_text_n(text, (uint32_t)strlen(text));
}

/* `size` bytes; not copied. */
static inline ll_value ll_blob(const void *bytes, uint32_t size)
{
    ll_value v = ll_null();
    v.type = LL_BLOB;
    v.size = size;
    v.as.blob = bytes;
    return v;
}

#ifdef __cplusplus
}
#endif
#endif
