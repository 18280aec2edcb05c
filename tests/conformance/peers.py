"""What other libraries charge for the corpus. Runs on its own, where they are installed, never in the project.

Reads lines of the corpus on stdin, writes `{"versions": {peer: text}, "costs": {peer: {id: "0.01" or null}}}`.
Each peer is handed the right counts, under its own names: what is compared are its prices and its arithmetic, not how
it reads an answer. None is no answer.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import json
import os
import re
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Charge = Callable[[dict[str, Any]], "Decimal | float | None"]

_GENAI_KEYS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cached": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "reasoning": "output_reasoning_tokens",
    "audio_input": "input_audio_tokens",
    "audio_output": "output_audio_tokens",
    "cached_audio": "cache_audio_read_tokens",
    "image_input": "input_image_tokens",
    "cached_image": "cache_image_read_tokens",
    "image_output": "output_image_tokens",
}
_GENAI_UNITS = {
    "web_search": "web_searches", "file_search": "storage_searches", "search_units": "rerank_searches",
    "x_search": "social_searches", "audio_seconds": "input_audio_seconds", "pages": "input_document_pages",
}  # fmt: skip
_GENAI_PROVIDERS = {"vertex_ai": "google", "gcp.vertex_ai": "google", "aws.bedrock": "aws", "azure.ai.openai": "azure"}
_LITELLM_PROVIDERS = {
    "google": "gemini", "vertex_ai": "vertex_ai", "gcp.vertex_ai": "vertex_ai", "aws": "bedrock_converse",
    "aws.bedrock": "bedrock_converse", "x-ai": "xai", "voyageai": "voyage", "together": "together_ai",
    "fireworks": "fireworks_ai", "azure.ai.openai": "azure",
}  # fmt: skip


def tier_of(line: dict[str, Any]) -> str | None:
    """Return the tier that served a call, as its answer or its caller says."""
    answer = line.get("answer") or {}
    usage = answer.get("usage") or {}
    told = line.get("call", {}).get("service_tier") or answer.get("service_tier") or usage.get("service_tier")
    return "fast" if usage.get("speed") == "fast" else told


def context_of(tier: str | None) -> dict[str, str] | None:
    """Return how genai-prices names a tier: batches and Anthropic's fast mode have words of their own."""
    words = {"batch": {"processing": "batch"}, "fast": {"speed": "fast"}}
    return words.get(tier, {"service_tier": tier}) if tier else None


def genai() -> Charge:
    """Charge with genai-prices."""
    from genai_prices import Usage, calc_price
    from genai_prices.types import _reported_usage_keys

    known = _reported_usage_keys()

    def charge(line: dict[str, Any]) -> Decimal:
        counts = {_GENAI_KEYS[name]: count for name, count in line["expect"].items() if name in _GENAI_KEYS and count}
        units = line["expect"].get("units", {})
        counts |= {_GENAI_UNITS[kind]: count for kind, count in units.items() if kind in _GENAI_UNITS}
        provider, tier = line["provider"], tier_of(line)
        price = calc_price(
            Usage(**{key: count for key, count in counts.items() if key in known}),
            line["model"],
            provider_id=None if "." in provider and provider not in _GENAI_PROVIDERS
            else _GENAI_PROVIDERS.get(provider, provider),
            genai_request_timestamp=datetime.fromisoformat(line["at"]),
            price_context=context_of(tier),
        )  # fmt: skip
        return Decimal(price.total_price)

    return charge


