"""Stand-ins for the database and the clock."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Argument, JsonValue
    from ingest.record.event import Event


class FakeDatabase:
    """Stores events by id, as the real one does, and fails on demand.

    Attributes:
        failures: Errors that the next calls raise, one each.
        refuses: Says of an event why the database will not take the batch that holds it.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.failures: list[Exception] = []
        self.refuses: Callable[[Event], Exception | None] = lambda _: None
        self.usage: dict[str, Event] = {}
        self.performance: dict[str, Event] = {}
        self.closed = 0
        self.called = threading.Event()

    def call(self, function: str, /, **arguments: Argument) -> JsonValue:
        if function == "get_prices":
            return {"prices": []}  # the failures are those of the writing calls
        events = cast("list[Event]", arguments["events"])
        self.calls.append((function, len(events)))
        self.called.set()
        if self.failures:
            raise self.failures.pop(0)
        for event in events:
            error = self.refuses(event)
            if error is not None:
                raise error
        table = self.usage if function == "record_usage" else self.performance
        before = len(table)
        for event in events:
            table.setdefault(str(event["event_id"]), dict(event))
        return len(table) - before

    def close(self) -> None:
        self.closed += 1


class FakeClock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
