"""What a table of calls and one call's details say: columns, facts, the parts of a cost."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dashboard.figures.call_prices import explain_call
from dashboard.figures.call_table import call_frame, exact_decimals, facts_of, table_height
from dashboard.panels.calls import call_lines
from dashboard.selection.filters import Selection
from pricing import PriceBook
from tests.app.call_documents import call

BERLIN = ZoneInfo("Europe/Berlin")


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
    assert lines["Maximum allowed"] == "4,096"
    assert lines["Session"] == "—"
    assert dict(facts_of(call(), BERLIN)["Traces"])["Received"] == "—"


def test_a_short_page_has_a_short_table() -> None:
    assert table_height(1) < table_height(16) == table_height(200)


def test_the_parts_of_a_cost_add_up() -> None:
    parts, steps = explain_call(
        PriceBook.default(), call(cached_tokens=100, estimated_cost="0.75", request_fees="0.01")
    )

    assert parts == [
        ("Input, 50 tokens", "$0.000125 ($2.50 per million)"),
        ("Cached input, 100 tokens", "$0.000125 ($1.25 per million)"),
        ("Output, 50 tokens", "$0.0005 ($10.00 per million)"),
        ("Request fees", "$0.01"),
    ]
    assert steps


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"cost_source": "provider"}, "The provider reported this cost."),
        ({"price_id": "customer:9"}, "It was charged with customer:9. Today's price book gives $0.000875;"),
        ({"cost_source": "unpriced", "price_id": None}, "It had no price when it was recorded."),
        ({"cost_source": "fallback", "price_id": "p"}, "It was priced as TREERING_FALLBACK_MODEL, with p."),
        (
            {"model": "our-own-7b", "cost_source": "fallback", "price_id": "p"},
            "No price was known for openai/our-own-7b: it was priced as TREERING_FALLBACK_MODEL, with p.",
        ),
        ({"model": "our-own-7b", "cost_source": "unpriced"}, "No price is known for openai/our-own-7b"),
        ({"model": "our-own-7b", "price_id": "customer:1"}, "It was charged with customer:1; this app's price book"),
        ({"cached_tokens": 151}, "The price cannot be explained: "),
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

    assert steps[0] == "It was charged with customer:1; no price is now in force for that time."


def test_a_name_that_deceives_is_shown_written_out() -> None:
    frame = call_frame([call(model="gpt\u202e-4o", user_id="\u0441hat", feature=None)], is_member=False)
    assert (frame["model"][0], frame["user_id"][0], frame["feature"][0]) == ("gpt⟨U+202E⟩-4o", "⚠ \u0441hat", None)


def test_a_phone_has_two_lines_for_each_call_that_open_it() -> None:
    calls = [
        call(estimated_cost="0.0025", status="error", error_type="ReadTimeout"),
        call(estimated_cost=None, cost_source="unpriced", model="<b>"),
    ]

    shown = call_lines(calls, Selection(model=("gpt-4o",)), BERLIN)

    assert shown.count('<a href="calls?model=gpt-4o&amp;call=2026-11-20T12') == 2
    assert '<span class="value">$0.0025</span><small>20 Nov, 13:00:00 · user_a' in shown
    assert "ReadTimeout</small>" in shown
    assert '<b>&lt;b&gt;</b><span class="value">—</span>' in shown
