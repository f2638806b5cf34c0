"""Writes the whole C library as one source file and its headers, to be put into another program.

    python3 tools/amalgamate.py OUTDIR      looplite.c, looplite.h, looplite_sqlite.h

looplite.c is compiled with nothing but a C11 compiler, sqlite3.h and POSIX threads. It is our
sources one after another, in the order of the layers and of each layer's meson.build, with the
internal headers where they are first needed. What makes one translation unit of many:

- What our files share (lli_...) becomes static, so the program sees the functions of looplite.h
  only.
- A name that a source keeps for itself (a static function, a type, a constant) gets the name of
  its file in front when any other file uses that word for anything, be it a local variable. That
  is more than would clash: it also keeps one file's names from shadowing another's.
- Macros of a source end with it.

The sources of all systems are inside; each is empty on the others, as in the tree. Headers that
need sqlite3.h become looplite_sqlite.h, the others looplite.h.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import house

LAYERS = ("base", "platform", "db", "engine", "service")
DEFAULT_SQLITE = ("db/api_linked.c", "db/api_unlinked.c")

_TOKEN = re.compile(
    r"""
    (?P<comment> /\*.*?\*/ | //[^\n]* )
    | (?P<directive> ^[ \t]*\#(?:\\\n|/\*.*?\*/|[^\n])* )
    | (?P<string> "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' )
    | (?P<word> [A-Za-z_]\w* )
    | (?P<number> \.?\d(?:[eEpP][+-]|[\w.])* )
    | (?P<mark> -> | \.\.\. | \#\# | [^\s\w] )
    | (?P<space> \s+ )
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
_IN_DIRECTIVE = re.compile(
    r"""/\*.*?\*/ | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | [A-Za-z_]\w* | -> | \S""",
    re.DOTALL | re.VERBOSE,
)
_INCLUDE = re.compile(r'[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]')
_AT_THE_TOP = re.compile(r"looplite|sqlite3\.h")
_DEFINE = re.compile(r"[ \t]*#[ \t]*define[ \t]+(\w+)")

TAGS = {"struct", "union", "enum"}
# Words that a parenthesis follows where no function is declared.
_NO_FUNCTION = re.compile(r"_\w+|[A-Z][A-Z0-9_]*|\w+_t|void|bool|char|int|double|unsigned|long")
# Macros whose last argument is the name of a member.
_OF_MEMBERS = {"LLI_CONTAINER_OF", "offsetof"}
# What has one meaning in the whole library.
_PROJECT = re.compile(r"lli?_", re.IGNORECASE)


@dataclass
class Token:
    """A piece of a source; all pieces together are the text again."""

    kind: str
    text: str


@dataclass
class Source:
    """One file and what it declares outside of functions."""

    name: str  # from src/: "engine/conn.c"
    tokens: list[Token]
    names: set[str] = field(default_factory=set)  # its own: functions, variables, constants, types
    tags: set[str] = field(default_factory=set)  # its own structs, unions, enums
    shared: list[int] = field(default_factory=list)  # where a declaration of a lli_ name begins


def tokenize(text: str) -> list[Token]:
    """All of a text, piece by piece."""
    tokens = [Token(m.lastgroup or "", m[0]) for m in _TOKEN.finditer(text)]
    if "".join(t.text for t in tokens) != text:
        raise ValueError("a piece of the text is no token of C")
    return tokens


def words(token: Token) -> Iterator[str]:
    """The identifiers of a piece."""
    if token.kind == "word":
        yield token.text
    elif token.kind == "directive":
        yield from (w for w in _IN_DIRECTIVE.findall(token.text) if re.match(r"[A-Za-z_]", w))


def external_declarations(tokens: list[Token]) -> Iterator[list[int]]:
    """The indexes of the significant tokens of each declaration outside of functions."""
    part: list[int] = []
    depth = 0
    for i, token in enumerate(tokens):
        if token.kind in ("comment", "directive", "space"):
            continue
        part.append(i)
        depth += {"{": 1, "(": 1, "}": -1, ")": -1}.get(token.text, 0)
        ends = token.text == ";"
        if token.text == "}" and depth == 0:
            head = outside_braces([tokens[k].text for k in part])
            # the body of a function, not that of a type or an initialiser
            ends = ")" in head and "=" not in head and head[0] != "typedef"
        if depth == 0 and ends:
            yield part
            part = []


def outside_braces(texts: list[str]) -> list[str]:
    """The words of a declaration, what stands in braces as "{}"."""
    depth = 0
    out = []
    for text in texts:
        depth -= text == "}"
        if depth == 0 and text != "{":
            out.append("{}" if text == "}" else text)
        depth += text == "{"
    return out


def enum_constants(texts: list[str]) -> Iterator[str]:
    """The constants of the enums in a declaration."""
    for i, text in enumerate(texts):
        if text != "enum":
            continue
        at = i + 1 if texts[i + 1] == "{" else i + 2
        if at >= len(texts) or texts[at] != "{":
            continue
        depth = 0
        while texts[at] != "}":
            if texts[at] in "{," and depth == 0 and re.match(r"[A-Za-z_]", texts[at + 1]):
                yield texts[at + 1]
            depth += {"(": 1, ")": -1}.get(texts[at], 0)
            at += 1


def is_pointer(before: list[str]) -> bool:
    """Whether what follows these is the name of a pointer in parentheses."""
    return before[-2:] == ["(", "*"] or before[-3:] == ["(", "*", "const"]


def declared(head: list[str]) -> list[str]:
    """The names that a declaration gives to functions, variables or types."""
    found: list[str] = []
    depth = 0
    for i, text in enumerate(head[:-1]):
        if re.match(r"[A-Za-z_]", text) and head[i - 1] not in TAGS:
            following = head[i + 1]
            if depth == 1 and is_pointer(head[:i]) and following in "()[":
                return [
                    *found,
                    text,
                ]  # (*name)(...): a pointer to a function, or a function that gives one
            if depth == 0 and following == "(" and not _NO_FUNCTION.fullmatch(text):
                return [*found, text]
            if depth == 0 and following in ("=", ";", ",", "["):
                found.append(text)
            if depth == 0 and following == "=":
                return found
        depth += {"(": 1, ")": -1}.get(text, 0)
    return found


def look(source: Source) -> None:
    """Fills what a source declares."""
    tokens = source.tokens
    for part in external_declarations(tokens):
        texts = [tokens[i].text for i in part]
        head = [*outside_braces(texts), ";"]
        source.names |= set(enum_constants(texts))
        source.tags |= {
            texts[i + 1]
            for i, text in enumerate(texts[:-2])
            if text in TAGS and texts[i + 2] == "{" and texts[i + 1] != "{"
        }
        if "static" in head or head[0] == "typedef":
            source.names |= set(declared(head))
        elif "LL_API" not in head and any(n.startswith("lli_") for n in declared(head)):
            source.shared.append(part[0])


def member_declaration(tokens: list[Token], at: int, in_type: bool) -> bool:
    """Whether a word is the name of a member, not what a name of the file stands for."""
    before = previous(tokens, at)
    if before in (".", "->"):
        return True
    after = following(tokens, at)
    if before == "," and after == ")" and macro_around(tokens, at) in _OF_MEMBERS:
        return True
    return in_type and (after in (";", ",", "[", ":") or before == "(*")


def macro_around(tokens: list[Token], at: int) -> str:
    """The word before the parenthesis that a token stands in."""
    depth = 0
    for i in range(at - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(tokens[i].text, 0)
        if depth < 0:
            return previous(tokens, i)
    return ""


def previous(tokens: list[Token], at: int) -> str:
    """The significant text before a token; "(*" for both."""
    found = [t.text for t in tokens[max(0, at - 8) : at] if t.kind not in ("comment", "space")]
    return "(*" if is_pointer(found) else found[-1] if found else ""


def following(tokens: list[Token], at: int) -> str:
    """The significant text after a token."""
    return next((t.text for t in tokens[at + 1 : at + 8] if t.kind not in ("comment", "space")), "")


def rename(source: Source, names: dict[str, str], tags: dict[str, str]) -> None:
    """Gives names of a source their new form, wherever it uses them."""
    tokens = source.tokens
    braces: list[bool] = []  # of each open one: is it the body of a struct or union
    opens_type = False
    for i, token in enumerate(tokens):
        if token.text in ("struct", "union"):
            opens_type = True
        elif token.text in (";", ")", "=", "("):
            opens_type = False
        elif token.text == "{":
            braces.append(opens_type)
            opens_type = False
        elif token.text == "}" and braces:
            braces.pop()
        elif token.kind == "directive" and not _INCLUDE.match(token.text):
            token.text = rename_in_directive(token.text, names, tags)
        elif token.kind == "word":
            if previous(tokens, i) in TAGS:
                token.text = tags.get(token.text, token.text)
            elif token.text in names and not member_declaration(
                tokens, i, bool(braces and braces[-1])
            ):
                token.text = names[token.text]


def rename_in_directive(text: str, names: dict[str, str], tags: dict[str, str]) -> str:
    """The same for a macro."""
    before = ""

    def one(match: re.Match[str]) -> str:
        nonlocal before
        word = match[0]
        if before in TAGS:
            word = tags.get(word, word)
        elif before not in (".", "->"):
            word = names.get(word, word)
        before = match[0]
        return word

    return _IN_DIRECTIVE.sub(one, text)


def localize(source: Source) -> None:
    """Makes what our files share static."""
    for at in source.shared:
        token = source.tokens[at]
        if token.text == "extern":
            token.text = "LLI_LOCAL"
        else:
            token.text = f"LLI_LOCAL {token.text}"


def listed(root: Path) -> list[str]:
    """The sources of the core, as the build has them."""
    found = []
    for layer in LAYERS:
        text = (root / "src" / layer / "meson.build").read_text()
        match = re.search(rf"^{layer}_src = files\((.*?)\)", text, re.DOTALL | re.MULTILINE)
        if not match:
            raise ValueError(f"src/{layer}/meson.build has no {layer}_src")
        found += [f"{layer}/{name}" for name in re.findall(r"'([^']+)'", match[1])]
    return found


class Amalgamation:
    """The sources and internal headers of a tree, put together."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sources = {name: self._load(name) for name in [*listed(root), *DEFAULT_SQLITE]}
        self.headers: dict[str, Source] = {}
        for source in self.sources.values():
            self._load_headers(source)
        self._distinguish()
        for source in [*self.sources.values(), *self.headers.values()]:
            localize(source)
        self.included: set[str] = set()

    def _load(self, name: str) -> Source:
        source = Source(name, tokenize((self.root / "src" / name).read_text()))
        look(source)
        return source

    def _load_headers(self, source: Source) -> None:
        for token in source.tokens:
            match = token.kind == "directive" and _INCLUDE.match(token.text)
            if match and match[1] == '"' and match[2] not in self.headers:
                header = self._load(match[2])
                self.headers[match[2]] = header
                self._load_headers(header)

    def _distinguish(self) -> None:
        """Renames what a source has for itself and another one uses, too."""
        public = [tokenize(p.read_text()) for p in public_headers(self.root)]
        used: Counter[str] = Counter()
        for tokens in [
            *(s.tokens for s in self.sources.values()),
            *(h.tokens for h in self.headers.values()),
            *public,
        ]:
            used.update({word for token in tokens for word in words(token)})
        stems = Counter(Path(name).stem for name in self.sources)
        for name, source in self.sources.items():
            stem = Path(name).stem
            prefix = stem if stems[stem] == 1 else name.removesuffix(".c").replace("/", "_")

            def renamed(own: set[str], prefix: str = prefix) -> dict[str, str]:
                out = {}
                for word in sorted(own):
                    if used[word] > 1 and not _PROJECT.match(word):
                        out[word] = f"{prefix}_{word}"
                        while out[word] in used:
                            out[word] += "_"
                        used[out[word]] += 1
                return out

            rename(source, renamed(source.names), renamed(source.tags))

    def text_of(self, source: Source) -> Iterator[str]:
        """A source without what the amalgamation includes at its top, and without our own."""
        for token in source.tokens:
            match = token.kind == "directive" and _INCLUDE.match(token.text)
            if not match or (match[1] == "<" and not _AT_THE_TOP.match(match[2])):
                yield token.text

    def headers_of(self, source: Source) -> Iterator[str]:
        """The internal headers that a source needs and that are not there yet."""
        for token in source.tokens:
            match = token.kind == "directive" and _INCLUDE.match(token.text)
            if match and match[1] == '"' and match[2] not in self.included:
                self.included.add(match[2])
                header = self.headers[match[2]]
                yield from self.headers_of(header)
                yield f"\n/* ---- src/{header.name} ---- */\n\n"
                yield from self.text_of(header)

    def section(self, name: str) -> Iterator[str]:
        """One source behind its headers, and the end of its macros."""
        source = self.sources[name]
        yield from self.headers_of(source)
        yield f"\n/* ======== src/{name} ======== */\n\n"
        yield from self.text_of(source)
        macros = [m[1] for t in source.tokens if (m := _DEFINE.match(t.text))]
        if macros:
            yield "\n"
        yield from (f"#undef {macro}\n" for macro in dict.fromkeys(macros))

    def c_text(self) -> Iterator[str]:
        """looplite.c."""
        yield from (C_HEAD, self.version())
        for name in self.sources:
            if name not in DEFAULT_SQLITE:
                yield from self.section(name)
        linked, unlinked = DEFAULT_SQLITE
        yield "\n#ifndef LL_SQLITE_UNLINKED\n"
        yield from self.section(linked)
        yield "\n#else\n"
        yield from self.section(unlinked)
        yield "\n#endif\n"

    def version(self) -> str:
        """A check that header and source belong together."""
        base = (self.root / "include/looplite/base.h").read_text()
        found = re.search(r'#define LL_VERSION +"([^"]+)"', base)
        if not found:
            raise ValueError("include/looplite/base.h has no LL_VERSION")
        numbers = dict(zip(("MAJOR", "MINOR", "PATCH"), found[1].split("."), strict=True))
        wrong = " || ".join(f"LL_VERSION_{part} != {n}" for part, n in numbers.items())
        return f"#if {wrong}\n#    error looplite.c is {found[1]}, looplite.h is not\n#endif\n"


C_HEAD = """\
/* looplite.c: SQLite for event loops: the whole library in one file, made by tools/amalgamate.py.
 *
 * Compile it into your program, as C11, beside looplite.h, and link with SQLite and POSIX threads:
 *
 *     cc -std=c11 -c looplite.c
 *     cc program.c looplite.o -lsqlite3 -lpthread
 *
 * For a SQLite of your own, put its sqlite3.h where the compiler finds it first, and its object in
 * the place of -lsqlite3. These may be defined when it is compiled, with -D:
 *
 *   LL_SQLITE_UNLINKED   refers to no function of SQLite: the program gives them at run time, by
 *                        ll_sqlite_use() of looplite_sqlite.h
 *   LL_API=...           what stands in front of public functions, in place of default visibility
 */
#ifndef _GNU_SOURCE
#    define _GNU_SOURCE 1
#endif

#include "looplite.h"
#include "looplite_sqlite.h"

/* Outputs are set whenever the status says so, which gcc does not see through when it puts many
 * functions into one. */
#if defined(__GNUC__) && !defined(__clang__)
#    pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#if defined(__GNUC__) || defined(__clang__)
#    define LLI_LOCAL static __attribute__((unused))
#else
#    define LLI_LOCAL static
#endif

"""


def public_headers(root: Path) -> list[Path]:
    """All public headers."""
    return [root / p for p in house.files(root, ".h") if p.parts[0] == "include"]


def needs_sqlite(path: Path) -> bool:
    """Whether a public header includes sqlite3.h."""
    return any(name == "sqlite3.h" for _, _, name in house.includes(path.read_text()))


def join_headers(root: Path, tops: Iterable[str], before: set[str]) -> str:
    """Public headers, each behind those that it includes; those in `before` are there already."""
    out = []

    def put(name: str) -> None:
        if name in before:
            return
        before.add(name)
        text = (root / "include" / name).read_text()
        mine = [n for _, _, n in house.includes(text) if n.startswith("looplite")]
        for other in mine:
            put(other)
        text = re.sub(r"^#include <looplite[^>]*>\n", "", text, flags=re.MULTILINE)
        out.append(text if name == "looplite.h" else f"/* ---- {name} ---- */\n\n{text}")

    for top in tops:
        put(top)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out))


def header_texts(root: Path) -> tuple[str, str]:
    """looplite.h and looplite_sqlite.h."""
    names = sorted(p.relative_to(root / "include").as_posix() for p in public_headers(root))
    optional = [n for n in names if needs_sqlite(root / "include" / n)]
    there: set[str] = set()
    main_text = join_headers(root, ["looplite.h"], there)
    # The essay opens the file, in front of what it includes.
    essay = (root / "include" / "looplite.h").read_text()
    essay = essay[: essay.index("*/") + 3]
    if optional_in := [n for n in optional if n in there]:
        raise ValueError(f"looplite.h includes {optional_in[0]}, which needs sqlite3.h")
    main_text = essay + "\n" + main_text.replace(essay, "", 1)
    rest = join_headers(root, optional, there)
    own = (
        "/* looplite_sqlite.h: the part of the interface that needs sqlite3.h. For programs that\n"
        " * have handles of their own. */\n"
        '#include "looplite.h"\n\n'
    )
    return main_text, own + rest


def write(root: Path, out: Path) -> None:
    """Writes the three files."""
    header, sqlite = header_texts(root)
    out.mkdir(parents=True, exist_ok=True)
    (out / "looplite.h").write_text(header)
    (out / "looplite_sqlite.h").write_text(sqlite)
    text = "".join(Amalgamation(root).c_text())
    (out / "looplite.c").write_text(re.sub(r"\n{3,}", "\n\n", text))


def main() -> int:
    parser = house.parser(__doc__)
    parser.add_argument("outdir", type=Path, help="where to write; made if it is not there")
    args = parser.parse_args()
    write(args.root.resolve(), args.outdir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
