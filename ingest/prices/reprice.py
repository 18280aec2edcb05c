"""Reprices recorded calls with what is known today about the prices of their day.

Rows are read by pages, priced here with exact decimals, and the differences applied page by page, each in one short
transaction that moves the rollups with the rows. A run that was cut off goes on where it ended; a run repeated changes
nothing.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Context, Decimal, Inexact
from typing import TYPE_CHECKING

from ingest.database import fetch
from ingest.documents.prices import Place, RepricePage, RepriceStart, RepriceStep
from ingest.errors import DatabaseError, RepriceError
from ingest.notices import FLAGS_KEY, Notices
from ingest.prices.costing import Costing
from ingest.prices.in_force import Prices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import JsonValue

    from ingest.database import Argument, Database
    from ingest.settings import Settings
    from pricing import PriceBook

# The database takes 5,000. Half of it keeps the roll-up waiting half as long and takes a tenth more time in all.
PAGE_ROWS = 2_500

# A call under way when the database restarts fails; its page is simply applied again.
_MAX_TRIES = 5
# Rows not yet counted are counted by a roll-up of ours, the oldest first; each turn leaves fewer of them.
_MAX_ROLL_UPS = 100

_EXACT = Context(prec=60, traps=[Inexact])  # the thread's own context would round at 28 digits
_COST_KEYS = ("estimated_cost", "cost_source", "price_id")


@dataclass(frozen=True, slots=True)
class RepriceScope:
    """Which calls are repriced.

    Attributes:
        from_time: Beginning, included.
        to_time: End, excluded.
        models: Only these, as recorded; empty for all.
        providers: Only these, as recorded; empty for all.
        include_reported: Whether calls whose provider said what they cost are priced by the book too.
        corrected: Of an automatic run: models with corrected prices, "provider/model" each, whose calls are priced
            again beside all that are uncertain. None for a run that somebody asked for.
    """

    from_time: datetime
    to_time: datetime
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    include_reported: bool = False
    corrected: tuple[str, ...] | None = None

    def filters(self) -> dict[str, JsonValue]:
        """The filters that `get_rows_to_reprice` takes."""
        filters: dict[str, JsonValue] = {}
        if self.models:
            filters["model"] = [*sorted(self.models)]
        if self.providers:
            filters["provider"] = [*sorted(self.providers)]
        if self.include_reported:
            filters["include_reported"] = True
        if self.corrected is not None:
            filters["automatic"] = [*self.corrected]
        return filters


@dataclass(slots=True)
class ModelTotals:
    """What repricing changes for one model.

    Attributes:
        rows: Calls read.
        changed: Calls whose cost, its source or its price row differs.
        old_cost: US dollars of all calls read, before; unpriced calls count nothing.
        new_cost: The same, after.
        newly_priced: Calls that had no cost and get one.
        newly_unpriced: Calls that had a cost and lose it.
        old_unpriced, new_unpriced: Calls without a cost, before and after.
    """

    rows: int = 0
    changed: int = 0
    old_cost: Decimal = Decimal(0)
    new_cost: Decimal = Decimal(0)
    newly_priced: int = 0
    newly_unpriced: int = 0
    old_unpriced: int = 0
    new_unpriced: int = 0

    @property
    def difference(self) -> Decimal:
        """US dollars that are added (or, negative, taken away)."""
        return _EXACT.subtract(self.new_cost, self.old_cost)

    def add(self, old: Decimal | None, new: Decimal | None, *, is_changed: bool) -> None:
        """Count one call."""
        self.rows += 1
        self.changed += is_changed
        self.old_cost = _EXACT.add(self.old_cost, old or 0)
        self.new_cost = _EXACT.add(self.new_cost, new or 0)
        self.newly_priced += old is None and new is not None
        self.newly_unpriced += old is not None and new is None
        self.old_unpriced += old is None
        self.new_unpriced += new is None


@dataclass(slots=True)
class RepriceTotals:
    """What a run has read and done.

    Attributes:
        by_model: Totals by (provider, model), of the calls that this process has read.
        corrected: Calls corrected by this process.
        conflicts: Calls that had changed since they were read, and were left as they are.
        run_id: The run in the audit; None for a dry run.
        is_resumed: Whether it went on with a run that had been cut off.
        is_finished: Whether the run came to its end; else the next one goes on where it stopped.
        longest_lock_ms: Longest time that one page kept the roll-up waiting.
        cut_at: Time of the last call read where a preview stopped at its limit; None when all calls were read.
    """

    by_model: dict[tuple[str, str], ModelTotals] = field(default_factory=dict)
    corrected: int = 0
    conflicts: int = 0
    run_id: int | None = None
    is_resumed: bool = False
    is_finished: bool = False
    longest_lock_ms: float = 0.0
    cut_at: datetime | None = None

    @property
    def rows(self) -> int:
        """Calls read."""
        return sum(one.rows for one in self.by_model.values())

    @property
    def whole(self) -> ModelTotals:
        """All models together."""
        whole = ModelTotals()
        for one in self.by_model.values():
            whole.old_cost = _EXACT.add(whole.old_cost, one.old_cost)
            whole.new_cost = _EXACT.add(whole.new_cost, one.new_cost)
            for count in ("rows", "changed", "newly_priced", "newly_unpriced", "old_unpriced", "new_unpriced"):
                setattr(whole, count, getattr(whole, count) + getattr(one, count))
        return whole


_Change = dict[str, "JsonValue"]


def preview(
    database: Database,
    scope: RepriceScope,
    book: PriceBook,
    fallback_model: str | None,
    max_rows: int | None = None,
    *,
    notices: Notices | None = None,
    on_progress: Callable[[RepriceTotals], None] = lambda _: None,
) -> RepriceTotals:
    """Tell what pricing calls again would change; changes nothing.

    Args:
        database: Opened as service_role or ops.
        scope: Which calls.
        book: Prices in force, see `ingest.prices.in_force.read_price_book`.
        fallback_model: Stands in for unknown models; None for nothing.
        max_rows: Calls read at most, the oldest first; None for all. `cut_at` tells where a limit was met.
        notices: Where models without a price are reported; default: the log.
        on_progress: Told the totals after each page.

    Raises:
        DatabaseError: The database refuses or fails.
    """
    costing = Costing(fallback_model, notices or Notices(), lambda: book)
    totals = RepriceTotals()
    for page in _pages(database, scope, None, max_rows):
        for row in page.rows:
            _price(row, costing, totals)
        on_progress(totals)
        if page.next is not None and totals.rows == max_rows:
            totals.cut_at = datetime.fromisoformat(page.next.created_at)
    return totals


class Repricer:
    """Prices the calls of a scope again, with the prices in force.

    Args:
        database: Opened as service_role.
        settings: Fallback model, deployments and region, as for recording.
        notices: Where models without a price are reported.
        sleep: Waits this many seconds before a failed call is retried.
        prices: Prices that have been read; default: those in force are read.

    Raises:
        DatabaseError: The customer's prices cannot be read.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        notices: Notices,
        sleep: Callable[[float], None] = time.sleep,
        prices: Prices | None = None,
    ) -> None:
        self._database = _PatientDatabase(database, sleep)
        self._notices = notices
        self._fallback_model = settings.fallback_model
        self._prices = prices or Prices(
            notices, deployments=settings.deployments, providers=settings.providers, region=settings.region
        )
        if prices is None:
            self._prices.refresh(database)

    def preview(
        self, scope: RepriceScope, on_progress: Callable[[RepriceTotals], None] = lambda _: None
    ) -> RepriceTotals:
        """Return what `apply` would change; changes nothing."""
        return preview(
            self._database,
            scope,
            self._prices.book,
            self._fallback_model,
            notices=self._notices,
            on_progress=on_progress,
        )

    def apply(
        self,
        scope: RepriceScope,
        *,
        requested_by: str,
        reason: str | None = None,
        on_progress: Callable[[RepriceTotals], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> RepriceTotals:
        """Correct the calls, their audit and the rollups, page by page; then refresh the aggregates.

        Args:
            scope: Which calls.
            requested_by: Who wants it, for the audit.
            reason: Why, for the audit.
            on_progress: Told the totals after each page.
            should_stop: Asked after each page whether to leave the rest for the same call later.

        Raises:
            RepriceError: Rows stay uncounted, or the database keeps failing.
            DatabaseError: The database refuses.
        """
        costing = Costing(self._fallback_model, self._notices, lambda: self._prices.book)
        run = fetch(
            self._database,
            RepriceStart,
            "start_reprice",
            from_time=scope.from_time,
            to_time=scope.to_time,
            filters=scope.filters(),
            price_fingerprint=self._prices.fingerprint(self._fallback_model),
            requested_by=requested_by,
            reason=reason,
        )
        totals = RepriceTotals(run_id=run.run_id, is_resumed=run.is_resumed)
        for page in _pages(self._database, scope, run.next):
            changes = [change for row in page.rows if (change := _price(row, costing, totals)) is not None]
            following = None if page.next is None else page.next.model_dump()
            progress: dict[str, JsonValue] = {
                "rows": len(page.rows), "next": following, "is_last": following is None
            }  # fmt: skip
            self._apply(run.run_id, changes, progress, totals)
            on_progress(totals)
            if following is not None and should_stop():
                return totals
        totals.is_finished = True
        self._database.call("refresh_aggregates")
        return totals

    def _apply(
        self, run_id: int, changes: list[_Change], progress: dict[str, JsonValue], totals: RepriceTotals
    ) -> None:
        for _ in range(_MAX_ROLL_UPS):
            step = fetch(
                self._database, RepriceStep, "apply_reprice", run_id=run_id, changes=changes, progress=progress
            )
            totals.corrected += step.corrected
            totals.conflicts += step.conflicts
            totals.longest_lock_ms = max(totals.longest_lock_ms, step.locked_ms)
            if not step.pending:
                return
            waiting = set(step.pending)
            changes = [change for change in changes if change["event_id"] in waiting]
            self._database.call("roll_up")
        raise RepriceError(f"{len(changes)} calls are still not rolled up: see `treering status`, then run this again")


class _PatientDatabase:
    """Calls a function some times more where it may succeed later: each of those used here may be repeated safely."""

    def __init__(self, database: Database, sleep: Callable[[float], None]) -> None:
        self._database = database
        self._sleep = sleep

    def call(self, function: str, /, **arguments: Argument) -> JsonValue:
        for attempt in range(1, _MAX_TRIES):
            try:
                return self._database.call(function, **arguments)
            except DatabaseError as error:
                if not error.retryable:
                    raise
                self._sleep(2.0**attempt / 2)
        return self._database.call(function, **arguments)

    def close(self) -> None:
        self._database.close()


def _pages(
    database: Database, scope: RepriceScope, place: Place | None, max_rows: int | None = None
) -> Iterator[RepricePage]:
    """Yield the pages after a place, of at most so many calls in all."""
    left = max_rows
    while left is None or left > 0:
        end = _end_of_page(scope, place)
        page = fetch(
            database,
            RepricePage,
            "get_rows_to_reprice",
            from_time=scope.from_time,
            to_time=end,
            filters=scope.filters(),
            after_created_at=None if place is None else place.created_at,
            after_event_id=None if place is None else place.event_id,
            max_rows=PAGE_ROWS if left is None else min(PAGE_ROWS, left),
        )
        if page.next is None and end < scope.to_time:
            page = page.model_copy(update={"next": Place(created_at=end.isoformat(), event_id=str(uuid.UUID(int=0)))})
        yield page
        place = page.next
        if place is None:
            return
        if left is not None:
            left -= len(page.rows)


def _end_of_page(scope: RepriceScope, place: Place | None) -> datetime:
    """Few calls of a day may be uncertain: an automatic run reads at most a day at once, however many it skips."""
    if scope.corrected is None:
        return scope.to_time
    start = scope.from_time if place is None else datetime.fromisoformat(place.created_at)
    return min(start + timedelta(days=1), scope.to_time)


def _price(row: Mapping[str, JsonValue], costing: Costing, totals: RepriceTotals) -> _Change | None:
    """Price one row, count it, and return what changes; None where nothing does."""
    event = {key: value for key, value in row.items() if key not in _COST_KEYS}
    costing.apply(event)
    old, new = _amount(row), _amount(event)
    if new is None and row["cost_source"] == "provider":
        # What the provider said is better than nothing.
        event, new = dict(row), old
    is_changed = (old, row["cost_source"], row.get("price_id")) != (new, event["cost_source"], event.get("price_id"))
    model = totals.by_model.setdefault((str(row["provider"]), str(row["model"])), ModelTotals())
    model.add(old, new, is_changed=is_changed)
    if not is_changed:
        return None
    return {
        "event_id": row["event_id"],
        "created_at": row["created_at"],
        "old_cost": row.get("estimated_cost"),
        "new_cost": event.get("estimated_cost"),
        "old_cost_source": row["cost_source"],
        "new_cost_source": event["cost_source"],
        "old_price_id": row.get("price_id"),
        "new_price_id": event.get("price_id"),
        "new_flags": _flags(event),
    }


def _flags(event: Mapping[str, JsonValue]) -> JsonValue:
    metadata = event.get("metadata")
    return metadata.get(FLAGS_KEY) if isinstance(metadata, dict) else None


def _amount(event: Mapping[str, JsonValue]) -> Decimal | None:
    cost = event.get("estimated_cost")
    return None if cost is None else Decimal(str(cost))
