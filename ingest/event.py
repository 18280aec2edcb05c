"""Turns what a caller passed into an event that the database takes, whatever was passed.

Nothing is refused: what cannot be right is put right, and `metadata.treering_flags` says so, one `field:what` each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

from pydantic import JsonValue
from pydantic_core import to_json

Event: TypeAlias = dict[str, JsonValue]
Raw: TypeAlias = Mapping[str, object]

FLAGS_KEY = "treering_flags"
MAX_TEXT_CHARACTERS = 200
MAX_METADATA_BYTES = 4096  # half of what the database takes: jsonb's own text is longer by a space after each comma
MAX_METADATA_DEPTH = 8
_MAX_FLAGS = 16
_MAX_METHOD_CHARACTERS = 20
_MAX_TOKENS = 10**12
_MAX_MONEY = 10**9
_SMALLEST_MONEY_EXPONENT = -30  # below that it is nobody's money and a long text
_MAX_DURATION_MS = 1e9
_MAX_ATTEMPT = 1000
_MAX_WEIGHT = 1e6
# Beyond these jsonb would write a number out with up to 300 digits.
_PLAIN_NUMBERS = (1e-6, 1e15)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_USAGE_TEXTS = ("session_id", "feature", "service_tier", "error_type", "finish_reason", "request_group_id",
                "prompt_hash", "prefix_hash", "response_id")  # fmt: skip


def normalise_usage(raw: Raw) -> Event:
    """Make a usage event: the keys of `record_usage` that have a value, without the cost.

    Args:
        raw: Arguments as they were passed, with `event_id` as text; `created_at` may be missing where the id is a
            UUIDv7; `flags` may hold findings made earlier.
    """
    fields = _Fields(raw)
    fields.identity()
    fields.text("user_id", "anonymous")
    fields.text("model", "unknown")
    fields.text("provider", "openai")
    fields.text("environment", "production")
    fields.text("operation", "chat")
    for name in _USAGE_TEXTS:
        fields.text(name)
    prompt, completion = fields.tokens("prompt_tokens"), fields.tokens("completion_tokens")
    fields.part("cached_tokens", prompt)
    fields.part("cache_write_tokens", prompt)
    fields.part("audio_input_tokens", prompt)
    fields.part("reasoning_tokens", completion)
    fields.part("audio_output_tokens", completion)
    fields.whole("max_output_tokens", 0, _MAX_TOKENS)
    fields.whole("attempt", 1, _MAX_ATTEMPT)
    fields.choice("status", ("ok", "error", "cancelled"), "error" if raw.get("error_type") else "ok")
    fields.choice("usage_source", ("reported", "tokenizer", "heuristic"), "heuristic")
    fields.truth("streamed")
    fields.duration("latency_ms")
    fields.duration("time_to_first_token_ms")
    fields.money("provider_cost")
    fields.money("request_fees")
    return fields.finish()


def normalise_performance(raw: Raw) -> Event:
    """Make a performance event: the keys of `record_performance` that have a value.

    Args:
        raw: As for `normalise_usage`.
    """
    fields = _Fields(raw)
    fields.identity()
    fields.text("environment", "production")
    fields.text("route", "unknown")
    fields.text("method", "UNKNOWN", _MAX_METHOD_CHARACTERS)
    fields.text("user_id")
    fields.text("error_type")
    if fields.whole("status_code", 100, 999) is None:
        fields.event["status_code"] = 500
        fields.flag("status_code", "missing")
    if fields.duration("latency_ms") is None:
        fields.event["latency_ms"] = 0.0
        fields.flag("latency_ms", "missing")
    fields.duration("time_to_first_byte_ms")
    fields.number("sample_weight", 1.0, _MAX_WEIGHT)
    return fields.finish()


def time_of_uuid7(value: int) -> datetime | None:
    """The millisecond in which a UUIDv7 was made; None for any other UUID and for a time past the year 9999."""
    if value >> 76 & 0xF != 7 or value >> 62 & 0x3 != 2:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=value >> 80)
    except OverflowError:
        return None


def clean_json(value: object, depth: int = 0) -> JsonValue:
    """Make a value that jsonb takes: no NUL, no NaN, no endless depth, no number of 300 digits."""
    match value:
        case None | bool():
            return value
        case str():
            return value.replace("\0", "")
        case int():
            return value if abs(value) < _PLAIN_NUMBERS[1] else str(value)[:MAX_TEXT_CHARACTERS]
        case float():
            if not math.isfinite(value):
                return None
            return value if value == 0 or _PLAIN_NUMBERS[0] <= abs(value) < _PLAIN_NUMBERS[1] else repr(value)
        case Mapping() | list() if depth >= MAX_METADATA_DEPTH:
            return "<nested>"
        case Mapping():
            return {str(key).replace("\0", ""): clean_json(item, depth + 1) for key, item in value.items()}
        case list():
            return [clean_json(item, depth + 1) for item in value]
        case _:
            return f"<{type(value).__name__}>"


class _Fields:
    """Takes the fields of one event over, one after another, and remembers what was wrong."""

    __slots__ = ("_flags", "_raw", "event")

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self.event: Event = {}
        flags = raw.get("flags")
        self._flags: list[str] = [str(flag) for flag in flags] if isinstance(flags, list) else []

    def flag(self, name: str, what: str) -> None:
        self._flags.append(f"{name}:{what}")

    def identity(self) -> None:
        digits = str(self._raw["event_id"]).replace("-", "")
        self.event["event_id"] = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
        created_at = self._raw.get("created_at")
        if not isinstance(created_at, str):
            made_at = time_of_uuid7(int(digits, 16))
            created_at = (made_at or datetime.now(UTC)).isoformat()
        self.event["created_at"] = created_at

    def text(self, name: str, default: str | None = None, limit: int = MAX_TEXT_CHARACTERS) -> None:
        value = self._raw.get(name)
        if type(value) is not str:
            if value is None:
                if default is not None:
                    self.event[name] = default
                    self.flag(name, "missing")
                return
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                self.flag(name, "not_text")
                value = default or ""
            value = str(value)
        if "\0" in value:
            value = value.replace("\0", "")
        if len(value) > limit:
            value = value[:limit]
            self.flag(name, "shortened")
        if not value and default is not None:
            value = default
            self.flag(name, "missing")
        if value:
            self.event[name] = value

    def whole(self, name: str, lowest: int, highest: int) -> int | None:
        value = self._raw.get(name)
        if value is None:
            return None
        if type(value) is not int:
            value = self._to_int(name, value)
            if value is None:
                return None
        if not lowest <= value <= highest:
            value = min(max(value, lowest), highest)
            self.flag(name, "out_of_range")
        self.event[name] = value
        return value

    def tokens(self, name: str) -> int:
        count = self.whole(name, 0, _MAX_TOKENS)
        if count is None:
            self.flag(name, "missing")
            self.event[name] = count = 0
        return count

    def part(self, name: str, whole: int) -> None:
        count = self.whole(name, 0, _MAX_TOKENS)
        if count is not None and count > whole:
            self.event[name] = whole
            self.flag(name, "above_whole")

    def _to_int(self, name: str, value: object) -> int | None:
        if isinstance(value, str) and len(value) <= 20 and value.strip().removeprefix("-").isdecimal():
            return int(value)
        if isinstance(value, float) and math.isfinite(value):
            if not value.is_integer():
                self.flag(name, "fraction")
            return int(value)
        self.flag(name, "not_a_number")
        return None

    def number(self, name: str, lowest: float, highest: float) -> float | None:
        value = self._raw.get(name)
        if value is None:
            return None
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                value = None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.flag(name, "not_a_number")
            return None
        if not lowest <= value <= highest:
            self.flag(name, "out_of_range")
            return None
        self.event[name] = value
        return value

    def duration(self, name: str) -> float | None:
        return self.number(name, 0.0, math.nextafter(_MAX_DURATION_MS, 0.0))

    def money(self, name: str) -> None:
        value = self._raw.get(name)
        if value is None:
            return
        try:
            amount = Decimal(str(value)) if isinstance(value, int | float | str) else Decimal("NaN")
        except InvalidOperation:
            amount = Decimal("NaN")
        if isinstance(value, bool) or not amount.is_finite():
            self.flag(name, "not_a_number")
        elif not 0 <= amount < _MAX_MONEY:
            self.flag(name, "out_of_range")
        elif amount.adjusted() < _SMALLEST_MONEY_EXPONENT:
            self.event[name] = "0"
        else:
            self.event[name] = format(amount, "f")[:MAX_TEXT_CHARACTERS]

    def choice(self, name: str, allowed: tuple[str, ...], otherwise: str) -> None:
        value = self._raw.get(name)
        if value is None:
            return
        if value not in allowed:
            self.flag(name, "unknown")
            value = otherwise
        self.event[name] = str(value)

    def truth(self, name: str) -> None:
        value = self._raw.get(name)
        if value is not None:
            self.event[name] = bool(value)

    def finish(self) -> Event:
        """Add the metadata with the findings and return the event."""
        metadata = self._raw.get("metadata")
        kept: dict[str, JsonValue] = {}
        if isinstance(metadata, Mapping):
            earlier = metadata.get(FLAGS_KEY)
            if isinstance(earlier, list):
                self._flags = [*(flag for flag in earlier if isinstance(flag, str)), *self._flags]
            kept = self._shorten({key: value for key, value in metadata.items() if key != FLAGS_KEY})
        elif metadata is not None:
            self.flag("metadata", "not_an_object")
        if self._flags:
            flags: list[JsonValue] = [flag[:80].replace("\0", "") for flag in dict.fromkeys(self._flags)]
            kept[FLAGS_KEY] = flags[:_MAX_FLAGS]
        if kept:
            self.event["metadata"] = kept
        return self.event

    def _shorten(self, metadata: Raw) -> dict[str, JsonValue]:
        kept: dict[str, JsonValue] = {}
        size_bytes = 0
        for key, value in metadata.items():
            item = clean_json({key: value})
            assert isinstance(item, dict)
            size_bytes += len(to_json(item))
            if size_bytes > MAX_METADATA_BYTES:
                self.flag("metadata", "shortened")
                break
            kept.update(item)
        return kept
