"""What a contract makes of list prices: discounts, provisioned throughput, balances that run down, another currency.

Pure arithmetic over sums by UTC day, provider and model. Recorded costs stay at list; what is paid is worked out when
somebody asks, so that a term that comes late, or begins in the past, needs no repricing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import ROUND_CEILING, ROUND_DOWN, Context, Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Final, Literal

from pricing.rates import EXACT, sum_exactly

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Kind = Literal["discount", "credit", "commitment", "provisioned", "currency"]
KINDS: Final[tuple[Kind, ...]] = ("discount", "credit", "commitment", "provisioned", "currency")

_BALANCES: Final = ("credit", "commitment")
_ZERO: Final = Decimal(0)
_HOURS: Final = 24
_PERCENT_EXPONENT: Final = -2
# A share of a sum may have no last digit: it is cut here, and the last line takes the rest, so that shares add up.
_STEP: Final = Decimal("1e-12")
_DIVIDING: Final = Context(prec=60, rounding=ROUND_DOWN)  # the thread's own context may round at six digits
_PACE: Final = timedelta(days=28)
_FOREVER: Final = date.max
# Four weeks say nothing of what is further away.
_LONGEST_DAYS: Final = 1_100


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a contract, valid on UTC days in [valid_from, valid_to).

    Attributes:
        term_id: Number that orders terms: of two that say the same of a day, the later counts.
        kind: What it is.
        valid_from: First day.
        valid_to: First day after; None is open.
        provider: Provider that it is about, as recorded; None is every one.
        model: Model that it is about, as recorded; None is every one.
        percent: Discount, above 0 to 100.
        amount: US dollars: what a balance holds, or what an hour of provisioned throughput costs.
        currency: ISO code of a display currency.
        rate: Units of that currency for a US dollar.
        name: What people call it.
    """

    term_id: int
    kind: Kind
    valid_from: date
    valid_to: date | None = None
    provider: str | None = None
    model: str | None = None
    percent: Decimal | None = None
    amount: Decimal | None = None
    currency: str | None = None
    rate: Decimal | None = None
    name: str = ""

    def covers(self, day: date, provider: str, model: str) -> bool:
        """Whether it is about calls of a model on a day."""
        return (
            self.is_in_force(day) and self.provider in (None, provider.lower()) and self.model in (None, model.lower())
        )

    def is_in_force(self, day: date) -> bool:
        """Whether the day lies in [valid_from, valid_to)."""
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)


@dataclass(frozen=True, slots=True)
class DaySum:
    """What one model cost at list on one UTC day; `tokens` is input and output together."""

    day: date
    provider: str
    model: str
    cost: Decimal
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """What one model costs on one day by contract, in US dollars.

    Attributes:
        day: UTC day.
        provider: Provider; empty where provisioned throughput for every one stood idle.
        model: Model; empty likewise.
        list_cost: At list price.
        discount: What is taken off; 0 where the throughput is provisioned.
        provisioned: Its share of the hourly sum instead of the list price; None where it is paid by use.
        net: list_cost - discount, or `provisioned`.
        drawn: Part of `net` that balances paid; below 0 where a refund goes back.
    """

    day: date
    provider: str
    model: str
    list_cost: Decimal
    discount: Decimal
    provisioned: Decimal | None
    net: Decimal
    drawn: Decimal = _ZERO


@dataclass(frozen=True, slots=True)
class Balance:
    """A credit or commitment as it stands at the end of a statement.

    Attributes:
        term: The term.
        drawn: US dollars used so far.
        left: US dollars that are left.
        runs_out_on: Day on which it is used up at the pace of the last 28 days; None where it is not, ends before, or
            would last for more than three years.
    """

    term: Term
    drawn: Decimal
    left: Decimal
    runs_out_on: date | None


