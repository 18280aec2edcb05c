"""The page of single calls: table, pages, one call's details, and the ways to it."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
import streamlit as st

from dashboard import explorer, filter_bar, tables
from dashboard.call_documents import Call, Calls
from dashboard.call_links import calls_address, calls_query
from dashboard.call_prices import explain_call
from dashboard.call_table import call_frame, exact_decimals, facts_of, table_height
from dashboard.filters import Selection
from ingest.errors import DatabaseError, DatabaseUnavailableError, PermissionDeniedError
from pricing import PriceBook
from tests.app.test_pages import OpenApp, address, last_call, texts

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.documents import FakeDatabase

BERLIN = ZoneInfo("Europe/Berlin")


def call(**fields: Any) -> Call:
    return Call.model_validate(
        {
            "event_id": "0190c1d2-0000-7000-8000-000000000001",
            "created_at": datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC),
            "user_id": "user_a",
            "model": "gpt-4o",
            "provider": "openai",
            "prompt_tokens": 150,
            "completion_tokens": 50,
            "estimated_cost": "0.000875",
            "cost_source": "priced",
            "price_id": PriceBook.default().explain("gpt-4o").price_id,
            **fields,
        }
    )


def shown_ids(app: AppTest) -> list[str]:
    place = app.session_state["calls_place"]
    return [one.event_id for one in place.held.events]


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
    assert "The newest call is of 16 November 2023, 13:00." in texts(app)

    app.button(key="calls_empty_clear").click().run()
    app.button(key="calls_empty_newest").click().run()

    assert address(app) == {"period": ["custom"], "from": ["2023-11-10"], "to": ["2023-11-16"]}


def test_a_member_sees_their_own_calls_without_a_column_of_users(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.access = "member"

    app = open_app("calls")

    assert "user_id" not in app.dataframe[0].value
    assert "your own calls" in texts(app)
    assert not [box for box in app.multiselect if box.key == "calls_user_id"]


def test_the_table_can_be_saved_with_every_digit(open_app: OpenApp) -> None:
    rows = [call(estimated_cost="0.0000001500000000000000001", metadata={"plan": "pro", "n": 1}, session_id="=1+1")]

    (line,) = csv.DictReader(io.StringIO(tables.to_csv(rows).decode()))

    assert line["estimated_cost"] == "0.0000001500000000000000001"
    assert line["metadata"] == '{"plan": "pro", "n": 1}'
    assert line["session_id"] == "'=1+1"
    assert open_app("calls").get("download_button")


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
    assert "<dt>Input, 150 tokens</dt><dd>$0.0003</dd>" in shown
    assert "<dt>Output, 50 tokens</dt><dd>$0.0004</dd>" in shown
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
    opened.button(key="calls_way_0").click().run()
    assert address(opened) == {"user_id": ["user_2kf81maria"], "session_id": ["sess_first"]}
    assert "tr-list" not in texts(opened)

    open_row(opened, 0).button(key="calls_way_1").click().run()
    assert address(opened) == {"user_id": ["user_2kf81maria"]}


def test_a_failed_call_leads_to_those_with_the_same_error(opened: AppTest, fake: FakeDatabase) -> None:
    row = next(index for index, one in enumerate(fake.single_calls[:50]) if one["error_type"] and one["session_id"])
    error = fake.single_calls[row]["error_type"]

    open_row(opened, row).button(key="calls_way_2").click().run()

    assert address(opened) == {"error_type": [error]}


def test_a_call_without_ways_or_metadata_draws(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.access = "member"
    fake.single_calls[0] |= {"session_id": None, "metadata": None, "user_id": "local-ops"}
    app = open_app("calls")
    app.session_state["fake_calls"] = [Call.model_validate(one) for one in fake.single_calls]

    open_row(app, 0)

    assert not app.exception
    assert not [button for button in app.button if str(button.key).startswith("calls_way")]
    assert not app.json


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PermissionDeniedError("denied", sqlstate="42501"), "Prices are shown to analysts and ops."),
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

    explorer._open_chosen("table", document)

    place = state["calls_place"]
    assert place.opened == opened
    assert (place.held is not None) == bool(opened or cursors)


# -- refusals and filters on every page ----------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["overview", "usage", "costs", "performance", "calls"])
def test_metadata_over_a_long_period_is_refused_with_a_way_out(
    open_app: OpenApp, fake: FakeDatabase, page: str
) -> None:
    app = open_app(page, period="quarter", metadata="plan=pro")
    assert not app.exception
    assert "Too much to search for metadata" in texts(app)

    app.button(key=f"{page}_shorter").click().run()

    assert address(app) == {"metadata": ["plan=pro"]}
    assert "Too much to search for metadata" not in texts(app)
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
    assert "This takes too long" in texts(app)
    assert "The database cannot be reached" not in texts(app)
    fake.error = None

    app.button(key="calls_shorter").click().run()

    assert address(app) == {"session_id": ["s1"]}


def test_a_member_with_a_link_to_somebody_elses_calls_gets_a_way_to_their_own(
    open_app: OpenApp, fake: FakeDatabase
) -> None:
    fake.access = "member"
    app = open_app("costs", user_id="user_b")
    assert "You see your own calls only" in texts(app)

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
    assert {metric.label: metric.value for metric in app.metric}["Spend today"] == "—"
    assert "not known for metadata" in texts(app)


def test_bill_and_savings_say_that_they_know_no_users(open_app: OpenApp) -> None:
    captions = [caption.value for caption in open_app("costs", user_id="user_b", metadata="plan=pro").caption]

    assert any("A bill cannot be compared for user or kind of metadata" in text for text in captions)
    assert any("Savings are not concluded for one user or kind of metadata" in text for text in captions)


def test_filters_of_single_calls_do_not_follow_to_pages_of_sums(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("calls", model="gpt-4o")
    app.query_params["session_id"] = "s1"
    app.run()
    assert last_call(fake, "get_events")["filters"]["session_id"] == ["s1"]

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
    assert "Choose a row to see its calls." in [caption.value for caption in open_app(page).caption]
    monkeypatch.setattr(tables, "_draw", lambda *_, **__: 1)

    app = open_app(page)

    link = app.get("page_link")[-1].proto
    assert link.label.startswith("Calls of ")
    assert "model=" in link.query_string


def test_the_row_of_all_others_leads_nowhere(open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_draw", lambda *_, **__: 10)
    app = open_app("costs")

    app.segmented_control(key="costs_by").set_value("User").run()

    assert "Choose a row to see its calls." in [caption.value for caption in app.caption]


# -- pure parts ----------------------------------------------------------------------------------------------------


def test_an_unknown_cost_is_an_empty_cell() -> None:
    frame = call_frame([call(estimated_cost=None, cost_source="unpriced", price_id=None), call()], is_member=False)

    assert frame["estimated_cost"].isna().tolist() == [True, False]
    assert frame["latency_ms"].isna().all()


@pytest.mark.parametrize(
    ("amounts", "decimals"),
    [([], 2), ([None, "0"], 2), (["1"], 2), (["0.000875", "0.1"], 6), (["0.00000000000000015"], 12), (["1200"], 2)],
)
def test_a_column_of_costs_has_the_decimals_of_its_longest(amounts: list[str | None], decimals: int) -> None:
    assert exact_decimals([None if amount is None else Decimal(amount) for amount in amounts]) == decimals


def test_details_say_all_that_is_known_in_the_viewers_time() -> None:
    facts = facts_of(call(received_at=datetime(2026, 11, 20, 12, 0, 1, tzinfo=UTC), max_output_tokens=4096), BERLIN)

    lines = dict(line for group in facts.values() for line in group)
    assert lines["Time"] == "2026-11-20 13:00:00.123 +0100"
    assert lines["Received"] == "2026-11-20 13:00:01.000 +0100"
    assert lines["Most allowed"] == "4,096"
    assert lines["Session"] == "—"
    assert dict(facts_of(call(), BERLIN)["Traces"])["Received"] == "—"


def test_a_short_page_has_a_short_table() -> None:
    assert table_height(1) < table_height(16) == table_height(200)


def test_the_parts_of_a_cost_add_up() -> None:
    parts, steps = explain_call(
        PriceBook.default(), call(cached_tokens=100, estimated_cost="0.75", request_fees="0.01")
    )

    assert parts == [
        ("Input, 50 tokens", "$0.000125"),
        ("Cached input, 100 tokens", "$0.000125"),
        ("Output, 50 tokens", "$0.0005"),
        ("Fees of the request", "$0.01"),
    ]
    assert steps


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"cost_source": "provider"}, "The provider itself said what it charged."),
        ({"price_id": "customer:9"}, "It was charged with customer:9. Today's price book makes it $0.000875;"),
        ({"cost_source": "unpriced", "price_id": None}, "It had no price when it was recorded."),
        ({"cost_source": "fallback", "price_id": "p"}, "It was priced as TREERING_FALLBACK_MODEL, with p."),
        (
            {"model": "our-own-7b", "cost_source": "fallback", "price_id": "p"},
            "No price was known for openai/our-own-7b: it was priced as TREERING_FALLBACK_MODEL, with p.",
        ),
        ({"model": "our-own-7b", "cost_source": "unpriced"}, "No price is known for openai/our-own-7b"),
        ({"model": "our-own-7b", "price_id": "customer:1"}, "It was charged with customer:1; this app's price book"),
        ({"cached_tokens": 151}, "It cannot be explained: "),
    ],
)
def test_a_cost_that_the_book_does_not_explain_is_told_as_it_is(fields: dict[str, Any], text: str) -> None:
    parts, steps = explain_call(PriceBook.default(), call(**fields))

    assert parts == []
    assert steps[0].startswith(text)


def test_a_price_that_is_no_longer_in_force_is_told() -> None:
    rows = [
        {
            "provider": "openai",
            "models": ["ours"],
            "valid_from": "2027-01-01T00:00:00+00:00",
            "rates": {"input": "1", "output": "1"},
            "source_url": "contract",
        }
    ]

    _, steps = explain_call(PriceBook.default().with_rows(rows), call(model="ours", price_id="customer:1"))

    assert steps[0] == "It was charged with customer:1; no price is in force for its time now."
