/* bounded.c: whether a program, as EXPLAIN shows it, ends after few steps whatever the data are.
 *
 * The event loop may run a statement itself if it cannot take long. Measured history says that of a
 * statement only for the parameters it had: the same DELETE text took 0.001 ms and, with another parameter,
 * 151 ms. Its program says it for all of them. So a program is *bounded* when
 *
 *   1. every opcode is on the list (opcodes.c). What is missing there is not bounded: opcodes that walk a whole
 *      table by themselves (Count, Clear, Destroy, IntegrityCk, Vacuum), that run other programs (Program,
 *      SqlExec, V*), that jump to where a register says (Gosub, Yield), and those this file does not know;
 *   2. every function is on the list of functions, every collation is SQLite's own;
 *   3. its graph of jumps has no cycle, apart from (4), so that no opcode runs twice. This is looked for
 *      in the graph, not in the direction of jumps: a program begins at its end (Init jumps to where the
 *      transaction is opened, Goto 1 comes back), and SQLite leaves loops behind that nobody enters: the
 *      Prev of SELECT max(id) stands after an unconditional Goto;
 *   4. a Next may jump back if its cursor is a table that the program itself has made and filled with a
 *      known number of rows (OpenEphemeral): the list of id IN (?, ?, ?), the rows of RETURNING:
 *
 *           OpenEphemeral c ... Insert c ... Rewind c, [ Column c ... Next c ]
 *                             (k of them)              <-----------------
 *
 *      If nothing that is reachable from the target of that jump moves or changes c, except the Next
 *      itself, and no Insert on it can be reached from any such jump, then each of its k Inserts runs once
 *      and c has at most k rows. Each backward jump moves some c forward and nothing moves it back, so all loops
 *      together jump back at most K = sum of k times, and the program takes at most count * (1 + K) steps;
 *   5. that is at most LLI_BOUNDED_STEPS.
 *
 * A scan over a range of rowids or of an index has a Next on a stored table and is not bounded, a lookup by
 * rowid or unique index has none and is. A LEFT JOIN by key has a jump back that is taken once at most; that
 * is not proven here, so such reads are left to history. An INSERT into an AUTOINCREMENT table searches
 * sqlite_sequence in a loop and is not bounded either.
 *
 * Each step costs at most a walk down a B-tree or the size of its values, which the caller bounds (256 KB)
 * where it can see them. Where it cannot see them are the rows that a write frees: deleting by key a row
 * of 1 / 10 / 100 MB took 0.15 / 14 / 245 ms, since its overflow pages are read to be freed. `overwrites` says
 * that this may happen.
 *
 * A function of the program's own counts as one on the list if the program has declared it to be short
 * (LL_FUNCTION_ON_LOOP); `own` says that there is one.
 *
 * No state, no allocation: the connection's owner. */
#include "db/bounded.h"

#include "db/opcodes.h"
#include "db/udf.h"

#include <string.h>
#include <strings.h>

enum {
    /* Eight doublings make 64 MB of 256 KB: 30 ms in a case that somebody has to build on purpose. */
    MAX_CONCATS = 8,
    P5_IS_CHANGE = 0x01, /* OPFLAG_NCHANGE: counted as a changed row */
    P5_IS_UPDATE = 0x04  /* OPFLAG_ISUPDATE of Insert and IdxInsert */
};

static void refuse(struct lli_judge *judge, enum lli_unbounded why)
{
    if (judge->program.why == LLI_BOUNDED)
        judge->program.why = (uint8_t)why;
    if (why == LLI_HAS_FUNCTION || why == LLI_HAS_COLLATION)
        judge->program.foreign = true;
}

void lli_judge_begin(struct lli_judge *judge)
{
    /* The code is written before it is read. */
    memset(judge, 0, offsetof(struct lli_judge, code));
    judge->program.why = LLI_BOUNDED;
}

static void note_database(struct lli_program *program, int number)
{
    if (number == 1)
        program->temp = true;
    else if (number > 1)
        program->attached = true;
}

