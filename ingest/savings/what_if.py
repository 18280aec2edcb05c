"""What a period would have cost with another model, tier, share of cached input or length, over the kept sums.

The difference is that of two list prices of the same sums, times what was really paid of the list price, and so exactly
0 where nothing changes. Calls whose alternative has no price are counted apart and stay as they are; so do calls whose
own price is not certain: at the fallback model's price, or without any.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, Final

from ingest.savings.states import ListPrices, Waste
from pricing.rates import sum_exactly
from pricing.usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from ingest.documents.what_if import CallsToPrice, UncertainCalls, WhatIfBasis
    from pricing import PriceBook

ABOUT: Final[Mapping[str, Waste]] = {
    "superseded": Waste.SUPERSEDED,
    "failed": Waste.FAILED,
    "repeated": Waste.REPEATED,
    "embedded_again": Waste.EMBEDDED_AGAIN,
    "cancelled": Waste.CANCELLED,
    "job": Waste.JOB,
    "hurried": Waste.HURRIED,
}
"""What calls can be judged to be, so that a what-if is about these alone; `LONG_INPUT` is one more."""
USELESS: Final = (
    Waste.SUPERSEDED
    | Waste.FAILED
    | Waste.REPEATED
    | Waste.REPEATED_WITHIN_AN_HOUR
    | Waste.EMBEDDED_AGAIN
    | Waste.CANCELLED
)
"""Calls of these kinds are no work that somebody wanted."""
LONG_INPUT: Final = "long_input"
LONG_INPUT_TOKENS: Final = 128_000

_MONTH_DAYS: Final = 30
_CENT: Final = Decimal("0.01")
_STEP: Final = Decimal("1e-15")
_WIDE: Final = Context(prec=50)


@dataclass(frozen=True, slots=True)
class Change:
    """What is different; None stays as it is.

    Attributes:
        model: Model that answers.
        provider: Whose model that is; None for the calls' own provider. Tokens count as they were recorded.
        service_tier: Tier that serves: batch, flex, priority, or default.
        cached_share: Part of the input that is read from the cache, 0 to 1; with 0 nothing is written either.
        prompt_share: Length of the input as a part of what it was, above 0.
        completion_share: Length of the output as a part of what it was, above 0.
        calls_share: How many of the calls are still made, 0 to 1.
        hour_writes_share: Part of what is written to the cache for an hour that still is, 0 to 1; the rest for less.

    Raises:
        ValueError: A share is out of range.
    """

    model: str | None = None
    provider: str | None = None
    service_tier: str | None = None
    cached_share: Decimal | None = None
    prompt_share: Decimal | None = None
    completion_share: Decimal | None = None
    calls_share: Decimal | None = None
    hour_writes_share: Decimal | None = None

    def __post_init__(self) -> None:
        for name in ("cached_share", "calls_share", "hour_writes_share"):
            share = getattr(self, name)
            if share is not None and (share.is_nan() or not 0 <= share <= 1):
                raise ValueError(f"{name} must be 0 to 1")
        for share in (self.prompt_share, self.completion_share):
            if share is not None and (share.is_nan() or not 0 < share <= 10):
                raise ValueError("a length must be above 0 and at most 10 times what it was")
        if self.provider is not None and self.model is None:
            raise ValueError("a provider needs a model of it")

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Change:
        """Read what `as_texts` wrote; names that this release does not know are left out."""
        names = [one.name for one in dataclasses.fields(cls) if one.name in fields]
        values: dict[str, Any] = {
            name: Decimal(fields[name]) if name.endswith("_share") else fields[name] for name in names
        }
        return cls(**values)

    def as_texts(self) -> dict[str, str]:
        """Write what is different, to keep it."""
        return {name: str(value) for name, value in dataclasses.asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Apart:
    """Calls without a certain price: never in the difference.

    Attributes:
        calls: How many.
        cost: US dollars at the fallback price; None where they have no price at all.
        changed_cost: US dollars that they would have cost; None where that is not known either.
    """

    calls: int
    cost: Decimal | None
    changed_cost: Decimal | None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What came of it.

    Attributes:
        cost: US dollars that were recorded.
        changed_cost: US dollars that it would have been.
        calls: Calls with a certain price that were looked at.
        unpriced_calls: Those of them whose alternative has no price; they are in both sums as they were.
        days: Days that had calls.
        first_day: The first of them, in UTC; None without any.
        last_day: The last of them.
        fallback: Calls priced as the fallback model, apart.
        unpriced: Calls without any price, apart.
        units: Calls that were of use, of all that the filters leave, whatever they were judged to be: the unit of work.
        scope_cost: US dollars of all that the filters leave; `cost` is of those of them that the change is about.
        unexamined: US dollars of the rollups that the examined calls do not have: not judged yet, or not kept any more.
    """

    cost: Decimal
    changed_cost: Decimal
    calls: int
    unpriced_calls: int
    days: int
    first_day: date | None
    last_day: date | None
    fallback: Apart
    unpriced: Apart
    units: int
    scope_cost: Decimal
    unexamined: Decimal

    @property
    def unit_cost(self) -> Decimal | None:
        """US dollars for a call that was of use; None without any."""
        return self.scope_cost / self.units if self.units else None

    @property
    def changed_unit_cost(self) -> Decimal | None:
        """The same with the change."""
        return sum_exactly([self.scope_cost, self.difference]) / self.units if self.units else None

    @property
    def difference(self) -> Decimal:
        """US dollars more than recorded; below 0 it is a saving."""
        return sum_exactly([self.changed_cost, -self.cost])

    @property
    def difference_per_month(self) -> Decimal:
        """The same in 30 average days, rounded to cents."""
        if not self.days:
            return Decimal(0)
        return (self.difference / self.days * _MONTH_DAYS).quantize(_CENT)


