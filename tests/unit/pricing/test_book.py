from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

import pricing
from pricing import PriceBook, PriceBookError, UnknownModelError, UsageError, calculate_cost
from pricing import book as book_module
from pricing.book import PriceBook as Book
from tests.support.pricing import cost_of

MILLION = Decimal(1_000_000)
NEGOTIATED = {
    "provider": "openai",
    "models": ["gpt-4o"],
    "valid_from": date(2026, 3, 1),
    "valid_to": date(2026, 9, 1),
    "rates": {"input": "2.00", "output": "8.00"},
    "price_id": "41",
}


def test_public_names_are_the_ones_listed() -> None:
    assert sorted(pricing.__all__) == pricing.__all__
    assert all(hasattr(pricing, name) for name in pricing.__all__)


@pytest.mark.parametrize(
    ("at", "input_price"),
    [
        (datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC), "2.50"),
        (datetime(2026, 3, 1, tzinfo=UTC), "2.00"),
        (datetime(2026, 8, 31, 23, 59, 59, tzinfo=UTC), "2.00"),
        (datetime(2026, 9, 1, tzinfo=UTC), "2.50"),
    ],
)
def test_a_customers_row_wins_within_its_dates_only(at: datetime, input_price: str) -> None:
    cost = calculate_cost("gpt-4o", 1_000, 0, at=at, book=PriceBook([NEGOTIATED]))
    assert cost.total == 1_000 * Decimal(input_price) / MILLION


def test_a_later_row_of_the_same_layer_wins_from_its_start() -> None:
    later = {**NEGOTIATED, "valid_from": date(2026, 6, 1), "rates": {"input": "1.50"}, "price_id": "42"}
    book = PriceBook([NEGOTIATED, later])
    assert cost_of(book, "gpt-4o", 10, 0, at=datetime(2026, 5, 31, tzinfo=UTC)).price_id == "customer:41"
    assert cost_of(book, "gpt-4o", 10, 0, at=datetime(2026, 6, 1, tzinfo=UTC)).price_id == "customer:42"


def test_a_customers_row_for_the_default_tier_leaves_the_other_tiers_at_list_price() -> None:
    book = PriceBook([NEGOTIATED])
    cost = cost_of(book, "gpt-4o", 1_000, 0, service_tier="batch", at=datetime(2026, 5, 1, tzinfo=UTC))
    assert cost.total == 1_000 * Decimal("1.25") / MILLION


def test_a_row_for_any_tier_prices_them_all_unless_one_is_named() -> None:
    everything = {"provider": "lab", "models": ["m"], "service_tier": None, "rates": {"input": "4", "output": "4"}}
    flex = {"provider": "lab", "models": ["m"], "service_tier": "flex", "rates": {"input": "1", "output": "1"}}
    book = PriceBook([everything, flex])
    assert cost_of(book, "m", 1_000_000, 0, provider="lab", service_tier="priority").total == 4
    assert cost_of(book, "m", 1_000_000, 0, provider="lab", service_tier="flex").total == 1


def test_explain_names_the_row_and_what_it_beat() -> None:
    book = PriceBook([NEGOTIATED])
    why = book.explain("gpt-4o", at=datetime(2026, 5, 1, tzinfo=UTC))
    assert (why.price_id, why.layer, why.provider, why.model) == ("customer:41", "customer", "openai", "gpt-4o")
    assert why.band is not None
    assert why.band.input == Decimal("2.00")
    assert why.passed_over == (calculate_cost("gpt-4o", 1, 1).price_id,)


def test_explain_says_that_our_row_corrects_the_base() -> None:
    why = PriceBook.default().explain("o3", at=datetime(2025, 6, 9, tzinfo=UTC))
    assert why.layer == "treering"
    assert why.row is not None
    assert why.row.source_url is not None
    assert why.row.checked == date(2026, 11, 23)
    assert why.passed_over[0].startswith("genai:openai/o3#")


def test_explain_says_which_long_context_band_applies() -> None:
    book = PriceBook.default()
    short = book.explain("gpt-5.5", input_tokens=272_000)
    long = book.explain("gpt-5.5", input_tokens=272_001)
    assert short.band is not None
    assert long.band is not None
    assert (short.band.above_tokens, long.band.above_tokens) == (0, 272_000)
    assert "272000" in long.steps[-1]


