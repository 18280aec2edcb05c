from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pricing import PriceBook
from pricing.savings import Evidence, Group, Prefixes, suggest

END = datetime(2026, 11, 23, tzinfo=UTC)
BOOK = PriceBook.default()


def group(**fields: Any) -> Group:
    """1,000 calls of 1,500 + 100 tokens over 30 days: 9.00 $ of gpt-4o-2024-05-13 at 5 and 15 $ a million."""
    values: dict[str, Any] = {
        "provider": "openai", "model": "gpt-4o-2024-05-13", "feature": "chat", "requests": 1000,
        "prompt_tokens": 1_500_000, "completion_tokens": 100_000, "cached_tokens": 0, "cache_write_tokens": 0,
        "reasoning_tokens": 0, "audio_input_tokens": 0, "audio_output_tokens": 0, "cost": "9.00",
        "unpriced_requests": 0, "fallback_requests": 0, "estimated_requests": 0, "days": 30,
    }  # fmt: skip
    return Group.model_validate(values | fields)


def cached_group(**fields: Any) -> Group:
    """1,000 calls of gpt-4o, whose cached input costs 1.25 instead of 2.50 $ a million."""
    return group(**{"model": "gpt-4o", "prompt_tokens": 4_000_000, "cost": "11.00", **fields})


def prefixes(**fields: Any) -> Prefixes:
    values: dict[str, Any] = {
        "provider": "openai", "model": "gpt-4o", "feature": "chat", "requests": 8_000, "repeats": 7_500,
        "missed": 7_000, "prefixes": 3,
    }  # fmt: skip
    return Prefixes.model_validate(values | fields)


def evidence(*groups: Group, seen: tuple[Prefixes, ...] = (), days: int = 30) -> Evidence:
    return Evidence(
        from_time=END - timedelta(days=days),
        to_time=END,
        sample_from_time=END - timedelta(days=7),
        sample_to_time=END,
        groups=groups,
        prefixes=seen,
    )


def test_a_cheaper_snapshot_of_the_same_family_is_named_with_what_it_saves() -> None:
    (found,) = suggest(evidence(group()), BOOK)
    # gpt-4o: 1,500 x 2.50 + 100 x 10 = 0.00475 $ a call instead of 0.009 $; of 9.00 $ that saves 4.25 $ in 30 days.
    assert (found.kind, found.model, found.replacement) == ("cheaper_snapshot", "gpt-4o-2024-05-13", "gpt-4o")
    assert (found.saved_per_month, found.confidence) == (Decimal("4.25"), "medium")
    assert found.evidence == {"requests": 1000, "cost": Decimal("9.00"), "cheaper_by": Decimal("0.4722")}
    assert any("try it before you switch" in assumption for assumption in found.assumptions)


def test_what_is_saved_is_a_share_of_what_was_paid_not_of_the_list_price() -> None:
    (found,) = suggest(evidence(group(cost="4.50")), BOOK)  # as batch, at half the price
    assert found.saved_per_month == Decimal("2.12")


def test_a_month_is_scaled_from_the_period() -> None:
    (found,) = suggest(evidence(group(), days=15), BOOK)
    assert found.saved_per_month == Decimal("8.50")


def test_features_of_a_model_are_one_suggestion() -> None:
    (found,) = suggest(evidence(group(requests=150), group(requests=1850, feature="search")), BOOK)
    assert found.feature is None
    assert (found.evidence["requests"], found.confidence) == (2000, "high")


@pytest.mark.parametrize(
    "fields",
    [
        {"requests": 199},
        {"days": 2},
        {"estimated_requests": 101},
        {"unpriced_requests": 60, "fallback_requests": 60},
        {"cost": "1.00"},
        {"model": "gpt-4o", "prompt_tokens": 1_000},
        {"model": "mystery-1"},
        {"audio_input_tokens": 500_000},
    ],
)
def test_thin_or_unclear_figures_suggest_nothing(fields: dict[str, Any]) -> None:
    assert suggest(evidence(group(**fields)), BOOK) == []


