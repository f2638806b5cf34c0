/* cut.h: what a power cut could have left of the files on a tape. */
#ifndef T_CUT_H
#define T_CUT_H

#include "support/tape.h"

/* Writes to `dir`, which is empty, what a power cut at place `at` of the tape (0 to its length) could have left. The
 * seed decides. Durable is what was synced; of each write that was not, by sectors of 512 or 4096 bytes, some are there
 * and some are not, in any order; a file may be longer than what was written, with anything in the gap; and the
 * directory may have lost what was done to it since it was synced. `in_order`: the disk works on each file in the order
 * of the writes, and loses a tail. */
void t_cut(const struct t_tape *tape, size_t at, uint64_t seed, bool in_order, const char *dir);

#endif
