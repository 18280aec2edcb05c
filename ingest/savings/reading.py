"""Reads the evidence with the rights of whoever asks, and makes the plan of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from ingest.database import fetch
from ingest.documents.document import LIMITED
from ingest.documents.savings import Evidence
from ingest.prices.in_force import read_price_book
from ingest.savings.plan import Plan, make_plan
from ingest.savings.what_if import Change, WhatIf, price_anew
from pricing import PriceBook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.database import Argument, Database

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
    return make_plan(*_read(database, from_time, to_time, filters, book))


def read_what_if(
    database: Database,
    change: Change,
    *,
    from_time: datetime | None = None,
    to_time: datetime | None = None,
    filters: Mapping[str, Argument] | None = None,
    book: PriceBook | None = None,
) -> WhatIf:
    """Price the whole UTC days of a range anew, with another model, tier, share of cached input or length.

    Args:
        database: As for `read_savings_plan`.
        change: What is different.
        from_time: As for `read_savings_plan`.
        to_time: As for `read_savings_plan`.
        filters: Which calls the change is about; the others are not looked at.
        book: As for `read_savings_plan`.

    Raises:
        InvalidArgumentError: The range or a filter is wrong.
    """
    evidence, prices = _read(database, from_time, to_time, filters, book)
    return price_anew(evidence, change, prices)


def _read(
    database: Database,
    from_time: datetime | None,
    to_time: datetime | None,
    filters: Mapping[str, Argument] | None,
    book: PriceBook | None,
) -> tuple[Evidence, PriceBook]:
    end = to_time or datetime.now(UTC)
    evidence = fetch(
        database,
        Evidence,
        "get_savings_evidence",
        from_time=from_time or end - HISTORY,
        to_time=end,
        filters=dict(filters or {}),
    )
    if book is None:
        book = PriceBook.default() if evidence.access in LIMITED else read_price_book(database)
    return evidence, book
