"""A million calls at other prices than before: time, longest lock, resumed after a kill; SQL's sum against Python's."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from ingest.local.embedded import find_binaries
from ingest.notices import Notices
from ingest.prices.costing import Costing
from ingest.prices.reprice import PAGE_ROWS, Repricer, RepriceScope
from ingest.settings import load_settings
from tests.support.cli import door_environment
from tests.support.doors import Door
from tests.support.events import roll_up_all
from tests.support.rollups import differences
from tests.support.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import JsonValue

    from ingest.database import Argument, Database

ROWS = 1_000_000
START = datetime(2026, 5, 1, tzinfo=UTC)
END = datetime(2026, 5, 31, tzinfo=UTC)
PRICE: dict[str, JsonValue] = {
    "valid_from": START.isoformat(),
    "rates": {"input": "2.05", "cached_input": "1.03", "output": "8.11"},
    "source": "benchmark",
}
_EXACT = Context(prec=60, traps=[Inexact])
_BATCH = 5_000
_MODELS = ("gpt-4o", "gpt-4o", "gpt-4o-mini", "gpt-4.1", "o4-mini", "text-embedding-3-small")
_KILL_AFTER_PAGES = 150

_KILLED = """
import os, signal, sys
from ingest.notices import Notices
from ingest.database import open_database
from ingest.prices.reprice import Repricer, RepriceScope
from ingest.settings import load_settings
from tests.bench.reprice import END, START

settings = load_settings()
pages = 0

def count(totals):
    global pages
    pages += 1
    if pages == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

repricer = Repricer(open_database(settings), settings, Notices())
repricer.apply(RepriceScope(START, END), requested_by="bench", on_progress=count)
"""


def run(rows: int = ROWS) -> Iterator[dict[str, object]]:
    """Yield one row per figure."""
    server = Server.start(find_binaries())
    database = server.create_database()
    doors = [Door("postgres", database), Door("postgrest", database)]
    try:
        expected = fill([door.service() for door in doors], rows)
        with psycopg.connect(database.superuser_url) as connection:
            connection.execute("analyze")
        for door in doors:
            difference = float(stored_sum(door.service()) - expected)
            yield _row(f"cost of {rows:,} calls through {door.name}, in SQL less in Python", difference, "$")
        for model in dict.fromkeys(_MODELS):  # another price for each, so that every call is corrected
            doors[0].service().call("add_price", price={**PRICE, "model": model})
        yield from _reprice(doors[0], rows)
    finally:
        for door in doors:
            door.close()
        database.drop()
        server.stop()


def _reprice(door: Door, rows: int) -> Iterator[dict[str, object]]:
    settings = load_settings()
    scope = RepriceScope(START, END)
    service = door.service()
    started = time.monotonic()
    Repricer(service, settings, Notices()).preview(scope)
    yield _row(f"dry run over {rows:,} calls", time.monotonic() - started, "s")

    pages = min(_KILL_AFTER_PAGES, max(1, rows // PAGE_ROWS // 2))
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | door_environment(door, Path(home))
        killed = subprocess.run([sys.executable, "-c", _KILLED, str(pages)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    before_kill_s = time.monotonic() - started

    probe = _RollUpProbe(door.service())
    probe.start()
    started = time.monotonic()
    timed = _Timed(service)
    totals = Repricer(timed, settings, Notices()).apply(scope, requested_by="bench")
    seconds = before_kill_s + time.monotonic() - started
    probe.stop()
    assert totals.is_resumed
    assert totals.whole.rows == rows - pages * PAGE_ROWS
    yield _row(f"{rows:,} calls priced again, killed after {pages} pages, resumed", seconds, "s")
    yield _row("calls priced again per second", rows / seconds, "1/s")
    for name, share in (("median", 0.5), ("99th percentile", 0.99)):
        yield _row(f"lock held for a page of {PAGE_ROWS:,} corrections, {name}", timed.quantile_ms(share), "ms")
    yield _row("longest lock held", totals.longest_lock_ms, "ms")
    yield _row("longest time in a row that roll-ups found the lock taken", probe.longest_busy_ms, "ms")
    again = Repricer(service, settings, Notices()).apply(scope, requested_by="bench")
    yield _row("calls corrected by a repeat", again.corrected, "calls")
    yield _row("rollup rows that differ from the raw rows", len(differences(door.database)), "rows")


class _Timed:
    """A database that notes how long each page held the lock."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._locked_ms: list[float] = []

    def call(self, function: str, /, **arguments: Argument) -> JsonValue:
        answer = self._database.call(function, **arguments)
        if function == "apply_reprice" and isinstance(answer, dict):
            self._locked_ms.append(float(str(answer["locked_ms"])))
        return answer

    def close(self) -> None:
        """Leave it open."""

    def quantile_ms(self, share: float) -> float:
        in_order = sorted(self._locked_ms)
        return in_order[int(share * (len(in_order) - 1))]


