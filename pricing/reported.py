"""What providers report, made plain: objects and mappings of any library as dictionaries, values as counts and money.

Nothing here raises for what a provider sent; what cannot be right is left out or cut, and a flag says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, cast

MAX_TOKENS = 10**12
_MAX_DIGITS = 20
_MAX_AMOUNT_CHARACTERS = 50
_SMALLEST_EXPONENT = -30  # below that it is nobody's money
_UNITS_EXPONENT = -15
_UNITS_STEP = Decimal(1).scaleb(_UNITS_EXPONENT)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def view(value: Any) -> Mapping[str, Any]:
    """See an object of a client library as a mapping, without a copy; extra fields are not in it."""
    kind: Any = type(value)
    if kind is dict or _is_mapping(kind):
        return cast("Mapping[str, Any]", value)
    found = getattr(value, "__dict__", None)
    if isinstance(found, dict):
        return found
    return value if isinstance(value, Mapping) else {}  # a proxy of a mapping says so by itself


def extras(value: Any) -> Mapping[str, Any]:
    """The fields that a client library has no name for."""
    kind: Any = type(value)
    if kind is dict or _is_mapping(kind):
        return cast("Mapping[str, Any]", value)
    found = getattr(value, "__pydantic_extra__", None)
    return found if isinstance(found, dict) else {}


def plain(value: Any) -> dict[str, Any]:
    """Make a dictionary of an object, its unnamed fields included."""
    return {name: item for name, item in _whole(value).items() if isinstance(name, str)}


def _whole(value: Any) -> Mapping[Any, Any]:
    found, unnamed = view(value), extras(value)
    return {**found, **unnamed} if unnamed and unnamed is not found else found


@lru_cache(maxsize=1024)
def _is_mapping(kind: type) -> bool:
    return issubclass(kind, Mapping)


class Report:
    """A provider's object, read by names in snake case, whatever case it came in.

    Args:
        value: The object.
        flags: Where findings go, `field:what` each.
    """

    __slots__ = ("_fields", "_flags")

    def __init__(self, value: Any, flags: list[str]) -> None:
        found = value if type(value) is dict else _whole(value)
        self._fields = {
            name if name.islower() else snake(name): item
            for name, item in found.items()
            if item is not None and isinstance(name, str)
        }
        self._flags = flags

    def __bool__(self) -> bool:
        return bool(self._fields)

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def get(self, name: str) -> Any:
        """Return a field as it came, None where there is none."""
        return self._fields.get(name)

    def under(self, *names: str) -> Report:
        """Return the first of these fields that is there, as an object; an empty one where none is."""
        fields = self._fields
        for name in names:
            if name in fields:
                return Report(fields[name], self._flags)
        return _NOTHING

    def items(self, name: str) -> list[Report]:
        """Return the objects of a list."""
        value = self._fields.get(name)
        return [Report(item, self._flags) for item in value] if isinstance(value, list | tuple) else []

    def counts(self, name: str) -> dict[str, int]:
        """Return the counts of an object, by name."""
        inner = self.under(name)
        found = {key: inner.count(key) for key in inner._fields}
        return {key: count for key, count in found.items() if count is not None}

    def count(self, *names: str) -> int | None:
        """Return the first of these fields that holds a count; 0 where it cannot be one."""
        fields = self._fields
        for name in names:
            if name in fields:
                count = to_count(fields[name], name, self._flags)
                if count is not None:
                    return count
        return None

    def largest(self, *names: str) -> int | None:
        """Return the largest of the counts under these names: a proxy may put a zero beside the true figure."""
        largest: int | None = None
        fields = self._fields
        for name in names:
            if name in fields:
                count = to_count(fields[name], name, self._flags)
                if count is not None and (largest is None or count > largest):
                    largest = count
        return largest


_NOTHING = Report({}, [])


@lru_cache(maxsize=1024)
def snake(name: str) -> str:
    """Write a name of a field in snake case: inputTokens as input_tokens."""
    return name if name.islower() else _HUMP.sub("_", name).lower()


def to_count(value: object, name: str, flags: list[str]) -> int | None:
    """Make a count from 0 to a trillion; None of what is no number."""
    if type(value) is int:
        if 0 <= value <= MAX_TOKENS:
            return value
        count = value
    elif isinstance(value, bool):
        return None
    elif isinstance(value, int):
        count = int(value)
    elif isinstance(value, float | Decimal):
        if not (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):
            flags.append(f"{name}:not_a_number")
            return None
        count = int(min(max(value, -1), MAX_TOKENS + 1))  # a decimal may stand for a number of a million digits
        if 0 <= count <= MAX_TOKENS and value != count:
            flags.append(f"{name}:fraction")
    elif isinstance(value, str) and len(value) <= _MAX_DIGITS and value.strip().removeprefix("-").isdecimal():
        count = int(value)
    else:
        if isinstance(value, str):
            flags.append(f"{name}:not_a_number")
        return None
    if not 0 <= count <= MAX_TOKENS:
        flags.append(f"{name}:out_of_range")
    return min(max(count, 0), MAX_TOKENS)


def to_amount(value: object, name: str, flags: list[str]) -> Decimal | None:
    """Make a finite decimal of 0 or more of what is a number or the text of one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        # The shortest text of a float is what its owner meant and what JSON carries.
        text = str(value).strip()
        amount = Decimal(text) if len(text) <= _MAX_AMOUNT_CHARACTERS else Decimal("NaN")
    except (InvalidOperation, ValueError):
        amount = Decimal("NaN")
    if not amount.is_finite():
        flags.append(f"{name}:not_a_number")
        return None
    if not 0 <= amount <= MAX_TOKENS:
        flags.append(f"{name}:out_of_range")
        return None
    return amount if not amount or amount.adjusted() >= _SMALLEST_EXPONENT else Decimal(0)


def to_units(amount: Decimal) -> int | Decimal:
    """Write a count of units as an integer where it is one, else with at most 15 decimals."""
    if amount == amount.to_integral_value():
        return int(amount)
    return amount if int(amount.as_tuple().exponent) >= _UNITS_EXPONENT else amount.quantize(_UNITS_STEP)
