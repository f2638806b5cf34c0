"""The pages hold together: links lead somewhere, each is found, and names are those of the code.

The site itself is built by `make docs`, where warnings are errors; this needs nothing but the tree.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import docs_bars  # noqa: E402
import headers  # noqa: E402
import house  # noqa: E402

PAGES = [page for page in house.files(ROOT, ".md") if page.parts[0] == "docs"]
TEXTS = [*PAGES, Path("README.md"), Path("CONTRIBUTING.md"), Path("CHANGELOG.md")]
# Pages for users: what they name has to be there. Those in docs/design speak of the inside, too.
FOR_USERS = [page for page in PAGES if "design" not in page.parts]

_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def prose(page: Path) -> str:
    """A page without its code blocks, lines kept."""

    def blank(m: re.Match[str]) -> str:
        return "\n" * m[0].count("\n")

    text = (ROOT / page).read_text(encoding="utf-8")
    return _COMMENT.sub(blank, _FENCE.sub(blank, text))


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain)).strip("-"))
    return found


@pytest.mark.parametrize("page", TEXTS, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    text = prose(page)
    for m in re.finditer(r"\]\((?!https?:)([^)\s#]*)(?:#([^)\s]*))?\)", text):
        where = f"{page}:{house.line_of(text, m.start())}: {m[0][2:-1]}"
        target = (ROOT / page.parent / m[1]).resolve() if m[1] else ROOT / page
        assert target.exists(), where
        if m[2]:
            assert m[2] in anchors(target.relative_to(ROOT)), where


def test_every_page_is_in_the_navigation_once() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    listed = re.findall(r": (\S+\.md)$", text, re.MULTILINE)
    made = {"changelog.md", "contributing.md"}  # tools/docs_site.py
    pages = {str(page.relative_to("docs")) for page in PAGES} - {"README.md"}
    assert sorted(listed) == sorted(pages | made), "a page gets one line in the nav of mkdocs.yml"


def test_every_page_is_in_the_index_for_readers_of_the_tree() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([^)#]+\.md)\)", index))
    pages = {str(page.relative_to("docs")) for page in PAGES} - {"README.md", "index.md"}
    assert not pages - linked, "a page gets one line in docs/README.md"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_charts_have_results(page: Path) -> None:
    """Each chart that a page asks for has its rows in bench/results, whatever else is there."""
    text = (ROOT / page).read_text(encoding="utf-8")
    made = docs_bars.expanded(text)
    assert text.count("<!-- bars:") == made.count('<div class="bars">')


def test_a_chart_of_nothing_says_so() -> None:
    with pytest.raises(ValueError, match="bench/results has no row tea_breaks"):
        docs_bars.expanded("<!-- bars: tea_breaks -->")


# ---- names ---------------------------------------------------------------------------------------


@functools.cache
def c_names() -> frozenset[str]:
    """What the public headers and the adapters declare, fields as `ll_x.field`."""
    found = set()
    for header in headers.read(ROOT):
        for d in header.declarations:
            found |= {d.name, *re.findall(r"\b(?:ll|LL)_\w+", d.code)}
            found |= {f"{d.name}.{name}" for m in d.members for name in re.findall(r"\w+", m.code)}
    # Macros that a program may set are in the headers' and the amalgamation's conditions.
    for source in (
        *(ROOT / "adapters").glob("*.h"),
        ROOT / "include/looplite/base.h",
        ROOT / "tools/amalgamate.py",
    ):
        found |= set(re.findall(r"\b(?:ll|LL)_\w+", source.read_text(encoding="utf-8")))
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_names_of_c_are_in_the_headers(page: Path) -> None:
    # Pages on the inside speak of structs that are not public, but what they call has to be there.
    pattern = r"\b(?:ll|LL)_\w+(?:\.[a-z]\w*)?\*?" if page in FOR_USERS else r"\bll_\w+(?=\()"
    text = (ROOT / page).read_text(encoding="utf-8")
    unknown = []
    for m in re.finditer(pattern, text):
        name = re.sub(r"\.h$", "", m[0])
        if name.endswith("*") and any(known.startswith(name[:-1]) for known in c_names()):
            continue
        if name not in c_names():
            unknown.append(f"{page}:{house.line_of(text, m.start())}: {name}")
    assert not unknown


# What spans of OpenTelemetry are told, in examples/python/tracing_otel.py.
ATTRIBUTES = {"looplite.where", "looplite.applied"}


def dotted_names(page: Path) -> Iterator[tuple[int, str]]:
    """`looplite.x.y` wherever it stands, paths and hosts left out."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for m in re.finditer(r"(?<![\w/.-])(looplite(?:\.[A-Za-z_]\w*)+)(?![\w/])", text):
        yield house.line_of(text, m.start()), m[1]


@pytest.mark.parametrize("page", FOR_USERS, ids=str)
def test_dotted_names_are_in_the_package(page: Path) -> None:
    for line, name in dotted_names(page):
        if name.endswith((".h", ".map", ".c", ".o", ".pc", ".so")) or name in ATTRIBUTES:
            continue
        parts = name.split(".")
        thing: object = importlib.import_module("looplite")
        for at, part in enumerate(parts[1:], 2):
            if not hasattr(thing, part):
                try:
                    importlib.import_module(".".join(parts[:at]))
                except ImportError as error:
                    if error.name and not error.name.startswith("looplite"):
                        break  # of a framework that is not installed
                    raise AssertionError(f"{page}:{line}: there is no {name}") from error
            thing = getattr(thing, part)


# What pages for users name that is others': a word for each place that it comes from.
OTHERS = {
    "asyncio",
    "contextlib",
    "datetime",
    "multiprocessing",
    "os",
    "pathlib",
    "signal",
    "sqlite3",
    "sys",
    "threading",
    "time",
    "types",
}


@functools.cache
def python_names() -> frozenset[str]:
    """Every name that is defined in the package, and those of Python and its library."""
    found = set(dir(builtins)) | {n for kind in (str, bytes, list, dict) for n in dir(kind)}
    for path in (ROOT / "python/looplite").rglob("*.py*"):
        if path.suffix not in (".py", ".pyi"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found.add(node.name)
            elif isinstance(node, ast.arg):
                found.add(node.arg)
    for name in OTHERS:
        module = importlib.import_module(name)
        for attribute in dir(module):
            found.add(attribute)
            thing = getattr(module, attribute)
            if inspect.isclass(thing):
                found.update(dir(thing))
    return frozenset(found)


# Of SQL, of other libraries, and of fixtures and classes that a reader writes.
ELSEWHERE = {
    *("CAST", "DECIMAL", "TEXT", "account", "julianday", "last_insert_rowid", "total_changes"),
    *(
        "__attribute__",
        "dependency",
        "g_source_set_priority",
        "pwritev2",
        "uv_unref",
        "visibility",
        "zeroblob",
    ),
    *("Decimal", "ZoneInfo", "create_async_engine", "finalize", "looplite_allow", "run_sync"),
}


@pytest.mark.parametrize("page", FOR_USERS, ids=str)
def test_what_is_called_is_there(page: Path) -> None:
    text = prose(page)
    samples = "".join(_FENCE.findall((ROOT / page).read_text(encoding="utf-8")))
    known = python_names() | c_names() | ELSEWHERE | set(re.findall(r"\w+", samples))
    unknown = []
    for span in re.finditer(r"`([^`\n]+)`", text):
        for name in re.findall(r"(?<!\w)([A-Za-z_]\w*)\(", span[1]):
            if name not in known and not name.startswith("sqlite3_"):
                unknown.append(f"{page}:{house.line_of(text, span.start())}: {span[1]}")
    assert not unknown
