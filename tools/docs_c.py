"""The C reference of the documentation site: a page of Markdown for each public header.

Made from what tools/headers.py reads, like the man pages, and in the order of the header. Every
name of ours in a text is a link to where it is declared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import headers
from headers import Block, Declaration, Header

FOLDER = "c/reference"
_NAMES = re.compile(r"`([^`]+)`|\b(ll_[a-z0-9_]+|LL_[A-Z0-9_]+|ArrowA\w+|ArrowSchema)(\(\))?(\*?)")
_FIELDS = {"Thread": "Thread", "Owns": "Owns", "Errors": "Errors", "Since": "Since"}


def pages(found: list[Header]) -> Iterator[tuple[str, str]]:
    """Each page's path below docs/, and its text."""
    writer = _Writer(found)
    yield f"{FOLDER}/index.md", writer.index()
    for header in found[1:]:
        yield f"{FOLDER}/{header.path.stem}.md", writer.page(header)


class _Writer:
    def __init__(self, found: list[Header]) -> None:
        self.headers = found
        self.where: dict[str, str] = {}
        for header in found:
            for d in header.declarations:
                page = f"{header.path.stem}.md"
                self.where[d.name] = f"{page}#{d.name.rstrip('_')}"
                if d.kind in ("type", "constants"):
                    for m in d.members:
                        if m.code.startswith("LL_"):
                            self.where[m.code.split()[0].rstrip(",")] = self.where[d.name]

    def index(self) -> str:
        """The essay of looplite.h, the headers, and all names."""
        main, *topics = self.headers
        out = ["# C reference\n"]
        out.append("`#include <looplite.h>` brings all of these but `sqlite.h` and the last ones, ")
        out.append("which are for event loops (`adapters/`).\n")
        out.append("| header | what it is for |\n|---|---|")
        out += [f"| [`{h.path.stem}.h`]({h.path.stem}.md) | {self._first(h)} |" for h in topics]
        out.append("")
        for b in main.said.blocks[1:]:
            out.append(self._block(b, level=2))
        out.append("\n## All functions\n")
        names = sorted(
            d.name for h in topics for d in h.declarations if d.kind in ("function", "inline")
        )
        out.append(" · ".join(f"[`{n}`]({self.where[n]})" for n in names))
        return "\n".join(out) + "\n"

    def page(self, header: Header) -> str:
        """One header."""
        out = [f"# {header.path.name}\n", f"```c\n#include <{header.include}>\n```\n"]
        out += [self._block(b, level=2) for b in header.said.blocks]
        types = [d for d in header.declarations if d.kind not in ("function", "inline")]
        functions = [d for d in header.declarations if d.kind in ("function", "inline")]
        for title, group in (("Types and constants", types), ("Functions", functions)):
            if group:
                out.append(f"\n## {title}\n")
                out += [self._declaration(d) for d in group]
        return "\n".join(out) + "\n"

    def _declaration(self, d: Declaration) -> str:
        title = f"{d.name}*" if d.name.endswith("_") else d.name
        out = [f"### `{title}` {{ #{d.name.rstrip('_')} }}\n"]
        out.append(f"```c\n{d.outline if d.members else d.code}\n```\n")
        out += [self._block(b, level=4) for b in d.said.blocks]
        if any(m.said for m in d.members):
            for m in d.members:
                if m.heading:
                    out.append(f"\n{self._text(headers.sentence(m.heading))}\n")
                code = " ".join(m.code.rstrip(";,").split())
                said = self._text(headers.sentence(m.said)) or "&nbsp;"
                out.append(f"`{code}`\n:   {said}\n")
        if d.said.fields:
            rows = [(k, v) for k, v in d.said.fields.items()]
            out.append(
                '<div class="contract" markdown>\n\n'
                + "\n".join(f"- **{k}:** {self._text(headers.sentence(v))}" for k, v in rows)
                + "\n\n</div>\n"
            )
        return "\n".join(out)

    def _first(self, header: Header) -> str:
        return self._text(header.said.first)

    def _block(self, b: Block, level: int) -> str:
        if b.kind == "pre":
            code = any(line.endswith(";") for line in b.text.split("\n"))
            return f"```{'c' if code else 'text'}\n{b.text}\n```\n"
        if b.kind == "head":
            return f"{'#' * level} {b.text}\n"
        if b.kind == "item":
            return self._text(b.text)
        return f"{self._text(headers.sentence(b.text))}\n"

    def _text(self, text: str) -> str:
        """Prose with its names as links."""

        def link(m: re.Match[str]) -> str:
            if m[1]:
                return m[0]
            shown = f"`{m[2]}{m[3] or ''}{m[4] or ''}`"
            target = self.where.get(m[2]) or (self.where.get(m[2]) if m[4] else None)
            return f"[{shown}]({target})" if target else shown

        text = re.sub(r"([<>])", lambda m: {"<": "&lt;", ">": "&gt;"}[m[1]], text)
        text = re.sub(r"(?<![\w`])\*(\w+)\*(?!\w)", r"_\1_", text)
        text = re.sub(r"(?<![\w*`_])\*(?=[a-z])", r"\\*", text)
        return _NAMES.sub(link, text)
