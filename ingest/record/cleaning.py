"""Cleans one value of an event at a time: what the database accepts, and a flag if that differs from what was passed.

Each function takes the value, the field's name and the list of findings (`field:what`) and returns None where nothing
is left of the value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic_core import to_json

if TYPE_CHECKING:
    from pydantic import JsonValue

MAX_TEXT_CHARACTERS = 200
MAX_METHOD_CHARACTERS = 20
MAX_METADATA_BYTES = 4096  # half of what the database takes: jsonb's own text is longer by a space after each comma
MAX_METADATA_DEPTH = 8
MAX_TOKENS = 10**12
MAX_ATTEMPT = 1000
MAX_TAGS = 3
_MAX_MONEY = 10**9
_SMALLEST_MONEY_EXPONENT = -30  # smaller values are not money, only long text
_MAX_DURATION_MS = 1e9
_MAX_WEIGHT = 1e6
_BLOCKS = re.compile(r"(?:[0-9a-f]{8}){1,64}")
_TAG_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MAX_DIGITS = 20
# Beyond these jsonb would write a number out with up to 300 digits.
_SMALLEST_PLAIN, _LARGEST_PLAIN = 1e-6, 1e15


def clean_text(value: object, name: str, flags: list[str]) -> str | None:
    """Make a text of at most 200 characters without NUL; a number or a UUID, as databases return ids, becomes one."""
    if type(value) is str and value and len(value) <= MAX_TEXT_CHARACTERS and "\0" not in value:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str | UUID):
        flags.append(f"{name}:not_text")
        return None
    text = str(value).replace("\0", "")
    if len(text) > MAX_TEXT_CHARACTERS:
        flags.append(f"{name}:shortened")
    return text[:MAX_TEXT_CHARACTERS] or None


def clean_method(value: object, name: str, flags: list[str]) -> str | None:
    """Make a text of at most 20 characters."""
    text = clean_text(value, name, flags)
    if text is not None and len(text) > MAX_METHOD_CHARACTERS:
        flags.append(f"{name}:shortened")
        return text[:MAX_METHOD_CHARACTERS]
    return text


def clean_tokens(value: object, name: str, flags: list[str]) -> int | None:
    """Make a count from 0 to a trillion."""
    if type(value) is int and 0 <= value <= MAX_TOKENS:
        return value
    return _whole(value, name, flags, 0, MAX_TOKENS)


def clean_attempt(value: object, name: str, flags: list[str]) -> int | None:
    """Make a number from 1 to 1,000."""
    if type(value) is int and 1 <= value <= MAX_ATTEMPT:
        return value
    return _whole(value, name, flags, 1, MAX_ATTEMPT)


def clean_blocks(value: object, name: str, flags: list[str]) -> str | None:
    """Make a size and at most 63 hashes, four bytes each, in Postgres' own hexadecimal form."""
    digits = value.removeprefix("\\x") if isinstance(value, str) else ""
    if _BLOCKS.fullmatch(digits) is None:
        flags.append(f"{name}:not_blocks")
        return None
    return f"\\x{digits}"


def clean_status_code(value: object, name: str, flags: list[str]) -> int | None:
    """Make a number of three digits."""
    return _whole(value, name, flags, 100, 999)


def clean_duration(value: object, name: str, flags: list[str]) -> float | None:
    """Make a number of milliseconds from 0 to 11 days."""
    return _number(value, name, flags, 0.0, math.nextafter(_MAX_DURATION_MS, 0.0))


def clean_weight(value: object, name: str, flags: list[str]) -> float | None:
    """Make a number from 1 to a million."""
    return _number(value, name, flags, 1.0, _MAX_WEIGHT)


def clean_cost(value: object, name: str, flags: list[str]) -> str | None:
    """Make a decimal as text, in full, of less than a billion; below zero it is a refund or credit, and flagged."""
    amount = _money(value, name, flags, is_signed=True)
    if amount is not None and amount.startswith("-"):
        flags.append("cost:adjustment")
    return amount


def clean_money(value: object, name: str, flags: list[str]) -> str | None:
    """Make a decimal as text, in full, from 0 to a billion."""
    return _money(value, name, flags, is_signed=False)


def _money(value: object, name: str, flags: list[str], *, is_signed: bool) -> str | None:
    try:
        is_number = isinstance(value, int | float | str) and not isinstance(value, bool)
        amount = Decimal(str(value)) if is_number else Decimal("NaN")
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        flags.append(f"{name}:not_a_number")
        return None
    if abs(amount) >= _MAX_MONEY or (amount < 0 and not is_signed):
        flags.append(f"{name}:out_of_range")
        return None
    if not amount or amount.adjusted() < _SMALLEST_MONEY_EXPONENT:
        return "0"
    return format(amount, "f")[:MAX_TEXT_CHARACTERS]


