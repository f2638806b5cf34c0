"""What `connect(pragmas=...)` takes, as the texts that follow the word PRAGMA.

Given is a mapping of names to values, or an iterable of texts such as ``"journal_mode=WAL"``.
SQLite takes any name without a word and does nothing for one that it does not know, so what can be
told from the form is told here: a name that is none, a value that no pragma can have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

Value: TypeAlias = "str | int | float | bool | None"
Pragmas: TypeAlias = "Mapping[str, Value] | Iterable[str]"

_NAME = re.compile(r"(?:[A-Za-z_]\w*\.)?[A-Za-z_]\w*", re.ASCII)
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ALLOWED = "a str, an int, a float, a bool or None"


def _value(name: str, value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (int, float)):
        return repr(value)
    if not isinstance(value, str):
        raise TypeError(f"pragmas[{name!r}] must be {_ALLOWED}, not {type(value).__name__}")
    if "\0" in value:
        raise ValueError(f"pragmas[{name!r}] has a null character: {value!r}")
    if _WORD.fullmatch(value):
        return value
    return "'" + value.replace("'", "''") + "'"


def _from_text(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(
            "pragmas must be a mapping of names to values, or texts such as "
            f"'journal_mode=WAL'; one is {type(text).__name__}: {text!r}"
        )
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not _NAME.fullmatch(name) or (equals and not value) or ";" in value or "\0" in value:
        raise ValueError(f"not a pragma: {text!r}; expected is a text such as 'journal_mode=WAL'")
    return f"{name}={value}" if equals else name


def texts(pragmas: Pragmas) -> tuple[str, ...]:
    """Each pragma as "name=value", or "name" alone where the value is None."""
    if isinstance(pragmas, str):
        raise TypeError(f"pragmas must be a mapping or several texts, not one str: {pragmas!r}")
    if not isinstance(pragmas, Mapping):
        if not isinstance(pragmas, Iterable):
            raise TypeError(
                f"pragmas must be a mapping or several texts, not {type(pragmas).__name__}"
            )
        return tuple(_from_text(text) for text in pragmas)
    made = []
    for name, value in pragmas.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"not the name of a pragma: {name!r}")
        made.append(name if value is None else f"{name}={_value(name, value)}")
    return tuple(made)
