"""Spike: questions about adopting a sqlite3.Connection; see adopt_probe.c for the build.

Run: PYTHONPATH=<folder of adopt_probe.so> python3 adopt_probe.py
Prints one "question: answer" line each; differences between Python versions are
found by running it under each and comparing the outputs.
"""
import gc
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings

import _sqlite3
import adopt_probe as p

warnings.simplefilter("ignore")  # 3.13 warns of connections that were not closed
tmp = tempfile.mkdtemp()
V = sys.version_info


def say(q, *a):
    print(f"{q}:", *a)


def path(name, content="create table t(x); insert into t values(1),(2),(3)"):
    f = os.path.join(tmp, name)
    c = sqlite3.connect(f)
    c.executescript(content)
    c.close()
    return f


def adopt(uri, **kw):
    kw = {"uri": True, "check_same_thread": False, "timeout": 0, **kw}
    conn, exc, dbs = p.armed(lambda: sqlite3.connect(uri, **kw))
    return conn, exc, dbs


def show(exc):
    return f"{type(exc).__name__}({exc})" if exc is not None else "-"


# -- calls on the object while another thread steps with a Python function: children, they may hang
MEANWHILE = {
    "close": lambda c: c.close(), "execute": lambda c: c.execute("select 1").fetchall(),
    "create_function": lambda c: c.create_function("g", 0, None), "commit": lambda c: c.commit(),
    "set_progress_handler": lambda c: c.set_progress_handler(None, 1),
    "set_authorizer": lambda c: c.set_authorizer(None), "interrupt": lambda c: c.interrupt(),
    "set_trace_callback": lambda c: c.set_trace_callback(None), "in_transaction": lambda c: c.in_transaction,
    "total_changes": lambda c: c.total_changes,
}
if len(sys.argv) > 1 and sys.argv[1] in MEANWHILE:
    p.fill(_sqlite3.__file__)
    conn, exc, (db,) = adopt(f"file:{sys.argv[2]}")
    conn.create_function("f", 1, lambda x: x)
    _, st = p.prepare(db, "with recursive c(i) as (select 1 union all select i+1 from c where i<300000) select sum(f(i)) from c")
    t = threading.Thread(target=lambda: p.step(st))
    t.start()
    time.sleep(0.02)
    MEANWHILE[sys.argv[1]](conn)
    t.join()
    os._exit(0)

# -- exit with a running foreign thread: run as children of this script ------
if len(sys.argv) > 1:
    p.fill(_sqlite3.__file__)
    uri = "file:" + sys.argv[2]

    def once():
        sqlite3.connect(uri, uri=True, check_same_thread=False).execute("select 1").fetchall()

    p.start_loop(once)
    time.sleep(0.05)
    if sys.argv[1] == "atexit":
        import atexit
        atexit.register(p.join_loop)
    elif sys.argv[1] == "threading":
        threading._register_atexit(p.join_loop)
    sys.exit(0)

say("python", ".".join(map(str, V[:3])), "sqlite", sqlite3.sqlite_version,
    "enable_load_extension", hasattr(sqlite3.Connection, "enable_load_extension"))
say("fill missing", p.fill(_sqlite3.__file__))
p.vfs_make()
f = path("a.db")

# -- getting the handle ------------------------------------------------------
conn, exc, dbs = adopt(f"file:{f}?vfs=probe")
say("plain: handles, error, vfs", len(dbs), show(exc), p.vfs_name(dbs[0]))
say("plain: word after PyObject_HEAD is the handle", p.head(conn) == dbs[0])
say("plain: opens (probe, probe2)", p.vfs_counts())
say("plain: autocommit, txn, changes, mutex", p.state(dbs[0]))
conn.close()
say("plain: that word after close()", p.head(conn))

for label, uri in [
    (":memory:", "file::memory:?vfs=probe"), ("empty name", "file:?vfs=probe"),
    ("bytes", f"file:{f}?vfs=probe".encode()),
    ("vfs twice", f"file:{f}?vfs=probe&vfs=probe2"),
    ("unknown vfs", f"file:{f}?vfs=nosuch"),
    ("no such folder", f"file:{tmp}/none/x.db?vfs=probe"),
    ("a folder", f"file:{tmp}?vfs=probe"),
    ("memdb", "file:/m1?vfs=memdb"), ("shared cache", "file::memory:?cache=shared"),
    ("//path unquoted", f"file:/{f}?vfs=probe"), ("//path after //", f"file:///{f}?vfs=probe"),
]:
    conn, exc, dbs = adopt(uri)
    say(f"{label}: handles, error, vfs", len(dbs), show(exc),
        p.vfs_name(dbs[0]) if conn and dbs else "")
    if conn:
        conn.close()
