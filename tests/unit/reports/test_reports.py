from __future__ import annotations

import base64
import struct
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ingest.alerts.notification import IMAGE_NAME
from ingest.documents.words import MINUS
from ingest.errors import DatabaseUnavailableError
from ingest.reports.chart import draw_trend, trend_chart
from ingest.reports.figures import Mover, OpenAlert, Period, Saving, SavingsFound, find_movers
from ingest.reports.publish import make_message, publish_due_reports
from ingest.reports.text import write_report
from ingest.savings.drivers import Contribution, CostDrivers
from pricing.terms import DaySum, Term, make_statement
from tests.support.scripted_database import ScriptedDatabase
from tests.unit.reports.figures import END, FORECAST, figures

if TYPE_CHECKING:
    from ingest.savings.drivers import Driver

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


def test_a_report_says_all_in_plain_text() -> None:
    report = write_report(figures(), link="https://chat.example.com/dashboard/observability")
    assert report.title == "Yesterday cost $5.00, +25%"
    assert report.text == (
        "Yesterday cost $5.00, +25%\n"
        "Sunday, 2026-11-22 (Europe/Berlin)\n"
        "\n"
        "Spend\n"
        "  $5.00, the day before $4.00\n"
        "  1,200 calls, the day before 1,100\n"
        "  12 calls failed (1.0%)\n"
        "  3 calls have no price: these sums leave out their cost\n"
        "\n"
        "Biggest changes\n"
        "  model gpt-4o: +$2.25, now $3.50\n"
        "\n"
        "This month\n"
        "  $80.00 spent so far in November\n"
        "  $110.00 expected by month end, $100.00 to $125.50 with 80% confidence\n"
        "\n"
        "Savings\n"
        "  $12.00 a month found, 20.0% of the spend\n"
        "  Use gpt-4.1-mini for search (about $12.00 a month)\n"
        "\n"
        "Open alerts\n"
        "  Errors <chat>: 20.0% (critical, since 2026-11-22 14:05)\n"
        "\n"
        "https://chat.example.com/dashboard/observability\n"
    )


def test_the_html_says_the_same_and_names_the_picture() -> None:
    report = write_report(figures(), link="https://chat.example.com/?a=1&b=2", has_image=True)
    assert f'<img src="cid:{IMAGE_NAME}"' in report.html
    assert ">Errors &lt;chat&gt;: 20.0% (critical, since 2026-11-22 14:05)</li>" in report.html
    assert 'href="https://chat.example.com/?a=1&amp;b=2"' in report.html
    assert "cid:" not in write_report(figures()).html


def test_what_is_unknown_is_not_told_as_zero() -> None:
    report = write_report(
        figures(
            cost=None,
            previous_cost=None,
            errors=0,
            unpriced_requests=0,
            movers=(),
            forecast=None,
            savings=SavingsFound(),
            alerts=(),
        )
    )
    assert report.title == "Yesterday cost unknown"
    assert "This month" not in report.text
    assert "failed" not in report.text
    assert "Open alerts\n  none" in report.text


def test_a_week_is_compared_with_the_week_before() -> None:
    week = figures(kind="weekly", period_start=END - timedelta(days=7), previous_cost=Decimal("5.01"))
    report = write_report(week)
    assert report.title == "Last week cost $5.00, unchanged"
    assert "2026-11-16 to 2026-11-22" in report.text
    assert "the week before $5.01" in report.text


