from __future__ import annotations

import decimal
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing import (
    Cost,
    PartsExceedWholeError,
    PriceBook,
    UnknownModelError,
    UsageError,
    calculate_cost,
    split_tokens,
)

MILLION = Decimal(1_000_000)


def test_gpt_4o_costs_two_fifty_in_and_ten_out_per_million() -> None:
    cost = calculate_cost("gpt-4o", 150, 50)
    assert cost.total == Decimal("0.000875")
    assert cost.parts == {"uncached_input": Decimal("0.000375"), "text_output": Decimal("0.0005")}
    assert cost.source == "priced"
    assert cost.price_id is not None
    assert cost.price_id.startswith("genai:openai/gpt-4o#")


def test_the_azure_trace_of_2023_costs_96_dollars_and_exactly_six_decimals() -> None:
    cost = calculate_cost("gpt-4o", 22_361_870, 4_088_665, at=datetime(2023, 11, 16, tzinfo=UTC))
    assert cost.total == Decimal("96.791325")


def test_cached_tokens_of_gpt_4o_cost_half() -> None:
    cost = calculate_cost("gpt-4o", 1_000, 0, cached_input_tokens=600)
    assert cost.total == (400 * Decimal("2.50") + 600 * Decimal("1.25")) / MILLION


def test_a_single_token_of_the_cheapest_model_is_not_rounded_away() -> None:
    assert calculate_cost("gpt-5-nano", 1, 0).total == Decimal("0.00000005")


def test_no_tokens_cost_nothing() -> None:
    assert calculate_cost("gpt-4o", 0, 0) == Cost(Decimal(0), {}, calculate_cost("gpt-4o", 1, 1).price_id, "priced")


def test_the_callers_decimal_context_does_not_round_a_cost() -> None:
    with decimal.localcontext(decimal.Context(prec=3)):
        cost = calculate_cost("gpt-4o", 123_457, 98_765)
    assert cost.total == (123_457 * Decimal("2.50") + 98_765 * Decimal("10.00")) / MILLION


def test_reasoning_is_part_of_the_output_and_billed_as_output() -> None:
    cost = calculate_cost("gpt-5", 100, 1_000, reasoning_tokens=700)
    assert cost.total == (100 * Decimal("1.25") + 1_000 * Decimal(10)) / MILLION
    assert cost.parts["reasoning"] == 700 * Decimal(10) / MILLION


def test_reasoning_has_its_own_rate_where_the_book_has_one() -> None:
    row = {"provider": "acme", "models": ["thinker"], "rates": {"input": "1", "output": "2", "reasoning": "3"}}
    book = PriceBook([row])
    cost = calculate_cost("thinker", 10, 100, provider="acme", reasoning_tokens=40, book=book)
    assert cost.total == (10 * Decimal(1) + 60 * Decimal(2) + 40 * Decimal(3)) / MILLION


def test_cache_writes_of_gpt_5_6_cost_a_quarter_more_than_input() -> None:
    cost = calculate_cost(
        "gpt-5.6-sol",
        10_000,
        0,
        cache_write_tokens=4_000,
        cached_input_tokens=1_000,
        at=datetime(2026, 9, 1, tzinfo=UTC),
    )
    assert cost.total == (5_000 * Decimal(4) + 4_000 * Decimal(5) + 1_000 * Decimal("0.40")) / MILLION


def test_audio_tokens_have_rates_of_their_own() -> None:
    cost = calculate_cost("gpt-audio", 500, 300, audio_input_tokens=200, audio_output_tokens=100)
    assert cost.total == (300 * Decimal("2.50") + 200 * Decimal(32) + 200 * Decimal(10) + 100 * Decimal(64)) / MILLION


def test_audio_of_the_preview_model_is_not_priced_as_text() -> None:
    cost = calculate_cost("gpt-4o-audio-preview", 1_000, 0, audio_input_tokens=1_000)
    assert cost.total == 1_000 * Decimal(40) / MILLION


