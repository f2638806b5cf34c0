"""Reads the public headers: what they declare, and what the comment above each declaration says.

For the check that each has its block (check_headers.py), the man pages (gen_man.py) and the
reference on the site (docs_c.py). It knows the shape that our headers have (clang-format, one
comment directly above), not C: a declaration that it cannot make out is an error, so nothing is
left out of a page without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import house

WORDS = ("Thread:", "Owns:", "Errors:", "Since:")

_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
_DEFINE = re.compile(r"^#[ \t]*define[ \t]+(LL_\w+)[ \t]+(?=\S)(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
_EXTERN_C = re.compile(r'extern "C" \{')
_BLOCK_ABOVE = re.compile(r"/\*(?:(?!\*/).)*\*/\s*\Z", re.DOTALL)
_FIELD = re.compile(r"(?:(?<=\s)|^)(Thread|Owns|Errors|Since|After \w+(?: of [^:]*)?):(?=\s)")
_API = re.compile(r"\bLL_(?:API|NODISCARD)\b\s*")
_CALLED = re.compile(r"\b(ll_[a-z0-9_]+)\s*(?=\()")
_WORD = re.compile(r"\b(ll_[a-z0-9_]+|Arrow[A-Z]\w+)\b")


@dataclass(frozen=True)
class Block:
    """A piece of a comment: a paragraph, a heading, an item, or lines whose layout is meant."""

    kind: str  # "para", "head", "item", "pre"
    text: str


@dataclass(frozen=True)
class Comment:
    """What a comment says: text, and the fields `Thread:`, `Owns:`, ... in their order."""

    blocks: list[Block]
    fields: dict[str, str]

    @property
    def first(self) -> str:
        """The first sentence, without its full stop."""
        text = next((b.text for b in self.blocks if b.kind == "para"), "")
        return re.split(r"\.(?:\s|$)", text, maxsplit=1)[0]


@dataclass(frozen=True)
class Member:
    """A field of a struct, or a constant of an enum."""

    code: str  # on one line, unless it has fields of its own
    said: str  # the comment behind it, or above it
    heading: str = ""  # of it and those that follow


@dataclass(frozen=True)
class Declaration:
    """One declaration of a header."""

    kind: str  # "function" (LL_API), "inline", "callback", "type", "constants", "macro"
    name: str  # of constants without a name: their common beginning, "LL_OPEN_"
    header: Path
    line: int
    comment: str  # the block directly above, as it stands; "" if there is none
    code: str  # as it stands, without LL_API, LL_NODISCARD and an inline function's body
    must_use: bool = False  # LL_NODISCARD

    @cached_property
    def said(self) -> Comment:
        """What its comment says."""
        return parse_comment(self.comment)

    @cached_property
    def members(self) -> list[Member]:
        """The fields or constants, if it has a body; their comments are in them."""
        if self.kind not in ("type", "constants") or "{" not in self.code:
            return []
        return list(_members(self.code[self.code.index("{") + 1 : self.code.rindex("}")]))

    @property
    def outline(self) -> str:
        """The code with one line for each member and no comments."""
        if not self.members:
            return self.code
        lines = [line for m in self.members for line in m.code.split("\n")]
        head, tail = self.code.partition("{")[0], self.code[self.code.rindex("}") :]
        return "\n".join([f"{head}{{", *(f"    {line}" for line in lines), tail])

    @cached_property
    def uses(self) -> set[str]:
        """The names of ours in its code, its own left out."""
        return set(_WORD.findall(house.without_comments(self.code))) - {self.name}

    @cached_property
    def mentions(self) -> set[str]:
        """The names of ours in its comment."""
        return set(_WORD.findall(self.comment)) - {self.name}


@dataclass(frozen=True)
class Header:
    """A header: its opening comment, and what it declares, in the order of the file."""

    path: Path
    opening: str
    declarations: list[Declaration] = field(default_factory=list)

    @property
    def include(self) -> str:
        """How a program names it."""
        return self.path.as_posix().partition("/")[2]

    @property
    def said(self) -> Comment:
        """The opening comment, without the name of the file at its beginning."""
        return parse_comment(re.sub(r"^/\*\s*\S+\.h:\s*", "/* ", self.opening))


def return_value(d: Declaration) -> str:
    """What a function returns, by its type and where its results go; "" for nothing."""
    if re.match(r"(?:static inline )?void (?!\*)", d.code):
        return ""
    if "ll_request **ret_request" in d.code:
        return (
            "LL_OK: it has finished inside the call, well or not; ll_request_status() says which, "
            "and no callback will come. "
            "LL_PENDING: accepted; the callback comes from a later ll_engine_dispatch(). "
            "Negative: refused, nothing was submitted; ll_last_error() says why."
        )
    if d.must_use:
        return "LL_OK, or a negative status; ll_last_error() then says why."
    if re.match(r"(?:static inline )?(?:int|ll_status) ", d.code) and "*ret_" in d.code:
        return "0 for success, or the code of an error, below."
    return "The value that is described above; the errors say what it is where there is none."


def sentence(text: str) -> str:
    """What a field says, as a sentence."""
    text = text.strip()
    if not text:
        return ""
    # A name keeps its case.
    text = text if re.match(r"ll_|LL_|`|\*", text) else text[0].upper() + text[1:]
    return text if text.endswith((".", ":", "?")) else f"{text}."


def version(root: Path) -> str:
    """LL_VERSION."""
    base = (root / "include/looplite/base.h").read_text(encoding="utf-8")
    found = re.search(r'#define LL_VERSION\s+"([^"]+)"', base)
    if found is None:
        raise ValueError("include/looplite/base.h does not define LL_VERSION")
    return found[1]


def paths(root: Path) -> list[Path]:
    """The public headers, relative to the root."""
    return sorted(path.relative_to(root) for path in (root / "include").rglob("*.h"))


def read(root: Path) -> list[Header]:
    """All public headers, the one that includes the others first."""
    found = sorted(paths(root), key=lambda p: (len(p.parts), p.name))
    return [parse(path, (root / path).read_text(encoding="utf-8")) for path in found]


def adapters(root: Path) -> list[Header]:
    """The headers for event loops, which are of use by themselves."""
    found = sorted((root / "adapters").glob("*.h"))
    return [parse(p.relative_to(root), p.read_text(encoding="utf-8")) for p in found]


def declarations(root: Path) -> Iterator[Declaration]:
    """Every LL_API declaration of the public headers."""
    for header in read(root):
        yield from (d for d in header.declarations if d.kind == "function")


def parse(path: Path, text: str) -> Header:
    """Takes a header apart."""
    opening = re.match(r"\s*(/\*.*?\*/)", text, re.DOTALL)
    found = [*_macros(path, text), *_items(path, text)]
    found.sort(key=lambda d: d.line)
    return Header(path, opening[1] if opening else "", found)


def _comment_above(text: str, at: int) -> str:
    block = _BLOCK_ABOVE.search(text[:at])
    # A comment behind the last member of an enum, or behind a macro, is not above what follows.
    if block is None or text[: block.start()].rpartition("\n")[2].strip():
        return ""
    return block[0].rstrip()


def _macros(path: Path, text: str) -> Iterator[Declaration]:
    """Constants made by #define. What only serves the compiler is left out."""
    for match in _DEFINE.finditer(house.without_comments(text)):
        if match[1] in ("LL_API", "LL_NODISCARD"):
            continue
        # A comment that begins behind it is its own.
        end = text.find("\n", match.end())
        behind = re.search(r"/\*(?:(?!\*/).)*\*/", text[match.start() :], re.DOTALL)
        if behind and match.start() + behind.start() > end:
            behind = None
        code = " ".join(match[0].replace("\\\n", " ").split())
        yield Declaration(
            kind="macro",
            name=match[1],
            header=path,
            line=house.line_of(text, match.start()),
            comment=behind[0] if behind else _comment_above(text, match.start()),
            code=re.sub(r"^# +", "#", code),
        )


