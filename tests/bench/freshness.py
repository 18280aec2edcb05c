"""Seconds from `record_usage` until the Overview's read function counts the call, at 500 events a second.

A product records, a worker of `treering worker` rolls up, and a reader asks for the last hour as the page does. The
n-th recorded call is visible in the first answer that counts n.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ingest
from ingest.database import PostgresDatabase
from tests.bench._rows import row
from tests.bench._servers import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS_PER_S = 500
SECONDS = 60
POLL_S = 0.1
LONGEST_WAIT_S = 60


def run() -> Iterator[dict[str, object]]:
    """Yield p50, p99 and the longest."""
    with embedded() as database:
        home = Path(tempfile.mkdtemp(prefix="treering-bench-home-"))
        worker = subprocess.Popen(
            [sys.executable, "-m", "ingest.cli", "worker"],
            env={**os.environ, "SUPABASE_DB_URL": database.authenticator_url, "TREERING_HOME": str(home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            delays = _measure(database.authenticator_url)
        finally:
            worker.terminate()
            worker.wait(30)
            shutil.rmtree(home, ignore_errors=True)
    yield row(f"calls recorded at {EVENTS_PER_S} a second and seen", len(delays), "calls")
    yield row("record_usage to visible, p50", delays[len(delays) // 2], "s")
    yield row("record_usage to visible, p99", delays[int(len(delays) * 0.99)], "s")
    yield row("record_usage to visible, longest", delays[-1], "s")


def _measure(url: str) -> list[float]:
    journal = Path(tempfile.mkdtemp(prefix="treering-bench-journal-"))
    reader = PostgresDatabase(url)
    ingest.configure(database=PostgresDatabase(url), home=journal)
    recorded: list[float] = []
    recorder = threading.Thread(target=_record, args=(recorded,))
    delays: list[float] = []
    started = datetime.now(UTC)
    try:
        recorder.start()
        last_news = time.monotonic()
        while len(delays) < EVENTS_PER_S * SECONDS and time.monotonic() - last_news < LONGEST_WAIT_S:
            seen = _count(reader, started)
            now = time.perf_counter()
            if seen > len(delays):
                last_news = time.monotonic()
            delays += [now - at for at in recorded[len(delays) : seen]]
            time.sleep(POLL_S)
        recorder.join()
    finally:
        ingest.shutdown(10)
        reader.close()
        shutil.rmtree(journal, ignore_errors=True)
    return sorted(delays)


def _record(recorded: list[float]) -> None:
    started = time.perf_counter()
    for number in range(EVENTS_PER_S * SECONDS):
        time.sleep(max(started + number / EVENTS_PER_S - time.perf_counter(), 0))
        recorded.append(time.perf_counter())
        ingest.record_usage(
            user_id=f"user_{number % 500}",
            model=("gpt-4o", "gpt-4o-mini", "o4-mini")[number % 3],
            feature=("chat", "search", "tutor")[number % 3],
            prompt_tokens=400,
            completion_tokens=50,
            latency_ms=400.0 + number % 2000,
        )


def _count(reader: PostgresDatabase, started: datetime) -> int:
    document: Any = reader.call(
        "get_overview", from_time=started - timedelta(minutes=5), to_time=started + timedelta(minutes=55)
    )
    count: int = document["totals"]["requests"]
    return count
