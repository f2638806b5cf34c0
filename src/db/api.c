/* api.c: filling the table of SQLite's functions, once per process.
 *
 * The functions are found by name, from a lookup that the host gives (ll_sqlite_use()) or from the linked
 * library. The table is complete or not there at all: a missing function that the version should have is
 * an error that names it. SQLite older than 3.34.1 lacks sqlite3_txn_state(); one built without mutexes
 * cannot be used from several threads. */
#include "db/api.h"

#include "base/status.h"
#include "platform/thread.h"

#include <stdio.h>
#include <string.h>

enum {
    OLDEST_SQLITE = 3034001
};

struct lli_sqlite lli_sq;

static pthread_mutex_t filling = PTHREAD_MUTEX_INITIALIZER; /* held while lli_sq is written */
static bool from_host; /* fixed when `filled` is set: somebody else than we gave the functions */
static atomic_bool filled; /* release after lli_sq is complete, acquire before it is read */

static ll_status fill(struct lli_sqlite *table, ll_find_fn find, void *arg)
{
    memset(table, 0, sizeof *table);
    ll_symbol version = find(arg, "sqlite3_libversion_number");
    if (!version)
        return lli_refuse(LL_EINVAL, "no SQLite found: sqlite3_libversion_number is missing");
    table->version = ((int (*)(void))version)();
    if (table->version < OLDEST_SQLITE)
        return lli_refuse(LL_EINVAL, "SQLite %d.%d.%d is too old: looplite needs 3.34.1 or newer",
                          table->version / 1000000, table->version / 1000 % 1000,
                          table->version % 1000);
#define X(since, result, name, arguments)                                                     \
    if ((since) <= table->version) {                                                          \
        table->name = (result(*) arguments)find(arg, "sqlite3_" #name);                       \
        if (!table->name)                                                                     \
            return lli_refuse(LL_EINVAL, "this SQLite (%d) lacks sqlite3_%s", table->version, \
                              #name);                                                         \
    }
    LLI_SQLITE_FUNCTIONS(X)
#undef X
#define X(result, name, arguments) table->name = (result(*) arguments)find(arg, "sqlite3_" #name);
    LLI_SQLITE_OPTIONAL(X)
#undef X
    if (table->threadsafe() == 0)
        return lli_refuse(LL_EINVAL,
                          "this SQLite was built with SQLITE_THREADSAFE=0; looplite needs "
                          "a thread-safe one");
    return LL_OK;
}

ll_status ll_sqlite_use(ll_find_fn find, void *arg)
{
    if (!find)
        return lli_refuse(LL_EINVAL, "ll_sqlite_use: find is NULL");
    struct lli_sqlite table;
    LL_TRY(fill(&table, find, arg));
    ll_status status = LL_OK;
    lli_lock(&filling);
    if (atomic_load(&filled)) {
        if (lli_sq.open_v2 != table.open_v2)
            status = lli_refuse(LL_EINVAL,
                                "ll_sqlite_use: another SQLite is in use already; call it "
                                "before the first engine is made");
    } else {
        lli_sq = table;
        from_host = find != lli_sqlite_default;
        atomic_store_explicit(&filled, true, memory_order_release);
    }
    lli_unlock(&filling);
    return status;
}

bool lli_sqlite_is_host(void)
{
    return from_host;
}

ll_status lli_sqlite_ready(void)
{
    if (LLI_LIKELY(atomic_load_explicit(&filled, memory_order_acquire)))
        return LL_OK;
    if (!lli_sqlite_default)
        return lli_refuse(LL_EINVAL, "no SQLite: this build is linked with none; call "
                                     "ll_sqlite_use() first");
    return ll_sqlite_use(lli_sqlite_default, NULL);
}
