"""Turns anything a caller passes into an event that the database accepts.

Nothing is refused: invalid values are corrected or dropped, and listed in `metadata.treering_flags` as `field:what`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import ForwardRef, TypeAlias

from pydantic import JsonValue

from ingest.notices import FLAGS_KEY, MAX_FLAGS
from ingest.record.cleaning import (
    MAX_TOKENS,
    clean_attempt,
    clean_blocks,
    clean_cost,
    clean_duration,
    clean_metadata,
    clean_method,
    clean_money,
    clean_status,
    clean_status_code,
    clean_tags,
    clean_text,
    clean_tokens,
    clean_truth,
    clean_usage_details,
    clean_usage_source,
    clean_weight,
)
from ingest.record.fields import DETAILS, UsageFields
from pricing.names import leaves_cache_out

Event: TypeAlias = dict[str, JsonValue]
Raw: TypeAlias = Mapping[str, object]
_Cleaner: TypeAlias = Callable[[object, str, list[str]], JsonValue]

_MAX_FLAG_CHARACTERS = 80
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# How a field is cleaned follows from its type, but for those whose values are fewer than the type's.
_BY_TYPE: dict[str, _Cleaner] = {
    "bool": clean_truth,
    "float | None": clean_duration,
    "int": clean_tokens,
    "int | None": clean_tokens,
    "Mapping[str, object] | None": clean_metadata,
    "str": clean_text,
    "str | None": clean_text,
}
_BY_NAME: dict[str, _Cleaner] = {
    "attempt": clean_attempt,
    "prompt_blocks": clean_blocks,
    "provider_cost": clean_cost,
    "request_fees": clean_money,
    "status": clean_status,
    "tags": clean_tags,
    "usage_source": clean_usage_source,
}
_ARGUMENT_TYPES: dict[str, ForwardRef] = UsageFields.__annotations__  # not evaluated: only their text is needed
_USAGE: dict[str, _Cleaner] = {
    "user_id": clean_text,
    "model": clean_text,
    "prompt_tokens": clean_tokens,
    "completion_tokens": clean_tokens,
    **{
        name: _BY_NAME.get(name) or _BY_TYPE[kind.__forward_arg__]
        for name, kind in _ARGUMENT_TYPES.items()
        if name not in {"event_id", "created_at", *DETAILS}
    },
    "usage_details": clean_usage_details,
}
_USAGE_DEFAULTS: Event = {
    "user_id": "anonymous",
    "model": "unknown",
    "provider": "openai",
    "environment": "production",
    "operation": "chat",
    "prompt_tokens": 0,
    "completion_tokens": 0,
}
_PARTS = (
    ("cached_tokens", "prompt_tokens"),
    ("cache_write_tokens", "prompt_tokens"),
    ("prefix_tokens", "prompt_tokens"),
    ("audio_input_tokens", "prompt_tokens"),
    ("reasoning_tokens", "completion_tokens"),
    ("audio_output_tokens", "completion_tokens"),
)

_PERFORMANCE: dict[str, _Cleaner] = {
    "route": clean_text,
    "method": clean_method,
    "status_code": clean_status_code,
    "latency_ms": clean_duration,
    "time_to_first_byte_ms": clean_duration,
    "user_id": clean_text,
    "error_type": clean_text,
    "environment": clean_text,
    "sample_weight": clean_weight,
    "metadata": clean_metadata,
}
_PERFORMANCE_DEFAULTS: Event = {
    "environment": "production",
    "route": "unknown",
    "method": "UNKNOWN",
    "status_code": 500,
    "latency_ms": 0.0,
}


def normalise_usage(raw: Raw) -> Event:
    """Return a usage event: the keys of `record_usage` that have a value, without the cost.

    Args:
        raw: Arguments as they were passed, with `event_id` as text; `created_at` may be missing where the id is a
            UUIDv7; `flags` may hold findings made earlier.
    """
    event, flags = _clean(raw, _USAGE, _USAGE_DEFAULTS)
    _add_cache(event, flags)
    if flags and _is_silent(event, flags):
        event["usage_source"] = "heuristic"  # an estimate of no tokens has no price: what it used is unknown
        flags.append("usage:not_reported")
    for part, whole in _PARTS:
        if part in event and event[part] > event[whole]:  # type: ignore[operator]  # clean_tokens makes them numbers
            event[part] = event[whole]
            flags.append(f"{part}:above_whole")
    if "status" not in event and "error_type" in event and raw.get("status") is not None:
        event["status"] = "error"
    return _flagged(event, flags)


def _is_silent(event: Event, flags: list[str]) -> bool:
    """Whether neither count could be read, and nothing else says what the call used or cost."""
    unread = {flag.partition(":")[0] for flag in flags if flag.endswith((":missing", ":not_a_number"))}
    if not unread.issuperset(("prompt_tokens", "completion_tokens")) or event["prompt_tokens"]:
        return False
    return not event.keys() & {"usage_details", "provider_cost"} and event.get("status") != "error"


def _add_cache(event: Event, flags: list[str]) -> None:
    """Make the input whole where its maker's own count, given one to one, leaves out what the cache read and wrote."""
    details = event.get("usage_details")
    hour = details.get("cache_write_1h_tokens") if isinstance(details, dict) else None
    if isinstance(hour, int) and hour > _number(event, "cache_write_tokens"):
        event["cache_write_tokens"] = hour
        flags.append("cache_write_1h_tokens:above_whole")
    cache = _number(event, "cached_tokens") + _number(event, "cache_write_tokens")
    prompt = _number(event, "prompt_tokens")
    if cache > prompt and leaves_cache_out(str(event["provider"]), str(event["model"])):
        event["prompt_tokens"] = min(prompt + cache, MAX_TOKENS)
        flags.append("prompt_tokens:cache_added")


