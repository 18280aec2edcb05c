"""What is left out and what is in a range: filter bar, chips, address; and what says that it does not follow."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

import pytest

from dashboard.figures import headline
from dashboard.panels.chips import chips_of, link_to
from dashboard.panels.savings import savings_filters
from dashboard.selection.address import parse_query
from dashboard.selection.filters import Selection, to_document
from dashboard.selection.ranges import tidy_limit, upside_down
from ingest.documents.names import plain_markdown
from tests.app.test_pages import FIGURES, OpenApp, address, last_call, texts
from tests.app.test_views import links

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

NOW = datetime(2026, 11, 23, 20, 14, 7, tzinfo=UTC)


def captions(app: AppTest) -> str:
    return "\n".join(caption.value for caption in app.caption)


def go(app: AppTest, **query: str | list[str]) -> AppTest:
    """Open an address on the page that is open."""
    app.query_params.clear()
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


# -- the choice itself ---------------------------------------------------------------------------------------------


def test_the_database_is_told_what_is_left_out_beside_what_is_wanted() -> None:
    chosen = Selection(model=("gpt-4o", "o4-mini"), tags=("plan=pro",))
    chosen = chosen.with_excluded("tags", ["plan=free", "plan=", "team=a=b"]).with_excluded("feature", [""])
    chosen = chosen.with_excluded("metadata", ["plan=pro", 'plan="7"', "seats=5"])

    document = to_document(chosen.window(NOW, ZoneInfo("UTC")).filters)

    assert document["model"] == ["gpt-4o", "o4-mini"]
    assert document["tags"] == {"plan": ["pro"]}
    assert document["not"] == {
        "feature": [""],
        "tags": {"plan": ["free", ""], "team": ["a=b"]},
        "metadata": {"plan": ["pro", "7"], "seats": [5]},
    }


def test_a_value_is_either_wanted_or_left_out() -> None:
    chosen = Selection().with_excluded("model", ["a", "b"])

    assert chosen.with_filter("model", ["a"]).excluded == (("model", "b"),)
    assert Selection(model=("a", "c")).with_excluded("model", ["a"]).model == ("c",)
    assert chosen.turned("model", "a") == Selection(model=("a",), excluded=(("model", "b"),))
    assert chosen.turned("model", "a").turned("model", "a").excluded == (("model", "b"), ("model", "a"))
    assert parse_query({"model": ["a"], "not_model": ["a"]}) == Selection(excluded=(("model", "a"),))


@pytest.mark.parametrize(
    "query",
    [
        {"not_model": ["a\x00b", "", "x" * 201]},
        {"not_status": ["ok'; drop table"]},
        {"not_tags": ["plan", "=pro", "PLAN=pro"]},
        {"not_metadata": ["plan", "plan=[1]"]},
        {"not_colour": ["red"], "not_": ["x"], "not_not_model": ["x"]},
        {"max_cost": ["-1"], "max_tokens": ["1.5"], "max_latency_ms": ["NaN"], "min_cost": ["1e9"]},
    ],
)
def test_what_an_address_should_not_leave_out_is_not_taken(query: dict[str, list[str]]) -> None:
    assert parse_query(query) == Selection()


def test_calls_without_a_value_have_a_place_in_the_address() -> None:
    chosen = parse_query({"feature": [""], "not_tenant_id": ["", "acme"], "model": [""]})

    assert chosen == Selection(feature=("",), excluded=(("tenant_id", ""), ("tenant_id", "acme")))
    query = parse_qs(link_to("http://x/costs", chosen).partition("?")[2], keep_blank_values=True)
    assert parse_query(query) == chosen
    assert list(chips_of(chosen)) == ["feature: (none)", "tenant: not (none)", "tenant: not acme"]


@pytest.mark.parametrize(
    ("name", "typed", "tidy"),
    [
        ("max_cost", " $1,000.5 ", "1000.5"), ("max_cost", "0.000000000001", "0.000000000001"),
        ("max_tokens", "1.5", None), ("max_cost", "-1", None), ("cost", "1", None),
        ("min_tokens", "1,234,567", "1234567"),
        ("max_cost", "$ 007.50", "7.50"), ("max_cost", "00", "0"),
    ],
)  # fmt: skip
def test_an_amount_stays_as_it_was_typed(name: str, typed: str, tidy: str | None) -> None:
    assert tidy_limit(name, typed) == tidy


@pytest.mark.parametrize("typed", ["0,5", "1,5", "12,34", "0,500", "1,2345", ",5", "1,000,5"])
def test_a_comma_that_parts_no_thousands_is_never_dropped(typed: str) -> None:
    assert tidy_limit("min_cost", typed) is None
    assert parse_query({"min_cost": [typed]}).limits == ()


def test_a_range_is_upside_down_by_its_exact_amounts() -> None:
    assert upside_down({"min_cost": "0.10", "max_cost": "0.1"}) == ""
    assert upside_down({"min_cost": "0.100000000001", "max_cost": "0.1"}) == "cost from $0.100000000001 to $0.1"
    assert upside_down({"min_tokens": "9", "max_cost": "1", "max_tokens": "10"}) == ""


def test_savings_are_read_with_the_filters_that_they_know_or_not_at_all() -> None:
    chosen = Selection(operation=("chat",)).with_excluded("model", ["a"])

    assert savings_filters(chosen) == (("operation", ("chat",)), ("not_model", ("a",)))
    assert savings_filters(chosen.with_excluded("user_id", ["ann"])) is None


def test_a_headline_says_what_does_not_follow_the_filters() -> None:
    assert headline.alerts_sentence(2, is_filtered=True) == (
        '<a href="alerts" target="_self">2 alerts about these calls are firing</a>.'
    )


# -- the controls --------------------------------------------------------------------------------------------------


def test_the_filter_bar_leaves_out_what_is_chosen_beside_what_is_wanted(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("costs", provider="openai")
    app.segmented_control(key="costs_filter_mode").set_value("not").run()
    assert not [box for box in app.multiselect if box.key == "costs_model"]

    app.multiselect(key="costs_not_model").select("gpt-4o").run()

    assert not app.exception
    assert address(app) == {"provider": ["openai"], "not_model": ["gpt-4o"]}
    filters = last_call(fake, "get_costs")["filters"]
    assert (filters["provider"], filters["not"]) == (["openai"], {"model": ["gpt-4o"]})
    # The month, its forecast and the savings are of the same calls.
    assert last_call(fake, "get_month")["filters"]["not"] == {"model": ["gpt-4o"]}
    assert last_call(fake, "get_savings_evidence")["filters"] == {"provider": ["openai"], "not": {"model": ["gpt-4o"]}}


def test_a_chip_is_turned_around_and_removed(open_app: OpenApp) -> None:
    app = open_app("usage", not_model="gpt-4o", feature=["chat", "search"])
    assert app.pills(key="usage_chips").value == ["feature: chat", "feature: search", "model: not gpt-4o"]

    app.pills(key="usage_turn_chip").set_value("feature: not chat").run()
    assert address(app) == {"feature": ["search"], "not_model": ["gpt-4o"], "not_feature": ["chat"]}
    app.pills(key="usage_turn_chip").set_value("model: gpt-4o").run()
    assert address(app) == {"model": ["gpt-4o"], "feature": ["search"], "not_feature": ["chat"]}
    app.pills(key="usage_chips").set_value(["model: gpt-4o", "feature: search"]).run()

    assert address(app) == {"model": ["gpt-4o"], "feature": ["search"]}


def test_a_range_has_both_ends_and_says_what_it_leaves_out(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("calls", not_user_id="user_x")
    app.text_input(key="calls_min_cost").set_value("$0.0001").run()
    app.text_input(key="calls_max_cost").set_value("0.005").run()

    assert address(app) == {"min_cost": ["0.0001"], "max_cost": ["0.005"], "not_user_id": ["user_x"]}
    filters = last_call(fake, "get_events")["filters"]
    assert (filters["min_cost"], filters["max_cost"]) == ("0.0001", "0.005")
    unknown = sum(one["estimated_cost"] is None for one in fake.single_calls)
    assert f"{unknown} calls of unknown cost are left out" in captions(app)
    chips = ["user: not user_x", "cost ≥ $0.0001", "cost ≤ $0.005"]
    assert f"All calls that match {', '.join(map(plain_markdown, chips))}, newest" in captions(app)
    assert sorted(app.pills(key="calls_chips").value or []) == sorted(chips)


def test_a_range_upside_down_shows_no_call_and_how_to_mend_it(open_app: OpenApp) -> None:
    app = go(open_app("calls"), min_tokens="10", max_tokens="9", model="gpt-4o")

    assert "A range is upside down" in texts(app)
    assert "No call can match: tokens from 10 to 9." in texts(app)
    assert not app.dataframe

    app.button(key="calls_ranges").click().run()
    assert address(app) == {"model": ["gpt-4o"]}
    app.text_input(key="calls_max_tokens").set_value("many").run()
    assert "Tokens up to: a whole number of zero or more" in app.error[0].value


# -- the same in another browser -----------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    "period": "custom", "from": "2026-11-20T10:00:00Z", "to": "2026-11-21T11:30:00Z", "grain": "hour",
    "compare": "none", "zone": "reporting", "model": ["gpt-4o", "o4-mini"], "not_feature": ["", "a&b=c"],
    "not_tags": ["plan=free", "team="], "tenant_id": ["Ä ö", "'; --"], "not_metadata": ["seats=5"],
    "not_status": ["error"],
}  # fmt: skip
ON_PAGE: dict[str, dict[str, Any]] = {
    "overview": {"trend": "tokens"},
    "usage": {"trend": "requests", "table": "user", "group": "user_id"},
    "costs": {"trend": "with-tokens", "table": "provider", "group": "provider"},
    "performance": {"part": "routes"},
    "calls": {
        "order": "cost", "size": "100", "min_cost": "0.1", "max_tokens": "9", "not_session_id": [""],
        "error_type": ["x"], "group": "provider",
    },
    "alerts": {"state": "resolved", "sort": "newest"},
    "settings": {"tab": "budgets"},
}  # fmt: skip


def listed(query: dict[str, Any]) -> dict[str, list[str]]:
    return {name: value if isinstance(value, list) else [value] for name, value in query.items()}


@pytest.mark.parametrize("page", ON_PAGE)
def test_a_link_opens_the_same_in_another_browser(open_app: OpenApp, page: str) -> None:
    asked = listed(ON_PAGE[page] if page == "settings" else EVERYTHING | ON_PAGE[page])
    app = go(open_app(page), **asked)

    assert not app.exception
    assert address(app) == asked


@pytest.mark.parametrize("page", [*FIGURES, "calls"])
def test_a_saved_view_keeps_what_is_left_out(open_app: OpenApp, page: str) -> None:
    app = open_app(page, not_model="gpt-4o", not_tags="plan=")
    app.text_input(key=f"{page}_view_name").input("Others")
    app.button(key=f"FormSubmitter:{page}_view_form-Save view").click().run()

    assert links(app)["Others"] == {"period": ["week"], "not_model": ["gpt-4o"], "not_tags": ["plan="]}


def test_a_link_within_the_page_changes_the_table_that_is_drawn(open_app: OpenApp) -> None:
    app = open_app("costs", table="user")
    assert app.segmented_control(key="costs_by").value == "User"

    app.query_params["table"] = "provider"
    app.run()

    assert app.segmented_control(key="costs_by").value == "Provider"
    app.segmented_control(key="costs_by").set_value("Feature").run()
    assert address(app) == {"table": ["feature"]}


def test_a_link_holds_the_page_of_calls(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("calls")
    app.button(key="calls_older").click().run()
    after = address(app)["after"][0]
    assert after == last_call(fake, "get_events")["filters"]["cursor"]

    other = open_app("calls", after=after)
    assert list(other.dataframe[0].value["created_at"]) == list(app.dataframe[0].value["created_at"])
    assert "A later page" in texts(other)
    other.button(key="calls_newest").click().run()
    assert address(other) == {}
    assert address(open_app("calls", after="x' or true|y", size="7")) == {}


# -- what does not follow the filters says so ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"not_tenant_id": "acme"}, ["bills are not broken down by tenant", "Savings are not broken down by tenant"]),
        ({"not_provider": "openai"}, ["bills are not combined across providers"]),
        ({"not_metadata": "plan=pro"}, ["A statement is not broken down by metadata"]),
        ({"model": "gpt-4o"}, ["Budgets count all calls of their own scope, whatever the filters."]),
    ],
)
def test_a_panel_of_costs_that_cannot_follow_a_filter_says_so(
    open_app: OpenApp, query: dict[str, Any], said: list[str]
) -> None:
    app = open_app("costs", **query)

    assert not app.exception
    assert [text for text in said if text not in captions(app)] == []
    assert app.button(key="costs_statement_write").disabled == ("not_metadata" in query)
    assert "The calls are those chosen here, whatever the filters of the page." in texts(app)


def test_the_overview_draws_no_budget_of_all_calls_and_no_saving_of_others(
    open_app: OpenApp, fake: FakeDatabase
) -> None:
    whole, part = open_app(), open_app(not_user_id="user_x")

    assert "of all its calls whatever the filters" in texts(part)
    assert "whatever the filters" not in texts(whole)
    assert "that the filters leave" in texts(part)
    evidence = [one["filters"] for name, one in fake.calls if name == "get_savings_evidence"]
    assert evidence == [{}]


def test_routes_and_alerts_say_which_filters_do_not_count(open_app: OpenApp) -> None:
    of_models = open_app("performance", part="routes", not_model="gpt-4o")
    of_environments = open_app("performance", part="routes", not_environment="staging")

    assert "of the filters only the environment counts here" in captions(of_models)
    assert "of the filters only the environment counts here" not in captions(of_environments)
    assert "The filters of the other pages do not count here" in captions(open_app("alerts", model="gpt-4o"))
