"""A month is summed some days a call, and an index says whether it has late rows."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ingest.errors import InvalidArgumentError
from tests.support.events import NOON, store, usage_event

if TYPE_CHECKING:
    from ingest.database import Database
    from tests.support.doors import Door

LAST_DAY = NOON.replace(day=31, hour=23, minute=59)


def test_the_days_of_a_month_add_up_to_the_month(service_db: Database) -> None:
    moments = [NOON.replace(day=1, hour=0), NOON.replace(day=15), LAST_DAY]
    store(service_db, *(usage_event(created_at=at, prompt_tokens=1000 + at.day) for at in moments))
    store(service_db, usage_event(created_at=LAST_DAY + dt.timedelta(minutes=1)))  # June's

    def summarize(**days: int) -> Any:
        return service_db.call("summarize_partition", kind="usage", month="2026-05-01", **days)

    whole = summarize()
    parts = [summarize(first_day=1, last_day=14), summarize(first_day=15, last_day=15), summarize(first_day=16)]
    assert [part["rows"] for part in parts] == [1, 1, 1]
    assert whole["rows"] == 3
    assert whole["columns"]["prompt_tokens"] == {"count": 3, "sum": "3047"}
    for name, column in whole["columns"].items():
        assert column["count"] == sum(part["columns"][name]["count"] for part in parts)
        assert Decimal(column["sum"]) == sum(Decimal(part["columns"][name]["sum"]) for part in parts)


def test_days_beyond_a_short_month_are_empty(service_db: Database) -> None:
    store(
        service_db, usage_event(created_at=NOON.replace(month=4, day=30)), usage_event(created_at=NOON.replace(day=1))
    )
    last: Any = service_db.call("summarize_partition", kind="usage", month="2026-04-01", first_day=30, last_day=31)
    none: Any = service_db.call("summarize_partition", kind="usage", month="2026-04-01", first_day=31, last_day=31)
    assert (last["rows"], none["rows"]) == (1, 0)


@pytest.mark.parametrize(("first_day", "last_day"), [(0, 3), (5, 4), (1, 32)])
def test_impossible_days_are_refused(shared_db: Database, first_day: int, last_day: int) -> None:
    with pytest.raises(InvalidArgumentError, match="from 1 to 31"):
        shared_db.call("summarize_partition", kind="usage", month="2026-05-01", first_day=first_day, last_day=last_day)


def test_late_rows_are_found_without_reading_the_month(direct: Door) -> None:
    store(direct.service(), *(usage_event(created_at=NOON + dt.timedelta(seconds=n)) for n in range(3000)))
    with psycopg.connect(direct.database.superuser_url) as connection:
        connection.execute("update observability_internal.ai_usage_metrics set received_at = created_at")
        connection.execute("analyze observability_internal.ai_usage_metrics_202605")
        connection.execute("set enable_seqscan = off")
        plan = connection.execute(
            "explain (costs off) select from observability_internal.ai_usage_metrics as m"
            " where m.created_at >= '2026-05-01' and m.created_at < '2026-06-01' and m.received_at > now()"
        ).fetchall()
    assert any("received_at" in line and "Bitmap Index Scan" in line for (line,) in plan), plan