@dataclass(frozen=True, slots=True)
class Statement:
    """A range of days by contract, in US dollars.

    Attributes:
        lines: By day, provider and model.
        balances: Every balance that has begun, the first to be drawn first.
        currency: ISO code of the display currency; None without one.
        due_in_currency: `due` in that currency at each day's rate; None without a rate for some day.
    """

    lines: tuple[Line, ...]
    balances: tuple[Balance, ...] = ()
    currency: str | None = None
    due_in_currency: Decimal | None = None
    list_cost: Decimal = field(init=False)
    discount: Decimal = field(init=False)
    provisioned: Decimal = field(init=False)
    net: Decimal = field(init=False)
    drawn: Decimal = field(init=False)
    due: Decimal = field(init=False)

    def __post_init__(self) -> None:
        """Add the lines up: list_cost - discount + provisioned = net, net - drawn = due.

        `provisioned` is what hourly sums cost beyond the list price of their calls, below 0 where they save.
        """
        by_hour = [line for line in self.lines if line.provisioned is not None]
        sums = {name: sum_exactly(getattr(line, name) for line in self.lines) for name in _SUMMED}
        beyond = EXACT.subtract(
            sum_exactly(line.net for line in by_hour), sum_exactly(line.list_cost for line in by_hour)
        )
        for name, total in (*sums.items(), ("provisioned", beyond)):
            object.__setattr__(self, name, total)
        object.__setattr__(self, "due", EXACT.subtract(self.net, self.drawn))


_SUMMED: Final = ("list_cost", "discount", "net", "drawn")


def make_statement(sums: Iterable[DaySum], terms: Sequence[Term], from_day: date, to_day: date) -> Statement:
    """Work out what a range of days costs by contract.

    Args:
        sums: Sums from the first day of the earliest balance, or `from_day` if that is earlier, to `to_day`.
        terms: Terms in any order.
        from_day: First day of the statement.
        to_day: First day after.
    """
    lines = _lines(sums, terms, history_from(terms, from_day), to_day)
    balances = sorted((term for term in terms if term.kind in _BALANCES and term.valid_from < to_day), key=_draw_order)
    lines, draws = _draw(lines, balances)
    shown = tuple(line for line in lines if line.day >= from_day)
    rates = [term for term in terms if term.kind == "currency"]
    latest = _rate_on(rates, to_day - timedelta(days=1))
    return Statement(
        shown,
        tuple(_balance(term, draws[term.term_id], to_day) for term in balances),
        None if latest is None else latest.currency,
        None if latest is None else _converted(shown, rates),
    )


def history_from(terms: Iterable[Term], from_day: date) -> date:
    """Return the first day whose sums a statement needs: that of the earliest balance, or its own."""
    return min((from_day, *(term.valid_from for term in terms if term.kind in _BALANCES)))


def _lines(sums: Iterable[DaySum], terms: Sequence[Term], from_day: date, to_day: date) -> list[Line]:
    """Return a line for each sum, and one for each day on which provisioned throughput stood idle."""
    discounts = [term for term in terms if term.kind == "discount"]
    by_hour = [term for term in terms if term.kind == "provisioned"]
    spread: dict[tuple[date, int], list[DaySum]] = {
        (day, term.term_id): [] for term in by_hour for day in _days(term, from_day, to_day)
    }
    lines = []
    for one in sums:
        if not from_day <= one.day < to_day:
            continue
        reserved = _closest(by_hour, one)
        if reserved is not None:
            spread[one.day, reserved.term_id].append(one)
            continue
        term = _closest(discounts, one)
        off = _ZERO
        if term is not None and term.percent is not None:
            off = EXACT.scaleb(EXACT.multiply(one.cost, term.percent), _PERCENT_EXPONENT)
        lines.append(Line(one.day, one.provider, one.model, one.cost, off, None, EXACT.subtract(one.cost, off)))
    terms_by_id = {term.term_id: term for term in by_hour}
    for (day, term_id), served in spread.items():
        lines += _shares(terms_by_id[term_id], day, served)
    return sorted(lines, key=lambda line: (line.day, line.provider, line.model))


def _days(term: Term, from_day: date, to_day: date) -> list[date]:
    first, last = max(term.valid_from, from_day), min(term.valid_to or to_day, to_day)
    return [first + timedelta(days=number) for number in range((last - first).days)]


