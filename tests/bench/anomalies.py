"""Anomalies found and false alarms raised, on labelled series, beside simple detectors.

On the CloudWatch series of the Numenta benchmark: one set of parameters for all files, each point judged by those
before it. Since the settings were chosen in sight of these labels, a second figure judges each half of the files by
the settings, of 162, that do best on the other half. A third counts an alarm that goes on again every six hours, which
makes long alarms outside a window dear. On the demo's hours, which have seasons by day and week: the costly batch
every fifteen days and the provider's trouble every nine.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING

from ingest.forecasting.anomaly import Sensitivity, judge
from tests.bench import _histories, _nab
from tests.bench._nab import Score
from tests.bench._rows import row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench._histories import History
    from tests.bench._nab import Series

# Quantile and margin; for the mean of the last hours also how many.
POINT_SETTINGS = tuple(product((0.99, 0.999), (1.25, 1.5, 2.0)))
LASTING_SETTINGS = tuple(product((0.9, 0.95, 0.99), (2.0, 2.5, 3.0), (1, 3, 6)))
SPLITS = 41

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
    alarms_of = [raise_alarms(series, Sensitivity()) for series in files]
    seconds = time.perf_counter() - started
    scores = [_nab.score(series, alarms) for series, alarms in zip(files, alarms_of, strict=True)]
    yield from rows("NAB, ours", sum(scores, Score()), best)
    strict = [_nab.score(series, alarms, _nab.score_blocks) for series, alarms in zip(files, alarms_of, strict=True)]
    yield from rows("NAB, ours, a long alarm counted again every six hours", sum(strict, Score()))
    splits = sorted(halves(files), key=lambda one: one.f1)
    yield from rows(f"NAB, ours, tuned on the other half, median of {SPLITS} splits", splits[SPLITS // 2], best)
    yield row(f"NAB, ours, tuned on the other half, worst of {SPLITS} splits: F1", splits[0].f1, "")
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


def raise_alarms(series: Series, sensitivity: Sensitivity) -> list[datetime]:
    """Judge one file of the benchmark; when something was unusual."""
    verdicts = judge(
        zip(series.starts, series.values.tolist(), strict=True),
        step_s=_nab.STEP_S,
        timezone=UTC,
        sensitivity=sensitivity,
    )
    return [verdict.at for verdict in verdicts if verdict.is_unusual]


def halves(files: list[Series]) -> list[Score]:
    """Tune on a random half of the files and judge the other half, then the reverse; one score a split."""
    # An infinite margin leaves the other way of looking out.
    point_choices = [
        replace(Sensitivity(), lasting_margin=math.inf, point_quantile=share, point_margin=margin)
        for share, margin in POINT_SETTINGS
    ]
    lasting_choices = [
        replace(
            Sensitivity(),
            point_margin=math.inf,
            lasting_quantile=share,
            lasting_margin=margin,
            lasting_s=hours * 3600,
        )
        for share, margin, hours in LASTING_SETTINGS
    ]
    points = [[raise_alarms(series, choice) for series in files] for choice in point_choices]
    lasting = [[raise_alarms(series, choice) for series in files] for choice in lasting_choices]
    table = [
        [_nab.score(series, sorted({*point[number], *last[number]})) for number, series in enumerate(files)]
        for point, last in product(points, lasting)
    ]
    splits = []
    for seed in range(SPLITS):
        order = random.Random(seed).sample(range(len(files)), len(files))
        half = len(files) // 2
        splits.append(_tuned(table, order[:half], order[half:]) + _tuned(table, order[half:], order[:half]))
    return splits


def _tuned(table: list[list[Score]], tune: list[int], test: list[int]) -> Score:
    best = max(table, key=lambda line: sum((line[number] for number in tune), Score()).f1)
    return sum((best[number] for number in test), Score())


def judge_hours(history: History, name: str) -> Score:
    """Judge one metric of a demo history."""
    starts = _histories.hours()
    begin = starts[0] + LEARNING
    verdicts = judge(zip(starts, history.series[name], strict=True), step_s=3600, timezone=UTC)
    alarms = [verdict.at for verdict in verdicts if verdict.is_unusual and verdict.at >= begin]
    labels = [window for window in history.labels[name] if window[0] >= begin]
    return _nab.score_alarms(alarms, labels, (starts[-1] - begin) / timedelta(weeks=1))