def _items(path: Path, text: str) -> Iterator[Declaration]:
    """What stands at the top level: ends at a `;`, or at the `}` of an inline function."""
    code = _DIRECTIVE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), house.without_comments(text))
    extern = _EXTERN_C.search(code)
    if extern:
        last = code.rindex("}")
        code = code[: extern.start()] + " " * len(extern[0]) + code[extern.end() : last] + " "
    start = depth = 0
    for at, char in enumerate(code):
        depth += (char == "{") - (char == "}")
        inline = char == "}" and depth == 0 and re.match(r"\s*static\b", code[start:at])
        if (char == ";" and depth == 0) or inline:
            begin = start + len(code[start : at + 1]) - len(code[start : at + 1].lstrip())
            yield from _item(path, text, code, begin, at + 1)
            start = at + 1


def _item(path: Path, text: str, code: str, begin: int, end: int) -> Iterator[Declaration]:
    plain = " ".join(code[begin:end].split())
    shown = text[begin:end]
    if plain.startswith("LL_API"):
        kind, shown = "function", _align(shown)
        called = _CALLED.search(plain)
        last = re.search(r"(\w+)\s*(?:\[[^\]]*\]\s*)*;$", plain)
        name = called[1] if called else last[1] if last else plain
    elif plain.startswith("static"):
        kind, shown = "inline", re.sub(r"\s*\{.*", ";", shown, flags=re.DOTALL)
        called = _CALLED.search(plain)
        name = called[1] if called else plain
    elif found := re.match(r"typedef [^{(]*\(\*(\w+)\)", plain):
        kind, name = "callback", found[1]
    elif found := re.match(r"typedef (?:[^{}]*|(?:struct|enum|union)\b.*\}) \*?(\w+);$", plain):
        kind, name = "type", found[1]
    elif found := re.match(r"enum \{(.*)\};$", plain):
        kind, name = "constants", _common(_names(found[1]))
    elif found := re.match(r"(?:struct|enum|union) (\w+) \{", plain):
        kind, name = "type", found[1]
    elif re.fullmatch(r"(?:struct|enum|union) \w+;", plain):
        return  # said elsewhere
    else:
        line = house.line_of(text, begin)
        raise ValueError(f"{path}:{line}: what is this declaration? {plain[:80]}")
    if not name.startswith(("LL_",) if kind == "constants" else ("ll_", "Arrow")):
        line = house.line_of(text, begin)
        raise ValueError(f"{path}:{line}: {name}: a public name begins with ll_")
    if kind == "inline" and name.endswith("_"):
        return  # a header's own helper
    yield Declaration(
        kind=kind,
        name=name,
        header=path,
        line=house.line_of(text, begin),
        comment=_comment_above(text, begin),
        code=shown,
        must_use="LL_NODISCARD" in plain,
    )


