"""Anomalies found, false alarms raised and how long it takes, beside simple detectors, on series not tuned on.

Families: the CloudWatch series of the Numenta benchmark by what they measure, and hourly spend made of the two recorded
traces with anomalies put in. For each family in turn, each detector takes the setting that does best on the other
families and is judged on this one. The demo's hours are never tuned on; there ours runs as it is shipped. Delays are
of an anomaly put into histories that raise no alarm at that hour without it.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, timedelta
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ingest.forecasting.anomaly import Sensitivity, judge
from ingest.forecasting.newcomers import TIMES_OTHERS
from ingest.forecasting.windows import DAY, WEEK
from tests.bench import _histories, _injected, _nab
from tests.bench._nab import Score
from tests.bench._peers import PEERS, THRESHOLDS
from tests.bench._rows import row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    import numpy.typing as npt

    from tests.bench._histories import History
    from tests.bench._injected import Kind
    from tests.bench._nab import Series

    Floats = npt.NDArray[np.float64]
    # The score of each family by setting.
    Table = dict[object, dict[str, Score]]

HOUR_SETTINGS = (4.0, 5.0, 6.0, 7.0, 8.0)
LEVEL_SETTINGS = (3.0, 3.5, 4.0)

# A season by the hour of the week needs weeks to be learned.
LEARNING = timedelta(days=21)

_BEFORE = 8 * WEEK
_AFTER = 14 * DAY
_STARTS = 3
_NEWCOMER_A_DAY = 4500.0


def run() -> Iterator[dict[str, object]]:
    """Yield recall, precision, F1, false alarms and delays."""
    series = [*_nab.load(), *_injected.spend_series()]
    best = 0.0
    for name, detector in PEERS.items():
        scores = [detector(one.values) for one in series]
        table: Table = {
            threshold: by_family(series, [_beyond(one, of, threshold) for one, of in zip(series, scores, strict=True)])
            for threshold in THRESHOLDS
        }
        total, families = cross_validate(table)
        best = max(best, total.f1)
        yield from rows(f"{name}, not tuned on the family", total, families)
    started = time.perf_counter()
    settings = [Sensitivity(hour, level) for hour, level in product(HOUR_SETTINGS, LEVEL_SETTINGS)]
    ours: Table = {one: by_family(series, [alarms(each, one) for each in series]) for one in settings}
    seconds = time.perf_counter() - started
    total, families = cross_validate(ours)
    yield from rows("ours, not tuned on the family", total, families, best)
    points = len(settings) * sum(len(one.values) for one in series)
    yield row("ours, time a point", 1e6 * seconds / points, "us")
    best_setting = max(ours, key=lambda one: sum(ours[one].values(), Score()).f1)
    yield row(f"ours, best on all families: {best_setting}, F1", sum(ours[best_setting].values(), Score()).f1, "")
    shipped = sum(ours[Sensitivity()].values(), Score())
    yield from rows("ours as shipped, tuned on all of these", shipped, ours[Sensitivity()])
    demos = [_histories.demo(seed) for seed in _histories.SEEDS]
    for name in ("spend", "requests", "errors"):
        yield from rows(f"demo, never tuned on, {name}", sum((judge_hours(one, name) for one in demos), Score()), {})
    yield from delays("traces", [np.array(one.series["spend"]) for one in _histories.traces()])
    yield from delays("demo", [np.array(one.series["spend"]) for one in demos])
    yield from newcomers(demos)


def rows(name: str, score: Score, families: dict[str, Score], best: float | None = None) -> Iterator[dict[str, object]]:
    """The figures of a detector; F1 beside the best simple one's."""
    yield row(f"{name}: recall, {score.hits} of {score.windows}", score.recall, "")
    yield row(f"{name}: precision, {score.false} false", score.precision, "")
    if best is None:
        yield row(f"{name}: F1", score.f1, "")
    else:
        yield row(f"{name}: F1", score.f1, "", peer="best simple detector", peer_value=best)
    yield row(f"{name}: false alarms", score.false_per_week, "a series-week")
    for family, one in families.items():
        yield row(f"{name}: F1 of {family}, {one.hits} of {one.windows}, {one.false} false", one.f1, "")


