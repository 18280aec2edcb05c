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
from tests.support.anthropic_admin_server import ADMIN_KEY as ANTHROPIC_KEY
from tests.support.anthropic_admin_server import AnthropicAdminServer
from tests.support.anthropic_admin_server import cost as anthropic_cost
from tests.support.anthropic_admin_server import usage as anthropic_usage
from tests.support.cli import door_environment, run_cli
from tests.support.events import store, usage_event
from tests.support.focus_exports import BEDROCK, focus_row, write_csv
from tests.support.organization_server import ADMIN_KEY, OrganizationServer, cost, usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.doors import Door

SEARCH = {"cost_type": "web_search", "model": None, "description": "Web search"}


def today() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def yesterday() -> datetime:
    return today() - timedelta(days=1)


@pytest.fixture
def server() -> Iterator[OrganizationServer]:
    with OrganizationServer() as server:
        yield server


def environment(door: Door, home: Path, server: OrganizationServer | None = None) -> dict[str, str]:
    env = door_environment(door, home) | {
        "OPENAI_ADMIN_KEY": "",
        "ANTHROPIC_ADMIN_KEY": "",
        "TREERING_OPENAI_PROJECTS": "",
    }
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
    # Three calls of the recorded one's size.
    tokens = {"input_tokens": 450, "input_cached_tokens": 0, "input_cache_write_tokens": 0, "output_tokens": 150}
    server.add("usage/completions", yesterday().date(), usage("gpt-4o-2024-08-06", 3, **tokens))
    result = run_cli("reconcile", env=environment(door, tmp_path, server))
    assert result.exit_code == 2
    assert "+1.00 $  volume: billed, but not recorded (2 calls): gpt-4o +1.00" in result.stdout
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
    assert "OPENAI_ADMIN_KEY, ANTHROPIC_ADMIN_KEY: one must be set" in result.stderr


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
    assert "1 line not compared: in other currencies" in result.stdout


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
    assert "1 day " in result.stdout


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


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_no_day_is_ever_cut_off(direct: Door, tmp_path: Path, columns: str) -> None:
    days = [f"{today() - timedelta(days=n):%Y-%m-%d}" for n in range(3, 13)]
    file = tmp_path / "invoice.csv"
    file.write_text("date,amount\n" + "".join(f"{day},12345678.91\n" for day in days), encoding="utf-8")
    result = run_cli("reconcile", "--import", file, env=environment(direct, tmp_path) | {"COLUMNS": columns})
    assert all(f"{day} " in result.stdout for day in days)
    assert "…" not in result.stdout


def test_the_table_fits_a_terminal_of_80_columns(direct: Door, server: OrganizationServer, tmp_path: Path) -> None:
    spend(direct, "123456.78")
    server.add("costs", yesterday().date(), cost("234567.89", "gpt-4o, input"))
    server.add("usage/completions", yesterday().date(), usage("gpt-4o", 1_234_567))
    result = run_cli("reconcile", env=environment(direct, tmp_path, server) | {"COLUMNS": "80"})
    table = result.stdout[: result.stdout.index("causes")].splitlines()
    assert max(len(line.rstrip()) for line in table) <= 80


def test_open_days_and_revisions_are_told(direct: Door, server: OrganizationServer, tmp_path: Path) -> None:
    spend(direct, "2")
    before = (today() - timedelta(days=2)).date()
    server.add("costs", before, cost("3", "Completions"))
    env = environment(direct, tmp_path, server)
    run_cli("reconcile", env=env)
    server.results["costs"][before] = [cost("2.5", "Completions")]
    result = run_cli("reconcile", env=env)
    assert "1 day open: the provider has not settled the bill" in result.stdout
    assert f"revised: the bill of {before} went from 3.00 to 2.50 $ (-0.500000)" in result.stdout


def test_items_are_listed_by_day_and_model(direct: Door, server: OrganizationServer, tmp_path: Path) -> None:
    server.add("costs", yesterday().date(), cost("2", "gpt-4o, input", quantity=800_000, quantity_unit="tokens"))
    result = run_cli("reconcile", "--items", env=environment(direct, tmp_path, server))
    line = next(line for line in result.stdout.splitlines() if "calls_not_recorded" in line)
    assert line.split() == [
        f"{yesterday():%Y-%m-%d}", "+2.00", "800,000", "0", "calls_not_recorded", "gpt-4o", "input",
    ]  # fmt: skip


