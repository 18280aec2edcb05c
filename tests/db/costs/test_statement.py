"""The statement of a month against independent SQL over the raw rows, for everybody, through both doors."""

from __future__ import annotations

import csv
import io
import json
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ingest.costs.files import hand_out
from ingest.costs.statement import DIMENSIONS, read_statement
from ingest.documents.statement import StatementFigures
from ingest.errors import ConfigurationError, InvalidArgumentError, PermissionDeniedError
from tests.support.cli import door_environment, run_cli
from tests.support.doors import Door
from tests.support.events import condense_all, roll_up_all, usage_event

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.servers import TestDatabase

MAY, JUNE = date(2026, 5, 1), date(2026, 6, 1)
ZONES = ("UTC", "Asia/Kathmandu", "America/St_Johns")  # +05:45 and -02:30
BY = [
    ("feature", "model"),
    ("user_id", "provider"),
    ("tenant_id", "model"),
    ("model", "tenant_id", "user_id"),
    ("environment", "status", "operation", "model"),
    ("tags.plan", "model"),
    ("tags.team", "tenant_id", "feature", "tags.plan"),
    (),
]
FILTERS: list[dict[str, Any]] = [{}, {"model": ["gpt-4o", "gpt-9"]}, {"user_id": ["user_1", "user_2"]}]

TAGS: list[JsonValue] = [{"plan": "pro", "team": "a"}, {"plan": "free"}, {"plan": "it's"}, None]

# What each line must hold, from the raw rows alone.
RAW = """
select
  {keys}, count(*), sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens),
  count(*) filter (where cost_source in ('priced', 'provider')),
  sum(estimated_cost) filter (where cost_source in ('priced', 'provider')),
  coalesce(sum(estimated_cost) filter (where cost_source = 'provider'), 0),
  coalesce(sum(least(request_fees, estimated_cost)) filter (
    where cost_source in ('priced', 'provider') and estimated_cost > 0 and request_fees is not null
  ), 0),
  count(*) filter (where cost_source = 'fallback'),
  coalesce(sum(estimated_cost) filter (where cost_source = 'fallback'), 0),
  count(*) filter (where cost_source = 'unpriced'), count(*) filter (where usage_source <> 'reported'),
  count(*) filter (where environment = 'demo')
from observability_internal.ai_usage_metrics
where date_trunc('month', created_at at time zone %(zone)s) = %(month)s
  and (%(model)s::text[] is null or model = any (%(model)s))
  and (%(user_id)s::text[] is null or user_id = any (%(user_id)s))
group by {group}
"""


def random_event(seed: random.Random) -> dict[str, Any]:
    """A call around the ends of May, whose cost has up to 14 decimals."""
    source = seed.choices(("priced", "provider", "fallback", "unpriced"), (70, 10, 10, 10))[0]
    end = seed.choice([datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)])
    cost = None if source == "unpriced" else str(Decimal(seed.randrange(-(10**9), 10**10)).scaleb(-14))
    return usage_event(
        created_at=end + timedelta(minutes=seed.randrange(-900, 900)),
        user_id=f"user_{seed.randrange(6)}",
        tenant_id=seed.choice(["acme", "globex", None]),
        tags=seed.choice(TAGS),
        provider=seed.choice(["openai", "azure"]),
        model="gpt-9" if source == "fallback" else seed.choice(["gpt-4o", "gpt-4o-mini"]),
        feature=seed.choice(["chat", "tutor", None]),
        environment=seed.choice(["production", "demo"]),
        operation=seed.choice(["chat", "embeddings"]),
        status=seed.choice(["ok", "ok", "error"]),
        prompt_tokens=seed.randrange(1000, 5000),
        cached_tokens=seed.randrange(1000),
        usage_source=seed.choice(["reported", "tokenizer"]),
        estimated_cost=cost,
        cost_source=source,
        request_fees=seed.choice([None, None, "0.00003"]),
    )


