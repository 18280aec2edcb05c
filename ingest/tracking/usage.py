"""Reads token counts and charges from the different forms in which providers report them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Where OpenAI's APIs and the providers that imitate them put each figure, the more exact place first.
_PROMPT = ("prompt_tokens", "input_tokens")
_COMPLETION = ("completion_tokens", "output_tokens")
_PROMPT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_COMPLETION_DETAILS = ("completion_tokens_details", "output_tokens_details")
_CACHED = ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")
_CACHE_WRITE = ("cache_write_tokens", "cache_creation_input_tokens")


def view(value: Any) -> Mapping[str, Any]:
    """See an object of a client library as a mapping, without a copy; extra fields are not in it."""
    if type(value) is dict:
        return value
    if isinstance(value, Mapping):
        return value
    found = getattr(value, "__dict__", None)
    return found if isinstance(found, dict) else {}


def extras(value: Any) -> Mapping[str, Any]:
    """The fields that a client library has no name for."""
    if isinstance(value, Mapping):
        return value
    found = getattr(value, "__pydantic_extra__", None)
    return found if isinstance(found, dict) else {}


def plain(value: Any) -> dict[str, Any]:
    """Make a dictionary of an object, its unnamed fields included."""
    merged = {**view(value), **extras(value)}
    return {name: item for name, item in merged.items() if isinstance(name, str)}


def read_usage(reported: Any) -> dict[str, Any] | None:
    """Make arguments of `record_usage` out of a provider's usage object.

    Args:
        reported: The usage object of an answer.

    Returns:
        Counts, charge and findings (`flags`); `total_tokens` where that is all there is; None where there is nothing.
    """
    raw = plain(reported)
    prompt, completion, total = _first(raw, _PROMPT), _first(raw, _COMPLETION), _count(raw.get("total_tokens"))
    found: dict[str, Any] = {"flags": []}
    cost = _read_cost(raw)
    if cost is not None:
        found["provider_cost"] = cost
    if prompt is None and completion is None:
        if total is None:
            return found if cost is not None else None
        return {**found, "total_tokens": total}
    if prompt is None:
        prompt = max((total or 0) - (completion or 0), 0)
    if completion is None:
        completion = max((total or 0) - prompt, 0)
    prompt_details, completion_details = _details(raw, _PROMPT_DETAILS), _details(raw, _COMPLETION_DETAILS)
    reasoning = _first(completion_details, ("reasoning_tokens",))
    if reasoning is None:
        reasoning = _count(raw.get("reasoning_tokens"))
    completion, reasoning = _with_reasoning(prompt, completion, reasoning, total, found["flags"])
    found["prompt_tokens"], found["completion_tokens"] = prompt, completion
    cached = _first(prompt_details, _CACHED)
    parts = {
        "cached_tokens": _first(raw, _CACHED) if cached is None else cached,
        "cache_write_tokens": _first({**raw, **prompt_details}, _CACHE_WRITE),
        "reasoning_tokens": reasoning,
        "audio_input_tokens": _count(prompt_details.get("audio_tokens")),
        "audio_output_tokens": _count(completion_details.get("audio_tokens")),
    }
    found.update((name, count) for name, count in parts.items() if count is not None)
    return found


def _with_reasoning(
    prompt: int, completion: int, reasoning: int | None, total: int | None, flags: list[str]
) -> tuple[int, int | None]:
    """Add the reasoning that xAI and Gemini leave out of the completion; the total tells how much it is."""
    if total is not None:
        missing = total - prompt - completion
    else:
        missing = reasoning if reasoning is not None and reasoning > completion else 0
    if missing <= 0:
        return completion, reasoning
    flags.append("reasoning_tokens:left_out_of_completion")
    return completion + missing, max(reasoning or 0, missing)


def _read_cost(raw: Mapping[str, Any]) -> Any:
    """What the provider says it charged, in US dollars: OpenRouter's `cost`, Perplexity's `cost.total_cost`."""
    cost = raw.get("cost")
    if isinstance(cost, bool) or cost is None:
        return None
    if not isinstance(cost, int | float | str):
        return plain(cost).get("total_cost")
    upstream = plain(raw.get("cost_details")).get("upstream_inference_cost")
    if upstream is not None and (raw.get("is_byok") or not cost):
        # The customer's own key: the provider behind charges the customer, OpenRouter at most a fee.
        from decimal import Decimal, InvalidOperation

        try:
            return str(Decimal(str(cost)) + Decimal(str(upstream)))
        except InvalidOperation:
            return None
    return cost


def _details(raw: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    for name in names:
        value = raw.get(name)
        if value is not None:
            return plain(value)
    return {}


def _first(raw: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        count = _count(raw.get(name))
        if count is not None:
            return count
    return None


def _count(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None
