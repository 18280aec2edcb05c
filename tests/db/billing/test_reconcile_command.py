"""`treering reconcile` against a local API and real databases, and the worker's job."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ingest.alerts.notifier import ChannelNotifier
from ingest.billing.reconcile import DAYS_A_RUN
from ingest.settings import load_settings
from ingest.worker.jobs import Tools, plan_lanes
from tests.support.cli import door_environment, run_cli
from tests.support.events import store, usage_event
from tests.support.organization_server import ADMIN_KEY, OrganizationServer, cost, usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.doors import Door


def today() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def yesterday() -> datetime:
    return today() - timedelta(days=1)


@pytest.fixture
def server() -> Iterator[OrganizationServer]:
    with OrganizationServer() as server:
        yield server


def environment(door: Door, home: Path, server: OrganizationServer | None = None) -> dict[str, str]:
    env = door_environment(door, home) | {"OPENAI_ADMIN_KEY": "", "TREERING_OPENAI_PROJECTS": ""}
    if server is not None:
        env |= {"OPENAI_ADMIN_KEY": ADMIN_KEY, "TREERING_OPENAI_ADMIN_URL": server.url}
    return env


def spend(door: Door, amount: str) -> None:
    store(door.service(), usage_event(created_at=yesterday() + timedelta(hours=9), estimated_cost=amount))


@pytest.mark.dated
def test_a_bill_that_agrees_is_exit_code_0(door: Door, server: OrganizationServer, tmp_path: Path) -> None:
    spend(door, "0.96")
    server.add("costs", yesterday().date(), cost("1.000000", "gpt-4o-2024-08-06, input"))
    server.add("usage/completions", yesterday().date(), usage("gpt-4o-2024-08-06", 1))
    result = run_cli("reconcile", env=environment(door, tmp_path, server))
    assert result.exit_code == 0, result.output
    assert f"{yesterday():%Y-%m-%d}" in result.stdout
    assert "+4.00%" in result.stdout
    assert "bill and record agree within 5.00%" in result.stdout


def test_a_drift_over_the_threshold_is_exit_code_2(door: Door, server: OrganizationServer, tmp_path: Path) -> None:
    spend(door, "0.5")
    server.add("costs", yesterday().date(), cost("1.5", "gpt-4o-2024-08-06, input"))
    server.add("usage/completions", yesterday().date(), usage("gpt-4o-2024-08-06", 3))
    result = run_cli("reconcile", env=environment(door, tmp_path, server))
    assert result.exit_code == 2
    assert "2 requests that OpenAI counted but were not recorded" in result.stdout
    assert "bill and record differ by more than 5.00%" in result.stdout
    relaxed = environment(door, tmp_path, server) | {"TREERING_DRIFT_THRESHOLD": "0.7"}
    assert run_cli("reconcile", env=relaxed).exit_code == 0


def test_the_document_is_printed_for_programs(direct: Door, server: OrganizationServer, tmp_path: Path) -> None:
    spend(direct, "0.96")
    server.add("costs", yesterday().date(), cost("1", None))
    result = run_cli("reconcile", "--json", env=environment(direct, tmp_path, server))
    document = json.loads(result.stdout)
    assert document["verdict"] == {"threshold": "0.05", "is_over": False, "bad_lines": []}
    assert document["totals"]["drift"] == "0.04"
    assert len(document["days"]) == 30


@pytest.mark.dated
def test_days_are_chosen_and_today_is_left_out(direct: Door, server: OrganizationServer, tmp_path: Path) -> None:
    env = environment(direct, tmp_path, server)
    tomorrow = (today() + timedelta(days=1)).date().isoformat()
    run_cli("reconcile", "--from", yesterday().date().isoformat(), "--to", tomorrow, env=env)
    path, query = server.asked[0]
    assert (path, query["start_time"], query["end_time"]) == (
        "costs", [f"{yesterday().timestamp():.0f}"], [f"{today().timestamp():.0f}"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--from", "2026-05-04", "--to", "2026-05-04"], "--from must be before --to"),
        (["--from", "May"], "--from: not a day: 'May'"),
        (["--from", "2020-01-01", "--to", "2026-01-01"], "at most 400 days"),
    ],
)
def test_a_range_that_cannot_be_is_refused(
    direct: Door, server: OrganizationServer, tmp_path: Path, arguments: list[str], problem: str
) -> None:
    result = run_cli("reconcile", *arguments, env=environment(direct, tmp_path, server))
    assert (result.exit_code, server.asked) == (1, [])
    assert problem in result.stderr


def test_without_a_key_and_without_a_file_the_variable_is_named(direct: Door, tmp_path: Path) -> None:
    result = run_cli("reconcile", env=environment(direct, tmp_path))
    assert result.exit_code == 1
    assert "OPENAI_ADMIN_KEY: must be set" in result.stderr


def test_an_api_that_fails_is_exit_code_1_and_stores_nothing(
    direct: Door, server: OrganizationServer, tmp_path: Path
) -> None:
    server.failures = [(404, {}, '{"error": {"message": "no such path"}}')]
    result = run_cli("reconcile", env=environment(direct, tmp_path, server))
    assert result.exit_code == 1
    assert "it answered 404: no such path" in result.stderr


def test_no_day_with_a_bill_is_exit_code_1(direct: Door, server: OrganizationServer, tmp_path: Path) -> None:
    server.add("costs", yesterday().date(), cost("3", "gpt-4o", currency="eur"))
    day = yesterday().date().isoformat()
    result = run_cli("reconcile", "--from", day, env=environment(direct, tmp_path, server))
    assert result.exit_code == 1
    assert "nothing to compare" in result.stdout
    assert "1 lines in other currencies" in result.stdout


@pytest.mark.dated
def test_an_invoice_is_compared_on_its_own_days(door: Door, tmp_path: Path) -> None:
    spend(door, "2")
    file = tmp_path / "invoice.csv"
    file.write_text(f'date,amount,line_item\n{yesterday():%Y-%m-%d},2.05,"gpt-4o, input"\n', encoding="utf-8")
    result = run_cli("reconcile", "--import", file, "--json", env=environment(door, tmp_path))
    assert result.exit_code == 0, result.output
    document: Any = json.loads(result.stdout)
    assert [(day["source"], day["billed_cost"], day["recorded_cost"]) for day in document["days"]] == [
        ("import", "2.05", "2"),
    ]
    assert run_cli("reconcile", "--import", file, env=environment(door, tmp_path)).exit_code == 0


def test_a_bad_line_of_an_invoice_is_named_and_the_exit_code_is_1(direct: Door, tmp_path: Path) -> None:
    spend(direct, "2")
    file = tmp_path / "invoice.csv"
    file.write_text(f"date,amount\n{yesterday():%Y-%m-%d},2\nsoon,1\n", encoding="utf-8")
    result = run_cli("reconcile", "--import", file, env=environment(direct, tmp_path))
    assert result.exit_code == 1
    assert "invoice.csv, line 3: not a day: 'soon'" in result.stderr
    assert "1 days" in result.stdout


def test_an_invoice_of_bad_lines_alone_compares_nothing(direct: Door, tmp_path: Path) -> None:
    file = tmp_path / "invoice.csv"
    file.write_text("date,amount\nsoon,1\n", encoding="utf-8")
    result = run_cli("reconcile", "--import", file, env=environment(direct, tmp_path))
    assert result.exit_code == 1
    assert "nothing to compare" in result.stdout


@pytest.mark.dated
def test_the_worker_reads_the_last_days_where_there_is_a_key(door: Door, server: OrganizationServer) -> None:
    server.add(
        "costs", yesterday().date(), cost("1", "gpt-4o", project_id="proj_a"), cost("2", "o3", project_id="proj_b")
    )
    settings = load_settings(openai_admin_key=ADMIN_KEY, openai_admin_url=server.url, openai_projects="proj_x, proj_b")
    tools = Tools(door.service(), settings, "worker", ChannelNotifier())
    (job,) = (job for lane in plan_lanes(tools) for job in lane if job.name == "reconcile")
    assert job.run() is False
    assert job.run() is False
    document: Any = door.service().call("get_reconciliation", from_time=today() - timedelta(days=60), to_time=today())
    assert document["totals"]["days"] == DAYS_A_RUN
    assert document["totals"]["billed_cost"] == "2"
    assert server.asked[0][1]["project_ids"] == ["proj_x", "proj_b"]
