"""What Supabase's API shows of the database: functions only, and no count that a caller may not know."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest

from tests.support.api import PUBLISHABLE_KEY, SECRET_KEY, make_token
from tests.support.doors import Door
from tests.support.events import NOON, performance_event, roll_up_all, usage_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import TestDatabase

COUNTS = ("exact", "planned", "estimated")

# An argument of every name that functions take: valid where that is possible for all of them.
ARGUMENTS: dict[str, object] = {
    "from_time": NOON.isoformat(),
    "to_time": NOON.replace(hour=13).isoformat(),
    "filters": {},
    "user_id": "user_b",
    "event_id": "0199d0a0-0000-7000-8000-000000000001",
    "period": "hour",
    "kind": "usage",
    "events": [],
    "rows": [],
    "month": "2026-05-01",
    "role": "ops",
    "metric": "spend",
    "rule": {"name": "r", "metric": "spend", "window_s": 3600, "threshold": 1},
    "notification_ids": [1],
}


@dataclass(frozen=True)
class Caller:
    """Somebody at the API's door."""

    client: httpx.Client

    def get(self, path: str, count: str) -> httpx.Response:
        return self.client.get(path, headers={"Prefer": f"count={count}"})

    def post(self, function: str, arguments: dict[str, object], count: str) -> httpx.Response:
        return self.client.post(f"/rpc/{function}", json=arguments, headers={"Prefer": f"count={count}"})


@pytest.fixture
def door(database: TestDatabase) -> Iterator[Door]:
    """The API of a database that holds three calls of user_b and one of user_a."""
    door = Door("postgrest", database)
    service = door.service()
    events = [usage_event(user_id=user) for user in ("user_a", "user_b", "user_b", "user_b")]
    service.call("record_usage", events=events)
    service.call("record_performance", events=[performance_event(user_id="user_b")])
    roll_up_all(service)
    service.call("condense_rollups")
    service.call("refresh_aggregates")
    for user, role in (("user_ana", "analyst"), ("user_ops", "ops")):
        service.call("add_member", user_id=user, role=role)
    database.execute("analyze")
    yield door
    door.close()


@pytest.fixture
def callers(door: Door) -> Iterator[dict[str, Caller]]:
    """Everybody who may come: by a key alone, or signed in."""
    signed_in = {"stranger": "user_x", "member": "user_a", "analyst": "user_ana", "ops": "user_ops", "nobody": ""}
    headers = {name: {"Authorization": f"Bearer {make_token(sub)}"} for name, sub in signed_in.items()}
    headers["writer"] = {"Authorization": f"Bearer {make_token(None, 'treering_writer')}"}
    keys = {**dict.fromkeys(headers, PUBLISHABLE_KEY), "anonymous": PUBLISHABLE_KEY, "service": SECRET_KEY}
    opened = {
        name: httpx.Client(
            base_url=f"{door.api.url}/rest/v1", timeout=60, headers={"apikey": key, **headers.get(name, {})}
        )
        for name, key in keys.items()
    }
    yield {name: Caller(client) for name, client in opened.items()}
    for client in opened.values():
        client.close()


def names(database: TestDatabase, query: str) -> list[str]:
    with psycopg.connect(database.superuser_url) as connection:
        return [str(name) for (name,) in connection.execute(query.encode()).fetchall()]


def functions(database: TestDatabase) -> dict[str, list[str]]:
    """The exposed functions with the names of those arguments that have no default."""
    with psycopg.connect(database.superuser_url) as connection:
        return dict(
            connection.execute(
                "select p.proname, coalesce(p.proargnames[:p.pronargs - p.pronargdefaults], '{}') from pg_proc p"
                " where p.pronamespace = 'observability'::regnamespace order by 1"
            ).fetchall()
        )


def test_the_exposed_schema_holds_functions_only(database: TestDatabase) -> None:
    relations = "select relname from pg_class where relnamespace = 'observability'::regnamespace"
    types = "select typname from pg_type where typnamespace = 'observability'::regnamespace"
    assert names(database, relations) + names(database, types) == []
    assert len(functions(database)) > 70


def test_no_relation_can_be_asked_for_by_anybody_with_any_count(door: Door, callers: dict[str, Caller]) -> None:
    tables = names(
        door.database,
        "select relname from pg_class where relnamespace = 'observability_internal'::regnamespace"
        " and relkind in ('r', 'p', 'm', 'v')",
    )
    assert {"ai_usage_metrics", "members", "cost_aggregates", "usage_by_user"} <= set(tables)
    for name, caller in callers.items():
        expected = 401 if name == "anonymous" else 404  # who may not enter the schema is not told what it lacks
        for table in tables:
            for count in COUNTS:
                answer = caller.get(f"/{table}", count)
                assert (name, table, answer.status_code) == (name, table, expected)
                assert "content-range" not in answer.headers


def test_the_internal_schema_cannot_be_chosen(callers: dict[str, Caller]) -> None:
    for caller in callers.values():
        answer = caller.client.get("/members", headers={"Accept-Profile": "observability_internal"})
        assert answer.status_code == 406


def test_no_function_tells_a_stranger_or_member_of_others(door: Door, callers: dict[str, Caller]) -> None:
    for name in ("anonymous", "nobody", "stranger", "member", "writer"):
        for function, required in functions(door.database).items():
            arguments = {argument: ARGUMENTS.get(argument, 1) for argument in required}
            for count in COUNTS:
                answer = callers[name].post(function, arguments, count)
                assert "user_b" not in answer.text, (name, function)
                # A function returns one document: that is what is counted.
                assert answer.headers.get("content-range", "*/*") in {"*/*", "0-0/*", "0-0/1"}, (name, function)


def test_an_insert_only_key_is_refused_by_every_function_but_two(door: Door, callers: dict[str, Caller]) -> None:
    statuses = {
        function: callers["writer"].post(
            function, {argument: ARGUMENTS.get(argument, 1) for argument in required}, "exact"
        )
        for function, required in functions(door.database).items()
    }
    allowed = {function for function, answer in statuses.items() if answer.status_code == 200}
    assert allowed == {"record_usage", "record_performance", "record_feedback"}
    assert {answer.status_code for function, answer in statuses.items() if function not in allowed} == {403}


def test_no_sum_on_a_members_pages_counts_the_calls_of_others(callers: dict[str, Caller]) -> None:
    arguments = {name: ARGUMENTS[name] for name in ("from_time", "to_time", "filters")}
    for page in ("get_overview", "get_usage", "get_costs", "get_performance"):
        requests = {
            name: json.loads(callers[name].post(page, arguments, "exact").text)["totals"]["requests"]
            for name in ("stranger", "member", "analyst", "ops")
        }
        assert requests == {"stranger": 0, "member": 1, "analyst": 4, "ops": 4}, page
