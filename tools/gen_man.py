"""Writes the man pages of the C library: OUTDIR/man3/NAME.3 and OUTDIR/man7/looplite.7.

They come from the headers: a page for each function and each type. Functions that only make sense
together share one, and the others of them are one-line files that name it (`.so`): `..._ref` and
`..._unref`, and what says of itself that it is "The same" as the one above it, or its end.
Constants stand on the pages of what uses them. looplite.7 is the essay of looplite.h, with what
each topic header is for and what it declares.

Standard library only: it runs while the library is built. `--list` prints the names, relative to
OUTDIR, of what would be written. The date on the pages is SOURCE_DATE_EPOCH, or without it that of
the newest header.
"""

from __future__ import annotations

import datetime
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import headers
import house
from headers import Block, Declaration, Header

_CODE = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "~": "\\(ti", "^": "\\(ha"}
_FILL = textwrap.TextWrapper(78, break_long_words=False, break_on_hyphens=False)
_TOLD = re.compile(r"[`*](\w[^`*]*)[`*]|\b(ll_[a-z0-9_]+)(\(\))?|\b(LL_[A-Z0-9_]+\*?)")
# Where a clause ends, outside of parentheses.
_CLAUSE = re.compile(r"[:;](?=\s)(?![^()]*\))")
# What stands behind the text, and under which heading.
_HEADINGS = {"Errors": "ERRORS", "Thread": "THREADS", "Owns": "OWNERSHIP", "Since": "SINCE"}


@dataclass
class Page:
    """A page of section 3: its declarations, and constants that they use."""

    header: Header
    members: list[Declaration]
    constants: list[Declaration]

    @property
    def name(self) -> str:
        return self.members[0].name


def pages(found: Iterable[Header]) -> list[Page]:
    """Which pages there are, in the order of the headers."""
    made: list[Page] = []
    for header in found:
        here: list[Page] = []
        loose: list[Declaration] = []
        for d in header.declarations:
            if d.name.startswith("Arrow"):
                continue  # these are not ours to explain
            if d.kind in ("macro", "constants"):
                loose.append(d)
            elif partner := _partner(d, here):
                partner.members.append(d)
            else:
                here.append(Page(header, [d], []))
        for d in loose:
            for page in [p for p in here if any(_wants(m, d) for m in p.members)] or here[:1]:
                page.constants.append(d)
        made += here
    return made


def _partner(d: Declaration, here: list[Page]) -> Page | None:
    """The page above that a declaration belongs on."""
    first = d.said.first
    if d.kind == "inline":
        return next((p for p in here if re.match(rf"static inline {p.name}\b", d.code)), None)
    if here and re.match(r"The (?:same|end)\b", first) and here[-1].members[0].kind == d.kind:
        return here[-1]
    if m := re.fullmatch(r"(\w+_)(un)?ref", d.name):
        other = m[1] + ("ref" if m[2] else "unref")
        return next((p for p in here if p.name == other), None)
    return None


def _wants(member: Declaration, constant: Declaration) -> bool:
    """Whether a page with this member shows this constant."""
    name = constant.name
    if constant.kind == "constants" and name.endswith("_"):
        # "LL_OPEN_*" in a comment means all of them
        return f"{name}*" in member.code or f"{name}*" in member.comment
    if re.search(rf"\b{name}\b", member.code + member.comment):
        return True
    return re.match(rf"{member.name}(?:_|$)", name.lower()) is not None and name.isupper()


