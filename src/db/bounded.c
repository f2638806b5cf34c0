/* bounded.c: whether a program, as EXPLAIN shows it, ends after few steps whatever the data are.
 *
 * The event loop may run a statement itself if it cannot take long. Measured history says that of a
 * statement only for the parameters it had: the same DELETE text took 0.001 ms and, with another parameter,
 * 151 ms. Its program says it for all of them. So a program is *bounded* when
 *
 *   1. every opcode is on the list below. What is missing there is not bounded: opcodes that walk a whole
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
 * that this may happen. Functions are on the list if they take time in proportion to their arguments and
 * give no more than they are given: hex() or quote() is cheap alone, but doubles, and can be nested; trim(x, y)
 * and instr() are quadratic; LIKE and GLOB are worse; json_extract() with many paths repeats its argument. `||`
 * adds sizes, which doubles only where one register goes in twice (generated columns built on each other can do
 * that), so a number of them is allowed.
 *
 * The names of opcodes are those of SQLite 3.34 to 3.54. Until 3.35 a comparison could keep its result in
 * register P2 instead of jumping there; here it counts as both, which errs on the safe side.
 *
 * No state, no allocation: any thread. */
#include "db/bounded.h"

#include <stdlib.h>
#include <string.h>

enum {
    /* Eight doublings make 64 MB of 256 KB: 30 ms in a case that somebody has to build on purpose. */
    MAX_CONCATS = 8,
    P5_IS_UPDATE = 0x04 /* OPFLAG_ISUPDATE of Insert and IdxInsert */
};

/* What matters of an opcode. */
enum {
    JUMPS = 1,      /* may go on at P2 */
    ALWAYS = 2,     /* never goes on at the next address */
    MOVES = 4,      /* moves, fills, empties or opens cursor P1 */
    OPENS = 8,      /* ... on something stored */
    EPHEMERAL = 16, /* ... on a new table of its own */
    FILLS = 32,     /* adds at most one row to cursor P1 */
    NEXT = 64,
    CALLS = 128,     /* P4 is a function */
    COLLATES = 256,  /* P4 is a collation */
    KEYED = 512,     /* P4 is the description of a key */
    THREE_WAY = 1024 /* goes on at P1, P2 or P3 */
};

struct lli_opcode {
    const char *name;
    unsigned flags;
};

/* Sorted by name. */
static const struct lli_opcode opcodes[] = {
    {"Abortable", 0},
    {"Add", 0},
    {"AddImm", 0},
    {"Affinity", 0},
    {"AggFinal", CALLS},
    {"AggStep", CALLS},
    {"And", 0},
    {"BeginSubrtn", 0},
    {"BitAnd", 0},
    {"BitNot", 0},
    {"BitOr", 0},
    {"Blob", 0},
    {"Cast", 0},
    {"Close", 0},
    {"ClrSubtype", 0},
    {"CollSeq", COLLATES},
    {"Column", 0},
    {"ColumnsUsed", 0},
    {"Compare", KEYED},
    {"Concat", 0},
    {"Copy", 0},
    {"CursorHint", 0},
    {"DecrJumpZero", JUMPS},
    {"DeferredSeek", MOVES},
    {"Delete", MOVES},
    {"Divide", 0},
    {"ElseEq", JUMPS},
    {"ElseNotEq", JUMPS},
    {"Eq", JUMPS | COLLATES},
    {"Explain", 0},
    {"FinishSeek", MOVES},
    {"FkCheck", 0},
    {"FkCounter", 0},
    {"FkIfZero", JUMPS},
    {"Found", JUMPS | MOVES},
    {"Function", CALLS},
    {"Ge", JUMPS | COLLATES},
    {"GetSubtype", 0},
    {"Goto", JUMPS | ALWAYS},
    {"Gt", JUMPS | COLLATES},
    {"Halt", ALWAYS},
    {"HaltIfNull", 0},
    {"IdxDelete", MOVES},
    {"IdxGE", JUMPS},
    {"IdxGT", JUMPS},
    {"IdxInsert", MOVES | FILLS},
    {"IdxLE", JUMPS},
    {"IdxLT", JUMPS},
    {"IdxRowid", 0},
    {"If", JUMPS},
    {"IfEmpty", JUMPS},
    {"IfNot", JUMPS},
    {"IfNotOpen", JUMPS},
    {"IfNotZero", JUMPS},
    {"IfNullRow", JUMPS},
    {"IfPos", JUMPS},
    {"Init", JUMPS | ALWAYS},
    {"Insert", MOVES | FILLS},
    {"Int64", 0},
    {"IntCopy", 0},
    {"Integer", 0},
    {"IsNull", JUMPS},
    {"IsTrue", 0},
    {"IsType", JUMPS},
    {"Jump", THREE_WAY},
    {"Last", JUMPS | MOVES},
    {"Le", JUMPS | COLLATES},
    {"Lt", JUMPS | COLLATES},
    {"MakeRecord", 0},
    {"MemMax", 0},
    {"Move", 0},
    {"Multiply", 0},
    {"MustBeInt", JUMPS},
    {"Ne", JUMPS | COLLATES},
    {"NewRowid", MOVES},
    {"Next", JUMPS | MOVES | NEXT},
    {"NoConflict", JUMPS | MOVES},
    {"Noop", 0},
    {"Not", 0},
    {"NotExists", JUMPS | MOVES},
    {"NotFound", JUMPS | MOVES},
    {"NotNull", JUMPS},
    {"Null", 0},
    {"NullRow", MOVES},
    {"Offset", 0},
    {"OffsetLimit", 0},
    {"Once", JUMPS},
    {"OpenEphemeral", MOVES | EPHEMERAL | KEYED},
    {"OpenRead", MOVES | OPENS | KEYED},
    {"OpenWrite", MOVES | OPENS | KEYED},
    {"Or", 0},
    {"Permutation", 0},
    {"Prev", JUMPS | MOVES},
    {"PureFunc", CALLS},
    {"Real", 0},
    {"RealAffinity", 0},
    {"ReleaseReg", 0},
    {"Remainder", 0},
    {"ReopenIdx", MOVES | OPENS | KEYED},
    {"ResetCount", 0},
    {"ResultRow", 0},
    /* Goes on behind a Gosub, of which there is none, or at the next address. */
    {"Return", 0},
    {"Rewind", JUMPS | MOVES},
    {"RowData", 0},
    {"Rowid", 0},
    {"SCopy", 0},
    {"SeekGE", JUMPS | MOVES},
    {"SeekGT", JUMPS | MOVES},
    {"SeekLE", JUMPS | MOVES},
    {"SeekLT", JUMPS | MOVES},
    {"SeekRowid", JUMPS | MOVES},
    {"Sequence", 0},
    {"SetSubtype", 0},
    {"ShiftLeft", 0},
    {"ShiftRight", 0},
    {"SoftNull", 0},
    {"String", 0},
    {"String8", 0},
    {"Subtract", 0},
    {"Trace", 0},
    {"Transaction", 0},
    {"TypeCheck", 0},
    {"Variable", 0},
    {"ZeroOrNull", 0},
};

