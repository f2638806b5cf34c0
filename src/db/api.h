/* api.h: the table of SQLite's functions.
 *
 * No file of the library calls sqlite3_* directly. All calls go through `lli_sq`, so that the C library
 * can use the SQLite it is linked with while a language binding uses the one its host already has: two
 * copies of SQLite in one process that open the same file drop each other's POSIX locks. */
#ifndef LLI_DB_API_H
#define LLI_DB_API_H

#include "base/defs.h"

#include <looplite/sqlite.h>
#include <sqlite3.h>

/* X(since, result, name, arguments): `since` is the first sqlite3_libversion_number() that has it, 0 for
 * what every admitted version has. A member that is newer than the library found is NULL. */
#define LLI_SQLITE_FUNCTIONS(X)                                                                   \
    X(0, int, libversion_number, (void))                                                          \
    X(0, const char *, libversion, (void))                                                        \
    X(0, const char *, sourceid, (void))                                                          \
    X(0, int, threadsafe, (void))                                                                 \
    X(0, int, open_v2, (const char *, sqlite3 **, int, const char *))                             \
    X(0, int, close, (sqlite3 *))                                                                 \
    X(0, int, close_v2, (sqlite3 *))                                                              \
    X(0, int, extended_result_codes, (sqlite3 *, int))                                            \
    X(0, int, extended_errcode, (sqlite3 *))                                                      \
    X(0, const char *, errmsg, (sqlite3 *))                                                       \
    X(0, const char *, errstr, (int))                                                             \
    X(3038000, int, error_offset, (sqlite3 *))                                                    \
    X(0, int, prepare_v3,                                                                         \
      (sqlite3 *, const char *, int, unsigned, sqlite3_stmt **, const char **))                   \
    X(0, int, finalize, (sqlite3_stmt *))                                                         \
    X(0, int, reset, (sqlite3_stmt *))                                                            \
    X(0, int, clear_bindings, (sqlite3_stmt *))                                                   \
    X(0, int, step, (sqlite3_stmt *))                                                             \
    X(0, int, stmt_readonly, (sqlite3_stmt *))                                                    \
    X(0, int, stmt_busy, (sqlite3_stmt *))                                                        \
    X(0, int, stmt_status, (sqlite3_stmt *, int, int))                                            \
    X(0, sqlite3_stmt *, next_stmt, (sqlite3 *, sqlite3_stmt *))                                  \
    X(0, int, bind_parameter_count, (sqlite3_stmt *))                                             \
    X(0, const char *, bind_parameter_name, (sqlite3_stmt *, int))                                \
    X(0, int, bind_null, (sqlite3_stmt *, int))                                                   \
    X(0, int, bind_int64, (sqlite3_stmt *, int, sqlite3_int64))                                   \
    X(0, int, bind_double, (sqlite3_stmt *, int, double))                                         \
    X(0, int, bind_text64,                                                                        \
      (sqlite3_stmt *, int, const char *, sqlite3_uint64, void (*)(void *), unsigned char))       \
    X(0, int, bind_blob64, (sqlite3_stmt *, int, const void *, sqlite3_uint64, void (*)(void *))) \
    X(0, int, bind_zeroblob, (sqlite3_stmt *, int, int))                                          \
    X(0, int, column_count, (sqlite3_stmt *))                                                     \
    X(0, const char *, column_name, (sqlite3_stmt *, int))                                        \
    X(0, const char *, column_decltype, (sqlite3_stmt *, int))                                    \
    X(0, sqlite3_value *, column_value, (sqlite3_stmt *, int))                                    \
    X(0, int, column_int, (sqlite3_stmt *, int))                                                  \
    X(0, const unsigned char *, column_text, (sqlite3_stmt *, int))                               \
    X(0, int, value_type, (sqlite3_value *))                                                      \
    X(0, sqlite3_int64, value_int64, (sqlite3_value *))                                           \
    X(0, double, value_double, (sqlite3_value *))                                                 \
    X(0, const unsigned char *, value_text, (sqlite3_value *))                                    \
    X(0, const void *, value_blob, (sqlite3_value *))                                             \
    X(0, int, value_bytes, (sqlite3_value *))                                                     \
    X(0, int, changes, (sqlite3 *))                                                               \
    X(0, int, total_changes, (sqlite3 *))                                                         \
    X(3037000, sqlite3_int64, changes64, (sqlite3 *))                                             \
    X(3037000, sqlite3_int64, total_changes64, (sqlite3 *))                                       \
    X(0, sqlite3_int64, last_insert_rowid, (sqlite3 *))                                           \
    X(0, void, set_last_insert_rowid, (sqlite3 *, sqlite3_int64))                                 \
    X(0, int, limit, (sqlite3 *, int, int))                                                       \
    X(0, int, db_config, (sqlite3 *, int, ...))                                                   \
    X(0, int, create_function_v2,                                                                 \
      (sqlite3 *, const char *, int, int, void *,                                                 \
       void (*)(sqlite3_context *, int, sqlite3_value **),                                        \
       void (*)(sqlite3_context *, int, sqlite3_value **), void (*)(sqlite3_context *),           \
       void (*)(void *)))                                                                         \
    X(0, int, create_window_function,                                                             \
      (sqlite3 *, const char *, int, int, void *,                                                 \
       void (*)(sqlite3_context *, int, sqlite3_value **), void (*)(sqlite3_context *),           \
       void (*)(sqlite3_context *), void (*)(sqlite3_context *, int, sqlite3_value **),           \
       void (*)(void *)))                                                                         \
    X(0, int, create_collation_v2,                                                                \
      (sqlite3 *, const char *, int, void *,                                                      \
       int (*)(void *, int, const void *, int, const void *), void (*)(void *)))                  \
    X(0, void *, update_hook,                                                                     \
      (sqlite3 *, void (*)(void *, int, char const *, char const *, sqlite3_int64), void *))      \
    X(0, void *, commit_hook, (sqlite3 *, int (*)(void *), void *))                               \
    X(0, void *, rollback_hook, (sqlite3 *, void (*)(void *), void *))                            \
    X(0, void *, user_data, (sqlite3_context *))                                                  \
    X(0, void *, aggregate_context, (sqlite3_context *, int))                                     \
    X(0, sqlite3 *, context_db_handle, (sqlite3_context *))                                       \
    X(0, void, result_null, (sqlite3_context *))                                                  \
    X(0, void, result_int64, (sqlite3_context *, sqlite3_int64))                                  \
    X(0, void, result_double, (sqlite3_context *, double))                                        \
    X(0, void, result_text64,                                                                     \
      (sqlite3_context *, const char *, sqlite3_uint64, sqlite3_destructor_type, unsigned char))  \
    X(0, void, result_blob64,                                                                     \
      (sqlite3_context *, const void *, sqlite3_uint64, sqlite3_destructor_type))                 \
    X(0, void, result_error, (sqlite3_context *, const char *, int))                              \
    X(0, void, result_error_code, (sqlite3_context *, int))                                       \
    X(0, void, result_error_nomem, (sqlite3_context *))                                           \
    X(0, int, get_autocommit, (sqlite3 *))                                                        \
    X(0, int, txn_state, (sqlite3 *, const char *))                                               \
    X(0, int, busy_handler, (sqlite3 *, int (*)(void *, int), void *))                            \
    X(0, int, busy_timeout, (sqlite3 *, int))                                                     \
    X(0, void, progress_handler, (sqlite3 *, int, int (*)(void *), void *))                       \
    X(0, sqlite3_mutex *, db_mutex, (sqlite3 *))                                                  \
    X(0, void, mutex_enter, (sqlite3_mutex *))                                                    \
    X(0, int, mutex_try, (sqlite3_mutex *))                                                       \
    X(0, void, mutex_leave, (sqlite3_mutex *))                                                    \
    X(0, sqlite3_vfs *, vfs_find, (const char *))                                                 \
    X(0, int, vfs_register, (sqlite3_vfs *, int))                                                 \
    X(0, int, file_control, (sqlite3 *, const char *, int, void *))                               \
    X(0, sqlite3_file *, database_file_object, (const char *))                                    \
    X(0, int, db_status, (sqlite3 *, int, int *, int *, int))                                     \
    X(0, int, db_cacheflush, (sqlite3 *))                                                         \
    X(0, int, wal_checkpoint_v2, (sqlite3 *, const char *, int, int *, int *))                    \
    X(3039000, const char *, db_name, (sqlite3 *, int))                                           \
    X(0, int, blob_open,                                                                          \
      (sqlite3 *, const char *, const char *, const char *, sqlite3_int64, int, sqlite3_blob **)) \
    X(0, int, blob_reopen, (sqlite3_blob *, sqlite3_int64))                                       \
    X(0, int, blob_close, (sqlite3_blob *))                                                       \
    X(0, int, blob_bytes, (sqlite3_blob *))                                                       \
    X(0, int, blob_read, (sqlite3_blob *, void *, int, int))                                      \
    X(0, int, blob_write, (sqlite3_blob *, const void *, int, int))                               \
    X(0, sqlite3_backup *, backup_init, (sqlite3 *, const char *, sqlite3 *, const char *))       \
    X(0, int, backup_step, (sqlite3_backup *, int))                                               \
    X(0, int, backup_finish, (sqlite3_backup *))                                                  \
    X(0, int, backup_remaining, (sqlite3_backup *))                                               \
    X(0, int, backup_pagecount, (sqlite3_backup *))                                               \
    X(0, void *, malloc64, (sqlite3_uint64))                                                      \
    X(0, int, table_column_metadata,                                                              \
      (sqlite3 *, const char *, const char *, const char *, const char **, const char **, int *,  \
       int *, int *))                                                                             \
    X(0, void, free, (void *))

