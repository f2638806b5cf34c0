/* bounded.h: judging the program of a statement: can it run long? */
#ifndef LLI_DB_BOUNDED_H
#define LLI_DB_BOUNDED_H

#include "base/defs.h"

enum {
    /* A longer program, or one that may take more steps, is not bounded. As many steps as lie between two
     * calls of the progress handler: 10 to 100 us. */
    LLI_BOUNDED_STEPS = 1000
};

/* The first reason found why a program is not bounded. */
enum lli_unbounded {
    LLI_BOUNDED,       /* it is */
    LLI_NOT_EXPLAINED, /* not asked, or EXPLAIN failed */
    LLI_HAS_LOOP,
    LLI_HAS_OPCODE,    /* an opcode that is not on our list: slow, or unknown */
    LLI_HAS_FUNCTION,  /* a function that is not on our list */
    LLI_HAS_COLLATION, /* a collation that is not SQLite's own */
    LLI_HAS_CONCATS,   /* so many || that a short value could become a long one */
    LLI_HAS_TOO_MANY   /* steps */
};

/* What a program is. Zeroed is the worst answer: nothing known. */
struct lli_program {
    bool known;                  /* EXPLAIN was read to its end; the rest is only good if so */
    bool uses_vtab;              /* opens a virtual table, its triggers included */
    bool writes;                 /* to a file: not to a table that lives as long as the statement */
    bool writes_other_than_temp; /* ... nor to the TEMP database */
    bool
        overwrites; /* may free or replace a stored row, whose size nobody knows before: see bounded.c */
    bool temp;      /* touches the TEMP database */
    bool attached; /* touches an attached database */
    bool
        foreign; /* has a function or a collation that is not on our list, whatever `why` says; in a
                      trigger, too */
    bool collates; /* ... a collation */
    bool
        asks; /* has a function that tells of the connection (changes(), ...) or reaches beyond the database */
    bool
        single; /* it halts behind its only row: bounded, and no ResultRow is followed by anything else */
    bool own;       /* calls a function of the program's own that may run on the loop */
    uint8_t why;    /* enum lli_unbounded: LLI_BOUNDED when it is bounded */
    uint16_t steps; /* how many steps it takes at most, when bounded */
    uint16_t
        calls; /* of SQL functions; a user may have put one of his own under a name on our list */
    uint32_t
        cookie; /* of the schema of "main" that it was compiled for; 0 when it does not look there */
};

static inline bool lli_program_bounded(const struct lli_program *program)
{
    return program->known && program->why == LLI_BOUNDED;
}

/* One row of EXPLAIN. */
struct lli_vdbe_op {
    const char *name; /* of the opcode */
    const char *p4;   /* as text, may be NULL */
    int addr, p1, p2, p3, p5;
};

/* Takes the rows one after the other, in the order of EXPLAIN. */
struct lli_judge {
    struct lli_program program;
    const struct lli_udf_list
        *udfs; /* of the connection; NULL: none. Set behind lli_judge_begin() */
    int count; /* rows of the main program; sub-programs of triggers follow and are only scanned */
    bool in_sub; /* the rows are those of a trigger */
    int concats;
    bool has_insert, inserts_given, looks_for_rowid;
    uint64_t keys_looked_for; /* cursors below 64 with a NoConflict */
    int looked_at; /* address behind a test whose "found" way is to be looked at; 0: none */
    struct lli_code {
        const struct lli_opcode *opcode;
        int p1, p2, p3;
    } code[LLI_BOUNDED_STEPS];
};

void lli_judge_begin(struct lli_judge *judge);
void lli_judge_add(struct lli_judge *judge, const struct lli_vdbe_op *op);
/* All rows were given. */
struct lli_program lli_judge_end(struct lli_judge *judge);

#endif
