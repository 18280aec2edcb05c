"""Fifty products killed with -9 at random moments while they record into Postgres, and fifty with open streams.

Whatever `record_usage` had returned must be stored exactly once, after the next process has taken over the journal; and
so must each stream that `track_stream` had returned, whether it ended or not.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psycopg
from psycopg.sql import SQL, Identifier

import ingest
from tests.bench._rows import row
from tests.bench._servers import BenchDatabase, embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 50
MAX_OUTPUT_BYTES = 200_000
MAX_STREAM_OUTPUT_BYTES = 40_000
SEED = 20261123


def run() -> Iterator[dict[str, object]]:
    """Yield how many recorded events or opened streams are missing and how many rows are there twice."""
    recorded, rows = _measure("endless_postgres", MAX_OUTPUT_BYTES, "event_id")
    yield row(f"events whose record_usage returned, in {ROUNDS} rounds of kill -9", len(recorded), "events")
    yield row("of those, not stored", len(recorded - set(rows)), "events")
    yield row("rows stored twice", len(rows) - len(set(rows)), "rows")
    opened, rows = _measure("endless_streams_postgres", MAX_STREAM_OUTPUT_BYTES, "session_id")
    yield row(f"streams opened, in {ROUNDS} rounds of kill -9", len(opened), "streams")
    yield row("of those, without a row", len(opened - set(rows)), "streams")
    yield row("streams with two rows", len(rows) - len(set(rows)), "streams")


def _measure(program: str, max_output_bytes: int, key: Literal["event_id", "session_id"]) -> tuple[set[str], list[str]]:
    """What a program said in all rounds, and the keys of the rows that came of it."""
    home = Path(tempfile.mkdtemp(prefix="treering-bench-"))
    try:
        with embedded() as database:
            said = _kill_again_and_again(program, max_output_bytes, home, database)
            _take_over(home, database)
            with psycopg.connect(database.superuser_url) as connection:
                query = SQL("select {}::text from observability_internal.ai_usage_metrics").format(Identifier(key))
                rows = connection.execute(query).fetchall()
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return said, [name for (name,) in rows]


def _kill_again_and_again(program: str, max_output_bytes: int, home: Path, database: BenchDatabase) -> set[str]:
    source = random.Random(SEED)
    recorded: set[str] = set()
    for _ in range(ROUNDS):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.record.programs", program, str(home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "SUPABASE_DB_URL": database.authenticator_url},
        )
        assert process.stdout is not None
        output = process.stdout.read(source.randrange(1, max_output_bytes))
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
