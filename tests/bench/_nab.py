"""The Numenta Anomaly Benchmark's CloudWatch series, how alarms on them are counted, and simple detectors.

A window of a labelled anomaly counts as hit once, however many alarms lie in it; alarms less than six hours apart are
one; one that touches no window is false. The first 15 % of a file, at most 750 points, are for learning: alarms there
do not count.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt

    Count = Callable[["Sequence[datetime]", "Sequence[tuple[datetime, datetime]]", float], "Score"]

FOLDER = Path(__file__).parents[3] / "shared/data/nab"
STEP_S = 300
SAME_ALARM = timedelta(hours=6)
WEEK_S = 7 * 86_400

_DAY = 86_400 // STEP_S


@dataclass(frozen=True, slots=True)
class Series:
    """A series and the windows in which its anomalies lie."""

    name: str
    starts: list[datetime]
    values: npt.NDArray[np.float64]
    windows: list[tuple[datetime, datetime]]

    @property
    def learning(self) -> int:
        """How many points are for learning."""
        return min(int(0.15 * len(self.values)), 750)


@dataclass(frozen=True, slots=True)
class Score:
    """How the alarms on some series compare with the labels."""

    hits: int = 0
    windows: int = 0
    false: int = 0
    weeks: float = 0.0

    def __add__(self, other: Score) -> Score:
        return Score(
            self.hits + other.hits, self.windows + other.windows, self.false + other.false, self.weeks + other.weeks
        )

    @property
    def recall(self) -> float:
        """Share of the windows that were hit."""
        return self.hits / self.windows if self.windows else 0.0

    @property
    def precision(self) -> float:
        """Share of hits among hits and false alarms."""
        return self.hits / (self.hits + self.false) if self.hits else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        return 2 * self.hits / (2 * self.hits + self.false + self.windows - self.hits) if self.hits else 0.0

    @property
    def false_per_week(self) -> float:
        """False alarms in a week of one series."""
        return self.false / self.weeks if self.weeks else 0.0


def load() -> list[Series]:
    """Read all files."""
    windows = json.loads((FOLDER / "windows.json").read_text())
    return [_read(path, windows[path.name]) for path in sorted(FOLDER.glob("*.csv"))]


def score(series: Series, alarms: Iterable[datetime], count: Count | None = None) -> Score:
    """Count the alarms after the learning part, as `score_alarms` does unless told otherwise."""
    begin = series.starts[series.learning]
    windows = [window for window in series.windows if window[1] >= begin]
    counted = [at for at in alarms if at >= begin]
    return (count or score_alarms)(counted, windows, (series.starts[-1] - begin).total_seconds() / WEEK_S)


def score_alarms(alarms: Sequence[datetime], windows: Sequence[tuple[datetime, datetime]], weeks: float) -> Score:
    """Count hits and false alarms; alarms in ascending order."""
    groups: list[list[datetime]] = []
    for at in alarms:
        if groups and at - groups[-1][-1] < SAME_ALARM:
            groups[-1].append(at)
        else:
            groups.append([at])

    def touches(group: list[datetime]) -> bool:
        return any(start <= at <= end for at in group for start, end in windows)

    hits = sum(any(start <= at <= end for at in alarms) for start, end in windows)
    return Score(hits, len(windows), sum(not touches(group) for group in groups), weeks)


def score_blocks(alarms: Sequence[datetime], windows: Sequence[tuple[datetime, datetime]], weeks: float) -> Score:
    """Count as a person does who is told again every six hours while an alarm goes on."""
    told: list[datetime] = []
    for at in alarms:
        if not told or at - told[-1] >= SAME_ALARM:
            told.append(at)

    def is_inside(at: datetime) -> bool:
        return any(start <= at <= end for start, end in windows)

    hits = sum(any(start <= at <= end for at in told) for start, end in windows)
    return Score(hits, len(windows), sum(not is_inside(at) for at in told), weeks)


def fixed_threshold(series: Series) -> npt.NDArray[np.bool_]:
    """Above the learning part's mean by more than five of its standard deviations."""
    learned = series.values[: series.learning]
    return np.asarray(series.values > learned.mean() + 5 * learned.std())


def rolling_z(series: Series) -> npt.NDArray[np.bool_]:
    """More than six standard deviations from the mean of the five days before."""
    return _beyond(series.values, series.values, 5 * _DAY, 6.0)


def seasonal_naive(series: Series) -> npt.NDArray[np.bool_]:
    """A change from the day before, beyond six standard deviations of such changes in the five days before."""
    change = np.concatenate([np.full(_DAY, np.nan), series.values[_DAY:] - series.values[:-_DAY]])
    return _beyond(change, series.values, 5 * _DAY, 6.0)


BASELINES: dict[str, Callable[[Series], npt.NDArray[np.bool_]]] = {
    "fixed threshold, 5 sigma": fixed_threshold,
    "rolling z, 5 days, 6 sigma": rolling_z,
    "seasonal naive, 5 days, 6 sigma": seasonal_naive,
}


def _beyond(
    values: npt.NDArray[np.float64], level: npt.NDArray[np.float64], length: int, sigmas: float
) -> npt.NDArray[np.bool_]:
    alarms = np.zeros(len(values), dtype=np.bool_)
    for now in range(len(values)):
        past = values[max(0, now - length) : now]
        past = past[~np.isnan(past)]
        if len(past) >= 100 and not np.isnan(values[now]):
            spread = max(float(past.std()), 1e-9 * float(np.abs(level[: now + 1]).max()))
            alarms[now] = abs(values[now] - past.mean()) > sigmas * spread
    return alarms


def _read(path: Path, windows: list[list[str]]) -> Series:
    with path.open() as lines:
        rows = list(csv.DictReader(lines))
    return Series(
        path.stem,
        [_parse(row["timestamp"]) for row in rows],
        np.array([float(row["value"]) for row in rows]),
        [(_parse(start), _parse(end)) for start, end in windows],
    )


def _parse(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
