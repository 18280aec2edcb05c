"""Calls and requests of three days, and the comparison of their rollups with the raw rows."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.support.events import NOON, performance_event, usage_event

if TYPE_CHECKING:
    from ingest.database import Database

DAY = NOON.replace(hour=0)


def fill(service: Database, seed: int = 1, count: int = 60) -> None:
    """Calls and requests of three days; some calls without a latency or a cost."""
    rng = random.Random(seed)
    usage = [
        usage_event(
            created_at=DAY + timedelta(minutes=rng.randrange(3 * 1440)),
            user_id=f"user_{rng.randrange(5)}",
            model=rng.choice(["gpt-4o", "o4-mini"]),
            prompt_tokens=rng.randrange(1000),
            latency_ms=rng.choice([None, rng.lognormvariate(6, 1)]),
        )
        for _ in range(count)
    ]
    performance = [
        performance_event(
            created_at=DAY + timedelta(minutes=rng.randrange(3 * 1440)), sample_weight=rng.choice([1, 3.3])
        )
        for _ in range(count // 3)
    ]
    service.call("record_usage", events=usage)
    service.call("record_performance", events=performance)


def verify(service: Database) -> dict[str, Any]:
    result = service.call("verify_rollups", from_time=DAY, to_time=DAY + timedelta(days=3))
    assert isinstance(result, dict)
    return result


def rebuild(service: Database, days: int = 3) -> dict[str, Any]:
    result = service.call("rebuild_rollups", from_time=DAY, to_time=DAY + timedelta(days=days))
    assert isinstance(result, dict)
    return result
