"""Raw calls by keyset pages: every filter, whichever way the database finds them, and each call once."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ingest.errors import InvalidArgumentError
from tests.support.events import NOON, condense_all, roll_up_all, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door

HOURS = 50
SPAN = timedelta(hours=HOURS)
Event = dict[str, Any]
NOWHERE = "00000000-0000-0000-0000-000000000000"
METADATA: list[JsonValue] = [None, {"plan": "pro", "seats": 5}, {"plan": "free", "beta": True}]


def some_events(count: int = 240) -> list[Event]:
    """Calls over two days in a random order of arrival, many of them at the same moment."""
    rng = random.Random(5)
    moments = [NOON + timedelta(seconds=rng.randrange(HOURS * 3600)) for _ in range(count // 3)]
    return [
        usage_event(
            created_at=rng.choice(moments),
            user_id=rng.choice(["user_a", "user_b", "user_c"]),
            model=rng.choice(["gpt-4o", "gpt-4o", "o4-mini"]),
            provider=rng.choice(["openai", "azure"]),
            feature=rng.choice(["chat", "search", None]),
            environment=rng.choice(["production", "staging"]),
            operation=rng.choice(["chat", "embeddings"]),
            session_id=rng.choice(["s1", "s2", None]),
            **rng.choice([{}, {}, {"status": "error", "error_type": "timeout"}, {"status": "error"}]),
            metadata=rng.choice(METADATA),
        )
        for _ in range(count)
    ]


def pages(database: Database, filters: dict[str, JsonValue], limit: int = 17) -> list[list[Event]]:
    """All pages, as the app reads them."""
    found: list[list[Event]] = []
    cursor: JsonValue = None
    while True:
        chosen: dict[str, JsonValue] = {"limit": limit, **filters}
        if cursor is not None:
            chosen["cursor"] = cursor
        document = database.call("get_events", from_time=NOON, to_time=NOON + SPAN, filters=chosen)
        assert isinstance(document, dict)
        events = document["events"]
        assert isinstance(events, list)
        found.append([event for event in events if isinstance(event, dict)])
        cursor = document["next_cursor"]
        if cursor is None:
            return found


def ids(found: list[list[Event]]) -> list[str]:
    return [str(event["event_id"]) for page in found for event in page]


def wanted(events: list[Event], **filters: JsonValue) -> list[str]:
    """What the filters leave, newest first, found without the database."""
    left = []
    for event in events:
        is_left = True
        for name, values in filters.items():
            default = {"status": "ok"}.get(name)
            value = event.get(name, default)
            if name == "metadata":
                assert isinstance(values, dict)
                is_left &= value is not None and values.items() <= value.items()
            else:
                is_left &= value in (values if isinstance(values, list) else [values])
        if is_left:
            left.append(event)
    left.sort(key=lambda event: (str(event["created_at"]), str(event["event_id"])), reverse=True)
    return [str(event["event_id"]) for event in left]


FILTERS: list[dict[str, JsonValue]] = [
    {},
    {"model": "o4-mini"},
    {"provider": ["azure"], "feature": "chat"},
    {"environment": "staging", "operation": "embeddings", "status": "error"},
    {"error_type": "timeout"},
    {"error_type": ["timeout"], "model": "gpt-4o"},
    {"error_type": "never"},
    {"session_id": "s1"},
    {"session_id": ["s1", "s2"], "model": "gpt-4o"},
    {"user_id": "user_a"},
    {"user_id": ["user_a", "user_c", "user_a", "user_nobody"], "status": "error"},
    {"metadata": {"plan": "pro"}},
    {"metadata": {"plan": "pro", "seats": 5}, "model": "o4-mini"},
    {"metadata": {"beta": True}, "user_id": "user_b"},
]


def test_every_filter_leaves_what_it_names_each_call_once_and_newest_first(service_db: Database) -> None:
    events = some_events()
    assert service_db.call("record_usage", events=events[:150]) == 150
    roll_up_all(service_db)
    condense_all(service_db)
    assert service_db.call("record_usage", events=events[150:200]) == 50
    roll_up_all(service_db)
    assert service_db.call("record_usage", events=events[200:]) == 40
    for filters in FILTERS:
        found = pages(service_db, filters)
        assert (filters, ids(found)) == (filters, wanted(events, **filters))
        assert all(len(page) == 17 for page in found[:-1])


FIGURES: dict[str, Callable[[Event], float]] = {
    "cost": lambda event: float(event["estimated_cost"]),
    "latency": lambda event: float(event["latency_ms"]),
    "tokens": lambda event: int(event["prompt_tokens"]) + int(event["completion_tokens"]),
}


LEAST = {"min_cost": "cost", "min_latency_ms": "latency", "min_tokens": "tokens"}


def is_left(event: Event, filters: dict[str, JsonValue]) -> bool:
    return all(
        FIGURES[LEAST[name]](event) >= float(str(value)) if name in LEAST else event[name] == value
        for name, value in filters.items()
    )


@pytest.mark.parametrize(
    ("order", "filters"),
    [
        ("cost", {}),
        ("cost", {"min_cost": "0.02", "user_id": "user_a"}),
        ("latency", {"min_latency_ms": 500.5, "model": "gpt-4o"}),
        ("tokens", {"min_tokens": 900}),
        ("newest", {"min_cost": "0.06", "model": "o4-mini"}),
    ],
)
def test_the_database_ranks_calls_by_a_figure_over_all_pages(
    service_db: Database, order: str, filters: dict[str, JsonValue]
) -> None:
    rng = random.Random(9)
    events = [
        event
        | {
            "estimated_cost": f"0.{rng.randrange(1000):04d}",
            "latency_ms": rng.choice([80.25, 500.5, 1200.0, 7000.125]),
            "prompt_tokens": rng.randrange(1000),
        }
        for event in some_events(120)
    ]
    service_db.call(
        "record_usage", events=[*events, usage_event(estimated_cost=None, cost_source="unpriced", latency_ms=None)]
    )

    found = [event for page in pages(service_db, {"order": order, **filters}) for event in page if event["latency_ms"]]

    left = [event for event in events if is_left(event, filters)]
    assert left
    assert sorted(str(event["event_id"]) for event in found) == sorted(str(event["event_id"]) for event in left)
    if order != "newest":
        figures = [FIGURES[order](event) for event in found]
        assert figures == sorted(figures, reverse=True)


def test_the_last_page_is_known_as_the_last(direct: Door) -> None:
    service = direct.service()
    service.call("record_usage", events=[usage_event() for _ in range(4)])

    assert [len(page) for page in pages(service, {}, limit=2)] == [2, 2]


def test_a_backlog_that_no_rollup_holds_is_found_the_plain_way(direct: Door) -> None:
    service = direct.service()
    service.call("record_usage", events=[usage_event(model="o4-mini")])
    with psycopg.connect(direct.database.superuser_url) as connection:
        connection.execute("update observability_internal.pending_batches set row_count = 20001")

    assert len(ids(pages(service, {"model": "o4-mini"}))) == 1


def test_calls_behind_an_archived_time_are_found(direct: Door) -> None:
    service = direct.service()
    events = [usage_event(model="o4-mini", created_at=NOON + timedelta(hours=hour)) for hour in range(30)]
    service.call("record_usage", events=events)
    roll_up_all(service)
    condense_all(service)
    with psycopg.connect(direct.database.superuser_url) as connection:  # raw rows gone, their rollups stay
        connection.execute(
            "delete from observability_internal.ai_usage_metrics where created_at >= %s", [NOON + timedelta(hours=10)]
        )

    assert ids(pages(service, {"model": "o4-mini"}, limit=4)) == wanted(events[:10])


@pytest.mark.parametrize("filters", [{}, {"model": "gpt-4o"}, {"metadata": {"plan": "pro"}}, {"user_id": "user_b"}])
def test_a_member_finds_their_own_calls_alone(
    viewer: Callable[[str], Database], service_db: Database, filters: dict[str, JsonValue]
) -> None:
    mine = usage_event(user_id="user_a", metadata={"plan": "pro"})
    service_db.call("add_member", user_id="user_a", role="member")
    service_db.call("record_usage", events=[mine, usage_event(user_id="user_b", metadata={"plan": "pro"})])
    roll_up_all(service_db)

    assert ids(pages(viewer("user_a"), filters)) == [mine["event_id"]]


def test_an_empty_page_tells_when_the_newest_call_was(viewer: Callable[[str], Database], service_db: Database) -> None:
    service_db.call("add_member", user_id="user_a", role="member")
    early = usage_event(user_id="user_a", created_at=NOON - timedelta(days=2))
    late = usage_event(user_id="user_b", created_at=NOON - timedelta(days=1), environment="demo")
    service_db.call("record_usage", events=[early, late])
    roll_up_all(service_db)
    window = {"from_time": NOON.isoformat(), "to_time": (NOON + SPAN).isoformat()}

    own, every = viewer("user_a").call("get_events", **window), service_db.call("get_events", **window)

    assert isinstance(own, dict)
    assert isinstance(every, dict)
    assert str(own["newest_event_at"]).startswith("2026-05-02T12:00:00")
    assert str(every["newest_event_at"]).startswith("2026-05-03T12:00:00")
    assert (own["has_demo_data"], every["has_demo_data"]) == (False, True)


def test_the_options_of_the_filters_come_along(service_db: Database) -> None:
    service_db.call("record_usage", events=[usage_event(status="error", error_type="timeout"), usage_event()])
    roll_up_all(service_db)

    document = service_db.call("get_events", from_time=NOON, to_time=NOON + SPAN)

    assert isinstance(document, dict)
    assert document["newest_event_at"] is None
    assert document["options"] == {
        "models": ["gpt-4o"],
        "providers": ["openai"],
        "features": ["chat"],
        "environments": ["production"],
        "operations": ["chat"],
        "error_types": ["timeout"],
        "tenants": [],
        "tags": {},
    }


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"metadata": {"plan": ["pro"]}}, "takes an object of texts, numbers and booleans"),
        ({"colour": "red"}, "unknown filter colour"),
        ({"error_type": 7}, "takes a text or a list of texts"),
        ({"limit": "many"}, "limit is from 1 to 1000"),
        ({"cursor": "2026-05-04T12:00:00Z|x"}, "the cursor is not one"),
        ({"cursor": "2026-05-04T12:00:00Z|" + "-" * 36}, "the cursor is not one"),
        ({"cursor": f"2026-05-04T12:00:00Z|{NOWHERE}", "order": "cost"}, "the cursor is not one"),
        ({"order": "estimated_cost desc"}, "order is newest, cost, latency or tokens"),
        ({"min_cost": "1 or true"}, "are numbers of zero or more"),
        ({"min_tokens": 1.5}, "max_tokens are numbers of zero or more, whole ones"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    shared_db: Database, filters: dict[str, JsonValue], message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        shared_db.call("get_events", from_time=NOON, to_time=NOON + SPAN, filters=filters)


def test_metadata_of_more_than_a_week_is_refused(shared_db: Database) -> None:
    with pytest.raises(InvalidArgumentError, match="at most 7 days"):
        shared_db.call(
            "get_events",
            from_time=NOON,
            to_time=NOON + timedelta(days=7, seconds=1),
            filters={"metadata": {"plan": "pro"}},
        )


def test_a_value_is_never_read_as_sql(service_db: Database) -> None:
    service_db.call("record_usage", events=[usage_event(session_id="it's"), usage_event(session_id="s1")])
    hostile = "'); drop table observability_internal.members; --"

    assert len(ids(pages(service_db, {"session_id": "it's"}))) == 1
    assert ids(pages(service_db, {"session_id": hostile, "metadata": {hostile: hostile}})) == []
    assert ids(pages(service_db, {"session_id": ["\\", "%s", "$1", "}"]})) == []


def test_a_call_is_compared_with_its_feature_and_placed_in_its_session(
    service_db: Database, viewer: Callable[[str], Database]
) -> None:
    service_db.call("add_member", user_id="user_b", role="member")
    earlier = [
        usage_event(created_at=NOON - timedelta(hours=hour), estimated_cost=f"0.0{hour}", prompt_tokens=10 * hour)
        for hour in range(1, 6)
    ]
    other = usage_event(created_at=NOON - timedelta(hours=1), feature="search", estimated_cost="9")
    dear = usage_event(estimated_cost="3", session_id="s1", prompt_tokens=9000)
    session = [
        usage_event(created_at=NOON + timedelta(minutes=minute), session_id="s1", estimated_cost="1")
        for minute in (-5, 5)
    ]
    service_db.call("record_usage", events=[*earlier, other, dear, *session])
    asked = {"event_id": dear["event_id"], "created_at": NOON.isoformat()}

    found = service_db.call("get_call_context", **asked)

    # Six earlier calls of chat: of cost 0.01 to 0.05, and 1.
    assert found == {
        "calls": 6,
        "median_cost": "0.03",
        "median_prompt_tokens": 30,
        "median_completion_tokens": 50,
        "session_calls": 3,
        "session_cost": "5",
        "session_place": 2,
    }
    assert viewer("user_b").call("get_call_context", **asked) == {}
