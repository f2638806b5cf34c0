"""What the documentation site needs beside the pages in docs/: hooks of MkDocs (mkdocs.yml).

- Adds pages: the C reference (docs_c.py), the Python reference (docs_python.py), what was measured
  (bench/results), CHANGELOG.md and CONTRIBUTING.md, and for each file of the tree that a page links
  to, a page that shows it.
- Lets links lead there. In docs/ they are relative paths of the tree, so that they work where the
  tree is read as well.
- Draws charts of benchmark rows (docs_bars.py).
- Gives each sample the name of the example that it stands in as a title.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import docs_bars
import docs_c
import docs_python
import headers
import house
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent

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
_LANGUAGES = {".py": "python", ".c": "c", ".h": "c", ".sh": "sh", ".toml": "toml"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the pages that are made into the navigation, where it names their folder."""
    made = {
        f"{docs_c.FOLDER}/": [uri for uri, _ in docs_c.pages(_headers())],
        f"{docs_python.FOLDER}/": [uri for uri, _ in docs_python.pages()],
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
    for uri, text in docs_python.pages():
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
    try:
        text = docs_bars.expanded(text)
    except ValueError as error:
        raise PluginError(str(error)) from error
    return _SAMPLE.sub(r'```\2 title="\1"', text)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Nothing of a page may come from elsewhere when it is read."""
    if found := _ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_uri}: loads something from elsewhere: {found[0]}")
    return output