/* The facts that are wanted of every program, bounded or not. */
static void note_facts(struct lli_judge *judge, const struct lli_vdbe_op *op)
{
    struct lli_program *program = &judge->program;
    if (op->name[0] == 'V' && strcmp(op->name, "Variable") != 0 && strcmp(op->name, "Vacuum") != 0)
        program->uses_vtab = true; /* VOpen, VFilter, VUpdate, ... */
    if (strcmp(op->name, "Transaction") == 0) {
        note_database(program, op->p1);
        if (op->p1 == 0)
            program->cookie = (uint32_t)op->p3;
        if (op->p2 != 0)
            program->writes = true;
        if (op->p2 != 0 && op->p1 != 1)
            program->writes_other_than_temp = true;
    }
}

/* Whether a stored row may be freed or replaced. A plain INSERT that gives a rowid looks whether it is
 * there and halts, or goes elsewhere, when it is; a REPLACE goes on. In a table WITHOUT ROWID the row is an entry of
 * an index. An INSERT looks for its key before; an UPDATE that keeps the key, and a REPLACE, put it in the place of
 * the old one without a word: only where SQLite was built with SQLITE_ENABLE_PREUPDATE_HOOK it says that it updates. */
static void note_overwrites(struct lli_judge *judge, const struct lli_vdbe_op *op)
{
    struct lli_program *program = &judge->program;
    const char *name = op->name;
    bool ends = strcmp(name, "Halt") == 0 || strcmp(name, "Goto") == 0;
    if (judge->looked_at == op->addr && judge->looked_at > 0 && !ends)
        program->overwrites = true;
    judge->looked_at = 0;
    if (strcmp(name, "NotExists") == 0 || strcmp(name, "NoConflict") == 0) {
        judge->looked_at = op->addr + 1;
        if (name[2] == 'C' && op->p1 < 64)
            judge->keys_looked_for |= UINT64_C(1) << op->p1;
        judge->looks_for_rowid = judge->looks_for_rowid || name[3] == 'E';
    } else if (strcmp(name, "MustBeInt") == 0) {
        judge->inserts_given = true;
    } else if (strcmp(name, "Insert") == 0 || strcmp(name, "IdxInsert") == 0) {
        judge->has_insert = true;
        bool is_row = name[0] == 'I' && name[1] == 'd' && (op->p5 & P5_IS_CHANGE) != 0;
        bool is_new = op->p1 < 64 && (judge->keys_looked_for & (UINT64_C(1) << op->p1)) != 0;
        program->overwrites = program->overwrites || (op->p5 & P5_IS_UPDATE) != 0 ||
                              (is_row && !is_new);
    } else if (strcmp(name, "Delete") == 0 || strcmp(name, "IdxDelete") == 0 ||
               strcmp(name, "Clear") == 0 || strcmp(name, "Program") == 0) {
        program->overwrites = true;
    }
}

/* Whether the answer or the effect of a function depends on which connection calls it, and when. P4 of a call is
 * name(number of arguments). */
static bool asks(const char *call)
{
    static const char *const names[] = {"changes", "total_changes", "last_insert_rowid",
                                        "load_extension"};
    const char *end = call ? strchr(call, '(') : NULL;
    for (size_t i = 0; end && i < LLI_COUNT(names); i++)
        if (strlen(names[i]) == (size_t)(end - call) &&
            strncasecmp(call, names[i], (size_t)(end - call)) == 0)
            return true;
    return false;
}

/* P4 of a call: whether it is of a function that takes no time. */
static bool is_cheap(struct lli_judge *judge, const char *call)
{
    if (LLI_LIKELY(!judge->udfs) || !lli_udf_is_quick(judge->udfs, call))
        return lli_function_is_cheap(call);
    judge->program.own = true;
    return true;
}

/* What is called and compared with, in the program and in its triggers. */
static void note_code(struct lli_judge *judge, const struct lli_opcode *opcode,
                      const struct lli_vdbe_op *op)
{
    struct lli_program *program = &judge->program;
    bool key = op->p4 && strncmp(op->p4, "k(", 2) == 0;
    if (!opcode) { /* one of a window function, a sorter, ...: P4 tells what it has */
        program->asks = program->asks || (!key && asks(op->p4));
        if (key && !lli_key_is_own(op->p4))
            program->foreign = program->collates = true;
        return;
    }
    if (opcode->flags & LLI_OP_CALLS) {
        program->asks = program->asks || asks(op->p4);
        program->foreign = program->foreign || !is_cheap(judge, op->p4);
    }
    if (((opcode->flags & LLI_OP_COLLATES) && !lli_collation_is_own(op->p4)) ||
        ((opcode->flags & LLI_OP_KEYED) && !lli_key_is_own(op->p4)))
        program->foreign = program->collates = true;
}

