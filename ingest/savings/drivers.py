"""Why a period is dearer or cheaper than the one before, in parts that add up to the difference exactly.

A cell is what one feature used of one model. With n calls, e of them failed, and the cost C, each cell's difference is
split by changing one thing after the other, from the state before to the state now (a chain of substitutions, as the
variance analysis of cost accounting does):

1. volume: all cells grow by the same factor, N_now / N_before;
2. mix: each cell takes its own number of calls; a cell that is new is all mix, one that is gone is mix and volume;
3. errors: the share of calls that fail, which cost nothing, takes its new value;
4. tokens: input and output tokens per successful call do, at list prices scaled to what was really paid;
5. cache: the shares of the input that are read from and written to the prompt cache do;
6. price: what remains: list prices, service tiers, discounts.

Steps 4 and 5 use the list prices of the price book at the beginning of the period; a model without any counts by its
tokens alone. Each step is the difference of two states, and the last is the rest, so the parts always add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Literal

from ingest.database import fetch
from ingest.documents.drivers import DriverCell, DriverCells, PeriodSums
from pricing import PriceBook
from pricing.errors import PricingError
from pricing.rates import sum_exactly

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from ingest.database import Argument, Database

Driver = Literal["volume", "mix", "errors", "tokens", "cache", "price"]

DRIVERS: Final[tuple[Driver, ...]] = ("volume", "mix", "errors", "tokens", "cache", "price")
"""The parts in the order in which they are split off."""

_STEP: Final = 12  # decimals of each part; the rest goes to the last one
_NOTHING: Final = PeriodSums()


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature's use of one model contributes to one part.

    Attributes:
        driver: Which part.
        provider: Provider of the calls.
        model: Model that answered.
        feature: Feature that asked; empty where none was given.
        amount: US dollars; above zero is dearer.
    """

    driver: Driver
    provider: str
    model: str
    feature: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class CostDrivers:
    """Why a period costs more or less than the one before.

    Attributes:
        cost: US dollars of the period.
        previous_cost: US dollars of the period before.
        parts: US dollars by part, in the order of `DRIVERS`; they add up to `difference` exactly.
        contributions: Each cell's part of each part, the largest amount first; they add up to `parts`.
        uncertain_requests: Calls of both periods without a price of their own, which all sums leave out.
    """

    cost: Decimal
    previous_cost: Decimal
    parts: Mapping[Driver, Decimal]
    contributions: Sequence[Contribution]
    uncertain_requests: int

    @property
    def difference(self) -> Decimal:
        """US dollars that the period cost more."""
        return sum_exactly([self.cost, -self.previous_cost])

    def top(self, driver: Driver | None = None, count: int = 3) -> Sequence[Contribution]:
        """Return the largest contributions, of one part or of all."""
        chosen = [one for one in self.contributions if driver is None or one.driver == driver]
        return chosen[:count]


def get_cost_drivers(
    database: Database,
    from_time: datetime,
    to_time: datetime,
    *,
    before: tuple[datetime, datetime] | None = None,
    filters: Mapping[str, Argument] | None = None,
    book: PriceBook | None = None,
) -> CostDrivers:
    """Explain the difference between a range's cost and that of an earlier one.

    Args:
        database: Opened by anybody; members see the reasons of their own calls.
        from_time: Beginning, included.
        to_time: End, excluded.
        before: Beginning and end of the earlier range; default: the one of equal length directly before.
        filters: As for the pages.
        book: Prices to weigh tokens and cache with; default: those of this release. They choose between the parts
            tokens, cache and price, never what these come to together.

    Raises:
        InvalidArgumentError: The range or a filter is wrong.
    """
    document = _read(database, (from_time, to_time), filters)
    cells = document.cells if before is None else beside(document.cells, _read(database, before, filters).cells)
    return explain_difference(cells, book or PriceBook.default(), at=document.from_time)


def beside(cells: Iterable[DriverCell], earlier: Iterable[DriverCell]) -> list[DriverCell]:
    """Return what the cells have now beside what those of another range had in it. Pure."""
    now = {(one.provider, one.model, one.feature): one.now for one in cells if one.now is not None}
    then = {(one.provider, one.model, one.feature): one.now for one in earlier if one.now is not None}
    return [
        DriverCell(provider=key[0], model=key[1], feature=key[2], now=now.get(key), before=then.get(key))
        for key in sorted(now.keys() | then.keys())
    ]


def _read(
    database: Database, moments: tuple[datetime, datetime], filters: Mapping[str, Argument] | None
) -> DriverCells:
    from_time, to_time = moments
    return fetch(
        database, DriverCells, "get_cost_drivers", from_time=from_time, to_time=to_time, filters=dict(filters or {})
    )


