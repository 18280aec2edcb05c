"""Seconds to roll up a backlog, an increment of 10,000 and a refresh with 100 thousand, 1 and 10 million calls present.

The calls of the backlog lie within 90 days; those of an increment within the last minute, as live ones do.
`TREERING_BENCH_CALLS` changes the largest number.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg

from tests.bench import _calls
from tests.bench._rows import row
from tests.bench._servers import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = int(os.environ.get("TREERING_BENCH_CALLS", "10_000_000"))
INCREMENT = 10_000
TRIES = 5


def run() -> Iterator[dict[str, object]]:
    """Yield the seconds of the backlogs and the milliseconds of increments and refreshes."""
    with embedded() as database, psycopg.connect(database.superuser_url, autocommit=True) as connection:
        _calls.make_months(connection)
        present = 0
        for target in sorted({CALLS // 100, CALLS // 10, CALLS}):
            backlog = target - present
            end = datetime.now(UTC)
            for day in _calls.days(end):
                _calls.store(connection, backlog // _calls.DAYS, day, min(timedelta(days=1), end - day))
            seconds = _calls.roll_up(connection)
            yield row(f"roll up a backlog of {backlog:,} calls", seconds, "s")
            seconds = _calls.condense(connection)
            yield row(f"condense 90 days with {target:,} calls, at once", seconds, "s")
            connection.execute("analyze")
            yield row(f"increment of 10,000 calls, {target:,} present", _increment_ms(connection), "ms")
            yield row(f"refresh of the materialized view, {target:,} present", _refresh_ms(connection), "ms")
            present = target


def _increment_ms(connection: psycopg.Connection) -> float:
    """The median of some increments, in milliseconds."""
    times = []
    for _ in range(TRIES):
        now = datetime.now(UTC)
        _calls.store(connection, INCREMENT, now - timedelta(minutes=1), timedelta(seconds=55))
        times.append(_calls.roll_up(connection) * 1000)
    return sorted(times)[TRIES // 2]


def _refresh_ms(connection: psycopg.Connection) -> float:
    """The median of some refreshes after an increment, in milliseconds."""
    times = []
    for _ in range(TRIES):
        now = datetime.now(UTC)
        _calls.store(connection, INCREMENT, now - timedelta(minutes=1), timedelta(seconds=55))
        _calls.roll_up(connection)
        started = time.perf_counter()
        connection.execute("select observability.refresh_aggregates()")
        times.append((time.perf_counter() - started) * 1000)
    return sorted(times)[TRIES // 2]