def test_a_month_tells_what_was_realised_all_actions_and_why_it_changed() -> None:
    actions = [Saving(f"Action {number}", Decimal(10 - number)) for number in range(12)]
    found = SavingsFound(actions[:8], Decimal(104), Decimal("7.5"), Decimal(41), 2)
    parts: dict[Driver, Decimal] = {"volume": Decimal(3), "mix": Decimal(-2), "price": Decimal("0.001")}
    mix = Contribution("mix", "openai", "gpt-4o", "chat", Decimal(-2))
    drivers = CostDrivers(Decimal(5), Decimal(4), parts, [mix], 0)
    start = date(2026, 10, 1)
    month = figures(kind="monthly", period_start=start, period_end=date(2026, 11, 1), savings=found, drivers=drivers)
    text = write_report(month).text
    assert text.startswith("October cost $5.00, +25%\nOctober 2026 (Europe/Berlin)\n")
    assert "the 31 days before $4.00" in text
    # 10 + 9 + … + 3 of 104.
    assert (
        "Savings\n  $7.50 realised that month, $41.00 since the start, by 2 verified actions\n"
        "  $52.00 a month found, 50.0% of the spend\n  Action 0 (about $10.00 a month)\n"
    ) in text
    assert "Action 7 (about $3.00 a month)" in text
    assert (
        "Why it changed\n  volume +$3.00, mix \N{MINUS SIGN}$2.00\n  mix of gpt-4o in chat: \N{MINUS SIGN}$2.00\n"
        in text
    )
    daily = write_report(figures(savings=found)).text
    assert "Action 2" in daily
    assert "Action 3" not in daily


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        ("2026-11-01T00:30:00+01:00", date(2026, 10, 1), date(2026, 11, 1)),
        ("2026-11-01T00:30:00+02:00", date(2026, 9, 1), date(2026, 10, 1)),
        ("2027-01-15T12:00:00+00:00", date(2026, 12, 1), date(2027, 1, 1)),
    ],
)
def test_a_monthly_report_is_of_the_month_before_in_its_zone(now: str, start: date, end: date) -> None:
    period = Period.latest("monthly", "Europe/Berlin", datetime.fromisoformat(now))
    assert (period.period_start, period.period_end) == (start, end)


def test_a_forecast_of_a_short_history_says_so() -> None:
    report = write_report(figures(forecast=replace(FORECAST, basis="run_rate")))
    assert "$110.00 by month end at this pace; the history is too short for a forecast" in report.text


def test_many_alerts_are_counted() -> None:
    alert = OpenAlert("Spend", "spend", Decimal(7), "warning", "2026-11-22 10:00")
    report = write_report(figures(alerts=[alert] * 13))
    assert report.text.count("Spend: $7.00") == 10
    assert "and 3 more" in report.text


def test_movers_are_those_that_changed_most_in_either_direction() -> None:
    def mover(dimension: str, key: str, cost: str, before: str) -> Mover:
        return Mover(dimension, key, Decimal(cost), Decimal(before))

    down, up = mover("user", "u1", "1", "9"), mover("model", "gpt-4o", "9", "2")
    same, small = mover("model", "o3", "5", "5"), mover("feature", "chat", "1.009", "1")
    many = [mover("feature", f"f{number}", "2", "1") for number in range(9)]
    assert find_movers({"model": [up, same], "user": [down], "feature": [small]}) == [down, up]
    assert len(find_movers({"feature": many})) == 5
    assert f"user u1: {MINUS}$8.00, now $1.00" in write_report(figures(movers=[down])).text
    assert (
        "model o1: \N{MINUS SIGN}$0.5995, now"
        in write_report(figures(movers=[mover("model", "o1", "5.36", "5.959456")])).text
    )


def test_the_picture_is_a_png_of_the_promised_size() -> None:
    spend = figures().spend
    first = END - timedelta(days=28)
    png = draw_trend(spend, first=first, period_start=END - timedelta(days=7), period_end=END)
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG")
    assert 1100 <= width <= 1300
    assert 350 <= height <= 450


def test_the_picture_shows_every_day_and_marks_those_of_the_report() -> None:
    first = END - timedelta(days=10)
    chart: Any = trend_chart({first: 3.5}, first=first, period_start=END - timedelta(days=2), period_end=END)
    values = chart["data"]["values"]
    assert [value["cost"] for value in values] == [3.5] + [0.0] * 9
    assert [value["reported"] for value in values] == [False] * 8 + [True] * 2
    assert values[-1]["day"] == "2026-11-22"


def test_a_message_carries_the_picture_where_there_is_spend() -> None:
    message = make_message(figures(), dashboard_url="https://chat.example.com")
    assert base64.b64decode(str(message["image"])).startswith(b"\x89PNG")
    assert message["title"] == "Yesterday cost $5.00, +25%"
    assert make_message(figures(spend={}))["image"] is None