def _names(body: str) -> list[str]:
    return [part.split()[0] for part in body.split(",") if part.strip()]


def _members(body: str) -> Iterator[Member]:
    """The members between the braces.

    A comment on the line of a member is its own. One on a line of its own is that of the member
    below; or, if that has one behind it, a heading.
    """
    found: list[tuple[str, str, str]] = []  # code, comment above, comment behind
    code = above = ""
    depth = 0
    for text, comment, before in _pieces(body):
        if comment:
            if code.strip() and depth:  # inside a struct in a struct
                code += comment
            elif found and not code.strip() and "\n" not in before:
                found[-1] = (*found[-1][:2], _joined(comment))
            elif code.strip():  # the last one of an enum, without a comma
                found.append((code, above, _joined(comment)))
                code = above = ""
            else:
                above = _joined(comment)
            continue
        for char in text:
            code += char
            depth += (char in "({") - (char in ")}")
            if char in ";," and depth == 0 and not (char == "," and _declares(code)):
                found.append((code, above, ""))
                code = above = ""
    if code.strip():
        found.append((code, above, ""))
    for code, above, behind in found:
        plain = code.strip() if "{" in code else " ".join(code.split())
        plain = re.sub(r"\n[ ]{4}", "\n", plain)
        yield Member(plain, behind or above, above if behind else "")