/* The same for what SQLite may have been built without: NULL then. (Until 3.36 these two were built in only when
 * asked for.) */
#define LLI_SQLITE_OPTIONAL(X)                                                          \
    X(unsigned char *, serialize, (sqlite3 *, const char *, sqlite3_int64 *, unsigned)) \
    X(int, deserialize,                                                                 \
      (sqlite3 *, const char *, unsigned char *, sqlite3_int64, sqlite3_int64, unsigned))

struct lli_sqlite {
    int version; /* sqlite3_libversion_number() of what was found; 0: not filled */
#define X(since, result, name, arguments) result(*name) arguments;
    LLI_SQLITE_FUNCTIONS(X)
#undef X
#define X(result, name, arguments) result(*name) arguments;
    LLI_SQLITE_OPTIONAL(X)
#undef X
};

/* Process-wide. Written once, under a lock, before the first engine; read-only afterwards. */
extern struct lli_sqlite lli_sq;

/* Fills the table with the default SQLite unless ll_sqlite_use() has filled it. Any thread. */
ll_status lli_sqlite_ready(void);

/* Whether ll_sqlite_use() has filled it. Any thread, after it was filled. */
bool lli_sqlite_is_host(void);

/* The SQLite this build is linked with; NULL in a build that is linked with none. One of api_linked.c
 * and api_unlinked.c defines it. */
extern const ll_find_fn lli_sqlite_default;

#endif
