"""Fifty products killed with -9 at random moments while two threads of each record and deliver into Postgres.

Whatever `record_usage` had returned must be stored exactly once, after the next process has taken over the journal.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

import ingest
from tests.bench._rows import row
from tests.bench._servers import BenchDatabase, embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 50
MAX_OUTPUT_BYTES = 200_000
SEED = 20261123


def run() -> Iterator[dict[str, object]]:
    """Yield how many recorded events are missing and how many rows are there twice."""
    home = Path(tempfile.mkdtemp(prefix="treering-bench-"))
    try:
        with embedded() as database:
            recorded = _kill_again_and_again(home, database)
            _take_over(home, database)
            with psycopg.connect(database.superuser_url) as connection:
                rows = connection.execute(
                    "select event_id::text from observability_internal.ai_usage_metrics"
                ).fetchall()
    finally:
        shutil.rmtree(home, ignore_errors=True)
    stored = {event_id for (event_id,) in rows}
    yield row(f"events whose record_usage returned, in {ROUNDS} rounds of kill -9", len(recorded), "events")
    yield row("of those, not stored", len(recorded - stored), "events")
    yield row("rows stored twice", len(rows) - len(stored), "rows")


def _kill_again_and_again(home: Path, database: BenchDatabase) -> set[str]:
    source = random.Random(SEED)
    recorded: set[str] = set()
    for _ in range(ROUNDS):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.record.programs", "endless_postgres", str(home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "SUPABASE_DB_URL": database.authenticator_url},
        )
        assert process.stdout is not None
        output = process.stdout.read(source.randrange(1, MAX_OUTPUT_BYTES))
        process.kill()
        output += process.stdout.read()
        process.wait()
        process.stdout.close()
        recorded.update(line.decode() for line in output.split(b"\n")[:-1])
    return recorded


def _take_over(home: Path, database: BenchDatabase) -> None:
    ingest.configure(home=home, supabase_db_url=database.authenticator_url, flush_interval_s=0.0)
    is_done = False
    while not is_done:
        # What was adopted goes first: once this one is stored, nothing older is left.
        ingest.record_performance(route="/", method="GET", status_code=200, latency_ms=1.0)
        assert ingest.flush(120)
        is_done = not ingest.stats().pending
    ingest.shutdown(120)