class Writer:
    """Turns the pages into roff, with the macros of man(7)."""

    def __init__(self, found: list[Header], version: str, date: datetime.date) -> None:
        self.headers = found
        self.version = version
        self.date = date
        self.pages = pages(found)
        self.page_of = {m.name: page for page in self.pages for m in page.members}

    def files(self) -> Iterator[tuple[str, str]]:
        """Each file's name, relative to the folder, and its text."""
        for page in self.pages:
            yield f"man3/{page.name}.3", self._page(page)
            for member in page.members[1:]:
                yield f"man3/{member.name}.3", f".so man3/{page.name}.3\n"
        yield "man7/looplite.7", self._essay()

    # Sections

    def _head(self, name: str, section: int) -> str:
        return (
            '.\\" Made from the headers by tools/gen_man.py.\n'
            f'.TH {name} {section} {self.date} "looplite {self.version}" "looplite manual"\n'
            ".nh\n.ad l\n"
        )

    def _page(self, page: Page) -> str:
        out = [self._head(page.name, 3), ".SH NAME\n"]
        names = ", ".join(m.name for m in page.members)
        out.append(self._wrapped(f"{names} \\- {self._in_short(page)}"))
        out.append(".SH SYNOPSIS\n.nf\n")
        out.append(f"#include <{page.header.include}>\n")
        shown = [*page.constants, *page.members]
        out += [f"\n{_code(d.outline if d.members else d.code)}" for d in shown]
        out.append(".fi\n")
        body = "".join(self._said(page, m) for m in page.members)
        if body:
            out.append(f".SH DESCRIPTION\n{body}")
        else:
            out.append(f".SH DESCRIPTION\n{self._blocks(page.header.said.blocks)}")
        told = "".join(self._members(d) for d in shown)
        out.append(
            told.replace(".SH CONSTANTS\n", "\0", 1)
            .replace(".SH CONSTANTS\n", "")
            .replace("\0", ".SH CONSTANTS\n")
        )
        for name, text in self._fields(page):
            out.append(f".SH {name}\n{text}")
        out.append(self._see_also(page))
        return re.sub(r"(\.S[HS] [^\n]*\n)\.PP\n", r"\1", "".join(out))

    def _members(self, d: Declaration) -> str:
        """The fields of a struct, the constants of an enum, what a macro means."""
        if d.kind == "macro" and d.comment:
            text = " ".join(b.text for b in d.said.blocks)
            return f".SH CONSTANTS\n.TP\n.B {d.name}\n{self._line(headers.sentence(text))}"
        if not any(m.said for m in d.members):
            return ""
        constants = re.match(r"(?:typedef )?enum\b", d.code)
        out = [".SH CONSTANTS\n" if constants else ".SH FIELDS\n"]
        for m in d.members:
            if m.heading:
                out.append(f".PP\n{self._line(headers.sentence(m.heading))}")
            name = m.code.rstrip(";,").replace("\n", " ")
            said = self._line(headers.sentence(m.said)) if m.said else "\\&\n"
            out.append(f".TP\n.B {_code(name)}{said}")
        return "".join(out)

    def _in_short(self, page: Page) -> str:
        """The line of whatis(1)."""
        d = page.members[0]
        text = d.said.first or page.header.said.first
        if text.startswith("Zero-initialise"):
            users = [x for x in page.header.declarations if d.name in x.uses]
            text = f"options of {users[0].name}()" if users else page.header.said.first
        text = _CLAUSE.split(text)[0].replace("`", "")
        return text if text[1:2].isupper() else text[:1].lower() + text[1:]

    def _said(self, page: Page, d: Declaration) -> str:
        blocks = self._blocks(d.said.blocks)
        return f".SS {d.name}\n{blocks}" if blocks and len(page.members) > 1 else blocks

    def _fields(self, page: Page) -> Iterator[tuple[str, str]]:
        """RETURN VALUE, and what the fields of the comments say."""
        functions = [m for m in page.members if m.said.fields]
        if not functions:
            return
        several = len(functions) > 1

        def each(texts: list[tuple[str, str]]) -> str:
            if not several or len({text for _, text in texts}) == 1:
                return self._line(texts[0][1])
            return "".join(f".TP\n.BR {name} ()\n{self._line(text)}" for name, text in texts)

        if values := [(d.name, text) for d in functions if (text := headers.return_value(d))]:
            yield "RETURN VALUE", each(values)
        for key in ("Errors", "Thread", "Owns"):
            texts = [(d.name, headers.sentence(d.said.fields.get(key, ""))) for d in functions]
            yield _HEADINGS[key], each([(n, t) for n, t in texts if t] or [("", "None.")])
        later = sorted({k for d in functions for k in d.said.fields if k.startswith("After ")})
        for key in later:
            texts = [
                (d.name, headers.sentence(d.said.fields[key]))
                for d in functions
                if key in d.said.fields
            ]
            yield key.upper().replace("`", ""), each(texts)
        since = sorted({d.said.fields.get("Since", "").rstrip(".") for d in functions})
        yield "SINCE", self._line(f"looplite {', '.join(since)}.")

    def _see_also(self, page: Page) -> str:
        own = {m.name for m in page.members}
        named: set[str] = set()
        for m in page.members:
            named |= m.uses | m.mentions
            if m.kind in ("type", "callback"):  # who takes or gives it
                named |= {
                    d.name
                    for h in self.headers
                    for d in h.declarations
                    if m.name in d.uses and d.kind in ("function", "type", "callback")
                }
        if any(m.must_use for m in page.members):
            named.add("ll_last_error")
        there = sorted({self.page_of[n].name for n in named if n in self.page_of} - own)
        links = [f".BR {name} (3)" for name in there] + [".BR looplite (7)"]
        return ".SH SEE ALSO\n" + ",\n".join(links) + "\n"

    def _essay(self) -> str:
        main, *topics = self.headers
        out = [self._head("looplite", 7), ".SH NAME\n"]
        out.append(self._wrapped(f"looplite \\- {main.said.first}"))
        out.append(".SH SYNOPSIS\n.nf\n#include <looplite.h>\n\n")
        out.append(_code("cc program.c $(pkg-config --cflags --libs looplite)"))
        out.append(".fi\n.SH DESCRIPTION\n")
        blocks = main.said.blocks[1:]
        for b in blocks:
            out.append(f".SS {b.text}\n" if b.kind == "head" else self._blocks([b]))
        out.append(".SH THE HEADERS\n")
        for topic in topics:
            out.append(f".SS <{topic.include}>\n{self._blocks(topic.said.blocks)}")
            for page in [p for p in self.pages if p.header is topic]:
                out.append(f".TP\n.BR {page.name} (3)\n{self._wrapped(self._in_short(page))}")
        out.append(".SH SEE ALSO\n.BR sqlite3 (1)\n")
        # mandoc wants no paragraph at the beginning of a section.
        return re.sub(r"(\.S[HS] [^\n]*\n)\.PP\n", r"\1", "".join(out))

    # Text

    def _blocks(self, blocks: list[Block]) -> str:
        out: list[str] = []
        for b in blocks:
            if b.kind == "pre":
                out.append(f".PP\n.RS 4\n.nf\n{_code(b.text)}.fi\n.RE\n")
            elif b.kind == "item":
                number, text = b.text.split(" ", 1)
                out.append(f".IP {number} 4\n{self._line(text)}")
            else:
                out.append(f".PP\n{self._line(b.text)}")
        return "".join(out)

    def _wrapped(self, text: str) -> str:
        """Lines of no more than 80 bytes."""
        return "".join(f"{_quoted(line)}\n" for line in _FILL.wrap(text))

    def _line(self, text: str) -> str:
        """Prose: each sentence begins a line, names are bold, functions have a section."""

        def mark(m: re.Match[str]) -> str:
            if m[1]:
                return f"\x01I{m[1]}\x02"
            name = m[2] or m[4]
            behind = ("(3)" if name in self.page_of else "()") if m[3] else ""
            return f"\x01B{name}\x02{behind}"

        marked = _TOLD.sub(mark, text)
        sentences = re.split(r"(?<=[.:])\s+(?=[A-Z\x01])", marked)
        return "".join(self._wrapped(_marked(sentence)) for sentence in sentences)


