"""What a check finds: the part, how bad it is, what it is like, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta  # noqa: TC003 -- a field's type
from enum import IntEnum


class Level(IntEnum):
    """Severity; also the exit code of `treering status`."""

    OK = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of one part.

    Attributes:
        part: What was looked at.
        level: How bad it is.
        message: What it is like, in words.
        fix: What to do about it; empty where nothing is wrong.
    """

    part: str
    level: Level
    message: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.message}: {self.fix}" if self.fix else self.message


@dataclass(frozen=True, slots=True)
class Limits:
    """Ages from which on something is a warning, and critical."""

    warning: timedelta
    critical: timedelta

    def judge(self, age: timedelta) -> Level:
        """Return how bad this age is."""
        if age > self.critical:
            return Level.CRITICAL
        return Level.WARNING if age > self.warning else Level.OK


def describe_age(age: timedelta) -> str:
    """Write a length of time in its largest unit: `42 s`, `7 min`, `3 h`, `12 days`."""
    seconds = max(round(age.total_seconds()), 0)
    for unit, length_s in (("days", 2 * 86_400), ("h", 2 * 3_600), ("min", 2 * 60)):
        if seconds >= length_s:
            return f"{seconds // (length_s // 2)} {unit}"
    return f"{seconds} s"
