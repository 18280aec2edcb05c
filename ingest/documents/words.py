"""Figures as people read them: US dollars with enough digits, counts, shares, durations. Unknown is a dash, never 0."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DASH = "—"
UNCHANGED = "0.0%"

# Below one dollar a sum keeps this many significant digits: one gpt-4o-mini token costs 0.00000015 $.
SIGNIFICANT_DIGITS = 4
# From here on a count is shortened, because it no longer fits a card on a phone.
LONGEST_FULL_COUNT = 99_999_999


def format_usd(amount: Decimal | None) -> str:
    """Write a sum in US dollars: cents from one dollar on, four significant digits below, a dash for unknown."""
    if amount is None:
        return DASH
    if amount == 0:
        return "$0.00"
    sign = "-" if amount < 0 else ""
    size = abs(amount)
    if size >= 1:
        return f"{sign}${size:,.2f}"
    text = f"{size:.{decimals_for(size)}f}".rstrip("0")
    whole, _, fraction = text.partition(".")
    return f"{sign}${whole}.{fraction.ljust(2, '0')}"


def format_estimate(amount: float) -> str:
    """Write a sum in US dollars that was estimated in binary arithmetic: as `format_usd`, without its noise."""
    return format_usd(Decimal(f"{amount:.6g}") if abs(amount) < 1 else Decimal(f"{amount:.2f}"))


def format_exact_usd(amount: Decimal | None) -> str:
    """Write a sum in US dollars to its last digit."""
    if amount is None:
        return DASH
    text = f"{amount:,f}"
    whole, _, fraction = text.partition(".")
    return f"${whole}.{fraction.rstrip('0').ljust(2, '0')}".replace("$-", "-$")


def decimals_for(amount: Decimal) -> int:
    """Count the decimals that show an amount with `SIGNIFICANT_DIGITS` digits: at least 2, at most 12."""
    if amount == 0 or abs(amount) >= 1:
        return 2
    return min(max(SIGNIFICANT_DIGITS - 1 - amount.adjusted(), 2), 12)


def column_decimals(amounts: Sequence[Decimal | None]) -> int:
    """Count the decimals for a column of sums, so that its digits line up and its smallest sum is not shown as 0."""
    known = [abs(amount) for amount in amounts if amount]
    if not known:
        return 2
    return min(2 if min(known) >= Decimal("0.1") else decimals_for(min(known)) - 1, 8)


def format_usd_column(amounts: Sequence[Decimal | None]) -> list[str]:
    """Write sums that stand below each other, so that their digits line up: all with the same decimals.

    Beside sums of a dollar or more, one that four decimals cannot show is written as less than that.
    """
    known = [abs(amount) for amount in amounts if amount]
    most = 4 if known and max(known) >= 1 else 12
    decimals = min(column_decimals([*known]), most)
    least = Decimal(1).scaleb(-decimals)

    def write(amount: Decimal | None) -> str:
        if amount is None:
            return DASH
        if 0 < abs(amount) < least / 2:
            return f"{'-' if amount < 0 else ''}<${least:f}"
        return f"{'-' if amount < 0 else ''}${abs(amount):,.{decimals}f}"

    return [write(amount) for amount in amounts]


def format_count(count: int | None) -> str:
    """Write a count in full with thousands separators, shortened from 100 million on."""
    if count is None:
        return DASH
    if abs(count) <= LONGEST_FULL_COUNT:
        return f"{count:,}"
    if abs(count) < 1_000_000_000:
        return f"{count / 1_000_000:,.1f} M"
    return f"{count / 1_000_000_000:,.2f} B"


def format_number(number: Decimal | None) -> str:
    """Write a number in full with thousands separators and at most two decimals."""
    if number is None:
        return DASH
    return f"{round(number, 2).normalize() + 0:,f}"


def format_share(part: Decimal | float | None, whole: Decimal | float | None) -> str:
    """Write part of whole in percent: more digits for small shares, a dash where there is no whole."""
    if part is None or not whole:
        return DASH
    share = float(part) / float(whole) * 100
    if share == 0:
        return "0%"
    if abs(share) < 0.01:
        return "<0.01%"
    return f"{share:.2f}%" if abs(share) < 1 else f"{share:,.1f}%"


def format_duration(milliseconds: float | None) -> str:
    """Write a duration in milliseconds below ten seconds, else in seconds, minutes or hours."""
    if milliseconds is None:
        return DASH
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 10_000:
        return f"{milliseconds:,.0f} ms"
    if milliseconds < 120_000:
        return f"{milliseconds / 1000:.1f} s"
    if milliseconds < 7_200_000:
        return f"{milliseconds / 60_000:.1f} min"
    return f"{milliseconds / 3_600_000:,.1f} h"


def format_change(now: Decimal | float | None, before: Decimal | float | None) -> str | None:
    """Write the change against the period before in percent; None where there is nothing to compare with."""
    if now is None or not before:
        return None
    change = (float(now) - float(before)) / abs(float(before)) * 100
    if abs(change) >= 1000:
        return f"{'+' if change > 0 else '-'}>999%"
    text = f"{change:+.1f}%"
    return UNCHANGED if text in ("+0.0%", "-0.0%") else text
