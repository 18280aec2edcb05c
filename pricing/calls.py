"""How a recorded call carries its usage: counts of their own for what most calls have, `usage_details` for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pricing.reported import to_amount, to_count, to_units
from pricing.usage import MAX_COUNT, MAX_UNITS, NO_UNITS, TokenUsage, is_unit

if TYPE_CHECKING:
    from decimal import Decimal

    from pricing.extract import Extracted

COUNTS: Final = (
    *("prompt_tokens", "completion_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"),
    *("audio_input_tokens", "audio_output_tokens"),
)
"""Counts that are fields of a call."""

DETAIL_COUNTS: Final = (
    *("cache_write_1h_tokens", "cached_audio_tokens", "image_input_tokens", "cached_image_tokens"),
    "image_output_tokens",
)
"""Counts in `usage_details`."""

DETAILS: Final = "usage_details"


def usage_of(call: Mapping[str, Any]) -> TokenUsage:
    """Return what a recorded call used; counts that contradict each other are cut as `TokenUsage.clamped` does."""
    counts: dict[str, int | None] = {name: value for name in COUNTS if type(value := call.get(name)) is int}
    details = call.get(DETAILS)
    if not isinstance(details, Mapping):
        return TokenUsage.clamped(counts)[0]
    counts |= {name: value for name in DETAIL_COUNTS if type(value := details.get(name)) is int}
    units = details.get("units")
    return TokenUsage.clamped(counts, clean_units(units, []) if isinstance(units, Mapping) else NO_UNITS)[0]


def clean_details(value: Any, flags: list[str]) -> dict[str, Any]:
    """Make the details of a call of whatever was given; {} where nothing is left.

    Args:
        value: Counts by the names of `DETAIL_COUNTS`, `units` by kind, and `reported_cost` as a number or text.
        flags: Where findings go, `field:what` each.

    Returns:
        The same with counts as integers, units as integers or exact decimals in text, the cost as text.
    """
    if not isinstance(value, Mapping):
        flags.append(f"{DETAILS}:not_an_object")
        return {}
    cleaned: dict[str, Any] = {}
    for name in DETAIL_COUNTS:
        count = None if value.get(name) is None else to_count(value[name], name, flags)
        if count or (count is not None and name == "image_output_tokens"):
            cleaned[name] = count
    units = value.get("units")
    if units is not None:
        kept = clean_units(units, flags)
        if kept:
            cleaned["units"] = {kind: _as_json(count) for kind, count in kept.items()}
    cost = to_amount(value.get("reported_cost"), "reported_cost", flags)
    if cost is not None:
        cleaned["reported_cost"] = format(cost, "f")[:40]
    return cleaned


def clean_units(units: Any, flags: list[str]) -> dict[str, int | Decimal]:
    """Keep the units that have a proper name and a count above 0, at most `MAX_UNITS` of them."""
    if not isinstance(units, Mapping):
        flags.append("units:not_an_object")
        return {}
    kept: dict[str, int | Decimal] = {}
    for kind, value in units.items():
        if not is_unit(kind):
            flags.append("units:unknown_name")
            continue
        count = to_amount(value, f"units.{kind}", flags)
        if count is None or not 0 < count <= MAX_COUNT:
            continue
        if len(kept) == MAX_UNITS:
            flags.append("units:shortened")
            break
        kept[kind] = to_units(count)
    return kept


def fields_of(extracted: Extracted) -> dict[str, Any]:
    """Return arguments of `record_usage` for what a provider reported: counts above 0, units, costs and findings."""
    usage = extracted.usage
    fields: dict[str, Any] = {"flags": list(extracted.flags)}
    if extracted.is_counted:
        fields |= {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
        for name in (*COUNTS, *DETAIL_COUNTS):
            count = getattr(usage, name)
            if count or (count is not None and name == "image_output_tokens"):
                fields[name] = count
    if usage.units:
        fields["units"] = dict(usage.units)
    for name in ("total_tokens", "provider_cost", "reported_cost", "service_tier"):
        value = getattr(extracted, name)
        if value is not None:
            fields[name] = value
    return fields


def _as_json(count: int | Decimal) -> int | str:
    return count if isinstance(count, int) else format(count, "f")
