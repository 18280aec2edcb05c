"""The views for BI tools: the figures of the app, everybody's rights, and the promise about their columns."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import yaml

from ingest.costs.statement import read_statement
from tests.db.costs.test_statement import MAY, fill, raw_lines
from tests.support.doors import Door

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import TestDatabase

DOCS = Path(__file__).parents[3] / "docs"
RANGE = ("2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z")
VIEWS = ("usage_by_hour", "usage_by_day", "usage_by_user")
TIME = {"usage_by_hour": "hour_start", "usage_by_day": "day_start", "usage_by_user": "quarter_hour_start"}
SUMS = "sum(certain_cost_usd), sum(fallback_cost_usd), sum(unpriced_calls), sum(calls), sum(prompt_tokens)"


@pytest.fixture(scope="module")
def shared_database(shared_database: TestDatabase) -> TestDatabase:
    fill(shared_database)
    line = {"day": "2026-05-04", "source": "api", "kind": "cost", "amount": "1.5", "currency": "usd"}
    door = Door("postgres", shared_database)
    door.service().call("record_provider_costs", rows=[line])
    door.close()
    return shared_database


@pytest.fixture
def tool(unchanged_database: TestDatabase) -> Iterator[psycopg.Connection[Any]]:
    """What a tool's own user, to whom ops granted the role, is connected as; the user goes with the transaction."""
    with psycopg.connect(unchanged_database.superuser_url) as connection:
        connection.execute("create role bi_tool_of_a_test login")
        connection.execute("grant treering_bi to bi_tool_of_a_test")
        connection.execute("set local role bi_tool_of_a_test")
        yield connection
        connection.rollback()


def ask(connection: psycopg.Connection[Any], query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode()).fetchall()


def test_a_tool_sees_the_figures_of_the_app_the_statement_and_the_raw_rows(
    tool: psycopg.Connection[Any], shared_direct: Door
) -> None:
    service = shared_direct.service()
    costs: Any = service.call("get_costs", from_time=RANGE[0], to_time=RANGE[1], filters={})
    totals = read_statement(service, MAY).totals
    # Calls, tokens, cached, completion, certain calls, cost, reported, fees, fallback calls, fallback cost, unpriced.
    (raw,) = raw_lines(shared_direct.database, "UTC", MAY, (), {})
    for view in VIEWS:
        within = f"{TIME[view]} >= '{RANGE[0]}' and {TIME[view]} < '{RANGE[1]}'"
        query = f"select {SUMS} from observability_bi.{view} where {within}"
        ((cost, fallback, unpriced, calls, tokens),) = ask(tool, query)
        assert (calls, tokens, cost, fallback, unpriced) == (raw[1], raw[2], raw[6], raw[10], raw[11]), view
        assert (cost, fallback, unpriced) == (totals.cost, totals.fallback_cost, totals.unpriced_requests)
        assert (str(cost), calls) == (costs["totals"]["cost"], costs["totals"]["requests"])


def test_a_month_of_another_zone_is_exact_by_user(tool: psycopg.Connection[Any], shared_direct: Door) -> None:
    rows = ask(
        tool,
        "select user_id, sum(certain_cost_usd) from observability_bi.usage_by_user"
        " where date_trunc('month', quarter_hour_start at time zone 'Asia/Kathmandu') = '2026-05-01' group by 1",
    )
    found = read_statement(shared_direct.service(), MAY, timezone="Asia/Kathmandu", dimensions=["user_id"])
    assert dict(rows) == {line.names[0]: line.figures.cost for line in found.lines}


def test_members_see_their_own_calls_analysts_all_and_strangers_nothing(unchanged_database: TestDatabase) -> None:
    def seen(view: str, role: str, sub: str) -> int:
        with psycopg.connect(unchanged_database.superuser_url) as connection:
            connection.execute(
                "select set_config('request.jwt.claims', %s, true)", [json.dumps({"role": role, "sub": sub})]
            )
            connection.execute(f"set local role {role}".encode())
            return int(ask(connection, f"select coalesce(sum(calls), 0) from observability_bi.{view}")[0][0])

    with psycopg.connect(unchanged_database.superuser_url) as connection:
        query = (
            "select count(*), count(*) filter (where user_id = 'user_1') from observability_internal.ai_usage_metrics"
        )
        ((every, own),) = ask(connection, query)
    for view in VIEWS:
        assert [seen(view, "authenticated", sub) for sub in ("user_1", "user_ana", "user_stranger")] == [own, every, 0]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            seen(view, "anon", "user_ana")


