/* memdb.c: memory databases that several connections share.
 *
 * A memory database of SQLite belongs to one connection. To share one there are two ways. Shared cache has one mutex
 * for all, gives SQLITE_LOCKED where it should wait, and lets others read what is not committed, if they ask for it
 * ([M] an inline read beside a worker's scan waited 347 ms in that mutex; with a Python function in the scan it
 * deadlocked). SQLite's VFS "memdb", since 3.36, makes a file in memory of a name that begins with a slash: each
 * connection has its own cache, and locks are a file's: BUSY, which is waited for as on a disk. So that is what a
 * pool opens; an older SQLite gets the shared cache, on workers only, one statement at a time (engine/gate.c).
 *
 * The name of a database that nobody else can name has the process and a number in it. */
#include "service/memdb.h"

#include "base/alloc.h"
#include "db/api.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    MEMDB_SINCE = 3036000
};

/* The value of a query parameter of a URI. */
static bool parameter_is(const char *query, const char *name, const char *value)
{
    size_t name_size = strlen(name), value_size = strlen(value);
    while (query && *query) {
        query++; /* the ? or & */
        if (strncmp(query, name, name_size) == 0 && query[name_size] == '=' &&
            strncmp(query + name_size + 1, value, value_size) == 0) {
            char end = query[name_size + 1 + value_size];
            if (end == '\0' || end == '&' || end == '#')
                return true;
        }
        query = strchr(query, '&');
    }
    return false;
}

/* What is shared by name: "" is nobody else's. False: it is not in memory. */
static bool memory_name(const char *path, unsigned flags, const char **ret_name, size_t *ret_size)
{
    *ret_name = "";
    *ret_size = 0;
    if (!path || !*path || strcmp(path, ":memory:") == 0)
        return true;
    if (strncmp(path, "file:", 5) != 0 || !(flags & LL_OPEN_URI))
        return false;
    const char *name = path + 5, *query = strchr(path, '?');
    size_t size = query ? (size_t)(query - name) : strlen(name);
    bool shared = parameter_is(query, "cache", "shared");
    if (size == 8 && strncmp(name, ":memory:", 8) == 0) {
        *ret_name = shared ? ":memory:" : "";
        *ret_size = shared ? 8 : 0;
        return true;
    }
    if (!parameter_is(query, "mode", "memory") && !parameter_is(query, "vfs", "memdb"))
        return false;
    while (size > 0 && *name == '/') {
        name++;
        size--;
    }
    *ret_name = name;
    *ret_size = size;
    return true;
}

ll_status lli_memdb_uri(const char *path, unsigned flags, char **ret_uri, unsigned *ret_flags)
{
    static atomic_uint made;
    const char *name;
    size_t size;
    char own[64];
    *ret_uri = NULL;
    *ret_flags = 0;
    if (!memory_name(path, flags, &name, &size))
        return LL_OK;
    if (size == 0) {
        snprintf(own, sizeof own, "looplite-pool-%ld-%u", (long)getpid(),
                 atomic_fetch_add_explicit(&made, 1, memory_order_relaxed));
        name = own;
        size = strlen(own);
    }
    bool memdb = lli_sq.version >= MEMDB_SINCE;
    const char *before = memdb ? "file:/" : "file:";
    const char *after = memdb ? "?vfs=memdb" : "?mode=memory&cache=shared";
    size_t room = strlen(before) + size + strlen(after) + 1;
    char *uri = lli_resize(NULL, room);
    if (!uri)
        return LL_ENOMEM;
    snprintf(uri, room, "%s%.*s%s", before, (int)size, name, after);
    *ret_uri = uri;
    *ret_flags = LL_OPEN_URI | (memdb ? 0 : LL_OPEN_SHARED_CACHE);
    return LL_OK;
}
