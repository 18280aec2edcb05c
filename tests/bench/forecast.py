"""Error of the forecast of a month's spend at day 7, 14 and 21, beside the straight line through the days so far.

Histories: the demo's of three seeds (with its costly batch every fifteen days), and ones made of both recorded traces,
level and growing by 3 percent a week. Each forecast sees what lies before it alone.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ingest.forecasting.forecast import CONFIDENCE, forecast_month
from tests.bench import _histories
from tests.bench._rows import row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

DAYS = (7, 14, 21)
MONTHS = (6, 7, 8, 9, 10)


def run() -> Iterator[dict[str, object]]:
    """Yield the mean absolute percentage errors and how often the interval held."""
    kinds = {"demo": [_histories.demo(seed) for seed in _histories.SEEDS], "traces": _histories.traces()}
    for kind, histories in kinds.items():
        inside: list[bool] = []
        errors: dict[int, list[tuple[float, float]]] = defaultdict(list)
        for history in histories:
            spend = by_day(history.series["spend"])
            for month in MONTHS:
                for day in DAYS:
                    ours, straight, held = compare(spend, month, day)
                    errors[day].append((ours, straight))
                    inside.append(held)
        for day in DAYS:
            count = len(errors[day])
            yield row(
                f"month-end spend, {kind}, error at day {day}, {count} months",
                100 * sum(ours for ours, _ in errors[day]) / count,
                "% (mean absolute)",
                peer="straight-line run rate",
                peer_value=100 * sum(straight for _, straight in errors[day]) / count,
            )
        yield row(
            f"month-end spend, {kind}, months inside the {CONFIDENCE:.0%} interval",
            100 * sum(inside) / len(inside),
            "%",
        )


def compare(spend: dict[date, float], month: int, day: int) -> tuple[float, float, bool]:
    """Our error, the straight line's, and whether the interval held."""
    start = datetime(2026, month, 1, tzinfo=UTC)
    now = start + timedelta(days=day)
    forecast = forecast_month({at: cost for at, cost in spend.items() if at < now.date()}, now)
    assert forecast is not None
    assert forecast.run_rate is not None
    truth = sum(cost for at, cost in spend.items() if at.month == month)
    return (
        abs(forecast.expected - truth) / truth,
        abs(forecast.run_rate - truth) / truth,
        forecast.low <= truth <= forecast.high,
    )


def by_day(hourly: list[float]) -> dict[date, float]:
    """Sum the hours of each day (UTC)."""
    days: dict[date, float] = defaultdict(float)
    for at, cost in zip(_histories.hours(), hourly, strict=True):
        days[at.date()] += cost
    return days
