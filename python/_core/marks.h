/* marks.h: the parameters that are written in the text of a statement. */
#ifndef LP_MARKS_H
#define LP_MARKS_H

#include "state.h"

/* Finds the next `:name`, `@name` or `$name` from *at on: where the name stands, without the character before it. False at
 * the end. */
bool lp_marks_next_name(const char *sql, size_t size, size_t *at, size_t *ret_start,
                        size_t *ret_size);

/* The number SQLite gives to the parameter `name`: names count once, in the order they appear. Only for texts whose marks
 * are all names; 0: it is not there. */
size_t lp_marks_number_of(const char *sql, size_t size, const char *name);

/* A sequence is given for marks that have a name: works by position; Python 3.12 warns of it, 3.14 refuses. -1 with an
 * exception. */
int lp_marks_check_sequence(lp_state *st, PyObject *sql);

#endif
