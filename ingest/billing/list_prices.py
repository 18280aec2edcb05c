"""Adds the list price to billed lines, so that a price difference finds the kind of tokens that it is of."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Final

from pricing import PricingError, calculate_cost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ingest.billing.provider_lines import Line
    from pricing import PriceBook

# Few enough that no long-context price applies.
_TOKENS: Final = 1000
_COUNTS: Final[Mapping[str, Mapping[str, int]]] = {
    "input": {"input_tokens": _TOKENS},
    "cached_input": {"input_tokens": _TOKENS, "cached_input_tokens": _TOKENS},
    "cache_write": {"input_tokens": _TOKENS, "cache_write_tokens": _TOKENS},
    "audio_input": {"input_tokens": _TOKENS, "audio_input_tokens": _TOKENS},
    "output": {"output_tokens": _TOKENS},
    "audio_output": {"output_tokens": _TOKENS, "audio_output_tokens": _TOKENS},
}


def with_list_prices(lines: Iterable[Line], book: PriceBook) -> Iterator[Line]:
    """Yield the lines, those of a model's tokens with `list_price`: US dollars for a million of them on that day.

    Args:
        lines: Lines of a bill; what has a list price keeps it.
        book: Where list prices stand. What it does not know stays unknown.
    """
    for line in lines:
        counts = _COUNTS.get(str(line.get("item")))
        if counts is None or not line.get("model") or line.get("list_price") is not None:
            yield line
            continue
        yield {**line, "list_price": _list_price(line, counts, book)}


def _list_price(line: Line, counts: Mapping[str, int], book: PriceBook) -> str | None:
    noon = datetime.combine(datetime.fromisoformat(str(line["day"])), time(12), UTC)
    try:
        cost = calculate_cost(
            str(line["model"]),
            counts.get("input_tokens", 0),
            counts.get("output_tokens", 0),
            cached_input_tokens=counts.get("cached_input_tokens", 0),
            cache_write_tokens=counts.get("cache_write_tokens", 0),
            audio_input_tokens=counts.get("audio_input_tokens", 0),
            audio_output_tokens=counts.get("audio_output_tokens", 0),
            provider=str(line["provider"]),
            at=noon,
            book=book,
        )
    except PricingError:
        return None
    return None if cost.total is None else format(cost.total * (1_000_000 // _TOKENS), "f")
