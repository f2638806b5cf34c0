"""The house rules hold in this tree, and the scripts that check them find what breaks them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(script: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / script), *args],
        capture_output=True,
        text=True,
        check=False,
    )


def plant(root: Path, contents: dict[str, str]) -> None:
    """Writes files into an otherwise empty tree."""
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("script", ["check_layers.py", "check_headers.py", "check_files.py"])
def test_this_tree_keeps_the_rules(script: str) -> None:
    done = run(script)
    assert done.returncode == 0, done.stderr


def test_the_symbol_map_lists_the_declared_functions() -> None:
    done = run("check_exports.py", "--map-only")
    assert done.returncode == 0, done.stderr


def test_the_built_library_exports_the_symbol_map() -> None:
    if not (ROOT / "build/plain/src/liblooplite.so").exists():
        pytest.skip("liblooplite is not built here (tools/build.sh plain)")
    done = run("check_exports.py")
    assert done.returncode == 0, done.stderr


PURPOSE = "/* A file that is there to be looked at. */\n"


@pytest.mark.parametrize(
    ("where", "included", "word"),
    [
        ("src/base/x.c", '"engine/e.h"', "must not include src/engine"),
        ("src/db/x.c", '"../engine/e.h"', "must not include src/engine"),
        ("src/engine/x.c", "<sqlite3.h>", "must not include sqlite3.h"),
        ("src/odd/x.c", "<stdio.h>", "is no layer"),
        ("include/x.h", '"engine/e.h"', "must not include src/engine"),
        ("adapters/x.h", '"engine/e.h"', "must not include src/engine"),
        ("python/_core/x.c", '"engine/e.h"', "must not include src/engine"),
        ("src/base/x.c", '"nowhere.h"', "no file of ours"),
    ],
)
def test_an_include_upwards_is_found(tmp_path: Path, where: str, included: str, word: str) -> None:
    plant(tmp_path, {"src/engine/e.h": PURPOSE, where: f"{PURPOSE}#include {included}\n"})
    done = run("check_layers.py", "--root", str(tmp_path))
    assert done.returncode == 1
    assert word in done.stderr


def test_an_include_downwards_is_fine(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "src/base/b.h": PURPOSE,
            "src/db/d.h": "#include <sqlite3.h>\n",
            "src/engine/e.c": '#include "db/d.h"\n/* #include "service/s.h" */\n',
            "tests/c/engine/test_e.c": '#include "db/d.h"\n#include <sqlite3.h>\n',
        },
    )
    done = run("check_layers.py", "--root", str(tmp_path))
    assert done.returncode == 0, done.stderr


HEADER = """/* A public header for this test. */
#define LL_API
{comment}
LL_API int ll_x_new({parameters});
"""
COMMENT = "/* Makes an x.\n * Thread: any. Owns: nothing. Errors: none. Since: 0.1. */"


def test_a_declaration_with_its_block_is_fine(tmp_path: Path) -> None:
    plant(tmp_path, {"include/x.h": HEADER.format(comment=COMMENT, parameters="void")})
    done = run("check_headers.py", "--root", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "1 declarations" in done.stdout


@pytest.mark.parametrize(
    ("comment", "parameters", "word"),
    [
        ("", "void", "no comment block"),
        (COMMENT + "\nstruct y;", "void", "no comment block"),
        (COMMENT.replace("Owns:", "Has:"), "void", "lacks Owns:"),
        (COMMENT, "size_t n", "does not compile alone as c"),
        (COMMENT, "int class", "does not compile alone as c++"),
    ],
)
def test_a_bad_public_header_is_found(
    tmp_path: Path, comment: str, parameters: str, word: str
) -> None:
    plant(tmp_path, {"include/x.h": HEADER.format(comment=comment, parameters=parameters)})
    done = run("check_headers.py", "--root", str(tmp_path))
    assert done.returncode == 1
    assert word in done.stderr


@pytest.mark.parametrize(
    ("names", "word"),
    [
        ("ll_x_new; ll_y;", "ll_y is in the map, not in the headers"),
        ("", "ll_x_new is in the headers, not in the map"),
    ],
)
def test_a_wrong_symbol_map_is_found(tmp_path: Path, names: str, word: str) -> None:
    plant(
        tmp_path,
        {
            "include/x.h": HEADER.format(comment=COMMENT, parameters="void"),
            "src/looplite.map": f"V0 {{ global: {names} local: *; }};",
        },
    )
    done = run("check_exports.py", "--map-only", "--root", str(tmp_path))
    assert done.returncode == 1
    assert word in done.stderr


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("x.c", "int x;\n", "states its purpose"),
        ("x.py", "x = 1\n", "states its purpose"),
        ("x.sh", "#!/bin/sh\ntrue\n", "states its purpose"),
        ("x.h", PURPOSE + "\n" * 901, "more than 900"),
        ("x.md", "see /" + "home/me/x", "a path of one machine"),
        ("x.md", "from py" + "pi.org", "the host of a package registry"),
    ],
)
def test_a_file_against_the_rules_is_found(tmp_path: Path, name: str, text: str, word: str) -> None:
    plant(tmp_path, {name: text})
    done = run("check_files.py", "--root", str(tmp_path))
    assert done.returncode == 1
    assert word in done.stderr
