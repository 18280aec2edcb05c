"""Who may do what with which table: people read what their functions need, and nobody writes past the functions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest

from ingest.database.migrate import apply_migrations

if TYPE_CHECKING:
    from tests.support.servers import TestDatabase

# What functions with their caller's rights read, under row level security. Nothing else is granted to people.
READ_BY_PEOPLE = {
    "ai_usage_metrics", "alert_mutes", "alert_routes", "alert_rule_channels", "alert_rules", "alert_silences",
    "alert_states", "alert_transitions", "alerts", "attributions", "budgets", "channel_health",
    "commercial_term_ends", "commercial_terms", "comparable_calls", "cost_corrections", "counted_calls",
    "dimensions", "embedded_texts", "exports", "feedback", "latency_by_group", "latency_by_user", "latency_groups",
    "members", "metric_values", "model_prices", "notification_channels", "notifications", "packed_minutes",
    "performance_by_day", "performance_by_hour", "performance_by_minute", "performance_metrics",
    "provider_cost_revisions", "provider_costs", "report_schedules", "reprice_runs", "route_dimensions", "saved_views",
    "saving_days", "saving_facts", "saving_ledger", "saving_scenarios", "stale_rollups",
    "statement_deliveries", "statement_schedule", "usage_by_day",
    "usage_by_hour", "unpacked_minutes", "usage_by_minute", "usage_by_user", "usage_by_user_day", "usage_by_user_week",
    "users", "users_of_days", "users_of_weeks", "whole_days", "whole_hours", "whole_minutes",
}  # fmt: skip

READ_BY_BI_TOOLS = {
    "attributions", "dimensions", "packed_minutes", "provider_costs", "stale_rollups", "unpacked_minutes",
    "usage_by_day", "usage_by_hour", "usage_by_minute", "usage_by_user", "users",
}  # fmt: skip

WRITES: list[LiteralString] = [
    "delete from observability_internal.members where role = 'ops'",
    "update observability_internal.members set role = 'member' where user_id = 'olga'",
    "insert into observability_internal.members (user_id, role, added_by) values ('eve', 'ops', 'somebody else')",
    "insert into observability_internal.model_prices (provider, model, created_by) values ('a', 'b', 'olga')",
    "update observability_internal.alert_rules set is_enabled = false",
    "delete from observability_internal.alert_rules",
    "delete from observability_internal.alert_rule_channels",
    "update observability_internal.budgets set amount = 0",
    "delete from observability_internal.notification_channels",
    "update observability_internal.report_schedules set is_enabled = false",
    "update observability_internal.statement_schedule set is_enabled = true",
    "delete from observability_internal.statement_deliveries",
    "update observability_internal.alerts set state = 'resolved'",
    "update observability_internal.usage_by_minute set cost = 0",
    "delete from observability_internal.cost_corrections",
    "insert into observability_internal.erasures (person_salt, person_hash) values ('a', 'b')",
    "truncate observability_internal.dimensions",
    "select nextval('observability_internal.batch_ids')",
    "select content from observability_internal.price_catalogues",
    "select * from observability_internal.channel_secrets",
    "select * from observability_internal.link_keys",
    "insert into observability_internal.used_links values (1, 'acknowledge', now(), 'olga')",
    "delete from observability_internal.alert_routes",
    "delete from observability_internal.alert_mutes",
    "update observability_internal.saved_views set is_shared = true",
]


def test_each_role_has_the_rights_that_its_functions_need(every_postgres: TestDatabase) -> None:
    apply_migrations(every_postgres.superuser_url)
    with psycopg.connect(every_postgres.superuser_url) as connection:
        rights = connection.execute(
            "select c.relname, c.relkind::text, coalesce(a.grantee::regrole::text, ''), a.privilege_type"
            " from pg_class c cross join lateral aclexplode(c.relacl) as a"
            " where c.relnamespace in ('observability'::regnamespace, 'observability_internal'::regnamespace)"
            " and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and a.grantee <> c.relowner"
        ).fetchall()
        columns = connection.execute(
            "select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid"
            " where c.relnamespace in ('observability'::regnamespace, 'observability_internal'::regnamespace)"
            " and a.attacl is not null"
        ).fetchall()
    assert columns == []
    assert {role for _, _, role, _ in rights} == {"authenticated", "service_role", "treering_bi"}
    tools = {(name, privilege) for name, _, role, privilege in rights if role == "treering_bi"}
    assert tools == {(name, "SELECT") for name in READ_BY_BI_TOOLS}
    people = {(name, privilege) for name, _, role, privilege in rights if role == "authenticated"}
    assert people == {(name, "SELECT") for name in READ_BY_PEOPLE}
    service = {privilege for _, kind, role, privilege in rights if role == "service_role" and kind != "S"}
    assert service == {"SELECT", "INSERT", "UPDATE", "DELETE"}
    assert {(name, privilege) for name, kind, _, privilege in rights if kind == "S"} == {("batch_ids", "USAGE")}


@pytest.fixture(scope="module")
def shared_database(shared_database: TestDatabase) -> TestDatabase:
    shared_database.execute(
        "insert into observability_internal.members (user_id, role, added_by) values ('olga', 'ops', 'service_role')"
    )
    return shared_database


@pytest.mark.parametrize("statement", WRITES)
@pytest.mark.parametrize("person", ["olga", "user_a"])
def test_nobody_writes_past_the_functions(
    unchanged_database: TestDatabase, person: str, statement: LiteralString
) -> None:
    with psycopg.connect(unchanged_database.superuser_url) as connection:
        claims = json.dumps({"role": "authenticated", "sub": person})
        connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        connection.execute("set local role authenticated")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)
