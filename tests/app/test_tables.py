"""Tables, rankings and the CSV."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

from dashboard.panels import cards, rankings, tables
from ingest.documents.pages import Row, SpeedRow, Totals


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
