"""Filters of every page, what is refused with its way out, and the ways that lead to single calls."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import streamlit as st

from dashboard.panels import filter_bar, tables
from dashboard.panels.call_links import calls_address, calls_query
from dashboard.selection.filters import Selection
from ingest.errors import DatabaseUnavailableError
from tests.app.test_pages import OpenApp, address, last_call, texts

if TYPE_CHECKING:
    from tests.app.fake_database import FakeDatabase


# -- refusals and filters on every page ----------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["overview", "usage", "costs", "performance", "calls"])
def test_metadata_over_a_long_period_is_refused_with_a_way_out(
    open_app: OpenApp, fake: FakeDatabase, page: str
) -> None:
    app = open_app(page, period="quarter", metadata="plan=pro")
    assert not app.exception
    assert "Too many calls to filter by metadata" in texts(app)

    app.button(key=f"{page}_shorter").click().run()

    assert address(app) == {"metadata": ["plan=pro"]}
    assert "Too many calls to filter by metadata" not in texts(app)
    assert last_call(fake, {"calls": "get_events"}.get(page, f"get_{page}"))["filters"]["metadata"] == {"plan": "pro"}


def test_the_filter_by_metadata_can_be_cleared_instead(open_app: OpenApp) -> None:
    app = open_app("costs", period="quarter", metadata="plan=pro", model="gpt-4o")

    app.button(key="costs_any").click().run()

    assert address(app) == {"period": ["quarter"], "model": ["gpt-4o"]}


def test_the_shortest_period_leaves_the_filter_to_clear(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.most_metadata = timedelta(0)

    app = open_app("usage", period="hour", metadata="plan=pro")

    assert [button.key for button in app.button if str(button.key) in ("usage_any", "usage_shorter")] == ["usage_any"]


def test_a_question_that_takes_too_long_offers_a_shorter_period(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("calls", period="month")
    fake.error = DatabaseUnavailableError("canceling statement due to statement timeout", sqlstate="57014")
    app.query_params["session_id"] = "s1"
    app.run()
    assert "The query took too long" in texts(app)
    assert "The database cannot be reached" not in texts(app)
    fake.error = None

    app.button(key="calls_shorter").click().run()

    assert address(app) == {"session_id": ["s1"]}


def test_a_member_with_a_link_to_somebody_elses_calls_gets_a_way_to_their_own(
    open_app: OpenApp, fake: FakeDatabase
) -> None:
    fake.access = "member"
    app = open_app("costs", user_id="user_b")
    assert "You can see only your own calls" in texts(app)

    app.button(key="costs_own").click().run()

    assert not address(app)
    assert app.metric


def test_users_of_the_page_can_be_chosen_and_others_typed(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("costs")
    box = app.multiselect(key="costs_user_id")
    assert len(box.options) == 10

    app.session_state["costs_user_id"] = [box.options[0], "user_typed"]
    app.run()
    app.multiselect(key="costs_operation").select("embeddings").run()
    app.multiselect(key="costs_status").select("cancelled").run()

    assert last_call(fake, "get_costs")["filters"]["operation"] == ["embeddings"]
    assert address(app) == {"operation": ["embeddings"], "status": ["cancelled"]}


def test_metadata_is_typed_as_pairs(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("usage", metadata=["plan=pro", "seats=5"])

    app.multiselect(key="usage_metadata").unselect("plan=pro").run()

    assert last_call(fake, "get_usage")["filters"]["metadata"] == {"seats": 5}
    assert address(app) == {"metadata": ["seats=5"]}


def test_what_is_no_pair_is_said(open_app: OpenApp) -> None:
    app = open_app("usage")
    app.session_state["metadata_fault"] = "pro"

    app.run()

    assert "pro is not a pair" in app.error[0].value
    assert not app.run().error


@pytest.mark.parametrize(
    ("typed", "kept", "fault"), [(["plan = pro"], ("plan=pro",), ""), (["pro", "n=1"], ("n=1",), "pro")]
)
def test_typed_pairs_are_kept_and_others_named(
    monkeypatch: pytest.MonkeyPatch, typed: list[str], kept: tuple[str, ...], fault: str
) -> None:
    state: dict[str, Any] = {"usage_metadata": typed}
    stored: list[Selection] = []
    monkeypatch.setattr(st, "session_state", state)
    monkeypatch.setattr(filter_bar, "current_selection", Selection)
    monkeypatch.setattr(filter_bar, "store_selection", stored.append)

    filter_bar._take_metadata("usage")

    assert (stored, state["metadata_fault"]) == ([Selection(metadata=kept)], fault)


def test_under_metadata_the_day_and_the_month_are_unknown(open_app: OpenApp) -> None:
    app = open_app(metadata="plan=pro")

    assert not app.exception
    assert "today" not in texts(app)
    assert "Not available with a metadata filter" in texts(app)


def test_bill_and_savings_say_that_they_know_no_users(open_app: OpenApp) -> None:
    captions = [caption.value for caption in open_app("costs", user_id="user_b", metadata="plan=pro").caption]

    assert any("Provider bills are not broken down by user or kind of metadata" in text for text in captions)
    assert any("Savings are not broken down by user or kind of metadata" in text for text in captions)


def test_filters_of_single_calls_do_not_follow_to_pages_of_sums(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("calls", model="gpt-4o")
    app.query_params["session_id"] = "s1"
    app.run()
    asked = [arguments["filters"].get("session_id") for name, arguments in fake.calls if name == "get_events"]
    assert ["s1"] in asked

    app.switch_page("app_pages/costs.py").run()

    assert address(app) == {"model": ["gpt-4o"]}
    assert "session_id" not in last_call(fake, "get_costs")["filters"]


# -- ways from other pages -----------------------------------------------------------------------------------------


def test_rankings_lead_to_the_calls_behind_a_line(open_app: OpenApp) -> None:
    overview, performance = texts(open_app(period="day")), texts(open_app("performance", feature="chat"))

    assert 'href="calls?period=day&amp;model=gpt-4o"' in overview
    assert 'href="calls?period=day&amp;user_id=user_' in overview
    assert 'href="calls?feature=chat&amp;error_type=RateLimitError"' in performance
    assert performance.count("error_type=") == 3, "calls without a type have none to filter by"


def test_a_name_in_an_address_is_quoted() -> None:
    chosen = Selection(group="feature", model=("a",))

    assert calls_query(chosen, model="x&y=1") == {"model": ["x&y=1"]}
    assert calls_address(chosen, model='x&y="1"') == "calls?model=x%26y%3D%221%22"


@pytest.mark.parametrize("page", ["costs", "usage", "performance"])
def test_a_chosen_row_of_a_table_leads_to_its_calls(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    assert "Select a row to see its calls." in [caption.value for caption in open_app(page).caption]
    monkeypatch.setattr(tables, "_draw", lambda *_, **__: 1)

    app = open_app(page)

    link = app.get("page_link")[-1].proto
    assert link.label.startswith("Calls of ")
    assert "model=" in link.query_string


def test_the_row_of_all_others_leads_nowhere(open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_draw", lambda *_, **__: 10)
    app = open_app("costs")

    app.segmented_control(key="costs_by").set_value("User").run()

    assert "Select a row to see its calls." in [caption.value for caption in app.caption]
