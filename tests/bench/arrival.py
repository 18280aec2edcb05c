"""Calls that came without a cost, priced by the worker: calls a second, and how the time divides."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ingest.database import PostgresDatabase
from ingest.notices import Notices
from ingest.prices.arrivals import price_arrivals
from ingest.prices.costing import Costing
from ingest.prices.in_force import Prices
from tests.bench._servers import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    from ingest.database import Argument, Database

ROWS = 200_000
_BATCH = 1_000
_MODELS = ("gpt-4o", "gpt-4o", "gpt-4o-mini", "gpt-4.1", "claude-sonnet-4-5", "text-embedding-3-small")


def run(rows: int = ROWS) -> Iterator[dict[str, object]]:
    """Yield one row per figure."""
    with embedded() as server:
        database = PostgresDatabase(server.authenticator_url)
        try:
            _fill(database, rows)
            yield from _price(_Timed(database), rows)
        finally:
            database.close()


def _price(database: _Timed, rows: int) -> Iterator[dict[str, object]]:
    prices = Prices(Notices())
    prices.refresh(database)
    costing = Costing("gpt-4o", Notices(), lambda: prices.book)
    database.seconds.clear()
    started = time.monotonic()
    priced, has_more = 0, True
    while has_more:
        count, has_more = price_arrivals(database, lambda: costing)
        priced += count
    seconds = time.monotonic() - started
    assert priced == rows, f"{priced:,} of {rows:,}"
    yield _row(f"{rows:,} calls without a cost priced", seconds, "s")
    yield _row("calls priced a second", rows / seconds, "1/s")
    for function, spent in database.seconds.items():
        yield _row(f"part of it in {function}", spent, "s")
    started = time.monotonic()
    while True:
        answer = database.call("roll_up")
        assert isinstance(answer, dict)
        if not answer["pending_batches"]:
            break
    yield _row("calls rolled up a second afterwards", rows / (time.monotonic() - started), "1/s")


class _Timed:
    """A database that adds up how long each function took."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def call(self, function: str, /, **arguments: Argument) -> JsonValue:
        started = time.monotonic()
        try:
            return self._database.call(function, **arguments)
        finally:
            self.seconds[function] += time.monotonic() - started

    def close(self) -> None:
        """Leave it open."""


def _fill(database: Database, rows: int) -> None:
    rng = random.Random(20261125)
    now = datetime.now(UTC) - timedelta(hours=1)
    for first in range(0, rows, _BATCH):
        events: list[JsonValue] = []
        for number in range(first, min(first + _BATCH, rows)):
            prompt = rng.randrange(20_000)
            model = rng.choice(_MODELS)
            events.append({
                "event_id": f"{number:08x}-0000-7000-8000-000000000000",
                "created_at": (now + timedelta(milliseconds=number)).isoformat(),
                "user_id": f"user_{rng.randrange(500)}",
                "provider": "anthropic" if model.startswith("claude") else "openai",
                "model": model,
                "feature": rng.choice(("chat", "tutor", "search")),
                "prompt_tokens": prompt,
                "cached_tokens": rng.randrange(prompt + 1) if rng.random() < 0.3 else 0,
                "completion_tokens": rng.randrange(3_000),
                "latency_ms": rng.lognormvariate(6, 1),
            })  # fmt: skip
        database.call("record_usage", events=events)


def _row(name: str, value: float, unit: str) -> dict[str, object]:
    return {"name": name, "value": round(value, 3), "unit": unit}