def _closest(terms: Iterable[Term], one: DaySum) -> Term | None:
    """Return the term that counts: the one that names the model, then the provider, then the one appended last."""
    covering = [term for term in terms if term.covers(one.day, one.provider, one.model)]
    return max(covering, key=lambda t: (t.model is not None, t.provider is not None, t.term_id), default=None)


def _shares(term: Term, day: date, served: Sequence[DaySum]) -> list[Line]:
    """Spread the sum of a day's 24 hours over the models that it served, by their tokens, exactly."""
    left = EXACT.multiply(term.amount or _ZERO, _HOURS)
    if not served:
        return [Line(day, term.provider or "", term.model or "", _ZERO, _ZERO, left, left)]
    whole, tokens = left, sum(one.tokens for one in served)
    lines = []
    for number, one in enumerate(served, 1):
        weight, weights = (one.tokens, tokens) if tokens else (1, len(served))
        share = _DIVIDING.divide(EXACT.multiply(whole, weight), weights).quantize(_STEP, context=_DIVIDING)
        share = left if number == len(served) else share
        left = EXACT.subtract(left, share)
        lines.append(Line(day, one.provider, one.model, one.cost, _ZERO, share, share))
    return lines


def _draw_order(term: Term) -> tuple[date, date, int]:
    """Draw first from what ends first."""
    return term.valid_to or _FOREVER, term.valid_from, term.term_id


def _draw(lines: Sequence[Line], balances: Sequence[Term]) -> tuple[list[Line], dict[int, dict[date, Decimal]]]:
    """Pay lines from balances, oldest line first; a refund goes back to where it is covered."""
    draws: dict[int, dict[date, Decimal]] = {term.term_id: {} for term in balances}
    used = dict.fromkeys(draws, _ZERO)
    paid = []
    for line in lines:
        open_sum = line.net
        for term in balances:
            if not open_sum or not term.covers(line.day, line.provider, line.model):
                continue
            left = EXACT.subtract(term.amount or _ZERO, used[term.term_id])
            amount = max(min(open_sum, left), EXACT.minus(used[term.term_id]))
            used[term.term_id] = EXACT.add(used[term.term_id], amount)
            days = draws[term.term_id]
            days[line.day] = EXACT.add(days.get(line.day, _ZERO), amount)
            open_sum = EXACT.subtract(open_sum, amount)
        paid.append(replace(line, drawn=EXACT.subtract(line.net, open_sum)))
    return paid, draws


def _balance(term: Term, draws: Mapping[date, Decimal], to_day: date) -> Balance:
    drawn = sum_exactly(draws.values())
    left = EXACT.subtract(term.amount or _ZERO, drawn)
    first = max(term.valid_from, to_day - _PACE)
    recent = sum_exactly(amount for day, amount in draws.items() if day >= first)
    runs_out = None
    if left > 0 and recent > 0:
        days = _DIVIDING.divide(EXACT.multiply(left, (to_day - first).days), recent).to_integral_value(ROUND_CEILING)
        runs_out = to_day + timedelta(days=int(days) - 1) if days < _LONGEST_DAYS else None
        if runs_out is not None and term.valid_to is not None and runs_out >= term.valid_to:
            runs_out = None
    return Balance(term, drawn, left, runs_out)


def _rate_on(rates: Iterable[Term], day: date) -> Term | None:
    in_force = (term for term in rates if term.is_in_force(day))
    return max(in_force, key=lambda term: (term.valid_from, term.term_id), default=None)


def _converted(lines: Iterable[Line], rates: Sequence[Term]) -> Decimal | None:
    """Return what is due, each day at its own rate, in the currency of the last one."""
    total, currencies = _ZERO, set()
    for day, of_day in groupby(lines, key=lambda line: line.day):
        term = _rate_on(rates, day)
        if term is None or term.rate is None:
            return None
        currencies.add(term.currency)
        due = sum_exactly(EXACT.subtract(line.net, line.drawn) for line in of_day)
        total = EXACT.add(total, EXACT.multiply(due, term.rate))
    return total if len(currencies) <= 1 else None