def chosen_calls(basis: WhatIfBasis, about: str | None) -> list[CallsToPrice]:
    """Return the calls that were judged to be something, a key of `ABOUT` or `LONG_INPUT`; all for None."""
    if about is None:
        return list(basis.calls)
    if about == LONG_INPUT:
        return [row for row in basis.calls if row.band >= LONG_INPUT_TOKENS]
    return [row for row in basis.calls if row.waste & ABOUT[about]]


def price_anew(basis: WhatIfBasis, change: Change, book: PriceBook, *, about: str | None = None) -> WhatIf:
    """Price calls with a change. Pure.

    Args:
        basis: The calls.
        change: What is different.
        book: Prices at the end of the basis.
        about: Only calls that were judged to be this, see `chosen_calls`; calls without a price are not judged.

    Raises:
        KeyError: `about` is not one of these.
    """
    prices = ListPrices(book, basis.to_time)
    rows = chosen_calls(basis, about)
    differences, unpriced = [], 0
    for row in rows:
        difference = _difference(row, change, prices)
        if difference is None:
            unpriced += row.calls
        else:
            differences.append(difference)
    cost = sum_exactly(row.cost for row in rows)
    everything = sum_exactly(row.cost for row in basis.calls)
    uncertain = () if about is not None else basis.uncertain
    return WhatIf(
        cost=cost,
        changed_cost=sum_exactly([cost, *differences]),
        calls=sum(row.calls for row in rows),
        unpriced_calls=unpriced,
        days=len(basis.days),
        first_day=basis.days[0] if basis.days else None,
        last_day=basis.days[-1] if basis.days else None,
        fallback=_apart([one for one in uncertain if one.source == "fallback"], change, prices),
        unpriced=_apart([one for one in uncertain if one.source == "unpriced"], change, prices),
        units=sum(row.calls for row in basis.calls if not row.waste & USELESS),
        scope_cost=everything,
        unexamined=max(basis.cost - everything, Decimal(0)),
    )


