"""Events per second from `record_usage` to committed rows, through each door.

The caller records as fast as it can while the flusher of the same process prices and sends, the database on the same
machine; the clock runs from the first call until `flush` says that every event is committed.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

import ingest
from ingest.database import PostgresDatabase, SupabaseDatabase
from tests.bench._rows import row
from tests.bench._servers import BenchDatabase, api, embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.database import Database

EVENTS = 100_000
WARM_UP = 2_000


def run() -> Iterator[dict[str, object]]:
    """Yield events per second over psycopg and over PostgREST."""
    with embedded() as database:
        yield row(
            "record_usage to committed rows over psycopg",
            rate(database, PostgresDatabase(database.authenticator_url)),
            "events/s",
        )
        with api(database) as (url, key):
            yield row(
                "record_usage to committed rows over PostgREST", rate(database, SupabaseDatabase(url, key)), "events/s"
            )


def rate(database: BenchDatabase, door: Database) -> float:
    """Record, flush, count what is stored."""
    journal = Path(tempfile.mkdtemp(prefix="treering-bench-journal-"))
    before = stored(database)
    ingest.configure(database=door, home=journal)
    try:
        record(WARM_UP)
        assert ingest.flush(60)
        started = time.perf_counter()
        record(EVENTS)
        assert ingest.flush(300)
        seconds = time.perf_counter() - started
    finally:
        ingest.shutdown(10)
        shutil.rmtree(journal, ignore_errors=True)
    assert stored(database) - before == EVENTS + WARM_UP
    return EVENTS / seconds


def record(count: int) -> None:
    for number in range(count):
        ingest.record_usage(
            user_id=f"user_{number % 500}",
            model=("gpt-4o", "gpt-4o-mini", "o4-mini")[number % 3],
            feature=("chat", "search", "tutor")[number % 3],
            prompt_tokens=400 + number % 1000,
            completion_tokens=50 + number % 300,
            latency_ms=400.0 + number % 2000,
            time_to_first_token_ms=150.0 + number % 300,
            streamed=True,
        )


def stored(database: BenchDatabase) -> int:
    with psycopg.connect(database.superuser_url) as connection:
        found = connection.execute("select count(*) from observability_internal.ai_usage_metrics").fetchone()
    assert found is not None
    count: int = found[0]
    return count
