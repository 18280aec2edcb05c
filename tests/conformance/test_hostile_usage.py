"""Usage that is no usage: nothing raises, what is wrong is flagged, parts add up to the whole."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from genai_prices import extract_usage as their_extract_usage
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing import TokenUsage, extract_usage
from pricing.calls import fields_of
from tests.conformance.test_extract import SHAPES


@pytest.mark.parametrize(
    ("value", "count", "flag"),
    [
        (-5, 0, "prompt_tokens:out_of_range"),
        ("12", 12, None),
        ("twelve", 0, "prompt_tokens:not_a_number"),
        (3.0, 3, None),
        (3.7, 3, "prompt_tokens:fraction"),
        (float("nan"), 0, "prompt_tokens:not_a_number"),
        (float("inf"), 0, "prompt_tokens:not_a_number"),
        (10**400, 10**12, "prompt_tokens:out_of_range"),
        ("9" * 5000, 0, "prompt_tokens:not_a_number"),
        (Decimal("sNaN"), 0, "prompt_tokens:not_a_number"),
        (Decimal("1e400000"), 10**12, "prompt_tokens:out_of_range"),
        (True, 0, None),
        ([1], 0, None),
        ({"a": 1}, 0, None),
    ],
)
def test_a_count_that_is_none_is_put_right_and_flagged(value: object, count: int, flag: str | None) -> None:
    found = extract_usage({"prompt_tokens": value, "completion_tokens": 1})
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (count, 1)
    assert found.flags == ((flag,) if flag else ())


@pytest.mark.parametrize("reported", [None, 7, "usage", [], [1], {}, {"usage": None}, object(), {1: 2}])
def test_nothing_reported_is_nothing_counted(reported: object) -> None:
    found = extract_usage(reported)
    assert (found.is_counted, found.usage, found.total_tokens) == (False, TokenUsage(), None)


def test_an_object_that_fails_is_flagged() -> None:
    class Broken(dict[str, Any]):
        def __iter__(self) -> Any:
            raise RuntimeError("no")

        def keys(self) -> Any:
            raise RuntimeError("no")

        def items(self) -> Any:
            raise RuntimeError("no")

    assert extract_usage(Broken(a=1)).flags == ("usage:unreadable_RuntimeError",)


NAMES = sorted(
    {name for shape in SHAPES for name in shape[2]} | {"cost", "cost_details", "text_tokens", "ttl", "modality"}
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.decimals(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*NAMES, "cached_tokens", "audio_tokens", "token_count"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8),
    VALUES,
    st.sampled_from([None, "openai", "anthropic", "openrouter", "perplexity", "cohere", "x-ai"]),
)
def test_nothing_that_is_reported_raises(reported: Any, answer: Any, provider: str | None) -> None:
    found = extract_usage(reported, provider=provider, model="gemini-3-image", answer=answer)
    assert not any(flag.startswith("usage:unreadable") for flag in found.flags)
    parts = found.usage.parts
    assert min(parts) >= 0
    assert sum(parts[:8]) == found.usage.prompt_tokens
    assert sum(parts[8:]) == found.usage.completion_tokens
    fields_of(found)


counts = st.integers(min_value=0, max_value=10**9)


@given(st.fixed_dictionaries({name: counts for name in TokenUsage.__slots__ if name.endswith("_tokens")}))
def test_clamped_parts_add_up_to_the_whole(given_counts: dict[str, int]) -> None:
    usage, flags = TokenUsage.clamped(given_counts)
    assert sum(usage.parts[:8]) == usage.prompt_tokens == given_counts["prompt_tokens"]
    assert sum(usage.parts[8:]) == usage.completion_tokens == given_counts["completion_tokens"]
    assert all(flag.endswith(":above_whole") for flag in flags)


@pytest.mark.parametrize(
    ("flavor", "provider", "model", "usage"),
    [
        ("chat", "openai", "gpt-4o", SHAPES[0][2]),
        ("responses", "openai", "gpt-4o", SHAPES[1][2]),
        ("default", "anthropic", "claude-sonnet-4-5", SHAPES[6][2]),
        ("default", "aws", "amazon.nova-pro-v1:0", SHAPES[10][2]),
    ],
)
def test_genai_prices_reads_the_same_where_it_reads_at_all(
    flavor: str, provider: str, model: str, usage: dict[str, Any]
) -> None:
    answer = {"model": model, "modelId": model, "usage": usage}
    theirs = their_extract_usage(answer, provider_id=provider, api_flavor=flavor).usage
    ours = extract_usage(usage, provider=provider).usage
    assert (theirs.input_tokens, theirs.output_tokens) == (ours.prompt_tokens, ours.completion_tokens)
    cached, written = theirs.cache_read_tokens or 0, theirs.cache_write_tokens or 0
    assert (cached, written) == (ours.cached_tokens, ours.cache_write_tokens)
