"""The running month, the hours of the week, and what else the pages are told beside their sums."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from tests.support.clockwork import Clockwork, at, call
from tests.support.events import NOON, store, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database
    from tests.support.doors import Door


@pytest.mark.dated
def test_the_month_is_read_at_once_in_the_viewers_zone(direct: Door) -> None:
    service = direct.service()
    zone = ZoneInfo("Asia/Kolkata")
    midnight = datetime.now(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight.replace(day=1)
    calls = {midnight: 1, first - timedelta(seconds=1): 100, first + timedelta(seconds=1): 10}
    store(
        service,
        *(usage_event(created_at=moment.astimezone(UTC), estimated_cost=str(cost)) for moment, cost in calls.items()),
    )
    document: Any = service.call("get_month", filters={"timezone": "Asia/Kolkata"})
    nothing: Any = service.call("get_month", filters={"timezone": "Asia/Kolkata", "model": "gpt-none"})
    # A day and a month may have ended since the calls were made up.
    today = datetime.fromisoformat(document["generated_at"]).astimezone(zone).date()
    spent_today = sum(cost for moment, cost in calls.items() if moment.date() == today)
    spent_this_month = sum(cost for moment, cost in calls.items() if moment.date() >= today.replace(day=1))
    assert Decimal(document["today"]["cost"]) == spent_today
    assert Decimal(document["month"]["cost"]) == spent_this_month
    days = {
        datetime.fromisoformat(one["bucket_start"]).astimezone(zone).date(): Decimal(one["cost"])
        for one in document["series"]
    }
    assert sum(cost for day, cost in days.items() if day >= today.replace(day=1)) == spent_this_month
    assert sum(days.values()) == 111
    assert (nothing["today"]["cost"], nothing["month"]["cost"], nothing["series"]) == ("0", "0", [])


@pytest.mark.dated
def test_a_budget_stands_beside_the_month_with_what_it_has_spent(
    service_db: Database, viewer: Callable[[str], Database]
) -> None:
    service_db.call("add_member", user_id="user_a", role="member")
    budget: dict[str, Any] = {"name": "Chat", "amount": "2", "period": "day", "steps": ["0.5"], "channels": []}
    service_db.call("save_budget", budget=budget | {"scope": {"feature": ["chat"]}})
    store(
        service_db,
        usage_event(created_at=datetime.now(UTC), estimated_cost="1.5", feature="chat"),
        usage_event(created_at=datetime.now(UTC), estimated_cost="7", feature="search"),
    )

    everything: Any = service_db.call("get_month", filters={})
    own: Any = viewer("user_a").call("get_month", filters={})
    unknown: Any = service_db.call("get_month", filters={"metadata": {"plan": "pro"}})

    (found,) = everything["budgets"]
    assert (found["name"], found["amount"], found["spent"]) == ("Chat", "2", "1.5")
    assert (own["budgets"], own["month"]["cost"]) == ([], "8.5")
    assert (unknown["month"]["cost"], unknown["series"]) == (None, [])


def test_two_rules_of_a_budget_in_breach_are_one_matter(direct: Door) -> None:
    clock = Clockwork(direct.service())
    budget = {"name": "All", "amount": "1", "period": "month", "steps": ["0.5"], "forecast_step": "1", "channels": []}
    clock.ask("save_budget", budget=budget)
    clock.record(call(0, cost="0.95"))
    clock.evaluate(60)
    clock.evaluate(60 + 12 * 3600)  # as long as a forecast must hold

    overview = clock.ask("get_overview", from_time=at(-3600), to_time=at(3600))

    assert len(clock.alerts()["firing"]) == 2
    assert overview["firing_alerts"] == 1


def test_hours_of_the_week_are_those_of_the_viewers_clock(direct: Door) -> None:
    service = direct.service()
    late = datetime(2026, 5, 4, 23, 30, tzinfo=UTC)  # a Monday; Tuesday 01:30 in Berlin
    store(
        service,
        usage_event(created_at=late, estimated_cost="1"),
        usage_event(created_at=late - timedelta(days=7), estimated_cost="2"),
        usage_event(created_at=late - timedelta(hours=2), estimated_cost=None, cost_source="unpriced"),
    )
    window = {"from_time": late - timedelta(days=100), "to_time": late + timedelta(hours=1)}

    berlin: Any = service.call("get_hours", **window, filters={"timezone": "Europe/Berlin"})
    one: Any = service.call("get_hours", **window, filters={"timezone": "UTC", "user_id": "user_a"})

    assert berlin["hours"] == [
        {"weekday": 1, "hour": 23, "requests": 1, "cost": None},
        {"weekday": 2, "hour": 1, "requests": 2, "cost": "3"},
    ]
    assert [(hour["weekday"], hour["hour"], hour["cost"]) for hour in one["hours"]] == [(1, 21, None), (1, 23, "3")]


def test_a_page_tells_when_data_begin_and_tokens_by_kind_and_fees(
    service_db: Database, viewer: Callable[[str], Database]
) -> None:
    service_db.call("add_member", user_id="user_b", role="member")
    store(
        service_db,
        usage_event(cached_tokens=100, reasoning_tokens=20, request_fees="0.0003"),
        usage_event(
            created_at=NOON + timedelta(minutes=20),
            user_id="user_b",
            model="llama",
            estimated_cost=None,
            cost_source="unpriced",
        ),
    )
    window = {"from_time": NOON, "to_time": NOON + timedelta(hours=1)}

    page: Any = service_db.call("get_costs", **window)
    own: Any = viewer("user_b").call("get_costs", **window)

    assert datetime.fromisoformat(page["data_begin_at"]) == NOON
    assert datetime.fromisoformat(page["previous_from"]) == NOON - timedelta(hours=1)
    assert datetime.fromisoformat(own["data_begin_at"]) == NOON + timedelta(minutes=15), "by quarters of an hour"
    (kinds,) = page["token_kinds"]
    assert (kinds["model"], kinds["prompt_tokens"], kinds["cached_tokens"], kinds["reasoning_tokens"]) == (
        "gpt-4o", 150, 100, 20,
    )  # fmt: skip
    assert kinds["cost"] == "0.000875"
    assert page["model_fees"] == [{"provider": "openai", "model": "gpt-4o", "fees": "0.0003"}]
    assert own["token_kinds"] == []
    assert own["model_fees"] is None, "prices are not a member's to see"
    narrowed: Any = service_db.call("get_costs", **window, filters={"feature": ["other"]})
    assert narrowed["model_fees"] == []
