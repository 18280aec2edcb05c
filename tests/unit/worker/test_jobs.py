from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ingest.archive import service as archive_service
from ingest.errors import CatalogueError
from ingest.settings import load_settings
from ingest.worker import jobs
from ingest.worker.jobs import JOBS, JobRow, Tools, plan_lanes
from tests.support.scripted_database import ScriptedDatabase

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.alerts.notification import ClaimedNotification, Outcome
    from ingest.worker.lane import Job

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
DOCS = Path(__file__).parents[3] / "docs"


class Silent:
    async def send(self, notification: ClaimedNotification) -> Outcome:
        raise NotImplementedError


def tools(database: ScriptedDatabase | None = None, **settings: Any) -> Tools:
    hosted = {"supabase_url": "https://x.supabase.co", **settings}
    return Tools(database or ScriptedDatabase(), load_settings(**hosted), "me", Silent(), lambda: NOW)


def planned(chosen: Tools) -> list[list[str]]:
    return [[job.name for job in lane] for lane in plan_lanes(chosen)]


def job_named(database: ScriptedDatabase, name: str) -> Job:
    return next(job for lane in plan_lanes(tools(database)) for job in lane if job.name == name)


def row_named(name: str) -> JobRow:
    return next(row for row in JOBS if row.name == name)


@pytest.mark.parametrize(
    ("result", "has_more"),
    [
        ({"is_busy": False, "pending_batches": 3}, True),
        ({"is_busy": False, "pending_batches": 0}, False),
        ({"is_busy": True, "pending_batches": 3}, False),
    ],
)
def test_the_roll_up_goes_on_while_batches_wait_unless_another_is_at_it(
    result: dict[str, int | bool], has_more: bool
) -> None:
    database = ScriptedDatabase(roll_up=[dict(result)])
    assert job_named(database, "roll_up").run() is has_more


@pytest.mark.parametrize(
    ("result", "has_more"),
    [
        ({"is_busy": False, "is_done": False}, True),
        ({"is_busy": False, "is_done": True}, False),
        ({"is_busy": True, "is_done": False}, False),
    ],
)
def test_condensing_goes_on_until_it_is_done_unless_another_is_at_it(result: dict[str, bool], has_more: bool) -> None:
    database = ScriptedDatabase(condense_rollups=[dict(result)])
    assert job_named(database, "condense_rollups").run() is has_more


@pytest.mark.parametrize(
    ("name", "period_s"),
    [
        ("ensure_partitions", 86_400),
        ("roll_up", 1),
        ("condense_rollups", 60),
        ("refresh_aggregates", 300),
        ("evaluate_alerts", 5),
    ],
)
def test_each_job_calls_its_function_in_its_period(name: str, period_s: int) -> None:
    database = ScriptedDatabase(roll_up=[{"pending_batches": 0}], condense_rollups=[{"is_done": True}])
    job = job_named(database, name)
    assert not job.run()
    assert job.period_s == period_s
    assert database.called == [name]


def test_the_daily_comparison_goes_on_until_all_days_are_done() -> None:
    slice_: dict[str, JsonValue] = {
        "checked_at": "2026-11-25T03:00:00Z",
        "from_time": "2026-11-22T00:00:00Z",
        "to_time": "2026-11-24T00:00:00Z",
        "is_done": False,
        "is_exact": True,
    }
    rest = {**slice_, "from_time": "2026-11-24T00:00:00Z", "to_time": "2026-11-26T00:00:00Z", "is_done": True}
    database = ScriptedDatabase(verify_rollups=[slice_, rest])
    job = job_named(database, "verify_rollups")
    assert not job.run()
    assert job.period_s == 86_400
    assert database.called == ["verify_rollups", "verify_rollups"]


