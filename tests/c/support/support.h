/* support.h: what every C test stands on.
 *
 * A test is a function of cmocka, listed with T_TEST(name). Each gets a fresh world (t_env): an empty
 * directory, an engine, and a watchdog that ends the program with the test's name if it hangs.
 * Afterwards the engine is freed, each *.db file of the directory passes integrity_check, no object of
 * the library is alive, and the directory is removed.
 *
 * Nothing here sleeps to wait for something. A statement is held where a test wants it by a *gate*: an
 * SQL function that tells when it was entered and goes on when it is let.
 *
 * T_CHECK and its like work on every thread: on the test's own they fail the test, elsewhere they end the
 * program. cmocka's own assertions are not used: after a failure the stack that callbacks point to is
 * gone, so the engine of the test is abandoned instead of freed, and nothing is counted any more. */
#ifndef T_SUPPORT_H
#define T_SUPPORT_H

#include <looplite.h>
#include <looplite/sqlite.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define T_MS   UINT64_C(1000000)
#define T_HOUR UINT64_C(3600000000000)

/* Counts for ever; ends only when somebody interrupts it. */
#define T_ENDLESS "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c) "

typedef struct t_gate t_gate;

typedef struct t_env {
    const char *name;
    char dir[512];
    ll_engine *engine; /* NULL: the test has freed it */
    t_gate *gates;
    struct t_text *texts;
    size_t live_before;
    bool damaged; /* the test damages files: no integrity_check at its end */
} t_env;

int t_setup(void **state);
int t_teardown(void **state);

#define T_TEST(f)    cmocka_unit_test_prestate_setup_teardown(f, t_setup, t_teardown, (char[]){#f})
#define T_RUN(tests) cmocka_run_group_tests_name(t_group(__FILE__), tests, NULL, NULL)

/* The group's name: the file's without folders and ending. Prepares the process, too. NULL: what it was. */
const char *t_group(const char *file);

/* From now on a failure prints what it is and ends the process, which is a child. */
void t_failing_ends_the_process(void);

/* Fails the test, with words. */
void t_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));