@pytest.mark.parametrize(
    "query",
    [
        "select * from observability_internal.ai_usage_metrics",
        "select * from observability_internal.members",
        "select * from observability_internal.notification_channels",
        "delete from observability_internal.usage_by_day",
        "update observability_bi.bills set amount = 0",
        "select observability.get_settings()",
    ],
)
def test_a_tool_reads_nothing_else_and_changes_nothing(tool: psycopg.Connection[Any], query: str) -> None:
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)):
        ask(tool, query)


def test_the_promised_columns_are_those_of_the_database_of_dbt_and_of_the_page(tool: psycopg.Connection[Any]) -> None:
    found: dict[str, list[str]] = {}
    for view, column in ask(
        tool,
        "select c.relname, a.attname from pg_class as c join pg_attribute as a on a.attrelid = c.oid"
        " where c.relnamespace = 'observability_bi'::regnamespace and a.attnum > 0 order by 1, a.attnum",
    ):
        found.setdefault(view, []).append(column)
    (source,) = yaml.safe_load((DOCS / "bi" / "sources.yml").read_text(encoding="utf-8"))["sources"]
    assert source["schema"] == "observability_bi"
    assert {table["name"]: [column["name"] for column in table["columns"]] for table in source["tables"]} == found
    page = (DOCS / "bi.md").read_text(encoding="utf-8")
    assert {column for columns in found.values() for column in columns if f"`{column}`" not in page} == set()
    contract = ask(
        tool, "select version, view_name, column_name from observability_bi.contract order by view_name, place"
    )
    assert contract == [
        (1, view, column) for view, columns in sorted(found.items()) if view != "contract" for column in columns
    ]


def expanded(query: str) -> str:
    """The SQL that Grafana makes of a panel's, for May by day and all environments."""
    query = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 between '{RANGE[0]}' and '2026-05-31T23:59:59Z'", query)
    query = re.sub(r"\$__timeGroupAlias\((\w+), \$__interval\)", r"date_bin('1 day', \1, '2000-01-01') as time", query)
    query = query.replace("$environment", "'production', 'demo'")
    assert "$" not in query
    return query


def test_every_panel_of_the_grafana_dashboard_adds_up_to_the_costs_page(
    tool: psycopg.Connection[Any], shared_direct: Door
) -> None:
    costs: Any = shared_direct.service().call("get_costs", from_time=RANGE[0], to_time=RANGE[1], filters={})
    totals = costs["totals"]
    expected = {
        "Certain cost": [Decimal(totals["cost"])],
        "At the fallback price": [Decimal(totals["fallback_cost"])],
        "Calls of unknown cost": [totals["unpriced_requests"]],
        "Calls": [totals["requests"]],
        "Certain cost by model": [Decimal(totals["cost"])],
        "Certain cost by feature": [Decimal(totals["cost"])],
        "Tokens": [totals["prompt_tokens"], totals["completion_tokens"]],
        "Calls by outcome": [totals["requests"]],
        "Dearest users": [Decimal(totals["cost"]), Decimal(totals["fallback_cost"]), totals["unpriced_requests"],
                          totals["requests"]],
    }  # fmt: skip
    dashboard = json.loads((DOCS / "bi" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        (target,) = panel["targets"]
        rows = ask(tool, expanded(target["rawSql"]))
        last = rows[0][-len(expected[panel["title"]]) :]
        sums = [sum(row[place - len(last)] or 0 for row in rows) for place in range(len(last))]
        assert sums == expected.pop(panel["title"]), panel["title"]
    assert expected == {}
    assert ask(tool, dashboard["templating"]["list"][1]["query"]) == [("demo",), ("production",)]
