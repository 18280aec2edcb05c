"""The Numenta Anomaly Benchmark's CloudWatch series by the hour, and how alarms are counted.

A window of a labelled anomaly counts as hit once, however many alarms lie in it; alarms less than six hours apart are
one; one that touches no window is false. The first 15 % of a file, at most 62 hours, are for learning: alarms there do
not count. Of five-minute values the mean of an hour is judged, as an alert rule judges hours.
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
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

FOLDER = Path(__file__).parents[3] / "shared/data/nab"
SAME_ALARM = timedelta(hours=6)
WEEK_S = 7 * 86_400

_HOUR = timedelta(hours=1)
_LEARNING = 62
# What each file measures.
_FAMILIES = {
    "ec2_cpu": "cpu",
    "ec2_disk": "disk",
    "ec2_network": "network",
    "iio": "network",
    "elb": "requests",
    "grok": "group size",
    "rds": "database",
}


@dataclass(frozen=True, slots=True)
class Series:
    """An hourly series and the windows in which its anomalies lie.

    Attributes:
        name: Its file, or what it was made of.
        family: What it measures; detectors are tuned on the other families.
        starts: Start of each hour.
        values: Its value.
        windows: Start and end of each anomaly.
        begin: Alarms and windows before do not count.
        is_spend: Whether only rises count as alarms.
    """

    name: str
    family: str
    starts: list[datetime]
    values: npt.NDArray[np.float64]
    windows: list[tuple[datetime, datetime]]
    begin: datetime
    is_spend: bool = False

    def score(self, alarms: Iterable[datetime]) -> Score:
        """Count the alarms after the learning part."""
        windows = [window for window in self.windows if window[1] >= self.begin]
        weeks = (self.starts[-1] - self.begin).total_seconds() / WEEK_S
        return score_alarms([at for at in alarms if at >= self.begin], windows, weeks)


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


def _read(path: Path, windows: list[list[str]]) -> Series:
    hours: dict[datetime, list[float]] = {}
    with path.open() as lines:
        for row in csv.DictReader(lines):
            hours.setdefault(_hour(row["timestamp"]), []).append(float(row["value"]))
    starts = sorted(hours)
    family = next(family for prefix, family in _FAMILIES.items() if path.stem.startswith(prefix))
    labels = [(_hour(start), _hour(end)) for start, end in windows]
    values = np.array([np.mean(hours[start]) for start in starts])
    return Series(path.stem, family, starts, values, labels, starts[min(int(0.15 * len(starts)), _LEARNING)])


def _hour(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC, minute=0, second=0, microsecond=0)
