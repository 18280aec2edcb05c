"""When reports leave, and that each is written once."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from ingest.errors import InvalidArgumentError, PermissionDeniedError
from ingest.forecasting.series import read_forecast
from ingest.reports.figures import Period, SavingsFound, as_savings, read_figures
from ingest.reports.publish import publish_due_reports
from ingest.reports.text import write_report
from ingest.savings.ledger import read_ledger
from ingest.savings.reading import read_savings_plan
from tests.support.clockwork import Clockwork
from tests.support.events import store, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database
    from tests.support.doors import Door

MONDAY = datetime(2026, 11, 23, 9, tzinfo=UTC)
MESSAGE: dict[str, Any] = {"title": "t", "text": "t\n", "html": "<p>t</p>", "image": "aW1n"}
BERLIN = "Europe/Berlin"


def ask(database: Database, function: str, **arguments: Any) -> Any:
    return database.call(function, **arguments)


def schedule(database: Database, kind: str = "daily", **fields: Any) -> Any:
    return ask(database, "save_report_schedule", schedule={"kind": kind, "is_enabled": True, **fields})


def publish(database: Database, **changes: Any) -> Any:
    arguments = {
        "kind": "daily", "period_start": "2026-11-22", "period_end": "2026-11-23", "message": MESSAGE, "worker": "w",
    }  # fmt: skip
    return ask(database, "publish_report", **{**arguments, **changes})


def add_channel(database: Database, name: str = "mail", **fields: Any) -> int:
    url = "mailto://reports.example.com?from=treering@example.com&to=team@example.com"
    return int(Clockwork(database).channel(url, kind="apprise", name=name, **fields)["channel_id"])


def due(database: Database, now: datetime = MONDAY) -> list[str]:
    return [one["kind"] for one in ask(database, "get_due_reports", as_of=now)]


def test_reports_are_off_until_somebody_wants_them(service_db: Database) -> None:
    schedules = ask(service_db, "get_report_schedules")
    assert [(one["kind"], one["is_enabled"], one["channels"]) for one in schedules] == [
        ("daily", False, []),
        ("weekly", False, []),
        ("monthly", False, []),
    ]
    assert due(service_db) == []


def test_ops_say_when_and_where_reports_leave(service_db: Database, viewer: Callable[[str], Database]) -> None:
    channel = add_channel(service_db)
    service_db.call("add_member", user_id="user_ops", role="ops")
    ops = viewer("user_ops")
    saved = schedule(ops, "weekly", local_hour=7, timezone=BERLIN, channels=[channel])
    assert (saved["local_hour"], saved["timezone"], saved["updated_by"]) == (7, BERLIN, "user_ops")
    assert ask(ops, "get_report_schedules")[1]["channels"] == [channel]


@pytest.mark.parametrize("role", ["member", "analyst"])
def test_nobody_else_sees_or_changes_that(service_db: Database, viewer: Callable[[str], Database], role: str) -> None:
    service_db.call("add_member", user_id="user_x", role=role)
    with pytest.raises(PermissionDeniedError):
        schedule(viewer("user_x"))
    with pytest.raises(PermissionDeniedError):
        ask(viewer("user_x"), "get_report_schedules")
    with pytest.raises(PermissionDeniedError):
        publish(viewer("user_x"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "hourly"},
        {"local_hour": 24},
        {"timezone": "Mars/Base"},
        {"colour": "red"},
        {"channels": list(range(51))},
    ],
    ids=str,
)
def test_a_schedule_that_cannot_be_is_refused(shared_db: Database, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        schedule(shared_db, **wrong)


def test_a_schedule_is_an_object_and_a_report_has_words(service_db: Database) -> None:
    with pytest.raises(InvalidArgumentError, match="a schedule is a JSON object"):
        ask(service_db, "save_report_schedule", schedule=[])
    with pytest.raises(InvalidArgumentError, match="a report has a title"):
        publish(service_db, message={"title": "t"})
    with pytest.raises(InvalidArgumentError, match="daily, weekly or monthly"):
        publish(service_db, kind="hourly")


def test_a_report_is_due_from_its_hour_on_in_its_zone(service_db: Database) -> None:
    channel = add_channel(service_db)
    schedule(service_db, local_hour=8, timezone=BERLIN, channels=[channel])
    before = datetime(2026, 11, 23, 6, 59, tzinfo=UTC)  # 07:59 in Berlin
    assert due(service_db, before) == []
    (report,) = ask(service_db, "get_due_reports", as_of=before + timedelta(minutes=1))
    assert (report["period_start"], report["period_end"]) == ("2026-11-22", "2026-11-23")
    assert datetime.fromisoformat(report["from_time"]) == datetime(2026, 11, 21, 23, tzinfo=UTC)
    assert Period.model_validate(report) == Period.latest("daily", BERLIN, before)


def test_a_week_is_from_monday_to_sunday(service_db: Database) -> None:
    schedule(service_db, "weekly", local_hour=8, timezone=BERLIN, channels=[add_channel(service_db)])
    assert due(service_db, datetime(2026, 11, 23, 6, 59, tzinfo=UTC)) == []
    (report,) = ask(service_db, "get_due_reports", as_of=datetime(2026, 11, 25, 12, tzinfo=UTC))
    assert (report["period_start"], report["period_end"]) == ("2026-11-16", "2026-11-23")
    assert Period.model_validate(report) == Period.latest("weekly", BERLIN, MONDAY)
    schedule(service_db, "monthly", local_hour=0, timezone=BERLIN, channels=[add_channel(service_db, "month")])
    (report,) = (one for one in ask(service_db, "get_due_reports", as_of=MONDAY) if one["kind"] == "monthly")
    assert Period.model_validate(report) == Period.latest("monthly", BERLIN, MONDAY)
    # October in Berlin begins in summer time and ends in winter time.
    assert (report["from_time"][:13], report["to_time"][:13]) == ("2026-09-30T22", "2026-10-31T23")


@pytest.mark.dated
def test_a_report_is_written_once_and_then_no_longer_due(service_db: Database) -> None:
    channel = add_channel(service_db)
    schedule(service_db, channels=[channel, add_channel(service_db, "off", is_enabled=False), 999])
    assert due(service_db) == ["daily"]
    assert [publish(service_db), publish(service_db, worker="second")] == [1, 0]
    assert due(service_db) == []
    assert due(service_db, MONDAY + timedelta(days=1)) == ["daily"]


def test_two_workers_at_once_write_one_report(direct: Door) -> None:
    service = direct.service()
    schedule(service, channels=[add_channel(service)])
    counts: list[int] = []
    workers = [threading.Thread(target=lambda: counts.append(publish(direct.service()))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(counts) == [0, 0, 0, 1]


def test_an_extra_report_leaves_at_once_and_replaces_none(service_db: Database) -> None:
    schedule(service_db, is_enabled=False, channels=[add_channel(service_db)])
    assert [publish(service_db, is_extra=True), publish(service_db, is_extra=True), publish(service_db)] == [1, 1, 1]


@pytest.mark.dated
def test_a_webhook_gets_the_report_without_its_picture(service: Clockwork) -> None:
    database = service.database
    webhook = int(service.channel("https://hooks.example.com/x", name="hook")["channel_id"])
    schedule(database, channels=[webhook, add_channel(database)])
    publish(database)
    claimed = {one["channel_name"]: one["payload"] for one in service.claim(None)}
    assert claimed["hook"]["message"] == {name: MESSAGE[name] for name in ("title", "text", "html")}
    assert claimed["mail"]["message"] == MESSAGE
    assert (claimed["hook"]["schema"], claimed["hook"]["event"]) == ("treering.report/1", "report")
    assert service.outbox() == [("report", "pending")] * 2


def month_of_calls(database: Database) -> None:
    """A dollar an hour for six weeks, in ten o'clock's hour of Sunday, the day reported, nine more by one model."""
    events = [
        usage_event(created_at=(MONDAY - timedelta(hours=number)).isoformat(), estimated_cost="1", user_id="user_a")
        for number in range(1, 6 * 168)
    ]
    costly = MONDAY.replace(hour=10) - timedelta(days=1)
    events.append(usage_event(created_at=costly.isoformat(), estimated_cost="9", user_id="user_b", model="o3"))
    store(database, *events)


def test_tenants_are_named_only_where_ops_say_so(service_db: Database) -> None:
    day = (MONDAY - timedelta(days=1)).isoformat()
    spent = [("acme", "6"), ("globex", "3"), (None, "1")]
    store(service_db, *(usage_event(created_at=day, tenant_id=name, estimated_cost=cost) for name, cost in spent))

    def text() -> str:
        (report,) = ask(service_db, "get_due_reports", as_of=MONDAY)
        period = Period.model_validate(report)
        return write_report(read_figures(service_db, period, now=MONDAY, savings=SavingsFound())).text

    schedule(service_db, channels=[add_channel(service_db)])
    assert "2 tenants; the costliest is 60.0% of the spend, the 2 costliest 90.0%" in text()
    assert "acme" not in text()
    schedule(service_db, names_tenants=True)
    assert "  acme: $6.00 (60.0%), +$6.00\n  globex: $3.00 (30.0%), +$3.00\n" in text()


@pytest.mark.dated
def test_the_job_reports_what_the_database_holds(service_db: Database) -> None:
    month_of_calls(service_db)
    schedule(service_db, timezone="UTC", channels=[add_channel(service_db)])
    ask(
        service_db,
        "add_term",
        term={"kind": "discount", "percent": "10", "valid_from": "2026-11-01", "source": "contract 7"},
    )
    period = Period.latest("daily", "UTC", MONDAY)
    savings = as_savings(read_savings_plan(service_db, to_time=MONDAY), read_ledger(service_db).entries, period)
    figures = read_figures(service_db, period, now=MONDAY, savings=savings)
    assert (figures.cost, figures.previous_cost, figures.requests) == (Decimal(33), Decimal(24), 25)
    changes = {(mover.dimension, mover.key): mover.change for mover in figures.movers}
    assert changes == {("feature", "chat"): Decimal(9), ("model", "o3"): Decimal(9)}
    assert figures.spend[date(2026, 11, 22)] == 33
    assert figures.contract is not None
    assert (figures.contract.list_cost, figures.contract.net) == (Decimal(22 * 24 + 9), Decimal("483.3"))
    assert publish_due_reports(service_db, "worker-1", now=MONDAY) == 1
    assert publish_due_reports(service_db, "worker-2", now=MONDAY) == 0
    month = read_figures(service_db, Period.latest("monthly", "UTC", MONDAY), now=MONDAY, savings=savings)
    # Of October six weeks back are known: from the 12th, ten o'clock, on.
    assert month.drivers is not None
    assert (month.cost, month.drivers.difference) == (Decimal(19 * 24 + 14), Decimal(19 * 24 + 14))


def test_the_forecast_reads_the_month_of_a_scope(service_db: Database) -> None:
    month_of_calls(service_db)
    forecast = read_forecast(service_db, {"model": ["gpt-4o"]}, now=MONDAY, zone=ZoneInfo("UTC"))
    assert forecast is not None
    assert forecast.basis == "seasonal"
    assert forecast.spent == 22 * 24 + 9
    assert forecast.expected == pytest.approx(30 * 24, rel=0.01)
    whole = read_forecast(service_db, {}, now=MONDAY, zone=ZoneInfo("UTC"))
    assert whole is not None
    assert whole.spent == 22 * 24 + 9 + 9
    assert read_forecast(service_db, {"model": ["none"]}, now=MONDAY, zone=ZoneInfo("UTC")) is None


def test_a_series_is_one_line_unless_it_is_grouped(service_db: Database) -> None:
    month_of_calls(service_db)
    window = {"from_time": MONDAY - timedelta(days=2), "to_time": MONDAY}
    whole = ask(service_db, "get_series", **window, filters={"bucket": "day"})["series"]
    by_model = ask(service_db, "get_series", **window, filters={"bucket": "day", "group_by": "model"})["series"]
    assert [(point["key"], point["cost"]) for point in whole] == [(None, "15"), (None, "33"), (None, "9")]
    assert [(point["key"], point["cost"]) for point in by_model] == [
        ("gpt-4o", "15"),
        ("gpt-4o", "24"),
        ("o3", "9"),
        ("gpt-4o", "9"),
    ]


def test_a_series_shows_each_caller_what_they_may_see(
    service_db: Database, viewer: Callable[[str], Database], anonymous: Database
) -> None:
    month_of_calls(service_db)
    service_db.call("add_member", user_id="user_analyst", role="analyst")
    window = {"from_time": MONDAY - timedelta(days=2), "to_time": MONDAY, "filters": {"bucket": "day"}}

    def total(database: Database) -> Decimal:
        return sum((Decimal(point["cost"]) for point in ask(database, "get_series", **window)["series"]), Decimal(0))

    assert [total(viewer(user)) for user in ("user_a", "user_b", "user_analyst")] == [48, 9, 57]
    with pytest.raises(PermissionDeniedError):
        total(anonymous)
