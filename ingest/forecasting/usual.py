"""What an hour usually is, and how far from it an alarm begins.

With three weeks of history: the median of the same hour of the week. Before: the mean of the last three days. Where
most hours are empty, neither has a spread, and the high hours of the last four weeks say what was seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ingest.forecasting.windows import (
    DAY,
    MAD_TO_SIGMA,
    WEEK,
    hours_before,
    median_of_known,
    trailing_sums,
    weeks_before,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Texts = npt.NDArray[np.str_]

Season = Literal["recent", "hour_of_week", "highest", "weeks", "others", "never"]

_WEEKS = 8
_FEWEST_WEEKS = 3
_MEMORY = 4 * WEEK
_RECENT = 3 * DAY
_FEWEST_RECENT = 24
# A band is at least this share of the usual wide, so that jitter around a constant is not flagged.
_FLOOR = 0.05
_RECENT_FLOOR = 0.01
# A quiet hour is taken for at least this share of the mean hour, so that a single call at night is not flagged.
_QUIETEST = 0.2
# Where most hours are empty, an hour is unusual beyond so many times what 19 of 20 hours come to; where these are
# empty too, or in a series of many, beyond so many times the highest.
_HIGH_SHARE = 0.95
_TIMES_HIGH = 3.0
_TIMES_HIGHEST = 2.0


@dataclass(frozen=True, slots=True)
class Bands:
    """What each hour of a series was expected to be; NaN where nothing can be said.

    Attributes:
        usual: The expectation.
        above: How far above it an alarm begins.
        below: How far below it an alarm begins; infinite where no hour is too low.
        season: What the expectation rests on.
    """

    usual: Floats
    above: Floats
    below: Floats
    season: Texts


def usual_bands(
    values: Floats, offsets: npt.NDArray[np.int64], deviations: float, *, is_one_of_many: bool = False
) -> Bands:
    """Say what each hour was expected to be, from the hours before it alone.

    Args:
        values: One value an hour; NaN is a gap.
        offsets: Hours that the local clock is ahead of UTC at each point.
        deviations: An alarm begins so many standard deviations from the usual.
        is_one_of_many: Whether a sparse series is judged by its highest hour.
    """
    total, count = trailing_sums(values, _MEMORY)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / count
    usual, width = _by_hour_of_week(values, offsets, np.abs(mean))
    recent, recent_width = _recent(values)
    is_young = np.isnan(usual)
    usual, width = np.where(is_young, recent, usual), np.where(is_young, recent_width, width)
    season = np.where(is_young, "recent", "hour_of_week")
    above = deviations * width
    # A sum falls by no more than itself: an hour may be as many times below the usual as above.
    with np.errstate(divide="ignore", invalid="ignore"):
        lower = np.where(usual > 0, usual * above / (usual + above), above)
    below = np.where(is_young, above, lower)
    before = hours_before(values, _MEMORY)
    is_sparse = (median_of_known(np.abs(before), 1, _FEWEST_RECENT) == 0) & (count >= _FEWEST_RECENT)
    high = _high(before, is_one_of_many=is_one_of_many)
    usual = np.where(is_sparse, mean, usual)
    above = np.where(is_sparse, np.maximum(high - mean, 0), above)
    below = np.where(is_sparse, np.inf, below)
    return Bands(usual, above, below, np.where(is_sparse, "highest", season))


def _high(before: Floats, *, is_one_of_many: bool) -> Floats:
    """What an hour of a sparse series must exceed."""
    ordered = np.sort(np.where(np.isnan(before), -np.inf, before), axis=1)
    count = np.sum(~np.isnan(before), axis=1)
    highest = _TIMES_HIGHEST * ordered[:, -1]
    if is_one_of_many:
        return highest
    place = before.shape[1] - count + np.maximum(np.ceil(_HIGH_SHARE * count).astype(int) - 1, 0)
    high = np.take_along_axis(ordered, np.minimum(place, before.shape[1] - 1)[:, None], axis=1)[:, 0]
    return np.where(high > 0, _TIMES_HIGH * high, highest)


def _by_hour_of_week(values: Floats, offsets: npt.NDArray[np.int64], mean: Floats) -> tuple[Floats, Floats]:
    """Median and spread of the same hour of the week: its own, or that of all hours as a share of theirs if wider."""
    weeks = weeks_before(values, _WEEKS, offsets)
    usual = median_of_known(weeks, 0, _FEWEST_WEEKS)
    own = MAD_TO_SIGMA * median_of_known(np.abs(weeks - usual), 0, _FEWEST_WEEKS)
    level = np.maximum(np.abs(usual), _QUIETEST * mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.abs(values - usual) / level
    errors[~np.isfinite(errors)] = np.nan
    shared = MAD_TO_SIGMA * median_of_known(hours_before(errors, _MEMORY), 1, DAY)
    return usual, np.maximum(np.fmax(own, shared * level), _FLOOR * level)


def _recent(values: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the last three days."""
    total, count = trailing_sums(values, _RECENT)
    squares, _ = trailing_sums(np.square(values), _RECENT)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / count
        variance = squares / count - np.square(mean)
    deviation = np.sqrt(np.maximum(variance, 0))
    is_known = count >= _FEWEST_RECENT
    return np.where(is_known, mean, np.nan), np.where(
        is_known, np.maximum(deviation, _RECENT_FLOOR * np.abs(mean)), np.nan
    )