odd = os.fsencode(tmp) + b"/\xff%23 b.db"
conn, exc, dbs = adopt(b"file:" + os.fsencode(tmp) + b"/%FF%2523%20b.db?vfs=probe")
say("bytes not UTF-8: error", show(exc))
if conn:
    conn.execute("create table t(x)")
    say("bytes not UTF-8: file made under its name", os.path.exists(odd))
    conn.close()
bad = os.path.join(tmp, "bad.db")
open(bad, "wb").write(b"not a database" * 100)
conn, exc, dbs = adopt(f"file:{bad}?vfs=probe")
say("not a database: handles, error at connect", len(dbs), show(exc))

for iso in ["", None, "IMMEDIATE"]:
    conn, exc, dbs = adopt(f"file:{f}?vfs=probe", isolation_level=iso)
    say(f"isolation_level={iso!r}: state", p.state(dbs[0]))
    conn.close()
conn, exc, dbs = adopt(f"file:{f}?vfs=probe", isolation_level="BOGUS")
say("isolation_level='BOGUS': handles, error", len(dbs), show(exc))
del conn
if V >= (3, 12):
    for ac in [True, False, sqlite3.LEGACY_TRANSACTION_CONTROL]:
        conn, exc, dbs = adopt(f"file:{f}?vfs=probe", autocommit=ac)
        say(f"autocommit={ac!r}: state", p.state(dbs[0]), "statements", p.statements(dbs[0]))
        conn.close()
    conn, exc, dbs = adopt(f"file:{f}?vfs=probe", autocommit=7)
    say("autocommit=7: handles, error", len(dbs), show(exc))
    conn, exc, dbs = adopt(f"file:{bad}?vfs=probe", autocommit=False)
    say("autocommit=False, not a database", len(dbs), show(exc))


# -- factories -----------------------------------------------------------------
class Sub(sqlite3.Connection):
    def __init__(self, database, **kw):
        Sub.seen = database
        super().__init__(database, **kw)


class Late(sqlite3.Connection):
    def __init__(self, *a, **kw):
        super().__init__(*a, **kw)
        raise ValueError("after open")


class Two(sqlite3.Connection):
    def __init__(self, *a, **kw):
        self.side = sqlite3.connect(":memory:")
        super().__init__(*a, **kw)
        self.side2 = sqlite3.connect(":memory:")


class Again(sqlite3.Connection):
    def __init__(self, *a, **kw):
        super().__init__(*a, **kw)
        super().__init__(*a, **kw)


for cls in (Sub, Late, Two, Again):
    conn, exc, dbs = adopt(f"file:{f}?vfs=probe", factory=cls)
    where = [i for i, d in enumerate(dbs) if conn is not None and p.head(conn) == d]
    say(f"factory {cls.__name__}: handles, error, which is the connection's", len(dbs), show(exc), where)
    if conn:
        conn.close()
say("factory Sub saw the URI, not the user's path", str(Sub.seen).startswith("file:"))
conn, exc, dbs = adopt(f"file:{f}", factory=lambda *a, **k: 42)
say("factory not a Connection: handles, error", len(dbs), show(exc), conn)
del conn
p.refuse_opens(True)
conn, exc, dbs = adopt(f"file:{f}?vfs=probe")
say("an auto-extension after ours fails: handles (dangling), error", len(dbs), show(exc))
p.refuse_opens(False)

# -- another thread opens meanwhile -----------------------------------------------
before = p.elsewhere()


def two_threads():
    t = threading.Thread(target=lambda: sqlite3.connect(":memory:").close())
    t.start()
    t.join()
    return sqlite3.connect(f)


conn, exc, dbs = p.armed(two_threads)
say("a connect in another thread: own handles, fired there", len(dbs), p.elsewhere() - before)
conn.close()