def fill(database: TestDatabase) -> None:
    """Store half of the calls in every level of the rollups, half in the minutes alone."""
    door = Door("postgres", database)
    service = door.service()
    seed = random.Random(35)
    for part in range(2):
        service.call("record_usage", events=[random_event(seed) for _ in range(250)])
        roll_up_all(service)
        if part == 0:
            condense_all(service)
    for user, role in (("user_ana", "analyst"), ("user_ops", "ops")):
        service.call("add_member", user_id=user, role=role)
    door.close()


@pytest.fixture(scope="module")
def shared_database(shared_database: TestDatabase) -> TestDatabase:
    fill(shared_database)
    return shared_database


def raw_lines(database: TestDatabase, zone: str, month: date, by: tuple[str, ...], filters: dict[str, Any]) -> set[Any]:
    """The lines as the raw rows have them: names, then the figures in the order of the document."""
    columns = [f"tags ->> '{name[5:]}'" if name.startswith("tags.") else name for name in by]
    keys = [f"coalesce({column}, '')" for column in columns]
    query = RAW.format(keys=", ".join(["1", *keys]), group=", ".join(map(str, range(1, len(by) + 2))))
    arguments = {"zone": zone, "month": month, "model": filters.get("model"), "user_id": filters.get("user_id")}
    with psycopg.connect(database.superuser_url) as connection:
        rows = connection.execute(query.encode(), arguments).fetchall()
    return {(row[1 : len(by) + 1], *row[len(by) + 1 :]) for row in rows}


def values(figures: StatementFigures) -> tuple[Any, ...]:
    return tuple(getattr(figures, name) for name in StatementFigures.model_fields)


@pytest.mark.parametrize("zone", ZONES)
def test_every_line_and_total_equals_independent_sql_over_the_raw_rows(shared_direct: Door, zone: str) -> None:
    service = shared_direct.service()
    for by in BY:
        for filters in FILTERS:
            found = read_statement(service, MAY, JUNE, timezone=zone, dimensions=by, filters=filters)
            for month in (MAY, JUNE):
                lines = {(one.names, *values(one.figures)) for one in found.lines if one.month == month}
                assert lines == raw_lines(shared_direct.database, zone, month, by, filters)
            (total,) = raw_lines(shared_direct.database, zone, MAY, (), filters)
            assert values(found.months[0].totals) == total[1:]
            assert sum(one.figures.cost or 0 for one in found.lines) == found.totals.cost
            assert sum(one.figures.requests for one in found.lines) == found.totals.requests > 0


def test_a_statement_equals_the_costs_page_of_the_same_month(shared_db: Database) -> None:
    found = read_statement(shared_db, MAY)
    costs: Any = shared_db.call("get_costs", from_time="2026-05-01", to_time="2026-06-01", filters={"timezone": "UTC"})
    assert costs["totals"]["cost"] == str(found.totals.cost)
    assert Decimal(costs["totals"]["fallback_cost"]) == found.totals.fallback_cost
    assert costs["totals"]["unpriced_requests"] == found.totals.unpriced_requests
    models = {row["key"]: row["cost"] for row in costs["by_model"]}
    lines = read_statement(shared_db, MAY, dimensions=["model"]).lines
    assert {one.names[0]: one.figures.cost and str(one.figures.cost) for one in lines} == models


