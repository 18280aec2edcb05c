"""The Prices tab of the Settings page."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.editors.prices import fault_of, price_document
from dashboard.figures import price_table
from ingest.errors import InvalidArgumentError, PermissionDeniedError
from pricing import PriceBook
from tests.app.test_settings import changes

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]
BOOK = PriceBook.default()
NOW = datetime(2026, 11, 23, tzinfo=UTC)
TYPED = {"provider": "openai", "model": "gpt-4o", "source": "contract", **dict.fromkeys(price_table.RATES, "")}


def texts(app: AppTest) -> str:
    html = [str(element.proto.body) for element in app.main.get("html")]
    return "\n".join([*html, *(caption.value for caption in app.caption)])


def table(app: AppTest, column: str) -> Any:
    return next(element.value for element in app.dataframe if column in element.value.columns)


def fill(app: AppTest, **fields: str) -> None:
    for name, value in fields.items():
        app.text_input(key=f"settings_price_{name}").set_value(value)


def test_the_prices_in_force_can_be_searched(open_app: OpenApp) -> None:
    app = open_app("settings", tab="prices")
    assert len(table(app, "layer")) > 100

    app.text_input(key="settings_prices_search").set_value("GPT-4o-mini").run()

    found = table(app, "layer").set_index("model")
    assert not app.exception
    assert all("gpt-4o-mini" in name for name in found.index)
    # OpenAI's list price of gpt-4o-mini: 0.15 $ and 0.60 $ a million.
    assert (found.loc["gpt-4o-mini", "input"], found.loc["gpt-4o-mini", "output"]) == (0.15, 0.6)
    assert found.loc["gpt-4o-mini", "layer"] == "Catalogue"
    app.text_input(key="settings_prices_search").set_value("no such model").run()
    assert "No matching model has a price" in texts(app)


def test_the_customers_own_price_is_the_one_in_force(open_app: OpenApp) -> None:
    app = open_app("settings", tab="prices")
    row = table(app, "layer").set_index("model").loc["gpt-4o"]
    assert (row["input"], row["cached_input"], row["output"]) == (2.0, 1.0, 8.0)
    assert (row["layer"], row["from"], row["to"]) == ("Yours", "2026-11-01", "—")
    assert list(table(app, "state")["state"]) == ["Scheduled", "Ended", "Started", "Started", "Corrected"]

    app.selectbox(key="settings_prices_provider").set_value("self-hosted").run()

    assert table(app, "layer").loc[0, "per_hour"] == 0.3


def test_without_prices_of_their_own_list_prices_count(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.prices = []
    app = open_app("settings", tab="prices")
    assert "None. List prices apply." in texts(app)


def test_a_catalogue_that_the_worker_fetched_is_the_one_in_force(open_app: OpenApp, fake: FakeDatabase) -> None:
    assert "the worker fetched" not in texts(open_app("settings", tab="prices"))
    model = {"id": "gpt-4o-mini", "match": {"equals": "gpt-4o-mini"}, "prices": {"input_mtok": 0.3, "output_mtok": 1.2}}
    openai = {"id": "openai", "name": "OpenAI", "api_pattern": "openai", "models": [model]}
    fake.catalogue = {"sha256": "ab", "reader_version": "99.0", "fetched_at": "2026-11-24T03:00:00+00:00"}
    fake.catalogue |= {"content": json.dumps([openai])}
    app = open_app("settings", tab="prices")
    assert "The catalogue is the one that the worker fetched on 24 Nov 2026 (UTC)." in texts(app)
    found = table(app, "layer").set_index("model")
    assert (found.loc["gpt-4o-mini", "input"], found.loc["gpt-4o-mini", "output"]) == (0.3, 1.2)


def test_a_price_is_explained_step_by_step(open_app: OpenApp) -> None:
    app = open_app("settings", tab="prices")

    app.text_input(key="settings_explain_model").set_value("openai/gpt-4o").run()

    shown = texts(app)
    assert "input 2.00 · cached input 1.00 · output 8.00" in shown
    assert "Provider prefix &#x27;openai&#x27; taken off." in shown
    assert "The row in force is from the layer Yours." in shown
    assert "from 01 Nov 2026 00:00 UTC with no end date: customer:2." in shown
    assert "Source: contract 2026-11, annex 2." in shown
    assert "Rows not used: genai:" in shown
    app.date_input(key="settings_explain_day").set_value(date(2026, 10, 31)).run()
    assert "The row in force is from the layer Catalogue." in texts(app)


def test_a_model_that_nobody_knows_is_said(open_app: OpenApp) -> None:
    app = open_app("settings", tab="prices")
    app.text_input(key="settings_explain_model").set_value("my-model").run()
    assert "No layer has this model" in texts(app)


def test_a_tier_without_a_row_leaves_the_cost_unknown(open_app: OpenApp) -> None:
    app = open_app("settings", tab="prices")

    app.text_input(key="settings_explain_model").set_value("text-embedding-3-small")
    app.selectbox(key="settings_explain_tier").set_value("flex").run()

    assert "The cost of such a call is unknown." in texts(app)


def test_a_price_is_added_as_typed(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings", tab="prices")
    fill(app, model=" GPT-4o ", input="2.00", output="8.00", source="contract 7")
    app.date_input(key="settings_price_from").set_value(date(2026, 12, 1))

    app.button(key="settings_price_save").click().run()

    assert not app.exception
    price = {
        "provider": "openai",
        "model": "gpt-4o",
        "service_tier": "default",
        "valid_from": "2026-12-01T00:00:00+00:00",
        "valid_to": None,
        "rates": {"input": "2.00", "output": "8.00"},
        "source": "contract 7",
    }
    assert changes(fake) == [("add_price", {"price": price})]
    assert app.text_input(key="settings_price_model").value == ""
    assert app.toast[0].value.startswith("Price added for gpt-4o.")


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"model": " "}, "Enter the provider and the model as recorded."),
        ({"source": ""}, "Enter the source of the figures: a contract, a page or an e-mail."),
        ({}, "Rates are missing."),
        ({"input": "cheap"}, "Input is not a number: 'cheap'."),
        ({"input": "-1"}, "Input must be zero or more: '-1'."),
        ({"input": "1"}, ""),
    ],
)
def test_a_wrong_price_is_named_before_it_is_sent(fields: dict[str, str], fault: str) -> None:
    assert fault_of(price_document({**TYPED, **fields}, "any", date(2026, 11, 1), date(2026, 12, 1))) == fault


def test_a_price_that_ends_before_it_begins_is_refused_in_the_form(open_app: OpenApp, fake: FakeDatabase) -> None:
    app = open_app("settings", tab="prices")
    fill(app, model="gpt-4o", input="2", source="x")
    app.date_input(key="settings_price_from").set_value(date(2026, 12, 1))
    app.date_input(key="settings_price_to").set_value(date(2026, 11, 1))

    app.button(key="settings_price_save").click().run()

    assert app.error[0].value == "Valid_from must be before valid_to."
    assert changes(fake) == []


def test_the_databases_refusal_of_a_price_is_said(open_app: OpenApp, fake: FakeDatabase) -> None:
    def refuse(**_: object) -> None:
        raise PermissionDeniedError("only ops may do this", sqlstate="42501")

    fake._add_price = refuse  # type: ignore[attr-defined]
    app = open_app("settings", tab="prices")
    fill(app, model="gpt-4o", input="2", source="x")

    app.button(key="settings_price_save").click().run()

    assert app.error[0].value == "Not added: only ops may do this"
    assert app.text_input(key="settings_price_model").value == "gpt-4o"


def test_prices_that_cannot_be_read_say_so(open_app: OpenApp, fake: FakeDatabase) -> None:
    def fail() -> None:
        raise InvalidArgumentError("broken")

    fake._get_prices = fail  # type: ignore[method-assign,assignment]

    app = open_app("settings", tab="prices")

    assert [error.value for error in app.error] == ["The prices could not be read: broken"]


def test_a_missing_price_is_filled_in_where_a_link_asks_for_it(open_app: OpenApp) -> None:
    app = open_app("settings", tab="prices", price="self-hosted/org/our-model")
    assert app.text_input(key="settings_price_provider").value == "self-hosted"
    assert app.text_input(key="settings_price_model").value == "org/our-model"
    app.text_input(key="settings_price_model").set_value("other")
    app.button(key="settings_price_save").click().run()  # refused, without a source
    assert app.text_input(key="settings_price_model").value == "other"


def test_the_preview_shows_the_difference_and_the_command_and_changes_nothing(
    open_app: OpenApp, fake: FakeDatabase
) -> None:
    app = open_app("settings", tab="prices")
    app.date_input(key="settings_reprice_from").set_value(date(2026, 11, 2))
    app.date_input(key="settings_reprice_last").set_value(date(2026, 11, 3))
    app.text_input(key="settings_reprice_model").set_value("gpt 4o")

    app.button(key="settings_reprice_run").click().run()

    assert not app.exception
    lines = table(app, "difference").set_index("model")
    # 270 calls of 1,000 + 100 tokens: from 0.0035 $ to (1,000 x 2 + 100 x 8) / 1e6 = 0.0028 $ each.
    assert lines.loc["openai/gpt-4o", "new"] == pytest.approx(0.756)
    assert lines.loc["openai/gpt-4o", "difference"] == pytest.approx(-0.189)
    # The 30 of a model without a price stay as they are.
    assert "270 of 300 calls would change" in texts(app)
    assert app.code[-1].value == (
        "treering reprice --from 2026-11-02 --to 2026-11-04 --model 'gpt 4o' --apply --by local-ops --reason \"why\""
    )
    assert changes(fake) == []


def test_a_long_range_is_cut_and_said_so(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.rows_to_reprice = 30_000
    app = open_app("settings", tab="prices")

    app.button(key="settings_reprice_run").click().run()

    assert app.warning[0].value.startswith("Preview limited to the first 20,000 calls, up to ")
    assert sum(name == "get_rows_to_reprice" for name, _ in fake.calls) == 8


def test_nothing_to_reprice_is_said(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.rows_to_reprice = 0
    app = open_app("settings", tab="prices")
    app.button(key="settings_reprice_run").click().run()
    assert "No calls in this range can be repriced." in texts(app)


def test_a_preview_needs_days_in_order_and_says_what_the_database_refuses(
    open_app: OpenApp, fake: FakeDatabase
) -> None:
    def fail(**_: object) -> None:
        raise InvalidArgumentError("too long")

    fake._get_rows_to_reprice = fail  # type: ignore[method-assign,assignment]
    app = open_app("settings", tab="prices")
    app.button(key="settings_reprice_run").click().run()
    assert app.error[0].value == "The preview failed: too long"

    app.date_input(key="settings_reprice_last").set_value(date(2020, 1, 1))
    app.button(key="settings_reprice_run").click().run()

    assert app.error[0].value == "The first day must not be after the last."


def test_rows_in_an_unknown_form_are_shown_as_dashes() -> None:
    frame = price_table.own_prices([{"model": "x", "rates": None, "valid_from": None}], NOW)
    assert list(frame.iloc[0][["rates", "from", "by", "state"]]) == ["—", "—", "—", "Started"]
