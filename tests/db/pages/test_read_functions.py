"""The documents of the pages: exact sums, local days, filters, and what is refused."""

from __future__ import annotations

import datetime as dt
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from ingest.errors import InvalidArgumentError
from tests.support.events import NOON, performance_event, roll_up_all, store, usage_event

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door

PAGES = ("get_overview", "get_usage", "get_costs", "get_performance")


def page(database: Database, function: str, start: datetime, span: timedelta, **filters: JsonValue) -> dict[str, Any]:
    document = database.call(function, from_time=start, to_time=start + span, filters=filters)
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("function", PAGES)
def test_a_page_sums_exactly_what_was_stored(service_db: Database, function: str) -> None:
    store(
        service_db,
        usage_event(cached_tokens=100, reasoning_tokens=20),
        usage_event(
            status="error", error_type="RateLimitError", prompt_tokens=0, completion_tokens=0, estimated_cost="0"
        ),
        usage_event(status="cancelled", usage_source="tokenizer", user_id="user_b"),
        usage_event(model="llama-local", estimated_cost=None, cost_source="unpriced"),
        usage_event(model="mystery", estimated_cost="0.1", cost_source="fallback"),
        usage_event(model="router", estimated_cost="0.2", cost_source="provider"),
    )
    totals = page(service_db, function, NOON, timedelta(hours=1))["totals"]
    latency = totals.pop("latency_ms")
    totals.pop("time_to_first_token_ms")
    assert totals == {
        "requests": 6,
        "prompt_tokens": 750,
        "completion_tokens": 250,
        "total_tokens": 1000,
        "cached_tokens": 100,
        "cache_write_tokens": 0,
        "reasoning_tokens": 20,
        "audio_input_tokens": 0,
        "audio_output_tokens": 0,
        "errors": 1,
        "cancelled": 1,
        "cost": "0.201750",
        "wholly_priced_cost": "0.201750",
        "wholly_priced_tokens": 600,
        "fallback_cost": "0.1",
        "provider_reported_cost": "0.2",
        "unpriced_requests": 1,
        "fallback_requests": 1,
        "estimated_requests": 1,
        # Counting people takes longer than all the rest of the Performance page, which does not show them.
        **({} if function == "get_performance" else {"users": 2}),
    }
    assert latency["count"] == 6


@pytest.mark.parametrize("function", PAGES)
def test_a_page_without_a_call_cost_nothing(shared_db: Database, function: str) -> None:
    document = page(shared_db, function, NOON, timedelta(days=1))
    assert document["totals"]["requests"] == 0
    assert document["totals"]["cost"] == "0", "known, other than the cost of calls without a price"
    assert document["totals"]["latency_ms"] == {"count": 0, "p50": None, "p90": None, "p99": None}
    assert document["series"] == []
    assert document["newest_event_at"] is None
    assert document["has_demo_data"] is False


def test_both_doors_give_the_same_document(direct: Door) -> None:
    from tests.support.doors import Door as AnyDoor

    store(direct.service(), usage_event(), usage_event(feature=None, estimated_cost="0.00000015"))
    other = AnyDoor("postgrest", direct.database)
    try:
        for function in (*PAGES, "get_events"):
            left = page(direct.service(), function, NOON, timedelta(hours=1))
            right = page(other.service(), function, NOON, timedelta(hours=1))
            left.pop("generated_at", None)
            right.pop("generated_at", None)
            assert left == right
    finally:
        other.close()


def test_the_period_before_is_beside_the_totals_and_each_row(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(), usage_event(created_at=NOON - timedelta(hours=1), estimated_cost="0.5"))
    document = page(service, "get_costs", NOON, timedelta(hours=1))
    assert (document["totals"]["cost"], document["previous"]["cost"]) == ("0.000875", "0.5")
    (row,) = document["by_model"]
    assert (row["key"], row["cost"], row["previous_cost"]) == ("gpt-4o", "0.000875", "0.5")


