"""Finds the unusual hours of a metric, and explains them.

Each hour is judged by those before it alone, in two looks: the hour against the same hour of the weeks before (the
last three days in a young series), and the mean of the last day and three days against the weeks before, which finds
what grows slowly. A level that has stayed for a day is the usual from then on. How the numbers were chosen, and what
else was measured: docs/adr/0030-outliers.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import numpy as np

from ingest.documents.words import MINUS
from ingest.forecasting.rise import Levels, compare_levels, told
from ingest.forecasting.usual import Bands, Season, usual_bands
from ingest.forecasting.windows import DAY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import tzinfo

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

State = Literal["learning", "usual", "above", "below"]

_HOUR = timedelta(hours=1)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# No verdict before the series is so many hours old.
LEARNING = 2 * DAY

# A day is a new level when the hours that usually make this share of it were unusual in the same direction; less than
# a twentieth of the usual is an outage, not a level.
_SETTLED = 0.75
_LOWEST_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What counts as unusual. One set of parameters serves every series.

    Attributes:
        hour_deviations: An hour is unusual beyond so many standard deviations.
        level_deviations: The mean of a day or three days is unusual beyond so many.
        is_one_of_many: Whether an hour after mostly empty ones is judged by the highest, not by 19 of 20.
    """

    hour_deviations: float = 6.0
    level_deviations: float = 3.0
    is_one_of_many: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one hour.

    Attributes:
        at: Start of the hour.
        value: What was judged: the hour itself or the mean of the last days.
        state: learning, usual, above or below.
        score: Distance from the usual as a share of the distance at which an alarm begins: unusual above 1.
        usual: What was expected; None while learning.
        low: Lower end of what was expected.
        high: Upper end of what was expected.
        season: What the expectation rests on.
        hours: How many hours the value is the mean of.
    """

    at: datetime
    value: float
    state: State
    score: float = 0.0
    usual: float | None = None
    low: float | None = None
    high: float | None = None
    season: Season = "recent"
    hours: int = 1

    @property
    def is_unusual(self) -> bool:
        """Whether this is an anomaly."""
        return self.state in ("above", "below")

    @property
    def change(self) -> float:
        """By how much the hours that were judged differ from the usual, in the unit of the metric."""
        return 0.0 if self.usual is None else abs(self.value - self.usual) * self.hours

    def explain(self, unit: str = "", timezone: tzinfo | None = None) -> str:
        """Explain it in a sentence: how far from the usual, for which hour, what was expected.

        Args:
            unit: Written before the amounts, such as `$`.
            timezone: Zone of the hour that is named; None keeps that of `at`.
        """
        if self.usual is None or self.low is None or self.high is None:
            return "not enough history to say what is usual"
        local = self.at.astimezone(timezone)
        usual_for = {
            "hour_of_week": f"the usual for {_WEEKDAYS[local.weekday()]} {local:%H}:00",
            "weeks": "the level of the weeks before",
            "highest": "the mean hour",
            "recent": "the recent level",
            "others": "what 99 of 100 users come to in a day",
            "never": "which has not been before",
        }[self.season]
        shown = _digits(self.usual)
        if self.usual > 0 and self.value >= 0:
            times = self.value / self.usual
            distance = f"{times:.{1 if times >= 1 else 2}f} \N{MULTIPLICATION SIGN} {usual_for}"
        else:
            distance = f"{_amount(self.value, shown, unit)} instead of {_amount(self.usual, shown, unit)}, {usual_for}"
        over = f" over {self.hours} hours" if self.hours > 1 else ""
        return f"{distance}{over}, expected {_amount(self.low, shown, unit)} to {_amount(self.high, shown, unit)}"


def judge(
    points: Sequence[tuple[datetime, float]], *, timezone: tzinfo, sensitivity: Sensitivity | None = None
) -> list[Verdict]:
    """Judge every hour of a series by those before it.

    Args:
        points: Start of each hour (aware, ascending, without a hole) and its value; NaN is a gap, of which nothing is
            said or learned.
        timezone: The zone whose hours and weekdays make the season.
        sensitivity: What counts as unusual.
    """
    chosen = sensitivity or Sensitivity()
    values = np.array([value for _, value in points], dtype=np.float64)
    zones = [at.astimezone(timezone).utcoffset() or timedelta(0) for at, _ in points]
    offsets = np.array([zone // _HOUR for zone in zones], dtype=np.int64)
    levels = compare_levels(values, offsets, chosen.level_deviations)
    plain = bands = _bands(values, offsets, chosen)
    history = values
    verdicts: list[Verdict] = []
    while len(verdicts) < len(points):
        start = len(verdicts)
        looks = _Looks(points, values, bands, levels)
        back = None if bands is plain else looks.first_day_nearer_to(plain, start)
        settled = looks.settled_after(start)
        end = min(one for one in (back, settled, len(points)) if one is not None)
        verdicts += [looks.verdict(number) for number in range(start, end)]
        if end == back:
            history, bands = values, plain
        elif end == settled:
            begin, ratio = looks.new_level(end)
            history = np.concatenate([history[:begin] * ratio, history[begin:]])
            bands = _bands(history, offsets, chosen)
    return verdicts


def fill_gaps(
    values: Mapping[datetime, float], start: datetime, end: datetime, *, gap: float
) -> list[tuple[datetime, float]]:
    """Make a regular series of one that leaves out empty hours.

    Args:
        values: What is known, by the start of its hour.
        start: Start of the first hour.
        end: End of the last hour.
        gap: What an absent hour stands for: 0 for sums, NaN for ratios and durations.
    """
    starts = [start + _HOUR * number for number in range((end - start) // _HOUR)]
    return [(at, values.get(at, gap)) for at in starts]


def _bands(history: Floats, offsets: npt.NDArray[np.int64], chosen: Sensitivity) -> Bands:
    return usual_bands(history, offsets, chosen.hour_deviations, is_one_of_many=chosen.is_one_of_many)


class _Looks:
    """Both looks at a series, the bands of its hours being on the level that holds now."""

    def __init__(
        self,
        points: Sequence[tuple[datetime, float]],
        values: Floats,
        bands: Bands,
        levels: Sequence[Levels],
    ) -> None:
        self._points = points
        self._values = values
        self._is_positive = np.fmin.accumulate(values) >= 0
        self._bands = bands
        distance = values - self._bands.usual
        width = np.where(distance >= 0, self._bands.above, self._bands.below)
        with np.errstate(divide="ignore", invalid="ignore"):
            self._scores = np.where(width > 0, distance / width, np.nan)
        self._scores[: _first_known(values) + LEARNING] = np.nan
        self._levels: list[tuple[Levels, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]] = [
            (one, told(one.score > 1), told(one.score < -1)) for one in levels
        ]

    def settled_after(self, start: int) -> int | None:
        """The first hour from which on the day before it is the usual; None if there is none."""
        usual = np.where(np.isnan(self._scores), 0.0, np.abs(self._bands.usual))
        expected = _sum_of_day(usual)
        shares = [_sum_of_day(np.where(sign * self._scores > 1, usual, 0.0)) for sign in (1, -1)]
        is_new = (expected > 0) & (np.maximum(*shares) >= _SETTLED * expected)
        ends = (int(end) for end in np.flatnonzero(is_new) if end >= start + DAY)
        return next((end for end in ends if self.new_level(end)[1] >= _LOWEST_LEVEL), None)

    def first_day_nearer_to(self, plain: Bands, start: int) -> int | None:
        """The first hour from which on the day before it is told better by the history as it was."""
        came = _sum_of_day(np.nan_to_num(self._values))
        with np.errstate(divide="ignore", invalid="ignore"):
            now = np.abs(np.log(came / _sum_of_day(np.nan_to_num(self._bands.usual))))
            before = np.abs(np.log(came / _sum_of_day(np.nan_to_num(plain.usual))))
        return next((int(end) for end in np.flatnonzero(before < now) if end >= start + DAY), None)

    def new_level(self, end: int) -> tuple[int, float]:
        """The first unusual hour of the day before an hour, and how many times the expected all of them came to."""
        day = np.arange(end - DAY, end)
        unusual = day[np.abs(np.nan_to_num(self._scores[day])) > 1]
        expected = float(np.sum(self._bands.usual[unusual]))
        return int(unusual[0]), float(np.sum(self._values[unusual])) / expected if expected else 0.0

    def verdict(self, number: int) -> Verdict:
        """Report a single hour first, since it is easier to check than a mean."""
        hour = self._judge_hour(number)
        if hour.is_unusual or math.isnan(hour.value):
            return hour
        return next(self._judge_levels(number), hour)

    def _judge_hour(self, number: int) -> Verdict:
        at, value = self._points[number]
        score = float(self._scores[number])
        if math.isnan(score):
            return Verdict(at, value, "learning")
        state: State = "usual" if abs(score) <= 1 else "above" if score > 0 else "below"
        bands = self._bands
        usual, above, below = (float(one[number]) for one in (bands.usual, bands.above, bands.below))
        season: Season = bands.season[number].item()
        low = usual - (usual if math.isinf(below) else below / 2)
        if self._is_positive[number]:  # a metric that was never negative is not expected to be
            low = max(low, 0.0)
        return Verdict(at, value, state, abs(score), usual, low, usual + above / 2, season)

    def _judge_levels(self, number: int) -> Iterator[Verdict]:
        for levels, is_above, is_below in self._levels:
            if not (is_above[number] or is_below[number]):
                continue
            state: State = "above" if is_above[number] else "below"
            columns = (levels.actual, levels.usual, levels.score, levels.width)
            actual, usual, score, width = (float(one[number]) for one in columns)
            low, high = usual * math.exp(-width / 2), usual * math.exp(width / 2)
            at = self._points[number][0]
            yield Verdict(at, actual, state, abs(score), usual, low, high, "weeks", levels.hours)


def _first_known(values: Floats) -> int:
    known = np.flatnonzero(~np.isnan(values))
    return int(known[0]) if len(known) else len(values)


def _sum_of_day(values: Floats) -> Floats:
    """The sum of the day before each hour, and before the end of the series."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return np.concatenate([np.zeros(min(DAY, len(sums))), sums[DAY:] - sums[:-DAY]])


def _amount(value: float, decimals: int, unit: str) -> str:
    return f"{MINUS if value < 0 else ''}{unit}{abs(value):.{decimals}f}"


def _digits(amount: float) -> int:
    """How many decimals give an amount about three digits."""
    return 2 if amount == 0 else max(0, min(6, 2 - math.floor(math.log10(abs(amount)))))
