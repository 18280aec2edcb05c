"""A database that answers from a script and remembers what it was asked."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.database import Argument, JsonValue


class ScriptedDatabase:
    """Answers each function with the next entry of its script; the last one stays. An exception is raised.

    Args:
        **scripts: By function: what its calls return or raise, in order. Other functions return None.
    """

    def __init__(self, **scripts: list[JsonValue | Exception]) -> None:
        self._scripts = {name: deque(answers) for name, answers in scripts.items()}
        self._lock = threading.Lock()
        self.calls: list[tuple[str, dict[str, Argument]]] = []
        self.is_closed = False

    @property
    def called(self) -> list[str]:
        """The functions called so far, in order."""
        with self._lock:
            return [name for name, _ in self.calls]

    def arguments_of(self, function: str) -> list[dict[str, Argument]]:
        """The arguments of each call of a function."""
        with self._lock:
            return [arguments for name, arguments in self.calls if name == function]

    def call(self, function: str, /, **arguments: Argument) -> JsonValue:
        with self._lock:
            self.calls.append((function, arguments))
            script = self._scripts.get(function)
            if script is None:
                return None
            answer = script[0] if len(script) == 1 else script.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.is_closed = True
