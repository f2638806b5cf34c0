/* sniff.c: text as times and UUIDs.
 *
 * One parser for all versions of Python: fromisoformat() reads more from 3.11 on than before, and a column must not
 * change its type with the interpreter. What it reads:
 *
 *     YYYY-MM-DD                                   date
 *     HH:MM[:SS[.fraction]][zone]                  time
 *     date, 'T' or a space, time                   datetime
 *     zone: Z, +HH, +HHMM, +HH:MM[:SS[.ffffff]]    (or -)
 *
 * While it reads it notes whether isoformat() would write the same text (`exact`): the separator is T, seconds are
 * there, a fraction has six digits and is not zero, the zone is written +HH:MM and, if it needs them, seconds. Only
 * such a text may be recognised where no type was declared, because storing what was read must give the text again.
 *
 * A UUID is made without its __init__, which takes four times as long: an object of the class, and its two slots set
 * as it sets them. Whether this Python's class can be made so is tried once, at import. */
#include "sniff.h"

#include <datetime.h>
#include <string.h>

/* ---- times ------------------------------------------------------------------------------------- */

typedef struct stamp {
    int year, month, day;
    int hour, minute, second, micro;
    int zone, zone_micro; /* seconds east of UTC, and the part below a second, with the same sign */
    bool has_date, has_time, has_zone;
    bool exact;
} stamp;

typedef struct reader {
    const char *at, *end;
} reader;

static bool number(reader *r, int digits, int *ret)
{
    int n = 0;
    if (r->end - r->at < digits)
        return false;
    for (int i = 0; i < digits; i++) {
        if (r->at[i] < '0' || r->at[i] > '9')
            return false;
        n = n * 10 + (r->at[i] - '0');
    }
    r->at += digits;
    *ret = n;
    return true;
}

static bool sign(reader *r, char c)
{
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

/* The digits behind a point, as microseconds; what is smaller is cut off, as fromisoformat() does. */
static bool fraction(reader *r, int *ret, bool *exact)
{
    int n = 0, digits = 0;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++, digits++)
        if (digits < 6)
            n = n * 10 + (*r->at - '0');
    *exact &= digits == 6 && n != 0;
    for (int i = digits; i < 6; i++)
        n *= 10;
    *ret = n;
    return digits > 0;
}

static bool read_date(reader *r, stamp *s)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (!number(r, 4, &s->year) || !sign(r, '-') || !number(r, 2, &s->month) || !sign(r, '-') ||
        !number(r, 2, &s->day) || s->year < 1 || s->month < 1 || s->month > 12)
        return false;
    bool leap = s->year % 4 == 0 && (s->year % 100 != 0 || s->year % 400 == 0);
    return s->day >= 1 && s->day <= days[s->month - 1] + (s->month == 2 && leap);
}

static bool read_zone(reader *r, stamp *s)
{
    int hours, minutes = 0, seconds = 0, micro = 0;
    if (r->at == r->end)
        return true;
    s->has_zone = true;
    if (sign(r, 'Z') || sign(r, 'z')) {
        s->exact = false;
        return true;
    }
    bool west = sign(r, '-');
    if ((!west && !sign(r, '+')) || !number(r, 2, &hours))
        return false;
    if (sign(r, ':')) {
        if (!number(r, 2, &minutes))
            return false;
        if (sign(r, ':')) {
            if (!number(r, 2, &seconds))
                return false;
            if (!sign(r, '.'))
                s->exact &= seconds != 0;
            else if (!fraction(r, &micro, &s->exact))
                return false;
        }
    } else {
        s->exact = false;
        if (r->at < r->end && !number(r, 2, &minutes))
            return false;
    }
    if (hours > 23 || minutes > 59 || seconds > 59)
        return false;
    s->zone = hours * 3600 + minutes * 60 + seconds;
    s->zone_micro = micro;
    if (west) {
        s->exact &= s->zone != 0 || micro != 0;
        s->zone = -s->zone;
        s->zone_micro = -micro;
    }
    return true;
}

static bool read_time(reader *r, stamp *s)
{
    if (!number(r, 2, &s->hour) || !sign(r, ':') || !number(r, 2, &s->minute))
        return false;
    if (!sign(r, ':')) {
        s->exact = false;
    } else {
        if (!number(r, 2, &s->second))
            return false;
        if (sign(r, '.') && !fraction(r, &s->micro, &s->exact))
            return false;
    }
    return s->hour <= 23 && s->minute <= 59 && s->second <= 59 && read_zone(r, s);
}

static bool read_stamp(const char *text, size_t size, stamp *s)
{
    reader r = {.at = text, .end = text + size};
    *s = (stamp){.exact = true};
    if (size >= 10 && text[4] == '-') {
        s->has_date = true;
        if (!read_date(&r, s))
            return false;
        if (r.at == r.end)
            return true;
        if (!sign(&r, 'T')) {
            s->exact = false;
            if (!sign(&r, ' ') && !sign(&r, 't'))
                return false;
        }
    }
    s->has_time = true;
    return read_time(&r, s) && r.at == r.end;
}

