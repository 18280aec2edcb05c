"""Simple detectors of hourly series, to stand beside ours: how many deviations each hour lies from the usual.

How many are an alarm is found by cross-validation, as for ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ingest.forecasting.windows import DAY, MAD_TO_SIGMA, WEEK, hours_before, median_of_known, weeks_before

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

THRESHOLDS = (3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0, 20.0)


def rolling_z(values: Floats, days: int = 3) -> Floats:
    """Standard deviations from the mean of the days before."""
    return _deviations(values, values, days)


def rolling_z_of_three(values: Floats) -> Floats:
    """The least of the deviations from one, three and seven days: an alarm in all three windows."""
    scores = np.array([rolling_z(values, days) for days in (1, 3, 7)])
    nearest: Floats = np.take_along_axis(scores, np.abs(scores).argmin(axis=0)[None], axis=0)[0]
    return nearest


def rolling_mad(values: Floats) -> Floats:
    """Robust deviations from the median of the week before."""
    before = hours_before(values, WEEK)
    median = median_of_known(before, 1, DAY)
    spread = MAD_TO_SIGMA * median_of_known(np.abs(before - median[:, None]), 1, DAY)
    return _divide(values - median, np.maximum(spread, 0.05 * np.abs(median)))


def hour_of_week(values: Floats) -> Floats:
    """Robust deviations from the median of the same hour in the eight weeks before; nothing in the first three."""
    before = weeks_before(values, 8)
    median = median_of_known(before, 0, 3)
    spread = MAD_TO_SIGMA * median_of_known(np.abs(before - median), 0, 3)
    level = np.maximum(np.abs(median), float(np.median(np.abs(values))))
    return _divide(values - median, np.maximum(spread, 0.05 * level))


def seasonal_naive(values: Floats) -> Floats:
    """Deviations of the change from the day before, of such changes in the five days before."""
    change = np.full(len(values), np.nan)
    change[DAY:] = values[DAY:] - values[:-DAY]
    return _deviations(change, values, 5)


PEERS: dict[str, Callable[[Floats], Floats]] = {
    "rolling z, 3 days": rolling_z,
    "rolling z, 1, 3 and 7 days": rolling_z_of_three,
    "rolling MAD, 7 days": rolling_mad,
    "hour of the week, median and MAD": hour_of_week,
    "seasonal naive": seasonal_naive,
}


def _deviations(values: Floats, level: Floats, days: int) -> Floats:
    scores = np.zeros(len(values))
    for now in range(DAY, len(values)):
        past = values[max(0, now - days * DAY) : now]
        past = past[~np.isnan(past)]
        if len(past) >= DAY and not np.isnan(values[now]):
            spread = max(float(past.std()), 1e-9 * float(np.abs(level[: now + 1]).max()), 1e-12)
            scores[now] = (values[now] - past.mean()) / spread
    return scores


def _divide(distance: Floats, spread: Floats) -> Floats:
    scores: Floats = np.nan_to_num(distance / np.maximum(spread, 1e-12), nan=0.0)
    return scores
