"""Damped Holt-Winters by day: level, trend and the seven weekdays, each smoothed as the days come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Days = npt.NDArray[np.float64]

_LEVEL: Final = 0.1
_TREND: Final = 0.02
_SEASON: Final = 0.05
_DAMPING: Final = 0.9
_FIRST_DAYS: Final = 14
_TINY: Final = 1e-6


def holt_winters(days: Days, weekdays: Days, ahead: int) -> Days:
    """Forecast the next days: multiplicative seasons, a trend that dies away (Gardner and McKenzie, 1985).

    Args:
        days: Spend of complete days without a gap and without outliers, the latest one last.
        weekdays: Seven factors to start from; the first is that of the day after the last.
        ahead: How many days to forecast.
    """
    factors = np.maximum(weekdays, _TINY).tolist()
    first = [value / factors[(number - len(days)) % 7] for number, value in enumerate(days[:_FIRST_DAYS].tolist())]
    level, trend = sum(first) / len(first), 0.0
    for number, value in enumerate(days.tolist()):
        slot = (number - len(days)) % 7
        expected = level + _DAMPING * trend
        before, level = level, _LEVEL * value / factors[slot] + (1 - _LEVEL) * expected
        trend = _TREND * (level - before) + (1 - _TREND) * _DAMPING * trend
        if level > 0:
            factors[slot] = max(_SEASON * value / level + (1 - _SEASON) * factors[slot], _TINY)
    steps = np.arange(ahead)
    damped = np.cumsum(_DAMPING ** (steps + 1))
    forecast: Days = np.maximum(level + trend * damped, 0.0) * np.array(factors)[steps % 7]
    return forecast
