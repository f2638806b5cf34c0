/* docs.h: the docstrings of what programs see of the extension: Connection, Cursor, Blob, connect().
 *
 * In one place, because what a call takes, raises and does when it is cancelled is told in the same words everywhere;
 * help(), editors and the reference on the site show them. The signature stands before them in the table of methods. */
#ifndef LOOPLITE_DOCS_H
#define LOOPLITE_DOCS_H

/* ---- said of several --------------------------------------------------------------------------- */

#define DOC_PARAMETERS_                                                                                 \
    "`parameters` are a sequence for the `?` of the statement, or a mapping for its `:name`, `@name`\n" \
    "and `$name`. Values never belong into the text.\n\n"
#define DOC_BEGINS_                                                                                      \
    "INSERT, UPDATE, DELETE and REPLACE begin a transaction if none is open, unless `isolation_level`\n" \
    "is None.\n\n"
#define DOC_ERRORS_ "Raises what `sqlite3` raises, with the same message.\n\n"
#define DOC_CANCELLED_                                                                                     \
    "When the task is cancelled, a statement that waits never runs, one that reads is interrupted, and\n"  \
    "one that writes is waited for; `CancelledError.looplite_outcome` says \"applied\", \"not applied\"\n" \
    "or \"unknown\". The transaction stays as it was."
#define DOC_SHIELDED_  "It happens also when the task is cancelled meanwhile."
#define DOC_ON_WORKER_ "Runs on a worker, never on the loop. "

/* ---- connect() and Connection ------------------------------------------------------------------- */

#define DOC_CONNECT                                                                                             \
    "Makes a Connection to a database, which is opened when it is awaited or entered.\n\n"                      \
    "Takes what `sqlite3.connect()` takes, by keyword: `timeout` is how many seconds a statement waits for a\n" \
    "lock (5), `isolation_level` which transaction begins by itself. Besides:\n\n"                              \
    "- `pragmas`: a mapping such as `{'journal_mode': 'WAL'}`, or texts such as `'journal_mode=WAL'`, run in\n" \
    "  this order before the connection is given; one that fails makes opening fail.\n"                         \
    "- `inline=False`: nothing of the connection runs on the loop's thread, and `PRAGMA mmap_size` has its\n"   \
    "  effect.\n"                                                                                               \
    "- `on_statement`: is called with a Statement after each statement, as the attribute.\n"                    \
    "- `iter_chunk_size`: how many rows `async for` asks another connector's cursor for at once.\n\n"           \
    "A file that cannot be opened raises `OperationalError` when the connection is awaited. A cancelled\n"      \
    "`connect` does not keep its task waiting; what was opened is closed."

#define DOC_CONNECTION                                                                                         \
    "A connection to a database: await it, or enter it with `async with`, to open it.\n\n"                     \
    "Made by `connect()`. The end of an `async with` closes it; nothing is committed by that.\n\n"             \
    "What is started on a connection runs one after another, in the order in which it was first awaited. It\n" \
    "may be used from any loop and any thread, also from several at once; tasks that share it share its\n"     \
    "transaction. A process that was forked gets `ProgrammingError`."

#define DOC_CONN_EXECUTE                                                                                         \
    "Runs one statement; gives a Cursor with its rows.\n\n" DOC_PARAMETERS_ DOC_BEGINS_                          \
    "The first rows come with it, the cursor brings the others. `async with` closes the cursor.\n\n" DOC_ERRORS_ \
        DOC_CANCELLED_
#define DOC_CONN_EXECUTEMANY                                                                         \
    "Runs one statement once for each row of parameters; gives a Cursor.\n\n"                        \
    "`parameters` is an iterable of sequences or mappings. Only for INSERT, UPDATE,\n"               \
    "DELETE and REPLACE.\n\n" DOC_BEGINS_                                                            \
    "The first row that fails ends it, and what was done before stays, in the open transaction. A\n" \
    "cancellation ends it between two rows, and `CancelledError.looplite_outcome` tells."
#define DOC_CONN_EXECUTESCRIPT                                                                               \
    "Runs any number of statements; gives a Cursor without rows.\n\n"                                        \
    "An open transaction is committed first, as in `sqlite3`. The first statement that fails ends it, and\n" \
    "those before stay; a cancellation ends it between two statements."
#define DOC_CONN_EXECUTE_INSERT                                                               \
    "Runs an INSERT; gives a row with `last_insert_rowid()`.\n\n" DOC_PARAMETERS_ DOC_BEGINS_ \
        DOC_ERRORS_ DOC_CANCELLED_
#define DOC_CONN_EXECUTE_FETCHALL                                                       \
    "Runs one statement; gives a list of all its rows.\n\n" DOC_PARAMETERS_ DOC_BEGINS_ \
    "One call, so it is the fastest way to a few rows.\n\n" DOC_ERRORS_ DOC_CANCELLED_
