"""Windows over hourly series: the weeks before each hour, and the hours before it. NaN is a gap everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

DAY: Final = 24
WEEK: Final = 7 * DAY

# From the median absolute deviation to the standard deviation of a normal distribution.
MAD_TO_SIGMA: Final = 1.4826


def weeks_before(values: Floats, weeks: int, offsets: npt.NDArray[np.int64] | None = None) -> Floats:
    """The same hour in each of the weeks before.

    Args:
        values: One value an hour.
        weeks: How many weeks to look back.
        offsets: Hours that the local clock is ahead of UTC at each point: the same hour is then that of the clock.

    Returns:
        A row for each week, the latest first; NaN before the series begins.
    """
    numbers = np.arange(len(values))
    found = np.full((weeks, len(values)), np.nan)
    for week in range(1, weeks + 1):
        lagged = numbers - week * WEEK
        if offsets is not None:
            lagged = lagged + offsets - offsets[np.maximum(lagged, 0)]
        known = (lagged >= 0) & (lagged < numbers)
        found[week - 1, known] = values[lagged[known]]
    return found


def hours_before(values: Floats, hours: int) -> Floats:
    """The hours before each point, a row for each; NaN before the series begins."""
    return sliding_window_view(np.concatenate([np.full(hours, np.nan), values[:-1]]), hours)


def median_of_known(values: Floats, axis: int, fewest: int) -> Floats:
    """The median of what is known along an axis; NaN where that is less than the fewest."""
    count = np.sum(~np.isnan(values), axis=axis)
    ordered = np.sort(values, axis=axis)  # gaps come last
    last = np.expand_dims(np.maximum(count - 1, 0), axis)
    lower = np.take_along_axis(ordered, last // 2, axis)
    upper = np.take_along_axis(ordered, (last + 1) // 2, axis)
    return np.where(count >= fewest, np.squeeze((lower + upper) / 2, axis), np.nan)


def trailing_sums(values: Floats, hours: int) -> tuple[Floats, Floats]:
    """Sum and count of what is known among the hours before each point."""
    is_known = ~np.isnan(values)
    ends = np.arange(len(values))
    begins = np.maximum(ends - hours, 0)
    sums = np.concatenate([[0.0], np.cumsum(np.where(is_known, values, 0.0))])
    counts = np.concatenate([[0.0], np.cumsum(is_known)])
    return sums[ends] - sums[begins], counts[ends] - counts[begins]
