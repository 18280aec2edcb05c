"""A walk through single calls: found from the overview, filtered, paged, opened, and out of a refused question."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from ingest.database import open_database
from ingest.settings import load_settings
from tests.support.browser import choose, enter, press, press_key, visit
from tests.support.events import usage_event

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page


def record_calls(home: Path) -> None:
    """120 calls of the last two hours: 60 of Maria's, each tenth of hers on the plan pro."""
    now = datetime.now(UTC)
    events = [
        usage_event(
            created_at=now - timedelta(minutes=number),
            user_id="user_maria" if number % 2 == 0 else f"user_{number % 3}",
            session_id=f"session_{number // 6}",
            metadata={"plan": "pro", "seats": 5} if number % 20 == 0 else {"plan": "free"},
        )
        for number in range(120)
    ]
    database = open_database(load_settings(home=home))
    try:
        assert database.call("record_usage", events=list(events)) == 120
    finally:
        database.close()


def table(page: Page) -> Locator:
    return page.get_by_test_id("stDataFrame").first


def expect_rows(page: Page, count: int) -> None:
    """Expect so many calls in the table, whose head counts too."""
    expect(table(page).locator('[role="grid"]')).to_have_attribute("aria-rowcount", str(count + 1))


def narrow(page: Page, label: str, text: str) -> None:
    """Type a value into a filter."""
    press(page.get_by_role("button", name=re.compile("^Filters|filter_list")).first)
    box = page.get_by_role("combobox", name=re.compile(label))
    enter(box, text)
    press_key(page, "Escape")
    press_key(page, "Escape")
    expect(box).to_be_hidden()


@pytest.mark.browser
@pytest.mark.timeout(600)
def test_a_call_is_found_by_user_and_metadata_and_tells_why_it_cost_that(home: Path, address: str, page: Page) -> None:
    record_calls(home)

    visit(page, f"{address}/")
    press(page.get_by_role("link", name="user_maria"))
    expect(page.get_by_text("Newest first")).to_be_visible()
    expect(page).to_have_url(f"{address}/calls?user_id=user_maria")
    expect_rows(page, 50)

    press(page.get_by_role("button", name="Older"))
    expect(page.get_by_text("Page 2")).to_be_visible()
    expect_rows(page, 10)
    press(page.get_by_role("button", name="Newest"))
    expect(page.get_by_text("Newest first")).to_be_visible()

    narrow(page, "Metadata", "plan=pro")
    expect_rows(page, 6)
    expect(page).to_have_url(re.compile("metadata=plan%3Dpro"))
    narrow(page, "Metadata", 'seats="5"')
    expect(page.get_by_text("No call of the last 7 days matches the filters.")).to_be_visible()
    press(page.get_by_role("button", name="Clear filters").last)
    expect_rows(page, 50)
    expect(page).to_have_url(f"{address}/calls")

    narrow(page, "Users", "user_1")
    expect(page).to_have_url(f"{address}/calls?user_id=user_1")
    expect_rows(page, 20)
    press(table(page), {"x": 18, "y": 52})
    details = page.locator(".st-key-panel_calls_details")
    expect(details.get_by_text("Why this price")).to_be_visible()
    expect(details.get_by_text("$0.000875").first).to_be_visible()
    expect(details.get_by_text("user_1", exact=True)).to_be_visible()
    press(details.get_by_role("link", name="Whole session"))
    expect(page.get_by_role("heading", name="Session", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile("/session\\?session_id=session_"))
    expect(page.get_by_text("Growth of the context")).to_be_visible()


@pytest.mark.browser
@pytest.mark.timeout(600)
def test_a_refused_question_and_an_empty_period_are_left_with_one_click(home: Path, address: str, page: Page) -> None:
    record_calls(home)

    visit(page, f"{address}/costs?period=month&metadata=plan%3Dpro")
    press(page.get_by_role("button", name="Show the last 7 days"))
    expect(page.get_by_text("Spend over time")).to_be_visible()
    expect(page).to_have_url(f"{address}/costs?metadata=plan%3Dpro")

    visit(page, f"{address}/calls?period=custom&from=2023-11-16&to=2023-11-17")
    press(page.get_by_role("button", name="Show the most recent days"))
    expect_rows(page, 50)


@pytest.mark.browser
@pytest.mark.timeout(600)
def test_on_a_phone_the_sidebar_gives_way_and_the_dearest_call_is_two_choices_away(
    home: Path, address: str, page: Page
) -> None:
    record_calls(home)
    page.set_viewport_size({"width": 390, "height": 844})

    visit(page, f"{address}/")
    press(page.get_by_test_id("stExpandSidebarButton"))
    press(page.get_by_test_id("stSidebarNavLink").filter(has_text="Calls"))
    expect(page.get_by_text("Newest first").first).to_be_visible()
    expect(page.get_by_test_id("stExpandSidebarButton")).to_be_visible()
    choose(page.get_by_role("combobox", name=re.compile("Order")), "Most expensive")

    expect(page.get_by_text("of all calls of the period")).to_be_visible()
    expect(page).to_have_url(f"{address}/calls?order=cost")
    expect(page.locator(".tr-calls a")).to_have_count(50)
