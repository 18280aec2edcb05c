"""Error and coverage of the forecast of a month's spend at day 7, 14 and 21, beside simple forecasts.

Histories: the demo's of three seeds (with its costly batch every fifteen days), and ones made of both recorded traces,
level and growing by 3 percent a week; again with a level that falls to the half ten days before. Each forecast sees
what lies before it alone. The straight line goes through the days of the month so far; the seasonal naive one repeats
the last week. What the forecast's numbers were tuned on: docs/adr/0015-forecast.md.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from ingest.forecasting.forecast import CONFIDENCE, forecast_month
from tests.bench import _histories
from tests.bench._rows import row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DAYS = (7, 14, 21)
MONTHS = (6, 7, 8, 9, 10)
FALL_DAYS = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """Absolute errors of one month's forecasts, as shares of what came, and whether the interval held it.

    `widths` says how many times as wide it should have been to hold it.
    """

    day: int
    ours: float
    straight: float
    naive: float
    held: bool
    widths: float


def run() -> Iterator[dict[str, object]]:
    """Yield the mean absolute percentage errors and how often the interval held."""
    kinds = histories_of(_histories.SEEDS)
    calm: dict[str, list[Outcome]] = {}
    for kind, histories in kinds.items():
        outcomes = [compare(spend, month, day) for spend in histories for month in MONTHS for day in DAYS]
        calm[kind] = outcomes
        for day in DAYS:
            yield from rows(f"{kind}, day {day}", [one for one in outcomes if one.day == day])
        yield from rows(kind, outcomes)
        fallen = [
            compare(halve(spend, month, day), month, day) for spend in histories for month in MONTHS for day in DAYS
        ]
        yield from rows(f"{kind}, half as much for {FALL_DAYS} days", fallen)
    yield from rows("all", [one for found in calm.values() for one in found])
    for kind, histories in histories_of(_histories.OTHER_SEEDS).items():
        fresh = [compare(spend, month, day) for spend in histories for month in MONTHS for day in DAYS]
        yield from rows(f"{kind}, histories that nothing was tuned on", fresh)
    for kind, outcomes in calm.items():
        others = [one.widths for other, found in calm.items() if other != kind for one in found]
        width = sorted(others)[round(CONFIDENCE * (len(others) - 1))]
        held = 100 * sum(one.widths <= width for one in outcomes) / len(outcomes)
        yield row(f"month-end spend, {kind}: inside an interval that holds 80 % of the other kinds", held, "%")


def histories_of(seeds: Sequence[int]) -> dict[str, list[dict[date, float]]]:
    """Spend by day of the demo and of each trace."""
    kinds = {"demo": [by_day(_histories.demo(seed).series["spend"]) for seed in seeds]}
    for history in _histories.traces(seeds):
        kinds.setdefault(history.name.split()[0], []).append(by_day(history.series["spend"]))
    return kinds


def rows(name: str, outcomes: Sequence[Outcome]) -> Iterator[dict[str, object]]:
    """Our error beside each simple forecast's, and the share of months in the interval."""

    def mean(values: list[float]) -> float:
        return 100 * sum(values) / len(values)

    ours = mean([one.ours for one in outcomes])
    label = f"month-end spend, {name}, {len(outcomes)} forecasts"
    straight, naive = mean([one.straight for one in outcomes]), mean([one.naive for one in outcomes])
    yield row(f"{label}: error", ours, "%", peer="straight-line run rate", peer_value=straight)
    yield row(f"{label}: error", ours, "%", peer="seasonal naive", peer_value=naive)
    yield row(f"{label}: inside the {CONFIDENCE:.0%} interval", mean([float(one.held) for one in outcomes]), "%")


def compare(spend: dict[date, float], month: int, day: int) -> Outcome:
    """Forecast a month on one of its days."""
    now = _now(month, day)
    known = {at: cost for at, cost in spend.items() if at < now.date()}
    forecast = forecast_month(known, now)
    assert forecast is not None
    assert forecast.run_rate is not None
    days = [at for at in spend if at.month == month]
    truth = sum(spend[at] for at in days)
    naive = sum(spend[at] if at in known else _week_before(known, at) for at in days)
    rest, left = forecast.expected - forecast.spent, truth - forecast.spent
    return Outcome(
        day,
        abs(forecast.expected - truth) / truth,
        abs(forecast.run_rate - truth) / truth,
        abs(naive - truth) / truth,
        forecast.low <= truth <= forecast.high,
        abs(math.log(left / rest)) / math.log((forecast.high - forecast.spent) / rest),
    )


def halve(spend: dict[date, float], month: int, day: int) -> dict[date, float]:
    """Let the level fall to the half some days before a forecast."""
    begin = _now(month, day).date() - timedelta(days=FALL_DAYS)
    return {at: cost / 2 if at >= begin else cost for at, cost in spend.items()}


def by_day(hourly: list[float]) -> dict[date, float]:
    """Sum the hours of each day (UTC)."""
    days: dict[date, float] = defaultdict(float)
    for at, cost in zip(_histories.hours(), hourly, strict=True):
        days[at.date()] += cost
    return dict(days)


def _now(month: int, day: int) -> datetime:
    return datetime(2026, month, 1, tzinfo=UTC) + timedelta(days=day)


def _week_before(known: dict[date, float], at: date) -> float:
    while at not in known:
        at -= timedelta(weeks=1)
    return known[at]