def test_rows_beyond_the_limit_are_one_row_for_the_others(direct: Door) -> None:
    service = direct.service()
    store(service, *[usage_event(model=f"model-{n}", estimated_cost=str(n)) for n in range(1, 6)])
    document = page(service, "get_costs", NOON, timedelta(hours=1), limit=2)
    rows = [(row["key"], row["is_other"], row["cost"], row["keys"]) for row in document["by_model"]]
    assert rows == [("model-5", False, "5", 1), ("model-4", False, "4", 1), (None, True, "6", 3)]


def test_usage_names_what_used_most_tokens_although_it_cost_nothing_known(service_db: Database) -> None:
    free = {"estimated_cost": None, "cost_source": "unpriced", "prompt_tokens": 9_000, "completion_tokens": 0}
    store(
        service_db,
        usage_event(model="local-llama", feature="ingest", user_id="job", tenant_id="acme", **free),
        *[
            usage_event(model=f"dear-{n:02}", feature=f"f-{n:02}", user_id=f"u-{n:02}", tenant_id=f"t-{n:02}")
            for n in range(9)
        ],
    )
    document = page(service_db, "get_usage", NOON, timedelta(hours=1), limit=2)
    firsts = {name: document[name][0]["key"] for name in ("by_model", "by_feature", "by_user", "by_tenant")}
    assert firsts == {"by_model": "local-llama", "by_feature": "ingest", "by_user": "job", "by_tenant": "acme"}
    for group, key in (("model", "local-llama"), ("user_id", "job"), ("tenant_id", "acme")):
        series = page(service_db, "get_usage", NOON, timedelta(hours=1), group_by=group)["series"]
        assert {point["key"]: point["total_tokens"] for point in series}[key] == 9_000
    costs = page(service_db, "get_costs", NOON, timedelta(hours=1), limit=2)
    assert [row["key"] for row in costs["by_model"]] == ["dear-00", "dear-01", None]


def test_a_line_has_the_eight_costliest_keys_and_one_for_the_others(direct: Door) -> None:
    service = direct.service()
    store(service, *[usage_event(model=f"model-{n:02}", estimated_cost=str(n)) for n in range(1, 13)])
    points = page(service, "get_costs", NOON, timedelta(hours=1))["series"]
    assert [(point["key"], point["cost"]) for point in points if point["key"] is None] == [(None, "10")]
    assert len(points) == 9


@pytest.mark.parametrize(
    ("zone", "local_day"),
    [
        ("Asia/Kolkata", dt.date(2026, 5, 4)),
        ("Asia/Kathmandu", dt.date(2026, 5, 4)),
        ("America/St_Johns", dt.date(2026, 5, 4)),
        ("Europe/Berlin", dt.date(2026, 3, 29)),  # 23 hours
        ("Europe/Berlin", dt.date(2026, 10, 25)),  # 25 hours
        ("America/New_York", dt.date(2026, 11, 1)),
    ],
)
@pytest.mark.parametrize("user_id", [None, "user_a"])
def test_a_local_day_holds_exactly_its_own_calls(
    direct: Door, zone: str, local_day: dt.date, user_id: str | None
) -> None:
    service = direct.service()
    midnight = datetime.combine(local_day, dt.time(), ZoneInfo(zone)).astimezone(UTC)
    next_midnight = datetime.combine(local_day + timedelta(days=1), dt.time(), ZoneInfo(zone)).astimezone(UTC)
    second = timedelta(seconds=1)
    for moment, cost in (
        (midnight - second, "1"),
        (midnight, "10"),
        (next_midnight - second, "100"),
        (next_midnight, "1000"),
    ):
        store(service, usage_event(created_at=moment, estimated_cost=cost))
    filters: dict[str, JsonValue] = {"timezone": zone, "bucket": "day"}
    if user_id is not None:
        filters["user_id"] = user_id
    start, end = midnight - timedelta(days=3), next_midnight + timedelta(days=3)
    document = page(service, "get_overview", start, end - start, **filters)
    costs = {datetime.fromisoformat(point["bucket_start"]): Decimal(point["cost"]) for point in document["series"]}
    assert costs == {
        datetime.combine(local_day - timedelta(days=1), dt.time(), ZoneInfo(zone)).astimezone(UTC): Decimal(1),
        midnight: Decimal(110),
        next_midnight: Decimal(1000),
    }
    only_that_day = page(service, "get_overview", midnight, next_midnight - midnight, **filters)
    assert only_that_day["totals"]["cost"] == "110"


