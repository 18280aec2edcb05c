"""A tenant sees its own calls alone, whatever it calls or selects from: all that the catalogue lists is tried."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from ingest.database import fetch
from ingest.documents.calls import RawCalls
from ingest.errors import DatabaseError, PermissionDeniedError
from tests.db.database.test_rights import FOR_EVERYBODY_SIGNED_IN, relations, visible_rows
from tests.support.doors import Door
from tests.support.events import NOON, condense_all, performance_event, store, usage_event

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.lending import Lender
    from tests.support.servers import TestDatabase

LATER = NOON.replace(hour=13)
# Whatever belongs to another tenant has this in its names; `both` works for the two of them.
OTHER = "bolt"
ANSWERED = {
    "find_alerts", "get_alerts", "get_call_context", "get_calls_to_price", "get_cost_breakdown", "get_cost_drivers",
    "get_costs", "get_daily_cost", "get_delivery_health", "get_entities", "get_events", "get_hours", "get_month",
    "get_overview", "get_performance", "get_savings_evidence", "get_series", "get_session", "get_settings", "get_usage",
    "get_views",
}  # fmt: skip
VALUES: dict[str, JsonValue] = {
    "from_time": NOON.isoformat(), "to_time": LATER.isoformat(), "month": "2026-05-01", "group_by": "tenant_id",
    "filters": {}, "user_id": "both", "tenant_id": None, "role": "ops", "as_of": None, "timezone": "UTC",
}  # fmt: skip


@pytest.fixture(scope="module")
def shared_database(shared_database: TestDatabase, lender: Lender) -> TestDatabase:
    door = Door("postgres", shared_database, lender.api)
    service = door.service()
    theirs: dict[str, JsonValue] = {
        "model": "bolt-model", "feature": "bolt-feature", "session_id": "bolt-session", "status": "error",
        "error_type": "bolt-error", "tags": {"plan": "bolt-plan"}, "tenant_id": "bolt",
    }  # fmt: skip
    store(
        service,
        usage_event(user_id="both", tenant_id="acme", tags={"plan": "pro"}),
        usage_event(user_id="both", **theirs),
        usage_event(user_id="bolt-user", **theirs),
        usage_event(user_id="bolt-user-without-tenant", model="bolt-model"),
    )
    service.call("record_performance", events=[performance_event(user_id="bolt-user", route="/bolt")])
    condense_all(service)
    service.call("add_member", user_id="tess", role="tenant", tenant_id="acme")
    service.call("add_member", user_id="bolt-ops", role="ops")
    rule: JsonValue = {"name": "bolt", "metric": "spend", "threshold": "0", "window_s": 3600, "severity": "warning"}
    service.call("save_alert_rule", rule=rule)
    door.close()
    return shared_database


def functions(database: TestDatabase) -> list[tuple[str, list[str], list[str], int]]:
    """Each function that a person may call, with its arguments, their types and how many have a default."""
    with psycopg.connect(database.superuser_url) as connection:
        return connection.execute(
            "select p.proname, coalesce(p.proargnames, '{}'), p.proargtypes::regtype[]::text[], p.pronargdefaults"
            " from pg_proc p where p.pronamespace = 'observability'::regnamespace and p.proname = any (%s)",
            [list(FOR_EVERYBODY_SIGNED_IN)],
        ).fetchall()


def answers(person: Database, database: TestDatabase, own_event: str) -> dict[str, str]:
    """What each function tells a person, errors included; a refusal for lack of rights is the empty text."""
    told = {}
    for name, arguments, types, _ in functions(database):
        by_type: dict[str, JsonValue] = {"jsonb": {}, "text": "bolt", "uuid": own_event, "date": "2026-05-04"}
        by_type |= {"boolean": True, "timestamp with time zone": NOON.isoformat()}
        given = {
            argument: VALUES.get(argument, by_type.get(kind, 1))
            for argument, kind in zip(arguments, types, strict=False)
        }
        try:
            told[name] = json.dumps(person.call(name, **given))
        except PermissionDeniedError:
            told[name] = ""
        except DatabaseError as error:
            told[name] = f"refused: {error}"
    return told


def test_a_tenant_sees_no_row_of_another_in_any_relation(unchanged_database: TestDatabase) -> None:
    for claims in (
        {"sub": "tess"},
        {"sub": "anybody", "treering_tenant": "acme"},
        {"sub": "bolt-ops", "treering_tenant": "acme"},
    ):
        seen = {
            relation: rows
            for schema, relation in relations(unchanged_database)
            if relation != "members"
            and (rows := visible_rows(unchanged_database, {"role": "authenticated", **claims}, schema, relation))
        }
        assert not [relation for relation, rows in seen.items() if any(OTHER in row for row in rows)]
        assert {relation: len(rows) for relation, rows in seen.items()} == {
            "ai_usage_metrics": 1,
            "attributions": 1,
            "comparable_calls": 1,
            "counted_calls": 1,
            "dimensions": 1,
            "latency_groups": 5,
            "usage_by_user": 1,
            "users": 1,
        }


@pytest.mark.parametrize(
    "claims", [{"sub": ""}, {"sub": "tess", "treering_tenant": ""}, {"sub": "tess", "treering_tenant": "nobody"}]
)
def test_a_token_without_a_person_or_a_known_tenant_sees_no_row(
    unchanged_database: TestDatabase, claims: dict[str, str]
) -> None:
    seen = [
        relation
        for schema, relation in relations(unchanged_database)
        if relation != "members"
        and visible_rows(unchanged_database, {"role": "authenticated", **claims}, schema, relation)
    ]
    assert seen == []


def test_no_function_tells_a_tenant_of_another(shared_direct: Door) -> None:
    page = fetch(shared_direct.viewer("tess"), RawCalls, "get_events", from_time=NOON, to_time=LATER, filters={})
    (call,) = page.events
    told = answers(shared_direct.viewer("tess"), shared_direct.database, str(call["event_id"]))
    assert set(told) == FOR_EVERYBODY_SIGNED_IN
    assert {name for name, text in told.items() if text.startswith("{")} == ANSWERED
    assert [name for name, text in told.items() if OTHER in text.replace("refused: ", "")] == []
    assert '"requests": 1' in told["get_costs"]


def test_a_stranger_learns_nothing_from_any_function(shared_direct: Door) -> None:
    nothing = "01932f5c-8f00-7000-8000-000000000001"
    for person in (shared_direct.viewer(""), shared_direct.viewer("tess", treering_tenant="")):
        told = answers(person, shared_direct.database, nothing)
        assert [name for name, text in told.items() if text.startswith(("{", "["))] == []
        assert [name for name, text in told.items() if OTHER in text or "acme" in text] == []
    told = answers(shared_direct.viewer("stranger", treering_tenant="nobody"), shared_direct.database, nothing)
    assert [name for name, text in told.items() if OTHER in text or "acme" in text or '"requests": 1' in text] == []
