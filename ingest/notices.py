"""How trouble is reported: once per window in the log, and as flags of the event that it touched."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic import JsonValue

LOGGER = logging.getLogger("treering")
WINDOW_S = 300.0
FLAGS_KEY = "treering_flags"  # of an event's metadata
MAX_FLAGS = 16
_MAX_KINDS = 200  # a kind may contain a model's name, which a caller may invent


class Notices:
    """Logs each kind of trouble once per window, and adds to the next line how often it was suppressed.

    Args:
        clock: Monotonic seconds.
        window_s: Seconds between two lines of the same kind.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, window_s: float = WINDOW_S) -> None:
        self._clock = clock
        self._window_s = window_s
        self._quiet: dict[str, tuple[float, int]] = {}

    def warn(self, kind: str, message: str, *, level: int = logging.WARNING) -> None:
        """Log `message`, unless another of its kind was logged within the window.

        Args:
            kind: What makes two lines the same.
            message: The line; never holds what a user wrote.
            level: Severity.
        """
        now = self._clock()
        until, held_back = self._quiet.get(kind, (now, 0))
        if now < until:
            self._quiet[kind] = (until, held_back + 1)
            return
        if len(self._quiet) >= _MAX_KINDS:
            self._quiet.clear()
        self._quiet[kind] = (now + self._window_s, 0)
        if held_back:
            message = f"{message} ({held_back} more like this since the last line)"
        LOGGER.log(level, "%s", message)


def add_flags(event: dict[str, JsonValue], flags: Iterable[str]) -> None:
    """Add findings to those that an event has in its metadata, each once."""
    found = list(flags)
    if not found:
        return
    metadata = event.get("metadata")
    kept = metadata if isinstance(metadata, dict) else {}
    earlier = kept.get(FLAGS_KEY)
    unique: list[JsonValue] = [*dict.fromkeys([*(earlier if isinstance(earlier, list) else []), *found])]
    event["metadata"] = {**kept, FLAGS_KEY: unique[:MAX_FLAGS]}