# -- statements beside pysqlite's ---------------------------------------------------
conn, exc, (db,) = adopt(f"file:{f}?vfs=probe", isolation_level="")
p.notice(db)
rc, ins = p.prepare(db, "insert into t values(9)")
_, beg = p.prepare(db, "begin")
p.step(beg)
say("in_transaction after our BEGIN", conn.in_transaction)
p.step(ins)
say("total_changes after our INSERT", conn.total_changes)
say("pysqlite sees our row", conn.execute("select count(*) from t").fetchone())
conn.execute("insert into t values(10)")
conn.rollback()
say("after conn.rollback(): autocommit", p.state(db)[0])
p.finalize(ins), p.finalize(beg)
conn.execute("insert into t values(11)")
say("state after pysqlite's own BEGIN + INSERT", p.state(db))
_, com = p.prepare(db, "commit")
say("our COMMIT, then in_transaction", p.step(com), conn.in_transaction)
p.finalize(com)
n = p.statements(db)
conn.execute("select 77").fetchall()
say("pysqlite's statement cache keeps a statement", p.statements(db) - n)
_, sel = p.prepare(db, "select x from t")
p.step(sel)
conn.execute("insert into t values(12)")
conn.rollback()
say("our live read after conn.rollback(): step, finalize", p.step(sel), p.finalize(sel))
_, sel = p.prepare(db, "select x from t")
p.step(sel)
try:
    conn.execute("drop table t")
    conn.rollback()
    say("DROP beside our live read", "ok")
except sqlite3.Error as e:
    say("DROP beside our live read", show(e))
p.finalize(sel)
p.take_hits()
conn.close()
say("close, ours finalized before: freed", p.take_hits())