def clean_truth(value: object, name: str, flags: list[str]) -> bool:
    """Return True or False for what counts as such in Python."""
    if not isinstance(value, bool | int):
        flags.append(f"{name}:not_true_or_false")
    return bool(value)


def clean_status(value: object, name: str, flags: list[str]) -> str | None:
    """Keep ok, error or cancelled."""
    return _choice(value, name, flags, ("ok", "error", "cancelled"))


def clean_usage_source(value: object, name: str, flags: list[str]) -> str | None:
    """Keep reported, tokenizer or heuristic; anything else is dropped."""
    return _choice(value, name, flags, ("reported", "tokenizer", "heuristic")) or "heuristic"


def clean_usage_details(value: object, _name: str, flags: list[str]) -> dict[str, JsonValue] | None:
    """Keep the counts, units and evidence that `pricing.calls` knows."""
    from pricing.calls import clean_details  # few calls have details, and `import ingest` must be quick

    return clean_details(value, flags) or None


def clean_metadata(value: object, name: str, flags: list[str]) -> dict[str, JsonValue] | None:
    """Keep an object of at most 4 KiB: where it is larger, without its largest entries."""
    if not isinstance(value, Mapping):
        flags.append(f"{name}:not_an_object")
        return None
    kept = {str(key).replace("\0", ""): clean_json(item) for key, item in value.items()}
    sizes = {key: len(to_json({key: item})) for key, item in kept.items()}
    size_bytes = sum(sizes.values())
    if size_bytes > MAX_METADATA_BYTES:
        flags.append(f"{name}:shortened")
        # The largest go first: small entries are what people filter by.
        for key in sorted(sizes, key=lambda key: -sizes[key]):
            if size_bytes <= MAX_METADATA_BYTES:
                break
            size_bytes -= sizes[key]
            del kept[key]
    return kept


def clean_tags(value: object, name: str, flags: list[str]) -> dict[str, JsonValue] | None:
    """Keep at most three texts by name; a number or a truth becomes a text."""
    if not isinstance(value, Mapping):
        flags.append(f"{name}:not_an_object")
        return None
    kept: dict[str, JsonValue] = {}
    for key, item in value.items():
        own_name = f"{name}.{key}"
        text = None
        if len(kept) == MAX_TAGS:
            flags.append(f"{own_name}:too_many")
        elif _TAG_NAME.fullmatch(str(key)) is None:
            flags.append(f"{own_name}:not_a_name")
        elif item is not None:
            text = clean_text(str(item).lower() if isinstance(item, bool) else item, own_name, flags)
        if text is not None:
            kept[str(key)] = text
    return kept or None


def clean_json(value: object, depth: int = 1) -> JsonValue:
    """Return a value that jsonb accepts: no NUL, no NaN, limited depth, no number of 300 digits."""
    match value:
        case None | bool():
            return value
        case str():
            return value.replace("\0", "")
        case int():
            return value if abs(value) < _LARGEST_PLAIN else str(value)[:MAX_TEXT_CHARACTERS]
        case float():
            if not math.isfinite(value):
                return None
            return value if value == 0 or _SMALLEST_PLAIN <= abs(value) < _LARGEST_PLAIN else repr(value)
        case Mapping() | list() if depth >= MAX_METADATA_DEPTH:
            return "<nested>"
        case Mapping():
            return {str(key).replace("\0", ""): clean_json(item, depth + 1) for key, item in value.items()}
        case list():
            return [clean_json(item, depth + 1) for item in value]
        case _:
            return f"<{type(value).__name__}>"


def _choice(value: object, name: str, flags: list[str], allowed: tuple[str, ...]) -> str | None:
    if isinstance(value, str) and value in allowed:
        return value
    flags.append(f"{name}:unknown")
    return None


def _whole(value: object, name: str, flags: list[str], lowest: int, highest: int) -> int | None:
    if isinstance(value, str) and len(value) <= _MAX_DIGITS:
        digits = value.strip()  # int() itself takes fewer characters for space than strip() does
        value = int(digits) if digits.removeprefix("-").isdecimal() else value
    elif isinstance(value, float) and math.isfinite(value):
        if not value.is_integer():
            flags.append(f"{name}:fraction")
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        flags.append(f"{name}:not_a_number")
        return None
    if not lowest <= value <= highest:
        flags.append(f"{name}:out_of_range")
    return min(max(value, lowest), highest)


def _number(value: object, name: str, flags: list[str], lowest: float, highest: float) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or (value != value):
        flags.append(f"{name}:not_a_number")
        return None
    if not lowest <= value <= highest:
        flags.append(f"{name}:out_of_range")
        return None
    return value