def _number(event: Event, name: str) -> int:
    value = event.get(name, 0)
    return value if isinstance(value, int) else 0


def normalise_performance(raw: Raw) -> Event:
    """Return a performance event: the keys of `record_performance` that have a value.

    Args:
        raw: As for `normalise_usage`.
    """
    return _flagged(*_clean(raw, _PERFORMANCE, _PERFORMANCE_DEFAULTS))


def normalise_feedback(raw: Raw) -> Event:
    """Return a thumb: the event it is `about`, and a `rating` of 1 or -1.

    Args:
        raw: As for `normalise_usage`.
    """
    event, _ = _clean(raw, {"about": clean_text}, {})
    return {**event, "rating": -1 if raw.get("rating") == -1 else 1}


def time_of_uuid7(value: int) -> datetime | None:
    """The millisecond in which a UUIDv7 was made; None for any other UUID and for a time past the year 9999."""
    if value >> 76 & 0xF != 7 or value >> 62 & 0x3 != 2:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=value >> 80)
    except OverflowError:
        return None


def _clean(raw: Raw, cleaners: dict[str, _Cleaner], defaults: Event) -> tuple[Event, list[str]]:
    earlier = raw.get("flags")
    flags = [str(flag) for flag in earlier] if isinstance(earlier, list) else []
    event = _identity(raw)
    for name, value in raw.items():
        if value is not None and name in cleaners:
            cleaned = cleaners[name](value, name, flags)
            if cleaned is not None:
                event[name] = cleaned
    for name, default in defaults.items():
        if name not in event:
            event[name] = default
            if not flags or not any(flag.startswith(f"{name}:") for flag in flags):
                flags.append(f"{name}:missing")
    return event, flags


def _identity(raw: Raw) -> Event:
    digits = str(raw["event_id"]).replace("-", "")
    created_at = raw.get("created_at")
    if not isinstance(created_at, str):
        created_at = (time_of_uuid7(int(digits, 16)) or datetime.now(UTC)).isoformat()
    event_id = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    return {"event_id": event_id, "created_at": created_at}


def _flagged(event: Event, flags: list[str]) -> Event:
    metadata = event.pop("metadata", None)
    kept = metadata if isinstance(metadata, dict) else {}
    earlier = kept.pop(FLAGS_KEY, None)
    if isinstance(earlier, list):
        flags = [*(flag for flag in earlier if isinstance(flag, str)), *flags]
    if flags:
        unique: list[JsonValue] = [flag[:_MAX_FLAG_CHARACTERS] for flag in dict.fromkeys(flags)]
        kept[FLAGS_KEY] = unique[:MAX_FLAGS]
    if kept:
        event["metadata"] = kept
    return event
