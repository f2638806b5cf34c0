/* cost.h: what each statement has cost on each file so far, for the whole process. Any thread. */
#ifndef LLI_DB_COST_H
#define LLI_DB_COST_H

#include "db/bounded.h"

/* Where a statement is to run. */
enum lli_admit {
    LLI_ADMIT_NO,    /* a worker: it was too slow, or must never run on the loop */
    LLI_ADMIT_FIRST, /* a worker, because nobody knows yet what it costs */
    LLI_ADMIT_INLINE /* the loop */
};

/* Why a statement never runs on the loop again; bits. */
enum lli_forbid {
    LLI_FORBID_LARGE = 1,   /* it met a value above LLI_LARGE_VALUE */
    LLI_FORBID_FOREIGN = 2, /* it calls a user's function, collation or callback */
    LLI_FORBID_VTAB = 4     /* it opens a virtual table */
};

enum {
    LLI_LARGE_VALUE = 256 * 1024,
    /* Bounds of the table. A text longer than LLI_COST_TEXT has no history. */
    LLI_COST_ENTRIES = 4096,
    LLI_COST_BYTES = 4 * 1024 * 1024,
    LLI_COST_TEXT = 64 * 1024
};

/* Half of the default budget of an attempt: the average of what may run on the loop. */
#define LLI_COST_LIMIT_NS (UINT64_C(100) * 1000)

struct lli_cost;

/* A key for a file, from stat(). Something that is no file (":memory:") needs a key of its own: see
 * lli_cost_private_key(). */
uint64_t lli_cost_file_key(uint64_t dev, uint64_t inode);
/* A key that no file and nobody else has. */
uint64_t lli_cost_private_key(void);

/* The history of this text on this file; a reference for the caller. NULL: no memory, or the text is too long;
 * all functions below take NULL for "no history". */
struct lli_cost *lli_cost_get(uint64_t file_key, const char *sql, size_t size);
void lli_cost_unref(struct lli_cost *cost);

/* `bounded`: the program is bounded, so that even the first run may be on the loop. No lock. */
enum lli_admit lli_cost_admit(const struct lli_cost *cost, bool bounded);
/* It ran to its end (or to its end of rows) in `ns` of SQLite's time, on the loop or on a worker. No lock. */
void lli_cost_ran(struct lli_cost *cost, uint64_t ns, bool inline_run);
/* An attempt on the loop ran out of its time. Only that guard: a miss or a lock says nothing about the
 * statement. No lock. */
void lli_cost_overran(struct lli_cost *cost);
/* No lock. */
void lli_cost_forbid(struct lli_cost *cost, enum lli_forbid why);
unsigned lli_cost_forbidden(const struct lli_cost *cost);
/* The moving average; 0 before the first run. No lock. */
uint64_t lli_cost_average_ns(const struct lli_cost *cost);
/* How many quick runs on a worker are left before it may run on the loop again. No lock. */
uint32_t lli_cost_probation(const struct lli_cost *cost);

/* Keeps a program for others; and gives one, if it was made for this cookie. A short lock. */
void lli_cost_give_program(struct lli_cost *cost, const struct lli_program *program);
bool lli_cost_take_program(struct lli_cost *cost, uint32_t cookie, struct lli_program *ret_program);

/* How many texts are in the table. */
size_t lli_cost_count(void);
/* Forgets everything; entries that somebody holds live on outside the table. For tests. */
void lli_cost_clear(void);

#endif
