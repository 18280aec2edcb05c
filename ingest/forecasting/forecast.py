"""Forecasts what the month will cost by its end, with an interval.

What was spent so far is known. Each remaining day is the mean of two forecasts: the recent level times what its weekday
usually costs, with half of the recent trend, and a damped Holt-Winters; the share of rare costly days is added to it. A
level that has dropped or jumped for four days counts at once. The interval comes from the history itself: the same
forecast is made as of many earlier days for as many days ahead, and its errors are the width. How the numbers below
were chosen: docs/adr/0015-forecast.md.
"""

from __future__ import annotations

import calendar
import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import numpy as np

from ingest.forecasting.holt_winters import holt_winters

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Days = npt.NDArray[np.float64]

CONFIDENCE = 0.8

# Two weeks show each weekday twice; with less, only the straight line through what was spent is honest.
FEWEST_DAYS = 14

_LEVEL_DAYS = 56
_HALF_LIFE_DAYS = 14
_TREND_DAYS = 42
_TREND_BELIEVED = 0.5
_COSTLY_DAYS = 91
_COSTLY_DEVIATIONS = 4.0
_FEWEST_BACK_TESTS = 10
_BACK_TEST_DAYS = 91
# A level has moved when most of so many days lie on one side of the days before, each so far from their median.
_FEWEST_LATEST = 4
_LATEST_DAYS = 14
_SHARE_OF_LATEST = 0.8
_LEVEL_DEVIATIONS = 2.0

# The error where the history is too short to measure it: of the rest of the month, in either direction.
_UNMEASURED_ERROR = 0.5

_MAD_TO_SIGMA = 1.4826
# Half of the interval, in root mean squares of the errors of the past: 1.28 would hold 80 % of normal errors.
_WIDTH = 1.32


@dataclass(frozen=True, slots=True)
class MonthForecast:
    """What a month is expected to cost, in US dollars.

    Attributes:
        month: First day of the month.
        spent: Spent so far.
        expected: Expected at the end of the month.
        low: Lower end of the interval.
        high: Upper end of the interval; `CONFIDENCE` of all months end inside.
        run_rate: What the straight line through the days so far gives; None on the first instant of a month.
        basis: seasonal, or run_rate where the history is too short.
    """

    month: date
    spent: float
    expected: float
    low: float
    high: float
    run_rate: float | None
    basis: Literal["seasonal", "run_rate"]


def forecast_month(spend: Mapping[date, float], now: datetime) -> MonthForecast | None:
    """Forecast the month that `now` lies in.

    Args:
        spend: US dollars by local day; an absent day after the first one cost nothing; later ones are not read.
        now: The time in the reporting zone: days and months are its.

    Returns:
        The forecast; None without any spend before `now`.
    """
    today = now.date()
    known = sorted(day for day in spend if day <= today)
    if not known or not any(spend[day] > 0 for day in known):
        return None
    month = today.replace(day=1)
    next_month = month + timedelta(days=calendar.monthrange(month.year, month.month)[1])
    spent = math.fsum(spend[day] for day in known if day >= month)
    elapsed = (now.replace(tzinfo=None) - datetime.combine(today, datetime.min.time())) / timedelta(days=1)
    days_so_far = (today - max(month, known[0])).days + elapsed
    days_left = (next_month - today).days - elapsed
    run_rate = spent / days_so_far * (days_so_far + days_left) if days_so_far > 0 else None
    history = _complete_days(spend, known[0], today)
    if len(history) < FEWEST_DAYS:
        expected = run_rate if run_rate is not None else spent
        rest = expected - spent
        return MonthForecast(
            month, spent, expected, spent + rest * (1 - _UNMEASURED_ERROR), spent + rest * (1 + _UNMEASURED_ERROR),
            run_rate, "run_rate",
        )  # fmt: skip
    ahead = (next_month - today).days
    weights = np.ones(ahead)
    weights[0] -= elapsed  # only the rest of today remains
    rest = float(next_days(history, ahead) @ weights)
    low, high = _error_range(history, ahead)
    return MonthForecast(month, spent, spent + rest, spent + rest * low, spent + rest * high, run_rate, "seasonal")