#define T_CHECK(condition)                                        \
    do {                                                          \
        if (!(condition))                                         \
            t_fail(__FILE__, __LINE__, "not so: %s", #condition); \
    } while (0)

/* Leaves the test out where SQLite is older than what it is about (sqlite3_libversion_number()). */
enum {
    T_HAS_RETURNING = 3035000, /* and ON CONFLICT DO UPDATE without a target */
    T_HAS_MEMDB = 3036000,     /* databases in memory that are shared through the VFS memdb */
    T_HAS_ARROWS = 3038000,    /* -> and ->>; the place of an error in the text */
    T_HAS_DB_NAME = 3039000    /* sqlite3_db_name(): closing inside the call */
};
bool t_has(int version);
#define T_NEEDS(version)     \
    do {                     \
        if (!t_has(version)) \
            skip();          \
    } while (0)

/* The same for two integers and for two texts, saying both. */
void t_equal_(long long got, long long expected, const char *what, const char *file, int line);
#define T_EQUAL(got, expected) \
    t_equal_((long long)(got), (long long)(expected), #got, __FILE__, __LINE__)
void t_same_text_(const char *got, const char *expected, const char *file, int line);
#define T_SAME_TEXT(got, expected) t_same_text_(got, expected, __FILE__, __LINE__)

/* ---- the loop ---- */

/* Replaces the engine of the test by one with these options. */
void t_engine(t_env *t, const ll_engine_options *options);

/* Waits for what a submission answered; gives the request's status. Refusals are given as they are.
 * `request` is a variable, which the submission may set in the same expression. */
ll_status t_end_(ll_status submitted, ll_request *const *request, const char *file, int line);
#define t_end(submitted, request) t_end_(submitted, &(request), __FILE__, __LINE__)

/* Asserts how a finished request ended, and says what it said if it did not. */
void t_is_(ll_request *request, ll_status status, ll_outcome outcome, const char *file, int line);
#define t_is(request, status, outcome) t_is_(request, status, outcome, __FILE__, __LINE__)

/* Dispatches until *counter is at least `target`. */
void t_until_(ll_engine *engine, const size_t *counter, size_t target, const char *file, int line);
#define t_until(engine, counter, target) t_until_(engine, counter, target, __FILE__, __LINE__)

/* Dispatches what there is, then lets others run: for loops that wait for a condition. */
void t_turn(ll_engine *engine);

/* A callback that counts: `user` is a size_t. */
void t_count(ll_request *request, void *user);

/* A callback that keeps what it was told: `user` is a t_told. */
typedef struct t_told {
    size_t calls;
    ll_status status;
    ll_outcome outcome;
    size_t order; /* 1 for the first t_told of the process that was called back, ... */
} t_told;
void t_tell(ll_request *request, void *user);

ll_stats t_stats(const ll_engine *engine);
ll_conn_state t_state(const ll_conn *conn);

/* ---- files ---- */

/* A name inside the test's directory; lives as long as the test. */
const char *t_path(t_env *t, const char *name);
char *t_printf(t_env *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same with sqlite3 itself, without looplite. */
sqlite3 *t_raw_open(const char *path);
void t_raw_close(sqlite3 *db);
void t_raw(sqlite3 *db, const char *sql);
int t_raw_try(sqlite3 *db, const char *sql);
int64_t t_raw_int(sqlite3 *db, const char *sql);
void t_file_sql(const char *path, const char *sql);
int64_t t_file_int(const char *path, const char *sql);
void t_integrity(const char *path);

/* ---- connections and statements: submitted, waited for, asserted ---- */

ll_conn *t_open_(ll_engine *engine, const char *path, const ll_open_options *options,
                 const char *file, int line);
#define t_open(t, name)                    t_open_((t)->engine, t_path(t, name), NULL, __FILE__, __LINE__)
#define t_open_with(engine, path, options) t_open_(engine, path, options, __FILE__, __LINE__)
/* Opens, expects it to fail so, and gives the handle back. */
void t_open_fails_(ll_engine *engine, const char *path, const ll_open_options *options,
                   ll_status status, int sqlite_code, const char *file, int line);
#define t_open_fails(engine, path, options, status, code) \
    t_open_fails_(engine, path, options, status, code, __FILE__, __LINE__)
void t_close_(ll_conn *conn, const char *file, int line); /* closes and gives back */
#define t_close(conn) t_close_(conn, __FILE__, __LINE__)

void t_exec_(ll_conn *conn, const char *sql, const char *file, int line);
#define t_exec(conn, sql) t_exec_(conn, sql, __FILE__, __LINE__)
/* Executes, expects this error, and gives the finished request. */
ll_request *t_exec_fails_(ll_conn *conn, const char *sql, ll_status status, const char *file,
                          int line);
#define t_exec_fails(conn, sql, status) t_exec_fails_(conn, sql, status, __FILE__, __LINE__)
ll_request *t_query_(ll_conn *conn, const char *sql, const ll_value *values, size_t count,
                     const char *file, int line);
#define t_query(conn, sql) t_query_(conn, sql, NULL, 0, __FILE__, __LINE__)
#define t_query_with(conn, sql, values, count) \
    t_query_(conn, sql, values, count, __FILE__, __LINE__)
/* The first value of the first row. */
int64_t t_int_(ll_conn *conn, const char *sql, const char *file, int line);
#define t_int(conn, sql) t_int_(conn, sql, __FILE__, __LINE__)

/* Goes through the rows of a finished request. */
typedef struct t_rows {
    ll_request *request;
    ll_batch *batch;
    size_t next;
} t_rows;
const ll_value *t_rows_next(t_rows *rows); /* NULL: no more */
void t_rows_done(t_rows *rows);

/* ---- gates ---- */

t_gate *t_gate_new(t_env *t);
/* Gives the connection gate(x) (tells, waits to be let through, gives x) and seen(x) (tells, gives x);
 * without an argument they give 1. */
void t_gate_install(t_gate *gate, ll_conn *conn);
void t_gate_entered(t_gate *gate, size_t times); /* waits until it was entered so often */
size_t t_gate_times(t_gate *gate);               /* how often it was entered */
void t_gate_let(t_gate *gate, size_t times);     /* lets so many more through */
void t_gate_open(t_gate *gate);                  /* lets all through */
/* For ll_conn_call(): waits in the gate. `arg` is the gate. */
int t_gate_call(sqlite3 *db, void *arg);

/* For teardown: all gates of a test. */
void t_gates_open(t_gate *first);
void t_gates_free(t_gate *first);

/* ---- oracle ---- */

/* Runs one statement on both and compares all that can be seen of it. */
void t_compare_(ll_conn *conn, sqlite3 *db, const char *sql, const char *file, int line);
#define t_compare(conn, db, sql) t_compare_(conn, db, sql, __FILE__, __LINE__)

/* Fails the test if t_compare() found differences; after the last one. */
void t_compared_(const char *file, int line);
#define t_compared() t_compared_(__FILE__, __LINE__)

/* ---- processes ---- */

/* Runs a function in a child process, under a watchdog of its own; it must return 0. */
void t_in_child_(int (*body)(void *arg), void *arg, const char *file, int line);
#define t_in_child(body, arg) t_in_child_(body, arg, __FILE__, __LINE__)
/* In a child: ends it with a message. */
#define T_CHILD(condition)                                                                \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: in the child, not so: %s (%s)\n", __FILE__, __LINE__, \
                    #condition, ll_last_error());                                         \
            return 1;                                                                     \
        }                                                                                 \
    } while (0)

/* Another process that uses sqlite3 itself on this file, as it is told. Before the test opens the file. */
typedef struct t_peer t_peer;
t_peer *t_peer_new(const char *path);
/* Runs a text there, opening the file if it is not open; "" closes it. Gives the code. */
int t_peer_try(t_peer *peer, const char *sql);
void t_peer_end(t_peer *peer);

/* Starts the watchdog again, for a child; the test's name is kept. */
void t_watchdog(void);

#endif
