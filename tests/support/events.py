"""Events as the flusher sends them, with defaults that a test overrides."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.database import Database

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)  # a Monday


def usage_event(**fields: JsonValue | datetime) -> dict[str, JsonValue]:
    """One call: 150 + 50 tokens of gpt-4o for 0.000875 $ at noon."""
    event: dict[str, JsonValue | datetime] = {
        "event_id": str(uuid.uuid4()),
        "created_at": NOON,
        "user_id": "user_a",
        "model": "gpt-4o",
        "feature": "chat",
        "prompt_tokens": 150,
        "completion_tokens": 50,
        "estimated_cost": "0.000875",
        "cost_source": "priced",
        "latency_ms": 800.0,
        "time_to_first_token_ms": 200.0,
    }
    event.update(fields)
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in event.items()}


def performance_event(**fields: JsonValue | datetime) -> dict[str, JsonValue]:
    """One request to /chat, answered in 100 ms, at noon."""
    event: dict[str, JsonValue | datetime] = {
        "event_id": str(uuid.uuid4()),
        "created_at": NOON,
        "route": "/chat",
        "method": "POST",
        "status_code": 200,
        "latency_ms": 100.0,
    }
    event.update(fields)
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in event.items()}


def store(database: Database, *events: dict[str, JsonValue]) -> None:
    """Record the events and roll them up."""
    stored = database.call("record_usage", events=list(events))
    assert stored == len(events)
    roll_up_all(database)


def roll_up_all(database: Database) -> None:
    """Roll up until nothing waits."""
    while True:
        answer = database.call("roll_up")
        assert isinstance(answer, dict)
        if answer["pending_batches"] == 0:
            return


def condense_all(database: Database) -> None:
    """Compute the coarse levels of everything, the open hour, day, week and month included."""
    while True:
        answer = database.call("condense_rollups", max_hours=1000)
        assert isinstance(answer, dict)
        if answer["is_done"]:
            break
    database.call("refresh_aggregates")
