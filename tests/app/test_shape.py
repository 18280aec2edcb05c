"""Cost by kind of token, by hour of the week, and beside the tokens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import streamlit as st

from dashboard.figures.heat_map import heat_map
from dashboard.figures.kinds import FEES, UNSPLIT, split_by_kind
from ingest.documents.month import HourOfWeek
from ingest.documents.pages import ModelFees, TokenKinds
from ingest.errors import DatabaseUnavailableError
from ingest.forecasting.daily import daily_bands
from pricing import PriceBook
from tests.app.test_pages import address, texts

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.app.fake_database import FakeDatabase

OpenApp = Callable[..., "AppTest"]
MAY = datetime(2026, 5, 4, tzinfo=UTC)


def test_a_recorded_cost_is_divided_by_kind_to_the_last_digit() -> None:
    # gpt-4o: input 2.50, cached 1.25, output 10.00 per million. Of each of 10 calls 800 fresh, 200 cached, 100 output
    # tokens: 2000, 250 and 1000 millionths of a dollar; half of the list price was paid.
    model = TokenKinds(
        provider="openai", model="gpt-4o", requests=10, prompt_tokens=10_000, cached_tokens=2000,
        completion_tokens=1000, cost=Decimal("0.016251"),
    )  # fmt: skip
    strange = TokenKinds(provider="x", model="our-own", requests=1, prompt_tokens=5, cost=Decimal("0.5"))

    kinds = split_by_kind([model, strange, TokenKinds(model="free", cost=Decimal(0))], PriceBook.default(), MAY)

    assert sum(kinds.values()) == Decimal("0.516251")
    assert list(kinds) == [UNSPLIT, "Input", "Output", "Cached input"]
    assert kinds["Input"] == Decimal("0.010000615385")
    assert round(kinds["Cached input"], 9) == Decimal("0.001250077")


def test_cached_audio_that_is_counted_as_both_is_divided_as_cached() -> None:
    # Of 1,000 tokens 800 were cached and 900 are audio: 700 are both, and 200 are left for audio at its own price.
    model = TokenKinds(
        provider="openai", model="gpt-realtime", requests=1, prompt_tokens=1000, cached_tokens=800,
        audio_input_tokens=900, cost=Decimal("0.01"),
    )  # fmt: skip

    kinds = split_by_kind([model], PriceBook.default(), MAY)

    assert sum(kinds.values()) == Decimal("0.01")
    assert set(kinds) == {"Cached input", "Audio and images"}


def test_fees_are_a_part_of_their_own_and_the_parts_come_to_the_whole() -> None:
    # 3 dollars of fees come off what the tokens of gpt-4o cost; a model has no more fees than it cost.
    models = [
        TokenKinds(provider="openai", model="gpt-4o", requests=1, prompt_tokens=800, cost=Decimal(5)),
        TokenKinds(provider="x", model="searcher", requests=1, prompt_tokens=5, cost=Decimal(2)),
    ]
    fees = [
        ModelFees(provider="openai", model="gpt-4o", fees=Decimal(3)),
        ModelFees(provider="x", model="searcher", fees=Decimal(9)),
    ]

    kinds = split_by_kind(models, PriceBook.default(), MAY, fees=fees, whole=Decimal("7.5"))

    assert kinds == {FEES: Decimal(5), "Input": Decimal(2), UNSPLIT: Decimal("0.5")}
    assert split_by_kind(models[:1], PriceBook.default(), MAY, fees=[]) == {"Input": Decimal(5), FEES: Decimal(0)}
    assert split_by_kind(models[:1], PriceBook.default(), MAY, fees=None) == {"Input": Decimal(5)}


def test_an_hour_without_a_call_is_a_field_of_nothing() -> None:
    chart = heat_map([HourOfWeek(weekday=2, hour=13, requests=4, cost=Decimal("0.5"))]).to_dict()

    (rows,) = chart["datasets"].values()
    assert len(rows) == 7 * 24
    assert [row["when"] for row in rows if row["cost"]] == ["Tue 13:00"]


def test_costs_shows_kinds_hours_and_tokens_on_an_axis_of_their_own(open_app: OpenApp) -> None:
    app = open_app("costs")
    assert "By kind of token" in texts(app)
    assert "By hour of the week" in texts(app)

    app.segmented_control(key="costs_trend").set_value("With tokens").run()

    assert not app.exception
    assert address(app)["trend"] == ["with-tokens"]


def test_a_member_sees_hours_and_no_prices(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.access = "member"
    shown = texts(open_app("costs"))
    assert "By kind of token" not in shown
    assert "By hour of the week" in shown


def test_hours_that_cannot_be_read_leave_the_page_standing(open_app: OpenApp, fake: FakeDatabase) -> None:
    fake.errors["get_hours"] = DatabaseUnavailableError("gone")
    fake.errors["get_prices"] = DatabaseUnavailableError("gone")
    app = open_app("costs")
    assert not app.exception
    captions = [caption.value for caption in app.caption]
    assert "This could not be read: gone" in captions
    assert "The prices could not be read: gone" in captions


def test_a_tab_of_the_settings_can_be_linked_to(open_app: OpenApp) -> None:
    assert not open_app("settings", tab="prices").exception
    link = next(one.proto for one in open_app("costs").get("page_link") if "missing prices" in one.proto.label)
    assert link.query_string.startswith("tab=prices")


def test_a_day_far_outside_of_what_was_expected_is_unusual() -> None:
    # Nine weeks of 10 dollars a day that jitter by a tenth; then 10 and 30.
    spend = [10 + (number * 7 % 11 - 5) / 5 for number in range(63)]

    calm, dear = daily_bands([*spend, 10.0, 30.0], 63)
    (short,) = daily_bands([10.0] * 15, 14)

    assert calm is not None
    assert dear is not None
    assert calm.low <= 10 <= calm.high
    assert (calm.is_unusual, dear.is_unusual) == (False, True)
    assert dear.high < 15
    assert short is None, "one error makes no band"


@pytest.mark.dated
def test_unusual_days_are_named_with_what_made_them_so(
    open_app: OpenApp, fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fake._get_month

    def calm(filters: Any) -> Any:
        month = whole(filters)
        return month | {"series": [point | {"cost": "45"} for point in month["series"]]}

    def with_a_dear_day(filters: Any) -> Any:
        month = calm(filters)
        month["series"][-6] |= {"cost": "400"}
        return month

    monkeypatch.setattr(fake, "_get_month", calm, raising=False)
    assert "most of it" not in texts(open_app("costs", period="month"))
    monkeypatch.setattr(fake, "_get_month", with_a_dear_day, raising=False)
    st.cache_data.clear()

    app = open_app("costs", period="month")

    assert not app.exception
    assert "most of it chat with gpt-4o (+$5.00 against the day before)" in texts(app)
    assert '<span class="value">$400.00</span>' in texts(app)
    assert "period=custom&amp;from=" in texts(app)
