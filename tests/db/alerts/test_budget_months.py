"""Budgets of months that land at 85, 95, 100 and 105 %: few messages, and none that the month proves wrong."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING

from tests.support.budget_months import LANDINGS, months_of, tell_months
from tests.support.clockwork import Clockwork

if TYPE_CHECKING:
    from tests.support.doors import Door


def test_a_month_is_told_of_three_times_at_most_and_never_wrongly(direct: Door) -> None:
    months = months_of(dt.date(2026, 8, 1), 3)
    told = tell_months(Clockwork(direct.service()), direct.database.superuser_url, 1, months, step_h=12)
    counts = Counter((one.landing, one.month) for one in told)
    assert max(counts.values()) <= 3
    assert counts.keys() == {(landing, begin) for landing in LANDINGS for begin, _ in months}
    # A step is told where the month reaches it, and an overrun is foretold only where it comes.
    wanted = {"0.85": {0.8}, "0.95": {0.8}, "1": {0.8, 1}, "1.05": {0.8, 1}}
    for landing, steps in wanted.items():
        used = {(one.month, one.threshold) for one in told if (one.landing, one.metric) == (landing, "budget_used")}
        assert used == {(begin, step) for begin, _ in months for step in steps}
        foretold = [one for one in told if (one.landing, one.metric) == (landing, "budget_forecast")]
        assert {one.event for one in foretold} <= {"firing"}
        assert not foretold or float(landing) >= 1
    assert {one.month for one in told if (one.landing, one.metric) == ("1.05", "budget_forecast")} == {
        begin for begin, _ in months
    }