def test_audio_of_a_model_without_an_audio_rate_is_unpriced_not_text() -> None:
    cost = calculate_cost("gpt-4o", 1_000, 10, audio_input_tokens=1)
    assert (cost.total, cost.parts, cost.source) == (None, {}, "unpriced")
    assert cost.price_id is not None


def test_a_model_billed_by_the_hour_is_unpriced_not_free() -> None:
    cost = calculate_cost("whisper-1", 100, 10)
    assert (cost.total, cost.parts, cost.source, cost.unknown) == (None, {}, "unpriced", ("usage",))


def test_image_output_is_unpriced_because_its_rate_is_not_the_text_one() -> None:
    assert calculate_cost("gpt-image-1.5", 10, 1_000).total is None


def test_moderation_is_free_and_priced() -> None:
    cost = calculate_cost("omni-moderation-latest", 1_000, 0)
    assert (cost.total, cost.source) == (Decimal(0), "priced")


def test_a_fee_per_request_is_part_of_the_cost() -> None:
    row = {"provider": "acme", "models": ["m"], "rates": {"input": "1", "output": "2", "request_fee": "0.005"}}
    cost = calculate_cost("m", 1_000, 0, provider="acme", book=PriceBook([row]))
    assert cost.total == Decimal("0.001") + Decimal("0.005")
    assert cost.parts["request_fee"] == Decimal("0.005")


@pytest.mark.parametrize(
    ("input_tokens", "rates"),
    [(271_999, ("5", "30")), (272_000, ("5", "30")), (272_001, ("10", "45"))],
)
def test_the_whole_request_moves_to_the_long_context_rates_above_272000(
    input_tokens: int, rates: tuple[str, str]
) -> None:
    cost = calculate_cost("gpt-5.5", input_tokens, 1_000)
    assert cost.total == (input_tokens * Decimal(rates[0]) + 1_000 * Decimal(rates[1])) / MILLION


def test_cached_input_counts_towards_the_long_context_threshold() -> None:
    cost = calculate_cost("gpt-5.5", 272_001, 0, cached_input_tokens=272_000)
    assert cost.total == (1 * Decimal(10) + 272_000 * Decimal(1)) / MILLION


@pytest.mark.parametrize(
    ("service_tier", "rates"),
    [
        (None, ("1.25", "0.125", "10")),
        ("default", ("1.25", "0.125", "10")),
        ("auto", ("1.25", "0.125", "10")),
        ("Standard", ("1.25", "0.125", "10")),
        ("flex", ("0.625", "0.0625", "5")),
        ("batch", ("0.625", "0.0625", "5")),
        ("priority", ("2.50", "0.25", "20")),
        ("fast", ("2.50", "0.25", "20")),
    ],
)
def test_each_service_tier_of_gpt_5_has_its_rates(service_tier: str | None, rates: tuple[str, str, str]) -> None:
    cost = calculate_cost(
        "gpt-5", 1_000, 500, cached_input_tokens=400, service_tier=service_tier, at=datetime(2026, 11, 1, tzinfo=UTC)
    )
    uncached, cached, output = (Decimal(rate) for rate in rates)
    assert cost.total == (600 * uncached + 400 * cached + 500 * output) / MILLION


def test_a_tier_that_the_book_has_no_rate_for_is_unpriced_not_standard() -> None:
    assert calculate_cost("gpt-4o", 100, 10, service_tier="scale") == Cost(None, {}, None, "unpriced")


@pytest.mark.parametrize(
    ("at", "rates"),
    [
        (datetime(2025, 6, 9, 23, 59, 59, 999_999, tzinfo=UTC), ("10", "40")),
        (datetime(2025, 6, 10, tzinfo=UTC), ("2", "8")),
        (datetime(2025, 6, 11, tzinfo=UTC), ("2", "8")),
        (datetime(2025, 6, 10, 1, tzinfo=timezone(timedelta(hours=2))), ("10", "40")),
    ],
)
def test_o3_costs_a_fifth_from_its_price_cut_on(at: datetime, rates: tuple[str, str]) -> None:
    cost = calculate_cost("o3", 1_000, 100, at=at)
    assert cost.total == (1_000 * Decimal(rates[0]) + 100 * Decimal(rates[1])) / MILLION