def test_people_get_their_own_calls_without_bills_and_strangers_nothing(shared_door: Door) -> None:
    own = read_statement(shared_door.viewer("user_1"), MAY, dimensions=["user_id"])
    assert [line.names for line in own.lines] == [("user_1",)]
    assert own.months[0].checks is None
    every = read_statement(shared_door.viewer("user_ana"), MAY, dimensions=["user_id"])
    assert len(every.lines) == 6
    assert [check.state for check in every.months[0].checks or ()] == ["not reconciled", "not reconciled"]
    assert read_statement(shared_door.viewer("user_stranger"), MAY).totals.requests == 0
    with pytest.raises(PermissionDeniedError):
        read_statement(shared_door.anonymous(), MAY)
    with pytest.raises(PermissionDeniedError):
        read_statement(shared_door.viewer("user_1"), MAY, filters={"user_id": "user_2"})


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"dimensions": ["colour"]}, "dimensions are"),
        ({"dimensions": ["model", "model"]}, "each once"),
        ({"dimensions": ["tags.Plan'"]}, "dimensions are"),
        ({"filters": {"metadata": {"a": 1}}}, "metadata"),
        ({"timezone": "Mars/Olympus"}, "unknown time zone"),
    ],
)
def test_a_wrong_question_is_refused(shared_direct: Door, arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        read_statement(shared_direct.service(), MAY, **arguments)


def test_pages_of_one_moment_make_up_a_statement(shared_direct: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_statement(shared_direct.service(), MAY, dimensions=[*DIMENSIONS])
    monkeypatch.setattr("ingest.costs.statement._PAGE_ROWS", 7)
    assert read_statement(shared_direct.service(), MAY, dimensions=[*DIMENSIONS]).lines == whole.lines
    assert len(whole.lines) > 21


def test_months_to_come_and_too_many_are_refused(shared_direct: Door) -> None:
    with pytest.raises(ConfigurationError, match="has not begun"):
        read_statement(shared_direct.service(), date(2090, 1, 1))
    with pytest.raises(ConfigurationError, match="1 to 12 months"):
        read_statement(shared_direct.service(), MAY, date(2027, 5, 1))


@pytest.mark.dated
def test_the_running_month_is_to_date(direct: Door) -> None:
    found = read_statement(direct.service(), datetime.now(UTC).date().replace(day=1))
    assert found.is_to_date
    assert found.months[0].to_time == found.generated_at


@pytest.fixture
def filled(door: Door) -> Door:
    service = door.service()
    for user, role in (("user_ana", "analyst"), ("user_ops", "ops")):
        service.call("add_member", user_id=user, role=role)
    service.call("record_usage", events=[usage_event(user_id="user_a"), usage_event(user_id="user_b")])
    roll_up_all(service)
    return door


def test_who_exported_what_is_noted_and_shown_to_ops_alone(filled: Door) -> None:
    service, analyst = filled.service(), filled.viewer("user_ana")
    statement = read_statement(analyst, MAY, timezone="Europe/Berlin")
    hand_out(analyst, statement, "csv", via="app", exported_by="somebody else")
    hand_out(service, statement, "pdf", via="command", exported_by="cron")
    exports: Any = filled.viewer("user_ops").call("get_exports")
    assert [(one["exported_by"], one["via"], one["kind"], one["format"], one["row_count"]) for one in exports] == [
        ("cron", "command", "statement", "pdf", 1),
        ("user_ana", "app", "statement", "csv", 1),  # from the token, whatever was said
    ]
    assert exports[1]["from_time"] == "2026-04-30T22:00:00+00:00"
    assert service.call("get_exports", row_limit=1, before_id=exports[0]["export_id"]) == exports[1:]
    for person in ("user_a", "user_ana"):
        with pytest.raises(PermissionDeniedError):
            filled.viewer(person).call("get_exports")
    with pytest.raises(PermissionDeniedError):
        filled.anonymous().call("log_export", export={"kind": "calls", "format": "csv", "row_count": 1})
    with pytest.raises(InvalidArgumentError, match="no field by_whom"):
        analyst.call("log_export", export={"by_whom": "x"})
    service.call("forget_user", user_id="user_ana")
    assert "user_ana" not in json.dumps(service.call("get_exports"))


def test_the_command_writes_the_file_and_notes_it(filled: Door, tmp_path: Path) -> None:
    env = door_environment(filled, tmp_path) | {"TREERING_TIMEZONE": "Asia/Kolkata"}
    path = tmp_path / "may.csv"
    words = ("statement", "--month", "2026-05", "--by", "user,model", "--format", "csv", "--output", path)
    result = run_cli(*words, "--user-id", "user_b", env=env)
    assert result.exit_code == 0, result.stderr
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [(row["user_id"], row["certain_cost_usd"], row["timezone"]) for row in rows] == [
        ("user_b", "0.000875", "Asia/Kolkata")
    ]
    export: Any = filled.service().call("get_exports")
    assert (export[0]["via"], export[0]["filters"]) == ("command", {"user_id": ["user_b"]})
    assert export[0]["exported_by"].endswith(" (command)")
    assert run_cli("statement", "--month", "May", env=env).exit_code == 1