void lli_judge_add(struct lli_judge *judge, const struct lli_vdbe_op *op)
{
    note_facts(judge, op);
    note_overwrites(judge, op);
    const struct lli_opcode *opcode = lli_opcode_find(op->name);
    note_code(judge, opcode, op);
    judge->in_sub = judge->in_sub || op->addr != judge->count;
    if (judge->in_sub) {
        refuse(judge,
               LLI_HAS_OPCODE); /* a trigger's rows; the Program that runs it was refused before */
        return;
    }
    if (!opcode) {
        refuse(judge, LLI_HAS_OPCODE);
    } else {
        if (opcode->flags & LLI_OP_CALLS) {
            if (judge->program.calls < UINT16_MAX)
                judge->program.calls++;
            if (!is_cheap(judge, op->p4))
                refuse(judge, LLI_HAS_FUNCTION);
        }
        if (((opcode->flags & LLI_OP_COLLATES) && !lli_collation_is_own(op->p4)) ||
            ((opcode->flags & LLI_OP_KEYED) && !lli_key_is_own(op->p4)))
            refuse(judge, LLI_HAS_COLLATION);
        if (strcmp(opcode->name, "Concat") == 0 && ++judge->concats > MAX_CONCATS)
            refuse(judge, LLI_HAS_CONCATS);
    }
    if (judge->count < LLI_BOUNDED_STEPS)
        judge->code[judge->count] = (struct lli_code){opcode, op->p1, op->p2, op->p3};
    else
        refuse(judge, LLI_HAS_TOO_MANY);
    judge->count++;
}

/* ---- the graph ---- */

/* Where a step may go on; returns how many places. P2 = 0 of a jump means "do not": an error instead. */
static int successors(const struct lli_code *code, int at, int places[3])
{
    unsigned flags = code[at].opcode->flags;
    int count = 0;
    if (flags & LLI_OP_THREE_WAY) {
        places[count++] = code[at].p1;
        places[count++] = code[at].p2;
        places[count++] = code[at].p3;
        return count;
    }
    if (!(flags & LLI_OP_ALWAYS))
        places[count++] = at + 1;
    if ((flags & LLI_OP_JUMPS) && code[at].p2 != 0)
        places[count++] = code[at].p2;
    return count;
}

/* The Next that rule 4 may allow: its cursor is never opened on anything stored. */
static bool is_own_loop(const struct lli_judge *judge, int at)
{
    if (!(judge->code[at].opcode->flags & LLI_OP_ADVANCES))
        return false;
    bool found = false;
    for (int i = 0; i < judge->count; i++) {
        if (judge->code[i].p1 != judge->code[at].p1)
            continue;
        if (judge->code[i].opcode->flags & LLI_OP_OPENS)
            return false;
        if (judge->code[i].opcode->flags & LLI_OP_EPHEMERAL)
            found = true;
    }
    return found;
}

enum {
    UNSEEN,
    ON_PATH,
    LEFT
};

/* Depth first from `root` without the jumps back of own loops; true if a cycle is found. A place behind the
 * end counts as one: it should not be there. */
static bool has_cycle(const struct lli_judge *judge, int root, uint8_t *seen)
{
    int path[LLI_BOUNDED_STEPS];
    uint8_t next[LLI_BOUNDED_STEPS];
    int depth = 0;
    if (root < 0 || root >= judge->count)
        return true;
    if (seen[root] != UNSEEN)
        return false;
    path[0] = root;
    next[0] = 0;
    seen[root] = ON_PATH;
    while (depth >= 0) {
        int at = path[depth], places[3];
        int count = successors(judge->code, at, places);
        if (next[depth] == count) {
            seen[at] = LEFT;
            depth--;
            continue;
        }
        int to = places[next[depth]++];
        if (to == judge->code[at].p2 && is_own_loop(judge, at))
            continue;
        if (to < 0 || to >= judge->count || seen[to] == ON_PATH)
            return true;
        if (seen[to] == UNSEEN) {
            seen[to] = ON_PATH;
            path[++depth] = to;
            next[depth] = 0;
        }
    }
    return false;
}

