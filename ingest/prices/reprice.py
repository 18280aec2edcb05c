"""Reprices recorded calls with what is known today about the prices of their day.

Rows are read by pages, priced here with exact decimals, and the differences applied page by page, each in one short
transaction that moves the rollups with the rows. A run that was cut off goes on where it ended; a run repeated changes
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact
from typing import TYPE_CHECKING

from ingest.errors import DatabaseError, TreeringError
from ingest.prices.costing import Costing
from ingest.prices.in_force import Prices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from pydantic import JsonValue

    from ingest.database import Argument, Database
    from ingest.notices import Notices
    from ingest.record.event import Event
    from ingest.settings import Settings

# The database takes 5,000. Half of it keeps the roll-up waiting half as long and takes a tenth more time in all.
PAGE_ROWS = 2_500

# A call under way when the database restarts fails; its page is simply applied again.
_MAX_TRIES = 5
# Rows not yet counted are counted by a roll-up of ours, the oldest first; each turn leaves fewer of them.
_MAX_ROLL_UPS = 100

_EXACT = Context(prec=60, traps=[Inexact])  # the thread's own context would round at 28 digits
_COST_KEYS = ("estimated_cost", "cost_source", "price_id")


class RepriceError(TreeringError):
    """Repricing stopped; applied corrections stay applied and counted, and the same command resumes."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which calls are repriced.

    Attributes:
        from_time: Beginning, included.
        to_time: End, excluded.
        models: Only these, as recorded; empty for all.
        providers: Only these, as recorded; empty for all.
        include_reported: Whether calls whose provider said what they cost are priced by the book too.
    """

    from_time: datetime
    to_time: datetime
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    include_reported: bool = False

    def filters(self) -> dict[str, JsonValue]:
        """The filters that `get_rows_to_reprice` takes."""
        filters: dict[str, JsonValue] = {}
        if self.models:
            filters["model"] = [*sorted(self.models)]
        if self.providers:
            filters["provider"] = [*sorted(self.providers)]
        if self.include_reported:
            filters["include_reported"] = True
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
    """

    rows: int = 0
    changed: int = 0
    old_cost: Decimal = Decimal(0)
    new_cost: Decimal = Decimal(0)
    newly_priced: int = 0
    newly_unpriced: int = 0

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


@dataclass(slots=True)
class RepriceTotals:
    """What a run has read and done.

    Attributes:
        by_model: Totals by (provider, model), of the calls that this process has read.
        corrected: Calls corrected by this process.
        conflicts: Calls that had changed since they were read, and were left as they are.
        run_id: The run in the audit; None for a dry run.
        is_resumed: Whether it went on with a run that had been cut off.
        longest_lock_ms: Longest time that one page kept the roll-up waiting.
    """

    by_model: dict[tuple[str, str], ModelTotals] = field(default_factory=dict)
    corrected: int = 0
    conflicts: int = 0
    run_id: int | None = None
    is_resumed: bool = False
    longest_lock_ms: float = 0.0

    @property
    def whole(self) -> ModelTotals:
        """All models together."""
        whole = ModelTotals()
        for one in self.by_model.values():
            whole.rows += one.rows
            whole.changed += one.changed
            whole.old_cost = _EXACT.add(whole.old_cost, one.old_cost)
            whole.new_cost = _EXACT.add(whole.new_cost, one.new_cost)
            whole.newly_priced += one.newly_priced
            whole.newly_unpriced += one.newly_unpriced
        return whole


_Change = dict[str, "JsonValue"]


