"""Messages a month of budgets that land at 85, 95, 100 and 105 %: 12 months of three products, looked at every 6 hours.

The forecasts are those of the worker, the decisions and messages those of the database.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING

from ingest.database import PostgresDatabase
from tests.bench._rows import row
from tests.bench._servers import embedded
from tests.support.budget_months import LANDINGS, months_of, tell_months
from tests.support.clockwork import Clockwork

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.budget_months import Told

SEEDS = (1, 2, 3)
MONTHS = months_of(dt.date(2025, 11, 1), 12)


def run() -> Iterator[dict[str, object]]:
    """Yield the messages a month, mean and worst, and those that the month proved wrong."""
    told: list[tuple[int, Told]] = []
    for seed in SEEDS:
        with embedded() as database:
            door = PostgresDatabase(database.authenticator_url)
            told += [
                (seed, one) for one in tell_months(Clockwork(door), database.superuser_url, seed, MONTHS, step_h=6)
            ]
            door.close()
    months = len(SEEDS) * len(MONTHS)
    for landing in LANDINGS:
        mine = [(seed, one) for seed, one in told if one.landing == landing]
        counts = Counter((seed, one.month) for seed, one in mine)
        foretold = {(seed, one.month) for seed, one in mine if one.metric == "budget_forecast"}
        title = f"budget that lands at {float(landing):.0%}"
        yield row(f"messages a month, mean, {title}", len(mine) / months, "messages")
        yield row(f"messages a month, worst, {title}", max(counts.values()), "messages")
        yield row(f"months of {months} told of an overrun in advance, {title}", len(foretold), "months")
