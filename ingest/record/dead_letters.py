"""Events that the database has finally refused, one JSON object a line, for a person to look at.

Each line is `{"refused_at", "reason", "kind", "event"}`. After the cause is gone, `jq -c .event` gives lines that
`treering replay --format jsonl` takes.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic_core import to_json

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.record.event import Event

MAX_FILE_BYTES = 16 * 1024 * 1024


class DeadLetters:
    """Appends to a file that is moved aside, over the one before, when it is full.

    Args:
        path: The file; several processes may write to it.
        max_bytes: Size at which it is moved aside.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_FILE_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes

    def write(self, kind: str, event: Event, reason: str) -> None:
        """Append one event.

        Raises:
            OSError: The file cannot be written.
        """
        line: bytes = to_json(
            {"refused_at": datetime.now(UTC).isoformat(), "reason": reason, "kind": kind, "event": event}
        )
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line + b"\n")  # one write, so that lines of two processes do not mix
            is_full = os.fstat(descriptor).st_size >= self._max_bytes
        finally:
            os.close(descriptor)
        if is_full:
            self.path.replace(self.path.with_suffix(".1.jsonl"))
