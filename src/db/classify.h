/* classify.h: what a statement is by its first word, without preparing it. */
#ifndef LLI_DB_CLASSIFY_H
#define LLI_DB_CLASSIFY_H

#include "base/defs.h"

enum lli_kind {
    LLI_KIND_OTHER,
    LLI_KIND_EMPTY, /* nothing, or only comments */
    LLI_KIND_SELECT,
    LLI_KIND_DML, /* INSERT, UPDATE, DELETE, REPLACE */
    LLI_KIND_BEGIN,
    LLI_KIND_COMMIT,   /* COMMIT or END */
    LLI_KIND_ROLLBACK, /* of the transaction, or to a savepoint */
    LLI_KIND_SAVEPOINT,
    LLI_KIND_RELEASE,
    LLI_KIND_PRAGMA,
    LLI_KIND_PRAGMA_BUSY_TIMEOUT,
    LLI_KIND_PRAGMA_JOURNAL_MODE
};

enum lli_kind lli_classify(const char *sql, size_t size);

/* Why a statement needs a connection that nobody else uses, in words: it begins or ends a transaction, leaves
 * something behind on the connection, or asks for what was done there before. NULL: any connection will do. On the
 * safe side: a table with the name of such a function is taken for one. */
const char *lli_classify_own(const char *sql, size_t size);
/* Whether a statement may leave a setting, a temporary object or an attached file behind. */
bool lli_classify_may_stay(const char *sql, size_t size);
/* Whether a statement only reads. On the safe side: WITH and a word that a write has is none. */
bool lli_classify_reads(const char *sql, size_t size);
/* Of a ROLLBACK: whether it is of the whole transaction, not to a savepoint. */
bool lli_classify_rolls_all_back(const char *sql, size_t size);

/* The offset behind white space and comments. */
size_t lli_skip_blank(const char *sql, size_t size);

#endif
