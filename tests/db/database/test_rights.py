"""Who may see what, found from the catalogue: a new table or function is covered as soon as it exists."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from ingest.database.migrate import apply_migrations
from ingest.errors import DatabaseError, PermissionDeniedError
from tests.support.events import NOON, performance_event, roll_up_all, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database
    from tests.support.doors import Door
    from tests.support.servers import TestDatabase

# What a signed-in person may call; what it returns or changes depends on who that is.
FOR_EVERYBODY_SIGNED_IN = {
    "delete_scenario", "get_calls_to_price", "get_entities", "get_scenarios", "save_scenario",
    "acknowledge_alert", "acknowledge_selected_alerts", "add_member", "add_price", "add_term", "backtest_rule",
    "decide_saving", "delete_alert_mute", "delete_alert_route", "delete_alert_rule", "delete_budget",
    "delete_notification_channel", "delete_view", "end_silence", "end_term", "find_alerts", "get_alerts",
    "get_call_context", "get_cost_aggregates", "get_cost_breakdown", "get_cost_corrections", "get_cost_drivers",
    "get_cost_sums", "get_costs", "get_daily_cost", "get_delivery_health", "get_deployment", "get_events",
    "get_exports", "get_hours", "get_month", "get_notification_states", "get_overview", "get_performance",
    "get_price_catalogue", "get_prices", "get_reconciliation", "get_report_schedules", "get_reprice_runs",
    "get_rows_to_reprice", "get_saving_ledger", "get_savings_evidence", "get_series", "get_session", "get_settings",
    "get_statement", "get_statement_schedule", "get_status",
    "get_terms", "get_unit_costs", "get_usage", "get_views", "list_members",
    "log_export", "read_alert_link", "remove_member", "resend_notification", "save_alert_mute", "save_alert_route",
    "save_alert_rule", "save_budget", "save_notification_channel", "save_report_schedule", "save_statement_schedule",
    "save_view", "send_test_notification", "silence_alerts", "silence_selected_alerts", "use_alert_link",
}  # fmt: skip

PAGES = ("get_overview", "get_usage", "get_costs", "get_performance")


@pytest.fixture
def filled(direct: Door) -> TestDatabase:
    """A database with rows of user_a and user_b in every table that the pipeline fills."""
    service = direct.service()
    for user in ("user_a", "user_b"):
        rejected = usage_event(user_id=user, model=None)
        service.call("record_usage", events=[usage_event(user_id=user), rejected])
        service.call("record_performance", events=[performance_event(user_id=user)])
    roll_up_all(service)
    service.call("condense_rollups")
    service.call("refresh_aggregates")
    service.call("verify_rollups")
    service.call("add_member", user_id="user_ana", role="analyst")
    service.call("record_heartbeat", worker="w1", details={})
    line = {"day": "2026-05-04", "source": "api", "kind": "cost", "amount": "1", "currency": "usd"}
    service.call("record_provider_costs", rows=[line])
    return direct.database


def relations(database: TestDatabase) -> list[tuple[str, str]]:
    """Every table, partition, view and materialized view of both schemas."""
    with psycopg.connect(database.superuser_url) as connection:
        found = connection.execute(
            "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname in ('observability', 'observability_internal') and c.relkind in ('r', 'p', 'v', 'm', 'f')"
            " order by 1, 2"
        ).fetchall()
    assert len(found) > 20
    return found


def visible_rows(database: TestDatabase, claims: dict[str, str], schema: str, relation: str) -> list[str]:
    """What a caller gets from `select *`, each row as text; nothing where the database refuses."""
    with psycopg.connect(database.superuser_url) as connection:
        connection.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
        connection.execute(sql.SQL("set local role {}").format(sql.Identifier(claims["role"])))
        try:
            rows = connection.execute(
                sql.SQL("select t::text from {}.{} as t").format(sql.Identifier(schema), sql.Identifier(relation))
            ).fetchall()
        except psycopg.errors.InsufficientPrivilege:
            return []
        return [text for (text,) in rows]


@pytest.mark.parametrize(
    "claims",
    [
        {"role": "anon"},
        {"role": "authenticated", "sub": "user_stranger"},
        {"role": "authenticated", "sub": ""},
        {"role": "treering_writer"},
        {"role": "treering_writer", "sub": "user_ana"},
    ],
)
def test_a_stranger_sees_no_row_of_any_relation(filled: TestDatabase, claims: dict[str, str]) -> None:
    seen = {
        f"{schema}.{relation}": rows
        for schema, relation in relations(filled)
        if (rows := visible_rows(filled, claims, schema, relation))
    }
    assert seen == {}


def test_a_member_sees_no_row_of_anybody_else_in_any_relation(filled: TestDatabase) -> None:
    claims = {"role": "authenticated", "sub": "user_a"}
    seen = {
        f"{schema}.{relation}": rows
        for schema, relation in relations(filled)
        if (rows := visible_rows(filled, claims, schema, relation))
    }
    assert not [relation for relation, rows in seen.items() if any("user_b" in row for row in rows)]
    assert {relation: len(rows) for relation, rows in seen.items()} == {
        "observability_internal.ai_usage_metrics": 1,
        "observability_internal.attributions": 1,
        "observability_internal.comparable_calls": 1,
        "observability_internal.counted_calls": 1,
        "observability_internal.dimensions": 1,
        "observability_internal.latency_groups": 5,
        "observability_internal.performance_metrics": 1,
        "observability_internal.usage_by_user": 1,
        "observability_internal.users": 1,
    }


def test_every_table_and_partition_has_row_level_security(filled: TestDatabase) -> None:
    with psycopg.connect(filled.superuser_url) as connection:
        unprotected = connection.execute(
            "select c.oid::regclass::text from pg_class c where c.relkind in ('r', 'p') and not c.relrowsecurity"
            " and c.relnamespace in ('observability'::regnamespace, 'observability_internal'::regnamespace)"
        ).fetchall()
    assert unprotected == []


def test_every_plain_view_runs_with_the_rights_of_its_reader(filled: TestDatabase) -> None:
    with psycopg.connect(filled.superuser_url) as connection:
        trusting = connection.execute(
            "select c.oid::regclass::text from pg_class c where c.relkind = 'v'"
            " and c.relnamespace in ('observability'::regnamespace, 'observability_internal'::regnamespace,"
            " 'observability_bi'::regnamespace) and not coalesce(c.reloptions @> '{security_invoker=true}', false)"
        ).fetchall()
    assert trusting == []


def test_every_function_fixes_its_search_path(filled: TestDatabase) -> None:
    with psycopg.connect(filled.superuser_url) as connection:
        loose = connection.execute(
            "select p.oid::regprocedure::text from pg_proc p"
            " where p.pronamespace in ('observability'::regnamespace, 'observability_internal'::regnamespace)"
            " and not exists (select from unnest(p.proconfig) as s where s like 'search_path=%')"
        ).fetchall()
    assert loose == []


def test_no_function_of_ours_is_open_to_the_public_or_to_anon(filled: TestDatabase) -> None:
    with psycopg.connect(filled.superuser_url) as connection:
        grantees = connection.execute(
            "select p.oid::regprocedure::text, coalesce(a.grantee::regrole::text, '') from pg_proc p"
            " cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a"
            " where p.pronamespace in ('observability'::regnamespace, 'observability_internal'::regnamespace)"
        ).fetchall()
    assert len({function for function, _ in grantees}) > 200
    assert {function.partition("(")[0] for function, grantee in grantees if grantee == "treering_bi"} == {
        f"observability_internal.{name}"
        for name in ("access_level", "each_sum", "minutes_within", "reads_own_rows", "stale_buckets")
    }
    assert {grantee for _, grantee in grantees} - {"treering_bi"} == {
        "postgres", "authenticated", "service_role", "treering_writer",
    }  # fmt: skip


def test_what_somebody_else_creates_later_keeps_its_own_rights(every_postgres: TestDatabase) -> None:
    apply_migrations(every_postgres.superuser_url)
    with psycopg.connect(every_postgres.superuser_url, autocommit=True) as connection:
        assert connection.execute("select * from pg_default_acl").fetchall() == []
        connection.execute("create schema customer")
        connection.execute("grant usage on schema customer to authenticated")
        connection.execute("create function customer.is_mine(name text) returns boolean return name = current_user")
        # One of these comes with each Postgres here: Debian's and the embedded one.
        extensions = connection.execute(
            "select name from pg_available_extensions where name in ('citext', 'vector')"
        ).fetchall()
        assert extensions
        for (name,) in extensions:
            connection.execute(sql.SQL("create extension {} schema customer").format(sql.Identifier(name)))
        theirs = connection.execute(
            "select p.oid::regprocedure::text, has_function_privilege('authenticated', p.oid, 'execute') from pg_proc p"
            " where p.pronamespace = 'customer'::regnamespace"
        ).fetchall()
        assert len(theirs) > 10
        assert [function for function, is_allowed in theirs if not is_allowed] == []
        connection.execute("set role authenticated")
        assert connection.execute("select customer.is_mine('authenticated')").fetchone() == (True,)


def test_people_may_call_the_read_functions_and_the_settings_only(filled: TestDatabase) -> None:
    with psycopg.connect(filled.superuser_url) as connection:
        callable_names = connection.execute(
            "select distinct p.proname from pg_proc p where p.pronamespace = 'observability'::regnamespace"
            " and has_function_privilege('authenticated', p.oid, 'execute')"
        ).fetchall()
    assert {name for (name,) in callable_names} == FOR_EVERYBODY_SIGNED_IN


def test_an_insert_only_key_may_call_two_functions_and_enter_no_other_schema(filled: TestDatabase) -> None:
    with psycopg.connect(filled.superuser_url) as connection:
        callable_names = connection.execute(
            "select p.oid::regprocedure::text from pg_proc p where has_function_privilege('treering_writer', p.oid,"
            " 'execute') and p.pronamespace in ('observability'::regnamespace, 'observability_internal'::regnamespace)"
        ).fetchall()
        schemas = connection.execute(
            "select nspname from pg_namespace where has_schema_privilege('treering_writer', oid, 'usage')"
            " and nspname in ('observability', 'observability_internal', 'auth')"
        ).fetchall()
        roles = connection.execute(
            "select rolname from pg_roles where rolname <> 'treering_writer'"
            " and pg_has_role('treering_writer', oid, 'member')"
        ).fetchall()
        properties = connection.execute(
            "select rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolinherit from pg_roles"
            " where rolname = 'treering_writer'"
        ).fetchone()
    assert {name for (name,) in callable_names} == {
        "observability.record_usage(jsonb)",
        "observability.record_performance(jsonb)",
        "observability.record_feedback(jsonb)",
    }
    assert schemas == [("observability",)]
    assert roles == []
    assert properties == (False,) * 6


def test_every_function_that_runs_as_its_owner_is_meant_to(filled: TestDatabase) -> None:
    with psycopg.connect(filled.superuser_url) as connection:
        definers = connection.execute(
            "select p.proname from pg_proc p where p.prosecdef"
            " and p.pronamespace in ('observability'::regnamespace, 'observability_internal'::regnamespace)"
        ).fetchall()
    assert {name for (name,) in definers} == {
        "access_level", "acknowledge_alert", "acknowledge_selected_alerts", "add_member", "add_price", "add_term",
        "archived_until", "batches_to_price", "close_alerts_of_rule", "current_attributions", "current_catalogue",
        "current_person", "current_tenant", "current_user_attributions", "current_user_dims", "current_user_keys",
        "decide_saving", "delete_alert_mute", "delete_alert_route", "delete_alert_rule", "delete_budget",
        "delete_scenario", "forget_in_savings", "raw_calls_begin", "save_scenario",
        "delete_notification_channel", "delete_view", "drop_archived_partition", "end_silence", "end_term",
        "ensure_partition", "forget_in_alerts", "forget_in_rules", "forget_names", "get_cost_aggregates",
        "get_deployment", "get_status", "has_raw_calls", "log_export", "note_change", "pending_batch_ids",
        "pending_rows", "read_alert_link", "read_channel_vault", "record_feedback", "record_performance",
        "record_usage", "refresh_aggregates", "remove_member", "resend_notification", "save_alert_mute",
        "save_alert_route", "save_alert_rule", "save_budget", "save_notification_channel", "save_report_schedule",
        "save_statement_schedule", "save_view", "send_test_notification", "set_channel_target", "sign_link",
        "silence_alerts",
        "silence_selected_alerts", "stale_buckets", "stored_catalogue", "use_alert_link", "watch_partition",
    }  # fmt: skip


@pytest.mark.parametrize("page", [*PAGES, "get_entities", "get_events"])
def test_anonymous_callers_get_no_page(page: str, shared_door: Door) -> None:
    with pytest.raises(PermissionDeniedError):
        shared_door.anonymous().call(page, from_time=NOON, to_time=NOON.replace(hour=13))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_each_caller_what_they_may_see(
    page: str, service_db: Database, viewer: Callable[[str], Database]
) -> None:
    service_db.call("record_usage", events=[usage_event(user_id="user_a"), usage_event(user_id="user_b")])
    roll_up_all(service_db)
    service_db.call("add_member", user_id="user_ana", role="analyst")

    def requests(user_id: str) -> object:
        document = viewer(user_id).call(page, from_time=NOON, to_time=NOON.replace(hour=13))
        assert isinstance(document, dict)
        totals = document["totals"]
        assert isinstance(totals, dict)
        assert "user_b" not in json.dumps(document) or user_id == "user_ana"
        return totals["requests"]

    assert (requests("user_a"), requests("user_stranger"), requests("user_ana")) == (1, 0, 2)


def test_the_explorer_shows_each_caller_what_they_may_see(
    service_db: Database, viewer: Callable[[str], Database]
) -> None:
    service_db.call("record_usage", events=[usage_event(user_id="user_a"), usage_event(user_id="user_b")])
    service_db.call("add_member", user_id="user_ana", role="analyst")

    def users(user_id: str) -> list[str]:
        document = viewer(user_id).call("get_events", from_time=NOON, to_time=NOON.replace(hour=13))
        assert isinstance(document, dict)
        events = document["events"]
        assert isinstance(events, list)
        return sorted(str(event["user_id"]) for event in events if isinstance(event, dict))

    assert (users("user_a"), users("user_stranger"), users("user_ana")) == (["user_a"], [], ["user_a", "user_b"])


@pytest.mark.parametrize("page", [*PAGES, "get_entities", "get_events"])
def test_a_member_who_asks_for_somebody_else_is_refused_or_gets_their_own(
    page: str, service_db: Database, viewer: Callable[[str], Database]
) -> None:
    service_db.call("record_usage", events=[usage_event(user_id="user_b")])
    roll_up_all(service_db)
    filters = {"user_id": "user_b"}
    try:
        document = viewer("user_a").call(page, from_time=NOON, to_time=NOON.replace(hour=13), filters=filters)
    except PermissionDeniedError:
        return
    assert "user_b" not in json.dumps(document)


def test_members_cannot_change_members(service_db: Database, viewer: Callable[[str], Database]) -> None:
    service_db.call("add_member", user_id="user_ops", role="ops")
    for user in ("user_a", "user_stranger"):
        with pytest.raises(PermissionDeniedError):
            viewer(user).call("add_member", user_id=user, role="ops")
        with pytest.raises(PermissionDeniedError):
            viewer(user).call("list_members")


def test_ops_manage_members_but_cannot_lock_everybody_out(
    service_db: Database, viewer: Callable[[str], Database]
) -> None:
    service_db.call("add_member", user_id="user_ops", role="ops")
    ops = viewer("user_ops")
    assert ops.call("remove_member", user_id="user_nobody") is False
    with pytest.raises(DatabaseError, match="the last ops member cannot be removed"):
        ops.call("remove_member", user_id="user_ops")
    ops.call("add_member", user_id="user_two", role="ops")
    assert ops.call("remove_member", user_id="user_two") is True
