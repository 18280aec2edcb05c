"""Finds the unusual points of a metric, and explains them.

A detector reads a series point by point and judges each by the points before it alone. Three answers to "what is
usual" compete: lately (the median of the memory), this hour of the day, this hour of the week; a seasonal one is
believed only after it has predicted a whole week with less than half of the error of the plain median. The band
around it comes from quantiles, not from a mean and a variance, and what was judged unusual enters the memory only up
to the edge of the band: an outlier does not teach the detector to expect outliers. A level that has stayed for a day
is the usual from then on.

Each point is looked at twice: alone, against the widest the metric has been, and as the mean of the last hours, against
a narrower band, which finds a modest change that lasts. How the numbers below were chosen, and what else was measured:
docs/adr/0014-anomalies.md.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from ingest.forecasting.seasonal import Memory, SeasonalMedian, quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

State = Literal["learning", "usual", "above", "below"]
Season = Literal["recent", "hour_of_day", "hour_of_week"]

_DAY_S = 86_400
_HOUR_S = 3_600
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# Fewer values say nothing of their spread.
_FEWEST_VALUES = 20


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What counts as unusual. One set of parameters serves every series.

    Attributes:
        point_quantile: The band of a single point holds this share of what was seen above the usual (and below it).
        point_margin: A single point is unusual beyond this many widths of its band; infinite ignores single points.
        lasting_quantile: The same for the mean of the last hours.
        lasting_margin: The same for the mean of the last hours; infinite: it is not looked at.
        lasting_s: How many seconds count as the last hours.
        floor: A band is at least this share of the usual wide, so that jitter around a constant is not flagged.
        memory_s: How many seconds are remembered for the spread and for what is usual lately.
        learning_s: No verdict before the series is so old, in seconds.
        proof_s: A season must have predicted for so long, in seconds, before it is believed.
        advantage: ... and its mean error must be at most this share of the plain median's.
        cycles: How often an hour of the day or week must have been seen before it predicts.
        settled: A day with at least this share of unusual hours is a new level, not an outlier: it is learned.
    """

    point_quantile: float = 0.999
    point_margin: float = 1.25
    lasting_quantile: float = 0.95
    lasting_margin: float = 2.5
    lasting_s: int = 3 * _HOUR_S
    floor: float = 0.05
    memory_s: int = 28 * _DAY_S
    learning_s: int = 2 * _DAY_S
    proof_s: int = 7 * _DAY_S
    advantage: float = 0.4
    cycles: int = 3
    settled: float = 0.75


@dataclass(frozen=True, slots=True)
class Verdict:
    """A detector's verdict on one point.

    Attributes:
        at: Start of the point's step.
        value: What was judged: the point itself or the mean of the last hours.
        state: learning, usual, above or below.
        score: Distance from the usual as a share of the distance at which an alarm begins: unusual above 1.
        usual: What was expected; None while learning.
        low: Lower end of what was expected.
        high: Upper end of what was expected.
        season: What the expectation rests on.
        span_s: How many seconds the value covers.
    """

    at: datetime
    value: float
    state: State
    score: float = 0.0
    usual: float | None = None
    low: float | None = None
    high: float | None = None
    season: Season = "recent"
    span_s: int = 0

    @property
    def is_unusual(self) -> bool:
        """Whether this is an anomaly."""
        return self.state in ("above", "below")

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
            "hour_of_day": f"the usual for {local:%H}:00",
            "recent": "the recent level",
        }[self.season]
        shown = _digits(self.usual)
        if self.usual > 0 and self.value >= 0:
            times = self.value / self.usual
            distance = f"{times:.{1 if times >= 1 else 2}f} \N{MULTIPLICATION SIGN} {usual_for}"
        else:
            distance = f"{_amount(self.value, shown, unit)} instead of {_amount(self.usual, shown, unit)}, {usual_for}"
        hours = round(self.span_s / _HOUR_S)
        over = f" over {hours} hours" if hours > 1 else ""
        return f"{distance}{over}, expected {_amount(self.low, shown, unit)} to {_amount(self.high, shown, unit)}"


