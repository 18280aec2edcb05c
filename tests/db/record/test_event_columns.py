"""The columns of an event stand in its table, in `UsageFields` and in `Call`, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from ingest.database import fetch
from ingest.documents.calls import Call, RawCalls
from ingest.record.fields import ARGUMENTS, DETAILS
from tests.support.events import NOON, performance_event, usage_event

if TYPE_CHECKING:
    from typing import LiteralString

    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door
    from tests.support.servers import TestDatabase

# Set by the recorder or the database, never an argument of `record_usage`.
MADE = {"received_at", "estimated_cost", "cost_source", "price_id", "usage_details"}


def rows(database: TestDatabase, query: LiteralString) -> list[tuple[object, ...]]:
    with psycopg.connect(database.superuser_url) as connection:
        return connection.execute(query).fetchall()


def test_the_python_models_have_the_columns_of_the_table(direct: Door) -> None:
    query: LiteralString = (
        "select attname from pg_attribute where attrelid = 'observability_internal.ai_usage_metrics'::regclass"
        " and attnum > 0 and attname <> 'batch_id'"
    )
    columns = {name for (name,) in rows(direct.database, query)}
    assert set(Call.model_fields) == columns
    assert columns == (ARGUMENTS - DETAILS) | MADE


def test_a_column_that_is_added_to_the_table_is_stored_with_its_default_and_shown(direct: Door) -> None:
    with psycopg.connect(direct.database.superuser_url, autocommit=True) as connection:
        connection.execute(
            "alter table observability_internal.ai_usage_metrics add column region text not null default 'nowhere',"
            " add column labels jsonb"
        )
    service = direct.service()
    labels: JsonValue = {"team": "search", "unset": None}
    events = [usage_event(region="eu", labels=labels), usage_event(region=None), usage_event()]
    assert service.call("record_usage", events=events) == 3
    page = fetch(service, RawCalls, "get_events", from_time=NOON, to_time=NOON.replace(hour=13), filters={})
    shown = {event["event_id"]: (event["region"], event["labels"]) for event in page.events}
    expected = [("eu", labels), ("nowhere", None), ("nowhere", None)]
    assert shown == {event["event_id"]: values for event, values in zip(events, expected, strict=True)}


def test_a_null_is_as_a_field_left_out(service_db: Database, database: TestDatabase) -> None:
    nothing: dict[str, JsonValue] = dict.fromkeys(
        ("environment", "provider", "operation", "status", "streamed", "cached_tokens", "attempt")
    )
    metadata: JsonValue = {"kept": None}
    assert service_db.call("record_usage", events=[usage_event(**nothing, metadata=metadata), usage_event()]) == 2
    stored = rows(
        database,
        "select environment, provider, operation, status, streamed, cached_tokens, attempt, metadata"
        " from observability_internal.ai_usage_metrics order by metadata",
    )
    defaults = ("production", "openai", "chat", "ok", False, 0, 1)
    assert stored == [(*defaults, metadata), (*defaults, None)]
    assert rows(database, "select from observability_internal.rejected_events") == []


def test_an_event_does_not_set_the_columns_that_are_the_databases_own(direct: Door) -> None:
    own: dict[str, JsonValue] = {"batch_id": 77, "received_at": "2030-01-01T00:00:00Z"}
    service = direct.service()
    assert service.call("record_usage", events=[usage_event(**own)]) == 1
    assert service.call("record_performance", events=[performance_event(**own)]) == 1
    stored = rows(
        direct.database,
        "select batch_id = any (select batch_id from observability_internal.pending_batches), received_at <= now()"
        " from (select batch_id, received_at from observability_internal.ai_usage_metrics"
        " union all select batch_id, received_at from observability_internal.performance_metrics) as m",
    )
    assert stored == [(True, True)] * 2
