"""Judges what has no history of its own: by what others come to, or by the least change that matters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.forecasting.anomaly import Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from ingest.forecasting.anomaly import State

# A day in a hundred is beyond what 99 of 100 come to; twice that, hardly one in five hundred.
TIMES_OTHERS: Final = 2.0


def judge_newcomer(at: datetime, day_so_far: float, others: float | None) -> Verdict:
    """Judge the first day of a user against the days of others.

    Args:
        at: Start of the running hour.
        day_so_far: What the last 24 hours came to.
        others: What 99 of 100 days of single users came to; None where too few are known.
    """
    if not others:
        return Verdict(at, day_so_far, "learning")
    score = max(day_so_far - others, 0.0) / ((TIMES_OTHERS - 1) * others)
    state: State = "above" if score > 1 else "usual"
    return Verdict(at, day_so_far, state, score, others, 0.0, others, "others")


def judge_first(at: datetime, value: float, minimum_change: float) -> Verdict:
    """Judge the first hour of what has never been, such as errors.

    Args:
        at: Start of the hour.
        value: What it came to, after nothing but zeros.
        minimum_change: From here on it is unusual.
    """
    score = value / minimum_change if minimum_change > 0 else value
    return Verdict(at, value, "above" if score > 1 else "usual", score, 0.0, 0.0, minimum_change, "never")
