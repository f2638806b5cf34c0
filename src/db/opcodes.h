/* opcodes.h: the opcodes, functions and collations that a bounded program may have. */
#ifndef LLI_DB_OPCODES_H
#define LLI_DB_OPCODES_H

#include "base/defs.h"

/* What matters of an opcode. */
enum {
    LLI_OP_JUMPS = 1,       /* may go on at P2 */
    LLI_OP_ALWAYS = 2,      /* never goes on at the next address */
    LLI_OP_MOVES = 4,       /* moves, fills, empties or opens cursor P1 */
    LLI_OP_OPENS = 8,       /* ... on something stored */
    LLI_OP_EPHEMERAL = 16,  /* ... on a new table of its own */
    LLI_OP_FILLS = 32,      /* adds at most one row to cursor P1 */
    LLI_OP_ADVANCES = 64,   /* moves cursor P1 on */
    LLI_OP_CALLS = 128,     /* P4 is a function */
    LLI_OP_COLLATES = 256,  /* P4 is a collation */
    LLI_OP_KEYED = 512,     /* P4 is the description of a key */
    LLI_OP_THREE_WAY = 1024 /* goes on at P1, P2 or P3 */
};

struct lli_opcode {
    const char *name;
    unsigned flags;
};

/* NULL: not on the list. */
const struct lli_opcode *lli_opcode_find(const char *name);
/* P4 of a call: name(number of arguments). */
bool lli_function_is_cheap(const char *text);
/* A name alone, in any case: a function of the program's that has it takes the place of one on our list. */
bool lli_function_name_is_cheap(const char *name);
/* The same for a collation; also a name that the P4 of a key would not show clearly. */
bool lli_collation_name_is_own(const char *name);
/* P4 of a comparison: the name, a dash, the encoding; or nothing. */
bool lli_collation_is_own(const char *text);
/* P4 of an open: k(2,B,-NOCASE), where a dash stands for DESC and "N." for NULLs at the other end. What
 * is no key (a number of columns) passes. */
bool lli_key_is_own(const char *text);

#endif
