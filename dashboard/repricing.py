"""What repricing recorded calls would change: previewed here, applied only by `treering reprice`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal, Inexact
from typing import TYPE_CHECKING, Final

from pricing import PriceBook, PricingError, UnknownModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from ingest.database import JsonValue

MAX_ROWS: Final = 20_000
"""Most calls that one preview reads; takes some seconds."""
PAGE_ROWS: Final = 5_000
"""Calls that the database returns at once."""

_SELF_HOSTED: Final = frozenset({"self-hosted", "ollama", "vllm"})
_EXACT: Final = Context(prec=60, traps=[Inexact])  # the thread's own context would round at 28 digits


@dataclass(slots=True)
class Difference:
    """What repricing means for one model; sums in US dollars, unpriced calls count nothing."""

    rows: int = 0
    changed: int = 0
    old_cost: Decimal = Decimal(0)
    new_cost: Decimal = Decimal(0)
    newly_priced: int = 0
    newly_unpriced: int = 0

    @property
    def difference(self) -> Decimal:
        """US dollars that would be added (or, negative, taken away)."""
        return _EXACT.subtract(self.new_cost, self.old_cost)


@dataclass(slots=True)
class Preview:
    """Differences by (provider, model). `cut_at` is where reading ended early, None when all calls were read."""

    by_model: dict[tuple[str, str], Difference] = field(default_factory=dict)
    cut_at: datetime | None = None

    @property
    def rows(self) -> int:
        """Calls read."""
        return sum(one.rows for one in self.by_model.values())


def preview(
    read_page: Callable[[Mapping[str, JsonValue] | None], Mapping[str, JsonValue]],
    book: PriceBook,
    fallback_model: str | None,
) -> Preview:
    """Price calls again and sum what changes, until there are no more or `MAX_ROWS` are read.

    Args:
        read_page: Returns the page after a place, as `get_rows_to_reprice` does: {rows, next}.
        book: Prices, with the customer's own.
        fallback_model: Stands in for unknown models, None for nothing.
    """
    result = Preview()
    following: Mapping[str, JsonValue] | None = None
    while True:
        page = read_page(following)
        rows = page.get("rows")
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict):
                _add(result, row, book, fallback_model)
        place = page.get("next")
        if not isinstance(place, dict):
            return result
        if result.rows >= MAX_ROWS:
            result.cut_at = datetime.fromisoformat(str(place["created_at"]))
            return result
        following = place


def reprice_call(
    row: Mapping[str, JsonValue], book: PriceBook, fallback_model: str | None
) -> tuple[Decimal | None, str, str | None]:
    """Return a call's cost, where it comes from and the price row, by the rules of `treering reprice`."""
    found = _price(row, str(row["model"]), str(row["provider"]), book, "priced")
    is_unknown = found is None
    if is_unknown and fallback_model is not None and row["provider"] not in _SELF_HOSTED:
        found = _price(row, fallback_model, "openai", book, "fallback")
    return found or (None, "unpriced", None)


def command(first: date, end: date, model: str, provider: str, by: str) -> str:
    """Write the command that applies what was previewed."""
    parts = ["treering", "reprice", "--from", f"{first:%Y-%m-%d}", "--to", f"{end:%Y-%m-%d}"]
    for option, value in (("--model", model), ("--provider", provider)):
        if value:
            parts += [option, value]
    return shlex.join([*parts, "--apply", "--by", by, "--reason"]) + ' "why"'


def _add(result: Preview, row: Mapping[str, JsonValue], book: PriceBook, fallback_model: str | None) -> None:
    old = None if row.get("estimated_cost") is None else Decimal(str(row["estimated_cost"]))
    new, source, price_id = reprice_call(row, book, fallback_model)
    one = result.by_model.setdefault((str(row["provider"]), str(row["model"])), Difference())
    one.rows += 1
    one.changed += (old, row["cost_source"], row.get("price_id")) != (new, source, price_id)
    one.old_cost = _EXACT.add(one.old_cost, old or 0)
    one.new_cost = _EXACT.add(one.new_cost, new or 0)
    one.newly_priced += old is None and new is not None
    one.newly_unpriced += old is not None and new is None


def _price(
    row: Mapping[str, JsonValue], model: str, provider: str, book: PriceBook, source: str
) -> tuple[Decimal | None, str, str | None] | None:
    """Return the charge at a model's price; None where no layer knows the model."""
    tier, latency_ms = row.get("service_tier"), row.get("latency_ms")
    prompt, completion = _count(row, "prompt_tokens"), _count(row, "completion_tokens")
    # Where reports overlap, the part named first keeps its tokens.
    cached = min(_count(row, "cached_tokens"), prompt)
    written = min(_count(row, "cache_write_tokens"), prompt - cached)
    reasoning = min(_count(row, "reasoning_tokens"), completion)
    try:
        cost = book.price(
            model,
            prompt,
            completion,
            provider=provider,
            cached_input_tokens=cached,
            cache_write_tokens=written,
            reasoning_tokens=reasoning,
            audio_input_tokens=min(_count(row, "audio_input_tokens"), prompt - cached - written),
            audio_output_tokens=min(_count(row, "audio_output_tokens"), completion - reasoning),
            service_tier=tier if isinstance(tier, str) else None,
            duration_ms=latency_ms if isinstance(latency_ms, int | float) else None,
            at=datetime.fromisoformat(str(row["created_at"])),
        )
    except UnknownModelError:
        return None
    except PricingError:
        return None, "unpriced", None
    if cost.total is None:
        return None, "unpriced", None
    fees = row.get("request_fees")
    total = _EXACT.add(cost.total, Decimal(fees)) if isinstance(fees, str) else cost.total
    return total, source, cost.price_id


def _count(row: Mapping[str, JsonValue], name: str) -> int:
    value = row.get(name, 0)
    return value if isinstance(value, int) else 0
