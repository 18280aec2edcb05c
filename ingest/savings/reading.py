"""Reads the evidence with the rights of whoever asks, and makes the plan of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from ingest.database import fetch
from ingest.documents.savings import Evidence
from ingest.documents.what_if import WhatIfBasis
from ingest.prices.in_force import read_price_book
from ingest.savings.plan import make_plan
from ingest.savings.what_if import price_anew
from pricing import PriceBook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.database import Argument, Database
    from ingest.savings.plan import Plan
    from ingest.savings.what_if import Change, WhatIf

HISTORY: Final = timedelta(days=30)


def read_savings_plan(
    database: Database,
    *,
    from_time: datetime | None = None,
    to_time: datetime | None = None,
    filters: Mapping[str, Argument] | None = None,
    book: PriceBook | None = None,
) -> Plan:
    """Work out what could be saved, from the whole UTC days of a range that had calls.

    Args:
        database: Opened by anybody: members get what could be saved on their own calls of the last seven days.
        from_time: Beginning; default: 30 days before the end.
        to_time: End, excluded; default: now. Days that are not over do not count.
        filters: provider, model, feature, environment, operation, each a text or a list of texts.
        book: Prices; default: those in force, for members those of this release.

    Raises:
        InvalidArgumentError: The range or a filter is wrong.
    """
    end = to_time or datetime.now(UTC)
    evidence = fetch(
        database,
        Evidence,
        "get_savings_evidence",
        from_time=from_time or end - HISTORY,
        to_time=end,
        filters=dict(filters or {}),
    )
    return make_plan(evidence, book or _prices(database, evidence.access))


def read_what_if(
    database: Database,
    change: Change,
    *,
    from_time: datetime | None = None,
    to_time: datetime | None = None,
    filters: Mapping[str, Argument] | None = None,
    about: str | None = None,
    book: PriceBook | None = None,
) -> WhatIf:
    """Price the whole UTC days of a range anew, with another model, tier, share of cached input or length.

    Args:
        database: As for `read_savings_plan`.
        change: What is different.
        from_time: As for `read_savings_plan`.
        to_time: As for `read_savings_plan`.
        filters: Which calls the change is about; the others are not looked at. As for `read_savings_plan`, and user_id:
            calls of users are read one by one, at most 300,000.
        about: Only calls that were judged to be this, a key of `ABOUT` or `LONG_INPUT`; not together with user_id.
        book: As for `read_savings_plan`.

    Raises:
        InvalidArgumentError: The range or a filter is wrong.
    """
    basis = read_basis(database, from_time=from_time, to_time=to_time, filters=filters)
    return price_anew(basis, change, book or _prices(database, basis.access), about=about)


def read_basis(
    database: Database,
    *,
    from_time: datetime | None = None,
    to_time: datetime | None = None,
    filters: Mapping[str, Argument] | None = None,
) -> WhatIfBasis:
    """Read the calls that a what-if prices anew; see `read_what_if`."""
    end = to_time or datetime.now(UTC)
    return fetch(
        database,
        WhatIfBasis,
        "get_calls_to_price",
        from_time=from_time or end - HISTORY,
        to_time=end,
        filters=dict(filters or {}),
    )


def _prices(database: Database, access: str) -> PriceBook:
    return PriceBook.default() if access in ("member", "tenant") else read_price_book(database)
