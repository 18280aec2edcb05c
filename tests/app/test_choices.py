"""What a viewer chooses: period, filters, zone and split, in the address and from page to page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

import pytest

from tests.app.test_pages import address, last_call

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]


@pytest.mark.dated
def test_days_are_the_viewers(open_app: OpenApp, fake: FakeDatabase) -> None:
    open_app(timezone="Asia/Kathmandu", period="month")

    call = last_call(fake, "get_overview")
    assert call["filters"]["timezone"] == "Asia/Kathmandu"
    assert call["from_time"].endswith("T18:15:00+00:00")


def test_the_address_chooses_period_filters_and_split(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("costs", period="day", model=["gpt-4o", "o4-mini"], group="provider", evil="1")

    call = last_call(fake, "get_costs")
    assert call["filters"] == {"model": ["gpt-4o", "o4-mini"], "timezone": "Europe/Berlin", "group_by": "provider"}
    assert app.selectbox(key="costs_group").value == "provider"
    assert app.multiselect(key="costs_model").value == ["gpt-4o", "o4-mini"]


def test_a_choice_goes_to_the_address_and_to_the_next_page(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("usage")

    app.segmented_control(key="usage_period").set_value("day").run()
    app.multiselect(key="usage_feature").select("chat").run()
    app.selectbox(key="usage_group").set_value("environment").run()

    wanted = {"period": ["day"], "feature": ["chat"], "group": ["environment"]}
    assert address(app) == wanted
    app.query_params.clear()
    app.switch_page("app_pages/costs.py").run()
    assert last_call(fake, "get_costs")["filters"]["feature"] == ["chat"]
    assert address(app) == wanted


def test_filters_can_be_cleared(open_app: OpenApp) -> None:
    app = open_app(feature="chat")

    app.button(key="overview_clear_filters").click().run()

    assert not app.query_params


@pytest.mark.dated
def test_custom_days_are_chosen_on_a_calendar(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app()
    app.segmented_control(key="overview_period").set_value("custom").run()
    days = app.date_input(key="overview_days")
    assert isinstance(days.value, tuple)
    assert len(days.value) == 2

    days.set_value((date(2026, 11, 1), date(2026, 11, 3))).run()

    assert address(app) == {"period": ["custom"], "from": ["2026-11-01"], "to": ["2026-11-03"]}
    assert last_call(fake, "get_overview")["from_time"] == "2026-10-31T23:00:00+00:00"
    days.set_value((date(2026, 11, 2),)).run()
    assert address(app)["from"] == ["2026-11-01"], "one day is not a period yet"
    app.segmented_control(key="overview_period").set_value("week").run()
    app.segmented_control(key="overview_period").set_value("custom").run()
    assert address(app)["from"] == ["2026-11-01"]


def test_the_reporting_zone_can_be_chosen(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app()

    app.toggle(key="overview_zone").set_value(True).run()

    assert last_call(fake, "get_overview")["filters"]["timezone"] == "UTC"
    assert address(app) == {"zone": ["reporting"]}


def test_the_live_refresh_can_be_turned_off_for_all_pages(open_app: OpenApp) -> None:
    app = open_app()

    app.toggle(key="overview_live").set_value(False).run()
    app.switch_page("app_pages/usage.py").run()

    assert app.toggle(key="usage_live").value is False