class Detector:
    """Judges the points of one series as they arrive.

    Args:
        step_s: Seconds from one point to the next.
        timezone: The zone whose hours and weekdays make the season.
        sensitivity: What counts as unusual.
    """

    def __init__(self, step_s: int, timezone: tzinfo, sensitivity: Sensitivity | None = None) -> None:
        self._timezone = timezone
        self._sensitivity = chosen = sensitivity or Sensitivity()
        self._first_at: datetime | None = None
        looks = (
            (step_s, chosen.point_quantile, chosen.point_margin),
            (chosen.lasting_s, chosen.lasting_quantile, chosen.lasting_margin),
        )
        self._looks = [_Look(chosen, step_s, *look) for look in looks if math.isfinite(look[-1])]

    def update(self, at: datetime, value: float) -> Verdict:
        """Judge the next point, then learn from it.

        Args:
            at: Start of its step, aware, later than that of the point before.
            value: The metric; NaN is a gap, of which nothing is said or learned.
        """
        if math.isnan(value):
            return Verdict(at, value, "learning")
        self._first_at = self._first_at or at
        is_ready = (at - self._first_at).total_seconds() >= self._sensitivity.learning_s
        local = at.astimezone(self._timezone)
        slots = (local.hour, local.weekday() * 24 + local.hour)
        verdicts = [look.judge(at, value, slots, is_ready=is_ready) for look in self._looks]
        # A single point is easier to check than a mean, so it is reported first.
        return next((one for one in verdicts if one.is_unusual), max(verdicts, key=lambda one: one.score))


def judge(
    points: Iterable[tuple[datetime, float]],
    *,
    step_s: int,
    timezone: tzinfo,
    sensitivity: Sensitivity | None = None,
) -> list[Verdict]:
    """Judge every point of a series by those before it.

    Args:
        points: Start of each step (aware, ascending) and its value.
        step_s: Seconds from one point to the next.
        timezone: The zone whose hours and weekdays make the season.
        sensitivity: What counts as unusual.
    """
    detector = Detector(step_s, timezone, sensitivity)
    return [detector.update(at, value) for at, value in points]


