/* opcodes.c: what a bounded program may consist of. What is not listed here makes it unbounded.
 *
 * Opcodes: each takes one walk down a B-tree at most, or time in proportion to the sizes of its values.
 * Left out are those that do more in one step (Count, Clear, Destroy, IntegrityCk, Vacuum, SeekScan,
 * sorters), that run other programs (Program, SqlExec, V*), that jump where a register says (Gosub, Yield),
 * and those that never stand in a program that is bounded anyway.
 *
 * Functions are on the list if they take time in proportion to their arguments and give no more than they
 * are given: hex() or quote() is cheap alone, but doubles, and can be nested; trim(x, y) and instr() are
 * quadratic; LIKE and GLOB are worse; json_extract() with many paths repeats its argument. `||` adds sizes,
 * which doubles only where one register goes in twice (generated columns built on each other can do that),
 * so a number of them is allowed. These are names: a user may have put a function of his own under one, which
 * EXPLAIN does not tell.
 *
 * The names of opcodes are those of SQLite 3.34 to 3.54. Until 3.35 a comparison could keep its result in
 * register P2 instead of jumping there; here it counts as both, which errs on the safe side. */
#include "db/opcodes.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Sorted by name. */
static const struct lli_opcode opcodes[] = {
    {"Abortable", 0},
    {"Add", 0},
    {"AddImm", 0},
    {"Affinity", 0},
    {"AggFinal", LLI_OP_CALLS},
    {"AggStep", LLI_OP_CALLS},
    {"And", 0},
    {"BeginSubrtn", 0},
    {"BitAnd", 0},
    {"BitNot", 0},
    {"BitOr", 0},
    {"Blob", 0},
    {"Cast", 0},
    {"Close", 0},
    {"ClrSubtype", 0},
    {"CollSeq", LLI_OP_COLLATES},
    {"Column", 0},
    {"ColumnsUsed", 0},
    {"Compare", LLI_OP_KEYED},
    {"Concat", 0},
    {"Copy", 0},
    {"CursorHint", 0},
    {"DecrJumpZero", LLI_OP_JUMPS},
    {"DeferredSeek", LLI_OP_MOVES},
    {"Delete", LLI_OP_MOVES},
    {"Divide", 0},
    {"ElseEq", LLI_OP_JUMPS},
    {"ElseNotEq", LLI_OP_JUMPS},
    {"Eq", LLI_OP_JUMPS | LLI_OP_COLLATES},
    {"Explain", 0},
    {"FinishSeek", LLI_OP_MOVES},
    {"FkCheck", 0},
    {"FkCounter", 0},
    {"FkIfZero", LLI_OP_JUMPS},
    {"Found", LLI_OP_JUMPS | LLI_OP_MOVES},
    {"Function", LLI_OP_CALLS},
    {"Ge", LLI_OP_JUMPS | LLI_OP_COLLATES},
    {"GetSubtype", 0},
    {"Goto", LLI_OP_JUMPS | LLI_OP_ALWAYS},
    {"Gt", LLI_OP_JUMPS | LLI_OP_COLLATES},
    {"Halt", LLI_OP_ALWAYS},
    {"HaltIfNull", 0},
    {"IdxDelete", LLI_OP_MOVES},
    {"IdxGE", LLI_OP_JUMPS},
    {"IdxGT", LLI_OP_JUMPS},
    {"IdxInsert", LLI_OP_MOVES | LLI_OP_FILLS},
    {"IdxLE", LLI_OP_JUMPS},
    {"IdxLT", LLI_OP_JUMPS},
    {"IdxRowid", 0},
    {"If", LLI_OP_JUMPS},
    {"IfEmpty", LLI_OP_JUMPS},
    {"IfNot", LLI_OP_JUMPS},
    {"IfNotOpen", LLI_OP_JUMPS},
    {"IfNotZero", LLI_OP_JUMPS},
    {"IfNullRow", LLI_OP_JUMPS},
    {"IfPos", LLI_OP_JUMPS},
    {"Init", LLI_OP_JUMPS | LLI_OP_ALWAYS},
    {"Insert", LLI_OP_MOVES | LLI_OP_FILLS},
    {"Int64", 0},
    {"IntCopy", 0},
    {"Integer", 0},
    {"IsNull", LLI_OP_JUMPS},
    {"IsTrue", 0},
    {"IsType", LLI_OP_JUMPS},
    {"Jump", LLI_OP_THREE_WAY},
    {"Last", LLI_OP_JUMPS | LLI_OP_MOVES},
    {"Le", LLI_OP_JUMPS | LLI_OP_COLLATES},
    {"Lt", LLI_OP_JUMPS | LLI_OP_COLLATES},
    {"MakeRecord", 0},
    {"MemMax", 0},
    {"Move", 0},
    {"Multiply", 0},
    {"MustBeInt", LLI_OP_JUMPS},
    {"Ne", LLI_OP_JUMPS | LLI_OP_COLLATES},
    {"NewRowid", LLI_OP_MOVES},
    {"Next", LLI_OP_JUMPS | LLI_OP_MOVES | LLI_OP_ADVANCES},
    {"NoConflict", LLI_OP_JUMPS | LLI_OP_MOVES},
    {"Noop", 0},
    {"Not", 0},
    {"NotExists", LLI_OP_JUMPS | LLI_OP_MOVES},
    {"NotFound", LLI_OP_JUMPS | LLI_OP_MOVES},
    {"NotNull", LLI_OP_JUMPS},
    {"Null", 0},
    {"NullRow", LLI_OP_MOVES},
    {"Offset", 0},
    {"OffsetLimit", 0},
    {"Once", LLI_OP_JUMPS},
    {"OpenEphemeral", LLI_OP_MOVES | LLI_OP_EPHEMERAL | LLI_OP_KEYED},
    {"OpenRead", LLI_OP_MOVES | LLI_OP_OPENS | LLI_OP_KEYED},
    {"OpenWrite", LLI_OP_MOVES | LLI_OP_OPENS | LLI_OP_KEYED},
    {"Or", 0},
    {"Permutation", 0},
    {"Prev", LLI_OP_JUMPS | LLI_OP_MOVES},
    {"PureFunc", LLI_OP_CALLS},
    {"Real", 0},
    {"RealAffinity", 0},
    {"ReleaseReg", 0},
    {"Remainder", 0},
    {"ReopenIdx", LLI_OP_MOVES | LLI_OP_OPENS | LLI_OP_KEYED},
    {"ResetCount", 0},
    {"ResultRow", 0},
    /* Goes on behind a Gosub, of which there is none, or at the next address. */
    {"Return", 0},
    {"Rewind", LLI_OP_JUMPS | LLI_OP_MOVES},
    {"RowData", 0},
    {"Rowid", 0},
    {"SCopy", 0},
    {"SeekGE", LLI_OP_JUMPS | LLI_OP_MOVES},
    {"SeekGT", LLI_OP_JUMPS | LLI_OP_MOVES},
    {"SeekLE", LLI_OP_JUMPS | LLI_OP_MOVES},
    {"SeekLT", LLI_OP_JUMPS | LLI_OP_MOVES},
    {"SeekRowid", LLI_OP_JUMPS | LLI_OP_MOVES},
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

const struct lli_opcode *lli_opcode_find(const char *name)
{
    return bsearch(name, opcodes, LLI_COUNT(opcodes), sizeof opcodes[0], by_name);
}

bool lli_function_is_cheap(const char *text)
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

bool lli_function_name_is_cheap(const char *name)
{
    for (size_t i = 0; i < LLI_COUNT(functions); i++)
        if (strcasecmp(functions[i].name, name) == 0)
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

bool lli_collation_name_is_own(const char *name)
{
    static const char *const own[] = {"", "B", "BINARY", "NOCASE", "RTRIM"};
    for (size_t i = 0; i < LLI_COUNT(own); i++)
        if (strcasecmp(own[i], name) == 0)
            return true;
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] !=
           '\0';
}

bool lli_collation_is_own(const char *text)
{
    const char *dash = text ? strrchr(text, '-') : NULL;
    return !text || !*text || (dash && is_own_collation(text, (size_t)(dash - text)));
}

bool lli_key_is_own(const char *text)
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
