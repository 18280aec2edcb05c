"""The page of single calls: table, pages, one call's details, and the ways to it."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import streamlit as st

from dashboard.panels import calls as explorer
from dashboard.panels import tables
from dashboard.selection.filters import Selection
from ingest.documents.calls import Call, Calls
from ingest.errors import DatabaseError, DatabaseUnavailableError, PermissionDeniedError
from tests.app.call_documents import call
from tests.app.test_pages import OpenApp, address, last_call, texts

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase


def shown_ids(app: AppTest) -> list[str]:
    place = app.session_state["calls_place"]
    return [one.event_id for one in place.held.events]


class QueryParams(dict[str, Any]):
    """An address bar without a browser."""

    def get_all(self, key: str) -> list[str]:
        value = self.get(key, [])
        return [value] if isinstance(value, str) else value


def open_row(app: AppTest, row: int) -> AppTest:
    """Do what choosing a row does: AppTest cannot click into a table."""
    place = app.session_state["calls_place"]
    fake: list[Any] = app.session_state["fake_calls"]
    app.session_state["calls_place"] = replace(place, opened=fake[row].event_id)
    return app.run()


# -- the page ------------------------------------------------------------------------------------------------------


def test_calls_are_shown_newest_first_in_the_viewers_time(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("calls")

    frame = app.dataframe[0].value
    assert len(frame) == 50
    assert list(frame["created_at"]) == sorted(frame["created_at"], reverse=True)
    assert frame["estimated_cost"][0] == 0.0007
    assert "Newest first" in texts(app)
    assert "Europe/Berlin" in texts(app)
    assert last_call(fake, "get_events")["filters"] == {"timezone": "Europe/Berlin", "limit": "50"}


def test_pages_follow_one_another_by_cursor_and_hold_still(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("calls")
    ids = [one["event_id"] for one in fake.single_calls]

    app.button(key="calls_older").click().run()

    assert shown_ids(app) == ids[50:100]
    assert "Page 2" in texts(app)
    reads = len(fake.calls)
    app.run()
    assert len(fake.calls) == reads, "a page of the past is read once"

    app.button(key="calls_older").click().run()
    assert shown_ids(app) == ids[100:]
    assert app.button(key="calls_older").disabled
    app.button(key="calls_newer").click().run()
    assert shown_ids(app) == ids[50:100]
    app.button(key="calls_newest").click().run()
    assert app.session_state["calls_place"].held is None
    assert app.button(key="calls_newest").disabled
    assert app.button(key="calls_newer").disabled


def test_the_size_of_a_page_can_be_chosen(open_app: OpenApp) -> None:
    app = open_app("calls")
    app.button(key="calls_older").click().run()

    app.selectbox(key="calls_size").set_value(200).run()

    assert len(app.dataframe[0].value) == 130
    assert "Newest first" in texts(app)


def test_another_filter_leads_back_to_the_newest_page(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("calls")
    app.button(key="calls_older").click().run()

    app.multiselect(key="calls_error_type").select("RateLimitError").run()
    app.multiselect(key="calls_status").select("error").run()

    assert address(app) == {"error_type": ["RateLimitError"], "status": ["error"]}
    assert set(app.dataframe[0].value["status"]) == {"error: RateLimitError"}
    assert "cursor" not in last_call(fake, "get_events")["filters"]


def test_a_page_beyond_the_last_call_says_so(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("calls")
    fake.is_empty = True

    app.button(key="calls_older").click().run()

    assert "There are no older calls." in [caption.value for caption in app.caption]
    assert not app.button(key="calls_newest").disabled


def test_an_empty_database_says_how_to_record_the_first_call(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.is_empty = True
    assert "No calls recorded yet" in texts(open_app("calls"))


def test_an_empty_period_leads_to_the_newest_calls(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.is_empty, fake.newest_event_at = True, datetime(2023, 11, 16, 12, 0, tzinfo=UTC)
    app = open_app("calls", model="gpt-4o")
    assert "The most recent call was on 16 November 2023 at 13:00." in texts(app)
    assert "calls_empty_newest" not in {button.key for button in app.button}, "it would be as empty"

    app.button(key="calls_empty_clear").click().run()
    app.button(key="calls_empty_newest").click().run()

    assert address(app) == {"period": ["custom"], "from": ["2023-11-10"], "to": ["2023-11-16"]}


def test_a_member_sees_their_own_calls_without_a_column_of_users(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.access = "member"

    app = open_app("calls")

    assert "user_id" not in app.dataframe[0].value
    assert "your own calls" in texts(app)
    assert not [box for box in app.multiselect if box.key == "calls_user_id"]


def test_the_table_can_be_saved_with_every_digit() -> None:
    rows = [call(estimated_cost="0.0000001500000000000000001", metadata={"plan": "pro", "n": 1}, session_id="=1+1")]

    (line,) = csv.DictReader(io.StringIO(tables.to_csv(rows).decode()))

    assert line["estimated_cost"] == "0.0000001500000000000000001"
    assert line["metadata"] == '{"plan": "pro", "n": 1}'
    assert line["session_id"] == "'=1+1"


@pytest.mark.parametrize(("order", "key"), [("cost", "estimated_cost"), ("latency", "latency_ms")])
def test_an_order_is_the_databases_and_so_is_that_of_the_file_of_all_calls(
    open_app: OpenApp, fake: FakeDatabase, order: str, key: str
) -> None:
    app = open_app("calls")
    app.text_input(key="calls_min_tokens").set_value("1000").run()

    app.selectbox(key="calls_order").set_value(order).run()
    app.button(key="calls_csv_write").click().run()

    left = [one for one in fake.single_calls if one["prompt_tokens"] + one["completion_tokens"] >= 1000]
    best = sorted(left, key=lambda one: float(one[key] or -1), reverse=True)
    assert address(app) == {"order": [order], "min_tokens": ["1000"]}
    assert last_call(fake, "get_events")["filters"]["order"] == order
    assert list(app.dataframe[0].value[key][:5]) == pytest.approx([float(one[key]) for one in best[:5]])
    assert "of all calls of the period" in texts(app)
    assert len(left) > 50
    assert app.get("download_button")


def test_the_file_has_every_call_once_and_says_how_many() -> None:
    rows = [call(event_id=f"{number:036d}", estimated_cost="0.1") for number in range(5)]
    told: list[int] = []

    written, count = tables.write_calls([tuple(rows[:3]), tuple(rows[3:])], told.append)

    ids = [line["event_id"] for line in csv.DictReader(io.StringIO(written.decode()))]
    assert ids == [row.event_id for row in rows]
    assert (count, told) == (5, [3, 5])
    assert tables.write_calls([()], told.append) == (b"\n", 0)


def test_the_head_of_a_column_orders_all_calls_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    document = Calls(access="ops", events=(call(event_id="a"),))
    chosen = SimpleNamespace(rows=[], columns=["estimated_cost"])
    state: dict[str, Any] = {
        "calls_place": explorer.Place(Selection(), cursors=("x",), opened="a", held=document),
        "table": SimpleNamespace(selection=chosen),
    }
    monkeypatch.setattr(st, "session_state", state)
    monkeypatch.setattr(st, "query_params", QueryParams())

    explorer._open_chosen("table", document)

    assert state["selection"].order == "cost"
    assert state["calls_place"].cursors == ()


def test_a_link_to_a_call_opens_it_wherever_it_is(open_app: OpenApp, fake: FakeDatabase) -> None:
    old = fake.single_calls[120]

    app = open_app("calls", call=f"{old['created_at']}_{old['event_id']}")

    assert f"<dd>{old['response_id']}</dd>" in texts(app)
    app.selectbox(key="calls_order").set_value("cost").run()
    assert "tr-list" not in texts(app), "another question closes it"
    assert address(app) == {"order": ["cost"]}
    assert "tr-list" not in texts(open_app("calls", call="yesterday_x"))


def test_an_open_call_says_what_stands_out(opened: AppTest) -> None:
    assert "109 \N{MULTIPLICATION SIGN} the median of" in texts(opened)
    assert "Call 1 of 4 in its session, which cost $0.0123 in all." in texts(opened)


# -- one call ------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(open_app: OpenApp, fake: FakeDatabase) -> AppTest:
    app = open_app("calls")
    app.session_state["fake_calls"] = [Call.model_validate(one) for one in fake.single_calls]
    return open_row(app, 0)


def test_an_open_call_shows_everything_and_why_it_cost_that(opened: AppTest) -> None:
    shown = texts(opened)

    assert not opened.exception
    assert "<dt>Cost</dt><dd>$0.0007</dd>" in shown
    assert "<dt>Input, 150 tokens</dt><dd>$0.0003 ($2.00 per million)</dd>" in shown
    assert "<dt>Output, 50 tokens</dt><dd>$0.0004 ($8.00 per million)</dd>" in shown
    assert "contract 2026-11, annex 2" in shown
    assert "<dt>Session</dt><dd>sess_first</dd>" in shown


def test_the_prices_are_read_once_for_an_open_call(opened: AppTest, fake: FakeDatabase) -> None:
    reads = [name for name, _ in fake.calls].count("get_prices")

    opened.run()

    assert [name for name, _ in fake.calls].count("get_prices") == reads


def test_an_open_call_can_be_closed(opened: AppTest) -> None:
    opened.button(key="calls_close").click().run()

    assert opened.session_state["calls_place"].opened is None
    assert "tr-list" not in texts(opened)


def test_an_open_call_leads_to_its_session_and_its_user(opened: AppTest) -> None:
    (link,) = [link.proto for link in opened.get("page_link") if link.proto.label == "Whole session"]
    assert (link.page, link.query_string) == ("session", "session_id=sess_first")

    opened.button(key="calls_way_0").click().run()
    assert address(opened) == {"user_id": ["user_2kf81maria"]}
    assert "tr-list" not in texts(opened)


def test_a_failed_call_leads_to_those_with_the_same_error(opened: AppTest, fake: FakeDatabase) -> None:
    row = next(index for index, one in enumerate(fake.single_calls[:50]) if one["error_type"] and one["session_id"])
    error = fake.single_calls[row]["error_type"]

    open_row(opened, row).button(key="calls_way_1").click().run()

    assert address(opened) == {"error_type": [error]}


def test_a_call_without_ways_or_metadata_draws(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.access = "member"
    fake.single_calls[0] |= {"session_id": None, "metadata": None, "user_id": "local-ops"}
    app = open_app("calls")
    app.session_state["fake_calls"] = [Call.model_validate(one) for one in fake.single_calls]

    open_row(app, 0)

    assert not app.exception
    assert not [button for button in app.button if str(button.key).startswith("calls_way")]
    assert not app.get("page_link")
    assert not app.json


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PermissionDeniedError("denied", sqlstate="42501"), "Only analysts and ops can see prices."),
        (DatabaseUnavailableError("gone"), "The prices could not be read: gone"),
    ],
    ids=["denied", "gone"],
)
def test_without_prices_the_rest_of_a_call_is_shown(
    open_app: OpenApp, fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch, error: DatabaseError, text: str
) -> None:
    def refuse(**_: object) -> None:
        raise error

    monkeypatch.setattr(fake, "_get_prices", refuse, raising=False)
    app = open_app("calls")
    app.session_state["fake_calls"] = [Call.model_validate(one) for one in fake.single_calls]

    open_row(app, 0)

    assert text in texts(app)
    assert "<dt>Cost</dt><dd>$0.0007</dd>" in texts(app)


@pytest.mark.parametrize(("rows", "opened"), [([1], "b"), ([], None), ([7], None)])
@pytest.mark.parametrize("cursors", [(), ("x",)])
def test_choosing_a_row_opens_its_call_and_holds_the_page(
    monkeypatch: pytest.MonkeyPatch, rows: list[int], opened: str | None, cursors: tuple[str, ...]
) -> None:
    document = Calls(access="ops", events=(call(event_id="a"), call(event_id="b")))
    state: dict[str, Any] = {
        "calls_place": explorer.Place(Selection(), cursors=cursors, opened="a", held=document),
        "table": SimpleNamespace(selection=SimpleNamespace(rows=rows)),
    }
    monkeypatch.setattr(st, "session_state", state)
    monkeypatch.setattr(st, "query_params", QueryParams())

    explorer._open_chosen("table", document)

    place = state["calls_place"]
    assert place.opened == opened
    assert (place.held is not None) == bool(opened or cursors)
