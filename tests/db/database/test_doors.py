"""The contract of `Database`: each test runs through Supabase's API and through Postgres itself."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from ingest.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    FunctionNotFoundError,
    InvalidArgumentError,
    PermissionDeniedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Argument, Database
    from tests.support.doors import Door
    from tests.support.lending import Lender
    from tests.support.servers import TestDatabase

KATHMANDU = timezone(timedelta(hours=5, minutes=45))

# Small functions that show what arrives, what comes back and what goes wrong.
PROBES = """
create function observability.probe_types(
  document jsonb default null, moment timestamptz default null, whole int default null, long bigint default null,
  fraction numeric default null, flag boolean default null, words text default null
) returns jsonb language sql stable as $$
  select jsonb_build_object('document', document, 'moment', moment, 'whole', whole, 'long', long,
                            'fraction', fraction, 'flag', flag, 'words', words)
$$;
create function observability.probe_default(words text default 'default') returns text language sql stable
  as $$ select words $$;
create function observability.probe_null() returns jsonb language sql stable as $$ select null::jsonb $$;
create function observability.probe_moment() returns timestamptz language sql stable
  as $$ select '2026-03-01 12:00:00.5+02'::timestamptz $$;
create function observability.probe_void() returns void language plpgsql as $$ begin end $$;
create function observability.probe_number() returns numeric language sql stable as $$ select 1.5 $$;
create function observability.probe_caller() returns jsonb language sql stable as $$
  select jsonb_build_object('role', current_user, 'role_claim', auth.jwt() ->> 'role', 'sub', auth.jwt() ->> 'sub',
                            'timezone', current_setting('timezone'))
$$;
create function observability.probe_raise(code text, message text) returns void language plpgsql
  as $$ begin raise exception using errcode = code, message = message; end $$;
create function observability.probe_missing() returns void language plpgsql
  as $$ begin perform public.no_such_function(); end $$;
create function observability.probe_timeout() returns void language plpgsql set statement_timeout = '50ms'
  as $$ begin perform pg_sleep(60); end $$;
create function observability.probe_limit() returns text language sql volatile
  as $$ select current_setting('statement_timeout') $$;
create function observability.probe_closed() returns int language sql stable as $$ select 1 $$;
create table observability.probe_rows (id int primary key check (id > 0));
create function observability.probe_insert(id int) returns void language sql
  as $$ insert into observability.probe_rows values (id) $$;
create function observability.probe_insert_and_fail(id int) returns void language plpgsql
  as $$ begin insert into observability.probe_rows values (id); raise exception 'too late'; end $$;
create function observability.probe_count() returns bigint language sql stable
  as $$ select count(*) from observability.probe_rows $$;
