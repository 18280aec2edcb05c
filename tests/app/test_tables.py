"""Tables, rankings and the CSV."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from dashboard.panels import cards, rankings, tables
from ingest.documents.pages import Row, SpeedRow, Totals
from ingest.documents.words import format_usd_column

if TYPE_CHECKING:
    import pytest


def test_a_csv_keeps_exact_sums_and_full_counts() -> None:
    rows = [Row(key="gpt-4o", requests=19_366, cost=Decimal("96.791325"), prompt_tokens=22_361_870)]

    line = next(csv.DictReader(io.StringIO(tables.to_csv(rows).decode())))

    assert line["cost"] == "96.791325"
    assert line["prompt_tokens"] == "22361870"


def test_a_name_that_is_a_formula_is_only_text_in_a_spreadsheet() -> None:
    text = tables.to_csv([Row(key='=HYPERLINK("http://evil.example")')]).decode()

    assert "'=HYPERLINK" in text


def test_an_empty_csv_can_be_written() -> None:
    assert tables.to_csv([]) == b"\n"


def test_unknown_costs_stay_unknown_in_a_table() -> None:
    frame = tables.cost_frame(
        [Row(key="new-model", requests=5), Row(requests=2, is_other=True, keys=31, cost=Decimal(3))]
    )

    assert frame["cost"].isna().tolist() == [True, False]
    assert frame["share"].tolist()[1] == 100
    assert frame["name"].tolist() == ["new-model", "Other (31)"]
    assert frame["change"].isna().all()


def test_a_change_in_a_table_is_against_the_period_before() -> None:
    frame = tables.cost_frame([Row(key="a", requests=1, cost=Decimal(3), previous_cost=Decimal(2))])

    assert frame["change"].tolist() == [50.0]


def test_a_cost_per_request_is_of_those_with_a_price() -> None:
    rows = [
        Row(key="a", requests=10, unpriced_requests=6, cost=Decimal(2)),
        Row(key="b", requests=3, unpriced_requests=3),
    ]

    assert tables.cost_frame(rows)["cost_per_request"].tolist()[0] == 0.5
    assert tables.cost_frame(rows)["cost_per_request"].isna().tolist() == [False, True]
    totals = Totals(
        requests=10, unpriced_requests=3, fallback_requests=3, cost=Decimal(2), total_tokens=9_000_000,
        wholly_priced_cost=Decimal("1.5"), wholly_priced_tokens=3_000_000,
    )  # fmt: skip
    assert cards.cost_per_call(totals) == Decimal("0.5")
    assert cards.cost_per_million(totals) == Decimal("0.5")
    assert cards.cost_per_million(Totals(total_tokens=5)) is None


def test_a_chosen_row_stays_chosen_when_the_ranking_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, Any] = {"t": {"selection": {"rows": [1]}}}
    monkeypatch.setattr(st, "session_state", state)

    tables._take_choice("t", ["a", "b", "c"])
    tables._keep_choice("t", ["b", "c", "a"])
    assert state["t"] == {"selection": {"rows": [0]}}
    tables._keep_choice("t", ["c", "a"])
    assert state["t"] == {"selection": {"rows": []}}, "what is gone is not another row"
    tables._keep_choice("t", ["a", "b"])
    assert state["t"] == {"selection": {"rows": [1]}}, "and is chosen again when it is back"


def test_sums_below_each_other_have_the_decimals_of_the_largest() -> None:
    assert format_usd_column([Decimal("51.4312"), Decimal("0.9263"), Decimal("0.00766")]) == [
        "$51.43",
        "$0.93",
        "$0.01",
    ]
    assert format_usd_column([Decimal(1200), Decimal("0.5"), None]) == ["$1,200.00", "$0.50", "—"]
    assert format_usd_column([Decimal("0.00002"), Decimal("0.0000015")]) == ["$0.0000200", "$0.0000015"]
    assert format_usd_column([Decimal(3), Decimal("-0.00001"), Decimal(0)]) == ["$3.00", "<$0.01", "$0.00"]
    assert format_usd_column([Decimal("0.4")], beside=[Decimal(7)]) == ["$0.40"]


def test_parts_add_up_to_what_the_whole_is_shown_as() -> None:
    # Each is a third of a dollar: two cents short of two whole sums, one cent of one.
    third = Decimal(1) / 3
    assert format_usd_column([third] * 3, Decimal(1)) == ["$0.34", "$0.33", "$0.33"]
    assert format_usd_column([Decimal("10.006"), Decimal("5.006"), Decimal("0.001")], Decimal("15.013")) == [
        "$10.00",
        "$5.01",
        "<$0.01",
    ]
    assert format_usd_column([Decimal("2.006"), Decimal("-1.002")], Decimal("1.004")) == [
        "$2.00",
        "\N{MINUS SIGN}$1.00",
    ]
    assert format_usd_column([], Decimal(0)) == []


def test_a_table_writes_a_tiny_sum_as_less_than_a_cent_and_sorts_by_its_number() -> None:
    frame = pd.DataFrame({"cost": [12.5, 0.0004, None]})

    shown: Any = tables.written(frame, {"cost": ["$12.50", "<$0.01", "—"]})
    cells = [row[1]["display_value"] for row in shown._translate(False, False)["body"]]
    assert cells == ["$12.50", "<$0.01", "—"]
    assert shown.data["cost"].tolist()[:2] == [12.5, 0.0004]


def test_a_change_with_a_real_minus_sign_points_down() -> None:
    assert cards.direction_of("\N{MINUS SIGN}8.0%", "inverse") == ("down", "green")
    assert cards.direction_of("+8.0%", "inverse") == ("up", "red")
    assert cards.direction_of("+8.0%", "off") == ("up", "gray")
    assert cards.direction_of("0.0%", "normal") == ("off", "gray")
    assert cards.direction_of(None, "normal") == ("off", "gray")


def test_a_ranking_shows_the_exact_sum_under_the_pointer() -> None:
    bars = rankings.cost_bars([Row(key="a", cost=Decimal("2.64")), Row(key="b", cost=Decimal("0.5"))])
    assert [bar.value for bar in bars] == ["$2.64", "$0.50"]


def test_shares_without_a_whole_are_unknown() -> None:
    assert tables.usage_frame([Row(key="a")])[["share", "cached", "errors"]].isna().all(axis=None)
    assert tables.speed_frame([SpeedRow(key="a")])["errors"].isna().all()


def test_a_ranking_without_prices_ranks_calls() -> None:
    bars = rankings.cost_bars([Row(key="a", requests=3), Row(key="b", requests=1)])

    assert [(bar.value, bar.share) for bar in bars] == [("3 calls", 0.75), ("1 call", 0.25)]


def test_a_share_of_an_unknown_cost_is_unknown() -> None:
    bars = rankings.cost_bars([Row(key="a", cost=Decimal(3)), Row(key="b"), Row(is_other=True, cost=Decimal(1))])

    assert [(bar.name, bar.share) for bar in bars] == [("a", 0.75), ("b", None), ("Other", 0.25)]


def test_a_certain_total_says_so_and_an_empty_one_says_nothing() -> None:
    assert cards.cost_note(Totals(requests=3, cost=Decimal(1))) == "All priced, all reported"
    assert cards.cost_note(Totals()) == ""


def test_rates_without_calls_are_dashes() -> None:
    assert cards.error_card(0, 0, 0, 0).value == "—"
    assert cards.cached_card(Totals(), Totals()).value == "—"
    assert cards.requests_card(Totals(), Totals()).note == ""
