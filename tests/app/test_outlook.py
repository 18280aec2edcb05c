"""The forecast of the month on the pages, and the editor of reports."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from dashboard.panels.outlook import basis, budget_line, interval, month_outlook
from dashboard.reads.viewer import Viewer
from dashboard.selection.filters import Selection
from ingest.documents.month import SpentBudget
from ingest.documents.words import format_estimate
from ingest.errors import DatabaseUnavailableError, FunctionNotFoundError, TreeringError
from ingest.forecasting.forecast import MonthForecast
from tests.app.choosing import choose
from tests.app.test_pages import texts

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]
OUTLOOK = MonthForecast(date(2026, 11, 1), 80.0, 110.0, 100.0, 125.5, 109.1, "seasonal")
DAILY = "settings_report_daily"


@pytest.mark.dated
def test_costs_shows_what_the_month_is_expected_to_cost(open_app: OpenApp) -> None:
    app = open_app("costs")
    assert not app.exception
    shown = texts(app)
    assert "Forecast for" in shown
    assert "spent so far" in shown
    assert "80% of months end within the interval" in shown


@pytest.mark.dated
def test_overview_says_where_the_month_will_end(open_app: OpenApp) -> None:
    assert "expected by its end" in texts(open_app())


def test_without_spend_there_is_no_forecast(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.has_history = False
    assert "Forecast for" not in texts(open_app("costs"))
    assert "expected by its end" not in texts(open_app())


@pytest.mark.parametrize("error", [DatabaseUnavailableError("gone"), FunctionNotFoundError("old")], ids=str)
def test_a_forecast_that_cannot_be_read_leaves_the_page_standing(
    open_app: OpenApp, fake: FakeDatabase, error: TreeringError
) -> None:
    fake.errors["get_month"] = error
    app = open_app("costs")
    assert not app.exception
    assert "Forecast for" not in texts(app)
    assert app.segmented_control(key="costs_trend").value == "Spend over time"


def test_the_forecast_is_of_what_is_selected_whatever_the_period(fake: FakeDatabase) -> None:
    chosen = Selection(period="hour", model=("gpt-4o",))
    for _ in range(2):  # seconds later it comes from memory
        month_outlook(Viewer("local-ops", "Ops"), chosen, ZoneInfo("Europe/Berlin"))
    assert fake.calls == [("get_month", {"filters": {"timezone": "Europe/Berlin", "model": ["gpt-4o"]}})]


@pytest.mark.dated
def test_every_figure_of_the_month_comes_from_one_reading(open_app: OpenApp, fake: FakeDatabase) -> None:
    overview = open_app()
    outlook = month_outlook(Viewer("local-ops", "This machine"), Selection(), ZoneInfo("Europe/Berlin"))
    assert [name for name, _ in fake.calls].count("get_month") == 1
    assert outlook is not None
    assert outlook.forecast is not None
    assert f"{format_estimate(outlook.forecast.expected)}</a> expected" in texts(overview)


def test_a_budget_stands_on_the_forecast_with_what_it_has_used(open_app: OpenApp) -> None:
    app = open_app("costs")
    assert "Everything: $830.00 of $1,000.00 this month, environment production" in texts(app)
    assert any("83.0% used" in text.value for text in app.markdown)
    assert any("112.0% expected" in text.value for text in app.markdown)


def test_a_budget_without_a_known_spend_says_so() -> None:
    assert budget_line(SpentBudget(budget_id=1, name="All", amount=Decimal(5))) == "All: — of $5.00 this month"


def test_words_of_a_forecast() -> None:
    assert interval(OUTLOOK) == "$100.00 to $125.50"
    assert "Linear extrapolation gives $109.10." in basis(OUTLOOK)
    assert "straight" not in basis(MonthForecast(date(2026, 11, 1), 0.0, 0.5, 0.4, 0.6, None, "seasonal"))
    assert "history is too short" in basis(MonthForecast(date(2026, 11, 1), 8.0, 30.0, 19.0, 41.0, 30.0, "run_rate"))


def saved(fake: FakeDatabase) -> list[Any]:
    return [arguments["schedule"] for name, arguments in fake.calls if name == "save_report_schedule"]


def test_a_report_is_switched_on_for_a_channel(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings", tab="reports")
    app.toggle(key=f"{DAILY}_enabled").set_value(True)
    app.multiselect(key=f"{DAILY}_channels").select(1)
    app.selectbox(key=f"{DAILY}_hour").set_value(6)
    app.button(key=f"{DAILY}_save").click().run()
    assert not app.exception
    assert saved(fake) == [
        {"kind": "daily", "is_enabled": True, "local_hour": 6, "timezone": "UTC", "channels": [1]},
    ]
    assert "Daily report saved" in [toast.value for toast in app.toast]


def test_a_report_without_a_channel_is_not_switched_on(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings", tab="reports")
    app.toggle(key=f"{DAILY}_enabled").set_value(True)
    app.button(key=f"{DAILY}_save").click().run()
    assert [error.value for error in app.error] == ["Choose at least one channel."]
    assert saved(fake) == []


def test_a_schedule_is_shown_as_it_is_stored(open_app: OpenApp) -> None:
    app = choose(open_app("settings", tab="reports"), "report", 1)
    assert app.selectbox(key="settings_report_weekly_hour").value == 7
    assert app.selectbox(key="settings_report_weekly_zone").value == "Europe/Berlin"
    assert app.multiselect(key="settings_report_weekly_channels").value == [1]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FunctionNotFoundError("old"), "apply the migrations"),
        (DatabaseUnavailableError("gone"), "could not be read: gone"),
    ],
)
def test_schedules_that_cannot_be_read_say_so(
    open_app: OpenApp, fake: FakeDatabase, error: TreeringError, text: str
) -> None:
    fake.errors["get_report_schedules"] = error
    app = open_app("settings", tab="reports")
    assert not app.exception
    assert any(text in caption.value for caption in app.caption)
