"""Prices calls that came without a cost: from another language, an Edge Function, SQL itself.

They wait outside of the rollups until the worker has looked at them. Reading, charging and writing are three steps; the
database counts a batch once, whatever happens in between.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from ingest.database import fetch
from ingest.documents.prices import Arrivals, PricedArrivals
from ingest.notices import FLAGS_KEY
from pricing.calls import COUNTS, DETAILS, clean_details, fields_of
from pricing.extract import extract_usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from ingest.database import Database
    from ingest.prices.costing import Costing

PAGE_ROWS: Final = 5_000
"""Calls read at once; the last batch of a page may exceed it."""

# The roll-up, which runs in the same lane, gets its turn in between.
_LONGEST_TURN_S: Final = 2.0
_REPORTED: Final = "reported"
_PRICE: Final[tuple[str, ...]] = ("event_id", "estimated_cost", "cost_source", "price_id")


def price_arrivals(
    database: Database,
    costing: Callable[[], Costing],
    *,
    trusted_costs: tuple[str, ...] = (),
    clock: Callable[[], float] = time.monotonic,
) -> tuple[int, bool]:
    """Price what waits, page by page, for about two seconds.

    Args:
        database: Opened as service_role.
        costing: Returns what charges events with the prices in force; not asked where nothing waits.
        trusted_costs: Providers whose own figure is in US dollars, see `Settings`.
        clock: Monotonic seconds.

    Returns:
        How many calls got a price, and whether more may wait.

    Raises:
        DatabaseError: A page could not be read or written; what was written before stays.
    """
    until = clock() + _LONGEST_TURN_S
    page = _read(database, 0)
    if not page.batch_ids:
        return 0, False
    pricer = _Pricer(costing(), trusted_costs)
    priced = 0
    # The database reads a page while the one before is charged here.
    with ThreadPoolExecutor(1, "treering-arrivals") as reader:
        while page.batch_ids:
            following = reader.submit(_read, database, max(page.batch_ids)) if clock() < until else None
            priced += pricer.write(database, page)
            if following is None:
                return priced, True
            page = following.result()
    return priced, False


def _read(database: Database, after_batch_id: int) -> Arrivals:
    return fetch(database, Arrivals, "get_arrivals", after_batch_id=after_batch_id, max_rows=PAGE_ROWS)


class _Pricer:
    """Charges the calls of a page and writes what they cost."""

    def __init__(self, costing: Costing, trusted_costs: tuple[str, ...]) -> None:
        self._costing = costing
        self._trusted = frozenset(trusted_costs)

    def write(self, database: Database, page: Arrivals) -> int:
        prices: list[JsonValue] = []
        usages: list[JsonValue] = []
        for call in page.calls():
            details = call.get(DETAILS)
            is_counted = True
            if isinstance(details, dict) and _REPORTED in details:
                usage, is_counted = self._count(call, details[_REPORTED])
                usages.append(usage)
            # Nothing is said of what it used: that is unknown, not nothing.
            price = self._price(call) if is_counted or "provider_cost" in call else None
            if price is not None:
                prices.append(price)
        written = fetch(
            database, PricedArrivals, "price_arrivals", batch_ids=[*page.batch_ids], prices=prices, usages=usages
        )
        return written.priced

    def _count(self, call: dict[str, JsonValue], reported: JsonValue) -> tuple[dict[str, JsonValue], bool]:
        """Read the provider's own object into the call; returns what to store of it, and whether it has counts."""
        provider, operation = str(call["provider"]), str(call["operation"])
        extracted = extract_usage(
            reported,
            provider=provider,
            model=str(call["model"]),
            operation=operation,
            is_cost_trusted=provider in self._trusted,
        )
        fields = fields_of(extracted)
        found: dict[str, JsonValue] = {name: fields[name] for name in COUNTS if name in fields}
        flags = fields["flags"]
        details = clean_details(fields, flags)
        if details:
            found[DETAILS] = details
        if "provider_cost" in fields and "provider_cost" not in call:
            found["provider_cost"] = format(fields["provider_cost"], "f")
        if "service_tier" in fields and "service_tier" not in call:
            found["service_tier"] = fields["service_tier"]
        del call[DETAILS]
        call |= found
        if not extracted.is_counted:
            flags.append("usage:not_counted")
        stored = {"event_id": call["event_id"], **found, **({"flags": flags} if flags else {})}
        return stored, extracted.is_counted

    def _price(self, call: dict[str, JsonValue]) -> dict[str, JsonValue] | None:
        """Charge one call; None where nothing is known of its cost."""
        self._costing.apply(call)
        if call["cost_source"] == "unpriced":
            return None
        price: dict[str, JsonValue] = {name: call[name] for name in _PRICE if name in call}
        metadata = call.get("metadata")
        if isinstance(metadata, dict):
            price["flags"] = metadata[FLAGS_KEY]
        return price
