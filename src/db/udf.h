/* udf.h: the program's functions, collations and hooks, as SQLite calls them. Owner of the connection only, but where
 * it is said. */
#ifndef LLI_DB_UDF_H
#define LLI_DB_UDF_H

#include "base/list.h"
#include "db/guard.h"

#include <looplite/func.h>

enum lli_udf_kind {
    LLI_UDF_FUNCTION,
    LLI_UDF_COLLATION,
    LLI_UDF_HOOKS
};

struct lli_udf {
    /* fixed after creation */
    enum lli_udf_kind kind;
    char *name; /* NULL for hooks */
    union {
        ll_function function;
        ll_collation collation;
        ll_hooks hooks;
    } as;
    void *user;
    void (*destroy)(void *user);

    /* the owner */
    struct lli_udf_list *list; /* NULL: in none, or the handle was given back */
    struct lli_node node;
};

/* All of one handle. */
struct lli_udf_list {
    sqlite3 *handle;
    struct lli_guard *guard; /* of the statement that runs */
    struct lli_list all;     /* of lli_udf.node, without the hooks */
    struct lli_udf *hooks;   /* NULL: none */
};

/* One with this name (copied; NULL: none); the caller fills `as`. NULL: no memory. Any thread. */
struct lli_udf *lli_udf_new(enum lli_udf_kind kind, const char *name, void *user,
                            void (*destroy)(void *));
/* Lets the program have its `user` back. Any thread. */
void lli_udf_free(struct lli_udf *udf);

void lli_udf_list_init(struct lli_udf_list *list, sqlite3 *handle, struct lli_guard *guard);
/* Registers it, or removes what has its name if it has no functions; takes it in every case. A SQLite code. */
int lli_udf_register(struct lli_udf_list *list, struct lli_udf *udf);
/* The handle is closed next (`closes`), or goes back to who owns it: then all are removed. */
void lli_udf_list_done(struct lli_udf_list *list, bool closes);

/* Of a call as EXPLAIN shows it, "name(2)": whether it is one of the program's that may run on the loop. `list` may be
 * NULL. */
bool lli_udf_is_quick(const struct lli_udf_list *list, const char *call);
/* Whether there are functions or collations. */
bool lli_udf_any(const struct lli_udf_list *list);

#endif
