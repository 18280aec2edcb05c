from __future__ import annotations

import pytest

from ingest.billing.skus import Cloud, read_sku

AZURE = [
    ("gpt-4o-0806-Inp-glbl Tokens", "azure openai", "gpt-4o input usage"),
    ("gpt-4o-mini-0718-Outp-regnl Tokens", "azure openai", "gpt-4o-mini output usage"),
    ("gpt 4.1 cached Inp glbl Tokens", "azure openai", "gpt-4.1 cached_input usage"),
    ("gpt-4o-mini-0718-Batch-Inp-glbl Tokens", "azure openai", "gpt-4o-mini input usage batch"),
    ("gpt-5-codex-ccchd-inp-glbl Tokens", "azure openai", "gpt-5-codex cached_input usage"),
    ("5.4 mini cd Inp Gl 1M Tokens", "Azure OpenAI GPT5", "gpt-5.4-mini cached_input usage"),
    ("5.4 pp opt Gl 1M Tokens", "Azure OpenAI GPT5", "gpt-5.4 output usage priority"),
    ("5.6 sol ShortCo Cd Wr Std Gl 1M Tokens", "Azure OpenAI", "gpt-5.6-sol cache_write usage"),
    ("o4-mini 0416 Inp glbl Tokens", "azure openai", "o4-mini input usage"),
    ("o3-deep research 0626-inp-cchd-glbl 1M Tokens", "", "o3-deep-research cached_input usage"),
    ("embedding-ada-glbl Tokens", "azure openai", "text-embedding-ada-002 - usage"),
    ("Provisioned Managed Global Unit", "azure openai", "- provisioned fee"),
]
AWS = [
    ("USE1-Claude4.5Haiku-input-tokens-cross-region-global", "", "claude-haiku-4-5 input usage"),
    ("USE1-Claude4.6Opus-cache-read-input-token-count", "", "claude-opus-4-6 cached_input usage"),
    ("USW2-anthropic.claude-opus-4-8-mantle-cache-write-tokens-global", "", "claude-opus-4-8 cache_write usage"),
    ("USE1-Claude3Sonnet-output-tokens", "", "claude-3-sonnet output usage"),
    ("USE1-NovaMicro-input-tokens-batch", "", "nova-micro input usage batch"),
    ("USE1-Nova2.0Lite-output-tokens-flex", "", "nova-2-lite output usage flex"),
    ("USE1-Llama3-2-1B-output-tokens", "", "llama3-2-1b-instruct output usage"),
    ("USE1-MP:USE1_input_tokens_global_standard-Units", "Claude Sonnet 4.5 (Amazon Bedrock Edition)",
     "claude-sonnet-4-5 input usage"),
    ("USE1-MP:USE1_CacheWrite1hInputTokenCount_Global-Units", "Claude Opus 4.6 (Amazon Bedrock Edition)",
     "claude-opus-4-6 cache_write usage"),
    ("USE1-KnowledgeBase-searchunits", "", "- search fee"),
]  # fmt: skip
GOOGLE = [
    ("Gemini 2.5 Flash GA Text Input - Predictions", "", "gemini-2.5-flash input usage"),
    ("Gemini 2.5 Flash GA Thinking Text Output - Predictions", "", "gemini-2.5-flash output usage"),
    ("Gemini 3.7 Flash Lite Global Text Input - Batch Predictions", "", "gemini-3.7-flash-lite input usage batch"),
    ("Gemini 3 Flash Text Input Caching", "", "gemini-3-flash cached_input usage"),
    ("Gemini 3 Flash Text Input Caching Storage", "", "gemini-3-flash storage fee"),
    ("Gemini 2.5 Flash Audio Input - Predictions", "", "gemini-2.5-flash audio_input usage"),
    ("LLM Grounding with Google Search tool", "", "- search fee"),
]


@pytest.mark.parametrize(
    ("cloud", "meter", "service", "expected"),
    [
        *(("azure", *case) for case in AZURE),
        *(("aws", *case) for case in AWS),
        *(("google", *case) for case in GOOGLE),
    ],
)
def test_a_sku_says_its_model_item_charge_and_tier(cloud: Cloud, meter: str, service: str, expected: str) -> None:
    sku = read_sku(cloud, meter, service)
    read = (sku.read.model or "-", sku.read.item or "-", sku.read.charge, sku.service_tier)
    assert " ".join(filter(None, read)) == expected
