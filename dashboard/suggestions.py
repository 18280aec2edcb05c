"""Where the same work would have cost less, read with the rights of the caller."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pricing import PriceBook
from pricing.savings import Evidence, Suggestion, suggest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.database import Database, JsonValue

__all__ = ["Suggestion", "cost_optimization_suggestions"]


def cost_optimization_suggestions(
    database: Database,
    *,
    from_time: datetime | None = None,
    to_time: datetime | None = None,
    filters: Mapping[str, JsonValue] | None = None,
    book: PriceBook | None = None,
) -> list[Suggestion]:
    """Return what would save money, the most first; an empty list where nothing is certain enough.

    Args:
        database: Opened as an analyst, ops, or the service.
        from_time: First moment looked at; default 30 days before `to_time`.
        to_time: First moment after; default now.
        filters: As for the pages: provider, model, feature, environment, operation, status.
        book: Prices, with the customer's own; default the built-in ones.

    Raises:
        DatabaseError: The caller may not see everybody's calls, or the range or a filter is refused.
    """
    end = to_time or datetime.now(UTC)
    document = database.call(
        "get_savings_evidence",
        from_time=from_time or end - timedelta(days=30),
        to_time=end,
        filters=dict(filters or {}),
    )
    return suggest(Evidence.model_validate(document), book or PriceBook.default())
