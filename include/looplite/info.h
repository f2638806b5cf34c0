/* info.h: how looplite stands in this process: what it found, and what it decided. For reports of defects, and
 * for finding out why something does not run on the loop. */
#ifndef LOOPLITE_INFO_H
#define LOOPLITE_INFO_H

#include <looplite/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What looplite found in this process, and how an engine is set. All texts are static. */
typedef struct ll_engine_info {
    const char *sqlite_version;   /* "3.40.1" */
    const char *sqlite_source_id; /* sqlite3_sourceid() */
    int sqlite_threadsafe;        /* sqlite3_threadsafe(): 1 or 2 */
    const char *sqlite_origin;    /* "linked", or "host": given by ll_sqlite_use() */
    bool reads_hooked; /* a test read of a temporary file came through our hook; without, nothing
                                     that lies in a file runs on the loop */
    bool host_turns;   /* as in ll_engine_options */
    unsigned max_workers;
    uint64_t turn_ns, attempt_ns;
} ll_engine_info;

/* Reads what looplite found. The first call in a process makes a temporary file and removes it.
 * Thread: any; better not a loop, because of that file. Owns: nothing. Errors: all zero after fork.
 * Since: 0.1 */
LL_API void ll_engine_get_info(const ll_engine *engine, ll_engine_info *ret_info);

/* Whether statements of a connection run on the loop, and why. All texts are static. */
typedef struct ll_conn_info {
    bool on_loop; /* statements of it are tried on the loop */
    const char *
        disk_guard; /* how its reads are kept from waiting for the disk: "nowait" (the kernel answers
                               at once or not at all), "tmpfs" (there is no disk: also ":memory:"), "mincore"
                               (looks whether the page is there), "worker-only" (network, user space, unknown),
                               "none" (not opened by our VFS, or its reads do not pass us), "unknown" */
    const char *reason; /* why it is so, in words */
} ll_conn_info;

/* Reads what was decided after the last request that could have changed it. Never waits.
 * Thread: any. Owns: nothing. Errors: all zero after fork. Since: 0.1 */
LL_API void ll_conn_get_info(const ll_conn *conn, ll_conn_info *ret_info);

#ifdef __cplusplus
}
#endif
#endif
