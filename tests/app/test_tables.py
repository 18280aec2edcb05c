"""Tables, rankings and the CSV."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any

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


def test_sums_below_each_other_have_the_same_decimals() -> None:
    assert format_usd_column([Decimal("2.64"), Decimal("0.9263"), Decimal("0.007659")]) == [
        "$2.6400",
        "$0.9263",
        "$0.0077",
    ]
    assert format_usd_column([Decimal(1200), Decimal("0.5"), None]) == ["$1,200.00", "$0.50", "—"]
    assert format_usd_column([Decimal("0.00002"), Decimal("0.0000015")]) == ["$0.00002000", "$0.00000150"]
    assert format_usd_column([Decimal(3), Decimal("-0.00001"), Decimal(0)]) == ["$3.0000", "-<$0.0001", "$0.0000"]
    bars = rankings.cost_bars([Row(key="a", cost=Decimal("2.64")), Row(key="b", cost=Decimal("0.5"))])
    assert [bar.value for bar in bars] == ["$2.64", "$0.50"]


def test_shares_without_a_whole_are_unknown() -> None:
    assert tables.usage_frame([Row(key="a")])[["share", "cached", "errors"]].isna().all(axis=None)
    assert tables.speed_frame([SpeedRow(key="a")])["errors"].isna().all()


def test_a_ranking_without_prices_ranks_calls() -> None:
    bars = rankings.cost_bars([Row(key="a", requests=3), Row(key="b", requests=1)])

    assert [(bar.value, bar.share) for bar in bars] == [("3 calls", 0.75), ("1 calls", 0.25)]


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
