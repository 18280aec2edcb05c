"""Anomalies found and false alarms raised, on labelled series, beside simple detectors.

On the CloudWatch series of the Numenta benchmark: one set of parameters for all files, each point judged by those
before it. Since the margins were chosen in sight of these labels, a second figure leaves each file out: the margins
that do best on the other files judge it. On the demo's hours, which have seasons by day and week: the costly batch
every fifteen days and the provider's trouble every nine.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, timedelta
from itertools import product
from typing import TYPE_CHECKING

from ingest.anomaly import Sensitivity, judge
from tests.bench import _histories, _nab
from tests.bench._nab import Score
from tests.bench._rows import row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench._histories import History
    from tests.bench._nab import Series

POINT_MARGINS = (1.25, 1.5, 2.0)
LASTING_MARGINS = (2.0, 2.5, 3.0)

# A season by the hour of the week needs weeks to be learned.
LEARNING = timedelta(days=21)


def run() -> Iterator[dict[str, object]]:
    """Yield recall, precision, F1 and false alarms of each detector."""
    files = _nab.load()
    best = Score()
    for name, detector in _nab.BASELINES.items():
        total = Score()
        for series in files:
            alarms = zip(series.starts, detector(series), strict=True)
            total += _nab.score(series, [at for at, is_alarm in alarms if is_alarm])
        best = max(best, total, key=lambda one: one.f1)
        yield from rows(f"NAB, {name}", total)
    started = time.perf_counter()
    scores = [judge_file(series, Sensitivity()) for series in files]
    seconds = time.perf_counter() - started
    yield from rows("NAB, ours", sum(scores, Score()), best)
    yield from rows("NAB, ours, margins chosen without the file", leave_one_out(files), best)
    yield row("NAB, ours, time a point", 1e6 * seconds / sum(len(series.values) for series in files), "us")
    demos = [_histories.demo(seed) for seed in _histories.SEEDS]
    for name in ("spend", "requests", "errors"):
        yield from rows(f"demo, {name} by hour", sum((judge_hours(history, name) for history in demos), Score()))


def rows(name: str, score: Score, best: Score | None = None) -> Iterator[dict[str, object]]:
    """The four figures of a detector; F1 beside the best simple one's."""
    yield row(f"{name}: recall, {score.hits} of {score.windows}", score.recall, "")
    yield row(f"{name}: precision, {score.false} false", score.precision, "")
    if best is None:
        yield row(f"{name}: F1", score.f1, "")
    else:
        yield row(f"{name}: F1", score.f1, "", peer="best simple detector", peer_value=best.f1)
    yield row(f"{name}: false alarms", score.false_per_week, "a series-week")


def judge_file(series: Series, sensitivity: Sensitivity) -> Score:
    """Judge one file of the benchmark."""
    verdicts = judge(
        zip(series.starts, series.values.tolist(), strict=True),
        step_s=_nab.STEP_S,
        timezone=UTC,
        sensitivity=sensitivity,
    )
    return _nab.score(series, [verdict.at for verdict in verdicts if verdict.is_unusual])


def leave_one_out(files: list[Series]) -> Score:
    """Judge each file with the margins that do best on the others."""
    choices = [
        replace(Sensitivity(), point_margin=point, lasting_margin=lasting)
        for point, lasting in product(POINT_MARGINS, LASTING_MARGINS)
    ]
    table = [[judge_file(series, choice) for series in files] for choice in choices]
    total = Score()
    for left_out in range(len(files)):
        others = [sum((score for number, score in enumerate(line) if number != left_out), Score()) for line in table]
        chosen = max(range(len(choices)), key=lambda number: others[number].f1)
        total += table[chosen][left_out]
    return total


def judge_hours(history: History, name: str) -> Score:
    """Judge one metric of a demo history."""
    starts = _histories.hours()
    begin = starts[0] + LEARNING
    verdicts = judge(zip(starts, history.series[name], strict=True), step_s=3600, timezone=UTC)
    alarms = [verdict.at for verdict in verdicts if verdict.is_unusual and verdict.at >= begin]
    labels = [window for window in history.labels[name] if window[0] >= begin]
    return _nab.score_alarms(alarms, labels, (starts[-1] - begin) / timedelta(weeks=1))
