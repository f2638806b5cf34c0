/* serialize.h: a whole database as bytes, and back. The bytes are those of a database file. */
#ifndef LOOPLITE_SERIALIZE_H
#define LOOPLITE_SERIALIZE_H

#include <looplite/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Copies a database, as the connection sees it, into memory: ll_request_bytes() gives it. A database that has never
 * been written has no bytes. `schema` may be NULL: "main". It cannot be interrupted once it runs.
 * Thread: any. Owns: as ll_conn_submit(); the bytes are the request's: keep it for as long as they are needed. Errors:
 * at once LL_ESQL if this SQLite was built without sqlite3_serialize() (before 3.36 it has to be asked for), and as
 * ll_conn_submit(); of the request: LL_ESQL (no such database, an error of its file), LL_EBUSY, LL_ENOMEM. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_serialize(ll_conn *conn, const char *schema, const ll_submit *how,
                                           ll_request **ret_request);

enum {
    LL_DESERIALIZE_READONLY = 1u << 0 /* what was put there cannot be written */
};

/* Puts a database in memory, made of these bytes, in the place of an open one, which is closed: its file is not
 * changed. `schema` may be NULL: "main"; or the name of an attached one. If it fails the connection is as it was.
 * Whether the bytes are a database shows when it is first used. One that was in WAL mode is so no more: there is no WAL
 * in memory. On a connection of a pool the lease's end closes it.
 * Thread: any. Owns: as ll_conn_submit(); the bytes are copied, with LL_SUBMIT_BORROW by the worker: until the request
 * has finished they have to stay; never after that. Errors: at once LL_ESQL if this SQLite was built without
 * sqlite3_deserialize(), LL_EINVAL, and as ll_conn_submit(); of the request: LL_ESQL (no such database, "temp"),
 * LL_EBUSY (the connection uses it: a transaction, a cursor, a blob, a backup), LL_ENOMEM. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_deserialize(ll_conn *conn, const char *schema, const void *bytes,
                                             size_t size, unsigned flags, const ll_submit *how,
                                             ll_request **ret_request);

#ifdef __cplusplus
}
#endif
#endif
