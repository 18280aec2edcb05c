"""Fills a database with 90 days of demo usage that end now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from ingest.database import fetch
from ingest.documents.calls import Calls
from ingest.local.demo_traffic import DEFAULT_SEED, ENVIRONMENT, route_events, usage_events
from ingest.notices import Notices
from ingest.prices.costing import Costing
from ingest.prices.in_force import Prices

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Argument, Database

DAYS = 90
BATCH_SIZE = 5_000

# Retries of a call may lie a little after later calls, so loading goes on from a little before the newest one.
_OVERLAP = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class DemoTotals:
    """What loading the demo stored.

    Attributes:
        calls: LLM calls newly stored.
        requests: HTTP requests newly stored.
        is_complete: False when it was asked to stop before the end.
    """

    calls: int
    requests: int
    is_complete: bool


def load_demo(
    database: Database,
    *,
    now: datetime,
    fallback_model: str | None,
    seed: int = DEFAULT_SEED,
    days: int = DAYS,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> DemoTotals:
    """Store the demo's calls and requests of the last `days` days; what is already there is not changed.

    Loading again later adds what has "happened" since, because the traffic of an hour depends on the seed and the hour
    alone.

    Args:
        database: Opened as service_role.
        now: End of the usage.
        fallback_model: As in the settings: what a model without a price is priced as.
        seed: Another seed makes other traffic.
        days: Length of the history.
        should_stop: Asked between batches.
        on_progress: Told after each batch how many events have been sent.
    """
    start = now - timedelta(days=days)
    resumed = _newest_demo_call(database, start, now)
    notices = Notices()
    prices = Prices(notices)
    prices.refresh_if_due(database)
    costing = Costing(fallback_model, notices, lambda: prices.book)
    stored = {"record_usage": 0, "record_performance": 0}
    sent = 0
    # Requests first: the newest call then shows that everything before it is there, requests included.
    sources = (("record_performance", route_events), ("record_usage", usage_events))
    for function, events_between in sources:
        events = events_between(resumed, now, seed=seed)
        while batch := list(islice(events, BATCH_SIZE)):
            if should_stop():
                return DemoTotals(stored["record_usage"], stored["record_performance"], is_complete=False)
            if function == "record_usage":
                for event in batch:
                    costing.apply(event)
            stored[function] += fetch(database, int, function, events=batch)
            sent += len(batch)
            on_progress(sent)
    return DemoTotals(stored["record_usage"], stored["record_performance"], is_complete=True)


def _newest_demo_call(database: Database, start: datetime, now: datetime) -> datetime:
    filters: dict[str, Argument] = {"environment": ENVIRONMENT, "limit": 1}
    page = fetch(database, Calls, "get_events", from_time=start, to_time=now, filters=filters)
    return max([start, *(call.created_at - _OVERLAP for call in page.events)])