#define DOC_CONN_CURSOR "Gives a Cursor that has run nothing yet."
#define DOC_CONN_COMMIT                                               \
    "Commits the open transaction; does nothing if none is open.\n\n" \
    "`OperationalError` (locked): it is still open and can be committed again. " DOC_SHIELDED_
#define DOC_CONN_ROLLBACK \
    "Undoes what was written in the open transaction; does nothing if none is open.\n\n" DOC_SHIELDED_
#define DOC_CONN_CLOSE                                                               \
    "Closes the connection, after what was started on it before. Twice is fine.\n\n" \
    "A transaction that is open is rolled back. Later calls raise `ValueError`. " DOC_SHIELDED_
#define DOC_CONN_INTERRUPT                                                                                     \
    "Interrupts the statement that runs at this moment, whoever asked for it.\n\n"                             \
    "It ends with `OperationalError` (interrupted). Does not wait for its turn, and does nothing if nothing\n" \
    "runs."

#define DOC_CONN_IN_TRANSACTION \
    "Whether a transaction is open, as of the last statement that finished. Never waits."
#define DOC_CONN_TOTAL_CHANGES \
    "Rows changed since the connection was opened, as of the last statement that finished. Never waits."
#define DOC_CONN_CLOSED "Whether `close()` was called, or opening failed."
#define DOC_CONN_ON_STATEMENT \
    "Is called on the loop with a Statement after each statement that has ended; None: nobody is."
#define DOC_CONN_ISOLATION_LEVEL                                                                                     \
    "Which transaction begins before a statement that writes: \"\" or \"DEFERRED\", \"IMMEDIATE\", \"EXCLUSIVE\";\n" \
    "None: none.\n\n"                                                                                                \
    "Setting it to None commits an open transaction at once, in the thread that does it, and waits there."
#define DOC_CONN_ROW_FACTORY \
    "Makes a row of a cursor and a tuple, on the loop; cursors copy it when they are made. None: tuples."
#define DOC_CONN_TEXT_FACTORY \
    "Makes a value of the bytes of a text, on the loop: `str`, `bytes`, or a function."

#define DOC_CREATE_FUNCTION                                                                                       \
    "Makes `func` a function of SQL under this name; None takes it away.\n\n"                                     \
    "`num_params` is how many arguments it takes, -1 for any number. It may be `async def`: its coroutine runs\n" \
    "on the loop of the task that asked, while the worker waits. `deterministic`: it gives the same for the\n"    \
    "same arguments, so SQLite may use it in indexes. Functions run on a worker, never on the loop."
#define DOC_CREATE_AGGREGATE                                                                                     \
    "Makes a class with `step()` and `finalize()` an aggregate of SQL; None takes it away. Its methods run on\n" \
    "a worker."
#define DOC_CREATE_WINDOW_FUNCTION                                                                                   \
    "Makes a class with `step()`, `inverse()`, `value()` and `finalize()` a window function of SQL; None takes it\n" \
    "away. Its methods run on a worker."
#define DOC_CREATE_COLLATION \
    "Makes `callback(a, b)` an order of texts: below 0, 0 or above 0. None takes it away. It runs on a worker."
#define DOC_SET_AUTHORIZER                                                                                     \
    "Has `authorizer_callback` asked for each access of a statement that is prepared; None takes it away.\n\n" \
    "While there is one, nothing of the connection runs on the loop."
#define DOC_SET_TRACE_CALLBACK                                                             \
    "Calls `handler` with the text of each statement that begins; None takes it away.\n\n" \
    "It runs on a worker; while there is one, nothing of the connection runs on the loop."
#define DOC_SET_PROGRESS_HANDLER                                                                             \
    "Calls `handler` every `n` steps of a statement; a true answer interrupts that. None takes it away.\n\n" \
    "It runs on a worker; while there is one, nothing of the connection runs on the loop."
#define DOC_ENABLE_LOAD_EXTENSION "Allows loading extensions of SQLite, or forbids it."
#define DOC_LOAD_EXTENSION \
    "Loads an extension of SQLite from a file; `enable_load_extension(True)` has to come first."
#define DOC_SERIALIZE   "Gives a database (\"main\", or the name of an attached one) as bytes."
#define DOC_DESERIALIZE "Puts what `serialize()` gave in the place of a database, in memory."
#define DOC_GETLIMIT    "Gives a limit of the connection (`sqlite3.SQLITE_LIMIT_*`)."
#define DOC_SETLIMIT \
    "Sets a limit of the connection (`sqlite3.SQLITE_LIMIT_*`); gives the one before. A limit that is too large is cut."
#define DOC_GETCONFIG "Asks for a switch of the connection (`sqlite3.SQLITE_DBCONFIG_*`)."
#define DOC_SETCONFIG "Sets a switch of the connection (`sqlite3.SQLITE_DBCONFIG_*`)."