def test_every_bucket_holds_the_whole_total(direct: Door) -> None:
    service = direct.service()
    store(service, *[usage_event(created_at=NOON + timedelta(minutes=7 * n)) for n in range(10)])
    for bucket in ("minute", "5 minutes", "15 minutes", "hour", "day", "week", "month"):
        document = page(service, "get_overview", NOON, timedelta(hours=2), bucket=bucket, timezone="Asia/Kathmandu")
        requests = sum(point["requests"] for point in document["series"])
        assert (document["bucket"], requests) == (bucket, 10)


@pytest.mark.parametrize(
    ("span", "bucket"),
    [
        (timedelta(hours=1), "minute"),
        (timedelta(hours=12), "5 minutes"),
        (timedelta(days=1), "15 minutes"),
        (timedelta(days=7), "hour"),
        (timedelta(days=31), "day"),
        (timedelta(days=90), "day"),
        (timedelta(days=400), "week"),
    ],
)
def test_the_bucket_fits_the_range(shared_direct: Door, span: timedelta, bucket: str) -> None:
    assert page(shared_direct.service(), "get_overview", NOON, span)["bucket"] == bucket


FILTERED: list[tuple[dict[str, JsonValue], int]] = [
    ({"model": "gpt-4o"}, 2),
    ({"model": ["gpt-4o", "o4-mini"]}, 3),
    ({"feature": "search"}, 1),
    ({"provider": "azure"}, 1),
    ({"environment": "staging"}, 1),
    ({"status": "error"}, 1),
    ({"user_id": "user_b"}, 1),
    ({"user_id": ["user_a", "user_b"], "model": "gpt-4o"}, 2),
    ({"model": "nothing-like-it"}, 0),
    ({"model": []}, 3),
]