def litellm() -> Charge:
    """Charge with litellm, on the table inside its release."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm as module
    from litellm.cost_calculator import batch_cost_calculator, cost_per_token

    def charge(line: dict[str, Any]) -> float:
        counts = line["expect"]
        usage = module.Usage(
            prompt_tokens=counts["input"],
            completion_tokens=counts["output"],
            total_tokens=counts["input"] + counts["output"],
            prompt_tokens_details={
                "cached_tokens": counts.get("cached", 0),
                "audio_tokens": counts.get("audio_input", 0),
                "image_tokens": counts.get("image_input", 0),
                "text_tokens": counts["input"] - counts.get("audio_input", 0) - counts.get("image_input", 0),
                "cache_creation_tokens": counts.get("cache_write", 0),
                "cache_creation_token_details": {
                    "ephemeral_5m_input_tokens": counts.get("cache_write", 0) - counts.get("cache_write_1h", 0),
                    "ephemeral_1h_input_tokens": counts.get("cache_write_1h", 0),
                },
            },
            completion_tokens_details={
                "reasoning_tokens": counts.get("reasoning", 0),
                "audio_tokens": counts.get("audio_output", 0),
                "image_tokens": counts.get("image_output", 0),
                "text_tokens": counts["output"] - counts.get("audio_output", 0) - counts.get("reasoning", 0)
                - counts.get("image_output", 0),
            },
            cache_read_input_tokens=counts.get("cached", 0),
            cache_creation_input_tokens=counts.get("cache_write", 0),
        )  # fmt: skip
        provider, tier = line["provider"], tier_of(line)
        is_host = "." in provider and provider not in _LITELLM_PROVIDERS
        known = None if is_host else _LITELLM_PROVIDERS.get(provider, provider)
        if provider == "cohere" and line["operation"] == "chat":
            known = "cohere_chat"
        if tier == "batch":
            return float(sum(batch_cost_calculator(usage, line["model"], known)))
        into, out = cost_per_token(
            model=line["model"],
            prompt_tokens=counts["input"],
            completion_tokens=counts["output"],
            cache_read_input_tokens=counts.get("cached", 0),
            cache_creation_input_tokens=counts.get("cache_write", 0),
            custom_llm_provider=known,
            usage_object=usage,
            service_tier=tier,
            audio_transcription_file_duration=float(counts.get("units", {}).get("audio_seconds", 0)),
            call_type="transcription" if line["operation"] == "transcription" else "completion",
        )
        return float(into + out)

    return charge


def tokencost() -> Charge:
    """Charge with tokencost, which knows input, cached input and output."""
    from tokencost.costs import calculate_cost_by_tokens

    def charge(line: dict[str, Any]) -> Decimal:
        counts, model = line["expect"], line["model"]
        cached = counts.get("cached", 0)
        total = calculate_cost_by_tokens(counts["input"] - cached, model, "input")
        total += calculate_cost_by_tokens(counts["output"], model, "output")
        return Decimal(total + (calculate_cost_by_tokens(cached, model, "cached") if cached else 0))

    return charge


def langfuse(rows: list[dict[str, Any]]) -> Charge:
    """Charge with langfuse's table of models (worker/src/constants/default-model-prices.json of its repository)."""
    patterns = [(re.compile(row["matchPattern"].replace("(?i)", ""), re.IGNORECASE), row) for row in rows]

    def charge(line: dict[str, Any]) -> Decimal | None:
        row = next((row for pattern, row in patterns if pattern.search(line["model"])), None)
        if row is None:
            return None
        counts = line["expect"]
        prices = _langfuse_prices(row["pricingTiers"], counts["input"])
        plain = prices.get("input", prices.get("input_text_tokens", prices.get("total", Decimal(0))))
        output = prices.get("output", prices.get("output_text_tokens", Decimal(0)))
        written, hour = counts.get("cache_write", 0), counts.get("cache_write_1h", 0)
        heard, spoken = counts.get("audio_input", 0) - counts.get("cached_audio", 0), counts.get("audio_output", 0)
        cached = counts.get("cached", 0)
        buckets = (
            (counts["input"] - cached - written - heard, plain),
            (cached, prices.get("input_cached_tokens", prices.get("input_cache_read", plain))),
            (written - hour, prices.get("input_cache_creation", plain)),
            (hour, prices.get("input_cache_creation_1h", prices.get("input_cache_creation", plain))),
            (heard, prices.get("input_audio_tokens", plain)),
            (counts["output"] - spoken, output),
            (spoken, prices.get("output_audio_tokens", output)),
            (counts.get("units", {}).get("web_search", 0), prices.get("web_search_queries", Decimal(0))),
        )
        return sum((count * price for count, price in buckets), Decimal(0))

    return charge


def _langfuse_prices(tiers: list[dict[str, Any]], tokens: int) -> dict[str, Decimal]:
    """Return the prices of the tier that an input of so many tokens falls under."""
    larger = [tier for tier in tiers if not tier["isDefault"]]
    found = [tier for tier in larger if all(tokens > condition["value"] for condition in tier["conditions"])]
    prices: dict[str, Decimal] = (found or [tier for tier in tiers if tier["isDefault"]])[0]["prices"]
    return prices


def main() -> int:
    """Charge every line with every peer that can be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--langfuse", type=Path, help="langfuse's default-model-prices.json")
    options = parser.parse_args()
    lines = [json.loads(text) for text in sys.stdin]
    peers = {"genai-prices": genai(), "litellm": litellm(), "tokencost": tokencost()}
    versions = {name: importlib.metadata.version(name) for name in peers}
    if options.langfuse is not None:
        rows = json.loads(options.langfuse.read_text(encoding="utf-8"), parse_float=Decimal, parse_int=Decimal)
        peers["langfuse"] = langfuse(rows)
        # The table has no version; its rows say when they were changed.
        versions["langfuse"] = f"as of {max(row.get('updatedAt', '') for row in rows)[:10] or 'an unknown day'}"
    costs: dict[str, dict[str, str | None]] = {name: {} for name in peers}
    noise = io.StringIO()
    with contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
        for name, charge in peers.items():
            for line in lines:
                try:
                    found = charge(line)
                except Exception:  # noqa: BLE001 -- a library that refuses has no answer
                    found = None
                costs[name][line["id"]] = None if found is None else str(found)
    json.dump({"versions": versions, "costs": costs}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
