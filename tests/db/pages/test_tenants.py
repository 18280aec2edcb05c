"""Figures by tenant and by tag: each filter and each breakdown against sums made in Python, and who may see them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ingest.errors import InvalidArgumentError, PermissionDeniedError
from tests.support.events import condense_all, roll_up_all, usage_event
from tests.support.rollups import differences

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door
    from tests.support.lending import Lender
    from tests.support.servers import TestDatabase

START = datetime(2026, 5, 4, tzinfo=UTC)
DAYS = 9
END = START + timedelta(days=DAYS)
Event = dict[str, Any]
TAGS: list[JsonValue] = [None, {"plan": "pro"}, {"plan": "free", "team": "a b"}]


def some_events(count: int = 400) -> list[Event]:
    """Calls of some users for some tenants: one user works for two of them, and some calls have none."""
    rng = random.Random(7)
    events = []
    for _ in range(count):
        user, tenant = rng.choice([("ann", "acme"), ("ann", "bolt"), ("bob", "acme"), ("cyn", None), ("dan", "bolt")])
        events.append(
            usage_event(
                created_at=START + timedelta(seconds=rng.randrange(DAYS * 86400)),
                user_id=user,
                tenant_id=tenant,
                tags=rng.choice(TAGS),
                model=rng.choice(["gpt-4o", "o4-mini"]),
                feature=rng.choice(["chat", "search"]),
                estimated_cost=str(Decimal(rng.randrange(1, 10**9)) / 10**10),
                status=rng.choice(["ok", "ok", "ok", "error"]),
            )
        )
    return events


EVENTS = some_events()


@pytest.fixture(scope="module")
def shared_database(shared_database: TestDatabase, lender: Lender) -> TestDatabase:
    from tests.support.doors import Door

    door = Door("postgres", shared_database, lender.api)
    service = door.service()
    assert service.call("record_usage", events=EVENTS) == len(EVENTS)
    roll_up_all(service)
    condense_all(service)
    service.call("add_member", user_id="olga", role="analyst")
    service.call("add_member", user_id="tess", role="tenant", tenant_id="acme")
    door.close()
    return shared_database


def key_of(event: Event, dimension: str) -> str:
    name = dimension.removeprefix("tags.")
    source = (event["tags"] or {}) if name != dimension else event
    return source.get(name) or ""


def cost_by(events: list[Event], dimension: str) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for event in events:
        key = key_of(event, dimension)
        sums[key] = sums.get(key, Decimal(0)) + Decimal(event["estimated_cost"])
    return sums


def costs(rows: list[dict[str, Any]]) -> dict[str, Decimal]:
    return {row["key"]: Decimal(row["cost"]) for row in rows}


def read(database: Database, function: str, **filters: JsonValue) -> dict[str, Any]:
    document = database.call(function, from_time=START, to_time=END, filters=filters)
    assert isinstance(document, dict)
    return document


FILTERS: list[tuple[dict[str, JsonValue], Callable[[Event], bool]]] = [
    ({"tenant_id": "acme"}, lambda event: event["tenant_id"] == "acme"),
    ({"tenant_id": ["acme", "bolt"]}, lambda event: event["tenant_id"] is not None),
    ({"tenant_id": ""}, lambda event: event["tenant_id"] is None),
    ({"tags": {"plan": "pro"}}, lambda event: key_of(event, "tags.plan") == "pro"),
    ({"tags": {"plan": ["", "pro"]}}, lambda event: key_of(event, "tags.plan") in ("", "pro")),
    ({"tags": {"plan": "free", "team": "a b"}, "tenant_id": "bolt"},
     lambda event: event["tenant_id"] == "bolt" and key_of(event, "tags.team") == "a b"),
    ({"tenant_id": "acme", "user_id": "ann", "model": "gpt-4o"},
     lambda event: (event["tenant_id"], event["user_id"], event["model"]) == ("acme", "ann", "gpt-4o")),
    ({"tenant_id": "nobody"}, lambda _: False),
]  # fmt: skip


def test_the_rollups_hold_what_the_calls_add_up_to(unchanged_database: TestDatabase) -> None:
    assert differences(unchanged_database) == []


@pytest.mark.parametrize(("filters", "is_left"), FILTERS)
def test_a_filter_by_tenant_or_tag_leaves_its_calls_on_every_page(
    shared_door: Door, filters: dict[str, JsonValue], is_left: Callable[[Event], bool]
) -> None:
    analyst = shared_door.viewer("olga")
    left = [event for event in EVENTS if is_left(event)]
    total = sum((Decimal(event["estimated_cost"]) for event in left), Decimal(0))
    for function in ("get_overview", "get_usage", "get_costs", "get_performance"):
        totals = read(analyst, function, **filters)["totals"]
        assert (totals["requests"], Decimal(totals["cost"])) == (len(left), total)
        assert totals["latency_ms"]["count"] == len(left)
    assert read(analyst, "get_usage", **filters)["totals"]["users"] == len({event["user_id"] for event in left})
    page = read(analyst, "get_events", limit=1000, **filters)
    newest_first = sorted(left, key=lambda event: (event["created_at"], event["event_id"]), reverse=True)
    assert [event["event_id"] for event in page["events"]] == [event["event_id"] for event in newest_first]
    dearest = read(analyst, "get_events", order="cost", limit=1000, **filters)
    assert {event["event_id"] for event in dearest["events"]} == {event["event_id"] for event in left}


@pytest.mark.parametrize("dimension", ["tenant_id", "tags.plan", "tags.team", "user_id"])
def test_the_rows_of_a_breakdown_add_up_to_the_total_to_the_last_digit(shared_door: Door, dimension: str) -> None:
    analyst = shared_door.viewer("olga")
    expected = cost_by(EVENTS, dimension)
    document = analyst.call("get_cost_breakdown", from_time=START, to_time=END, group_by=dimension)
    assert isinstance(document, dict)
    assert costs(document["rows"]) == expected  # type: ignore[arg-type]
    page = read(analyst, "get_costs", group_by=dimension)
    kept = {"tenant_id": page["by_tenant"], "user_id": page["by_user"]}
    assert costs(kept.get(dimension) or page["by_tag"][dimension.removeprefix("tags.")]) == expected
    assert sum(expected.values()) == Decimal(page["totals"]["cost"])
    drawn: dict[str, Decimal] = {}
    for series in (page["series"], read(analyst, "get_series", group_by=dimension, bucket="day")["series"]):
        drawn = {}
        for point in series:
            drawn[point["key"]] = drawn.get(point["key"], Decimal(0)) + Decimal(point["cost"])
        assert drawn == expected


def test_the_scope_of_a_rule_is_a_filter_too(shared_direct: Door) -> None:
    # As budgets and anomalies ask for their series.
    analyst = shared_direct.viewer("olga")
    scope: dict[str, JsonValue] = {"tenant_id": ["acme"], "tags.plan": ["pro"]}
    left = [event for event in EVENTS if (event["tenant_id"], key_of(event, "tags.plan")) == ("acme", "pro")]
    assert read(analyst, "get_costs", **scope)["totals"]["requests"] == len(left)
    assert len(read(analyst, "get_events", limit=1000, **scope)["events"]) == len(left)


def test_few_rows_leave_the_rest_as_one(shared_direct: Door) -> None:
    page = read(shared_direct.viewer("olga"), "get_usage", limit=1)
    (first, rest) = page["by_tenant"]
    expected = sorted(cost_by(EVENTS, "tenant_id").items(), key=lambda item: -item[1])
    assert (first["key"], Decimal(first["cost"])) == expected[0]
    assert (rest["is_other"], rest["keys"], Decimal(rest["cost"])) == (True, 2, expected[1][1] + expected[2][1])
    assert page["options"]["tenants"] == ["acme", "bolt"]
    assert page["options"]["tags"] == {"plan": ["free", "pro"], "team": ["a b"]}


@pytest.mark.parametrize("filters", [{"tags": "pro"}, {"tags": {"plan": 1}}, {"tenant_id": 7}, {"group_by": "tags."}])
def test_a_filter_of_another_shape_is_refused(shared_direct: Door, filters: dict[str, JsonValue]) -> None:
    for function in ("get_usage", "get_events"):
        with pytest.raises(InvalidArgumentError):
            read(shared_direct.viewer("olga"), function, **filters)


@pytest.mark.parametrize("claims", [{}, {"treering_tenant": "acme"}])
def test_a_tenant_sees_its_calls_of_all_users_and_no_others(shared_door: Door, claims: dict[str, str]) -> None:
    # By a row in `members`, or by the claim of a token, which narrows an analyst too.
    person = shared_door.viewer("olga" if claims else "tess", **claims)
    own = [event for event in EVENTS if event["tenant_id"] == "acme"]
    total = sum(Decimal(event["estimated_cost"]) for event in own)
    for function in ("get_overview", "get_usage", "get_costs", "get_performance"):
        document = read(person, function)
        assert document["access"] == "tenant"
        assert (document["totals"]["requests"], Decimal(document["totals"]["cost"])) == (len(own), total)
        assert document["options"]["tenants"] == ["acme"]
    usage = read(person, "get_usage", group_by="user_id")
    assert costs(usage["by_user"]) == cost_by(own, "user_id")
    assert costs(usage["by_tenant"]) == cost_by(own, "tenant_id")
    assert {point["key"] for point in usage["series"]} == {"ann", "bob"}
    page = read(person, "get_events", limit=1000)
    assert {event["event_id"] for event in page["events"]} == {event["event_id"] for event in own}
    daily = person.call("get_daily_cost", from_time=START, to_time=END)
    assert isinstance(daily, dict)
    assert (daily["tenant_id"], Decimal(str(daily["cost"]))) == ("acme", total)
    for filters in ({"tenant_id": "bolt"}, {"tenant_id": ["acme", ""]}):
        with pytest.raises(PermissionDeniedError):
            read(person, "get_usage", **filters)
        assert read(person, "get_events", **filters, limit=1000)["events"] == page["events"]


def test_a_member_sees_the_own_calls_of_every_tenant(shared_direct: Door) -> None:
    own = [event for event in EVENTS if event["user_id"] == "ann"]
    page = read(shared_direct.viewer("ann"), "get_costs")
    assert costs(page["by_tenant"]) == cost_by(own, "tenant_id")
    assert page["totals"]["users"] == 1


def test_a_token_that_names_no_tenant_is_a_stranger(shared_direct: Door) -> None:
    with pytest.raises(PermissionDeniedError):
        read(shared_direct.viewer("ann", treering_tenant=""), "get_usage")