def alarms(series: Series, sensitivity: Sensitivity) -> list[datetime]:
    """When ours would have told; of spend only rises."""
    verdicts = judge(
        list(zip(series.starts, series.values.tolist(), strict=True)), timezone=UTC, sensitivity=sensitivity
    )
    return [one.at for one in verdicts if one.state == "above" or (one.state == "below" and not series.is_spend)]


def by_family(series: Sequence[Series], found: Sequence[list[datetime]]) -> dict[str, Score]:
    """Add up the scores of each family."""
    scores: dict[str, Score] = {}
    for one, told in zip(series, found, strict=True):
        scores[one.family] = scores.get(one.family, Score()) + one.score(told)
    return scores


def cross_validate(table: Table) -> tuple[Score, dict[str, Score]]:
    """Judge each family by the setting that does best on the others."""
    families = list(next(iter(table.values())))
    judged = {}
    for family in families:
        others = [one for one in families if one != family]
        best = max(table.values(), key=lambda line: sum((line[one] for one in others), Score()).f1)
        judged[family] = best[family]
    return sum(judged.values(), Score()), judged


def judge_hours(history: History, name: str) -> Score:
    """Judge one metric of a demo history."""
    starts = _histories.hours()
    begin = starts[0] + LEARNING
    verdicts = judge(list(zip(starts, history.series[name], strict=True)), timezone=UTC)
    told = [one.at for one in verdicts if one.state == "above" and one.at >= begin]
    labels = [window for window in history.labels[name] if window[0] >= begin]
    return _nab.score_alarms(told, labels, (starts[-1] - begin) / timedelta(weeks=1))


def delays(kind: str, histories: Sequence[Floats]) -> Iterator[dict[str, object]]:
    """How many hours after its beginning each kind of anomaly is told."""
    rng = random.Random(5)
    starts = [_BEFORE + rng.randrange(_BEFORE) for _ in range(_STARTS)]
    anomalies: tuple[Kind, ...] = ("spike", "step", "leak")
    for anomaly in anomalies:
        waits: list[float] = []
        for values in histories:
            for at in starts:
                part = values[at - _BEFORE : at + _AFTER]
                before = _rises(part.tobytes())
                after = _rises(_injected.inject(part, anomaly, _BEFORE).tobytes())
                told = min((one for one in after if one >= _BEFORE and one not in before), default=None)
                waits.append(float("inf") if told is None else told - _BEFORE + 1)
        name = f"delay, {kind}, {anomaly}, {sum(wait <= _AFTER for wait in waits)} of {len(waits)} told"
        for label, share in (("median", 0.5), ("nine of ten", 0.9)):
            wait = sorted(waits)[int(share * (len(waits) - 1))]
            yield row(f"{name}, {label} within", wait if wait < float("inf") else -1, "h")


@cache
def _rises(values: bytes) -> frozenset[int]:
    hours = _histories.hours()
    points = list(zip(hours, np.frombuffer(values).tolist(), strict=False))
    return frozenset(number for number, one in enumerate(judge(points, timezone=UTC)) if one.state == "above")


def newcomers(demos: Sequence[History]) -> Iterator[dict[str, object]]:
    """How long somebody new spends 4500 dollars a day before being told, in a check every five minutes."""
    for history in demos:
        bar = TIMES_OTHERS * float(np.quantile(history.user_days, 0.99))
        minutes = bar / (_NEWCOMER_A_DAY / (24 * 60))
        yield row(f"delay, {history.name}, newcomer of ${_NEWCOMER_A_DAY:,.0f} a day", minutes + 5, "min at most")


def _beyond(series: Series, scores: Floats, threshold: float) -> list[datetime]:
    told = scores > threshold if series.is_spend else np.abs(scores) > threshold
    return [series.starts[number] for number in np.flatnonzero(told)]
