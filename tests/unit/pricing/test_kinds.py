"""Kinds of price beside plain tokens: lifetimes of cache writes, images, cached audio, units and fees, and fills."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from pricing import PriceBook, PriceBookError, TokenUsage, UsageError, parse_price_row
from pricing.fills import filled, parse_fill
from pricing.rates import Rates, UnitPrice

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROW: dict[str, Any] = {
    "provider": "lab",
    "models": ["m"],
    "rates": {
        "input": "1",
        "cached_input": "2",
        "cache_write": "3",
        "cache_write_1h": "4",
        "audio_input": "5",
        "cached_audio": "6",
        "image_input": "7",
        "cached_image": "8",
        "output": "9",
        "reasoning": "10",
        "audio_output": "11",
        "image_output": "12",
    },
}
EVERYTHING = TokenUsage(
    prompt_tokens=36_000_000,
    completion_tokens=10_000_000,
    cached_tokens=15_000_000,  # 4 of text, 5 of audio, 6 of images
    cache_write_tokens=5_000_000,  # 2 for five minutes, 3 for an hour
    cache_write_1h_tokens=3_000_000,
    reasoning_tokens=2_000_000,
    audio_input_tokens=11_000_000,  # 5 cached
    audio_output_tokens=3_000_000,
    cached_audio_tokens=5_000_000,
    image_input_tokens=13_000_000,  # 6 cached
    cached_image_tokens=6_000_000,
    image_output_tokens=4_000_000,
)


def book_of(**changes: Any) -> PriceBook:
    return PriceBook([{**ROW, **changes}])


def total(book: PriceBook, usage: TokenUsage) -> Decimal | None:
    return book.price("m", usage, provider="lab", at=AT).total


def test_every_part_is_priced_at_its_own_rate() -> None:
    # input: 36 - 15 cached - 5 written - 6 audio - 7 images = 3 plain
    by_hand = 3 * 1 + 4 * 2 + 2 * 3 + 3 * 4 + 6 * 5 + 5 * 6 + 7 * 7 + 6 * 8 + 1 * 9 + 2 * 10 + 3 * 11 + 4 * 12
    assert total(book_of(), EVERYTHING) == by_hand


def test_parts_without_a_rate_are_billed_as_what_they_are_a_kind_of() -> None:
    # 3 + 6 + 7 plain, audio, image input; 5 written and 15 cached at the input rate; 10 output
    assert total(book_of(rates={"input": "1", "output": "2"}), EVERYTHING) == 36 + 20


def test_writes_for_an_hour_are_not_priced_as_writes_for_five_minutes() -> None:
    book = book_of(rates={"input": "1", "cache_write": "1.25", "output": "2"})
    hour = TokenUsage(prompt_tokens=10, cache_write_tokens=10, cache_write_1h_tokens=4)
    cost = book.price("m", hour, provider="lab", at=AT)
    assert (cost.total, cost.unknown) == (None, ("cache_write_1h",))
    assert cost.known == {"cache_write": Decimal("0.0000075")}


def test_output_that_nobody_told_apart_has_no_price_where_text_and_images_differ() -> None:
    book = book_of(rates={"input": "1", "output": "10", "image_output": "32"})
    assert total(book, TokenUsage(0, 1_000_000)) is None
    assert total(book, TokenUsage(0, 1_000_000, image_output_tokens=0)) == 10
    assert total(book, TokenUsage(0, 1_000_000, image_output_tokens=750_000)) == Decimal("26.5")


def test_output_of_a_model_that_gives_images_alone_is_images() -> None:
    assert total(book_of(rates={"input": "1", "image_output": "40"}), TokenUsage(0, 1_000_000)) == 40


@pytest.mark.parametrize(
    ("units", "cost"),
    [
        ({"web_search": 3}, "0.03"),
        ({"web_search:high": 3}, "0.03"),
        ({"web_search:preview": 3, "container": 2}, "0.135"),
        ({"container:4g": 1}, "0.12"),
        ({"container:4g:eu": 1}, "0.12"),
        ({"audio_seconds": Decimal("1.5")}, "0.00004625"),
        ({"audio_seconds": 1}, "0.000030833333333"),
        ({"web_search": 0}, "0"),
    ],
)
def test_units_are_priced_by_the_longest_name_that_has_a_price(units: dict[str, Any], cost: str) -> None:
    prices = {
        "web_search": "10/1000",
        "web_search:preview": "25/1000",
        "container": "0.03",
        "container:4g": "0.12",
        "audio_seconds": "0.111/3600",
    }
    row = {**ROW, "rates": {"input": "1", "output": "1"}, "units": prices}
    usage = TokenUsage(prompt_tokens=1_000_000, units=units)
    assert total(PriceBook([row]), usage) == 1 + Decimal(cost)


def test_a_fee_without_a_price_is_named_and_the_rest_is_known() -> None:
    cost = book_of().price("m", TokenUsage(1_000_000, units={"web_search": 1}), provider="lab", at=AT)
    assert (cost.total, cost.unknown) == (None, ("web_search",))
    assert cost.known == {"uncached_input": 1}


def test_measures_beside_tokens_that_are_billed_need_no_price() -> None:
    assert total(book_of(), TokenUsage(1_000_000, units={"images": 1})) == 1


def test_a_model_billed_by_a_measure_is_unknown_without_one() -> None:
    book = PriceBook([{"provider": "lab", "models": ["m"], "units": {"images": "0.04", "images:hd": "0.08"}}])
    assert total(book, TokenUsage()) is None
    assert total(book, TokenUsage(prompt_tokens=5)) is None
    assert total(book, TokenUsage(units={"images:hd:1024x1024": 2})) == Decimal("0.16")


def test_a_row_can_say_that_its_requests_always_use_something() -> None:
    book = book_of(is_measured=True)
    assert total(book, TokenUsage()) is None
    assert total(book, TokenUsage(1_000_000)) == 1


@pytest.mark.parametrize(
    ("units", "reason"),
    [
        ("x", "must be a table"),
        ({"websearch": "1"}, "unknown unit 'websearch'"),
        ({"web_search:": "1"}, "unknown unit"),
        ({"web_search": 0.01}, "decimal as text"),
        ({"web_search": "10/0"}, "price like"),
        ({"web_search": "10/x"}, "price like"),
        ({"web_search": "-1"}, "zero or more"),
    ],
)
def test_wrong_prices_of_units_are_refused(units: object, reason: str) -> None:
    with pytest.raises(PriceBookError, match=reason):
        parse_price_row({**ROW, "units": units})


@pytest.mark.parametrize(
    "units", [{"web_search": -1}, {"web_search": 1.5}, {"Web": 1}, {"web_search": True}, {"images": Decimal("NaN")}]
)
def test_wrong_counts_of_units_are_refused(units: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        TokenUsage(units=units)


def test_a_fill_adds_what_a_row_lacks_and_nothing_else() -> None:
    fill = parse_fill(
        {
            "provider": "lab",
            "models": ["m*"],
            "rates": {"image_input": "5", "output": "99"},
            "times_input": {"cache_write_1h": "2"},
            "times_output": {"audio_output": "3"},
            "units": {"web_search": "0.01", "file_search": "0.02"},
        }
    )
    band = Rates(input=Decimal(3), output=Decimal(4), units={"web_search": UnitPrice(Decimal("0.5"))})
    (found,) = filled((band,), [fill])
    assert found.priced() == {
        "input": 3, "image_input": 5, "cache_write_1h": 6, "output": 4, "audio_output": 12,
    }  # fmt: skip
    assert found.units == {"web_search": (Decimal("0.5"), 1), "file_search": (Decimal("0.02"), 1)}


def test_a_fill_counts_for_its_provider_models_tiers_and_time() -> None:
    fill = parse_fill(
        {
            "provider": "lab", "models": ["m-*"], "service_tiers": ["batch"], "valid_from": "2026-01-01",
            "valid_to": "2026-02-01", "is_measured": True,
        }
    )  # fmt: skip
    assert fill.covers({"lab"}, {"m-1"}, "batch")
    assert not fill.covers({"other"}, {"m-1"}, "batch")
    assert not fill.covers({"lab"}, {"n-1"}, "batch")
    assert not fill.covers({"lab"}, {"m-1"}, "default")
    days = [datetime(2025, 12, 31, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)]
    assert [fill.applies_on(day) for day in days] == [False, True, False]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"provider": "lab"}, "fills nothing"),
        ({"provider": "", "is_measured": True}, "provider must be a name"),
        ({"provider": "lab", "is_measured": True, "colour": 1}, "unknown keys"),
        ({"provider": "lab", "models": "m", "is_measured": True}, "list of texts"),
        ({"provider": "lab", "rates": {"request_fee": "1"}}, "per million tokens alone"),
        ({"provider": "lab", "times_input": {"inputs": "1"}}, "unknown rates"),
    ],
)
def test_a_wrong_fill_is_refused(entry: dict[str, object], reason: str) -> None:
    with pytest.raises(PriceBookError, match=reason):
        parse_fill(entry)


def test_fees_can_be_priced_without_a_row() -> None:
    book = PriceBook.default()
    cost = book.price_units("claude-next", {"web_search": 3}, provider="anthropic", at=AT)
    assert (cost.total, cost.parts) == (Decimal("0.03"), {"web_search": Decimal("0.03")})
    unknown = book.price_units("claude-next", {"web_search": 3, "x_search": 1}, provider="anthropic", at=AT)
    assert (unknown.total, unknown.unknown, unknown.known) == (None, ("x_search",), {"web_search": Decimal("0.03")})


@pytest.mark.parametrize(
    ("provider", "model", "usage", "cost"),
    [
        # 1,000 x 3 + 4,000 x 6 per million
        ("anthropic", "claude-sonnet-4-5", {"prompt_tokens": 5000, "cache_write_tokens": 4000,
                                            "cache_write_1h_tokens": 4000}, "0.027"),
        ("aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", {"prompt_tokens": 1000, "cache_write_tokens": 1000,
                                                                "cache_write_1h_tokens": 1000}, "0.0066"),
        ("openai", "gpt-image-1", {"prompt_tokens": 1050, "image_input_tokens": 1000, "completion_tokens": 4160},
         "0.17665"),
        ("openai", "whisper-1", {"units": {"audio_seconds": 90}}, "0.009"),
        ("openai", "tts-1", {"units": {"characters": 2000}}, "0.03"),
        ("mistral", "mistral-ocr-2512", {"units": {"pages": 12}}, "0.024"),
        ("openai", "gpt-4o", {"units": {"web_search": 2}}, "0.02"),
        ("openai", "gpt-4o", {"units": {"web_search:preview": 2}}, "0.05"),
        ("openai", "o3", {"units": {"web_search:preview": 2}}, "0.02"),
        ("google", "gemini-2.5-flash", {"units": {"web_search": 1, "maps_grounding": 1}}, "0.06"),
    ],
)  # fmt: skip
def test_the_book_prices_each_kind(provider: str, model: str, usage: dict[str, Any], cost: str) -> None:
    found = PriceBook.default().price(model, TokenUsage(**usage), provider=provider, at=AT)
    assert found.total == Decimal(cost)


@pytest.mark.parametrize("model", ["gpt-4o-transcribe", "gpt-image-1", "whisper-1"])
def test_nothing_counted_of_a_measured_model_is_unknown(model: str) -> None:
    cost = PriceBook.default().price(model, TokenUsage(), at=AT)
    assert (cost.total, cost.unknown) == (None, ("usage",))


def test_nothing_counted_of_a_chat_model_is_free() -> None:
    assert PriceBook.default().price("gpt-4o", TokenUsage(), at=AT).total == 0
