"""Events that were finally refused, one JSON object a line, for a person to look at and to send again.

Each line is `{"refused_at", "reason", "kind", "event"}`. The newest are in `dead-letter.jsonl`; a full file is moved
aside as `dead-letter.<nanoseconds>.jsonl`. Whoever writes or moves holds the lock of `dead-letter.lock`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic_core import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingest.record.event import Event

DEAD_LETTERS_FILE = "dead-letter.jsonl"
MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_FILES = 8


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One refused event.

    Attributes:
        refused_at: When, as text.
        reason: What was said of it.
        kind: The function that refused it, or "unreadable" for a record of the journal.
        event: The event; for an unreadable record its bytes in base64, as `record`.
    """

    refused_at: str
    reason: str
    kind: str
    event: Event

    @property
    def event_id(self) -> str:
        """The event's id; empty where it cannot be read."""
        return str(self.event.get("event_id", ""))


class DeadLetters:
    """Refused events in files of a bounded size and number.

    Args:
        path: The file of the newest ones; several processes may write to it.
        max_bytes: Size at which it is moved aside.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_FILE_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes

    def write(self, kind: str, event: Event, reason: str) -> bool:
        """Append one event.

        Returns:
            Whether the oldest file had to go for it.

        Raises:
            OSError: The file cannot be written.
        """
        line: bytes = to_json(
            {"refused_at": datetime.now(UTC).isoformat(), "reason": reason, "kind": kind, "event": event}
        )
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, line + b"\n")
                is_full = os.fstat(descriptor).st_size >= self._max_bytes
            finally:
                os.close(descriptor)
            return is_full and self._move_aside()

    def read(self) -> Iterator[DeadLetter]:
        """Yield all letters, oldest first; a line that was cut short is passed over."""
        for path in self._files():
            with contextlib.suppress(FileNotFoundError):
                yield from (letter for _, letter in read_letters(path) if letter is not None)

    def take(self) -> list[Path]:
        """Move the newest letters aside too and return all files, oldest first: nobody appends to them any more."""
        if not self.path.parent.is_dir():
            return []
        with self._locked():
            if self.path.exists():
                self._move_aside(keeps_all=True)
            return self._files()

    def _files(self) -> list[Path]:
        aside = sorted(self.path.parent.glob(f"{self.path.stem}.*{self.path.suffix}"))
        return [*aside, self.path] if self.path.exists() else aside

    def _move_aside(self, *, keeps_all: bool = False) -> bool:
        self.path.replace(self.path.with_suffix(f".{time.time_ns():020d}{self.path.suffix}"))
        surplus = [] if keeps_all else self._files()[:-MAX_FILES]
        for path in surplus:
            path.unlink(missing_ok=True)
        return bool(surplus)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if sys.platform == "win32":
            yield
            return
        import fcntl

        descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def read_letters(path: Path) -> Iterator[tuple[bytes, DeadLetter | None]]:
    """Yield each line of a file with the letter that it holds; None where it holds none."""
    with path.open("rb") as file:
        for line in file:
            yield line, _parse(line)


def _parse(line: bytes) -> DeadLetter | None:
    try:
        found = from_json(line)
        event = found["event"]
        if not isinstance(event, dict):
            return None
        return DeadLetter(str(found["refused_at"]), str(found["reason"]), str(found["kind"]), event)
    except (ValueError, KeyError, TypeError):
        return None
