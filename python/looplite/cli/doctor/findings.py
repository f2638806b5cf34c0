"""What the doctor says: findings, each with its level and what to do."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["ok", "info", "advice", "damage", "failed"]

# The exit status of each level; the highest of all findings counts.
STATUS: dict[str, int] = {"ok": 0, "info": 0, "advice": 1, "damage": 2, "failed": 2}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    check: str  # a short name that programs can rely on
    text: str
    do: str = ""


@dataclass
class Report:
    """All of them, and the facts behind."""

    file: str
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, level: Level, check: str, text: str, do: str = "") -> None:
        """One more, unless it was said already."""
        finding = Finding(level, check, text, do)
        if finding not in self.findings:
            self.findings.append(finding)

    @property
    def status(self) -> int:
        """The exit status."""
        return max((STATUS[finding.level] for finding in self.findings), default=0)

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "file": self.file,
            "status": self.status,
            "facts": self.facts,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def as_text(self) -> str:
        """For people."""
        lines = [self.file]
        for finding in self.findings:
            first, *rest = finding.text.split("\n")
            lines += _wrapped(f"  {finding.level:<8}", first)
            for line in rest:
                lines += _wrapped(" " * 12, line)
            lines += _wrapped(" " * 10 + "-> ", finding.do) if finding.do else []
        return "\n".join(lines) + "\n"


def _wrapped(before: str, text: str) -> list[str]:
    """Lines of at most 100 columns, all of them as far in as the first."""
    after = " " * len(before)
    return textwrap.wrap(
        text, 100, initial_indent=before, subsequent_indent=after, break_on_hyphens=False
    )


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"


def some(number: int, one: str, many: str = "") -> str:
    """A number with its word: "1 page", "2 pages", "3 indexes"."""
    return f"{number} {one if number == 1 else many or one + 's'}"
