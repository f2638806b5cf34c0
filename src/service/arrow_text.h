/* arrow_text.h: values of Arrow as texts: numbers in digits that give them back, dates and times as ISO 8601 has them. */
#ifndef LLI_SERVICE_ARROW_TEXT_H
#define LLI_SERVICE_ARROW_TEXT_H

#include "base/defs.h"

enum {
    LLI_ARROW_TEXT_ROOM = 192, /* holds whatever is written here */
    LLI_ARROW_MOST_DIGITS = 76 /* of a decimal, and the largest scale: what 256 bits hold */
};

/* What one tick of a time is. */
enum lli_arrow_unit {
    LLI_ARROW_SECONDS,
    LLI_ARROW_MILLISECONDS,
    LLI_ARROW_MICROSECONDS,
    LLI_ARROW_NANOSECONDS
};

/* The shortest of 15 to 17 digits that give the number back, with a point or an exponent; "inf", "nan". */
size_t lli_arrow_write_double(double number, char *to, size_t room);

/* The next ones write into LLI_ARROW_TEXT_ROOM bytes and give the size; 0: it cannot be written so. */

/* YYYY-MM-DD; `days` since 1970-01-01, in the years 0 to 9999. */
size_t lli_arrow_write_date(int64_t days, char *to);
/* HH:MM:SS, with a fraction of six digits, or nine, if there is one; ticks since midnight, of one day. */
size_t lli_arrow_write_time(int64_t ticks, enum lli_arrow_unit unit, char *to);
/* Both, with a T between them, and +00:00 if `utc`. */
size_t lli_arrow_write_timestamp(int64_t ticks, enum lli_arrow_unit unit, bool utc, char *to);
/* An integer of `width` bytes (4, 8, 16 or 32), least significant first, times ten to the power of -scale. */
size_t lli_arrow_write_decimal(const void *bytes, size_t width, int scale, char *to);

/* How many digits of a number in plain digits matter: without the zeros at both ends. */
size_t lli_arrow_significant_digits(const char *digits, size_t size);

#endif
