"""Ways to keep an event on disk before `record_usage` returns, each at rest and beside a thread that drains.

The draining thread decodes records and lets others run after every five, or never. This is the measurement behind
docs/adr/0005-journal.md.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import tempfile
import threading
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import from_json, to_json

from ingest.record.segment import Segment
from tests.bench._rows import row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALLS = 20_000
SIZE_BYTES = 64 * 1024 * 1024
EVENT = {
    "event_id": "019a7e2f3c5d7d0c8f53b0c0d6b1f2aa", "user_id": "user_2abc", "session_id": "session_17",
    "model": "gpt-4o", "feature": "chat", "environment": "production", "provider": "openai", "operation": "chat",
    "prompt_tokens": 150, "completion_tokens": 50, "cached_tokens": 100, "streamed": True, "status": "ok",
    "latency_ms": 1200.5, "time_to_first_token_ms": 250.1, "attempt": 1, "usage_source": "reported",
}  # fmt: skip


def run() -> Iterator[dict[str, object]]:
    """Yield p50, p99 and p99.9 of appending one event, for each way and situation."""
    with tempfile.TemporaryDirectory(prefix="treering-bench-") as folder:
        ways = {"mmap segment": _mmap, "os.write": _write, "SQLite WAL, synchronous=off": _sqlite}
        situations = {"at rest": None, "beside a drain that yields": 5, "beside one that never does": 0}
        for name, make in ways.items():
            append = make(Path(folder))
            for situation, turn in situations.items():
                times = sorted(_time(append, turn))
                for label, permille in (("p50", 500), ("p99", 990), ("p99.9", 999)):
                    yield row(f"{name}, {situation}, {label}", times[len(times) * permille // 1000] * 1e6, "µs")


def _mmap(folder: Path) -> Callable[[], object]:
    segment = Segment.create(folder / "segment", SIZE_BYTES)
    return lambda: segment.append(to_json(EVENT))


def _write(folder: Path) -> Callable[[], object]:
    descriptor = os.open(folder / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    header = struct.Struct("<II")

    def append() -> None:
        payload = to_json(EVENT)
        os.write(descriptor, header.pack(len(payload), zlib.crc32(payload)) + payload)

    return append


def _sqlite(folder: Path) -> Callable[[], object]:
    connection = sqlite3.connect(folder / "journal.db", isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = off")  # as the others: safe from kill -9, not from a power cut
    connection.execute("create table events (id integer primary key, record blob)")
    return lambda: connection.execute("insert into events (record) values (?)", (to_json(EVENT),))


def _time(append: Callable[[], object], turn: int | None) -> list[float]:
    is_done = threading.Event()
    drain = threading.Thread(target=_drain, args=(is_done, turn))
    if turn is not None:
        drain.start()
    times: list[float] = []
    ends_at = time.perf_counter() + 10
    while len(times) < CALLS and time.perf_counter() < ends_at:
        started = time.perf_counter()
        append()
        times.append(time.perf_counter() - started)
        if turn is not None and len(times) % 10 == 0:
            time.sleep(0.0002)  # the drain's turn
    is_done.set()
    if turn is not None:
        drain.join()
    return times


def _drain(is_done: threading.Event, turn: int | None) -> None:
    payload = to_json(EVENT)
    count = 0
    while not is_done.is_set():
        event = from_json(payload)
        {name: str(value) for name, value in event.items()}
        count += 1
        if turn and count % turn == 0:
            time.sleep(0)
