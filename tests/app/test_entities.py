"""The Customers page: rows by customer, user, tag and session, their order and pages, and the page of one of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
import streamlit as st

from dashboard.figures.entity_table import card_note, counted, counted_requests, entity_frame, title_of
from dashboard.panels import entities as panel
from dashboard.panels.entity_links import entity_address
from dashboard.reads.entities import compared_with, each_page_of_entities
from dashboard.reads.viewer import Viewer
from dashboard.selection.entity_choice import EntityChoice, parse_choice
from dashboard.selection.filters import Selection, Window
from ingest.documents.entities import Entities, Entity
from ingest.errors import InvalidArgumentError
from tests.app.test_pages import address, last_call, metrics, texts
from tests.support.events import NOON

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]


def asked(fake: FakeDatabase) -> dict[str, Any]:
    filters: dict[str, Any] = last_call(fake, "get_entities")["filters"]
    return filters


def test_a_choice_is_read_from_its_address_and_what_is_wrong_is_left_out() -> None:
    query = {"by": ["tag-plan"], "sort": ["change"], "dir": ["asc"], "search": ["pro"], "page": ["3"], "of": ["a/b"]}
    choice = parse_choice(query)
    assert choice == EntityChoice("tags.plan", "change", is_ascending=True, search="pro", page=2, of="a/b")
    assert choice.to_query() == {name: values[0] for name, values in query.items()}
    assert parse_choice({"of": [""], "by": ["customers"]}).of == ""
    wrong = {"by": ["tag-Plan"], "sort": ["share"], "dir": ["up"], "search": ["\x00"], "page": ["0"], "of": ["x" * 201]}
    assert parse_choice(wrong) == EntityChoice()
    # What others are ordered by, sessions are not.
    assert parse_choice({"by": ["sessions"], "sort": ["change"]}).sort == "cost"
    assert choice.changed(by="session_id").sort == "cost"


def test_the_same_column_chosen_again_turns_the_order_round() -> None:
    choice = EntityChoice(page=4, search="a")
    by_requests = choice.sorted_by("requests")
    assert (by_requests.sort, by_requests.is_ascending, by_requests.page) == ("requests", False, 0)
    assert by_requests.sorted_by("requests").is_ascending
    assert choice.sorted_by("name").is_ascending
    assert by_requests.filters() == (
        ("group_by", "tenant_id"), ("order", "requests"), ("direction", "desc"), ("search", "a"), ("limit", "50"),
        ("offset", "0"),
    )  # fmt: skip


def test_a_comparison_with_another_time_is_asked_for_by_its_moments() -> None:
    window, earlier = (Window(NOON - timedelta(days=day), NOON) for day in (7, 30))
    assert compared_with(window, "before", None) == window
    assert dict(compared_with(window, "none", None).filters) == {"compare": "none"}
    moments = f"{earlier.from_time.isoformat()}/{earlier.to_time.isoformat()}"
    assert dict(compared_with(window, "year", earlier).filters) == {"compare": moments}


def entity(**fields: Any) -> Entity:
    return Entity(**{"key": "acme", "requests": 10, "cost": Decimal(6), **fields})


def test_figures_of_a_row_are_of_the_calls_with_a_price_and_unknown_without() -> None:
    row = entity(unpriced_requests=3, fallback_requests=1, active_days=4, sessions=2, session_cost=Decimal(5))
    figures = [row.cost_per_request, row.cost_per_day, row.cost_per_session]
    assert figures == [Decimal(1), Decimal("1.5"), Decimal("2.5")]
    assert (row.change, row.change_share) == (None, None)
    new = entity(previous_cost=Decimal(0))
    assert (new.change, new.change_share) == (Decimal(6), None)
    assert entity(previous_cost=Decimal(8)).change_share == -0.25
    unpriced = entity(cost=None, unpriced_requests=10, active_days=1, sessions=0, previous_cost=Decimal(1))
    unknown = (unpriced.cost_per_request, unpriced.cost_per_day, unpriced.cost_per_session, unpriced.change)
    assert unknown == (None, None, None, None)


def test_calls_without_a_customer_have_a_name_and_empty_columns_are_left_out() -> None:
    rows = (entity(), entity(key="", cost=Decimal(2), points=(Decimal(1), None)))
    document = Entities(
        access="ops", from_time=NOON, to_time=NOON, bucket="day", timezone="UTC", generated_at=NOON,
        group_by="tenant_id", rows=rows, totals={"cost": "8"},
    )  # fmt: skip
    frame = entity_frame(document)
    assert list(frame["name"]) == ["acme", "No customer"]
    assert list(frame["share"]) == [75.0, 25.0]
    assert not {"change", "change_usd", "cost_per_session", "uncertain"} & set(frame.columns)
    assert (title_of("", "tags.plan"), title_of("\u202ex", "user_id")) == ("No plan", "⟨U+202E⟩x")
    assert [counted(1, "user_id"), counted(2_000, "tenant_id"), counted(2, "tags.plan")] == [
        "1 user", "2,000 customers", "2 values of plan"
    ]  # fmt: skip
    assert [counted_requests(count) for count in (0, 1, 6_995)] == ["0 requests", "1 request", "6,995 requests"]
    note = card_note(entity(previous_cost=Decimal(3), last_seen_at=NOON), Decimal(8), ZoneInfo("Europe/Berlin"))
    assert note == "75.0% · 10 requests · +100.0% · last 4 May, 14:00"


def test_the_list_is_ordered_searched_and_turned_in_the_database(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.customers = 137
    app = open_app("customers")
    assert not app.exception
    assert "138 customers" in texts(app)
    frame = app.dataframe[0].value
    assert len(frame) == 50
    assert list(frame["cost"][:49]) == sorted(frame["cost"][:49], reverse=True)
    assert "No customer" in list(frame["name"])
    app.selectbox(key="customers_sort").set_value("requests").run()
    app.button(key="customers_direction").click().run()
    assert (asked(fake)["order"], asked(fake)["direction"]) == ("requests", "asc")
    app.button(key="customers_next").click().run()
    assert asked(fake)["offset"] == "50"
    assert "51 to 100 of 138" in texts(app)
    app.text_input(key="customers_search").set_value("r_01").run()
    assert (asked(fake)["search"], asked(fake).get("offset", "0")) == ("r_01", "0")
    assert "10 customers" in texts(app)
    assert address(app) == {"sort": ["requests"], "dir": ["asc"], "search": ["r_01"]}
    app.text_input(key="customers_search").set_value("nobody").run()
    app.button(key="customers_clear").click().run()
    app.segmented_control(key="customers_by").set_value("session_id").run()
    assert not app.exception
    assert address(app) == {"sort": ["requests"], "dir": ["asc"], "by": ["sessions"]}
    assert "change" not in app.dataframe[0].value.columns


def test_without_tenants_the_list_begins_with_users_and_of_a_member_with_sessions(
    open_app: OpenApp, fake: FakeDatabase
) -> None:
    app = open_app("customers")
    assert app.segmented_control(key="customers_by").options == ["Users", "Sessions"]
    assert asked(fake)["group_by"] == "user_id"
    fake.access = "member"
    st.cache_data.clear()
    app = open_app("customers")
    assert app.segmented_control(key="customers_by").options == ["Sessions"]
    assert not app.exception


def test_the_page_of_one_customer_shows_its_figures_alone_and_leads_back(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.customers = 9
    app = open_app("customers", by="customers", of="customer_001", feature="chat")
    assert not app.exception
    shown = metrics(app)
    assert {"Spend, 7 days", "Requests", "Per active day", "Per session"} <= set(shown)
    for function in ("get_costs", "get_events", "get_entities"):
        filters = last_call(fake, function)["filters"]
        assert (filters["tenant_id"], filters["feature"]) == (["customer_001"], ["chat"])
    assert asked(fake)["group_by"] == "session_id"
    assert "customer_001" in texts(app)
    assert "session?session_id=sess_0000" in texts(app)
    app.button(key="customer_only").click().run()
    assert address(app)["tenant_id"] == ["customer_001"]
    app.button(key="customer_back").click().run()
    assert "of" not in address(app)
    assert app.dataframe


def test_calls_without_a_customer_have_a_page_that_leads_to_them_alone(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("customers", by="customers", of="")
    assert not app.exception
    assert last_call(fake, "get_costs")["filters"]["tenant_id"] == [""]
    app.button(key="customer_only").click().run()
    assert address(app)["tenant_id"] == [""]


def test_a_tag_value_has_a_page_too(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.customers = 9
    app = open_app("customers", by="tag-plan", of="pro")
    assert not app.exception
    assert last_call(fake, "get_costs")["filters"]["tags"] == {"plan": ["pro"]}
    assert (
        entity_address(Selection(tags=("plan=pro",)), "user_id", "a b") == "customers?tags=plan%3Dpro&by=users&of=a+b"
    )


@pytest.mark.parametrize(("query", "key"), [({"by": "sessions"}, "users"), ({"sort": "cost_per_session"}, "cost")])
def test_more_calls_than_sessions_can_be_read_from_lead_to_a_shorter_period(
    open_app: OpenApp, fake: FakeDatabase, query: dict[str, str], key: str
) -> None:
    fake.errors["get_entities"] = InvalidArgumentError("sessions are read from single calls: at most 1 million")
    app = open_app("customers", period="month", **query)
    assert "Too many calls" in texts(app)
    assert app.button(key=f"customers_to_{key}")
    fake.errors.clear()
    app.button(key="customers_shorter").click().run()
    assert "period" not in address(app)
    assert app.dataframe


def test_sessions_of_an_archived_period_are_unknown_and_not_none(
    open_app: OpenApp, fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fake.call

    def call(function: str, /, **arguments: Any) -> Any:
        document: Any = plain(function, **arguments)
        if function == "get_entities" and is_cut:
            document |= {"from_time": (datetime.now(UTC) - timedelta(days=2)).isoformat()}
            document |= {"rows": [], "matched": {"rows": 0, "requests": 0}} if is_gone else {}
        return document

    monkeypatch.setattr(fake, "call", call)
    is_cut = is_gone = True
    app = open_app("customers", by="sessions")
    assert "The calls of this period are archived" in texts(app)
    is_gone = False
    app = open_app("customers", by="sessions", sort="requests")
    assert any("are archived: sessions and sums begin there" in caption.value for caption in app.caption)
    assert app.dataframe


def test_the_file_has_all_rows_in_their_order_and_is_noted(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.customers = 137
    app = open_app("customers", sort="requests")
    app.button(key="customers_csv_write").click().run()
    assert not app.exception
    assert (asked(fake)["limit"], asked(fake)["points"]) == ("20000", "no")
    noted = last_call(fake, "log_export")["export"]
    assert (noted["kind"], noted["row_count"], noted["dimensions"]) == ("entities", 138, ["tenant_id"])
    assert app.get("download_button")


def test_a_file_of_rows_holds_exact_sums(fake: FakeDatabase) -> None:
    from dashboard.panels.tables import write_calls

    fake.customers = 3
    viewer = Viewer("local-ops", "me")
    pages = list(each_page_of_entities(viewer, Window(NOON - timedelta(days=7), NOON), EntityChoice(by="user_id")))
    written, count = write_calls(pages, lambda _: None)
    lines = list(csv.DictReader(io.StringIO(written.decode())))
    assert count == len(lines) == 3
    assert [Decimal(line["cost"]) for line in lines] == [row.cost for row in pages[0]]
    assert "points" not in lines[0]


def test_a_chosen_row_opens_its_page_and_a_chosen_head_orders_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = SimpleNamespace(rows=[0], columns=[])
    state: dict[str, Any] = {"table": SimpleNamespace(selection=chosen)}
    query: Any = SimpleQuery()
    monkeypatch.setattr(st, "session_state", state)
    monkeypatch.setattr(st, "query_params", query)
    common: dict[str, Any] = {"access": "ops", "bucket": "day", "timezone": "UTC"}
    common |= dict.fromkeys(("from_time", "to_time", "generated_at"), NOON)
    panel._take_choice("table", Entities(group_by="user_id", rows=(entity(key="ann"),), **common))
    assert query == {"by": "users", "of": "ann"}
    query.clear()
    panel._take_choice("table", Entities(group_by="session_id", rows=(entity(key="s1"),), **common))
    assert (query, state["customers_session"], state["customers_turn"]) == ({}, "s1", 2)
    chosen.rows, chosen.columns = [], ["change"]
    panel._take_choice("table", Entities(group_by="user_id", rows=(entity(),), **common))
    assert query == {"sort": "change_share"}


class SimpleQuery(dict[str, str]):
    """The parameters of an address, as Streamlit holds them."""

    def get_all(self, name: str) -> list[str]:
        return [self[name]] if name in self else []
