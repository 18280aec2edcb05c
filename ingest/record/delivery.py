"""Sends batches to the database and finds the event that makes a batch fail."""

from __future__ import annotations

import threading
import time
from base64 import b64encode
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ingest.errors import DatabaseError, RequestTooLargeError, UnexpectedResponseError
from ingest.record.encoding import FEEDBACK, PERFORMANCE, USAGE, decode
from ingest.record.segment import EVENTS_PER_TURN

if TYPE_CHECKING:
    from collections.abc import Callable, ItemsView, Iterable

    from pydantic import JsonValue

    from ingest.database import Database
    from ingest.notices import Notices
    from ingest.record.dead_letters import DeadLetters
    from ingest.record.event import Event

FUNCTIONS = {USAGE: "record_usage", PERFORMANCE: "record_performance", FEEDBACK: "record_feedback"}
MAX_ENCODING_FAILURES = 5
# Only these blame the row, https://www.postgresql.org/docs/current/errcodes-appendix.html: data exceptions and
# violated constraints. Everything else is a state of the set-up that somebody can repair.
_FINAL_SQLSTATE_CLASSES = ("22", "23")
# What making JSON of an event raises by a fault of ours; any other surprise (a socket's, say) may pass.
_ENCODING_FAULTS = (TypeError, ValueError, RecursionError)
# Turning an event into JSON takes a third of the time that preparing it takes, so others get their turn as often.
EVENTS_PER_PAUSE = 3 * EVENTS_PER_TURN


@dataclass
class Tally:
    """Counts of what happened to the events taken from the journal."""

    delivered: int = 0
    stored: int = 0
    refused: int = 0
    corrected: int = 0
    fallback_priced: int = 0
    unpriced: int = 0


@dataclass
class Batch:
    """Events on their way: what is left to send, in parts that are halved when one is refused.

    Attributes:
        offset: Where the batch ends in its journal segment.
        count: Records taken from the journal.
        parts: Function and events of each call still to be made.
        encoding_failures: Calls of this batch that failed by a fault of ours with an event.
    """

    offset: int
    count: int
    parts: deque[tuple[str, list[Event]]] = field(default_factory=deque)
    encoding_failures: int = 0


class Delivery:
    """Turns records into events with a cost and hands them to the database.

    Args:
        price: Adds the cost to a usage event.
        dead_letters: Where finally refused events go.
        notices: Where trouble is reported.
        refresh: Refreshes the prices if due, before a batch is priced.
    """

    def __init__(
        self,
        price: Callable[[Event], None],
        dead_letters: DeadLetters,
        notices: Notices,
        refresh: Callable[[Database], None] = lambda _: None,
    ) -> None:
        self._price = price
        self.refresh = refresh
        self._dead_letters = dead_letters
        self._notices = notices
        self._refusing = threading.Lock()  # one batch may be prepared while another is sent
        self.tally = Tally()

    def prepare(self, records: Iterable[tuple[bytes, int]]) -> Batch | None:
        """Make a batch of journal records; None where there are none.

        Lets other threads run after every few events.
        """
        events: dict[bytes, list[Event]] = {kind: [] for kind in FUNCTIONS}
        offset = count = 0
        for record, offset in records:  # noqa: B007 -- the last one is kept
            count += 1
            is_turn = count % EVENTS_PER_TURN == 0
            try:
                kind, event = decode(record)
                if kind == USAGE:
                    self._price(event)
            except Exception as error:  # noqa: BLE001 -- a record of a newer version, or a fault of ours
                self._refuse("unreadable", {"record": b64encode(record).decode()}, f"unreadable: {error}")
            else:
                self._count(event)
                events[kind].append(_Courteous(event) if count % EVENTS_PER_PAUSE == 0 else event)
            if is_turn:
                time.sleep(0)
        if not count:
            return None
        return Batch(offset, count, deque((FUNCTIONS[kind], part) for kind, part in events.items() if part))

    def send(self, batch: Batch, database: Database) -> None:
        """Send what is left of a batch; returns when all of it is stored or refused for good.

        Raises:
            Exception: A failure that may pass; call again with the same batch, later.
        """
        while batch.parts:
            function, events = batch.parts[0]
            try:
                result = database.call(function, events=events)
            except Exception as error:
                if not self._is_final(error, batch):
                    raise
                batch.parts.popleft()
                self._split(batch, function, events, error)
                continue
            stored = _count_of(result, function, len(events))
            batch.parts.popleft()
            self.tally.delivered += len(events)
            self.tally.stored += stored

    def _is_final(self, error: Exception, batch: Batch) -> bool:
        """Whether the events are to blame: what people can repair waits for them, and then all events go."""
        if isinstance(error, RequestTooLargeError):
            return True  # the batch is halved; a single event goes to the dead letters
        if isinstance(error, DatabaseError):
            return (error.sqlstate or "").startswith(_FINAL_SQLSTATE_CLASSES)
        if not isinstance(error, _ENCODING_FAULTS):
            return False
        batch.encoding_failures += 1
        return batch.encoding_failures > MAX_ENCODING_FAILURES

    def _split(self, batch: Batch, function: str, events: list[Event], error: Exception) -> None:
        if len(events) == 1:
            self._refuse(function, events[0], str(error))
            return
        middle = len(events) // 2
        batch.parts.extendleft([(function, events[middle:]), (function, events[:middle])])

    def _refuse(self, kind: str, event: Event, reason: str) -> None:
        try:
            with self._refusing:
                self.tally.refused += 1
                if self._dead_letters.write(kind, dict(event), reason):
                    self._notices.warn("dead letters", "the oldest dead letters were deleted: there are too many")
            where = f"kept in {self._dead_letters.path}: see `treering dead-letters list`"
        except OSError as error:
            where = f"lost, since {self._dead_letters.path} cannot be written: {error.strerror}"
        self._notices.warn("refused", f"an event was refused and is {where}")

    def _count(self, event: Event) -> None:
        metadata = event.get("metadata")
        if isinstance(metadata, dict) and "treering_flags" in metadata:
            self.tally.corrected += 1
        source = event.get("cost_source")
        if source == "fallback":
            self.tally.fallback_priced += 1
        elif source == "unpriced":
            self.tally.unpriced += 1


def _count_of(result: JsonValue, function: str, most: int) -> int:
    """Check that it was really the function that answered: a proxy's page of HTML comes with status 200 too.

    Raises:
        UnexpectedResponseError: It is not the number of rows that were stored.
    """
    if type(result) is int and 0 <= result <= most:
        return result
    raise UnexpectedResponseError(
        f"{function} answered with {type(result).__name__} instead of the number of rows it stored: check SUPABASE_URL "
        "and any proxy before it, and run `treering migrate`"
    )


class _Courteous(dict[str, "JsonValue"]):
    """An event that lets other threads run while it is turned into JSON.

    The standard encoder writes a whole batch without ever letting go of the interpreter, for milliseconds; but it asks
    a subclass for its items.
    """

    def items(self) -> ItemsView[str, JsonValue]:  # type: ignore[override]  # the same view by its abstract name
        time.sleep(0)
        return super().items()
