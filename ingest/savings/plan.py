"""From evidence to a plan: every kind applied in one fixed order, each dollar saved at most once, as a month.

What a step saves is the cost before it less the cost after it, so the steps add up to spend less what remains. A month
is 30 times the average day, over the days that had calls. The interval has two parts: what is not known of the calls
(the detectors' low and high), and how far the days differ (Student's t at 90 % over the daily costs of the same calls).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping  # noqa: TC003 -- dataclasses name it
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from ingest.savings.kinds import KINDS, Kind, Level
from ingest.savings.states import SCENARIOS, ListPrices, Scenario, State
from ingest.savings.statistics import t_quantile
from pricing.rates import sum_exactly

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date
    from uuid import UUID

    from ingest.documents.savings import Evidence, SavingFact
    from pricing import PriceBook

DAYS_A_MONTH: Final = 30
GOAL: Final = Decimal("0.4")
"""Share of the spend that the plan aims at."""
FEWEST_DAYS: Final = 7
"""Fewer days are said to be few."""
MIN_CALLS: Final = 20
MIN_SHARE: Final = Decimal("0.01")
MIN_SAVED_PER_MONTH: Final = Decimal(1)

_CENT: Final = Decimal("0.01")
_ZERO: Final = Decimal(0)
_SAME_TRAFFIC: Final = "Traffic continues as in the period examined."

_Key = tuple[str, str, str, str, str | None]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Something to change, and what it would save.

    Attributes:
        kind: Name of one of `KINDS`.
        provider: Provider of the calls.
        model: Model that answered them.
        feature: Feature that made them; None where it is about all features.
        replacement: Model to use instead, where the kind is about that.
        saved_per_month: US dollars in 30 days, expected, rounded to cents.
        low: The same at the low end.
        high: The same at the high end.
        share: Part of the spend that it is.
        confidence: "high", "medium" or "low": half the interval is below a fifth of the figure, below a half, or not;
            never "high" with fewer than seven days, "low" where it needs an evaluation.
        assumptions: What must hold for the figure to come true, as sentences.
        evidence: The figures that it was computed from, by name.
        risk: That users notice.
        effort: To change the code.
        needs_evaluation: Whether answers may change; then it is in no sum of the plan.
        snippet: The change in code.
        example_event_id: The dearest of the calls, as an example.
    """

    kind: str
    provider: str
    model: str
    feature: str | None
    replacement: str | None
    saved_per_month: Decimal
    low: Decimal
    high: Decimal
    share: Decimal
    confidence: Level
    assumptions: tuple[str, ...]
    evidence: Mapping[str, int | Decimal]
    risk: Level
    effort: Level
    needs_evaluation: bool
    snippet: str
    example_event_id: UUID

    @property
    def key(self) -> str:
        """What tells it from others, and stays the same from day to day; a slash within a name is written as %2F."""
        feature = "%2A" if self.feature == "*" else _escape(self.feature or "*")
        return "/".join((self.kind, _escape(self.provider), _escape(self.model), feature))


@dataclass(frozen=True, slots=True)
class Plan:
    """What can be saved, and what it was computed from.

    Attributes:
        spend_per_month: US dollars of 30 average days, of the calls with a certain price.
        days: Days that had calls.
        first_day: The first of them, in UTC; None without any.
        last_day: The last of them.
        suggestions: Largest first, those that need an evaluation after the others.
        too_small: US dollars a month of what is below 1 % of the spend or below 1 $, in no figure.
        unexamined: US dollars of the rollups that the evidence does not have: days that were not judged yet.
        largest_user: Who spends most and their share, where that is over a fifth.
    """

    spend_per_month: Decimal
    days: int
    first_day: date | None
    last_day: date | None
    suggestions: tuple[Suggestion, ...]
    too_small: Decimal
    unexamined: Decimal
    largest_user: tuple[str, Decimal] | None

    @property
    def goal(self) -> Decimal:
        """US dollars a month that the plan aims at."""
        return (self.spend_per_month * GOAL).quantize(_CENT)

    def total(self, scenario: Scenario = "expected") -> Decimal:
        """US dollars a month of all that needs no evaluation."""
        names = {"low": "low", "expected": "saved_per_month", "high": "high"}
        found = sum_exactly(getattr(one, names[scenario]) for one in self.suggestions if not one.needs_evaluation)
        return min(found, self.spend_per_month)  # days that differ widen each upper end by itself

    @property
    def to_evaluate(self) -> Decimal:
        """US dollars a month of what needs an evaluation, on top of the rest."""
        return sum_exactly(one.saved_per_month for one in self.suggestions if one.needs_evaluation)


