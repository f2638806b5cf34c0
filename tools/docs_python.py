"""The Python reference of the documentation site: which modules are on which page.

The pages name modules and their members; mkdocstrings puts in what their docstrings and types say
(docs_griffe.py). A name that a module adds to its `__all__` is on its page from then on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "reference"

# Page, title, what it is for, modules. In a module, what is named here comes
# first, and then the rest of its `__all__`.
REFERENCE = [
    (
        "looplite",
        "looplite",
        "Connections and cursors. The exceptions, `Row`, `register_adapter()` and "
        "`register_converter()` are those of `sqlite3` and are described there.",
        ["looplite"],
    ),
    (
        "adapters",
        "looplite.adapters.aiosqlite",
        "Configuration, pool, sessions, results: the interface of SQLSpec's adapter.",
        ["looplite.adapters.aiosqlite", "looplite.base"],
    ),
    ("crud", "looplite.crud", "Helpers for everyday SQL.", ["looplite.crud"]),
    (
        "web",
        "Web frameworks",
        "Plugins and middleware for Litestar, Starlette, FastAPI, aiohttp and Sanic.",
        [
            "looplite.extensions.litestar",
            "looplite.extensions.starlette",
            "looplite.extensions.fastapi",
            "looplite.extensions.aiohttp",
            "looplite.extensions.sanic",
        ],
    ),
    ("events", "looplite.extensions.events", "The job queue.", ["looplite.extensions.events"]),
    (
        "adk",
        "Agents' sessions",
        "The store and the session service for Google's ADK.",
        ["looplite.adapters.aiosqlite.adk", "looplite.extensions.adk"],
    ),
    ("testing", "looplite.testing", "Fixtures for pytest.", ["looplite.testing"]),
    ("exceptions", "looplite.exceptions", "What sessions raise.", ["looplite.exceptions"]),
]
FIRST = {
    "looplite": ["connect", "Connection", "Cursor", "Result", "Blob", "Statement"],
    "looplite.adapters.aiosqlite": ["AiosqliteConfig", "AiosqliteDriver", "SQLResult", "RowStream"],
    "looplite.crud": ["open_db", "get_db", "fetch_all", "fetch_one", "fetch_scalar", "stream"],
    "looplite.extensions.events": ["AsyncEventChannel"],
    "looplite.extensions.litestar": ["SQLSpecPlugin", "AiosqliteStore"],
    "looplite.extensions.starlette": ["SQLSpecPlugin"],
    "looplite.extensions.fastapi": ["SQLSpecPlugin"],
    "looplite.extensions.aiohttp": ["SQLSpecPlugin"],
    "looplite.extensions.sanic": ["SQLSpecPlugin"],
}


def pages() -> Iterator[tuple[str, str]]:
    """Each page's path below docs/, and its text."""
    rows = [f"| [{title}]({name}.md) | {what} |" for name, title, what, _ in REFERENCE]
    head = (
        "# Python reference\n\nMade from the docstrings and types of the package. "
        "The guides show how things are used.\n\n| | |\n|---|---|\n"
    )
    yield f"{FOLDER}/index.md", head + "\n".join(rows) + "\n"
    for name, title, what, modules in REFERENCE:
        text = f"# {title}\n\n{what}\n"
        shown: set[str] = set()
        for module in modules:
            if len(modules) > 1:
                text += f"\n## {module}\n"
            level = 3 if len(modules) > 1 else 2
            defined, offered = members(module)
            for member in offered:
                if member in shown and member not in defined:
                    continue  # the same as further up
                shown.add(member)
                text += f"\n::: {module}.{member}\n    options:\n      heading_level: {level}\n"
        yield f"{FOLDER}/{name}.md", text


def members(module: str) -> tuple[set[str], list[str]]:
    """The classes that a module defines, and the names that it offers and are not `sqlite3`'s."""
    path = ROOT / "python" / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    names: list[str] = []
    defined: set[str] = set()
    foreign: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name("__all__")], value=value):
                names = ast.literal_eval(value)
            case ast.ClassDef(name=name):
                defined.add(name)
            case ast.ImportFrom(module="sqlite3", names=imported):
                foreign = {a.name for a in imported}
    if not names:
        raise ValueError(f"{module} has no __all__: what is to be shown of it?")
    first = FIRST.get(module, [])
    if unknown := set(first) - set(names):
        raise ValueError(f"{module} does not have {', '.join(sorted(unknown))}")
    rest = [n for n in names if n not in first and n not in foreign and not n.startswith("__")]
    return defined, [*first, *rest]
