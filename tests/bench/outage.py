"""A database that is away for 60 seconds at 1,000 events a second, and then comes back.

Ours goes to a real Postgres that is stopped and started; the peer's server takes OpenTelemetry spans and counts them.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg

import ingest
from ingest.local.embedded import EmbeddedPostgres
from tests.bench import _langfuse
from tests.bench._rows import row
from tests.bench.capture import record
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OUTAGE_S = 60
EVENTS_PER_S = 1_000
EVENTS = OUTAGE_S * EVENTS_PER_S
RETURN_TIMEOUT_S = 120


def run() -> Iterator[dict[str, object]]:
    """Yield how many of the events arrived, the memory it took and the time to catch up."""
    # Ours first: memory that the peer has given back to the allocator would hide our growth.
    stored, distinct, growth_mb, seconds = _measure_ours()
    peer_stored, peer_growth = _measure_peer() if _langfuse.is_installed() else (None, None)
    peer = None if peer_stored is None else _langfuse.NAME
    yield row(f"events stored of {EVENTS:,} after {OUTAGE_S} s without database", stored, "events",
              peer=peer, peer_value=peer_stored)  # fmt: skip
    yield row("of those, different events", distinct, "events")
    yield row("growth of memory during the outage", growth_mb, "MB", peer=peer, peer_value=peer_growth)
    yield row("time to catch up", seconds, "s")


def _measure_ours() -> tuple[int, int, float, float]:
    logging.getLogger("treering").setLevel(logging.ERROR)
    home = Path(tempfile.mkdtemp(prefix="treering-bench-"))
    server = EmbeddedPostgres(home)
    try:
        server.start()
        ingest.configure(home=home)
        record()
        assert ingest.flush(60)
        server.stop()
        growth_mb = _during_outage(record)
        assert ingest.stats().dropped == 0
        started = time.perf_counter()
        server.start()
        assert ingest.flush(RETURN_TIMEOUT_S)
        seconds = time.perf_counter() - started
        with psycopg.connect(server.superuser_uri) as connection:
            found = connection.execute(
                "select count(*) - 1, count(distinct event_id) - 1 from observability_internal.ai_usage_metrics"
            ).fetchone()
        assert found is not None
        ingest.shutdown(30)
        return found[0], found[1], growth_mb, seconds
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


def _measure_peer() -> tuple[int, float]:
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    port = free_port()
    with _langfuse.client(port) as (record_generation, peer):
        growth_mb = _during_outage(record_generation)
        sink = _langfuse.Sink(port)
        peer.flush()
    return sink.stop(), growth_mb


def _during_outage(call: Callable[[], object]) -> float:
    """Make the calls evenly and return the growth of this process's memory, in MB."""
    process = psutil.Process()
    before = process.memory_info().rss
    highest = before
    started = time.perf_counter()
    for number in range(EVENTS):
        ahead_s = number / EVENTS_PER_S - (time.perf_counter() - started)
        if ahead_s > 0:
            time.sleep(ahead_s)
        call()
        if number % EVENTS_PER_S == 0:
            highest = max(highest, process.memory_info().rss)
    return (max(highest, process.memory_info().rss) - before) / 1e6