def test_explain_says_that_no_row_is_in_force() -> None:
    why = PriceBook.default().explain("gpt-4o", service_tier="scale")
    assert (why.row, why.price_id, why.layer) == (None, None, None)
    assert "'scale'" in why.steps[-1]


def test_explain_refuses_a_time_without_a_zone() -> None:
    with pytest.raises(UsageError, match="time zone"):
        PriceBook.default().explain("gpt-4o", at=datetime(2026, 1, 1))  # noqa: DTZ001


def test_rows_lists_every_price_that_a_model_ever_had() -> None:
    inputs = [row.bands[0].input for row in PriceBook.default().rows("o3")]
    assert inputs == [Decimal(10), Decimal(10), Decimal(2)]


def test_models_lists_the_catalogue_and_ours() -> None:
    models = PriceBook.default().models()
    assert {"gpt-4o", "o3", "ft:gpt-4.1"} <= set(models)
    assert PriceBook.default().models("nobody") == []


def test_the_default_book_is_loaded_once() -> None:
    assert PriceBook.default() is PriceBook.default()


def test_a_book_with_more_rows_leaves_the_first_one_as_it_was() -> None:
    first = PriceBook.default()
    second = first.with_rows([NEGOTIATED])
    at = datetime(2026, 5, 1, tzinfo=UTC)
    assert cost_of(first, "gpt-4o", 1, 0, at=at).total != cost_of(second, "gpt-4o", 1, 0, at=at).total


def test_a_self_hosted_model_needs_only_a_row() -> None:
    row = {"provider": "vllm", "models": ["llama-4-70b"], "rates": {"input": "0.2", "output": "0.4"}}
    cost = cost_of(PriceBook([row]), "llama-4-70b", 1_000, 1_000, provider="vllm")
    assert cost.total == Decimal("0.0006")


def test_a_row_that_begins_later_leaves_the_time_before_unpriced() -> None:
    row = {"provider": "vllm", "models": ["m"], "valid_from": date(2026, 7, 1), "rates": {"input": "1"}}
    cost = cost_of(PriceBook([row]), "m", 1, 0, provider="vllm", at=datetime(2026, 6, 30, tzinfo=UTC))
    assert (cost.total, cost.source) == (None, "unpriced")


def test_two_rows_that_begin_together_are_refused() -> None:
    with pytest.raises(PriceBookError, match="begin together"):
        PriceBook([NEGOTIATED, {**NEGOTIATED, "price_id": "42"}])


def test_a_region_adds_ten_percent_to_the_models_under_it() -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    europe = PriceBook(region="eu")
    assert cost_of(europe, "gpt-5.5", 1_000, 100, at=at).total == Decimal("1.1") * Decimal("0.008")
    assert cost_of(europe, "gpt-4o", 1_000, 0, at=at) == cost_of(PriceBook.default(), "gpt-4o", 1_000, 0, at=at)


def test_a_region_leaves_the_customers_own_price_alone() -> None:
    row = {"provider": "openai", "models": ["gpt-5.5"], "rates": {"input": "3", "output": "9"}}
    assert cost_of(PriceBook([row], region="eu"), "gpt-5.5", 1_000_000, 0).total == 3


def test_an_unknown_region_is_refused() -> None:
    with pytest.raises(PriceBookError, match="'mars'"):
        PriceBook(region="mars")


def test_names_from_outside_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "_MAX_PLANS", 3)
    book = Book()
    for number in range(10):
        cost_of(book, "gpt-4o", 1, 1, service_tier=f"tier-{number}")
        with pytest.raises(UnknownModelError):
            cost_of(book, f"nothing-{number}", 1, 1)
    assert len(book._plans) + len(book._unknown) <= 3


def test_an_unknown_model_is_searched_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book()
    with pytest.raises(UnknownModelError):
        cost_of(book, "nothing", 1, 1)
    monkeypatch.setattr(book, "_plan", None)
    with pytest.raises(UnknownModelError, match="'nothing'"):
        cost_of(book, "nothing", 1, 1)
