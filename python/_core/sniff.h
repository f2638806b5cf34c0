/* sniff.h: text as times and UUIDs. */
#ifndef LP_SNIFF_H
#define LP_SNIFF_H

#include "state.h"

/* Which readings of a text are wanted. */
typedef enum lp_stamp {
    LP_STAMP_EXACT,    /* a datetime whose isoformat() is the text, to the letter */
    LP_STAMP_DATETIME, /* a datetime in any of the ISO 8601 forms; a date alone is its midnight */
    LP_STAMP_DATE,     /* a date; a datetime, which is a date too, if there is a time behind it */
    LP_STAMP_TIME      /* a time of day */
} lp_stamp;

/* All three: a new reference; NULL without an exception if the text is no such thing, with one if there is no memory. */
PyObject *lp_stamp_of(const char *text, size_t size, lp_stamp wanted);
PyObject *lp_uuid_exact(const lp_state *st, const char *text,
                        size_t size); /* str() of it is the text */
PyObject *lp_uuid_of(const lp_state *st, const char *text,
                     size_t size); /* as uuid.UUID() reads it */

/* Whether a value is a datetime, date or time; *ret_exact: of exactly one of these classes, of none derived from it. */
bool lp_is_stamp(PyObject *value, bool *ret_exact);

/* Finds datetime, uuid and decimal, which only programs with type adapters need; again costs nothing. 0, or -1 with an
 * exception. Before everything above. */
int lp_sniff_init(lp_state *st);

#endif
