"""Judging a million calls, a day of ten million, and the plan and a what-if over them.

Seconds are those of the worker's job: it looks for the days that wait, judges one and keeps its sums.

`TREERING_BENCH_CALLS` makes it smaller. A tenth of the calls repeats a prompt, all share the beginnings of a few
instructions, and each has the hashes of a prompt of about 2,000 tokens.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import psutil
import psycopg

from ingest.database.postgres import PostgresDatabase
from ingest.savings.reading import read_savings_plan, read_what_if
from ingest.savings.what_if import Change
from pricing import PriceBook
from tests.bench import _calls
from tests.bench._rows import row
from tests.bench._servers import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = int(os.environ.get("TREERING_BENCH_CALLS", "1_000_000"))
DAYS = 30
# As many calls a day as ten million have in ninety.
DENSE_DAY = 111_000

_HASHES = """
update observability_internal.ai_usage_metrics as m set
  prompt_tokens = 1500 + m.prompt_tokens %% 1000,
  prompt_hash = md5(case when random() < 0.1 then (floor(random() * 1000))::text else m.event_id::text end),
  prompt_blocks = decode(
    lpad(to_hex((1500 + m.prompt_tokens %% 1000) * 4), 8, '0') || left(md5(m.feature), 24)
    || left(md5(m.session_id), 16) || left(md5(m.event_id::text), 16), 'hex'
  ),
  estimated_cost = round(((1500 + m.prompt_tokens %% 1000) * 2.5 + m.completion_tokens * 10) / 1000000, 8),
  model = 'gpt-4o'
where m.created_at >= %s and m.created_at < %s
"""


def run() -> Iterator[dict[str, object]]:
    """Yield seconds and megabytes."""
    with embedded() as database, psycopg.connect(database.superuser_url, autocommit=True) as connection:
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        _calls.make_months(connection)
        for day in range(DAYS, 1, -1):
            _fill(connection, CALLS // DAYS, today - timedelta(days=day))
        _fill(connection, DENSE_DAY, today - timedelta(days=1))
        connection.execute("select observability.condense_rollups(1000)")
        connection.execute("vacuum analyze observability_internal.ai_usage_metrics")
        backend = psutil.Process(connection.info.backend_pid)
        with _peak_of(backend) as peak:
            # The oldest come first, the dense day last.
            seconds, busy = _judge(connection, backend, DAYS - 1)
            yield row(f"judge {CALLS:,} calls of {DAYS} days", seconds * DAYS / (DAYS - 1), "s")
            yield row("processor time of that", busy * DAYS / (DAYS - 1), "s")
            seconds, busy = _judge(connection, backend, 1)
            yield row(f"judge a day of {DENSE_DAY:,} calls", seconds, "s")
            yield row("processor time of that", busy, "s")
        yield row("memory of the judging backend", max(peak) / 1e6, "MB")
        size = connection.execute(
            "select avg(pg_column_size(prompt_blocks)) from observability_internal.ai_usage_metrics"
        ).fetchone()
        assert size is not None
        yield row("hashes of a call's beginnings", float(size[0]), "bytes")
        yield from _reads(database.authenticator_url, today)


def _fill(connection: psycopg.Connection, count: int, day: datetime) -> None:
    _calls.store(connection, count, day, timedelta(hours=23))
    connection.execute(_HASHES.encode(), [day, day + timedelta(days=1)])
    _calls.roll_up(connection)


def _judge(connection: psycopg.Connection, backend: psutil.Process, days: int) -> tuple[float, float]:
    """Let the worker's job run until so many days are judged; seconds, and those in which the backend computed."""
    started, left, busy = time.perf_counter(), days, sum(backend.cpu_times()[:2])
    while left:
        found = connection.execute(
            "select (observability.judge_savings(least(7, %s)) ->> 'days')::int", [left]
        ).fetchone()
        assert found is not None
        assert found[0] > 0
        left -= found[0]
    return time.perf_counter() - started, sum(backend.cpu_times()[:2]) - busy


@contextmanager
def _peak_of(backend: psutil.Process) -> Iterator[list[int]]:
    """Collect how many bytes the backend has of its own, every 20 ms."""
    seen, is_over = [0], threading.Event()

    def look() -> None:
        while not is_over.wait(0.02):
            memory = backend.memory_info()
            seen.append(memory.rss - memory.shared)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        is_over.set()
        watcher.join()


def _reads(url: str, today: datetime) -> Iterator[dict[str, object]]:
    database = PostgresDatabase(url, role="service_role")
    book = PriceBook.default()
    read_savings_plan(database, to_time=today, book=book)
    started = time.perf_counter()
    read_savings_plan(database, to_time=today, book=book)
    yield row("the plan of 30 days", time.perf_counter() - started, "s")
    started = time.perf_counter()
    read_what_if(database, Change(model="gpt-4o-mini", cached_share=Decimal("0.5")), to_time=today, book=book)
    yield row("a what-if over 30 days", time.perf_counter() - started, "s")
    database.close()
