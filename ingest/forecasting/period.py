"""Forecasts what a running day or week will cost by its end, with an interval.

What was spent so far is known. Each remaining hour is expected to cost what its hour of the week usually costs (the
mean of up to eight weeks, so that rare costly hours are in it), times how the last seven days compare with that. The
interval comes from the history: the same forecast, made at the same time of earlier days for as many hours ahead, and
its errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from ingest.forecasting.forecast import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Hours = npt.NDArray[np.float64]

_HOUR: Final = timedelta(hours=1)
_DAY: Final = 24
_WEEK: Final = 168
# Three days tell hours of the day apart, two weeks days of the week.
_FEWEST_HOURS: Final = 3 * _DAY
_WEEKLY_HOURS: Final = 2 * _WEEK
_PROFILE_HOURS: Final = 8 * _WEEK
_BACK_TEST_DAYS: Final = 28
_FEWEST_BACK_TESTS: Final = 5
# As for the month: where the history is too short to measure the error, half of what is to come, in either direction.
_UNMEASURED_ERROR: Final = 0.5


@dataclass(frozen=True, slots=True)
class PeriodForecast:
    """What a running period is expected to cost, in US dollars.

    Attributes:
        spent: Spent so far.
        expected: Expected at its end.
        low: Lower end of the interval.
        high: Upper end of the interval; 80 % of periods are to end inside.
        basis: seasonal, or run_rate where the history is too short.
    """

    spent: float
    expected: float
    low: float
    high: float
    basis: Literal["seasonal", "run_rate"]


def forecast_period(
    spend: Mapping[datetime, float], now: datetime, start: datetime, end: datetime
) -> PeriodForecast | None:
    """Forecast a running period of hours.

    Args:
        spend: US dollars by UTC hour; an absent hour after the first one cost nothing.
        now: The time, aware.
        start: Beginning of the period, aware.
        end: Its end, aware.

    Returns:
        The forecast; None without any spend before `now`.
    """
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    known = {at.astimezone(UTC): cost for at, cost in spend.items() if at.astimezone(UTC) <= hour}
    if not any(cost > 0 for cost in known.values()):
        return None
    first = min(known)
    spent = math.fsum(cost for at, cost in known.items() if at >= start)
    history = np.array([known.get(first + _HOUR * number, 0.0) for number in range((hour - first) // _HOUR)])
    left = (end - now) / _HOUR
    ahead = math.ceil((end - hour) / _HOUR)
    if len(history) < _FEWEST_HOURS:
        elapsed = (now - max(start, first)) / _HOUR
        rest = spent / elapsed * left if elapsed > 0 else 0.0
        low, high = 1 - _UNMEASURED_ERROR, 1 + _UNMEASURED_ERROR
        return PeriodForecast(spent, spent + rest, spent + low * rest, spent + high * rest, "run_rate")
    weights = np.ones(ahead)
    weights[0] -= (now - hour) / _HOUR  # only the rest of this hour remains
    weights[-1] -= ahead - (end - hour) / _HOUR
    rest = float(next_hours(history, ahead) @ weights)
    low, high = _error_range(history, ahead)
    return PeriodForecast(spent, spent + rest, spent + rest * low, spent + rest * high, "seasonal")


def next_hours(history: Hours, ahead: int) -> Hours:
    """Forecast whole hours.

    Args:
        history: Spend of complete hours without a gap, the latest one last; at least three days.
        ahead: How many hours to forecast.

    Returns:
        The expected spend of each of the next hours.
    """
    season = _WEEK if len(history) >= _WEEKLY_HOURS else _DAY
    recent = history[-_PROFILE_HOURS:]
    recent = recent[len(recent) % season :]
    usual = recent.reshape(-1, season).mean(axis=0)
    # The last week against the usual one; half of the difference is carried on, and never more than twofold.
    last = history[-min(_WEEK, len(history)) :]
    expected = usual[(np.arange(len(last)) - len(last)) % season].sum()
    level = math.sqrt(min(max(float(last.sum()) / float(expected), 0.25), 4.0)) if expected > 0 else 1.0
    forecast: Hours = level * usual[np.arange(ahead) % season]
    return forecast


def _error_range(history: Hours, ahead: int) -> tuple[float, float]:
    """The range of what is to come, as shares of its forecast."""
    errors = []
    for days in range(1, _BACK_TEST_DAYS + 1):
        origin = len(history) - days * _DAY
        if origin < _FEWEST_HOURS:
            break
        if origin + ahead > len(history):
            continue
        came, forecast = float(history[origin : origin + ahead].sum()), float(next_hours(history[:origin], ahead).sum())
        if came > 0 and forecast > 0:
            errors.append(abs(math.log(came / forecast)))
    if len(errors) < _FEWEST_BACK_TESTS:
        return 1 - _UNMEASURED_ERROR, 1 + _UNMEASURED_ERROR
    # One more than were made lies beyond the largest: few of them leave room for what has not been seen yet.
    width = float(np.quantile(errors, min(1.0, CONFIDENCE * (len(errors) + 1) / len(errors))))
    return math.exp(-width), math.exp(width)
