from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from pricing import PriceBook, UnknownModelError
from pricing.catalogue import Catalogue
from tests.support.pricing import cost_of


def price(per_mtok: str) -> ModelPrice:
    return ModelPrice(input_mtok=Decimal(per_mtok), output_mtok=Decimal(per_mtok))


def book_of(prices: ModelPrice | list[ConditionalPrice], variants: list[PriceVariant] | None = None) -> PriceBook:
    model = ModelInfo("m", ClauseEquals("m"), prices=prices, price_variants=variants)
    return PriceBook(catalogue=Catalogue([Provider("lab", "Lab", "https://lab", models=[model])]))


def cost_at(book: PriceBook, at: datetime, tier: str | None = None) -> Decimal | None:
    return cost_of(book, "m", 1_000_000, 0, provider="lab", service_tier=tier, at=at).total


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC), 1),
        (datetime(2026, 2, 1, tzinfo=UTC), 2),
        (datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC), 2),
        (datetime(2026, 4, 1, tzinfo=UTC), 3),
    ],
)
def test_dated_prices_of_the_catalogue_hold_from_midnight_utc(at: datetime, expected: int) -> None:
    book = book_of(
        [
            ConditionalPrice(prices=price("1")),
            ConditionalPrice(StartDateConstraint(date(2026, 2, 1)), prices=price("2")),
            ConditionalPrice(StartDateConstraint(date(2026, 4, 1)), prices=price("3")),
        ]
    )
    assert cost_at(book, at) == expected


def test_the_first_price_also_holds_before_its_own_date() -> None:
    book = book_of([ConditionalPrice(StartDateConstraint(date(2026, 2, 1)), prices=price("1"))])
    assert cost_at(book, datetime(2025, 1, 1, tzinfo=UTC)) == 1


@pytest.mark.parametrize(("hour", "expected"), [(21, 1), (22, 2), (23, 2), (0, 2), (5, 2), (6, 1)])
def test_hours_of_the_day_may_run_over_midnight(hour: int, expected: int) -> None:
    night = TimeOfDateConstraint(time(22, tzinfo=UTC), time(6))
    book = book_of([ConditionalPrice(prices=price("1")), ConditionalPrice(night, prices=price("2"))])
    assert cost_at(book, datetime(2026, 5, 5, hour, tzinfo=UTC)) == expected


def test_a_price_that_depends_on_the_time_is_looked_up_now_by_default() -> None:
    long_ago = ConditionalPrice(StartDateConstraint(date(2020, 1, 1)), prices=price("2"))
    book = book_of([ConditionalPrice(prices=price("1")), long_ago])
    assert cost_of(book, "m", 1_000_000, 0, provider="lab").total == 2


def test_a_variant_holds_from_its_date_and_keeps_what_it_does_not_change() -> None:
    half_input = PriceVariant(
        {"processing": "batch"}, ModelPrice(input_mtok=Decimal("0.5")), StartDateConstraint(date(2026, 2, 1))
    )
    book = book_of(price("1"), [half_input])
    before, after = datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    assert cost_at(book, before, "batch") is None
    assert cost_at(book, after, "batch") == Decimal("0.5")
    assert cost_of(book, "m", 0, 1_000_000, provider="lab", service_tier="batch", at=after).total == 1


def test_tiers_of_several_keys_become_bands() -> None:
    book = book_of(
        ModelPrice(
            input_mtok=TieredPrices(Decimal(1), [Tier(100, Decimal(2)), Tier(200, Decimal(4))]),
            output_mtok=TieredPrices(Decimal(10), [Tier(200, Decimal(20))]),
        )
    )
    totals = [cost_of(book, "m", tokens, 1, provider="lab").total for tokens in (100, 101, 200, 201)]
    expected = [(100, 1, 10), (101, 2, 10), (200, 2, 10), (201, 4, 20)]
    assert totals == [Decimal(tokens * rate + output) / 1_000_000 for tokens, rate, output in expected]


def test_a_price_per_thousand_requests_becomes_a_fee() -> None:
    book = book_of(ModelPrice(input_mtok=Decimal(1), requests_kcount=Decimal(5)))
    assert cost_of(book, "m", 0, 0, provider="lab").total == Decimal("0.005")


def test_a_model_that_the_catalogue_lists_without_a_price_is_unpriced() -> None:
    book = book_of(ModelPrice(), [PriceVariant({"processing": "batch"}, ModelPrice())])
    assert cost_of(book, "m", 1, 1, provider="lab").total is None
    assert cost_of(book, "m", 1, 1, provider="lab", service_tier="batch").total is None


def test_audio_without_a_rate_is_text_where_the_provider_does_not_price_it_apart() -> None:
    assert cost_of(book_of(price("1")), "m", 1_000_000, 0, provider="lab", audio_input_tokens=1_000_000).total == 1


def test_a_provider_that_the_catalogue_does_not_know_has_no_models() -> None:
    book = book_of(price("1"))
    with pytest.raises(UnknownModelError):
        cost_of(book, "m", 1, 1, provider="elsewhere")


def test_every_model_of_every_provider_compiles_on_every_tier() -> None:
    catalogue = Catalogue()
    for provider in [provider.id for provider in catalogue._providers]:
        for model in catalogue.models(provider):
            for tier in ("default", "batch", "flex", "priority"):
                for row in catalogue.rows(provider, model, tier):
                    assert row.bands[0].above_tokens == 0
                    assert row.price_id.startswith(f"genai:{provider}/")


def test_openai_charges_fast_like_priority_so_that_one_name_serves_both() -> None:
    catalogue = Catalogue()
    for model in catalogue.models("openai"):
        fast = [row.bands for row in catalogue.rows("openai", model, "fast")]
        assert fast == [row.bands for row in catalogue.rows("openai", model, "priority")]


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("google", "gemini-3.8-flash-lite"),
        ("google", "gemini-3.6-flash-image"),
        ("google", "gemini-3-flash-preview-tts"),
        ("deepseek", "deepseek-v4-flash-lite"),
        ("openai", "gpt-5-nano-eu"),
    ],
)
def test_a_name_that_goes_on_as_another_models_is_not_matched_by_its_beginning(provider: str, model: str) -> None:
    assert Catalogue().find(provider, model) is None


@pytest.mark.parametrize(
    ("provider", "model", "found"),
    [
        ("google", "gemini-2.5-pro-exp-03-25", "gemini-2.5-pro"),
        ("openai", "gpt-5-nano-2025-08-07", "gpt-5-nano"),
        ("anthropic", "claude-opus-4-6@default", "claude-opus-4-6"),
        ("openai", "gpt-4o-audio-preview-2025-06-03", "gpt-4o-audio-preview"),
    ],
)
def test_a_version_of_a_model_is_matched_by_its_beginning(provider: str, model: str, found: str) -> None:
    assert Catalogue().find(provider, model) == (provider, found)