def service() -> ScriptedDatabase:
    due: Any = {
        "kind": "daily", "timezone": "Europe/Berlin", "period_start": "2026-11-22", "period_end": "2026-11-23",
        "from_time": "2026-11-21T23:00:00+00:00", "to_time": "2026-11-22T23:00:00+00:00",
    }  # fmt: skip
    rows: Any = [
        {"key": "gpt-4o", "cost": "3.5", "previous_cost": None},
        {"key": None, "is_other": True, "cost": "1", "previous_cost": "9"},
    ]
    costs: Any = {
        "access": "analyst", "bucket": "hour", "timezone": "Europe/Berlin", "generated_at": NOW.isoformat(),
        "from_time": due["from_time"], "to_time": due["to_time"],
        "totals": {"requests": 12, "errors": 1, "cost": "5", "unpriced_requests": 0},
        "previous": {"requests": 10, "cost": "4"},
        "by_model": rows, "by_feature": [], "by_user": [],
    }  # fmt: skip
    day = datetime(2026, 11, 21, 23, tzinfo=UTC)
    series: Any = [
        {"bucket_start": (day - timedelta(days=number)).isoformat(), "requests": 9, "cost": "5"} for number in range(30)
    ]
    firing: Any = [{
        "alert_id": 1, "state": "firing", "rule_name": "Errors", "metric": "error_rate", "severity": "warning",
        "value": "0.2", "group_key": "chat", "started_at": "2026-11-22T20:00:00+00:00",
    }]  # fmt: skip
    return ScriptedDatabase(
        get_due_reports=[[due]],
        get_costs=[costs],
        get_series=[{"series": series}],
        get_alerts=[{"firing": firing}],
        get_terms=[{"terms": []}],
        publish_report=[2],
    )


def test_the_job_writes_what_is_due_from_the_databases_figures() -> None:
    database, asked = service(), []

    def found(due: Period) -> SavingsFound:
        asked.append(due.period_start)
        return SavingsFound([Saving("Cache it", Decimal(4))])

    assert publish_due_reports(database, "worker-1", now=NOW, savings=found) == 2
    assert asked == [date(2026, 11, 22)]
    (published,) = database.arguments_of("publish_report")
    message: Any = published.pop("message")
    assert published == {
        "kind": "daily", "period_start": "2026-11-22", "period_end": "2026-11-23", "worker": "worker-1",
    }  # fmt: skip
    assert message["title"] == "Yesterday cost $5.00, +25%"
    assert "model gpt-4o: +$3.50" in message["text"]
    assert "Errors [chat]: 20.0% (warning, since 2026-11-22 21:00)" in message["text"]
    assert "Cache it" in message["text"]
    assert "expected by month end" in message["text"]
    (costs,) = database.arguments_of("get_costs")
    assert costs["filters"] == {"timezone": "Europe/Berlin"}


def test_a_report_goes_out_without_suggestions_that_fail(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Period) -> SavingsFound:
        raise DatabaseUnavailableError("gone")

    database = service()
    assert publish_due_reports(database, "worker-1", now=NOW, savings=broken) == 2
    assert "no suggestions in the report: gone" in caplog.text


def test_where_nothing_is_due_nothing_is_read() -> None:
    database = ScriptedDatabase(get_due_reports=[[]])
    assert publish_due_reports(database, "worker-1") == 0
    assert database.called == ["get_due_reports"]


def test_a_report_says_what_the_month_comes_to_by_contract() -> None:
    day = END - timedelta(days=1)
    credit = Term(1, "credit", day.replace(day=1), amount=Decimal(50), name="launch")
    discount = Term(2, "discount", day.replace(day=1), percent=Decimal(10))
    euro = Term(3, "currency", day.replace(day=1), currency="EUR", rate=Decimal("0.9"))
    sums = [DaySum(day, "openai", "gpt-4o", Decimal(80))]
    statement = make_statement(sums, [credit, discount, euro], day.replace(day=1), END)
    text = write_report(figures(contract=statement)).text
    # 80 less a tenth is 72; 50 come from the credit, 22 are due, 19.80 in euros.
    assert (
        "By contract\n"
        "  $72.00 net this month, $80.00 at list price\n"
        "  $22.00 due, $50.00 taken from balances\n"
        "  19.80 EUR due\n"
        "  credit launch: $0.00 of $50.00 left\n"
    ) in text
    plain = write_report(figures(contract=make_statement(sums, [discount], day.replace(day=1), END))).text
    assert "By contract\n  $72.00 net this month, $80.00 at list price\n\n" in plain
