from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ingest.local.demo import load_demo
from ingest.local.demo_traffic import route_events, usage_events
from ingest.local.demo_waste import PLANTED
from ingest.savings.reading import read_savings_plan
from tests.support.events import condense_all, roll_up_all

if TYPE_CHECKING:
    from ingest.database import Database

NOW = datetime(2026, 11, 23, 20, 30, tzinfo=UTC)
DAYS = 3


@pytest.fixture
def service(direct: Any) -> Database:
    database: Database = direct.service()
    return database


def load(database: Database, now: datetime = NOW, **options: Any) -> Any:
    return load_demo(database, now=now, fallback_model="gpt-4o", days=DAYS, **options)


def calls_between(start: datetime, end: datetime) -> int:
    return len(list(usage_events(start, end)))


def test_the_demo_is_stored_whole_and_told_apart_by_the_pages(service: Database) -> None:
    totals = load(service)
    start = NOW - timedelta(days=DAYS)
    assert totals.is_complete
    assert totals.calls == calls_between(start, NOW)
    assert totals.requests == len(list(route_events(start, NOW)))
    result: Any = service.call("roll_up")
    assert result["pending_batches"] == 0
    page: Any = service.call("get_costs", from_time=start, to_time=NOW)
    assert page["has_demo_data"] is True
    assert page["totals"]["requests"] == totals.calls
    assert page["totals"]["unpriced_requests"] > 0
    assert float(page["totals"]["cost"]) > 0


def test_loading_again_adds_nothing_and_later_only_what_happened_since(service: Database) -> None:
    load(service)
    assert load(service).calls == 0
    later = NOW + timedelta(hours=5)
    assert load(service, later).calls == calls_between(NOW, later)


def test_an_interrupted_load_is_completed_by_the_next(service: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.local.demo.BATCH_SIZE", 100)
    sent: list[int] = []
    first = load(service, on_progress=sent.append, should_stop=lambda: bool(sent) and sent[-1] >= 1500)
    assert not first.is_complete
    assert first.calls > 0
    second = load(service)
    assert second.is_complete
    assert first.calls + second.calls == calls_between(NOW - timedelta(days=DAYS), NOW)


def test_the_plan_finds_what_was_planted_and_comes_to_about_forty_percent(service: Database) -> None:
    load_demo(service, now=NOW, fallback_model="gpt-4o", days=11)
    roll_up_all(service)
    condense_all(service)
    plan = read_savings_plan(service, to_time=NOW)
    assert plan.days == 11
    found = {(one.kind, one.feature) for one in plan.suggestions}
    # A snapshot is used by whatever feature: the suggestion is about the model.
    assert {(kind, None if kind == "cheaper_snapshot" else feature) for kind, feature in PLANTED.items()} <= found
    assert Decimal("0.35") < plan.total() / plan.spend_per_month < Decimal("0.45")
