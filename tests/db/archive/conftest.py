"""A database with two old months of calls and requests, and a folder for the archive."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from ingest.archive.storage import Storage
from tests.support.events import NOON, performance_event, roll_up_all, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.servers import TestDatabase

MAY = dt.date(2026, 5, 1)
RETENTION_DAYS = 90

CALLS: list[dict[str, JsonValue]] = [
    {"user_id": "user_a", "metadata": {"text": 'a "quoted"\nline, with a comma', "n": 0.1}, "session_id": "s1"},
    {"user_id": "user_b", "estimated_cost": "0." + "0" * 27 + "12345", "session_id": ""},
    {"user_id": "user_a", "estimated_cost": None, "cost_source": "unpriced", "latency_ms": None, "feature": None},
    {"user_id": "user_c", "estimated_cost": "123456789.000000000000000000000001", "status": "error", "streamed": True},
    {
        "user_id": "user_b",
        "provider_cost": "0.5",
        "cost_source": "fallback",
        "model": "gpt-4o-mini",
        "cached_tokens": 3,
    },
]


def age(database: TestDatabase) -> None:
    """Let all rows have arrived when they were created."""
    database.execute(
        "update observability_internal.ai_usage_metrics set received_at = created_at;"
        " update observability_internal.performance_metrics set received_at = created_at"
    )


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "archive"))


@pytest.fixture
def fill(database: TestDatabase) -> Callable[[Database], None]:
    """Store five calls and two requests of May, roll them up and let them be old."""

    def fill(service: Database) -> None:
        events = [
            usage_event(**{"created_at": NOON + dt.timedelta(days=day, microseconds=123_457 * day), **call})
            for day, call in enumerate(CALLS)
        ]
        assert service.call("record_usage", events=events) == len(events)
        requests = [performance_event(user_id="user_a", metadata={"k": 1}), performance_event(status_code=500)]
        assert service.call("record_performance", events=requests) == len(requests)
        roll_up_all(service)
        age(database)

    return fill