def _pieces(body: str) -> Iterator[tuple[str, str, str]]:
    """Code; or a comment, and what of blanks and newlines is between it and the code before."""
    at = 0
    for m in re.finditer(r"/\*.*?\*/", body, re.DOTALL):
        between = body[at : m.start()]
        yield between, "", ""
        yield "", m[0], between[len(between.rstrip()) :] if between.strip() else "\n"
        at = m.end()
    yield body[at:], "", ""


def _declares(code: str) -> bool:
    """Whether a comma stands between fields of one declaration, `int a, b;`, not constants."""
    return re.match(r"\s*[A-Z_0-9]+\s*(=[^;]*)?,$", code) is None


def _joined(comment: str) -> str:
    return " ".join(" ".join(_lines(comment)).split())


def _common(names: list[str]) -> str:
    """What the names of an enum begin with, up to an underscore; all of it if there is only one."""
    if len(names) == 1:
        return names[0]
    first, last = min(names), max(names)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    return first[: first.rfind("_", 0, same + 1) + 1]


def _align(code: str) -> str:
    """A prototype without its attributes, its later lines as far to the left as its first one."""
    first, *rest = code.split("\n")
    short = _API.sub("", first)
    cut = len(first) - len(short)
    return "\n".join([short, *(line[cut:] if not line[:cut].strip() else line for line in rest)])


def parse_comment(comment: str) -> Comment:
    """Takes a comment apart: its fields (from the first one on), and before them its text."""
    lines = _lines(comment)
    blocks: list[Block] = []
    fields: dict[str, str] = {}
    groups: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            groups[-1].append(line)
        else:
            groups.append([])
    for group in groups:
        at = next((i for i, line in enumerate(group) if re.match(r"Thread:\s", line)), len(group))
        blocks += _blocks(group[:at])
        if at < len(group):
            _fields(" ".join(line.strip() for line in group[at:]), fields)
    return Comment(blocks, fields)


def _lines(comment: str) -> list[str]:
    text = re.sub(r"^/\*[ \t]?|\s*\*/\s*$", "", comment)
    return [re.sub(r"^[ \t]*\*(?: |$)", "", line).rstrip() for line in text.split("\n")]


def _blocks(lines: list[str]) -> Iterator[Block]:
    """Headings, numbered items, laid-out lines, and paragraphs."""
    plain: list[str] = []

    def paragraph() -> Iterator[Block]:
        if plain:
            yield Block("para", " ".join(plain))
            plain.clear()

    at = 0
    while at < len(lines):
        line = lines[at]
        following = lines[at + 1] if at + 1 < len(lines) else ""
        if re.fullmatch(r"-{3,}", following):
            yield from paragraph()
            yield Block("head", line)
            at += 2
        elif re.match(r" ?\d+\. ", line):
            yield from paragraph()
            item = [line.strip()]
            while at + 1 < len(lines) and re.match(r" {3,}\S", lines[at + 1]):
                at += 1
                item.append(lines[at].strip())
            yield Block("item", " ".join(item))
            at += 1
        elif re.match(r" {2,}\S", line):
            yield from paragraph()
            laid = []
            while at < len(lines) and re.match(r" {2,}\S", lines[at]):
                laid.append(lines[at])
                at += 1
            least = min(len(x) - len(x.lstrip()) for x in laid)
            yield Block("pre", "\n".join(x[least:] for x in laid))
        else:
            plain.append(line.strip())
            at += 1
    yield from paragraph()


def _fields(text: str, fields: dict[str, str]) -> None:
    parts = _FIELD.split(text)
    for name, said in zip(parts[1::2], parts[2::2], strict=True):
        fields[name] = said.strip()
