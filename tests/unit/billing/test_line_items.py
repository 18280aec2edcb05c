from __future__ import annotations

from decimal import Decimal

import pytest

from ingest.billing.line_items import read_line_item


@pytest.mark.parametrize(
    ("line_item", "model", "item", "charge"),
    [
        ("gpt-4o-2024-08-06, input", "gpt-4o-2024-08-06", "input", "usage"),
        ("gpt-4o-2024-08-06, cached input", "gpt-4o-2024-08-06", "cached_input", "usage"),
        ("gpt-5.6-terra, cache write", "gpt-5.6-terra", "cache_write", "usage"),
        ("GPT-5.4", "gpt-5.4", "", "usage"),
        ("ft:gpt-4o-mini-2024-07-18:org::id, output", "ft:gpt-4o-mini-2024-07-18:org::id", "output", "usage"),
        ("gpt-4o-audio-preview-2025-06-03, audio output", "gpt-4o-audio-preview-2025-06-03", "audio_output", "usage"),
        ("gpt-image-1, image input", "gpt-image-1", "image_input", "usage"),
        ("o3, output", "o3", "output", "usage"),
        ("gpt-4o, web search", "gpt-4o", "search", "fee"),
        ("web search tool calls", "", "search", "fee"),
        ("code interpreter sessions", "", "code_execution", "fee"),
        ("vector storage", "", "storage", "fee"),
        ("assistants api | file search", "", "search", "fee"),
        ("moderation", "", "moderation", "fee"),
        ("Completions", "", "", "usage"),
        ("", "", "", "usage"),
        ("Refund", "", "", "credit"),
        ("VAT", "", "", "tax"),
        ("billing adjustment", "", "", "adjustment"),
    ],
)
def test_a_line_item_says_what_it_is_for(line_item: str, model: str, item: str, charge: str) -> None:
    read = read_line_item(line_item, Decimal(1))
    assert (read.model, read.item, read.charge) == (model, item, charge)


@pytest.mark.parametrize(("text", "model"), [("", ""), ("gpt-4o, input", "gpt-4o"), ("web search", "")])
def test_an_amount_below_zero_is_a_credit(text: str, model: str) -> None:
    read = read_line_item(text, Decimal("-0.01"))
    assert (read.model, read.charge) == (model, "credit")
