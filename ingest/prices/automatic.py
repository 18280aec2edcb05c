"""Prices calls of the last 30 days again by itself when a price became known or was corrected.

What is uncertain (unpriced, at the fallback price, or with an unknown part) is read again whenever the prices are other
than at the last time; certain costs only of models whose own rows or fees have changed.
"""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from ingest.database import fetch
from ingest.documents.prices import PriceState
from ingest.prices.reprice import Repricer, RepriceScope
from pricing import UnknownModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from ingest.database import Database
    from ingest.notices import Notices
    from ingest.prices.in_force import Prices
    from ingest.settings import Settings
    from pricing import PriceBook

LOOK_BACK: Final = timedelta(days=30)
REQUESTED_BY: Final = "treering"

# Between two turns the worker can stop; the run goes on where it ended.
_LONGEST_TURN_S: Final = 10.0
_TIERS: Final = (None, "batch", "flex", "priority", "fast")


def reprice_when_due(
    database: Database,
    settings: Settings,
    notices: Notices,
    prices: Prices,
    *,
    now: datetime,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Price calls again, for about ten seconds, where prices are not those of the last run.

    Args:
        database: Opened as service_role.
        settings: Fallback model, as for recording.
        notices: Where models without a price are reported.
        prices: The prices in force; they are read anew.
        now: The time, aware.
        clock: Monotonic seconds.

    Returns:
        Whether work is left.

    Raises:
        RepriceError: Rows stay uncounted.
        DatabaseError: The database refuses or fails.
    """
    prices.refresh(database)
    state = fetch(database, PriceState, "get_price_state")
    fingerprint = prices.fingerprint(settings.fallback_model)
    if fingerprint == state.price_fingerprint and state.late_batches == state.repriced_batches:
        return False
    digests = {f"{provider}/{model}": _digest(prices.book, provider, model) for provider, model in state.models}
    # At the first run nothing is known of earlier prices: what was priced then stays.
    corrected = [name for name in digests if state.price_fingerprint and state.model_digests.get(name) != digests[name]]
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    scope = RepriceScope(today - LOOK_BACK, today + timedelta(days=1), corrected=tuple(sorted(corrected)))
    until = clock() + _LONGEST_TURN_S
    totals = Repricer(database, settings, notices, prices=prices).apply(
        scope, requested_by=REQUESTED_BY, reason="prices have changed", should_stop=lambda: clock() >= until
    )
    if not totals.is_finished:
        return True
    kept: dict[str, JsonValue] = dict(digests)
    database.call(
        "save_price_state",
        price_fingerprint=fingerprint,
        model_digests=kept,
        repriced_batches=state.late_batches,
    )
    return False


def _digest(book: PriceBook, provider: str, model: str) -> str:
    """Tell what prices a model from other figures, fees included; the empty text where nothing is known of it."""
    figures = []
    for tier in _TIERS:
        try:
            figures.append(book.figures(model, provider=provider, service_tier=tier))
        except UnknownModelError:
            return ""
    return hashlib.sha256(repr(figures).encode()).hexdigest()[:32]
