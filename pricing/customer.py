"""The customer's own prices, as the database keeps them, as rows of the book."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pricing.errors import PriceBookError
from pricing.rows import PriceRow, parse_price_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_COPIED = ("provider", "service_tier", "valid_from", "valid_to", "rates", "long_context", "note")


def parse_customer_prices(prices: Iterable[Mapping[str, object]]) -> tuple[list[PriceRow], list[str]]:
    """Read the entries of the document that `get_prices` returns.

    Of two that begin together for one model and tier, the one appended last (the higher `price_id`) counts.

    Args:
        prices: Entries with `price_id`, `provider`, `model`, `service_tier`, `valid_from`, `valid_to`, `rates`,
            `long_context`, `source` and `note`.

    Returns:
        The rows that count, and a line for each entry that could not be read: one bad entry must not take the good
        ones away.
    """
    rows: dict[tuple[object, ...], tuple[int, PriceRow]] = {}
    faults: list[str] = []
    for price in prices:
        number = price.get("price_id")
        try:
            row = parse_price_row(
                {
                    **{key: price[key] for key in _COPIED if key in price},
                    "models": [price.get("model")],
                    "price_id": str(number),
                    "long_context": price.get("long_context") or (),
                    "source_url": price.get("source"),
                }
            )
        except PriceBookError as error:
            faults.append(f"price {number}: {error}")
            continue
        key = (row.provider, row.models, row.service_tier, row.valid_from)
        order = number if isinstance(number, int) else 0
        if key not in rows or rows[key][0] < order:
            rows[key] = (order, row)
    return [row for _, row in rows.values()], faults
