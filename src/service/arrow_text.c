/* arrow_text.c: values of Arrow as texts.
 *
 * Dates and times look as Python's isoformat() writes them, which is what looplite's own type adapters store, what SQLite's
 * date functions read, and what sorts as text in the order of time: years have four digits, so those outside of 0 to 9999
 * are refused, and an instant is told in UTC. Nanoseconds get nine digits, where they are needed.
 *
 * Calendar: days are counted in eras of 400 years, which all have the same length, from a year that begins in March, so
 * that the day which is not always there is the last one. */
#include "service/arrow_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A number in digits that give it back. The decimal point of the locale, whatever it is, becomes a point. */
size_t lli_arrow_write_double(double number, char *to, size_t room)
{
    char digits[64];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, number);
        if (strtod(digits, NULL) == number)
            break;
    }
    size_t size = 0;
    bool whole = true;
    for (const char *at = digits; *at && size + 3 < room; at++) {
        bool plain = isalnum((unsigned char)*at) || *at == '-' || *at == '+';
        if (!plain && size > 0 && to[size - 1] == '.')
            continue; /* a point of several bytes */
        whole &= plain && !isalpha((unsigned char)*at);
        to[size++] = plain ? *at : '.';
    }
    if (whole) {
        to[size++] = '.';
        to[size++] = '0';
    }
    return size;
}

/* ---- dates and times ----------------------------------------------------------------------------- */

static const int64_t per_second[] = {1, 1000, 1000000, 1000000000};

enum {
    SECONDS_A_DAY = 86400,
    DAYS_AN_ERA = 146097,  /* 400 years */
    DAYS_TO_1970 = 719468, /* from March of the year 0 */
    FIRST_DAY = -719528,   /* 0000-01-01 */
    LAST_DAY = 2932896     /* 9999-12-31 */
};

size_t lli_arrow_write_date(int64_t days, char *to)
{
    if (days < FIRST_DAY || days > LAST_DAY)
        return 0;
    int64_t shifted = days + DAYS_TO_1970;
    int64_t era = (shifted >= 0 ? shifted : shifted - (DAYS_AN_ERA - 1)) / DAYS_AN_ERA;
    int64_t day_of_era = shifted - era * DAYS_AN_ERA;
    /* Without the leap days before it; the last day of an era would be one too many. */
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
                           day_of_era / 146096) /
                          365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153; /* 0: March; five months have 153 days */
    int64_t day = day_of_year - (153 * month + 2) / 5 + 1;
    int64_t year = year_of_era + era * 400 + (month >= 10);
    month += month < 10 ? 3 : -9;
    return (size_t)snprintf(to, LLI_ARROW_TEXT_ROOM, "%04d-%02d-%02d", (int)year, (int)month,
                            (int)day);
}

size_t lli_arrow_write_time(int64_t ticks, enum lli_arrow_unit unit, char *to)
{
    int64_t seconds = ticks / per_second[unit], rest = ticks % per_second[unit];
    if (ticks < 0 || seconds >= SECONDS_A_DAY)
        return 0;
    int64_t nanoseconds = rest * (per_second[LLI_ARROW_NANOSECONDS] / per_second[unit]);
    size_t size = (size_t)snprintf(to, LLI_ARROW_TEXT_ROOM, "%02d:%02d:%02d", (int)(seconds / 3600),
                                   (int)(seconds / 60 % 60), (int)(seconds % 60));
    if (nanoseconds % 1000 != 0)
        size += (size_t)snprintf(to + size, LLI_ARROW_TEXT_ROOM - size, ".%09d", (int)nanoseconds);
    else if (nanoseconds != 0)
        size += (size_t)snprintf(to + size, LLI_ARROW_TEXT_ROOM - size, ".%06d",
                                 (int)(nanoseconds / 1000));
    return size;
}

size_t lli_arrow_write_timestamp(int64_t ticks, enum lli_arrow_unit unit, bool utc, char *to)
{
    int64_t a_day = SECONDS_A_DAY * per_second[unit];
    int64_t days = ticks / a_day, within = ticks % a_day;
    if (within < 0) {
        within += a_day;
        days--;
    }
    size_t size = lli_arrow_write_date(days, to);
    if (size == 0)
        return 0;
    to[size++] = 'T';
    char time[LLI_ARROW_TEXT_ROOM];
    size_t more = lli_arrow_write_time(within, unit, time);
    memcpy(to + size, time, more);
    size += more;
    if (utc) {
        memcpy(to + size, "+00:00", 6);
        size += 6;
    }
    return size;
}

/* ---- decimals ------------------------------------------------------------------------------------ */

enum {
    LIMBS = 8,
    DIGITS_A_LIMB = 9
};

/* Divides by 10^9 in place; gives the remainder. */
static uint32_t next_limb(uint32_t *limbs, size_t count)
{
    uint64_t rest = 0;
    for (size_t i = count; i-- > 0;) {
        uint64_t part = rest << 32 | limbs[i];
        limbs[i] = (uint32_t)(part / 1000000000);
        rest = part % 1000000000;
    }
    return (uint32_t)rest;
}

/* The digits of a number, without zeros before them; "" for 0. */
static size_t write_digits(uint32_t *limbs, size_t count, char *to)
{
    char reversed[(LIMBS + 1) * 2 * DIGITS_A_LIMB];
    size_t size = 0;
    while (count > 0) {
        uint32_t nine = next_limb(limbs, count);
        for (int i = 0; i < DIGITS_A_LIMB; i++, nine /= 10)
            reversed[size++] = (char)('0' + nine % 10);
        while (count > 0 && limbs[count - 1] == 0)
            count--;
    }
    while (size > 0 && reversed[size - 1] == '0')
        size--;
    for (size_t i = 0; i < size; i++)
        to[i] = reversed[size - 1 - i];
    return size;
}

size_t lli_arrow_write_decimal(const void *bytes, size_t width, int scale, char *to)
{
    uint32_t limbs[LIMBS] = {0};
    if (width > sizeof limbs || scale > LLI_ARROW_MOST_DIGITS || scale < -LLI_ARROW_MOST_DIGITS)
        return 0;
    size_t count = width / sizeof limbs[0];
    for (size_t i = 0; i < width; i++)
        limbs[i / 4] |= (uint32_t)((const uint8_t *)bytes)[i] << (i % 4 * 8);
    bool negative = limbs[count - 1] >> 31;
    uint64_t carry = 1;
    for (size_t i = 0; negative && i < count; i++) {
        carry += (uint32_t)~limbs[i];
        limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
    char digits[LIMBS * 2 * DIGITS_A_LIMB];
    size_t given = write_digits(limbs, count, digits), size = 0;
    if (negative)
        to[size++] = '-';
    size_t behind = scale > 0 ? (size_t)scale : 0; /* digits behind the point */
    for (size_t at = given > behind ? given : behind + 1;
         at-- > 0;) { /* at: digits still to come */
        to[size++] = at < given ? digits[given - 1 - at] : '0';
        if (at == behind && behind > 0)
            to[size++] = '.';
    }
    for (int i = 0; given > 0 && i < -scale; i++)
        to[size++] = '0';
    return size;
}

size_t lli_arrow_significant_digits(const char *digits, size_t size)
{
    size_t count = 0, zeros = 0;
    for (size_t i = 0; i < size; i++) {
        if (!isdigit((unsigned char)digits[i]))
            continue;
        if (digits[i] != '0') {
            count += zeros + 1;
            zeros = 0;
        } else if (count > 0) {
            zeros++;
        }
    }
    return count;
}
