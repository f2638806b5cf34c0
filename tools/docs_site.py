"""What the documentation site needs beside the pages in docs/: hooks of MkDocs (mkdocs.yml).

- Adds pages: the C reference (docs_c.py), the Python reference (mkdocstrings reads the docstrings),
  what was measured (bench/results), CHANGELOG.md and CONTRIBUTING.md, and for each file of the tree
  that a page links to, a page that shows it.
- Lets links lead there. In docs/ they are relative paths of the tree, so that they work where the
  tree is read as well.
- Gives each sample the name of the example that it stands in as a title.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import docs_c
import headers
import house
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent

# The Python reference: page, title, what it is for, modules. In a module, what is named here comes
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

# Files of the tree that have a page of their own on the site.
PAGES = {
    "README.md": "readme.md",
    "docs/README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "include/looplite": f"{docs_c.FOLDER}/index.md",
    "include/looplite.h": f"{docs_c.FOLDER}/index.md",
    "bench/results": "benchmarks.md",
}

_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
_SAMPLE = re.compile(r"^<!-- (\S+) -->\n```(\w+)$", re.MULTILINE)
_NUMBERS = re.compile(r"<!-- numbers:begin -->\n(.*?)<!-- numbers:end -->", re.DOTALL)
_ELSEWHERE = re.compile(
    r"""<(?:script|img|iframe|link\b(?![^>]*canonical))\b[^>]*["']https?://[^>]*>"""
)
_BARS = re.compile(r"<!-- bars: ([\w ]+) -->")
_LANGUAGES = {".py": "python", ".c": "c", ".h": "c", ".sh": "sh", ".toml": "toml"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the pages that are made into the navigation, where it names their folder."""
    made = {
        f"{docs_c.FOLDER}/": [uri for uri, _ in docs_c.pages(_headers())],
        "reference/": [uri for uri, _ in _python_reference()],
    }

    def expand(entry: Any) -> Any:
        if isinstance(entry, list):
            return [expand(e) for e in entry]
        if isinstance(entry, dict):
            return {title: expand(e) for title, e in entry.items()}
        return made.get(entry, entry)

    config.nav = expand(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made."""

    def add(uri: str, text: str, source: str = "") -> None:
        file = File.generated(config, uri, content=text)
        file.repo_path = source or f"docs/{uri}"
        files.append(file)

    for uri, text in docs_c.pages(_headers()):
        add(uri, text)
    for uri, text in _python_reference():
        add(uri, text)
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        add(PAGES[name], (ROOT / name).read_text(encoding="utf-8"), name)
    for path in sorted((ROOT / "bench/results").iterdir()):
        if path.suffix == ".md":
            plot = path.with_suffix(".svg")
            text = path.read_text(encoding="utf-8")
            if plot.exists():
                head, _, rest = text.partition("\n")
                text = f"{head}\n\n![What a call costs]({plot.name})\n{rest}"
            add(f"benchmarks/{path.name}", text, f"bench/results/{path.name}")
        elif path.suffix in (".svg", ".png"):
            files.append(File.generated(config, f"benchmarks/{path.name}", abs_src_path=str(path)))
    _add_sources(files, add)
    return files


def _headers() -> list[headers.Header]:
    return [*headers.read(ROOT), *headers.adapters(ROOT)]


def _python_reference() -> Iterator[tuple[str, str]]:
    rows = [f"| [{title}]({name}.md) | {what} |" for name, title, what, _ in REFERENCE]
    head = (
        "# Python reference\n\nMade from the docstrings and types of the package. "
        "The guides show how things are used.\n\n| | |\n|---|---|\n"
    )
    yield "reference/index.md", head + "\n".join(rows) + "\n"
    for name, title, what, modules in REFERENCE:
        text = f"# {title}\n\n{what}\n"
        shown: set[str] = set()
        for module in modules:
            if len(modules) > 1:
                text += f"\n## {module}\n"
            level = 3 if len(modules) > 1 else 2
            defined, offered = _members(module)
            for member in offered:
                if member in shown and member not in defined:
                    continue  # the same as further up
                shown.add(member)
                text += f"\n::: {module}.{member}\n    options:\n      heading_level: {level}\n"
        yield f"reference/{name}.md", text


def _members(module: str) -> tuple[set[str], list[str]]:
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
        raise PluginError(f"{module} has no __all__: what is to be shown of it?")
    first = FIRST.get(module, [])
    if unknown := set(first) - set(names):
        raise PluginError(f"{module} does not have {', '.join(sorted(unknown))}")
    rest = [n for n in names if n not in first and n not in foreign and not n.startswith("__")]
    return defined, [*first, *rest]


def _add_sources(files: Files, add: Any) -> None:
    """A page for each file or folder of the tree that a page links to."""
    wanted: set[str] = set()
    for file in list(files):
        if file.is_documentation_page():
            text = _expanded(file.content_string)
            for m in _LINK.finditer(text):
                target = posixpath.normpath(posixpath.join(_folder(file), m[1]))
                if _page_of(target) is None and not target.startswith("docs/"):
                    wanted.add(target)
    tracked = [str(path) for path in house.files(ROOT)]
    for target in sorted(wanted):
        path = ROOT / target
        if path.is_file():
            code = path.read_text(encoding="utf-8")
            if path.suffix == ".md":
                add(f"source/{target}", code, target)
            else:
                language = _LANGUAGES.get(path.suffix, "text")
                add(f"source/{target}.md", f"# {target}\n\n``````{language}\n{code}``````\n")
        elif path.is_dir():
            inside = [t for t in tracked if t.startswith(f"{target}/")]
            listed = "\n".join(f"- `{t}`" for t in inside)
            add(f"source/{target}/index.md", f"# {target}\n\n{listed}\n")
        # what is not there at all is told by MkDocs, as a link that leads nowhere


def _folder(file: File) -> str:
    """The folder of the tree that the links of a page are relative to."""
    path = getattr(file, "repo_path", f"docs/{file.src_uri}")
    return posixpath.dirname(path)


def _page_of(target: str) -> str | None:
    """The page of the site for a path of the tree, if it has one that is no mere display."""
    if target in PAGES:
        return PAGES[target]
    if m := re.fullmatch(r"(?:include/looplite|adapters)/(\w+)\.h", target):
        return f"{docs_c.FOLDER}/{m[1]}.md"
    if target == "python/looplite/exceptions.py":
        return "reference/exceptions.md"
    if m := re.fullmatch(r"bench/results/([^/]+\.(?:md|svg|png))", target):
        return f"benchmarks/{m[1]}"
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return None


def _expanded(text: str) -> str:
    """A page with the README's numbers where it asks for them."""
    if "<!-- numbers -->" not in text:
        return text
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = _NUMBERS.search(readme)
    if found is None:
        raise PluginError("README.md has no numbers between numbers:begin and numbers:end")
    # Its links are relative to the tree's root; the page is in docs/.
    return text.replace("<!-- numbers -->", _LINK.sub(lambda m: f"../{m[0]}", found[1]))


def _bars(names: str) -> str:
    """A small chart for some rows of the newest results that have them: shorter is better."""
    rows: dict[str, tuple[str, Any]] = {}
    for path in sorted((ROOT / "bench/results").glob("*.json")):
        results = json.loads(path.read_text(encoding="utf-8"))
        rows.update({row["name"]: (results["date"][:10], row) for row in results["rows"]})
    out = ['<div class="bars">']
    for name in names.split():
        if name not in rows:
            raise PluginError(f"bench/results has no row {name}")
        _, row = rows[name]
        times = {
            peer: row["peers"][peer]["value"]["median"]
            for peer in ("aiosqlite", "sqlite3", row["subject"])
            if row["peers"].get(peer, {}).get("value")
        }
        title = re.sub(r" \(.*when quick\)", "", row["title"])
        unit = row["unit"].replace("us", "µs")
        out.append(f'<div class="bars-row"><p>{title}</p>')
        for peer, time in times.items():
            kind = "ours" if peer == row["subject"] else "other"
            width = max(100 * time / max(times.values()), 0.4)
            out.append(
                f'<div class="bar {kind}"><span class="who">{peer}</span>'
                f'<span class="track"><i style="width:{width:.1f}%"></i></span>'
                f'<span class="time">{time:.3g} {unit}</span></div>'
            )
        out.append("</div>")
    return "\n".join([*out, "</div>"])


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links that lead to the site's pages, and titles for samples."""
    text = _expanded(markdown)
    here = posixpath.dirname(page.file.src_uri)
    folder = _folder(page.file)

    def link(m: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, m[1]))
        found = _page_of(target)
        if found is None:
            path = ROOT / target
            if path.is_dir():
                found = f"source/{target}/index.md"
            else:
                found = f"source/{target}" if path.suffix == ".md" else f"source/{target}.md"
        return posixpath.relpath(found, here or ".") + (m[2] or "")

    text = _LINK.sub(link, text)
    text = _BARS.sub(lambda m: _bars(m[1]), text)
    return _SAMPLE.sub(r'```\2 title="\1"', text)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Nothing of a page may come from elsewhere when it is read."""
    if found := _ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_uri}: loads something from elsewhere: {found[0]}")
    return output
