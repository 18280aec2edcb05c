"""Shapes of usage by provider, as their documentation gives them, and what nobody should ever send."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from pricing import PriceBook, TokenUsage, extract_usage
from pricing.charge import charge

GEMINI_AUDIO = {
    "promptTokenCount": 1200, "candidatesTokenCount": 30, "totalTokenCount": 1230, "cachedContentTokenCount": 500,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 200}, {"modality": "AUDIO", "tokenCount": 1000}],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 100}, {"modality": "AUDIO", "tokenCount": 400}],
    "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 30}],
}  # fmt: skip
REALTIME = {
    "total_tokens": 253, "input_tokens": 132, "output_tokens": 121,
    "input_token_details": {"text_tokens": 32, "audio_tokens": 80, "image_tokens": 20, "cached_tokens": 64,
                            "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 60, "image_tokens": 4}},
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}  # fmt: skip

SHAPES: list[tuple[str, dict[str, Any], dict[str, Any], TokenUsage]] = [
    (
        "OpenAI chat with audio and reasoning",
        {},
        {
            "prompt_tokens": 100, "completion_tokens": 60, "total_tokens": 160,
            "prompt_tokens_details": {"cached_tokens": 20, "audio_tokens": 30},
            "completion_tokens_details": {"reasoning_tokens": 10, "audio_tokens": 5, "accepted_prediction_tokens": 3},
        },
        TokenUsage(100, 60, 20, reasoning_tokens=10, audio_input_tokens=30, audio_output_tokens=5),
    ),
    (
        "OpenAI responses with a write to the cache",
        {},
        {
            "input_tokens": 5000, "output_tokens": 10, "total_tokens": 5010,
            "input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 3000},
            "output_tokens_details": {"reasoning_tokens": 4},
        },
        TokenUsage(5000, 10, 1000, 3000, reasoning_tokens=4),
    ),
    ("OpenAI embeddings", {"operation": "embeddings"}, {"prompt_tokens": 8, "total_tokens": 8}, TokenUsage(8, 0)),
    (
        "OpenAI realtime: cached audio and images",
        {"model": "gpt-realtime"},
        REALTIME,
        TokenUsage(132, 121, 64, audio_input_tokens=80, audio_output_tokens=91, cached_audio_tokens=60,
                   image_input_tokens=20, cached_image_tokens=4),
    ),
    (
        "OpenAI transcription by duration",
        {"model": "whisper-1"},
        {"type": "duration", "seconds": 12.5},
        TokenUsage(units={"audio_seconds": Decimal("12.5")}),
    ),
    (
        "OpenAI images told apart",
        {"model": "gpt-image-1.5", "operation": "images.generate"},
        {"input_tokens": 50, "output_tokens": 300, "total_tokens": 350,
         "input_tokens_details": {"text_tokens": 40, "image_tokens": 10},
         "output_tokens_details": {"text_tokens": 100, "image_tokens": 200}},
        TokenUsage(50, 300, image_input_tokens=10, image_output_tokens=200),
    ),
    (
        "Anthropic with both lifetimes, thinking and a search",
        {"provider": "anthropic"},
        {"input_tokens": 10, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 70, "output_tokens": 30,
         "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 40},
         "output_tokens_details": {"thinking_tokens": 12},
         "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}, "service_tier": "standard"},
        TokenUsage(100, 30, 20, 70, 40, 12, units={"web_search": 2, "web_fetch": 1}),
    ),
    (
        "Anthropic without a cache",
        {"provider": "anthropic"},
        {"input_tokens": 10, "output_tokens": 30, "cache_read_input_tokens": None, "cache_creation_input_tokens": 0},
        TokenUsage(10, 30),
    ),
    (
        "Anthropic through a gateway that kept its counts under OpenAI's names",
        {"model": "claude-sonnet-4-5"},
        {"prompt_tokens": 7, "completion_tokens": 5, "cache_creation_input_tokens": 10000},
        TokenUsage(10007, 5, 0, 10000),
    ),
    (
        "LiteLLM's proxy: lifetimes in the details",
        {"model": "claude-sonnet-4-5"},
        {"prompt_tokens": 5004, "completion_tokens": 10, "total_tokens": 5014,
         "prompt_tokens_details": {"cached_tokens": 0, "cache_creation_tokens": 5000,
                                   "cache_creation_token_details": {"ephemeral_5m_input_tokens": 1000,
                                                                    "ephemeral_1h_input_tokens": 4000}}},
        TokenUsage(5004, 10, 0, 5000, 4000),
    ),
    (
        "Bedrock Converse with lifetimes",
        {"provider": "aws"},
        {"inputTokens": 11, "outputTokens": 25, "totalTokens": 936, "cacheReadInputTokens": 0,
         "cacheWriteInputTokens": 900,
         "cacheDetails": [{"inputTokens": 600, "ttl": "5m"}, {"inputTokens": 300, "ttl": "1h"}]},
        TokenUsage(911, 25, 0, 900, 300),
    ),
    (
        "Gemini: thoughts beside candidates, tools' prompts beside the prompt",
        {"model": "gemini-2.5-pro"},
        {"promptTokenCount": 100, "toolUsePromptTokenCount": 40, "candidatesTokenCount": 20, "thoughtsTokenCount": 80,
         "totalTokenCount": 240},
        TokenUsage(140, 100, reasoning_tokens=80),
    ),
    ("Gemini: audio, part of it cached", {"model": "gemini-2.5-flash"}, GEMINI_AUDIO,
     TokenUsage(1200, 30, 500, audio_input_tokens=1000, cached_audio_tokens=400)),
    (
        "Gemini: an image",
        {"model": "gemini-2.5-flash-image"},
        {"prompt_token_count": 10, "candidates_token_count": 1300, "total_token_count": 1310,
         "candidates_tokens_details": [{"modality": SimpleNamespace(value="IMAGE"), "token_count": 1290}]},
        TokenUsage(10, 1300, image_output_tokens=1290),
    ),
    (
        "Gemini's live API",
        {"model": "gemini-live-2.5-flash"},
        {"promptTokenCount": 10, "responseTokenCount": 50, "totalTokenCount": 60,
         "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}]},
        TokenUsage(10, 50, audio_output_tokens=50),
    ),
    (
        "Mistral with audio",
        {"provider": "mistral"},
        {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10, "prompt_audio_seconds": 203},
        TokenUsage(4, 6, units={"audio_seconds": 203}),
    ),
    ("Mistral's OCR", {"provider": "mistral"}, {"pages_processed": 29, "doc_size_bytes": None},
     TokenUsage(units={"pages": 29})),
    (
        "DeepSeek",
        {"provider": "deepseek"},
        {"prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35, "prompt_cache_hit_tokens": 24,
         "prompt_cache_miss_tokens": 6, "prompt_tokens_details": {"cached_tokens": 0}},
        TokenUsage(30, 5, 24),
    ),
    (
        "xAI with tools",
        {"provider": "x-ai"},
        {"input_tokens": 100, "output_tokens": 30, "total_tokens": 130,
         "output_tokens_details": {"reasoning_tokens": 20}, "num_sources_used": 0, "num_server_side_tools_used": 5,
         "server_side_tool_usage_details": {"web_search_calls": 2, "x_search_calls": 3, "mcp_calls": 4}},
        TokenUsage(100, 30, reasoning_tokens=20, units={"web_search": 2, "x_search": 3}),
    ),
    (
        "Cohere chat: billed, not read",
        {"provider": "cohere"},
        {"billed_units": {"input_tokens": 5, "output_tokens": 41}, "tokens": {"input_tokens": 71, "output_tokens": 41}},
        TokenUsage(5, 41),
    ),
    ("Cohere rerank", {"provider": "cohere"}, {"meta": {"billed_units": {"search_units": 1}}},
     TokenUsage(units={"search_units": 1})),
    ("Voyage", {"provider": "voyageai"}, {"total_tokens": 10}, TokenUsage(10, 0)),
    (
        "Perplexity's deep research: reasoning beside the completion",
        {"provider": "perplexity", "model": "sonar-deep-research"},
        {"prompt_tokens": 19, "completion_tokens": 4932, "total_tokens": 4951, "reasoning_tokens": 73997,
         "citation_tokens": 11, "num_search_queries": 18},
        TokenUsage(30, 78929, reasoning_tokens=73997, units={"web_search": 18}),
    ),
    (
        "Azure's Grok: a cache larger than the prompt is cut",
        {"provider": "azure", "model": "grok-3"},
        {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 163}},
        TokenUsage(7, 2, 7),
    ),
    (
        # https://platform.claude.com/docs/en/build-with-claude/compaction: the counts on top leave the compaction out.
        "Anthropic with a compaction",
        {"provider": "anthropic"},
        {"input_tokens": 23000, "output_tokens": 1000, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0,
         "iterations": [
             {"type": "compaction", "input_tokens": 80000, "output_tokens": 3500, "cache_read_input_tokens": 100000,
              "cache_creation_input_tokens": 500},
             {"type": "message", "input_tokens": 23000, "output_tokens": 1000},
         ]},
        TokenUsage(203500, 4500, 100000, 500),
    ),
    (
        "LangChain's words for Anthropic's cache",
        {"provider": "anthropic", "model": "claude-sonnet-4-5"},
        {"input_tokens": 130213, "output_tokens": 100, "total_tokens": 130313,
         "input_token_details": {"cache_read": 128955, "cache_creation": 0, "ephemeral_5m_input_tokens": 1000,
                                 "ephemeral_1h_input_tokens": 253}},
        TokenUsage(130213, 100, 128955, 1253, 253),
    ),
    (
        "LangChain's words for OpenAI's audio and reasoning",
        {"model": "gpt-4o-audio-preview"},
        {"input_tokens": 100, "output_tokens": 60, "total_tokens": 160,
         "input_token_details": {"audio": 30, "cache_read": 20}, "output_token_details": {"audio": 5, "reasoning": 10}},
        TokenUsage(100, 60, 20, reasoning_tokens=10, audio_input_tokens=30, audio_output_tokens=5),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("context", "usage", "expected"), [shape[1:] for shape in SHAPES], ids=[s[0] for s in SHAPES])
def test_a_shape_is_read_as_what_it_says(context: dict[str, Any], usage: dict[str, Any], expected: TokenUsage) -> None:
    found = extract_usage(usage, **context)
    assert found.usage == expected
    assert found.is_counted


@pytest.mark.parametrize("usage", [shape[2] for shape in SHAPES], ids=[shape[0] for shape in SHAPES])
def test_objects_of_a_library_are_read_as_their_json(usage: dict[str, Any]) -> None:
    assert extract_usage(SimpleNamespace(**usage)).usage == extract_usage(usage).usage


@pytest.mark.parametrize(
    ("kind", "flags", "units"),
    [
        ("compaction", ("iterations:compaction_added",), {}),
        ("advisor_message", (), {"advisor_tokens": 10}),
        ("message", (), {}),
    ],
)
def test_what_anthropic_bills_beside_its_counts_is_seen(
    kind: str, flags: tuple[str, ...], units: dict[str, int]
) -> None:
    entry = {"type": kind, "model": "claude-opus-4-6", "input_tokens": 5, "cache_read_input_tokens": 4}
    reported = {"input_tokens": 10, "output_tokens": 3, "iterations": [{**entry, "output_tokens": 1}]}
    found = extract_usage(reported, provider="anthropic")
    assert found.flags == flags
    assert found.usage.units == units


def test_the_tokens_of_an_advisor_are_the_unknown_part_of_a_cost() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "usage_details": {"units": {"advisor_tokens": 900}}}
    call = {"provider": "anthropic", "model": "claude-sonnet-4-5", "created_at": "2026-11-01T00:00:00Z", **usage}
    found = charge(call, PriceBook.default(), None)
    assert found.total == (10 * Decimal(3) + 3 * Decimal(15)) / 1_000_000
    assert found.flags == ("cost:advisor_tokens_unpriced",)


def test_deep_research_bills_citations_as_input_and_reasoning_beside_the_completion() -> None:
    # Of https://docs.perplexity.ai/getting-started/pricing: 0.000066 + 0.057304 + 0.040032 + 0.09 + 0.285915
    reported = {
        "prompt_tokens": 33, "completion_tokens": 7163, "total_tokens": 7196, "search_context_size": "low",
        "citation_tokens": 20016, "num_search_queries": 18, "reasoning_tokens": 95305,
    }  # fmt: skip
    found = extract_usage(reported, provider="perplexity", model="sonar-deep-research")
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (20049, 102468)
    cost = PriceBook.default().price("sonar-deep-research", found.usage, provider="perplexity")
    assert cost.total == Decimal("0.473317")
    few = extract_usage(reported | {"reasoning_tokens": 100}, provider="perplexity", model="sonar-deep-research")
    assert few.usage.completion_tokens == 7263


def test_what_was_cut_is_flagged() -> None:
    found = extract_usage({"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 163}})
    assert found.flags == ("cached_tokens:above_whole",)


@pytest.mark.parametrize(
    ("provider", "usage", "charged", "evidence"),
    [
        ("openrouter", {"cost": 0.0000375, "is_byok": False}, "0.0000375", None),
        (
            "openrouter",
            {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.0123}},
            "0.0123",
            None,
        ),
        ("openrouter", {"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}}, "0.95", None),
        ("perplexity", {"cost": {"request_cost": 0.005, "total_cost": 0.00512}}, "0.00512", None),
        ("x-ai", {"cost_in_usd_ticks": 37756000}, "0.0037756", None),
        ("gw.example.com", {"cost_in_usd_ticks": 37756000}, "0.0037756", None),
        ("gw.example.com", {"cost": 51234}, None, "51234"),
        ("openai", {"cost": "0.2"}, None, "0.2"),
        ("openrouter", {"cost": -1}, None, None),
        ("openrouter", {"cost": "free"}, None, None),
        ("openrouter", {"cost": float("nan")}, None, None),
        ("openrouter", {"cost": True}, None, None),
        ("openrouter", {"cost": "1e-999999"}, "0", None),
        ("openrouter", {"cost": "1" * 60}, None, None),
        ("openrouter", {"cost": "sNaN"}, None, None),
    ],
)
def test_a_charge_is_believed_where_its_unit_is_known(
    provider: str, usage: dict[str, Any], charged: str | None, evidence: str | None
) -> None:
    found = extract_usage({"prompt_tokens": 1, "completion_tokens": 1, **usage}, provider=provider)
    assert found.provider_cost == (None if charged is None else Decimal(charged))
    assert found.reported_cost == (None if evidence is None else Decimal(evidence))


def test_a_host_that_the_customer_trusts_is_believed() -> None:
    found = extract_usage({"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.2}, is_cost_trusted=True)
    assert (found.provider_cost, found.reported_cost) == (Decimal("0.2"), None)


@pytest.mark.parametrize(
    ("usage", "tier"),
    [
        ({"service_tier": "batch"}, "batch"),
        ({"service_tier": "standard", "inference_geo": "us"}, "standard+us"),
        ({"service_tier": "standard", "speed": "fast"}, "fast"),
        ({"inference_geo": "global"}, None),
        ({"traffic_type": "ON_DEMAND_FLEX"}, "flex"),
        ({"traffic_type": SimpleNamespace(value="PROVISIONED_THROUGHPUT")}, "provisioned"),
    ],
)
def test_the_tier_is_read_where_usage_tells_it(usage: dict[str, Any], tier: str | None) -> None:
    assert extract_usage({"input_tokens": 1, "output_tokens": 1, **usage}).service_tier == tier


@pytest.mark.parametrize(
    ("model", "units"),
    [
        ("gemini-2.5-flash", {"web_search": 1, "maps_grounding": 1}),
        ("gemini-3-pro", {"web_search": 2, "maps_grounding": 1}),
    ],
)
def test_what_gemini_was_grounded_with_is_counted(model: str, units: dict[str, int]) -> None:
    grounding = {"webSearchQueries": ["a", "b"], "groundingChunks": [{"web": {}}, {"maps": {}}]}
    answer = {"candidates": [{"groundingMetadata": grounding}]}
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    assert extract_usage(usage, model=model, answer=answer).usage.units == units


def test_a_chat_model_that_always_searches_is_charged_a_search() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    answer = {"object": "chat.completion"}
    assert extract_usage(usage, model="gpt-4o-search-preview", answer=answer).usage.units == {"web_search:preview": 1}
    assert extract_usage(usage, model="gpt-5-search-api", answer=answer).usage.units == {"web_search": 1}