grant select, insert on observability.probe_rows to service_role;
grant execute on all functions in schema observability to service_role, authenticated, anon;
revoke execute on function observability.probe_closed() from public, service_role, authenticated, anon;
grant usage on schema observability to anon;
"""


@pytest.fixture
def probes(door: Door, lender: Lender) -> Door:
    door.database.execute(PROBES)
    lender.stop_api(door.database)
    return door


@pytest.fixture
def db(probes: Door) -> Database:
    return probes.service()


@pytest.fixture(scope="module")
def shared_database(shared_database: TestDatabase, lender: Lender) -> TestDatabase:
    shared_database.execute(PROBES)
    lender.stop_api(shared_database)
    return shared_database


def failure_of(database: Database, function: str, **arguments: Argument) -> DatabaseError:
    with pytest.raises(DatabaseError) as caught:
        database.call(function, **arguments)
    return caught.value


# ---- arguments and results


@pytest.mark.parametrize(
    ("argument", "value", "arrives_as"),
    [
        ("document", [{"a": 1}, {"b": None}], [{"a": 1}, {"b": None}]),
        ("document", {"text": "Grüße 🌳 \"'\\ % %s"}, {"text": "Grüße 🌳 \"'\\ % %s"}),
        ("document", [], []),
        ("moment", datetime(2026, 3, 1, 12, tzinfo=UTC), "2026-03-01T12:00:00+00:00"),
        (
            "moment",
            datetime(2026, 3, 1, 12, tzinfo=KATHMANDU),
            "2026-03-01T06:15:00+00:00",
        ),
        ("moment", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00+00:00"),
        ("whole", 7, 7),
        ("long", 2**53, 2**53),
        ("fraction", 0.25, 0.25),
        ("fraction", 3, 3),
        ("flag", True, True),
        ("flag", False, False),
        ("words", "it's; -- $$ \\ % %s %(x)s", "it's; -- $$ \\ % %s %(x)s"),
        ("words", "", ""),
        ("words", None, None),
    ],
)
def test_an_argument_arrives_as_the_function_declares_it(
    shared_db: Database, argument: str, value: Argument, arrives_as: object
) -> None:
    document: Any = shared_db.call("probe_types", **{argument: value})
    assert document[argument] == arrives_as


def test_an_omitted_argument_takes_its_default_and_none_does_not(shared_db: Database) -> None:
    assert (shared_db.call("probe_default"), shared_db.call("probe_default", words=None)) == ("default", None)


@pytest.mark.parametrize(
    ("function", "result"),
    [
        ("probe_void", None),
        ("probe_null", None),
        ("probe_number", 1.5),
        ("probe_moment", "2026-03-01T10:00:00.5+00:00"),
        ("probe_count", 0),
    ],
)
def test_a_result_comes_back_as_json(shared_db: Database, function: str, result: object) -> None:
    assert shared_db.call(function) == result


def test_a_document_of_more_than_a_thousand_elements_comes_back_whole(shared_db: Database) -> None:
    document: Any = shared_db.call("probe_types", document=list(range(5_000)))
    assert document["document"] == list(range(5_000))


# ---- who is calling


@pytest.mark.parametrize(
    ("opened_as", "role", "sub"),
    [("service", "service_role", None), ("viewer", "authenticated", "user_2abc"), ("anonymous", "anon", None)],
)
def test_the_function_sees_the_callers_role_and_claims(
    shared_door: Door, opened_as: str, role: str, sub: str | None
) -> None:
    caller = shared_door.viewer("user_2abc") if opened_as == "viewer" else getattr(shared_door, opened_as)()
    assert caller.call("probe_caller") == {"role": role, "role_claim": role, "sub": sub, "timezone": "UTC"}


def test_a_call_leaves_nothing_of_its_caller_behind(shared_door: Door) -> None:
    someone, service = shared_door.viewer("someone"), shared_door.service()
    for _ in range(3):
        first: Any = someone.call("probe_caller")
        second: Any = service.call("probe_caller")
        assert (first["sub"], second["sub"], second["role"]) == ("someone", None, "service_role")


def test_threads_share_a_database(shared_db: Database) -> None:
    barrier = threading.Barrier(8)

    def ask(number: int) -> object:
        barrier.wait()
        document: Any = shared_db.call("probe_types", whole=number)
        return document["whole"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == list(range(8))


# ---- errors


@pytest.mark.parametrize(
    ("sqlstate", "kind", "retryable"),
    [
        ("P0001", InvalidArgumentError, False),
        ("22023", InvalidArgumentError, False),
        ("23514", InvalidArgumentError, False),
        ("42501", PermissionDeniedError, False),
        ("28000", PermissionDeniedError, False),
        ("53300", DatabaseUnavailableError, True),
        ("57P03", DatabaseUnavailableError, True),
        ("08006", DatabaseUnavailableError, True),
        ("40P01", DatabaseError, True),
        ("55P03", DatabaseError, True),  # not 40001: PostgREST itself repeats such a call until it succeeds
        ("XX000", DatabaseError, False),
    ],
)
def test_an_error_keeps_its_sqlstate_and_message(
    shared_db: Database, sqlstate: str, kind: type[DatabaseError], retryable: bool
) -> None:
    failure = failure_of(shared_db, "probe_raise", code=sqlstate, message="what Postgres says")
    assert type(failure) is kind
    assert (failure.sqlstate, failure.message, failure.retryable) == (sqlstate, "what Postgres says", retryable)


def test_a_function_that_does_not_exist_is_named_with_its_arguments(shared_db: Database) -> None:
    failure = failure_of(shared_db, "no_such_function", words="a", flag=True)
    assert type(failure) is FunctionNotFoundError
    assert (failure.sqlstate, failure.retryable) == ("42883", False)
    assert "observability.no_such_function(flag, words)" in failure.message


@pytest.mark.parametrize("arguments", [{"word": "misspelt"}, {"words": "right", "more": 1}])
def test_an_argument_that_the_function_does_not_take_is_refused(
    shared_db: Database, arguments: dict[str, Argument]
) -> None:
    assert type(failure_of(shared_db, "probe_default", **arguments)) is FunctionNotFoundError


def test_a_missing_function_inside_a_function_is_told_apart(db: Database) -> None:
    failure = failure_of(db, "probe_missing")
    assert (failure.sqlstate, failure.message) == ("42883", "function public.no_such_function() does not exist")


def test_a_value_of_the_wrong_type_is_an_invalid_argument(db: Database) -> None:
    failure = failure_of(db, "probe_types", whole="seven")
    assert type(failure) is InvalidArgumentError
    assert (failure.sqlstate, failure.message) == ("22P02", 'invalid input syntax for type integer: "seven"')


def test_a_constraint_is_named_without_the_row(db: Database) -> None:
    failure = failure_of(db, "probe_insert", id=-5)
    assert (type(failure), failure.sqlstate) == (InvalidArgumentError, "23514")
    assert failure.message == 'new row for relation "probe_rows" violates check constraint "probe_rows_id_check"'


def test_a_closed_function_is_a_denied_permission(db: Database) -> None:
    failure = failure_of(db, "probe_closed")
    assert (type(failure), failure.sqlstate) == (PermissionDeniedError, "42501")
    assert failure.message == "permission denied for function probe_closed"


def test_a_query_that_takes_too_long_may_be_repeated(probes: Door) -> None:
    probes.database.execute(f"alter database {probes.database.name} set statement_timeout = '50ms'")
    failure = failure_of(probes.service(), "probe_timeout")
    assert (type(failure), failure.sqlstate, failure.retryable) == (DatabaseUnavailableError, "57014", True)


def test_a_functions_own_time_limit_stops_it_and_ends_with_the_call(db: Database) -> None:
    assert failure_of(db, "probe_timeout").sqlstate == "57014"  # after its own 50 ms
    assert db.call("probe_limit") != "50ms"


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_text_that_postgres_cannot_store_is_an_invalid_argument(db: Database, text: str) -> None:
    assert failure_of(db, "probe_default", words=text).sqlstate == "22P05"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_json_is_an_invalid_argument(db: Database, value: float) -> None:
    failure = failure_of(db, "probe_types", document=[value])
    assert (type(failure), failure.sqlstate) == (InvalidArgumentError, "22P02")


def test_a_failed_call_stores_nothing_and_the_next_one_works(db: Database) -> None:
    failure_of(db, "probe_insert_and_fail", id=1)
    db.call("probe_insert", id=2)
    assert db.call("probe_count") == 1


# ---- opening and closing


def test_a_closed_database_refuses_to_be_called(probes: Door) -> None:
    database = probes.service()
    database.call("probe_void")
    database.close()
    database.close()
    assert not failure_of(database, "probe_void").retryable


def test_a_database_that_was_never_used_closes(probes: Door) -> None:
    database = probes.service()
    database.close()
    assert isinstance(failure_of(database, "probe_void"), DatabaseUnavailableError)


# ---- the product's own functions


def usage_event(number: int, **changes: object) -> dict[str, Any]:
    return {
        "event_id": f"0199f000-0000-7000-8000-{number:012d}",
        "created_at": "2026-11-20T10:00:00+00:00",
        "user_id": "user_a",
        "model": "gpt-4o",
        "provider": "openai",
        "feature": "chat",
        "environment": "production",
        "operation": "chat",
        "prompt_tokens": 150,
        "completion_tokens": 50,
        "estimated_cost": "0.000875",
        "cost_source": "priced",
        "price_id": "openai/gpt-4o",
        "status": "ok",
        "usage_source": "reported",
        **changes,
    }


def overview(database: Database) -> Any:
    return database.call(
        "get_overview", from_time=datetime(2026, 11, 20, tzinfo=UTC), to_time=datetime(2026, 11, 21, tzinfo=UTC)
    )


def test_an_event_is_stored_once_and_read_by_those_who_may(
    service_db: Database, viewer: Callable[[str], Database]
) -> None:
    events = [usage_event(1), usage_event(2, user_id="user_b"), usage_event(3)]
    assert service_db.call("record_usage", events=events) == 3
    assert service_db.call("record_usage", events=events) == 0
    service_db.call("roll_up")
    service_db.call("add_member", user_id="user_c", role="analyst")
    seen = {user: overview(viewer(user)) for user in ("user_a", "user_b", "user_c", "stranger")}
    assert {user: document["totals"]["requests"] for user, document in seen.items()} == {
        "user_a": 2,
        "user_b": 1,
        "user_c": 3,
        "stranger": 0,
    }
    assert seen["user_c"]["totals"]["cost"] == "0.002625"


def test_only_the_service_writes(viewer: Callable[[str], Database], anonymous: Database) -> None:
    for caller in (viewer("user_a"), anonymous):
        failure = failure_of(caller, "record_usage", events=[usage_event(1)])
        assert (type(failure), failure.sqlstate) == (PermissionDeniedError, "42501")


def test_an_anonymous_caller_reads_nothing(anonymous: Database) -> None:
    with pytest.raises(PermissionDeniedError):
        overview(anonymous)


def test_an_unknown_filter_is_an_invalid_argument(viewer: Callable[[str], Database]) -> None:
    failure = failure_of(
        viewer("user_a"),
        "get_overview",
        from_time=datetime(2026, 11, 20, tzinfo=UTC),
        to_time=datetime(2026, 11, 21, tzinfo=UTC),
        filters={"colour": "red"},
    )
    assert (type(failure), failure.sqlstate) == (InvalidArgumentError, "22023")
