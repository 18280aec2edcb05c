"""What an hour of the day or of the week usually is, and how well that has predicted so far."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

SeasonName = Literal["hour_of_day", "hour_of_week"]

# A quiet hour is taken for at least this share of the usual level, so that a single call at night is not flagged.
_QUIETEST = 0.05


class Memory:
    """The latest numbers, up to a length.

    Args:
        length: How many are kept.
    """

    def __init__(self, length: int) -> None:
        self._room: npt.NDArray[np.float64] = np.empty(length)
        self._count = 0
        self._next = 0
        self.least = math.inf

    def __len__(self) -> int:
        return self._count

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """The remembered numbers, unordered."""
        return self._room[: self._count]

    def add(self, value: float) -> None:
        """Remember a number; forget the oldest when full."""
        self._room[self._next] = value
        self._next = (self._next + 1) % len(self._room)
        self._count = min(self._count + 1, len(self._room))
        self.least = min(self.least, value)

    def replace(self, values: Sequence[float]) -> None:
        """Replace everything by these, the latest that fit."""
        self._count = self._next = 0
        for value in values[-len(self._room) :]:
            self.add(value)


class SeasonalMedian:
    """Predicts a value as the median of the values at the same hour before.

    Args:
        name: Which hours are the same.
        fewest: How many values an hour needs before it predicts.
        most: How many an hour keeps.
        remembered: How many errors are kept.
        proof: How many predictions must have been made before they count.
    """

    def __init__(self, name: SeasonName, fewest: int, most: int, remembered: int, proof: int) -> None:
        self.name: SeasonName = name
        # Relative to the level, as where demand itself varies, and to its root, as where independent calls add up.
        self._relative_errors = {1.0: Memory(remembered), 0.5: Memory(remembered)}
        self._errors = Memory(remembered)
        self._fewest = fewest
        self._most = most
        self._proof = proof
        self._values: dict[int, deque[float]] = {}

    def predict(self, slot: int) -> float | None:
        """The usual value of an hour; None while there is too little history."""
        values = self._values.get(slot, ())
        return quantile(np.fromiter(values, float), 0.5) if len(values) >= self._fewest else None

    def learn(self, value: float, slot: int, median: float) -> None:
        """Remember a value and the error of its prediction.

        Args:
            value: The value that came.
            slot: Its hour.
            median: The plain median so far, which says how large the metric is.
        """
        predicted = self.predict(slot)
        if predicted is not None:
            self._errors.add(abs(value - predicted))
            for power, errors in self._relative_errors.items():
                if (unit := _spread_unit(predicted, median, power)) > 0:
                    errors.add((value - predicted) / unit)
        self._values.setdefault(slot, deque(maxlen=self._most)).append(value)

    def scale(self, ratio: float) -> None:
        """Scale what is expected at every hour from now on."""
        for slot, values in self._values.items():
            self._values[slot] = deque((ratio * value for value in values), self._most)

    def mean_error(self) -> float | None:
        """The mean error of the predictions; None while there are too few.

        Not the median, which says nothing of the busy hours where most hours are quiet.
        """
        has_proof = min(len(errors) for errors in (self._errors, *self._relative_errors.values())) >= self._proof
        return float(self._errors.values.mean()) if has_proof else None

    def spread(self, usual: float, median: float, share: float) -> tuple[float, float]:
        """How far values lay below and above the prediction at such a level.

        Args:
            usual: The prediction.
            median: The plain median so far.
            share: The share of the values on each side that lie nearer.

        Returns:
            The distance below and the one above; of the two ways in which spread may grow with the level the wider.
        """
        units = {power: _spread_unit(usual, median, power) for power in self._relative_errors}
        below = [-quantile(errors.values, 1 - share) * units[power] for power, errors in self._relative_errors.items()]
        above = [quantile(errors.values, share) * units[power] for power, errors in self._relative_errors.items()]
        return max(below), max(above)


def _spread_unit(usual: float, median: float, power: float) -> float:
    level = abs(median) or abs(usual)
    if level == 0:
        return 0.0
    return level * float(max(abs(usual) / level, _QUIETEST) ** power)


def quantile(values: npt.NDArray[np.float64], share: float) -> float:
    """A quantile (0 to 1), interpolated between neighbours; much faster than numpy's own on short arrays."""
    position = share * (len(values) - 1)
    lower = int(position)
    upper = min(lower + 1, len(values) - 1)
    ordered = np.partition(values, (lower, upper))
    return float(ordered[lower] + (position - lower) * (ordered[upper] - ordered[lower]))
