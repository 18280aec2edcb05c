"""What each day was expected to cost, seen from the day before: the band of a chart of days."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ingest.forecasting.forecast import FEWEST_DAYS, next_days

if TYPE_CHECKING:
    from collections.abc import Sequence

# Errors of so many days before make the band, of at least so many.
_ERROR_DAYS = 56
_FEWEST_ERRORS = 14
# The band holds nineteen of twenty usual days: its width comes from medians, so that a costly day does not widen it. A
# day is unusual beyond it by half of its width.
_WIDTH = 1.96
_MAD_TO_SIGMA = 1.4826
_LEAST_SPREAD = 0.05
_MARGIN = 0.5


@dataclass(frozen=True, slots=True)
class DayBand:
    """What one day was expected to cost, in US dollars.

    Attributes:
        expected: The forecast of the day before.
        low: Lower end of the band.
        high: Upper end of the band.
        is_unusual: Whether what came lies far outside.
    """

    expected: float
    low: float
    high: float
    is_unusual: bool


def daily_bands(spend: Sequence[float], first: int) -> list[DayBand | None]:
    """Return the band of each day from `first` on; None where the history before it is too short.

    Args:
        spend: US dollars of complete days without a gap, in order.
        first: Index of the first day that is asked for.
    """
    return list(_bands(tuple(map(float, spend)), first))


@lru_cache(maxsize=64)
def _bands(spend: tuple[float, ...], first: int) -> tuple[DayBand | None, ...]:
    """The same; of complete days, so it stays for the day."""
    days = np.array(spend)
    begin = max(FEWEST_DAYS, first - _ERROR_DAYS)
    expected = {index: float(next_days(days[:index], 1)[0]) for index in range(begin, len(days))}
    bands: list[DayBand | None] = []
    for index in range(first, len(days)):
        errors = [
            float(days[past]) / expected[past]
            for past in range(max(begin, index - _ERROR_DAYS), index)
            if expected[past] > 0 and days[past] > 0
        ]
        if index not in expected or len(errors) < _FEWEST_ERRORS:
            bands.append(None)
            continue
        logs = np.log(errors)
        usual = float(np.median(logs))
        spread = max(_MAD_TO_SIGMA * float(np.median(np.abs(logs - usual))), _LEAST_SPREAD)
        low, high = (expected[index] * math.exp(usual + side * _WIDTH * spread) for side in (-1, 1))
        margin = (high - low) * _MARGIN
        value = float(days[index])
        bands.append(DayBand(expected[index], low, high, value > high + margin or value < low - margin))
    return tuple(bands)