def test_the_bill_of_anthropic_is_read_with_its_own_key(door: Door, tmp_path: Path) -> None:
    event = usage_event(
        created_at=yesterday(), provider="anthropic", model="claude-sonnet-4", prompt_tokens=1000, completion_tokens=0,
        estimated_cost="0.003",
    )  # fmt: skip
    store(door.service(), event)
    with AnthropicAdminServer() as server:
        env = environment(door, tmp_path) | {
            "ANTHROPIC_ADMIN_KEY": ANTHROPIC_KEY, "TREERING_ANTHROPIC_ADMIN_URL": server.url,
        }  # fmt: skip
        # 1,000 of the 5,000 tokens are recorded; all of them cost 1.5 cents.
        server.add("cost_report", yesterday().date(), anthropic_cost("1.500"), anthropic_cost("320", None, **SEARCH))
        server.add("usage_report/messages", yesterday().date(), anthropic_usage(5000, 0))
        result = run_cli("reconcile", env=env)
        only_openai = run_cli("reconcile", "--provider", "openai", env=env)
    assert "the bill of anthropic" in result.stdout
    assert "+3.20 $  fees that are not by token: searches, tools, storage: Web search +3.20" in result.stdout
    assert "+0.012000 $  volume: billed, but not recorded: claude-sonnet-4 +0.012000" in result.stdout
    assert "price" not in result.stdout
    assert "OPENAI_ADMIN_KEY: must be set to read the bill of openai" in only_openai.stderr


def test_a_bill_of_a_cloud_comes_from_its_export(direct: Door, server: OrganizationServer, tmp_path: Path) -> None:
    result = run_cli("reconcile", "--provider", "azure", env=environment(direct, tmp_path, server))
    assert "import its FOCUS export by --import-focus" in result.stderr


def test_one_provider_that_fails_does_not_keep_the_others_from_being_stored(
    direct: Door, server: OrganizationServer, tmp_path: Path
) -> None:
    server.failures = [(404, {}, "{}")]
    with AnthropicAdminServer() as other:
        other.add("cost_report", yesterday().date(), anthropic_cost("100"))
        env = environment(direct, tmp_path, server) | {
            "ANTHROPIC_ADMIN_KEY": ANTHROPIC_KEY, "TREERING_ANTHROPIC_ADMIN_URL": other.url,
        }  # fmt: skip
        result = run_cli("reconcile", env=env)
    assert (result.exit_code, "answered 404" in result.stderr) == (1, True)
    document: Any = direct.service().call(
        "get_reconciliation", from_time=yesterday(), to_time=today(), filters={"provider": "anthropic"}
    )
    assert document["totals"]["billed_cost"] == "1"


@pytest.mark.dated
def test_a_focus_export_may_come_again_and_corrected(door: Door, tmp_path: Path) -> None:
    event = usage_event(
        created_at=yesterday(), provider="azure", model="gpt-4o-2024-08-06", prompt_tokens=1_000_000,
        completion_tokens=0, estimated_cost="2.50",
    )  # fmt: skip
    store(door.service(), event)
    file = write_csv(tmp_path / "export.csv", focus_row(day=yesterday().date(), cost="2.75"))
    env = environment(door, tmp_path)
    results = [run_cli("reconcile", "--import-focus", file, env=env) for _ in range(2)]
    assert results[0].stdout == results[1].stdout
    assert results[1].exit_code == 2
    assert "+0.250000 $  price: the bill's price of a token differs from the recorded one" in results[1].stdout
    write_csv(file, focus_row(day=yesterday().date(), cost="2.50"))
    corrected = run_cli("reconcile", "--import-focus", file, env=env)
    assert corrected.exit_code == 0
    assert "went from 2.75 to 2.50 $" in corrected.stdout


def test_several_bills_are_a_list_of_documents(direct: Door, tmp_path: Path) -> None:
    day = yesterday().date()
    file = write_csv(tmp_path / "export.csv", focus_row(day=day), focus_row(day=day) | BEDROCK)
    env = environment(direct, tmp_path)
    result = run_cli("reconcile", "--import-focus", file, "--json", env=env)
    assert [document["provider"] for document in json.loads(result.stdout)] == ["aws", "azure"]
    one = run_cli("reconcile", "--import-focus", file, "--provider", "aws", "--json", env=env)
    assert json.loads(one.stdout)["provider"] == "aws"
    none = run_cli("reconcile", "--import-focus", file, "--provider", "google", env=env)
    assert "there is no bill of google in what was read" in none.stderr


def test_only_one_kind_of_file_is_imported(direct: Door, tmp_path: Path) -> None:
    result = run_cli("reconcile", "--import", "a.csv", "--import-focus", "b.csv", env=environment(direct, tmp_path))
    assert (result.exit_code, "give one of them" in result.stderr) == (1, True)