enum {
    ANY_NUMBER = -1 /* EXPLAIN writes -1, in newer versions also -3 for "at least two" */
};

/* Sorted by name. Aggregates stand beside functions. */
static const struct {
    const char *name;
    int arguments;
} functions[] = {
    {"->", 2},
    {"->>", 2},
    {"abs", 1},
    {"acos", 1},
    {"acosh", 1},
    {"asin", 1},
    {"asinh", 1},
    {"atan", 1},
    {"atan2", 2},
    {"atanh", 1},
    {"avg", 1},
    {"ceil", 1},
    {"ceiling", 1},
    {"changes", 0},
    {"char", ANY_NUMBER},
    {"coalesce", ANY_NUMBER},
    {"cos", 1},
    {"cosh", 1},
    {"count", 0},
    {"count", 1},
    {"current_date", 0},
    {"current_time", 0},
    {"current_timestamp", 0},
    {"date", ANY_NUMBER},
    {"datetime", ANY_NUMBER},
    {"degrees", 1},
    {"exp", 1},
    {"floor", 1},
    {"if", ANY_NUMBER},
    {"ifnull", 2},
    {"iif", 2},
    {"iif", 3},
    {"iif", ANY_NUMBER},
    {"json_array_length", 1},
    {"json_array_length", 2},
    {"json_type", 1},
    {"json_type", 2},
    {"json_valid", 1},
    {"json_valid", 2},
    {"julianday", ANY_NUMBER},
    {"last_insert_rowid", 0},
    {"length", 1},
    {"likelihood", 2},
    {"likely", 1},
    {"ln", 1},
    {"log", 1},
    {"log", 2},
    {"log10", 1},
    {"log2", 1},
    {"lower", 1},
    {"ltrim", 1},
    {"max", 1},
    {"max", ANY_NUMBER},
    {"min", 1},
    {"min", ANY_NUMBER},
    {"mod", 2},
    {"nullif", 2},
    {"octet_length", 1},
    {"pi", 0},
    {"pow", 2},
    {"power", 2},
    {"radians", 1},
    {"random", 0},
    {"round", 1},
    {"round", 2},
    {"rtrim", 1},
    {"sign", 1},
    {"sin", 1},
    {"sinh", 1},
    {"sqlite_version", 0},
    {"sqrt", 1},
    {"substr", 2},
    {"substr", 3},
    {"substring", 2},
    {"substring", 3},
    {"sum", 1},
    {"tan", 1},
    {"tanh", 1},
    {"time", ANY_NUMBER},
    {"timediff", 2},
    {"total", 1},
    {"total_changes", 0},
    {"trim", 1},
    {"trunc", 1},
    {"typeof", 1},
    {"unhex", 1},
    {"unicode", 1},
    {"unixepoch", ANY_NUMBER},
    {"unlikely", 1},
    {"upper", 1},
};

static int by_name(const void *name, const void *opcode)
{
    return strcmp(name, ((const struct lli_opcode *)opcode)->name);
}

