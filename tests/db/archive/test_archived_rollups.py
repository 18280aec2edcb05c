"""Rollups of months whose raw rows are archived."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.db.archive.runs import archive
from tests.support.events import NOON, condense_all, roll_up_all, store, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.archive.storage import Storage
    from ingest.database import Database
    from tests.support.doors import Door

    Fill = Callable[[Database], None]


@pytest.mark.dated
def test_rollups_go_by_whole_months_and_never_before_their_raw_rows(direct: Door, storage: Storage, fill: Fill) -> None:
    service = direct.service()
    fill(service)

    def rollups() -> int:
        with psycopg.connect(direct.database.superuser_url) as connection:
            row = connection.execute("select count(*) from observability_internal.usage_by_minute").fetchone()
        assert row is not None
        return int(row[0])

    answer = service.call("prune_rollups", retention_days=90)
    assert answer == {"is_busy": False, "rows": 0}
    archive(service, storage)
    store(service, usage_event(created_at=dt.datetime.now(dt.UTC)))
    assert rollups() == 6
    while True:
        answer = service.call("prune_rollups", retention_days=90, max_rows=3)
        assert isinstance(answer, dict)
        if answer["rows"] != 3:
            break
    assert rollups() == 1
    roll_up_all(service)


@pytest.mark.dated
def test_a_week_that_reaches_over_the_end_of_retention_keeps_its_later_days(direct: Door) -> None:
    service = direct.service()
    last, first = dt.datetime(2026, 4, 28, 12, tzinfo=dt.UTC), dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
    store(service, usage_event(created_at=last, latency_ms=10), usage_event(created_at=first, latency_ms=500))
    condense_all(service)
    direct.database.execute("drop table observability_internal.ai_usage_metrics_202604")
    answer: Any = service.call("prune_rollups", retention_days=(dt.datetime.now(dt.UTC) - first).days - 1)
    assert answer["rows"] > 0
    for _ in range(2):
        document: Any = service.call("get_costs", from_time=last, to_time=last + dt.timedelta(days=10))
        found = document["totals"]
        assert (found["requests"], found["users"], found["latency_ms"]["count"]) == (1, 1, 1)
        assert found["latency_ms"]["p50"] == pytest.approx(500, rel=0.01)
        condense_all(service)


def test_a_month_of_which_only_late_rows_are_left_is_neither_checked_nor_rebuilt(
    direct: Door, storage: Storage, fill: Fill
) -> None:
    service = direct.service()
    fill(service)
    archive(service, storage)
    store(service, usage_event())
    found = service.call("verify_rollups", from_time=NOON, to_time=NOON + dt.timedelta(days=20))
    assert isinstance(found, dict)
    assert (found["is_exact"], found["levels"]) == (True, {})
    rebuilt = service.call("rebuild_rollups", from_time=NOON, to_time=NOON + dt.timedelta(days=20))
    assert isinstance(rebuilt, dict)
    assert (rebuilt["days"], rebuilt["usage_rows"]) == (0, 0)
    document = service.call("get_costs", from_time=NOON, to_time=NOON + dt.timedelta(days=20))
    assert isinstance(document, dict)
    totals = document["totals"]
    assert isinstance(totals, dict)
    assert totals["requests"] == 6