def fill_gaps(
    values: Mapping[datetime, float], start: datetime, end: datetime, step_s: int, *, gap: float
) -> list[tuple[datetime, float]]:
    """Make a regular series of one that leaves out empty steps.

    Args:
        values: What is known, by the start of its step.
        start: Start of the first step.
        end: End of the last step.
        step_s: Length of a step.
        gap: What an absent step stands for: 0 for sums, NaN for ratios and durations.
    """
    count = int((end - start).total_seconds() // step_s)
    starts = [start + timedelta(seconds=step_s * number) for number in range(count)]
    return [(at, values.get(at, gap)) for at in starts]


@dataclass(frozen=True, slots=True)
class _Band:
    usual: float
    below: float
    above: float
    season: Season


class _Look:
    """One way to look at the series: the mean over a span, and its own memory of it."""

    def __init__(self, sensitivity: Sensitivity, step_s: int, span_s: int, quantile: float, margin: float) -> None:
        self._sensitivity = sensitivity
        self._quantile = quantile
        self._margin = margin
        self._latest: deque[float] = deque(maxlen=max(1, round(span_s / step_s)))
        self._span_s = step_s * (self._latest.maxlen or 1)
        remembered = max(50, round(sensitivity.memory_s / step_s))
        self._values = Memory(remembered)
        self._errors = Memory(remembered)
        hourly = max(1, round(_HOUR_S / step_s))
        proof = round(sensitivity.proof_s / step_s)
        self._seasons = [
            SeasonalMedian("hour_of_day", sensitivity.cycles * hourly, 28 * hourly, remembered, proof),
            SeasonalMedian("hour_of_week", sensitivity.cycles * hourly, 8 * hourly, remembered, proof),
        ]
        self._chosen: int | None = None
        self._steps_a_day = max(1, round(_DAY_S / step_s))
        self._until_choice = self._steps_a_day
        self._day: deque[Verdict] = deque(maxlen=self._steps_a_day)
        self._unusual_of_day = 0

    def judge(self, at: datetime, value: float, slots: tuple[int, int], *, is_ready: bool) -> Verdict:
        """Judge a point, then learn from it."""
        self._latest.append(value)
        mean = math.fsum(self._latest) / len(self._latest)
        verdict = Verdict(at, mean, "learning", span_s=self._span_s)
        if len(self._values) >= _FEWEST_VALUES:
            median = quantile(self._values.values, 0.5)
            band = self._band(median, slots)
            # A side on which no value ever lay is not judged.
            width = (
                band.above if mean > band.usual else band.below if mean < band.usual else max(band.below, band.above)
            )
            if is_ready and width > 0:
                verdict = self._compare(at, mean, band, width)
                mean = min(max(mean, band.usual - self._margin * band.below), band.usual + self._margin * band.above)
            self._errors.add(abs(mean - median))
        else:
            median = mean
        for season, slot in zip(self._seasons, slots, strict=True):
            season.learn(mean, slot, median)
        self._values.add(mean)
        self._until_choice -= 1
        if self._until_choice == 0:
            self._choose()
        self._remember(verdict)
        return verdict

    def _band(self, median: float, slots: tuple[int, int]) -> _Band:
        season = None if self._chosen is None else self._seasons[self._chosen]
        predicted = None if season is None else season.predict(slots[self._chosen or 0])
        spread = (0.0, 0.0)
        if season is not None and predicted is not None:
            spread = season.spread(predicted, median, self._quantile)
        if season is not None and predicted is not None and max(spread) > 0:
            usual, (below, above) = predicted, spread
        else:
            season, usual = None, median
            below = median - quantile(self._values.values, 1 - self._quantile)
            above = quantile(self._values.values, self._quantile) - median
        narrowest = self._sensitivity.floor * max(abs(median), abs(usual))
        return _Band(usual, max(below, narrowest), max(above, narrowest), "recent" if season is None else season.name)

    def _compare(self, at: datetime, mean: float, band: _Band, width: float) -> Verdict:
        distance = mean - band.usual
        score = abs(distance) / (self._margin * width)
        state: State = "usual" if score <= 1 else "above" if distance > 0 else "below"
        low, high = band.usual - band.below, band.usual + band.above
        if self._values.least >= 0:  # a metric that was never negative is not expected to be
            low = max(low, 0.0)
        return Verdict(at, mean, state, score, band.usual, low, high, band.season, self._span_s)

    def _remember(self, verdict: Verdict) -> None:
        if len(self._day) == self._steps_a_day:
            self._unusual_of_day -= self._day[0].is_unusual
        self._day.append(verdict)
        self._unusual_of_day += verdict.is_unusual
        if self._unusual_of_day >= self._sensitivity.settled * self._steps_a_day:
            self._settle()

    def _settle(self) -> None:
        """Take the last day as the new level: restart the memory with it and scale the seasons to it."""
        values = [one.value for one in self._day]
        expected = math.fsum(one.value if one.usual is None else one.usual for one in self._day)
        self._values.replace(values)
        ratio = math.fsum(values) / expected if expected else 0.0
        for season in self._seasons:
            season.scale(ratio)
        self._day.clear()
        self._unusual_of_day = 0

    def _choose(self) -> None:
        self._until_choice = self._steps_a_day
        self._chosen = None
        best = float(self._errors.values.mean()) if len(self._errors) else math.inf
        for number, season in enumerate(self._seasons):
            error = season.mean_error()
            if error is not None and error <= self._sensitivity.advantage * best:
                self._chosen, best = number, error


def _amount(value: float, decimals: int, unit: str) -> str:
    return f"{'-' if value < 0 else ''}{unit}{abs(value):.{decimals}f}"


def _digits(amount: float) -> int:
    """How many decimals give an amount about three digits."""
    return 2 if amount == 0 else max(0, min(6, 2 - math.floor(math.log10(abs(amount)))))
