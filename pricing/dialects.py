"""Usage as Gemini and Cohere report it, whose words are unlike everybody else's: counts and units by name."""

from __future__ import annotations

from decimal import Decimal

from pricing.names import gives_images
from pricing.reported import Report, to_amount, to_units

Counts = dict[str, int | None]
Units = dict[str, int | Decimal]


def gemini_counts(report: Report, model: str) -> Counts:
    """Return the counts of Gemini's `usage_metadata`, on whichever API."""
    prompt, candidates = (
        report.count("prompt_token_count"),
        report.count("candidates_token_count", "response_token_count"),
    )
    thoughts, tools = report.count("thoughts_token_count"), report.count("tool_use_prompt_token_count")
    total = report.count("total_token_count")
    whole = (prompt or 0) + (tools or 0)
    output = candidates or 0
    if prompt is None and total is not None:
        whole = max(total - output - (thoughts or 0), 0)
    # Thoughts stand beside the candidates; an answer whose sum says otherwise has them inside.
    if total is None or total != whole + output or not output:
        output += thoughts or 0
    if total is not None and total > whole + output and candidates is None:
        output = total - whole
    given = _modalities(report, "prompt_tokens_details", "tool_use_prompt_tokens_details")
    cached = _modalities(report, "cache_tokens_details")
    delivered = _modalities(report, "candidates_tokens_details", "response_tokens_details")
    return {
        "prompt_tokens": whole,
        "completion_tokens": output,
        "cached_tokens": report.count("cached_content_token_count"),
        "reasoning_tokens": thoughts,
        "audio_input_tokens": given.get("audio"),
        "audio_output_tokens": delivered.get("audio"),
        "cached_audio_tokens": cached.get("audio"),
        "image_input_tokens": given.get("image"),
        "cached_image_tokens": cached.get("image"),
        "image_output_tokens": delivered.get("image", 0 if delivered and gives_images(model) else None),
    }


def _modalities(report: Report, *names: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        for entry in report.items(name):
            # An enumeration of Google's library has its word in `value`; documents are read as images.
            modality = entry.get("modality")
            word = str(getattr(modality, "value", modality)).lower()
            word = "image" if word == "document" else word
            found[word] = found.get(word, 0) + (entry.count("token_count") or 0)
    return found


def cohere_counts(report: Report, flags: list[str]) -> tuple[Counts, Units]:
    """What Cohere bills is less than what its models read: system texts of its own are free."""
    outer = report.under("meta") if "meta" in report else report
    billed, tokens = outer.under("billed_units"), outer.under("tokens")
    units: Units = {}
    for kind, name in (("search_units", "search_units"), ("input_images", "images")):
        amount = to_amount(billed.get(name), name, flags)
        if amount is not None:
            units[kind] = to_units(amount)
    counted = billed if "input_tokens" in billed or "output_tokens" in billed or not tokens else tokens
    prompt, completion = counted.count("input_tokens"), counted.count("output_tokens")
    if prompt is None and completion is None and "image_tokens" not in billed:
        return {}, units
    pictured = billed.count("image_tokens")
    counts: Counts = {
        "prompt_tokens": (prompt or 0) + (pictured or 0),
        "completion_tokens": completion or 0,
        "cached_tokens": outer.count("cached_tokens"),
        "image_input_tokens": pictured,
    }
    return counts, units