def explain_difference(cells: Iterable[DriverCell], book: PriceBook, *, at: datetime) -> CostDrivers:
    """Split the difference of two periods. Pure.

    Args:
        cells: What each feature used of each model in both.
        book: List prices.
        at: Instant whose list prices weigh tokens and cache, aware.
    """
    rows = list(cells)
    calls_now = sum((cell.now or _NOTHING).requests for cell in rows)
    calls_before = sum((cell.before or _NOTHING).requests for cell in rows)
    growth = Fraction(calls_now, calls_before) if calls_before else None
    found: list[Contribution] = []
    for cell in rows:
        now, before = cell.now or _NOTHING, cell.before or _NOTHING
        parts = _split(now, before, growth, _weights(cell, now, before, book, at))
        rest = sum_exactly([now.cost, -before.cost, *(-amount for amount in parts.values())])
        # What remains of a cell that is new or gone is the rounding of its parts.
        last: Driver = "price" if now.requests and before.requests else "mix"
        parts[last] = sum_exactly([parts.get(last, Decimal(0)), rest])
        found += [
            Contribution(driver, cell.provider, cell.model, cell.feature, amount)
            for driver, amount in parts.items()
            if amount
        ]
    found.sort(key=lambda one: (-abs(one.amount), one.driver, one.provider, one.model, one.feature))
    return CostDrivers(
        cost=sum_exactly((cell.now or _NOTHING).cost for cell in rows),
        previous_cost=sum_exactly((cell.before or _NOTHING).cost for cell in rows),
        parts={driver: sum_exactly(one.amount for one in found if one.driver == driver) for driver in DRIVERS},
        contributions=found,
        uncertain_requests=sum(
            sums.uncertain_requests for cell in rows for sums in (cell.now, cell.before) if sums is not None
        ),
    )


@dataclass(frozen=True, slots=True)
class _Weights:
    """US dollars of a token by kind: uncached input, input read from and written to the cache, output."""

    input: Fraction
    cached: Fraction
    written: Fraction
    output: Fraction

    def of(self, prompt: Fraction, completion: Fraction, cached: Fraction, written: Fraction) -> Fraction:
        """What a call costs whose input is cached and written by these shares."""
        fresh = max(1 - cached - written, Fraction(0))
        return prompt * (fresh * self.input + cached * self.cached + written * self.written) + completion * self.output


def _weights(cell: DriverCell, now: PeriodSums, before: PeriodSums, book: PriceBook, at: datetime) -> _Weights:
    same = Fraction(1)
    calls = now.requests + before.requests
    average = (now.prompt_tokens + before.prompt_tokens) // calls if calls else 0
    try:
        band = book.explain(cell.model, provider=cell.provider, at=at, input_tokens=average).band
    except PricingError:
        band = None
    if band is None or not band.input:
        return _Weights(same, same, same, same)
    return _Weights(
        Fraction(band.input),
        Fraction(band.input if band.cached_input is None else band.cached_input),
        Fraction(band.input if band.cache_write is None else band.cache_write),
        Fraction(band.output or 0),
    )


def _split(now: PeriodSums, before: PeriodSums, growth: Fraction | None, weights: _Weights) -> dict[Driver, Decimal]:
    """Return the parts of a cell without the last, which is the rest."""
    if growth is None:
        return {"volume": now.cost}
    old = Fraction(before.cost)
    parts: dict[Driver, Fraction] = {"volume": old * (growth - 1)}
    if not before.requests:
        parts["mix"] = Fraction(now.cost)
        return _rounded(parts)
    per_call = old / before.requests
    parts["mix"] = per_call * (now.requests - before.requests * growth)
    answered_now, answered_before = now.requests - now.errors, before.requests - before.errors
    if answered_now and answered_before:
        per_answer = old / answered_before
        parts["errors"] = per_answer * answered_now - per_call * now.requests
        profile_before, profile_now = _profile(before, answered_before), _profile(now, answered_now)
        at_first = weights.of(*profile_before)
        longer = weights.of(*profile_now[:2], *profile_before[2:])
        cached = weights.of(*profile_now)
        if at_first:
            paid = per_answer / at_first  # discounts and tiers, as they were
            parts["tokens"] = answered_now * paid * (longer - at_first)
            parts["cache"] = answered_now * paid * (cached - longer)
    return _rounded(parts)


def _profile(sums: PeriodSums, answered: int) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    """Return input and output tokens per successful call, and the shares of the input read from and written to it."""
    prompt = sums.prompt_tokens
    return (
        Fraction(prompt, answered),
        Fraction(sums.completion_tokens, answered),
        Fraction(sums.cached_tokens, prompt) if prompt else Fraction(0),
        Fraction(sums.cache_write_tokens, prompt) if prompt else Fraction(0),
    )


def _rounded(parts: Mapping[Driver, Fraction]) -> dict[Driver, Decimal]:
    scale = 10**_STEP
    return {driver: Decimal(round(amount * scale)).scaleb(-_STEP) for driver, amount in parts.items()}