def test_o3_cached_input_cost_two_fifty_before_the_cut() -> None:
    cost = calculate_cost("o3", 1_000, 0, cached_input_tokens=1_000, at=datetime(2025, 6, 9, tzinfo=UTC))
    assert cost.total == 1_000 * Decimal("2.50") / MILLION


@pytest.mark.parametrize(
    ("at", "total"),
    [
        (datetime(2025, 10, 4, 23, 59, tzinfo=UTC), None),
        (datetime(2025, 10, 5, tzinfo=UTC), Decimal("0.000625")),
        (datetime(2026, 10, 11, 23, 59, tzinfo=UTC), Decimal("0.000625")),
        (datetime(2026, 10, 12, tzinfo=UTC), Decimal("0.000625")),
    ],
)
def test_a_tier_is_priced_from_the_first_day_with_evidence(at: datetime, total: Decimal | None) -> None:
    assert calculate_cost("gpt-5", 1_000, 0, service_tier="flex", at=at).total == total


def test_an_unknown_model_is_refused_by_name() -> None:
    with pytest.raises(UnknownModelError, match="'no-such-model' of provider 'openai'") as caught:
        calculate_cost("no-such-model", 1, 1)
    assert (caught.value.provider, caught.value.model) == ("openai", "no-such-model")


@pytest.mark.parametrize(
    "parts",
    [
        {"cached_input_tokens": 101},
        {"cached_input_tokens": 60, "cache_write_tokens": 41},
        {"audio_input_tokens": 50, "cached_input_tokens": 51},
        {"reasoning_tokens": 51},
        {"reasoning_tokens": 30, "audio_output_tokens": 21},
    ],
)
def test_parts_that_exceed_the_whole_are_refused(parts: dict[str, int]) -> None:
    with pytest.raises(PartsExceedWholeError, match="exceed"):
        split_tokens(100, 50, **parts)


@pytest.mark.parametrize("count", [1.5, "3", None, Decimal(2)])
def test_a_count_that_is_not_a_whole_number_is_refused(count: object) -> None:
    with pytest.raises(UsageError, match="whole numbers"):
        calculate_cost("gpt-4o", count, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["cached_input_tokens", "reasoning_tokens", "audio_output_tokens"])
def test_a_negative_count_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="negative"):
        split_tokens(100, 100, **{name: -1})


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(UsageError, match="time zone"):
        calculate_cost("gpt-4o", 1, 1, at=datetime(2026, 1, 1))  # noqa: DTZ001


counts = st.integers(min_value=0, max_value=10**12)


@given(counts, counts, counts, counts, counts, counts, counts)
def test_parts_of_usage_add_up_to_the_whole(
    uncached: int, cached: int, written: int, audio_in: int, text: int, reasoning: int, audio_out: int
) -> None:
    whole_input = uncached + cached + written + audio_in
    whole_output = text + reasoning + audio_out
    parts = split_tokens(whole_input, whole_output, cached, written, reasoning, audio_in, audio_out)
    assert sum(parts[:8]) == whole_input
    assert sum(parts[8:]) == whole_output
    assert parts == (uncached, cached, written, 0, audio_in, 0, 0, 0, text, reasoning, audio_out, 0)


@given(counts, counts, counts, counts, st.sampled_from(["gpt-4o", "gpt-5.5", "gpt-5.6-luna", "o3", "gpt-5-nano"]))
def test_parts_of_a_cost_add_up_to_its_total(uncached: int, cached: int, text: int, reasoning: int, model: str) -> None:
    cost = calculate_cost(
        model, uncached + cached, text + reasoning, cached_input_tokens=cached, reasoning_tokens=reasoning
    )
    with decimal.localcontext(decimal.Context(prec=60)):
        assert sum(cost.parts.values()) == cost.total