# -- close order ---------------------------------------------------------------------
for how in ("close", "dealloc"):
    conn, exc, (db,) = adopt(f"file:{f}?vfs=probe")
    p.notice(db), p.hooks(db)
    _, sel = p.prepare(db, "select x from t")
    p.step(sel), p.take_hits()
    if how == "close":
        conn.close()
        say("close: word after PyObject_HEAD", p.head(conn))
    del conn
    gc.collect()
    say(f"{how} with our live statement: hooks", p.take_hits())
    say(f"{how}: step of it", p.step(sel))
    say(f"{how}: prepare on the handle", p.prepare(db, "select 1")[0])
    fds = [os.readlink(f"/proc/self/fd/{x}") for x in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{x}")]
    say(f"{how}: file still open", f in fds)
    other = sqlite3.connect(f, timeout=0, isolation_level=None)
    try:
        other.execute("insert into t values(5)")
        say(f"{how}: another writer", "ok")
    except sqlite3.Error as e:
        say(f"{how}: another writer", show(e))
    other.close()
    say(f"{how}: finalize, then hooks", p.finalize(sel), p.take_hits())
for what in ("live read", "reset write in a transaction"):
    conn, exc, (db,) = adopt(f"file:{f}?vfs=probe", isolation_level=None)
    p.notice(db), p.end_on_close(db)
    if what == "live read":
        _, st = p.prepare(db, "select x from t")
    else:
        conn.execute("begin immediate")
        _, st = p.prepare(db, "insert into t values(5)")
    p.step(st), p.take_hits()
    conn.close()
    say(f"close, {what}, close trace finalizes ours: hooks", p.take_hits())
    other = sqlite3.connect(f, timeout=0, isolation_level=None)
    other.execute("insert into t values(5)")
    say("  another writer", "ok")
    other.close()
conn, exc, (db,) = adopt(f"file:{f}?vfs=probe")
p.notice(db), p.end_on_close(db)
_, st = p.prepare(db, "select x from t")
p.step(st)
cur = conn.execute("select x from t")
cur.fetchone(), p.take_hits()
conn.close()
say("close with our and a half-read pysqlite cursor, close trace: hooks", p.take_hits())
try:
    say("  the cursor then", cur.fetchone())
except sqlite3.Error as e:
    say("  the cursor then", show(e))
del cur
gc.collect()
say("  cursor dropped: hooks", p.take_hits())

# a worker is inside step when the object is closed
conn, exc, (db,) = adopt(f"file:{f}?vfs=probe")
p.notice(db)
_, st = p.prepare(db, "with recursive c(i) as (select 1 union all select i+1 from c where i<3000000) select count(*) from c")
got, ticks, done = [], [], []
worker = threading.Thread(target=lambda: got.append((p.step(st), time.monotonic())))
ticker = threading.Thread(target=lambda: [(ticks.append(time.monotonic()), time.sleep(0.01)) for _ in iter(lambda: not done, False)])
worker.start(), ticker.start()
time.sleep(0.05)
t0 = time.monotonic()
conn.close()
t1 = time.monotonic()
worker.join(), done.append(1), ticker.join()
say("close while another thread is in step: close came after the step", t1 + 0.002 > got[0][1],
    "step", got[0][0], "close waited", t1 - t0 > 0.05)
say("  other Python threads ran meanwhile", sum(t0 + 0.01 < x < t1 - 0.01 for x in ticks) > 2)
say("  finalize, hooks", p.finalize(st), p.take_hits())
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    conn, exc, dbs = adopt(f"file:{f}?vfs=probe")
    del conn
    gc.collect()
    say("dealloc without close warns", [w.category.__name__ for w in seen])
if V >= (3, 12):
    conn, exc, (db,) = adopt(f"file:{f}?vfs=probe", autocommit=False)
    _, ins = p.prepare(db, "insert into t values(99)")
    p.step(ins)
    say("autocommit=False: our INSERT, then state", p.state(db))
    p.finalize(ins)
    conn.close()
    say("autocommit=False: close() rolled it back",
        sqlite3.connect(f).execute("select count(*) from t where x=99").fetchone())
conn, exc, (db,) = adopt(f"file:{f}?vfs=probe", isolation_level=None)
p.notice(db)
_, beg = p.prepare(db, "begin immediate")
p.step(beg)
conn.close()  # in a transaction, our BEGIN reset by nobody: it is done, not live
say("close in a transaction with our finished statement kept: hooks", p.take_hits())
other = sqlite3.connect(f, timeout=0, isolation_level=None)
try:
    other.execute("insert into t values(5)")
    say("  another writer", "ok")
except sqlite3.Error as e:
    say("  another writer", show(e))
other.close()
say("  finalize, hooks", p.finalize(beg), p.take_hits())

# -- hooks replaced through the object --------------------------------------------------
lock = sqlite3.connect(f, isolation_level=None)
lock.execute("begin exclusive")
slow = "with recursive c(i) as (select 1 union all select i+1 from c where i<200) select count(*) from c"


def probe_hooks(conn):
    p.take_hits()
    try:
        conn.execute("select count(*) from t").fetchone()
    except sqlite3.Error:
        pass
    conn.execute(slow).fetchall()
    return {k: 1 for k in p.take_hits()}


conn, exc, (db,) = adopt(f"file:{f}?vfs=probe")
p.hooks(db)
say("hooks as installed", probe_hooks(conn))
p.hooks(db), conn.execute("pragma busy_timeout=1")
say("after PRAGMA busy_timeout", probe_hooks(conn))
p.hooks(db), conn.set_progress_handler(lambda: 0, 5)
say("after set_progress_handler", probe_hooks(conn))
p.hooks(db), conn.set_authorizer(lambda *a: 0)
say("after set_authorizer", probe_hooks(conn))
p.hooks(db), conn.set_trace_callback(lambda s: None)
say("after set_trace_callback", probe_hooks(conn))
p.hooks(db)
calls = []
conn.set_progress_handler(lambda: calls.append("p"), 5)
conn.set_trace_callback(lambda s: calls.append("t"))
p.hooks(db)
conn.execute(slow).fetchall()
say("ours put back over the user's: user's still called", sorted(set(calls)))
conn.close()
lock.close()

# -- threads ----------------------------------------------------------------------------
r = p.in_thread(lambda: (sqlite3.connect(f"file:{f}?vfs=probe", uri=True, check_same_thread=False), threading.current_thread().name))
(conn, name), exc, dbs = r
say("foreign thread: handles, head matches, thread name", len(dbs), p.head(conn) == dbs[0], name.split("-")[0])
_, st = p.prepare(dbs[0], "select count(*) from t")
say("foreign thread: used from the main thread", p.step(st)[0], conn.execute("select 1").fetchone())
p.finalize(st)
conn.close()
for how in ("none", "atexit", "threading"):
    outs = set()
    for _ in range(5):
        try:
            r = subprocess.run([sys.executable, __file__, how, f], capture_output=True, text=True, timeout=20)
            outs.add((r.returncode, r.stdout, r.stderr[-300:]))
        except subprocess.TimeoutExpired:
            outs.add(("hang", "", ""))
    say(f"exit with a foreign thread, join by {how}", sorted(map(str, outs)))

hung = []
for what in MEANWHILE:
    try:
        subprocess.run([sys.executable, __file__, what, f], timeout=4, capture_output=True)
    except subprocess.TimeoutExpired:
        hung.append(what)
say("calls that deadlock with a step that runs a Python function", hung, "others do not", [w for w in MEANWHILE if w not in hung])

# -- without load_extension ---------------------------------------------------------------
m = sqlite3.connect(":memory:")
if V >= (3, 12):
    m.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, True)
try:
    m.execute("select load_extension('nosuch')")
except sqlite3.Error as e:
    say("SELECT load_extension" + (" after setconfig" if V >= (3, 12) else ""), show(e))
