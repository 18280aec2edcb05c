"""What a period would have cost with another model, tier, share of cached input or length, over the kept sums.

The difference is that of two list prices of the same sums, times what was really paid of the list price, and so exactly
0 where nothing changes. Calls whose alternative has no price are counted apart and stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from ingest.savings.states import ListPrices, State
from pricing.rates import sum_exactly

if TYPE_CHECKING:
    from ingest.documents.savings import Evidence
    from pricing import PriceBook

_MONTH_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Change:
    """What is different; None stays as it is.

    Attributes:
        model: Model that answers, of the same maker.
        service_tier: Tier that serves: batch, flex, priority, or default.
        cached_share: Part of the input that is read from the cache, 0 to 1; nothing is written then.
        prompt_share: Length of the input as a part of what it was, above 0.
        completion_share: Length of the output as a part of what it was, above 0.

    Raises:
        ValueError: A share is out of range.
    """

    model: str | None = None
    service_tier: str | None = None
    cached_share: Decimal | None = None
    prompt_share: Decimal | None = None
    completion_share: Decimal | None = None

    def __post_init__(self) -> None:
        if self.cached_share is not None and not 0 <= self.cached_share <= 1:
            raise ValueError("cached_share must be 0 to 1")
        for share in (self.prompt_share, self.completion_share):
            if share is not None and not 0 < share <= 10:
                raise ValueError("a length must be above 0 and at most 10 times what it was")


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What came of it.

    Attributes:
        cost: US dollars that were recorded.
        changed_cost: US dollars that it would have been.
        calls: Calls that were looked at.
        unpriced_calls: Those of them whose alternative has no price; they are in both sums as they were.
        days: Days that had calls.
    """

    cost: Decimal
    changed_cost: Decimal
    calls: int
    unpriced_calls: int
    days: int

    @property
    def difference(self) -> Decimal:
        """US dollars more than recorded; below 0 it is a saving."""
        return sum_exactly([self.changed_cost, -self.cost])

    @property
    def difference_per_month(self) -> Decimal:
        """The same in 30 average days, rounded to cents."""
        if not self.days:
            return Decimal(0)
        return (self.difference / self.days * _MONTH_DAYS).quantize(Decimal("0.01"))


def price_anew(evidence: Evidence, change: Change, book: PriceBook) -> WhatIf:
    """Price the evidence with a change. Pure."""
    prices = ListPrices(book, evidence.to_time)
    differences, unpriced = [], 0
    for fact in evidence.facts:
        state = State.of(fact, "expected", prices)
        before = state.list_cost(prices)
        _apply(state, change)
        after = state.list_cost(prices)
        if state.scale is None or before is None or after is None:
            unpriced += fact.calls
        else:
            differences.append((after - before) * state.scale)
    cost = sum_exactly(fact.cost for fact in evidence.facts)
    return WhatIf(
        cost=cost,
        changed_cost=sum_exactly([cost, *differences]),
        calls=sum(fact.calls for fact in evidence.facts),
        unpriced_calls=unpriced,
        days=len(evidence.days),
    )


def _apply(state: State, change: Change) -> None:
    state.model = change.model or state.model
    if change.service_tier is not None:
        state.tier = "" if change.service_tier == "default" else change.service_tier
    usage = state.usage
    if change.prompt_share is not None:
        kept = change.prompt_share
        state.change(
            prompt=round(usage.prompt_tokens * kept),
            cached=round(usage.cached_tokens * kept),
            written=round(usage.cache_write_tokens * kept),
            written_1h=round(usage.cache_write_1h_tokens * kept),
        )
    if change.completion_share is not None:
        state.change(
            completion=round(usage.completion_tokens * change.completion_share),
            reasoning=round(usage.reasoning_tokens * change.completion_share),
        )
    if change.cached_share is not None:
        state.change(cached=round(state.usage.prompt_tokens * change.cached_share), written=0, written_1h=0)
