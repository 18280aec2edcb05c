"""Text and money in cells of spreadsheets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["count_digits", "exact_text", "safe_text"]

# A spreadsheet takes a cell that begins like this for a formula, and user ids and names come from outside. The
# full-width signs are read as the others by programs set to Chinese or Japanese.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NEGATIVE: Final = re.compile(r"-[0-9]+(\.[0-9]+)?")  # a refund is a number


def safe_text(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: with an apostrophe before what would begin one."""
    is_formula = text.startswith(_FORMULA_STARTS) and not _NEGATIVE.fullmatch(text)
    return f"'{text}" if is_formula else text


def exact_text(amount: Decimal) -> str:
    """Write an amount to its last digit, without an exponent and without zeros that say nothing."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def count_digits(amount: Decimal) -> tuple[int, int]:
    """Count the digits that an amount needs before its point and behind it, at least one before."""
    # Not by abs() or normalize(), which round to the 28 digits of the context.
    whole, _, fraction = exact_text(amount).lstrip("-").partition(".")
    return len(whole), len(fraction)
