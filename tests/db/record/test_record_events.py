"""What the write functions store, refuse and keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest

from ingest.errors import InvalidArgumentError, PermissionDeniedError
from tests.support.events import NOON, performance_event, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door
    from tests.support.servers import TestDatabase


def rows(database: TestDatabase, query: LiteralString) -> list[tuple[object, ...]]:
    with psycopg.connect(database.superuser_url) as connection:
        return connection.execute(query).fetchall()


def test_a_repeated_event_id_stores_nothing(service_db: Database) -> None:
    event = usage_event()
    assert service_db.call("record_usage", events=[event, usage_event()]) == 2
    assert service_db.call("record_usage", events=[event]) == 0


def test_the_same_event_twice_in_one_batch_is_stored_once(service_db: Database) -> None:
    event = usage_event()
    assert service_db.call("record_usage", events=[event, event]) == 1


BAD: list[tuple[dict[str, JsonValue], str]] = [
    ({"user_id": None}, "null value in column"),
    ({"user_id": ""}, "a user id has 1 to 200 characters"),
    ({"event_id": "not-a-uuid"}, "invalid input syntax for type uuid"),
    ({"prompt_tokens": "many"}, "invalid input syntax for type bigint"),
    ({"prompt_tokens": -1}, "violates check constraint"),
    ({"prompt_tokens": 10**30}, "out of range"),
    ({"prompt_tokens": 10, "cached_tokens": 11}, "the parts of the prompt do not exceed it"),
    ({"completion_tokens": 1, "reasoning_tokens": 2}, "the parts of the completion do not exceed it"),
    ({"status": "fine"}, "status is ok, error or cancelled"),
    ({"created_at": "1999-01-01T00:00:00Z"}, "no partition"),
    ({"created_at": "2999-01-01T00:00:00Z"}, "no partition"),
    ({"created_at": "yesterday-ish"}, "invalid input syntax for type timestamp"),
    ({"estimated_cost": "NaN"}, "money is a number"),
    ({"estimated_cost": None}, "an unpriced call has no cost"),
    ({"latency_ms": "Infinity"}, "durations are from 0 ms"),
    ({"metadata": ["a", "list"]}, "metadata is an object"),
    ({"metadata": {"big": "x" * 9000}}, "metadata is an object of at most 8 KiB"),
]


def test_a_bad_event_is_kept_with_its_reason_and_the_others_are_stored(direct: Door) -> None:
    service = direct.service()
    for fields, _ in BAD:
        assert service.call("record_usage", events=[usage_event(), usage_event(**fields), usage_event()]) == 2
    kept = rows(direct.database, "select reason, kind from observability_internal.rejected_events order by rejected_id")
    for (fields, reason), (kept_reason, kind) in zip(BAD, kept, strict=True):
        assert (fields, reason in str(kept_reason), kind) == (fields, True, "usage"), kept_reason


def test_elements_that_are_no_objects_are_rejected_one_by_one(service_db: Database, database: TestDatabase) -> None:
    assert service_db.call("record_usage", events=[usage_event(), "text", 7, None, []]) == 1
    ((count,),) = rows(database, "select count(*) from observability_internal.rejected_events")
    assert count == 4


def test_a_rejected_event_keeps_no_metadata_and_no_unknown_field(direct: Door) -> None:
    event = usage_event(user_id=None, metadata={"prompt": "secret words"}, prompt="secret words", session_id="s" * 900)
    direct.service().call("record_usage", events=[event])
    ((kept,),) = rows(direct.database, "select event::text from observability_internal.rejected_events")
    assert "secret words" not in str(kept)
    assert "s" * 201 not in str(kept)


@pytest.mark.parametrize("events", [{"event_id": "x"}, None, 5])
def test_what_is_not_a_list_is_refused(shared_db: Database, events: JsonValue) -> None:
    with pytest.raises(InvalidArgumentError, match="events must be a JSON array"):
        shared_db.call("record_usage", events=events)


def test_more_than_ten_thousand_events_are_refused(direct: Door) -> None:
    with pytest.raises(InvalidArgumentError, match="at most 10,000"):
        direct.service().call("record_usage", events=[{}] * 10_001)


def test_rows_of_many_months_make_their_partitions(service_db: Database, database: TestDatabase) -> None:
    events = [
        usage_event(created_at=NOON.replace(year=year, month=month)) for year in (2019, 2025) for month in (1, 2, 12)
    ]
    assert service_db.call("record_usage", events=events) == 6
    partitions = rows(
        database,
        "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid"
        " where i.inhparent = 'observability_internal.ai_usage_metrics'::regclass"
        " and c.relname ~ '_(2019|2025)' order by 1",
    )
    assert [name for (name,) in partitions] == [
        f"ai_usage_metrics_{month}" for month in ("201901", "201902", "201912", "202501", "202502", "202512")
    ]


def test_partitions_are_made_ahead_once(service_db: Database) -> None:
    assert service_db.call("ensure_partitions", months_ahead=2) == 6
    assert service_db.call("ensure_partitions", months_ahead=2) == 0


def test_every_partition_has_row_level_security_and_no_grants(service_db: Database, database: TestDatabase) -> None:
    service_db.call("ensure_partitions")
    service_db.call("record_usage", events=[usage_event()])
    unprotected = rows(
        database,
        "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid"
        " where c.relkind = 'r' and (not c.relrowsecurity or c.relacl::text ~ '(anon|authenticated|service_role)=')",
    )
    assert unprotected == []


def test_performance_is_stored_and_rejected_alike(service_db: Database, database: TestDatabase) -> None:
    events = [performance_event(), performance_event(status_code=99), performance_event(sample_weight=0.5)]
    assert service_db.call("record_performance", events=events) == 1
    reasons = rows(database, "select reason from observability_internal.rejected_events where kind = 'performance'")
    assert len(reasons) == 2


def test_costs_keep_every_digit(service_db: Database, database: TestDatabase) -> None:
    service_db.call("record_usage", events=[usage_event(estimated_cost="0.000000150000000000000000001")])
    assert rows(database, "select estimated_cost::text from observability_internal.ai_usage_metrics") == [
        ("0.000000150000000000000000001",)
    ]


@pytest.mark.parametrize("function", ["record_usage", "record_performance"])
def test_only_the_service_writes(function: str, viewer: Callable[[str], Database], anonymous: Database) -> None:
    for caller in (viewer("user_a"), anonymous):
        with pytest.raises(PermissionDeniedError):
            caller.call(function, events=[])


def test_an_event_with_usage_details_is_taken(service_db: Database) -> None:
    details: JsonValue = {"cache_write_1h_tokens": 4, "units": {"web_search": 2}, "reported_cost": "0.5"}
    assert service_db.call("record_usage", events=[usage_event(usage_details=details)]) == 1
