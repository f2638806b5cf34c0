"""Spike: which way fills the table here?  See table_hosts.sh, which runs it in each host.

Run: PYTHONPATH=<folder of table_probe.so> python3 table_ask.py [module name] [global:<file>] [late:<file>] [force]
Prints each way with: members missing, files they come from, version, file, proof.
"global:<file>" first loads another SQLite into the global scope, to be misled by.
"late:<file>" does so after the module is imported.
"force" asks for the proof even of a copy that is plainly another one.
"""
import ctypes
import importlib
import os
import sys

name = sys.argv[1] if len(sys.argv) > 1 else "_sqlite3"


def show_globally(when):
    for a in sys.argv[2:]:
        if a.startswith(when):
            ctypes.CDLL(a.removeprefix(when), mode=ctypes.RTLD_GLOBAL)


show_globally("global:")
mod = importlib.import_module(name)
show_globally("late:")
import table_probe as p  # noqa: E402

Conn = mod.Connection


def connect():
    return Conn(":memory:")


FORCE = "force" in sys.argv
source = connect().execute("select sqlite_source_id()").fetchone()[0]


def tell(way, r):
    if isinstance(r, tuple):
        # never call into a copy that is not the one the module answers with
        same = r[4] == source and r[0] == 0
        proof = p.prove(connect) if same or FORCE else "not tried, source id differs or too old"
        r = (*r[:3], os.path.basename(r[3]), f"fired={proof}")
    print(f"  {way}:", r)


def attempt(way, fn):
    try:
        tell(way, fn())
    except Exception as e:
        print(f"  {way}: {type(e).__name__}: {e}")


file = getattr(mod, "__file__", None)
code, is_main = p.code_file(mod.connect)
print(f"{name} sqlite {mod.sqlite_version}, file {file and os.path.basename(file)},",
      f"code in {os.path.basename(code)}{' (the program)' if is_main else ''}")
attempt("2 dlsym(RTLD_DEFAULT)", lambda: p.by_dlsym(None))
if file:
    attempt("1 dlsym through the module's file", lambda: p.by_dlsym(file))
if not is_main:
    attempt("1b dlsym through the file of its code", lambda: p.by_dlsym(code))


def load():
    c = connect()
    c.enable_load_extension(True)
    c.load_extension(p.__file__)
    c.close()
    return p.by_api()


attempt("3 own file as an extension", load)