/* Rule 4: whether nothing reachable from the loop's head touches its cursor. Marks what is reachable. */
static bool loop_keeps_cursor(const struct lli_judge *judge, int loop, uint8_t *repeated)
{
    uint8_t seen[LLI_BOUNDED_STEPS] = {0};
    int stack[LLI_BOUNDED_STEPS], depth = 0;
    int cursor = judge->code[loop].p1;
    stack[depth++] = judge->code[loop].p2;
    seen[judge->code[loop].p2] = LEFT;
    while (depth > 0) {
        int at = stack[--depth], places[3];
        const struct lli_code *code = &judge->code[at];
        repeated[at] = 1;
        if (at != loop && (code->opcode->flags & LLI_OP_MOVES) && code->p1 == cursor)
            return false;
        int count = successors(judge->code, at, places);
        for (int i = 0; i < count; i++) {
            if (places[i] < 0 || places[i] >= judge->count)
                return false;
            if (seen[places[i]] == UNSEEN) {
                seen[places[i]] = LEFT;
                stack[depth++] = places[i];
            }
        }
    }
    return true;
}

/* How many rows the loop's cursor can have; -1 if any is added where a loop repeats it. */
static int rows_of(const struct lli_judge *judge, int loop, const uint8_t *repeated)
{
    int rows = 0;
    for (int i = 0; i < judge->count; i++) {
        if (!(judge->code[i].opcode->flags & LLI_OP_FILLS) ||
            judge->code[i].p1 != judge->code[loop].p1)
            continue;
        if (repeated[i])
            return -1;
        rows++;
    }
    return rows;
}

static bool graph_is_short(const struct lli_judge *judge, int *ret_steps)
{
    uint8_t seen[LLI_BOUNDED_STEPS] = {0}, repeated[LLI_BOUNDED_STEPS] = {0};
    int back = 0;
    if (has_cycle(judge, 0, seen))
        return false;
    for (int i = 0; i < judge->count; i++)
        if (is_own_loop(judge, i) &&
            (has_cycle(judge, judge->code[i].p2, seen) || !loop_keeps_cursor(judge, i, repeated)))
            return false;
    for (int i = 0; i < judge->count; i++) {
        if (!is_own_loop(judge, i))
            continue;
        int rows = rows_of(judge, i, repeated);
        if (rows < 0)
            return false;
        back += rows;
    }
    *ret_steps = judge->count * (1 + back); /* neither is above LLI_BOUNDED_STEPS */
    return true;
}

/* Whether each place that gives a row is followed by a Halt without an error. */
static bool halts_behind_row(const struct lli_judge *judge)
{
    for (int i = 0; i < judge->count; i++) {
        if (strcmp(judge->code[i].opcode->name, "ResultRow") != 0)
            continue;
        if (i + 1 == judge->count || judge->code[i + 1].p1 != 0 ||
            strcmp(judge->code[i + 1].opcode->name, "Halt") != 0)
            return false;
    }
    return true;
}

struct lli_program lli_judge_end(struct lli_judge *judge)
{
    struct lli_program *program = &judge->program;
    program->known = judge->count > 0;
    if (judge->has_insert && judge->inserts_given && !judge->looks_for_rowid)
        program->overwrites = true;
    if (!program->writes)
        program->overwrites = false;
    if (!program->known)
        program->why = LLI_NOT_EXPLAINED;
    if (program->why != LLI_BOUNDED)
        return *program;
    int steps;
    if (!graph_is_short(judge, &steps))
        refuse(judge, LLI_HAS_LOOP);
    else if (steps > LLI_BOUNDED_STEPS)
        refuse(judge, LLI_HAS_TOO_MANY);
    else
        program->steps = (uint16_t)steps;
    program->single = lli_program_bounded(program) && !program->writes && halts_behind_row(judge);
    return *program;
}
