"""Finds levels that rise or fall slowly: the mean of a day or three against the same hours of the weeks before.

A leak of a few percent a day stays inside of what single hours do. Summed over a day, and compared with the same hours
of the last four weeks, it stands out after two or three days. The comparison is itself judged by how it came out in
the four weeks before, so a product that grows by some percent each week is not flagged. Single costly hours are cut
first, since those have a look of their own. How the numbers below were chosen: docs/adr/0030-outliers.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ingest.forecasting.windows import (
    DAY,
    MAD_TO_SIGMA,
    WEEK,
    hours_before,
    median_of_known,
    weeks_before,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_WEEKS = 4
_FEWEST_WEEKS = 2
_DAYS = (1, 3)
_MEMORY = 4 * WEEK
# Sums of a day are never more alike than this, and less than the other is not worth telling.
_LEAST_SPREAD = 0.04
_LEAST_CHANGE = math.log(1.1)
# An hour counts up to so many times what it was in the weeks before (quiet ones: of half the median hour).
_CAP = 3.0
# A rise is told for so many hours and then counts as known, until the level has been the usual for a day.
_TOLD = 3 * DAY


@dataclass(frozen=True, slots=True)
class Levels:
    """How the mean of the last days compares with the weeks before, at each hour of a series; NaN where unknown.

    Attributes:
        hours: Over how many hours the mean goes.
        actual: The mean, of hours without their outliers.
        usual: What the weeks before and their growth let expect.
        score: Distance from the usual as a share of the distance at which an alarm begins; negative below the usual.
        width: The logarithm of the factor by which an alarm begins above and below the usual.
    """

    hours: int
    actual: Floats
    usual: Floats
    score: Floats
    width: Floats


def compare_levels(values: Floats, offsets: npt.NDArray[np.int64], deviations: float) -> list[Levels]:
    """Compare the last day and the last three days at each hour with the same hours of the weeks before.

    Args:
        values: One value an hour; NaN is a gap.
        offsets: Hours that the local clock is ahead of UTC at each point.
        deviations: An alarm begins so many robust standard deviations from the usual.

    Returns:
        One comparison for each length; every value of it is known from the hours up to there alone.
    """
    calm = _without_outliers(values, offsets)
    return [_compare(calm, days * DAY, offsets, deviations) for days in _DAYS]


def told(is_beyond: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Keep the first days of each time beyond the usual."""
    kept = np.zeros(len(is_beyond), dtype=np.bool_)
    since = last = -math.inf
    for number in np.flatnonzero(is_beyond).tolist():
        if number - last > DAY:
            since = number
        last = number
        kept[number] = number - since < _TOLD
    return kept


def _compare(calm: Floats, hours: int, offsets: npt.NDArray[np.int64], deviations: float) -> Levels:
    actual = _trailing_mean(calm, hours)
    base = median_of_known(weeks_before(actual, _WEEKS, offsets), 0, _FEWEST_WEEKS)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(base > 0, np.log(actual / base), np.nan)
    ratio[~np.isfinite(ratio)] = np.nan
    drift, spread = _center_and_spread(ratio)
    width = np.maximum(deviations * np.maximum(spread, _LEAST_SPREAD), _LEAST_CHANGE)
    return Levels(hours, actual, base * np.exp(drift), (ratio - drift) / width, width)


def _without_outliers(values: Floats, offsets: npt.NDArray[np.int64]) -> Floats:
    weeks = median_of_known(weeks_before(values, _WEEKS, offsets), 0, _FEWEST_WEEKS)
    quiet = 0.5 * median_of_known(hours_before(values, WEEK), 1, WEEK // 2)
    cap = _CAP * np.fmax(weeks, quiet)
    return np.where(weeks >= 0, np.minimum(values, cap), values)


def _trailing_mean(values: Floats, hours: int) -> Floats:
    """The mean of the hours up to each one; NaN where fewer than half of them are known."""
    is_known = ~np.isnan(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(is_known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(is_known)])
    means = np.full(len(values), np.nan)
    if len(values) >= hours:
        count = counts[hours:] - counts[:-hours]
        enough = 2 * count >= hours
        means[hours - 1 :][enough] = (sums[hours:] - sums[:-hours])[enough] / count[enough]
    return means


def _center_and_spread(ratio: Floats) -> tuple[Floats, Floats]:
    """Median and robust standard deviation of the four weeks before each hour, of a week at least."""
    center, spread = np.full(len(ratio), np.nan), np.full(len(ratio), np.nan)
    known = np.flatnonzero(~np.isnan(ratio))
    if len(known):
        begin = int(known[0])
        before = hours_before(ratio[begin:], _MEMORY)
        center[begin:] = median_of_known(before, 1, WEEK)
        spread[begin:] = MAD_TO_SIGMA * median_of_known(np.abs(before - center[begin:, None]), 1, WEEK)
    return center, spread