class Repricer:
    """Reprices the calls of a selection.

    Args:
        database: Opened as service_role.
        settings: Fallback model, deployments and region, as for recording.
        notices: Where models without a price are reported.
        sleep: Waits this many seconds before a failed call is retried.

    Raises:
        DatabaseError: The customer's prices cannot be read.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        notices: Notices,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._sleep = sleep
        self._prices = Prices(notices, deployments=settings.deployments, region=settings.region)
        self._prices.refresh(database)
        self._costing = Costing(settings.fallback_model, notices, lambda: self._prices.book)
        self._fingerprint = self._prices.fingerprint(settings.fallback_model)

    def preview(
        self, selection: Selection, on_progress: Callable[[RepriceTotals], None] = lambda _: None
    ) -> RepriceTotals:
        """Return what `apply` would change; changes nothing."""
        totals = RepriceTotals()
        for rows, _ in self._pages(selection, None):
            for row in rows:
                self._price(row, totals)
            on_progress(totals)
        return totals

    def apply(
        self,
        selection: Selection,
        *,
        requested_by: str,
        reason: str | None = None,
        on_progress: Callable[[RepriceTotals], None] = lambda _: None,
    ) -> RepriceTotals:
        """Correct the calls, their audit and the rollups, page by page; then refresh the aggregates.

        Args:
            selection: Which calls.
            requested_by: Who wants it, for the audit.
            reason: Why, for the audit.
            on_progress: Told the totals after each page.

        Raises:
            RepriceError: Rows stay uncounted, or the database keeps failing.
            DatabaseError: The database refuses.
        """
        started = self._call(
            "start_reprice",
            from_time=selection.from_time,
            to_time=selection.to_time,
            filters=selection.filters(),
            price_fingerprint=self._fingerprint,
            requested_by=requested_by,
            reason=reason,
        )
        run_id = started["run_id"]
        assert isinstance(run_id, int)
        totals = RepriceTotals(run_id=run_id, is_resumed=started["is_resumed"] is True)
        for rows, following in self._pages(selection, started["next"]):
            changes = [change for row in rows if (change := self._price(row, totals)) is not None]
            progress: dict[str, JsonValue] = {"rows": len(rows), "next": following, "is_last": following is None}
            self._apply(run_id, changes, progress, totals)
            on_progress(totals)
        self._call("refresh_aggregates")
        return totals

    def _apply(
        self, run_id: int, changes: list[_Change], progress: dict[str, JsonValue], totals: RepriceTotals
    ) -> None:
        for _ in range(_MAX_ROLL_UPS):
            answer = self._call("apply_reprice", run_id=run_id, changes=changes, progress=progress)
            corrected, locked_ms, pending = answer["corrected"], answer["locked_ms"], answer["pending"]
            assert isinstance(corrected, int)
            assert isinstance(locked_ms, int | float)
            conflicts = answer["conflicts"]
            assert isinstance(pending, list)
            assert isinstance(conflicts, int)
            totals.corrected += corrected
            totals.conflicts += conflicts
            totals.longest_lock_ms = max(totals.longest_lock_ms, locked_ms)
            if not pending:
                return
            waiting = set(map(str, pending))
            changes = [change for change in changes if change["event_id"] in waiting]
            self._call("roll_up")
        raise RepriceError(f"{len(changes)} calls are still not rolled up: see `treering status`, then run this again")

    def _pages(
        self, selection: Selection, following: JsonValue
    ) -> Iterator[tuple[list[Mapping[str, JsonValue]], JsonValue]]:
        """Yield each page with where the next one begins; None after the last."""
        while True:
            after = following if isinstance(following, Mapping) else {}
            page = self._call(
                "get_rows_to_reprice",
                from_time=selection.from_time,
                to_time=selection.to_time,
                filters=selection.filters(),
                after_created_at=after.get("created_at"),
                after_event_id=after.get("event_id"),
                max_rows=PAGE_ROWS,
            )
            rows, following = page["rows"], page["next"]
            assert isinstance(rows, list)
            yield [row for row in rows if isinstance(row, Mapping)], following
            if following is None:
                return

    def _price(self, row: Mapping[str, JsonValue], totals: RepriceTotals) -> _Change | None:
        """Price one row, count it, and return what changes; None where nothing does."""
        event: Event = {key: value for key, value in row.items() if key not in _COST_KEYS}
        self._costing.apply(event)
        old, new = _amount(row), _amount(event)
        if new is None and row["cost_source"] == "provider":
            # What the provider said is better than nothing.
            event, new = dict(row), old
        is_changed = (old, row["cost_source"], row.get("price_id")) != (
            new,
            event["cost_source"],
            event.get("price_id"),
        )
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
        }

    def _call(self, function: str, **arguments: Argument) -> Mapping[str, JsonValue]:
        """Call a function, some times more where it may succeed later: each of them may be repeated safely."""
        for attempt in range(1, _MAX_TRIES + 1):
            try:
                answer = self._database.call(function, **arguments)
            except DatabaseError as error:
                if not error.retryable or attempt == _MAX_TRIES:
                    raise
                self._sleep(2.0**attempt / 2)
                continue
            assert isinstance(answer, Mapping), function
            return answer
        raise AssertionError("unreachable")


def _amount(event: Mapping[str, JsonValue]) -> Decimal | None:
    cost = event.get("estimated_cost")
    return None if cost is None else Decimal(str(cost))