@pytest.mark.parametrize("function", PAGES)
def test_filters_leave_what_they_name(direct: Door, function: str) -> None:
    service = direct.service()
    store(
        service,
        usage_event(),
        usage_event(provider="azure", feature="search", status="error", user_id="user_b"),
        usage_event(model="o4-mini", environment="staging"),
    )
    for filters, requests in FILTERED:
        found = page(service, function, NOON, timedelta(hours=1), **filters)["totals"]["requests"]
        assert (filters, found) == (filters, requests)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"colour": "gpt-4o"}, "unknown filter colour"),
        ({"model": 7}, "takes a text or a list of texts"),
        ({"model": [7]}, "takes a text or a list of texts"),
        ({"model": ["m"] * 201}, "at most 200 values"),
        ({"timezone": "Mars/Olympus"}, "unknown time zone"),
        ({"bucket": "second"}, "bucket is minute"),
        ({"group_by": "colour"}, "group_by is model"),
        ({"limit": 0}, "limit is from 1 to 1000"),
        ({"limit": "many"}, "limit is from 1 to 1000"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(
    shared_db: Database, filters: dict[str, JsonValue], message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        page(shared_db, "get_overview", NOON, timedelta(hours=1), **filters)


@pytest.mark.parametrize("span", [timedelta(0), timedelta(hours=-1), timedelta(days=401)])
@pytest.mark.parametrize("function", [*PAGES, "get_events"])
def test_an_inverted_or_endless_range_is_refused(shared_direct: Door, function: str, span: timedelta) -> None:
    with pytest.raises(InvalidArgumentError, match="the range must begin before it ends"):
        page(shared_direct.service(), function, NOON, span)


def test_a_bucket_too_fine_for_the_range_is_refused(shared_direct: Door) -> None:
    with pytest.raises(InvalidArgumentError, match="too fine"):
        page(shared_direct.service(), "get_overview", NOON, timedelta(days=90), bucket="minute")


def test_usage_can_be_grouped_by_user(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(), usage_event(user_id="user_b", prompt_tokens=1000))
    points = page(service, "get_usage", NOON, timedelta(hours=1), group_by="user_id")["series"]
    assert {point["key"]: point["prompt_tokens"] for point in points} == {"user_a": 150, "user_b": 1000}


def test_errors_are_counted_by_type(direct: Door) -> None:
    service = direct.service()
    store(
        service,
        usage_event(status="error", error_type="RateLimitError"),
        usage_event(status="error", error_type="RateLimitError"),
        usage_event(status="error"),
        usage_event(),
    )
    assert page(service, "get_performance", NOON, timedelta(hours=1))["errors_by_type"] == [
        {"error_type": "RateLimitError", "requests": 2},
        {"error_type": "unknown", "requests": 1},
    ]


def test_routes_are_listed_slowest_first_with_their_errors(direct: Door) -> None:
    service = direct.service()
    events = [
        performance_event(),
        performance_event(route="/slow", latency_ms=5000.0, status_code=500),
        performance_event(route="/other", environment="staging", latency_ms=9000.0),
    ]
    service.call("record_performance", events=events)
    roll_up_all(service)
    routes = page(service, "get_performance", NOON, timedelta(days=3), environment="production")["routes"]
    assert [(row["key"], row["method"], row["requests"], row["errors"]) for row in routes["by_route"]] == [
        ("/slow", "POST", 1, 1),
        ("/chat", "POST", 1, 0),
    ]
    assert (routes["requests"], routes["errors"], len(routes["series"])) == (2, 1, 1)


def test_the_explorer_pages_through_every_call_once(service_db: Database) -> None:
    events = [usage_event(created_at=NOON + timedelta(seconds=n // 3)) for n in range(25)]
    assert service_db.call("record_usage", events=events) == 25
    seen: list[str] = []
    cursor: str | None = None
    while True:
        filters: dict[str, JsonValue] = {"limit": 10}
        if cursor is not None:
            filters["cursor"] = cursor
        document = page(service_db, "get_events", NOON, timedelta(hours=1), **filters)
        seen += [event["event_id"] for event in document["events"]]
        cursor = document["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == 25
    assert set(seen) == {event["event_id"] for event in events}


def test_the_explorer_refuses_a_cursor_of_somebody_elses_making(direct: Door) -> None:
    with pytest.raises(InvalidArgumentError, match="the cursor is not one"):
        page(direct.service(), "get_events", NOON, timedelta(hours=1), cursor="1; drop table")


def test_the_explorer_keeps_every_digit_of_a_cost(service_db: Database) -> None:
    service_db.call("record_usage", events=[usage_event(estimated_cost="0.0000001500000000000000001")])
    (event,) = page(service_db, "get_events", NOON, timedelta(hours=1))["events"]
    assert event["estimated_cost"] == "0.0000001500000000000000001"


def test_status_tells_what_waits_and_what_was_rejected(service_db: Database) -> None:
    service_db.call("record_usage", events=[usage_event(), usage_event(user_id=None)])
    service_db.call("record_heartbeat", worker="w1", details={"jobs": {}})
    assert service_db.call("acquire_lease", name="worker", holder="w1", ttl_s=15) is True
    assert service_db.call("acquire_lease", name="worker", holder="w2", ttl_s=15) is False
    status = service_db.call("get_status")
    assert isinstance(status, dict)
    assert (status["pending_batches"], status["pending_rows"], status["rejected_events"]) == (1, 1, 1)
    workers = status["workers"]
    assert isinstance(workers, list)
    assert [(worker["worker"], worker["is_leader"]) for worker in workers if isinstance(worker, dict)] == [("w1", True)]
    assert service_db.call("release_lease", name="worker", holder="w1") is True
    assert service_db.call("acquire_lease", name="worker", holder="w2", ttl_s=15) is True