class _RollUpProbe(threading.Thread):
    """A worker that rolls up all the time, and how long it was kept waiting."""

    def __init__(self, database: Database) -> None:
        super().__init__(daemon=True)
        self._database = database
        self._is_over = threading.Event()
        self.longest_busy_ms = 0.0

    def run(self) -> None:
        """Ask until told to stop."""
        busy_since: float | None = None
        while not self._is_over.wait(0.02):
            answer = self._database.call("roll_up")
            now = time.monotonic()
            if isinstance(answer, dict) and answer["is_busy"]:
                busy_since = busy_since or now
            elif busy_since is not None:
                self.longest_busy_ms = max(self.longest_busy_ms, (now - busy_since) * 1000)
                busy_since = None

    def stop(self) -> None:
        """End the thread."""
        self._is_over.set()
        self.join()


def fill(doors: Sequence[Database], rows: int) -> Decimal:
    """Store calls of a month at list prices, through each door in turn, and roll them up.

    Returns:
        Their cost by Python's sum.
    """
    rng = random.Random(20261123)
    costing = Costing("gpt-4o", Notices())
    total = Decimal(0)
    step = (END - START) / rows
    for first in range(0, rows, _BATCH):
        events = []
        for number in range(first, min(first + _BATCH, rows)):
            prompt, completion = rng.randrange(20_000), rng.randrange(3_000)
            event: dict[str, JsonValue] = {
                "event_id": f"{number:08x}-0000-7000-8000-000000000000",
                "created_at": (START + number * step + timedelta(microseconds=rng.randrange(1000))).isoformat(),
                "user_id": f"user_{rng.randrange(500)}",
                "provider": "openai",
                "model": rng.choice(_MODELS),
                "feature": rng.choice(("chat", "tutor", "search")),
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "cached_tokens": rng.randrange(prompt + 1),
                "latency_ms": rng.uniform(100, 5000),
            }
            costing.apply(event)
            if "estimated_cost" in event:
                total = _EXACT.add(total, Decimal(str(event["estimated_cost"])))
            events.append(event)
        service = doors[first // _BATCH % len(doors)]
        assert service.call("record_usage", events=events) == len(events)
        service.call("roll_up")
    roll_up_all(doors[0])
    return total


def stored_sum(service: Database) -> Decimal:
    """The cost that the rollups tell."""
    document = service.call("get_cost_breakdown", from_time=START, to_time=END)
    assert isinstance(document, dict)
    totals = document["totals"]
    assert isinstance(totals, dict)
    return Decimal(str(totals["cost"]))


def _row(name: str, value: float, unit: str) -> dict[str, object]:
    return {"name": name, "value": value, "unit": unit, "peer": None, "peer_value": None, "ratio": None}


if __name__ == "__main__":
    for line in run(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS):
        print(json.dumps(line), flush=True)