#define DOC_BACKUP                                                                                                \
    "Copies the database into another connection, looplite's or `sqlite3`'s.\n\n"                                 \
    "`pages` at a time, all of them if it is not above 0; `progress(status, remaining, total)` is called after\n" \
    "each portion. Between portions others may write; `sleep` is how many seconds it waits when the source\n"     \
    "is locked. Both connections are occupied meanwhile. A cancelled backup ends after a portion."
#define DOC_ITERDUMP                                                                                              \
    "Iterates with `async for` over the SQL that makes the database again, line by line.\n\n"                     \
    "`filter`: LIKE pattern for the names of tables (Python 3.13). What others write in between is seen by the\n" \
    "lines that follow; begin a transaction first for a picture of one moment."
#define DOC_BLOBOPEN                                                    \
    "Opens a value to be read and written in pieces; gives a Blob.\n\n" \
    "`row` is the rowid, `name` the database. The value keeps its size: make room with `zeroblob(n)`."

#define DOC_STOP \
    "Closes without waiting, from any thread, with or without a loop. Gives a future, or None when no loop runs."
#define DOC_START \
    "For programs written for aiosqlite, where a connection is a thread. Nothing is opened before it is awaited."
#define DOC_IS_ALIVE "Whether it was started and has not ended."
#define DOC_JOIN \
    "Blocks the calling thread until the connection has ended, or for `timeout` seconds."
#define DOC_DAEMON \
    "For programs written for aiosqlite. Is kept, and decides nothing: a program always can end."

/* ---- Cursor ------------------------------------------------------------------------------------- */

#define DOC_CURSOR                                                                                                  \
    "The rows of a statement: `async for`, `fetchone()`, `fetchmany()`, `fetchall()`.\n\n"                          \
    "Made by a connection's calls. The first rows are there with the statement, others are read ahead under a\n"    \
    "bound. A cursor that was read to its end, closed or dropped holds nothing; one that is left half read keeps\n" \
    "its read transaction open."

#define DOC_CURSOR_EXECUTE                                                               \
    "Runs one statement; gives this cursor.\n\n" DOC_PARAMETERS_ DOC_BEGINS_ DOC_ERRORS_ \
        DOC_CANCELLED_
#define DOC_CURSOR_EXECUTEMANY \
    "Runs one statement once for each row of parameters; gives this cursor. As `Connection.executemany()`."
#define DOC_CURSOR_EXECUTESCRIPT \
    "Runs any number of statements; gives this cursor. As `Connection.executescript()`."
#define DOC_CURSOR_FETCHONE \
    "Gives the next row, or None. What was read ahead is there without waiting."
#define DOC_CURSOR_FETCHMANY \
    "Gives a list of up to `size` rows, `arraysize` if it is not given; empty at the end."
#define DOC_CURSOR_FETCHALL                       \
    "Gives a list of the rows that are left.\n\n" \
    "They are made in slices of half a millisecond, between which other tasks run."
#define DOC_CURSOR_CLOSE "Ends the statement. Never waits, and twice is fine."
#define DOC_CURSOR_DESCRIPTION \
    "For each column a tuple of its name and six times None; None for a statement that gives no rows."
#define DOC_CURSOR_ROWCOUNT \
    "Rows changed by INSERT, UPDATE, DELETE, REPLACE; for other statements -1."
#define DOC_CURSOR_LASTROWID \
    "The rowid of the row that was inserted last on the connection, after the last `execute()`."
#define DOC_CURSOR_ROW_FACTORY \
    "Makes a row of a cursor and a tuple, on the loop; that of the connection, until it is set. None: tuples."
#define DOC_CURSOR_CONNECTION "The `sqlite3.Connection`."
#define DOC_CURSOR_ARRAYSIZE  "How many rows `fetchmany()` gives if it is not told: 1."
#define DOC_CURSOR_ITER_CHUNK_SIZE \
    "How many rows `async for` asks the cursor of another connector for at once."

/* ---- Blob --------------------------------------------------------------------------------------- */

#define DOC_BLOB                                                                                                               \
    "A value of a table that is read and written in pieces; made by `Connection.blobopen()`.\n\n"                              \
    "`async with` closes it. `await blob[3]` and `await blob[2:8]` read, `set()` writes, `len()` is its size. After its row\n" \
    "was changed otherwise, calls raise `OperationalError`. " DOC_ON_WORKER_
#define DOC_BLOB_READ \
    "Reads up to `length` bytes at the current position, -1 for all that are left; gives bytes."
#define DOC_BLOB_WRITE \
    "Writes bytes at the current position. The size cannot change: `ValueError` beyond the end."
#define DOC_BLOB_SEEK \
    "Moves the current position, counted from the beginning (0), from where it is (1), or from the end (2)."
#define DOC_BLOB_TELL  "Gives the current position."
#define DOC_BLOB_CLOSE "Closes it. Twice is fine."
#define DOC_BLOB_SET \
    "Writes one byte, or a slice of bytes of the same size: `blob[key] = value`, which could not be awaited."

#endif