static const struct lli_opcode *find_opcode(const char *name)
{
    return bsearch(name, opcodes, LLI_COUNT(opcodes), sizeof opcodes[0], by_name);
}

/* EXPLAIN writes a function as name(number of arguments). */
static bool is_cheap_function(const char *text)
{
    const char *open = text ? strrchr(text, '(') : NULL;
    if (!open)
        return false;
    size_t size = (size_t)(open - text);
    int arguments = atoi(open + 1);
    if (arguments < 0)
        arguments = ANY_NUMBER;
    for (size_t i = 0; i < LLI_COUNT(functions); i++)
        if (functions[i].arguments == arguments && strlen(functions[i].name) == size &&
            memcmp(functions[i].name, text, size) == 0)
            return true;
    return false;
}

static bool is_own_collation(const char *name, size_t size)
{
    static const char *const own[] = {"", "B", "BINARY", "NOCASE", "RTRIM"};
    for (size_t i = 0; i < LLI_COUNT(own); i++)
        if (strlen(own[i]) == size && memcmp(name, own[i], size) == 0)
            return true;
    return false;
}

/* A comparison's P4: the name, a dash, the encoding. */
static bool collation_is_own(const char *text)
{
    const char *dash = text ? strrchr(text, '-') : NULL;
    return !text || !*text || (dash && is_own_collation(text, (size_t)(dash - text)));
}

/* A key: k(2,B,-NOCASE); a dash stands for DESC, "N." for NULLs at the other end. A number is not a key. */
static bool key_is_own(const char *text)
{
    if (!text || text[0] != 'k' || text[1] != '(')
        return true;
    const char *at = strchr(text, ',');
    while (at) {
        at++;
        if (*at == '-')
            at++;
        if (at[0] == 'N' && at[1] == '.')
            at += 2;
        size_t size = strcspn(at, ",)");
        if (!is_own_collation(at, size))
            return false;
        at = at[size] == ',' ? at + size : NULL;
    }
    return true;
}

static void refuse(struct lli_judge *judge, enum lli_unbounded why)
{
    if (judge->program.why == LLI_BOUNDED)
        judge->program.why = (uint8_t)why;
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
    }
}

/* Whether a stored row may be freed or replaced. A plain INSERT that gives a rowid looks whether it is
 * there and halts, or goes elsewhere, when it is; a REPLACE goes on. */
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
        judge->looks_for_rowid = judge->looks_for_rowid || name[3] == 'E';
    } else if (strcmp(name, "MustBeInt") == 0) {
        judge->inserts_given = true;
    } else if (strcmp(name, "Insert") == 0 || strcmp(name, "IdxInsert") == 0) {
        judge->has_insert = true;
        program->overwrites = program->overwrites || (op->p5 & P5_IS_UPDATE) != 0;
    } else if (strcmp(name, "Delete") == 0 || strcmp(name, "IdxDelete") == 0 ||
               strcmp(name, "Clear") == 0 || strcmp(name, "Program") == 0) {
        program->overwrites = true;
    }
}

void lli_judge_add(struct lli_judge *judge, const struct lli_vdbe_op *op)
{
    note_facts(judge, op);
    note_overwrites(judge, op);
    judge->in_sub = judge->in_sub || op->addr != judge->count;
    if (judge->in_sub) {
        refuse(judge,
               LLI_HAS_OPCODE); /* a trigger's rows; the Program that runs it was refused before */
        return;
    }
    const struct lli_opcode *opcode = find_opcode(op->name);
    if (!opcode) {
        refuse(judge, LLI_HAS_OPCODE);
    } else {
        if (opcode->flags & CALLS) {
            if (judge->program.calls < UINT16_MAX)
                judge->program.calls++;
            if (!is_cheap_function(op->p4))
                refuse(judge, LLI_HAS_FUNCTION);
        }
        if (((opcode->flags & COLLATES) && !collation_is_own(op->p4)) ||
            ((opcode->flags & KEYED) && !key_is_own(op->p4)))
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
    if (flags & THREE_WAY) {
        places[count++] = code[at].p1;
        places[count++] = code[at].p2;
        places[count++] = code[at].p3;
        return count;
    }
    if (!(flags & ALWAYS))
        places[count++] = at + 1;
    if ((flags & JUMPS) && code[at].p2 != 0)
        places[count++] = code[at].p2;
    return count;
}

/* The Next that rule 4 may allow: its cursor is never opened on anything stored. */
static bool is_own_loop(const struct lli_judge *judge, int at)
{
    if (!(judge->code[at].opcode->flags & NEXT))
        return false;
    bool found = false;
    for (int i = 0; i < judge->count; i++) {
        if (judge->code[i].p1 != judge->code[at].p1)
            continue;
        if (judge->code[i].opcode->flags & OPENS)
            return false;
        if (judge->code[i].opcode->flags & EPHEMERAL)
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
        if (at != loop && (code->opcode->flags & MOVES) && code->p1 == cursor)
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
        if (!(judge->code[i].opcode->flags & FILLS) || judge->code[i].p1 != judge->code[loop].p1)
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
    return *program;
}