static PyObject *zone_of(const stamp *s)
{
    if (!s->has_zone)
        return Py_NewRef(Py_None);
    if (s->zone == 0 && s->zone_micro == 0)
        return Py_NewRef(PyDateTime_TimeZone_UTC);
    PyObject *offset = PyDelta_FromDSU(0, s->zone, s->zone_micro);
    PyObject *zone = offset ? PyTimeZone_FromOffset(offset) : NULL;
    Py_XDECREF(offset);
    return zone;
}

PyObject *lp_stamp_of(const char *text, size_t size, lp_stamp wanted)
{
    stamp s;
    if (!read_stamp(text, size, &s))
        return NULL;
    if (wanted == LP_STAMP_EXACT && !(s.exact && s.has_date && s.has_time))
        return NULL;
    if ((wanted == LP_STAMP_TIME) == s.has_date)
        return NULL;
    if (wanted == LP_STAMP_DATE && !s.has_time)
        return PyDate_FromDate(s.year, s.month, s.day);
    PyObject *zone = zone_of(&s), *made = NULL;
    if (zone && wanted == LP_STAMP_TIME)
        made = PyDateTimeAPI->Time_FromTime(s.hour, s.minute, s.second, s.micro, zone,
                                            PyDateTimeAPI->TimeType);
    else if (zone)
        made = PyDateTimeAPI->DateTime_FromDateAndTime(s.year, s.month, s.day, s.hour, s.minute,
                                                       s.second, s.micro, zone,
                                                       PyDateTimeAPI->DateTimeType);
    Py_XDECREF(zone);
    return made;
}

bool lp_is_stamp(PyObject *value, bool *ret_exact)
{
    *ret_exact = PyDateTime_CheckExact(value) || PyDate_CheckExact(value) ||
                 PyTime_CheckExact(value);
    return *ret_exact || PyDate_Check(value) || PyTime_Check(value);
}

/* ---- UUIDs ------------------------------------------------------------------------------------- */

static PyObject *uuid_new(const lp_state *st, const char hex[33])
{
    if (!st->classes.uuid_slots)
        return PyObject_CallFunction(st->classes.uuid, "s", hex);
    PyTypeObject *type = (PyTypeObject *)st->classes.uuid;
    PyObject *number_ = PyLong_FromString(hex, NULL, 16);
    PyObject *made = number_ ? lp_new(type) : NULL;
    if (made &&
        (PyObject_GenericSetAttr(made, st->classes.uuid_int, number_) < 0 ||
         PyObject_GenericSetAttr(made, st->classes.uuid_safe, st->classes.uuid_unknown) < 0))
        Py_CLEAR(made);
    Py_XDECREF(number_);
    return made;
}

PyObject *lp_uuid_exact(const lp_state *st, const char *text, size_t size)
{
    char hex[33];
    size_t n = 0;
    if (size != 36)
        return NULL;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (c != '-')
                return NULL;
        } else if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')) {
            hex[n++] = c;
        } else {
            return NULL;
        }
    }
    hex[n] = '\0';
    return uuid_new(st, hex);
}

PyObject *lp_uuid_of(const lp_state *st, const char *text, size_t size)
{
    PyObject *made = lp_uuid_exact(st, text, size);
    if (!made && !PyErr_Occurred()) {
        made = PyObject_CallFunction(st->classes.uuid, "s#", text, (Py_ssize_t)size);
        if (!made && PyErr_ExceptionMatches(PyExc_ValueError))
            PyErr_Clear();
    }
    return made;
}

/* ---- the classes ------------------------------------------------------------------------------- */

static PyObject *take(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *found = module ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    return found;
}

/* Whether a UUID made by its slots is one that its own __init__ would make. */
static int try_slots(lp_state *st)
{
    static const char hex[33] = "0123456789abcdef0123456789abcdef";
    PyObject *plain = uuid_new(st, hex);
    st->classes.uuid_slots = true;
    PyObject *quick = plain ? uuid_new(st, hex) : NULL;
    st->classes.uuid_slots = quick && PyObject_RichCompareBool(plain, quick, Py_EQ) == 1;
    Py_XDECREF(quick);
    if (plain)
        PyErr_Clear();
    int rc = plain ? 0 : -1;
    Py_XDECREF(plain);
    return rc;
}

int lp_sniff_init(lp_state *st)
{
    if (st->classes.ready)
        return 0;
    PyDateTime_IMPORT;
    PyObject *safe = PyDateTimeAPI ? take("uuid", "SafeUUID") : NULL;
    if (!safe)
        return -1;
    Py_XSETREF(st->classes.uuid_unknown, PyObject_GetAttrString(safe, "unknown"));
    Py_DECREF(safe);
    Py_XSETREF(st->classes.uuid, take("uuid", "UUID"));
    Py_XSETREF(st->classes.decimal, take("decimal", "Decimal"));
    Py_XSETREF(st->classes.uuid_int, PyUnicode_InternFromString("int"));
    Py_XSETREF(st->classes.uuid_safe, PyUnicode_InternFromString("is_safe"));
    if (!st->classes.uuid_unknown || !st->classes.uuid || !st->classes.decimal ||
        !st->classes.uuid_int || !st->classes.uuid_safe || try_slots(st) < 0)
        return -1;
    st->classes.ready = true;
    return 0;
}
