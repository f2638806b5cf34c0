"""A value of SQLite as text, so that nobody mistakes one for another.

For people (table, list, line): NULL is `NULL`, a blob `x'00ff'`, text that is not UTF-8
`CAST(x'ff' AS TEXT)`; a text that looks like one of these stands in quotes. Control characters are
shown as their pictures: they can neither break a row nor command the terminal.

For programs: CSV and JSON have rules of their own, each next to its function.
"""

from __future__ import annotations

import base64
import json
import re
import unicodedata


class BadText(bytes):
    """A TEXT value that is not UTF-8, as its bytes."""


def text_factory(raw: bytes) -> str | BadText:
    """What a connection of the shell makes of TEXT: never an error."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return BadText(raw)


_PICTURES = {n: 0x2400 + n for n in range(0x20)} | {0x7F: 0x2421}
# C1 controls, line separators and what turns the direction of writing.
_ESCAPES = {
    n: f"\\u{n:04x}"
    for n in [*range(0x80, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
}
_SHOWN: dict[int, int | str] = {**_PICTURES, **_ESCAPES}
# A text of this form would be taken for a value of another type.
_LOOKS_LIKE = re.compile(r"NULL\Z|[xX]?'|CAST\(x'|-?Inf\Z")
_CSV_QUOTED = re.compile(r"""\Z|[\s]|.*[",\r\n]|.*\s\Z|x'[0-9a-f]*'\Z|-?Inf\Z""", re.DOTALL)
_string = json.JSONEncoder(ensure_ascii=False).encode


def _number(value: float) -> str:
    if value in (float("inf"), float("-inf")):
        return "Inf" if value > 0 else "-Inf"
    return repr(value)


def _hex(value: bytes) -> str:
    literal = f"x'{value.hex()}'"
    return f"CAST({literal} AS TEXT)" if isinstance(value, BadText) else literal


def cell(value: object) -> str:
    """A value for people."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        if not value.isprintable():
            value = value.translate(_SHOWN)
        if _LOOKS_LIKE.match(value):
            return "'" + value.replace("'", "''") + "'"
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, bytes):
        return _hex(value)
    return str(value)


def width(text: str) -> int:
    """The columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def cut(text: str, limit: int) -> str:
    """At most `limit` columns of it; what was cut ends in an ellipsis. 0: all of it."""
    if not limit or width(text) <= limit:
        return text
    kept, room = [], limit - 1
    for character in text:
        room -= width(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + "…"


def csv_field(value: object) -> str:
    """RFC 4180. NULL is an empty field, an empty text `""`; a blob is x'..', such a text is quoted.

    Text that is not UTF-8 is CAST(x'..' AS TEXT); such a text is not told from it.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        if _CSV_QUOTED.match(value):
            return '"' + value.replace('"', '""') + '"'
        return value
    return cell(value)


def json_value(value: object) -> str:
    """JSON. A blob is {"base64": "..."}, which no other value becomes; infinity is 9e999, a number
    of JSON's grammar that readers take for infinity.

    Text that is not UTF-8 is {"base64": "...", "type": "text"}.
    """
    if isinstance(value, str):
        return _string(value)
    if value is None:
        return "null"
    if isinstance(value, bytes):
        kind = ', "type": "text"' if isinstance(value, BadText) else ""
        return f'{{"base64": "{base64.b64encode(value).decode()}"{kind}}}'
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "9e999" if value > 0 else "-9e999"
    return repr(value)