def _marked(text: str) -> str:
    """Prose with the marks as roff has them."""
    text = text.replace("\\", "\\e")
    return text.replace("\x01B", "\\fB").replace("\x01I", "\\fI").replace("\x02", "\\fP")


def _quoted(line: str) -> str:
    """A line that roff does not take for a request."""
    return f"\\&{line}" if line[:1] in ".'" else line


def _code(text: str) -> str:
    """Lines that are shown as they are."""
    lines = ("".join(_CODE.get(char, char) for char in line) for line in text.split("\n"))
    return "".join((f"\\&{x}" if x[:1] in ".\\" else x) + "\n" for x in lines)


def _date(root: Path) -> datetime.date:
    newest = max(int((root / path).stat().st_mtime) for path in headers.paths(root))
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or newest)
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).date()


def main() -> int:
    parser = house.parser(__doc__)
    parser.add_argument("outdir", type=Path, nargs="?", help="where man3 and man7 are written")
    parser.add_argument("--list", action="store_true", help="only print the files' names")
    args = parser.parse_args()
    if not args.list and args.outdir is None:
        parser.error("OUTDIR is missing")
    root = args.root.resolve()
    found = [*headers.read(root), *headers.adapters(root)]
    writer = Writer(found, headers.version(root), _date(root))
    for name, text in writer.files():
        if args.list:
            print(name)
            continue
        path = args.outdir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