def test_an_older_snapshot_is_never_suggested() -> None:
    row = {"provider": "openai", "models": ["gpt-4o-2024-02-01"], "rates": {"input": "0.1", "output": "0.1"}}
    newer = {"provider": "openai", "models": ["gpt-4o-2024-06-01"], "rates": {"input": "4.9", "output": "14.9"}}
    found = suggest(evidence(group()), BOOK.with_rows([row, newer]))
    assert [each.replacement for each in found] == ["gpt-4o"]


def test_a_fine_tune_is_not_replaced_by_its_base() -> None:
    found = suggest(evidence(group(model="ft:gpt-4o-2024-08-06:org::1")), BOOK)
    assert [each.kind for each in found] == ["missed_caching"]


def test_a_price_within_five_percent_is_no_suggestion() -> None:
    row = {"provider": "openai", "models": ["gpt-4o"], "rates": {"input": "4.9", "output": "14.9"}}
    assert suggest(evidence(group()), BOOK.with_rows([row])) == []


def test_repeated_beginnings_that_were_not_cached_are_counted_by_their_shortest_length() -> None:
    (found,) = suggest(evidence(cached_group(), seen=(prefixes(),)), BOOK)
    # 7,000 calls x 1,024 tokens x 1.25 $ a million = 8.96 $ in 7 days, 38.40 $ in 30.
    assert (found.kind, found.feature, found.saved_per_month) == ("missed_caching", "chat", Decimal("38.40"))
    assert found.confidence == "high"
    assert found.evidence == {"requests": 8000, "repeats": 7500, "missed": 7000, "prefixes": 3}


def test_what_writing_the_cache_costs_is_taken_off() -> None:
    row = {
        "provider": "openai",
        "models": ["gpt-4o"],
        "rates": {"input": "2.50", "cached_input": "1.25", "cache_write": "3.125", "output": "10"},
    }
    (found,) = suggest(evidence(cached_group(), seen=(prefixes(),)), BOOK.with_rows([row]))
    # 8.96 $ less 500 writes x 1,024 tokens x 0.625 $ a million = 8.64 $ in 7 days.
    assert found.saved_per_month == Decimal("37.03")
    assert suggest(evidence(cached_group()), BOOK.with_rows([row])) == []


def test_without_hashes_half_of_the_prompts_is_an_assumption_with_low_confidence() -> None:
    (found,) = suggest(evidence(cached_group(cached_tokens=100_000)), BOOK)
    # (2,000,000 - 100,000) tokens x 1.25 $ a million in 30 days.
    assert (found.saved_per_month, found.confidence) == (Decimal("2.38"), "low")
    assert "assuming" in found.assumptions[0]


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({"cached_tokens": 400_000}, None),
        ({"prompt_tokens": 1_000_000}, None),
        ({"provider": "anthropic", "model": "claude-sonnet-4-5"}, None),
        ({"model": "gpt-4-turbo"}, None),
        ({"model": "mystery-1"}, None),
        ({}, {"missed": 0, "repeats": 0}),
        ({}, {"missed": 1_500}),
        ({}, {"requests": 199, "repeats": 190, "missed": 190}),
    ],
)
def test_caching_that_would_not_help_is_not_suggested(fields: dict[str, Any], seen: dict[str, Any] | None) -> None:
    rows = () if seen is None else (prefixes(**seen),)
    assert suggest(evidence(cached_group(**fields), seen=rows), BOOK) == []


def test_the_largest_saving_comes_first() -> None:
    found = suggest(evidence(group(), cached_group(), seen=(prefixes(),)), BOOK)
    assert [each.saved_per_month for each in found] == [Decimal("38.40"), Decimal("4.25")]


def test_a_period_without_length_saves_nothing() -> None:
    assert suggest(evidence(group(), days=0), BOOK) == []
