"""Shows the tests of a backend what it records: no disk, no thread, no database, no `configure`.

A test reads the events as they come:

from ingest.testing import recorded

with recorded() as events:
    answer(client, "How do I keep it alive?")
assert events.usage[0]["user_id"] == "user_2abc"
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from ingest.notices import Notices
from ingest.record import capture
from ingest.record.encoding import USAGE, decode, encode
from ingest.record.event_id import identify
from ingest.record.process import Process
from ingest.record.recorder import Stats
from ingest.tracking import background

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Collection, Iterator, Mapping

    from ingest.record.event import Event
    from ingest.record.recorder import Recorder
    from pricing import PriceBook

__all__ = ["RecordedEvents", "recorded"]


class RecordedEvents(list[dict[str, Any]]):
    """Events in the order in which they were recorded, each as the database would take it.

    Keys are the arguments of `record_usage` or `record_performance` that have a value, with `event_id` and `created_at`
    as text. What was corrected is listed in `metadata.treering_flags`.
    """

    @property
    def usage(self) -> list[dict[str, Any]]:
        """The calls of models."""
        return [event for event in self if "model" in event]

    @property
    def performance(self) -> list[dict[str, Any]]:
        """The HTTP requests."""
        return [event for event in self if "route" in event]


@contextmanager
def recorded(*, price: bool | PriceBook = False) -> Iterator[RecordedEvents]:
    """Collect what this process records within the block, in place of keeping and sending it.

    Holds for all threads and tasks, whatever the environment says; `configure`, `flush` and `shutdown` may be called
    within and change nothing. Blocks nest: the innermost collects; tasks that run side by side with a block
    each collect their own. Afterwards everything is as it was before.

    An event is there as soon as it was recorded. A loop over a stream that was left by `break` may be taken up again,
    so its call is there after the next `flush()` or at the end of the block; a stream still open then is not recorded.
    Tokens that no provider reported are estimated (`usage_source` is "heuristic"): a vocabulary might be downloaded.

    Args:
        price: Whether usage events get `estimated_cost` (US dollars as text), `cost_source` and `price_id`, as they
            would on their way to the database: True for the prices of this release, whose figures change with it; or
            the price book to use. An unknown model is priced as the default of `TREERING_FALLBACK_MODEL`.

    Yields:
        The events, a list that grows.
    """
    block = _Block(_CURRENT.get(), _make_pricing(price))
    token = _CURRENT.set(block)
    _MODE.enter(block)
    try:
        yield block.events
    finally:
        _MODE.leave(block)
        with suppress(ValueError):  # left in another context, as a fixture may be; a block that is over counts no more
            _CURRENT.reset(token)


class _Block:
    """One `with recorded()`.

    Attributes:
        events: What was recorded in it.
        outer: The block around it in this context.
        is_over: Whether it has ended.
    """

    def __init__(self, outer: _Block | None, price: Callable[[Event], None] | None) -> None:
        self.events = RecordedEvents()
        self.outer = outer
        self.is_over = False
        self._price = price
        self._lock = threading.RLock()  # re-entrant: the garbage collector may end a call while another is taken

    def price(self, event: Event) -> None:
        """Add the cost to a usage event where that was asked for."""
        if self._price is not None:
            self._price(event)

    def take(self, kind: bytes, fields: dict[str, object]) -> None:
        """Keep one event as the database would get it."""
        _, event = decode(encode(kind, fields))
        with self._lock:
            if kind == USAGE:
                self.price(event)
            self.events.append(event)


class _Memory:
    """Stands in for the recorder: what it is told goes to the block of the caller's context, else to the newest."""

    salt = b"ingest.testing"  # the same in each run, so that equal prompts have equal hashes
    keeps_blocks = True
    providers: Mapping[str, str] = MappingProxyType({})
    trusted_costs: Collection[str] = ()

    def record(self, kind: bytes, fields: dict[str, object], event_id: object, created_at: object) -> uuid.UUID:
        """Keep one event."""
        made, kept = identify(fields, event_id, created_at)
        block = _MODE.block()
        if block is not None:
            block.take(kind, kept)
        return made

    def price(self, event: Event) -> None:
        """Price as the block does."""
        block = _MODE.block()
        if block is not None:
            block.price(event)

    def open_call(self, _fields: dict[str, object], _event_id: object, _created_at: object) -> None:
        """Keep nothing beyond the process."""

    def flush(self, _timeout_s: float) -> bool:
        """Nothing waits."""
        return True

    def stats(self) -> Stats:
        """Count what the block has."""
        block = _MODE.block()
        return Stats(recorded=len(block.events) if block is not None else 0)


class _TestProcess(Process):
    """Stands in for what holds the process's recorder: always on, whatever is configured."""

    def __init__(self) -> None:
        super().__init__()
        self.sources = [background.settle]
        self.recorder = cast("Recorder", _Memory())  # it has all that `capture` asks of a recorder

    def configure(self, make: Callable[[], Recorder | None]) -> None:  # `configure` has checked its arguments
        """Leave all as it is."""

    def stop(self, timeout_s: float, *, is_patient: bool) -> bool:  # noqa: ARG002 -- nothing runs
        """Leave all as it is."""
        return True

    def scope(self) -> _Block | None:
        """The block in which a call begins."""
        return _MODE.block()


class _Mode:
    """The blocks that are open, and what they stand in for."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._blocks: list[_Block] = []
        self._former: tuple[Process, background.Background] | None = None

    def block(self) -> _Block | None:
        """The block that collects here and now."""
        block = _CURRENT.get()
        while block is not None and block.is_over:
            block = block.outer
        if block is not None:
            return block
        with self._lock:
            return self._blocks[-1] if self._blocks else None

    def enter(self, block: _Block) -> None:
        """Open a block; the first one takes the recorder's place."""
        with self._lock:
            if self._former is None:
                background.settle(_SETTLE_S)  # calls made before belong to the recorder
                inline = background.Background(is_inline=True)
                self._former = capture.replace(_TestProcess()), background.replace(inline)
            self._blocks.append(block)

    def leave(self, block: _Block) -> None:
        """End a block, with the calls whose streams were left; after the last one the recorder has its place back."""
        with self._lock:
            background.settle(0)
            block.is_over = True
            self._blocks.remove(block)
            if not self._blocks and self._former is not None:
                (process, thread), self._former = self._former, None
                capture.replace(process)
                background.replace(thread)


def _make_pricing(price: bool | PriceBook) -> Callable[[Event], None] | None:
    if price is False:
        return None
    # The catalogue takes half a second to load, and few tests ask for it.
    from ingest.prices.costing import Costing
    from ingest.settings import Settings
    from pricing import PriceBook

    book = PriceBook.default() if price is True else price
    return Costing(Settings.model_fields["fallback_model"].default, Notices(), lambda: book).apply


_SETTLE_S = 5.0
_CURRENT: ContextVar[_Block | None] = ContextVar("treering_recorded", default=None)
_MODE = _Mode()
