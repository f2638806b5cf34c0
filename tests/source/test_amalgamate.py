"""tools/amalgamate.py makes one source of many: on a small tree in which everything clashes.

That our own tree comes out right is seen by tools/consumers.sh, which compiles and runs it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Werror", "-Wno-unused-parameter"]

HEADER = """
/* small.h: a public header. */
#ifndef SMALL_H
#define SMALL_H
#include <looplite/base.h>
int ll_%(name)s(int n);
#endif
"""

TREE = {
    "include/looplite.h": (
        "/* looplite.h: all of them. */\n#ifndef LOOPLITE_H\n#define LOOPLITE_H\n"
        "#include <looplite/base.h>\n#include <looplite/one.h>\n#include <looplite/two.h>\n#endif\n"
    ),
    "include/looplite/base.h": (
        "/* base.h: what all need. */\n#ifndef BASE_H\n#define BASE_H\n#include <stddef.h>\n"
        '#define LL_VERSION "1.2.3"\n#define LL_VERSION_MAJOR 1\n#define LL_VERSION_MINOR 2\n'
        "#define LL_VERSION_PATCH 3\n#endif\n"
    ),
    "include/looplite/one.h": HEADER.replace("SMALL", "ONE") % {"name": "one"},
    "include/looplite/two.h": HEADER.replace("SMALL", "TWO") % {"name": "two"},
    "include/looplite/sqlite.h": (
        "/* sqlite.h: needs more. */\n#ifndef LL_SQLITE_H\n#define LL_SQLITE_H\n"
        "#include <looplite/base.h>\n#include <sqlite3.h>\nint ll_handle(sqlite3 *db);\n#endif\n"
    ),
    "src/base/shared.h": """
/* shared.h: what the sources share. */
#ifndef LLI_SHARED_H
#define LLI_SHARED_H
#include <looplite/base.h>
#define LLI_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
struct lli_link {
    struct lli_link *next;
};
struct lli_thing {
    int run; /* also the name of a function, in two sources */
    struct lli_link link;
};
extern int lli_total;
extern int (*const lli_twice)(int n);
int lli_add(struct lli_thing *thing, int n);
#endif
""",
    "src/base/one.c": """
/* one.c: has everything for itself. */
#include "base/shared.h"
#include <looplite.h>
#define LIMIT 3
enum { FIRST, SECOND };
struct state {
    int run;
    int count;
};
typedef int (*step_fn)(int n);
static int table[] = {1, 2, 3};
static struct { int link; } link = {4};
int lli_total;
static int run(int n)
{
    return n + table[SECOND] + link.link;
}
static int twice(int n)
{
    return 2 * n;
}
int (*const lli_twice)(int n) = twice;
int lli_add(struct lli_thing *thing, int n)
{
    struct state state = {.run = n};
    thing->run += state.run;
    lli_total += LLI_CONTAINER_OF(&thing->link, struct lli_thing, link)->run;
    return thing->run;
}
int ll_one(int n)
{
    step_fn step = run;
    return step(n) + LIMIT; /* run("a \\"run\\" in a text") */
}
""",
    "src/platform/two.c": """
/* two.c: has the same names for other things. */
#include "base/shared.h"
#include <looplite.h>
#ifdef __linux__
#include <unistd.h>
#define LIMIT 30
enum { SECOND = 200 };
struct state {
    double count;
};
typedef struct state step_fn;
static int run(struct lli_thing *thing, int table)
{
    thing->run = table;
    return lli_add(thing, LIMIT);
}
int ll_two(int n)
{
    struct lli_thing thing = {.run = 0, .link = {NULL}};
    step_fn state = {.count = 0.5};
    int link = run(&thing, n);
    return link + SECOND + (state.count > 0) + lli_total + lli_twice(n) + (getpid() == 0);
}
#endif
""",
    "src/db/api_linked.c": "/* a. */\nint ll_handle(sqlite3 *db)\n{\n    return db != NULL;\n}\n",
    "src/db/api_unlinked.c": "/* b. */\nint ll_handle(sqlite3 *db)\n{\n    return -1;\n}\n",
    **{
        f"src/{layer}/meson.build": f"{layer}_src = files({names})\n"
        for layer, names in {
            "base": "'one.c'",
            "platform": "'two.c'",
            "db": "",
            "engine": "",
            "service": "",
        }.items()
    },
}

PROGRAM = """
#include "looplite.h"
#include <stdio.h>
int lli_total(void);
int lli_total(void) { return 0; }
int main(void)
{
    printf("%d %d\\n", ll_one(10), ll_two(5));
    return 0;
}
"""


def plant(root: Path, **changes: str) -> None:
    for name, text in (TREE | {k.replace("__", "/"): v for k, v in changes.items()}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def amalgamate(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "tools/amalgamate.py"), "--root", str(root), str(out)],
        capture_output=True,
        text=True,
        check=False,
    )


def compiled(out: Path, *args: str) -> str:
    done = subprocess.run(
        [
            "gcc",
            "-std=c11",
            *WARNINGS,
            "-I.",
            *args,
        ],
        cwd=out,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr


def test_what_clashes_is_told_apart(tmp_path: Path) -> None:
    plant(tmp_path / "tree")
    out = tmp_path / "out"
    done = amalgamate(tmp_path / "tree", out)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in out.iterdir()} == {"looplite.c", "looplite.h", "looplite_sqlite.h"}
    (out / "program.c").write_text(PROGRAM)
    assert compiled(out, "-c", "looplite.c") == ""
    assert compiled(out, "program.c", "looplite.o", "-o", "program") == ""
    ran = subprocess.run([out / "program"], capture_output=True, text=True, check=True)
    # 10 + 2 + 4 + 3; 35 + 200 + 1 + 35 + 10
    assert ran.stdout == "19 281\n"
    names = subprocess.run(
        ["nm", "--defined-only", "--extern-only", "--format=posix", "looplite.o"],
        cwd=out,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert {line.split()[0] for line in names.splitlines()} == {"ll_one", "ll_two", "ll_handle"}
    assert 'run("a \\"run\\" in a text")' in (out / "looplite.c").read_text()


def test_each_way_to_sqlite(tmp_path: Path) -> None:
    plant(tmp_path / "tree")
    out = tmp_path / "out"
    assert amalgamate(tmp_path / "tree", out).returncode == 0
    for define in ("-DNDEBUG", "-DLL_SQLITE_UNLINKED"):
        assert compiled(out, define, "-fsyntax-only", "looplite.c") == ""
    # the main header needs no sqlite3.h, and says that it is of another release
    (out / "sqlite3.h").write_text("#error not wanted\n")
    assert compiled(out, "-fsyntax-only", "looplite.h") == ""
    header = out / "looplite.h"
    header.write_text(header.read_text().replace("LL_VERSION_MINOR 2", "LL_VERSION_MINOR 3"))
    assert "looplite.c is 1.2.3, looplite.h is not" in compiled(out, "-fsyntax-only", "looplite.c")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("src__db__meson.build", "other = files('x.c')\n", "src/db/meson.build has no db_src"),
        (
            "include__looplite__one.h",
            "/* one.h */\n#include <sqlite3.h>\n",
            "looplite.h includes looplite/one.h, which needs sqlite3.h",
        ),
    ],
)
def test_what_it_refuses(tmp_path: Path, name: str, text: str, said: str) -> None:
    plant(tmp_path / "tree", **{name: text})
    done = amalgamate(tmp_path / "tree", tmp_path / "out")
    assert done.returncode != 0
    assert said in done.stderr