def next_days(history: Days, ahead: int) -> Days:
    """Forecast whole days.

    Args:
        history: Spend of complete days without a gap, the latest one last; at least `FEWEST_DAYS`.
        ahead: How many days to forecast.

    Returns:
        The expected spend of each of the next days.
    """
    history = np.maximum(history, 0)  # a day of refunds says nothing about those to come
    by_weekday = _weekday_factors(history[-_LEVEL_DAYS:])
    factors = by_weekday[(np.arange(len(history)) - len(history)) % 7]
    even = _on_the_latest_level(history / factors)
    history = even * factors
    recent = even[-_COSTLY_DAYS:]
    typical = _median(recent)
    spread = max(_MAD_TO_SIGMA * _median(np.abs(recent - typical)), 0.05 * typical)
    cap = typical + _COSTLY_DEVIATIONS * spread
    # A rare costly day says little about the level but is part of what a month costs.
    excess = float(np.maximum(history - cap * factors, 0)[-_COSTLY_DAYS:].mean())
    calm = np.minimum(even, cap)[-_LEVEL_DAYS:]
    age = np.arange(len(calm))[::-1]
    weights = 0.5 ** (age / _HALF_LIFE_DAYS)
    weights /= weights.sum()
    level, center = float(weights @ calm), float(weights @ age)
    growth = _TREND_BELIEVED * _daily_growth(calm[-_TREND_DAYS:])
    steps = np.arange(ahead)
    weighted = level * np.exp(growth * (center + 1 + steps)) * by_weekday[steps % 7]
    smoothed = holt_winters(np.minimum(even, cap) * factors, by_weekday, ahead)
    forecast: Days = (weighted + smoothed) / 2 + excess
    return forecast


def _median(values: Days) -> float:
    # Of some dozens of values a twentieth of the time of numpy's own.
    ordered = np.sort(values).tolist()
    middle = len(ordered) // 2
    return float(ordered[middle]) if len(ordered) % 2 else float(ordered[middle - 1] + ordered[middle]) / 2


def _complete_days(spend: Mapping[date, float], first: date, today: date) -> Days:
    return np.array([spend.get(first + timedelta(days=number), 0.0) for number in range((today - first).days)])


def _on_the_latest_level(even: Days) -> Days:
    """Scale what was before a lasting drop or jump to what has been since."""
    for days in range(min(_LATEST_DAYS, len(even) - FEWEST_DAYS), _FEWEST_LATEST - 1, -1):
        since, before = even[-days:], even[-days - _LEVEL_DAYS : -days]
        typical = _median(before)
        spread = max(_MAD_TO_SIGMA * _median(np.abs(before - typical)), 0.05 * typical)
        far = (since - typical) / (_LEVEL_DEVIATIONS * spread) if spread > 0 else np.zeros(days)
        for side in (far > 1, far < -1):
            # A costly day in between does not hide it.
            if side[0] and side.mean() >= _SHARE_OF_LATEST:
                return np.concatenate([even[:-days] * (_median(since) / typical), since])
    return even


def _weekday_factors(history: Days) -> Days:
    # Weekdays are counted from the day after the history; medians, so one costly day does not make a costly weekday.
    position = (np.arange(len(history)) - len(history)) % 7
    typical = _median(history[-28:])
    if typical <= 1e-9 * float(history.max()):  # almost nothing on most days: weekdays mean nothing
        return np.ones(7)
    medians = np.array([_median(history[position == number]) for number in range(7)]) / typical
    medians = np.maximum(medians, 0.01)
    factors: Days = medians / medians.mean()
    return factors


def _daily_growth(calm: Days) -> float:
    # The median of the slopes between days at least a week apart (Theil and Sen), of the logarithm.
    positive = np.flatnonzero(calm > 0)
    if len(positive) < FEWEST_DAYS:
        return 0.0
    logs = np.log(calm[positive])
    first, second = np.triu_indices(len(positive), 7)
    slopes = (logs[second] - logs[first]) / (positive[second] - positive[first])
    return float(np.median(slopes))


def _error_range(history: Days, ahead: int) -> tuple[float, float]:
    """The range of the rest of the month, as shares of its forecast."""
    earliest = max(FEWEST_DAYS, len(history) - _BACK_TEST_DAYS)
    errors = []
    for origin in range(earliest, len(history) - ahead + 1):
        came, forecast = float(history[origin : origin + ahead].sum()), float(next_days(history[:origin], ahead).sum())
        if came > 0 and forecast > 0:
            errors.append(math.log(came / forecast))
    if len(errors) < _FEWEST_BACK_TESTS:
        return 1 - _UNMEASURED_ERROR, 1 + _UNMEASURED_ERROR
    width = _WIDTH * math.sqrt(float(np.mean(np.square(errors))))
    return math.exp(-width), math.exp(width)
