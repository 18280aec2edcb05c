"""Ranges of cost, latency and tokens that single calls can be restricted to. Pure; amounts stay as typed, exact."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMITS: Final = {
    "min_cost": "Cost from (US$)",
    "max_cost": "Cost up to (US$)",
    "min_latency_ms": "Latency from (ms)",
    "max_latency_ms": "Latency up to (ms)",
    "min_tokens": "Tokens from",
    "max_tokens": "Tokens up to",
}
"""The limits by their name in the address and in the database, with the labels of their fields."""

_FIGURES: Final = {"cost": "cost", "latency_ms": "latency", "tokens": "tokens"}
# A comma is between thousands: in 0,5 it may stand for a point, and dropping it would make 5 of a half.
_GROUPED: Final = re.compile(r"[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]+)?")
_ZEROS: Final = re.compile(r"^0+(?=[0-9])")
_AMOUNT: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")


def tidy_limit(name: str, typed: str) -> str | None:
    """Return the amount of a limit as the address holds it; None for what is no amount of it."""
    amount = typed.strip().removeprefix("$").strip()
    if _GROUPED.fullmatch(amount):
        amount = amount.replace(",", "")
    amount = _ZEROS.sub("", amount)
    is_amount = name in LIMITS and _AMOUNT.fullmatch(amount) and (not name.endswith("_tokens") or "." not in amount)
    return amount if is_amount else None


def upside_down(limits: Mapping[str, str]) -> str:
    """Return in words the first range whose lower limit is above its upper one; empty where all are in order."""
    for figure, word in _FIGURES.items():
        low, high = limits.get(f"min_{figure}"), limits.get(f"max_{figure}")
        if low is not None and high is not None and Decimal(low) > Decimal(high):
            return f"{word} from {amount_in_words(figure, low)} to {amount_in_words(figure, high)}"
    return ""


def limit_in_words(name: str, amount: str) -> str:
    """Write a limit for a chip: `cost ≥ $0.5`."""
    figure = name[4:]
    return f"{_FIGURES[figure]} {'≥' if name.startswith('min_') else '≤'} {amount_in_words(figure, amount)}"


def amount_in_words(figure: str, amount: str) -> str:
    """Write an amount of a figure with its unit."""
    return f"${amount}" if figure == "cost" else f"{amount} ms" if figure == "latency_ms" else amount