@dataclass(slots=True)
class _Saved:
    """What one suggestion saves of the whole period."""

    amounts: dict[Scenario, Decimal]
    margin: Decimal
    facts: list[SavingFact]


def headline(suggestion: Suggestion) -> str:
    """Write what to do as a sentence."""
    kind = next(kind for kind in KINDS if kind.name == suggestion.kind)
    return _fill(kind.title, suggestion.model, suggestion.feature, suggestion.replacement)


def make_plan(evidence: Evidence, book: PriceBook, *, min_share: Decimal = MIN_SHARE) -> Plan:
    """Work out what the evidence supports. Pure: the clock is the evidence's.

    Args:
        evidence: What the calls were judged to be.
        book: Prices at the end of the evidence.
        min_share: Part of the spend below which there is no advice.
    """
    prices = ListPrices(book, evidence.to_time)
    days = len(evidence.days)
    facts, spend = _net(evidence)
    saved = _waterfall(facts, prices, days)
    found, too_small = [], _ZERO
    for (name, *where), one in saved.items():
        if not one.facts:  # saved at the high end alone: nothing is expected of it
            continue
        kind = next(kind for kind in KINDS if kind.name == name)
        suggestion = _suggestion(kind, tuple(where), one, days, spend)  # type: ignore[arg-type]
        calls = sum(fact.calls for fact in one.facts)
        if (
            calls < MIN_CALLS
            or suggestion.saved_per_month < MIN_SAVED_PER_MONTH
            or one.amounts["expected"] < spend * min_share
        ):
            too_small += max(suggestion.saved_per_month, _ZERO)
        else:
            found.append(suggestion)
    found.sort(key=lambda one: (one.needs_evaluation, -one.saved_per_month, one.key))
    return Plan(
        spend_per_month=_per_month(spend, days),
        days=days,
        first_day=evidence.days[0] if days else None,
        last_day=evidence.days[-1] if days else None,
        suggestions=tuple(found),
        too_small=too_small,
        unexamined=max(evidence.spend - spend, _ZERO),
        largest_user=_largest_user(evidence),
    )


def _net(evidence: Evidence) -> tuple[Sequence[SavingFact], Decimal]:
    """Return the facts and their cost, both lowered in proportion where refunds took some of it off the spend."""
    gross = sum_exactly(fact.cost for fact in evidence.facts)
    if evidence.spend >= gross:
        return evidence.facts, gross
    net = max(evidence.spend, _ZERO)
    part = net / gross
    lowered = {"cost": part, "cost_squares": part * part}
    return [
        fact.model_copy(update={name: getattr(fact, name) * share for name, share in lowered.items()})
        for fact in evidence.facts
    ], net


