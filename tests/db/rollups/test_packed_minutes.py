"""Minutes of days gone by are packed, and hold to the last digit what their rows held."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest

from tests.support.events import NOON, condense_all, roll_up_all, usage_event
from tests.support.rollups import differences

if TYPE_CHECKING:
    from ingest.database import Database
    from tests.support.doors import Door
    from tests.support.servers import TestDatabase

SPAN = "'2026-05-04 00:00+00', '2026-05-06 00:00+00'"
# The order of a histogram's entries says nothing.
ROWS: LiteralString = f"""
select
  to_jsonb(r) - 'latency' - 'time_to_first_token', array(select unnest(r.latency) order by 1),
  array(select unnest(r.time_to_first_token) order by 1), r.latency is null, r.time_to_first_token is null
from observability_internal.minutes_within({SPAN}) as r
order by r.bucket, r.dim_id
"""
WINDOW: LiteralString = """
select r.bucket, r.dim_id, r.requests, r.cost, r.cached_tokens, r.unpriced_requests, cardinality(r.latency)
from observability_internal.alert_cells(null, '2026-05-04 11:00+00', '2026-05-04 11:45+00') as r
order by r.bucket, r.dim_id
"""
RARE: LiteralString = f"""
select minutes, is_all
from observability_internal.minutes_with_calls(
  {SPAN}, array(select dim_id from observability_internal.dimensions where status = 'error'), 25
)
"""
PLACES: LiteralString = """
select
  (select count(*) from observability_internal.usage_by_minute),
  (select count(*) from observability_internal.unpacked_minutes)
"""


def read(database: TestDatabase, query: LiteralString) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.superuser_url) as connection:
        return connection.execute(query).fetchall()


def fill(service: Database, count: int = 300) -> None:
    """Calls of two days, many within the same minutes; some without a price, latency or cached tokens."""
    source = random.Random(7)
    events = []
    for _ in range(count):
        status = source.choice(["ok", "ok", "error"])
        cost = source.choice([None, str(Decimal(source.randrange(1, 10**12)).scaleb(-15))])
        events.append(
            usage_event(
                created_at=NOON + timedelta(hours=source.choice([-1, 0, 5, 25]), seconds=source.randrange(3000)),
                user_id=f"user_{source.randrange(9)}",
                model=source.choice(["gpt-4o", "o4-mini"]),
                status=status,
                error_type="timeout" if status == "error" else None,
                cached_tokens=source.choice([0, 0, 64]),
                estimated_cost=cost,
                cost_source="unpriced" if cost is None else source.choice(["priced", "fallback", "provider"]),
                latency_ms=source.choice([None, source.lognormvariate(6, 2)]),
                time_to_first_token_ms=source.choice([None, source.lognormvariate(5, 1)]),
            )
        )
    assert service.call("record_usage", events=events) == count
    roll_up_all(service)


def test_packed_minutes_read_as_their_rows_did(service_db: Database, database: TestDatabase) -> None:
    fill(service_db)
    queries = (ROWS, WINDOW, RARE)
    before = [read(database, query) for query in queries]
    ((rows, packed),) = read(database, PLACES)
    assert (rows > 150, packed) == (True, 0)
    condense_all(service_db)
    assert read(database, PLACES) == [(0, rows)]
    assert [read(database, query) for query in queries] == before
    assert differences(database) == []


def test_what_changes_a_packed_minute_adds_to_it(service_db: Database, database: TestDatabase) -> None:
    fill(service_db)
    condense_all(service_db)
    late = [usage_event(created_at=NOON, estimated_cost="0.000000000000001"), usage_event(created_at=NOON, model="new")]
    assert service_db.call("record_usage", events=late) == 2
    roll_up_all(service_db)
    rows, packed = read(database, PLACES)[0]
    assert (rows > 2, packed > 0) == (True, True)  # its quarter of an hour are rows, the others are not
    sums = "select sum(calls), sum(certain_cost_usd) from observability_bi.usage_by_day"
    stale = read(database, sums)
    assert differences(database) == []
    condense_all(service_db)
    assert read(database, PLACES)[0][0] == 0
    assert differences(database) == []
    assert read(database, sums) == stale
    database.execute("update observability_internal.packed_minutes set requests[1] = 9")
    rebuilt = service_db.call("rebuild_rollups", from_time=NOON, to_time=NOON + timedelta(days=2))
    assert isinstance(rebuilt, dict)
    assert rebuilt["usage_rows"] == 302
    condense_all(service_db)
    assert read(database, PLACES)[0][0] == 0
    assert differences(database) == []


@pytest.mark.dated
def test_today_and_yesterday_stay_rows(direct: Door) -> None:
    service = direct.service()
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    moments = [today - timedelta(days=days, seconds=1) for days in (0, 1, 2, 5)]
    service.call("record_usage", events=[usage_event(created_at=moment) for moment in moments])
    roll_up_all(service)
    condense_all(service)
    assert read(direct.database, PLACES) == [(1, 3)]
