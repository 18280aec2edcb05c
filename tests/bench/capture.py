"""What `record_usage` costs its caller, at rest and while a backlog of 100,000 events drains into Postgres.

Each call is timed on its own, once back to back and once between pieces of a product's own work, which leaves caches
cold and holds the interpreter as a busy backend does. The peer does the same with a server that answers at once.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import ingest
from ingest.database import PostgresDatabase
from ingest.errors import DatabaseUnavailableError
from tests.bench import _langfuse
from tests.bench._rows import row
from tests.bench._servers import embedded
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingest.database import Argument, Database, JsonValue

CALLS = 20_000
BACKLOG = 100_000
WORK = [{"role": "user", "content": "a message of a conversation " * 8}] * 40  # about 50 µs as JSON


def run() -> Iterator[dict[str, object]]:
    """Yield p50 and p99 of a call, at rest and during the drain."""
    peer = dict(_measure_peer()) if _langfuse.is_installed() else {}
    home = Path(tempfile.mkdtemp(prefix="treering-bench-"))
    try:
        with embedded() as server:
            gate = _Gate(server.authenticator_url)
            ingest.configure(database=gate.open, home=home)
            for name, value in _measure(record, CALLS):
                yield row(
                    f"record_usage, {name}", value, "µs",
                    peer=_langfuse.NAME if peer else None, peer_value=peer.get(name),
                )  # fmt: skip
            assert ingest.flush(120)
            yield from _measure_drain(gate)
            ingest.shutdown(30)
    finally:
        shutil.rmtree(home, ignore_errors=True)


class _Gate:
    """A database that is away when asked to be."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.is_away = False

    def open(self) -> Database:
        if self.is_away:
            raise DatabaseUnavailableError("away")
        return _Gated(self, PostgresDatabase(self._url))


class _Gated:
    def __init__(self, gate: _Gate, database: PostgresDatabase) -> None:
        self._gate = gate
        self._database = database

    def call(self, function: str, /, **arguments: Argument) -> JsonValue:
        if self._gate.is_away:
            raise DatabaseUnavailableError("away")
        return self._database.call(function, **arguments)

    def close(self) -> None:
        self._database.close()


def record() -> None:
    """Record one call as a chat backend does."""
    ingest.record_usage(
        user_id="user_2abc", session_id="session_17", model="gpt-4o", feature="chat", prompt_tokens=150,
        completion_tokens=50, cached_tokens=100, streamed=True, latency_ms=1200.5, time_to_first_token_ms=250.1,
        finish_reason="stop", service_tier="default",
    )  # fmt: skip


def _measure_drain(gate: _Gate) -> Iterator[dict[str, object]]:
    logging.getLogger("treering").setLevel(logging.ERROR)
    gate.is_away = True
    for _ in range(BACKLOG):
        record()
    before = ingest.stats()
    assert before.pending >= BACKLOG
    gate.is_away = False
    started = time.perf_counter()
    waiter = threading.Thread(target=lambda: ingest.flush(300))
    waiter.start()
    figures: dict[str, list[float]] = {"back to back": [], "between work": []}
    while waiter.is_alive():
        for times, work in zip(figures.values(), (None, _work), strict=True):
            times += _time(record, 200, work)
            time.sleep(0.01)
    seconds = time.perf_counter() - started
    delivered = ingest.stats().delivered - before.delivered
    assert ingest.stats().dropped == 0
    yield row(f"events drained beside it, of {BACKLOG:,}", delivered / seconds, "events/s")
    for kind, times in figures.items():
        for name, value in _percentiles(kind, times):
            yield row(f"record_usage while a backlog drains, {name}", value, "µs")


def _measure_peer() -> Iterator[tuple[str, float]]:
    port = free_port()
    sink = _langfuse.Sink(port)
    with _langfuse.client(port) as (record_generation, _):
        yield from _measure(record_generation, CALLS // 4)
    sink.stop()


def _measure(call: Callable[[], object], count: int) -> Iterator[tuple[str, float]]:
    _time(call, count // 10, None)
    yield from _percentiles("back to back", _time(call, count, None))
    yield from _percentiles("between work", _time(call, count, _work))


def _time(call: Callable[[], object], count: int, work: Callable[[], object] | None) -> list[float]:
    clock = time.perf_counter
    times = []
    for _ in range(count):
        if work is not None:
            work()
        started = clock()
        call()
        times.append(clock() - started)
    return times


def _work() -> None:
    json.loads(json.dumps(WORK))


def _percentiles(kind: str, times: list[float]) -> Iterator[tuple[str, float]]:
    ordered = sorted(times)
    for percent in (50, 99):
        yield f"{kind}, p{percent}", ordered[len(ordered) * percent // 100] * 1e6
