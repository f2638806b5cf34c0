"""The man pages: one for each function and type of the headers, in order for mandoc or groff."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import headers  # noqa: E402


def generate(*args: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/gen_man.py"), *args],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of this tree."""
    out = tmp_path_factory.mktemp("man")
    generate(str(out))
    return out


def test_each_function_and_type_has_a_page_that_names_it(folder: Path) -> None:
    for header in [*headers.read(ROOT), *headers.adapters(ROOT)]:
        for d in header.declarations:
            if d.kind in ("macro", "constants") or not d.name.startswith("ll_"):
                continue
            text = (folder / f"man3/{d.name}.3").read_text()
            if alias := re.fullmatch(r"\.so (man3/\w+\.3)\n", text):
                text = (folder / alias[1]).read_text()
            names = text.partition("\n.SH NAME\n")[2].partition(" \\-")[0]
            assert d.name in names.replace("\n", " ").split(", "), d.name


def test_each_constant_stands_on_a_page(folder: Path) -> None:
    pages = "".join(path.read_text() for path in folder.glob("man3/*.3"))
    for header in headers.read(ROOT):
        for d in header.declarations:
            names = [m.code.split()[0].rstrip(",") for m in d.members if d.kind == "constants"]
            for name in names or ([d.name] if d.kind == "macro" else []):
                assert re.search(rf"\b{name}\b", pages), name


def test_a_function_says_everything(folder: Path) -> None:
    text = (folder / "man3/ll_conn_open.3").read_text()
    sections = re.findall(r"^\.SH (.*)$", text, re.MULTILINE)
    assert sections == [
        *("NAME", "SYNOPSIS", "DESCRIPTION", "RETURN VALUE"),
        *("ERRORS", "THREADS", "OWNERSHIP", "SINCE", "SEE ALSO"),
    ]
    assert ".BR ll_open_options (3)" in text
    after_fork = (folder / "man3/ll_conn_unref.3").read_text()
    assert ".SH AFTER FORK\n" in after_fork


def test_the_essay_is_there(folder: Path) -> None:
    text = (folder / "man7/looplite.7").read_text()
    for part in (".SS Guarantees", ".SS <looplite/pool.h>", ".IP 6. 4"):
        assert part in text


def test_the_list_is_what_is_written(folder: Path) -> None:
    listed = generate("--list").split()
    written = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert sorted(listed) == sorted(written)
    assert len(set(listed)) == len(listed)


def test_the_date_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    generate(str(tmp_path))
    assert "1970-01-02" in (tmp_path / "man7/looplite.7").read_text()


def test_the_pages_are_in_order(folder: Path) -> None:
    pages = [p for p in sorted(folder.rglob("*.[37]")) if not p.read_text().startswith(".so ")]
    assert len(pages) > 100
    if shutil.which("mandoc"):
        command = ["mandoc", "-Tlint", "-Wwarning"]
    elif shutil.which("groff"):
        command = ["groff", "-man", "-ww", "-z", "-Tutf8"]
    else:
        pytest.skip("neither mandoc nor groff is here")
    done = subprocess.run(
        [*command, *map(str, pages)], capture_output=True, text=True, check=False, cwd=folder
    )
    assert (done.stdout, done.stderr) == ("", "")


HEADER = """\
/* x.h: things that are counted. */
#define LL_API
#ifdef __cplusplus
extern "C" {
#endif

/* A thing. */
typedef struct ll_x ll_x;

enum {
    LL_X_COLD = 1u << 0, /* stays cold,
                          * whatever comes */
    /* how it moves */
    LL_X_FAST = 1u << 1 /* does not wait */
};

/* Zero-initialise; every zero means "the default". */
typedef struct ll_x_options {
    /* Called once. */
    void (*release)(void *arg);
    int width, height; /* in dots */
    unsigned flags;    /* LL_X_* */
} ll_x_options;

/* Makes one; see `options`.
 *
 * .so it begins, and 'so' with C:\\x
 * Thread: any. Owns: the caller's. Errors: NULL, as ll_y() says. After fork: works. Since: 0.1 */
LL_API ll_x *ll_x_new(const ll_x_options *options);

{more}
#ifdef __cplusplus
}
#endif
"""


def plant(root: Path, more: str) -> None:
    path = root / "include/looplite/x.h"
    path.parent.mkdir(parents=True)
    path.write_text(HEADER.replace("{more}", more))
    (path.parent / "base.h").write_text('/* base.h: x */\n#define LL_VERSION "9.8.7"\n')
    (path.parent.parent / "looplite.h").write_text("/* looplite.h: all. */\n")


def test_what_a_header_may_have(tmp_path: Path) -> None:
    plant(tmp_path, "")
    generate("--root", str(tmp_path), str(tmp_path / "out"))
    text = (tmp_path / "out/man3/ll_x_new.3").read_text()
    assert "looplite 9.8.7" in text
    assert "makes one\n" in text
    assert "\n\\&.so it begins, and 'so' with C:\\ex\n" in text
    assert "\\fIoptions\\fP" in text
    options = (tmp_path / "out/man3/ll_x_options.3").read_text()
    assert "options of ll_x_new()" in options
    assert "LL_X_COLD = 1u << 0,\n    LL_X_FAST = 1u << 1\n" in options.replace("\\-", "-")
    assert "Stays cold, whatever comes.\n" in options
    assert ".PP\nHow it moves.\n.TP\n.B LL_X_FAST" in options
    assert (
        ".B void (*release)(void *arg)\nCalled once.\n.TP\n.B int width, height\nIn dots."
        in options
    )


@pytest.mark.parametrize("more", ["LL_API int other(void);", "typedef int;", "union { int x; };"])
def test_what_cannot_be_made_out_is_an_error(tmp_path: Path, more: str) -> None:
    plant(tmp_path, more)
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/gen_man.py"), "--root", str(tmp_path), "--list"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "include/looplite/x.h:31" in done.stderr, done.stderr
