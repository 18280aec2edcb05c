from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from ingest.database.migrate import read_migrations
from tests.support.cli import door_environment, run_cli

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.doors import Door
    from tests.support.servers import TestDatabase


def record(door: Door, *minutes: int) -> None:
    events = [
        {
            "event_id": f"01980000-0000-7000-8000-0000000000{minute:02d}",
            "created_at": f"2026-11-20T10:{minute:02d}:00Z",
            "user_id": "u1",
            "model": "gpt-4o" if minute % 2 else "gpt-4o-mini",
            "prompt_tokens": 10,
            "completion_tokens": 1,
            "estimated_cost": "0.0000015",
            "cost_source": "priced",
        }
        for minute in minutes
    ]
    assert door.service().call("record_usage", events=events) == len(events)


def lead(door: Door, worker: str = "w") -> None:
    service = door.service()
    service.call("acquire_lease", name="worker", holder=worker, ttl_s=60)
    service.call("record_heartbeat", worker=worker, details={})
    service.call("ensure_partitions")
    service.call("refresh_aggregates")


def test_members_come_and_go(door: Door, tmp_path: Path) -> None:
    env = door_environment(door, tmp_path)
    assert "no members yet" in run_cli("members", "list", env=env).stdout
    assert run_cli("members", "add", "anna", "--role", "analyst", env=env).exit_code == 0
    assert run_cli("members", "add", "anna", "--role", "ops", env=env).exit_code == 0
    assert run_cli("members", "add", "otto", "--role", "ops", env=env).exit_code == 0
    assert "anna" in run_cli("members", "list", env=env).stdout
    listed = json.loads(run_cli("members", "list", "--json", env=env).stdout)
    assert {row["user_id"]: row["role"] for row in listed} == {"anna": "ops", "otto": "ops"}
    assert run_cli("members", "remove", "anna", env=env).exit_code == 0
    assert run_cli("members", "remove", "anna", env=env).exit_code == 1


def test_an_export_holds_the_calls_of_the_range_and_of_the_filter(door: Door, tmp_path: Path) -> None:
    record(door, 1, 2, 3)
    env = door_environment(door, tmp_path)
    arguments = ("export", "--from", "2026-11-20T10:02Z", "--to", "2026-11-21")
    target = tmp_path / "calls.csv"
    assert run_cli(*arguments, "--output", target, env=env).exit_code == 0
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    assert [row["created_at"] for row in rows] == ["2026-11-20T10:03:00+00:00", "2026-11-20T10:02:00+00:00"]
    assert {row["estimated_cost"] for row in rows} == {"0.0000015"}
    assert run_cli(*arguments, "--model", "gpt-4o", "--format", "jsonl", "-o", target, env=env).exit_code == 0
    assert [json.loads(line)["model"] for line in target.read_text().splitlines()] == ["gpt-4o"]


def test_an_export_that_fails_leaves_the_old_file_as_it_was(direct: Door, tmp_path: Path) -> None:
    target = tmp_path / "calls.csv"
    target.write_text("old")
    env = door_environment(direct, tmp_path)
    result = run_cli("export", "--from", "2026-11-21", "--to", "2026-11-20", "-o", target, env=env)
    assert result.exit_code == 1
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_status_tells_a_monitor_what_is_wrong(door: Door, tmp_path: Path) -> None:
    env = door_environment(door, tmp_path)
    without_worker = run_cli("status", env=env)
    assert without_worker.exit_code == 2
    assert "treering worker" in without_worker.stdout
    lead(door)
    door.service().call("add_member", user_id="user_ops", role="ops")
    healthy = run_cli("status", "--json", env=env)
    assert healthy.exit_code == 0, healthy.stdout
    assert json.loads(healthy.stdout)["level"] == "ok"


def test_status_of_a_database_that_is_away_is_critical(tmp_path: Path) -> None:
    result = run_cli("status", "--json", env={"TREERING_HOME": str(tmp_path)})
    assert result.exit_code == 2
    assert json.loads(result.stdout)["status"] is None


def test_doctor_finds_nothing_wrong_with_a_healthy_deployment(door: Door, tmp_path: Path) -> None:
    record(door, 1)
    lead(door)
    service = door.service()
    service.call("roll_up")
    result = run_cli("doctor", env=door_environment(door, tmp_path))
    assert result.exit_code == 0, result.stdout
    assert "anonymous: has no access, as intended" in result.stdout
    assert "fail" not in result.stdout
    assert f"all {len(read_migrations())} applied" in result.stdout


def test_doctor_sees_an_anonymous_caller_who_can_read(direct: Door, tmp_path: Path) -> None:
    direct.database.execute("""
        create or replace function observability.get_overview(
          from_time timestamptz, to_time timestamptz, filters jsonb default '{}'
        ) returns jsonb language sql set search_path = '' as 'select null::jsonb';
        grant usage on schema observability to anon;
        grant execute on function observability.get_overview(timestamptz, timestamptz, jsonb) to anon;
    """)
    result = run_cli("doctor", env=door_environment(direct, tmp_path))
    assert result.exit_code == 1
    assert "fail Postgres door, anonymous: can read figures" in result.stdout


def test_migrate_brings_a_database_up_and_then_finds_nothing_to_do(empty_database: TestDatabase) -> None:
    first = run_cli("migrate", "--db-url", empty_database.superuser_url)
    assert first.exit_code == 0, first.stderr
    assert f"{len(read_migrations())} migrations applied" in first.stdout
    assert "nothing to do" in run_cli("migrate", env={"SUPABASE_DB_URL": empty_database.superuser_url}).stdout


def test_doctor_names_missing_functions(empty_database: TestDatabase, tmp_path: Path) -> None:
    env = {"SUPABASE_DB_URL": empty_database.superuser_url, "TREERING_HOME": str(tmp_path)}
    run_cli("migrate", env=env)
    empty_database.execute("drop function observability.get_status")
    result = run_cli("doctor", env=env)
    assert result.exit_code == 1
    assert "treering migrate" in result.stdout


def test_a_worker_seen_long_ago_is_dead(direct: Door, tmp_path: Path) -> None:
    lead(direct)
    direct.database.execute("update observability_internal.heartbeats set seen_at = now() - interval '10 minutes'")
    assert run_cli("status", env=door_environment(direct, tmp_path)).exit_code == 2