def _escape(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2F")


def _waterfall(facts: Iterable[SavingFact], prices: ListPrices, days: int) -> dict[_Key, _Saved]:
    """Apply every kind in order, in each scenario, and collect what each saves where."""
    saved: dict[_Key, _Saved] = {}
    rows = list(facts)
    for scenario in SCENARIOS:
        states = [State.of(fact, scenario, prices) for fact in rows]
        costs = [state.cost(prices) for state in states]
        for kind in KINDS:
            before = [(state.model, cost) for state, cost in zip(states, costs, strict=True)]
            kind.detect(states, prices)
            for number, state in enumerate(states):
                model, cost = before[number]
                costs[number] = state.cost(prices)
                amount = cost - costs[number]
                if not amount:
                    continue
                fact = state.fact
                replacement = state.model if state.model != model else None
                feature = None if kind.name == "cheaper_snapshot" else fact.feature
                key = (kind.name, fact.provider, model, feature or "", replacement)
                one = saved.setdefault(key, _Saved(dict.fromkeys(SCENARIOS, _ZERO), _ZERO, []))
                one.amounts[scenario] += amount
                if scenario == "expected":
                    one.facts.append(fact)
                    one.margin += abs(amount) * _relative_margin(fact, days)
    return saved


def _relative_margin(fact: SavingFact, days: int) -> Decimal:
    """Half the 90 % interval of a fact's average day, in parts of that average; days without such calls count as 0."""
    if days < 2 or not fact.cost:
        return _ZERO
    squares = float(fact.cost_squares) - float(fact.cost) ** 2 / days
    deviation = (max(squares, 0.0) / (days - 1) / days) ** 0.5
    return Decimal(repr(t_quantile(0.95, days - 1) * deviation / (float(fact.cost) / days)))


def _suggestion(
    kind: Kind, where: tuple[str, str, str, str | None], one: _Saved, days: int, spend: Decimal
) -> Suggestion:
    provider, model, feature, replacement = where
    is_about_all = kind.name == "cheaper_snapshot"
    amounts = {scenario: _per_month(amount, days) for scenario, amount in one.amounts.items()}
    margin = _per_month(one.margin, days)
    expected = amounts["expected"]
    low = max(min(amounts["low"], expected) - margin, _ZERO)
    high = max(amounts["high"], expected) + margin
    names = (model, None if is_about_all else feature, replacement)
    return Suggestion(
        kind=kind.name,
        provider=provider,
        model=model,
        feature=None if is_about_all else feature,
        replacement=replacement,
        saved_per_month=expected,
        low=low,
        high=min(high, max(_per_month(spend, days), expected)),
        share=(one.amounts["expected"] / spend).quantize(Decimal("0.0001")) if spend else _ZERO,
        confidence=_confidence(kind, expected, low, high, days),
        assumptions=(*(_fill(text, *names) for text in kind.assumptions), _SAME_TRAFFIC),
        evidence=_evidence(one.facts, days),
        risk=kind.risk,
        effort=kind.effort,
        needs_evaluation=kind.needs_evaluation,
        snippet=_fill(kind.snippet, *names),
        example_event_id=max(one.facts, key=lambda fact: fact.cost).example_event_id,
    )


def _evidence(facts: Sequence[SavingFact], days: int) -> dict[str, int | Decimal]:
    names = (
        "calls", "prompt_tokens", "completion_tokens", "cached_tokens", "missed_10_tokens", "excess_prompt_tokens",
        "excess_output_tokens", "excess_reasoning_tokens", "cut_off", "regenerated", "continued", "tool_retries",
        "liked", "disliked",
    )  # fmt: skip
    sums = {name: sum(getattr(fact, name) for fact in facts) for name in names}
    found: dict[str, int | Decimal] = {"days": days, "cost": sum_exactly(fact.cost for fact in facts)}
    found.update({name: value for name, value in sums.items() if value})
    return found


def _confidence(kind: Kind, expected: Decimal, low: Decimal, high: Decimal, days: int) -> Level:
    if kind.needs_evaluation or expected <= 0 or (high - low) / 2 > expected / 2:
        return "low"
    return "high" if days >= FEWEST_DAYS and (high - low) / 2 <= expected / 5 else "medium"


def _per_month(amount: Decimal, days: int) -> Decimal:
    return (amount / days * DAYS_A_MONTH).quantize(_CENT) if days else _ZERO


def _largest_user(evidence: Evidence) -> tuple[str, Decimal] | None:
    if not evidence.users or not evidence.spend:
        return None
    first = evidence.users[0]
    share = (first.cost / evidence.spend).quantize(Decimal("0.001"))
    return (first.user_id, share) if share > Decimal("0.2") else None


def _fill(text: str, model: str, feature: str | None, replacement: str | None) -> str:
    if "{" not in text:
        return text
    return text.format(model=model, feature=feature or "calls without a feature", replacement=replacement)


def steps_of(suggestions: Sequence[Suggestion]) -> Mapping[str, Decimal]:
    """Add up by kind, in the order of the plan."""
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for one in suggestions:
        sums[one.kind] += one.saved_per_month
    return {kind.name: sums[kind.name] for kind in KINDS if kind.name in sums}
