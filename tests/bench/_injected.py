"""Hourly spend with anomalies of known kind and time, made of both recorded traces."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import numpy as np

from ingest.forecasting.windows import DAY, WEEK
from tests.bench import _histories
from tests.bench._nab import Series

if TYPE_CHECKING:
    from datetime import datetime

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

Kind = Literal["spike", "night spike", "step", "leak"]

LEARNING = 5 * WEEK
LEAK_HOURS = 14 * DAY
_KINDS: tuple[Kind, ...] = ("spike", "night spike", "step", "leak")
_STEP_HOURS = 2 * DAY
_EACH = 17 * DAY
_CHOSEN = ("azure 1", "azure 2", "mooncake 1", "mooncake 2")


def spend_series() -> list[Series]:
    """Two histories of each trace, level and growing, with an anomaly of another kind every 17 days or so."""
    found = []
    for number, history in enumerate(_histories.traces()):
        if history.name in _CHOSEN and (number % 2 == 0) == history.name.endswith("1"):
            found.append(_with_anomalies(history.name, np.array(history.series["spend"])))
    return found


def inject(values: Floats, kind: Kind, at: int, *, lasts: int | None = None) -> Floats:
    """Add one anomaly: a spike of five mean hours (1.5 at night), a doubled level, a rise to the double in 14 days."""
    changed = values.copy()
    mean = float(values[at - WEEK : at].mean())
    end = len(values) if lasts is None else at + lasts
    if kind in ("spike", "night spike"):
        changed[at] += (5 if kind == "spike" else 1.5) * mean
    elif kind == "step":
        changed[at:end] *= 2
    else:
        changed[at:end] *= 1 + np.minimum(np.arange(end - at) / LEAK_HOURS, 1)
    return changed


def _with_anomalies(name: str, values: Floats) -> Series:
    rng = random.Random(name)
    starts = _histories.hours()
    windows: list[tuple[datetime, datetime]] = []
    begin = LEARNING + rng.randrange(3 * DAY)
    while begin + _EACH < len(values):
        kind = _KINDS[len(windows) % len(_KINDS)]
        at = begin if kind == "leak" else begin + rng.randrange(WEEK)
        at = at - at % DAY + 3 if kind == "night spike" else at
        lasts = {"step": _STEP_HOURS, "leak": LEAK_HOURS}.get(kind, 1)
        values = inject(values, kind, at, lasts=lasts)
        windows.append((starts[at], starts[at] + timedelta(hours=lasts + 1)))
        begin += _EACH + rng.randrange(DAY)
    return Series(name, name.split()[0], starts, values, windows, starts[LEARNING], is_spend=True)
