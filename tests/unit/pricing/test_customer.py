from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from pricing import PriceBook, PriceBookError, UsageError, parse_customer_prices
from pricing.catalogue import Catalogue
from tests.support.pricing import cost_of

START = "2026-11-01T00:00:00+00:00"
PRICE: dict[str, object] = {
    "price_id": 7,
    "provider": "openai",
    "model": "gpt-4o",
    "service_tier": "default",
    "valid_from": START,
    "valid_to": None,
    "rates": {"input": "2.00", "output": "8"},
    "long_context": None,
    "source": "contract 12",
    "note": None,
}


def test_the_customers_price_wins_from_its_start_on_and_the_list_price_counts_before() -> None:
    rows, faults = parse_customer_prices([PRICE])
    assert faults == []
    book = PriceBook(rows)
    before = cost_of(book, "gpt-4o", 1_000_000, 0, at=datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC))
    after = cost_of(book, "gpt-4o", 1_000_000, 0, at=datetime(2026, 11, 1, tzinfo=UTC))
    assert (before.total, after.total, after.price_id) == (Decimal("2.5"), Decimal(2), "customer:7")


def test_of_two_prices_that_begin_together_the_one_appended_last_counts() -> None:
    corrected = {**PRICE, "price_id": 9, "rates": {"input": "1", "output": "8"}}
    for order in ([PRICE, corrected], [corrected, PRICE]):
        rows, faults = parse_customer_prices(order)
        assert ([row.price_id for row in rows], faults) == (["customer:9"], [])


def test_a_bad_entry_is_named_and_leaves_the_others() -> None:
    rows, faults = parse_customer_prices([{**PRICE, "price_id": 8, "rates": {"inptu": "1"}}, PRICE])
    assert [row.price_id for row in rows] == ["customer:7"]
    assert len(faults) == 1
    assert "price 8" in faults[0]


def test_a_long_context_price_applies_from_the_first_token_above_its_bound() -> None:
    rows, _ = parse_customer_prices([{**PRICE, "long_context": [{"above": 1000, "input": "4"}]}])
    book = PriceBook(rows)
    at = datetime(2026, 11, 2, tzinfo=UTC)
    assert cost_of(book, "gpt-4o", 1000, 0, at=at).total == Decimal("0.002")
    assert cost_of(book, "gpt-4o", 1001, 0, at=at).total == Decimal("0.004004")


def own_server(rates: dict[str, str]) -> PriceBook:
    price = {**PRICE, "provider": "self-hosted", "model": "guardian-8b", "rates": rates}
    return PriceBook(parse_customer_prices([price])[0])


def test_a_server_paid_by_the_hour_costs_the_time_of_the_request_and_nothing_for_tokens() -> None:
    cost = cost_of(own_server({"per_hour": "3.60"}), "guardian-8b", 150, 50, provider="self-hosted", duration_ms=1234.5)
    assert cost.total == Decimal("0.0012345")
    assert cost.parts["duration"] == Decimal("0.0012345")


def test_time_without_a_last_digit_is_rounded_at_the_fifteenth() -> None:
    cost = cost_of(own_server({"per_hour": "1"}), "guardian-8b", 0, 0, provider="self-hosted", duration_ms=1)
    assert cost.total == Decimal("0.000000277777778")


def test_time_and_tokens_add_up() -> None:
    book = own_server({"per_hour": "3.6", "input": "1", "output": "2", "request_fee": "0.5"})
    cost = cost_of(book, "guardian-8b", 1_000_000, 0, provider="self-hosted", duration_ms=1000)
    assert cost.total == Decimal("1.501")


def test_an_unknown_duration_leaves_the_cost_unknown() -> None:
    cost = cost_of(own_server({"per_hour": "3.6"}), "guardian-8b", 150, 50, provider="self-hosted")
    assert (cost.total, cost.source) == (None, "unpriced")


@pytest.mark.parametrize("duration_ms", [-1, float("nan"), float("inf")])
def test_an_impossible_duration_is_refused(duration_ms: float) -> None:
    with pytest.raises(UsageError, match="0 ms or more"):
        cost_of(own_server({"per_hour": "1"}), "guardian-8b", 0, 0, provider="self-hosted", duration_ms=duration_ms)


def test_a_price_by_the_request_alone_has_free_tokens() -> None:
    book = own_server({"request_fee": "0.002"})
    assert cost_of(book, "guardian-8b", 150, 50, provider="self-hosted").total == Decimal("0.002")


def test_a_catalogue_is_read_as_genai_prices_publishes_it_and_replaces_the_base_layer() -> None:
    published = [
        {
            "id": "acme",
            "name": "Acme",
            "api_pattern": "acme",
            "models": [{"id": "m1", "match": {"equals": "m1"}, "prices": {"input_mtok": 0.1, "output_mtok": 0.7}}],
        }
    ]
    book = PriceBook(parse_customer_prices([PRICE])[0]).with_catalogue(Catalogue.from_json(json.dumps(published)))
    assert cost_of(book, "m1", 1, 1, provider="acme").total == Decimal("0.0000008")
    assert cost_of(book, "gpt-4o", 1, 0, at=datetime(2026, 11, 2, tzinfo=UTC)).price_id == "customer:7"


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"id": 1}]'])
def test_what_is_no_catalogue_is_refused(content: str) -> None:
    with pytest.raises(PriceBookError):
        Catalogue.from_json(content)
