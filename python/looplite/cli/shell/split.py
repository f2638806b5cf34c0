"""Cuts text into SQL statements, line by line, as it is typed or read.

A statement ends at a `;` outside of quotes and comments; in CREATE TRIGGER, whose body has such `;`
too, SQLite's own sqlite3_complete() is asked. Each character is looked at once, so a dump with
literals of many megabytes is cut in the time that reading it takes.
"""

from __future__ import annotations

import re
import sqlite3

# What begins something in which a `;` means nothing, and a `;` itself.
_EVENT = re.compile(r"""['"`\[;]|--|/\*""")
_CLOSES = {"'": "'", '"': '"', "`": "`", "[": "]", "--": "\n", "/*": "*/"}
_SPACE = r"(?:\s|--[^\n]*(?:\n|\Z)|/\*(?:[^*]|\*(?!/))*(?:\*/|\Z))"
_BLANK = re.compile(rf"(?:{_SPACE}|;)*\Z", re.DOTALL)
_TRIGGER = re.compile(
    rf"(?:{_SPACE}|;)*(?:EXPLAIN{_SPACE}+(?:QUERY{_SPACE}+PLAN{_SPACE}+)?)?"
    rf"CREATE{_SPACE}+(?:TEMP{_SPACE}+|TEMPORARY{_SPACE}+)?TRIGGER\b",
    re.DOTALL | re.IGNORECASE,
)


def is_blank(text: str) -> bool:
    """Whether there is nothing to run: space, comments, lone semicolons."""
    return _BLANK.match(text) is not None


class Splitter:
    """Takes whole lines, gives statements. What is not complete yet waits for the next line."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._closes = ""  # what ends the quote or comment that is open
        self.line = 0  # lines taken so far
        self._first = 0  # the line in which the waiting text begins

    @property
    def waiting(self) -> bool:
        """Whether something has begun and not ended."""
        return bool(self._parts)

    def feed(self, line: str) -> list[tuple[int, str]]:
        """The statements that this line completes, each with the number of its first line."""
        self.line += 1
        found: list[tuple[int, str]] = []
        at = begin = 0
        comment = False
        while True:
            if self._closes:
                end = line.find(self._closes, at)
                if end < 0:
                    break
                at = end + len(self._closes)
                comment = comment or self._closes == "*/"
                self._closes = ""
            event = _EVENT.search(line, at)
            if event is None:
                break
            at = event.end()
            if event[0] != ";":
                self._closes = _CLOSES[event[0]]
                continue
            text = "".join([*self._parts, line[begin:at]])
            if _TRIGGER.match(text) and not sqlite3.complete_statement(text):
                continue
            if not is_blank(text):
                found.append((self._number(), text))
            self._parts.clear()
            begin = at
        if self._closes == "\n":  # the end of the input is the end of a comment as well
            self._closes = ""
        rest = line[begin:]
        if self._parts or self._closes or not is_blank(rest):
            if not self._parts:
                self._first = self.line
            self._parts.append(rest)
        if comment and not self._closes and is_blank("".join(self._parts)):
            self._parts.clear()
        return found

    def _number(self) -> int:
        return self._first if self._parts else self.line

    def rest(self) -> list[tuple[int, str]]:
        """The end of the input: what waits is a statement, too. Forgets it."""
        text = "".join(self._parts)
        number = self._number()
        self.forget()
        return [] if is_blank(text) else [(number, text)]

    def forget(self) -> None:
        """Drops what waits."""
        self._parts.clear()
        self._closes = ""