def _difference(row: CallsToPrice, change: Change, prices: ListPrices) -> Decimal | None:
    """US dollars that these calls would have cost more; None where one of the two has no list price."""
    if change.calls_share == 0:
        return -row.cost
    if row.waste & Waste.OTHER_UNITS:
        return None
    usage = _usage(row.model_dump())
    before = prices.of(row.provider, row.model, row.service_tier, row.band, usage, row.calls)
    changed, above = _changed(usage, row.band, row.calls, change)
    after = prices.of(
        change.provider or row.provider, change.model or row.model, _tier(row.service_tier, change), above, changed,
        row.calls,
    )  # fmt: skip
    if not before or after is None:
        return None
    made = Decimal(1) if change.calls_share is None else change.calls_share
    # List prices less what was paid of them; far below any bill where that has no last digit.
    return _WIDE.divide(_WIDE.multiply(_WIDE.subtract(_WIDE.multiply(after, made), before), row.cost), before).quantize(
        _STEP, context=_WIDE
    )


def _changed(usage: TokenUsage, above: int, calls: int, change: Change) -> tuple[TokenUsage, int]:
    """Return the tokens with the change, and the band of their inputs' length."""
    tokens = {name: getattr(usage, name) for name in _TOKENS}
    if change.prompt_share is not None and change.prompt_share != 1:
        for name in ("prompt_tokens", "cached_tokens", "cache_write_tokens", "cache_write_1h_tokens"):
            tokens[name] = round(tokens[name] * change.prompt_share)
        # The average call tells the band: single lengths are not kept.
        above = max(tokens["prompt_tokens"] // max(calls, 1) - 1, 0)
    if change.completion_share is not None:
        for name in ("completion_tokens", "reasoning_tokens"):
            tokens[name] = round(tokens[name] * change.completion_share)
    if change.cached_share is not None:
        cached = tokens["cached_tokens"] = round(tokens["prompt_tokens"] * change.cached_share)
        left = tokens["prompt_tokens"] - cached if change.cached_share else 0
        tokens["cache_write_tokens"] = min(tokens["cache_write_tokens"], left)
    kept = Decimal(1) if change.hour_writes_share is None else change.hour_writes_share
    tokens["cache_write_1h_tokens"] = min(round(tokens["cache_write_1h_tokens"] * kept), tokens["cache_write_tokens"])
    return _usage(tokens), above


def _apart(rows: Iterable[UncertainCalls], change: Change, prices: ListPrices) -> Apart:
    calls, costs, changed = 0, [], []
    for row in rows:
        calls += row.calls
        if row.cost is not None:
            costs.append(row.cost)
        changed.append(_changed_cost(row, change, prices))
    known = [cost for cost in changed if cost is not None]
    return Apart(
        calls,
        sum_exactly(costs) if costs else None,
        sum_exactly(known) if known and len(known) == len(changed) else None,
    )


def _changed_cost(row: UncertainCalls, change: Change, prices: ListPrices) -> Decimal | None:
    """US dollars with another model, whose price is known; without one the calls are as uncertain as before."""
    if change.model is None or row.prompt_tokens is None or not row.calls:
        return None
    usage = _usage(row.model_dump())
    changed, above = _changed(usage, max(usage.prompt_tokens // row.calls - 1, 0), row.calls, change)
    provider = change.provider or row.provider
    cost = prices.of(provider, change.model, _tier("", change), above, changed, row.calls)
    return cost if cost is None or change.calls_share is None else _WIDE.multiply(cost, change.calls_share)


def _tier(tier: str, change: Change) -> str:
    if change.service_tier is None:
        return tier
    return "" if change.service_tier == "default" else change.service_tier


_TOKENS: Final = (
    "prompt_tokens", "completion_tokens", "cached_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "reasoning_tokens",
)  # fmt: skip


def _usage(counts: Mapping[str, Any]) -> TokenUsage:
    usage, _ = TokenUsage.clamped({name: counts.get(name) for name in _TOKENS})
    return usage
