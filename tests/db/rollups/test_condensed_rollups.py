"""Coarse levels change how fast a page is read, never what it says."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.events import NOON, condense_all, performance_event, roll_up_all, usage_event

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door

PAGES = ("get_overview", "get_usage", "get_costs", "get_performance")
START = datetime(2026, 3, 20, 7, 13, tzinfo=UTC)


def fill(service: Database, count: int = 700) -> None:
    """Calls and requests of 60 days, many of them within two of these days."""
    rng = random.Random(5)
    usage, performance = [], []
    for _ in range(count):
        span = timedelta(days=60) if rng.random() < 0.5 else timedelta(days=2)
        moment = START + span * rng.random()
        status = rng.choice(["ok", "ok", "ok", "error", "cancelled"])
        usage.append(
            usage_event(
                created_at=moment,
                user_id=f"user_{rng.randrange(14)}",
                model=rng.choice(["gpt-4o", "gpt-4o-mini", "o4-mini"]),
                feature=rng.choice([None, "chat", "search"]),
                environment=rng.choice(["production", "staging"]),
                status=status,
                error_type="RateLimitError" if status == "error" else None,
                estimated_cost=str(Decimal(rng.randrange(10**6)).scaleb(-8)),
                latency_ms=rng.lognormvariate(6, 1),
                time_to_first_token_ms=rng.choice([None, rng.lognormvariate(5, 1)]),
            )
        )
        performance.append(
            performance_event(
                created_at=moment,
                route=rng.choice(["/chat", "/search"]),
                status_code=rng.choice([200, 200, 500]),
                latency_ms=rng.lognormvariate(5, 1),
                sample_weight=rng.choice([1, 2.5]),
            )
        )
    assert service.call("record_usage", events=usage) == count
    assert service.call("record_performance", events=performance) == count
    roll_up_all(service)


def rounded(document: Any) -> Any:
    """The document with floats to nine digits (sums come in another order) and without its time."""
    if isinstance(document, dict):
        return {key: rounded(value) for key, value in document.items() if key != "generated_at"}
    if isinstance(document, list):
        return [rounded(value) for value in document]
    return float(f"{document:.9g}") if isinstance(document, float) else document


FILTERS: list[dict[str, JsonValue]] = [
    {},
    {"timezone": "Asia/Kolkata"},
    {"timezone": "Asia/Kathmandu", "bucket": "day", "group_by": "feature"},
    {"timezone": "Europe/Berlin", "bucket": "week"},
    {"bucket": "month", "group_by": "user_id", "limit": 3},
    {"model": "gpt-4o", "group_by": "model"},
    {"model": ["gpt-4o", "o4-mini"], "group_by": "environment"},
    {"feature": ["chat", "search"], "environment": "staging"},
    {"status": "error", "group_by": "feature"},
    {"environment": "production", "group_by": "user_id", "bucket": "day"},
    {"user_id": ["user_1", "user_2"]},
]


@pytest.mark.parametrize("function", PAGES)
def test_a_page_says_the_same_before_and_after_its_levels_are_condensed(direct: Door, function: str) -> None:
    service = direct.service()
    fill(service)
    spans = [
        (START, timedelta(days=60)),
        (START, timedelta(hours=30)),
        (START + timedelta(minutes=7), timedelta(hours=14)),
        (START + timedelta(days=1), timedelta(days=5)),
    ]

    def documents() -> list[Any]:
        return [
            rounded(service.call(function, from_time=start, to_time=start + span, filters=filters))
            for start, span in spans
            for filters in FILTERS
        ]

    before = documents()
    assert before[0]["totals"]["requests"] > 600
    service.call("condense_rollups", max_hours=40)
    assert documents() == before  # some hours condensed, their days not
    condense_all(service)
    assert documents() == before


def test_a_late_call_is_on_the_page_before_its_hour_is_condensed_again(direct: Door) -> None:
    service = direct.service()
    fill(service, 20)
    condense_all(service)
    late: dict[str, Any] = {"from_time": START, "to_time": START + timedelta(days=60)}

    def totals() -> Any:
        document = service.call("get_overview", **late)
        assert isinstance(document, dict)
        return document["totals"]

    assert totals()["requests"] == 20
    service.call("record_usage", events=[usage_event(created_at=START + timedelta(days=30), user_id="late")])
    roll_up_all(service)
    assert (totals()["requests"], totals()["users"]) == (21, totals()["users"])
    condense_all(service)
    assert totals()["requests"] == 21


@pytest.mark.dated
def test_an_hour_that_is_still_open_waits_for_its_end(direct: Door) -> None:
    service = direct.service()
    # Of the hour to come: the present one may end before the next line.
    service.call("record_usage", events=[usage_event(created_at=datetime.now(UTC) + timedelta(hours=1))])
    roll_up_all(service)
    answer = service.call("condense_rollups")
    assert isinstance(answer, dict)
    assert (answer["hours"], answer["is_done"]) == (0, True)


def test_condensing_leaves_the_lock_to_an_increment_at_work(direct: Door) -> None:
    import psycopg

    service = direct.service()
    with psycopg.connect(direct.database.superuser_url) as busy:
        busy.execute("select pg_advisory_xact_lock(hashtextextended('treering.roll_up', 0))")
        answer = service.call("condense_rollups")
    assert isinstance(answer, dict)
    assert (answer["is_busy"], answer["is_done"]) == (True, False)


def test_the_users_of_a_line_and_the_others_add_up_to_the_total(direct: Door) -> None:
    service = direct.service()
    fill(service)
    condense_all(service)
    document = service.call(
        "get_costs", from_time=START, to_time=START + timedelta(days=60), filters={"group_by": "user_id"}
    )
    assert isinstance(document, dict)
    points: Any = document["series"]
    totals: Any = document["totals"]
    assert len({point["key"] for point in points}) == 9
    assert sum(point["requests"] for point in points) == totals["requests"]
    assert sum(Decimal(point["cost"]) for point in points if point["cost"]) == Decimal(totals["cost"])


def metadata_page(database: Database, function: str, span: timedelta, **metadata: JsonValue) -> Any:
    return database.call(function, from_time=NOON, to_time=NOON + span, filters={"metadata": metadata})


@pytest.mark.parametrize("function", PAGES)
def test_a_metadata_filter_reads_the_raw_calls(direct: Door, function: str) -> None:
    service = direct.service()
    service.call(
        "record_usage",
        events=[
            usage_event(metadata={"team": "red", "step": 1}, latency_ms=100.0),
            usage_event(metadata={"team": "red"}, latency_ms=300.0, user_id="user_b"),
            usage_event(metadata={"team": "blue"}),
            usage_event(),
        ],
    )
    roll_up_all(service)
    document = metadata_page(service, function, timedelta(hours=1), team="red")
    assert (document["totals"]["requests"], document["totals"].get("users", 2)) == (2, 2)
    assert document["totals"]["latency_ms"]["p50"] == pytest.approx(200, rel=0.01)
    assert document["totals"]["cost"] == "0.001750"
    assert sum(point["requests"] for point in document["series"]) == 2
    assert metadata_page(service, function, timedelta(hours=1), team="red", step=1)["totals"]["requests"] == 1
    assert metadata_page(service, function, timedelta(hours=1))["totals"]["requests"] == 4
    member = direct.viewer("user_b")
    assert metadata_page(member, function, timedelta(hours=1), team="red")["totals"]["requests"] == 1


@pytest.mark.parametrize(
    ("span", "metadata", "message"),
    [
        (timedelta(days=8), {"team": "red"}, "at most 7 days"),
        (timedelta(days=1), {"team": ["red"]}, "takes an object of texts, numbers and booleans"),
        (timedelta(days=1), "red", "takes an object of texts, numbers and booleans"),
    ],
)
def test_a_metadata_filter_that_would_read_too_much_is_refused(
    direct: Door, span: timedelta, metadata: JsonValue, message: str
) -> None:
    from ingest.errors import InvalidArgumentError

    with pytest.raises(InvalidArgumentError, match=message):
        direct.service().call("get_costs", from_time=NOON, to_time=NOON + span, filters={"metadata": metadata})


def test_a_metadata_filter_over_millions_of_calls_is_refused(direct: Door) -> None:
    from ingest.errors import InvalidArgumentError

    service = direct.service()
    service.call("record_usage", events=[usage_event()])
    roll_up_all(service)
    condense_all(service)
    direct.database.execute("update observability_internal.usage_by_hour set requests = 2000001")
    with pytest.raises(InvalidArgumentError, match="at most 2 million"):
        metadata_page(service, "get_costs", timedelta(days=1), team="red")