@pytest.mark.parametrize(("begun", "has_more"), [(3, True), (0, False)])
def test_delivery_goes_on_while_more_messages_may_wait(
    begun: int, has_more: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = tools()
    monkeypatch.setattr(chosen.deliverer, "deliver", lambda: begun)
    assert row_named("deliver_notifications").run(chosen) is has_more


def test_computed_metrics_and_reports_go_by_the_tools_clock() -> None:
    database = ScriptedDatabase(get_computed_rules=[[]], get_due_reports=[[]])
    assert not row_named("compute_metrics").run(tools(database))
    assert not row_named("publish_reports").run(tools(database))
    assert database.arguments_of("get_due_reports") == [{"as_of": NOW.isoformat()}]


def test_jobs_of_a_lane_run_one_after_the_other_and_lanes_beside_each_other() -> None:
    assert planned(tools()) == [
        ["ensure_partitions", "price_arrivals", "roll_up", "condense_rollups"],
        ["refresh_aggregates", "verify_rollups", "judge_savings"],
        ["evaluate_alerts"],
        ["deliver_notifications"],
        ["compute_metrics"],
        ["publish_reports"],
        ["hand_out_statements"],
        ["reprice"],
    ]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("reconcile", {"openai_admin_key": "sk-admin-x"}),
        ("update_prices", {"update_prices": True, "auto_reprice": False}),
        ("archive", {"archive_url": "/archive"}),
    ],
)
def test_a_job_with_needs_runs_only_where_they_are_met(name: str, settings: dict[str, Any]) -> None:
    assert [name] not in planned(tools())
    assert [name] in planned(tools(**settings))


def test_rows_that_stay_for_want_of_an_archive_are_warned_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    plan_lanes(tools())
    monkeypatch.setattr(jobs, "find_spec", lambda _: None)
    plan_lanes(tools(archive_url="/archive"))
    assert [record.message for record in caplog.records] == [
        "nothing is archived and raw rows are kept: TREERING_ARCHIVE_URL is not set",
        "nothing is archived and raw rows are kept: pip install 'treering[archive]'",
    ]


def test_the_archive_job_runs_retention(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    monkeypatch.setattr(archive_service, "run_retention", lambda *arguments: ran.append(arguments))
    chosen = tools(archive_url="/archive")
    assert not row_named("archive").run(chosen)
    assert ran == [(chosen.database, chosen.settings)]


def test_fetched_prices_are_told_when_they_are_new(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    answers = iter([True, False])
    monkeypatch.setattr(jobs, "update_catalogue", lambda _: next(answers))
    database = ScriptedDatabase(note_catalogue=[False, False])
    assert not row_named("update_prices").run(tools(database))
    assert not row_named("update_prices").run(tools(database))
    assert [record.message for record in caplog.records] == ["a new price catalogue is in force"]
    assert database.arguments_of("note_catalogue") == [{}, {}]


def test_a_catalogue_out_of_reach_is_told_once_and_kept_for_the_status(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> bool:
        raise CatalogueError("the catalogue cannot be fetched")

    monkeypatch.setattr(jobs, "update_catalogue", fail)
    database = ScriptedDatabase(note_catalogue=[True, False])
    assert not row_named("update_prices").run(tools(database))
    assert not row_named("update_prices").run(tools(database))
    assert [record.message for record in caplog.records] == [
        "the prices stay as they are: the catalogue cannot be fetched; TREERING_UPDATE_PRICES=false ends the attempts"
    ]
    assert database.arguments_of("note_catalogue") == [{"error": "the catalogue cannot be fetched"}] * 2


def test_prices_are_not_read_where_no_call_waits_for_one() -> None:
    database = ScriptedDatabase(get_arrivals=[{"batch_ids": [], "columns": [], "rows": []}])
    assert not row_named("price_arrivals").run(tools(database))
    assert database.called == ["get_arrivals"]


def test_prices_that_are_those_of_the_last_run_reprice_nothing() -> None:
    chosen = tools()
    known = chosen.prices.fingerprint(chosen.settings.fallback_model)
    database = ScriptedDatabase(get_prices=[{"prices": []}], get_price_state=[{"price_fingerprint": known}])
    assert not row_named("reprice").run(tools(database))
    assert database.called == ["get_prices", "get_price_state"]


def test_a_provider_that_failed_is_asked_again_after_an_hour() -> None:
    row = row_named("reconcile")
    assert (row.period_s, row.retry_s) == (86_400, 3600)


def test_job_names_are_unique() -> None:
    assert len({row.name for row in JOBS}) == len(JOBS)


def test_the_docs_list_every_job_with_its_period() -> None:
    (document,) = DOCS.rglob("cli.md")
    lengths = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
    row = re.compile(r"^\| `(\w+)` \| every (?:(\d+) )?(day|hour|minute|second)s? \|", re.MULTILINE)
    listed = {name: int(count or 1) * lengths[unit] for name, count, unit in row.findall(document.read_text())}
    assert listed == {row.name: row.period_s for row in JOBS}
