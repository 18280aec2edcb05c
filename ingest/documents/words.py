"""Figures as people read them: US dollars with enough digits, counts, shares, durations. Unknown is a dash, never 0."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DASH = "—"
MINUS = "\N{MINUS SIGN}"
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
    sign = MINUS if amount < 0 else ""
    size = abs(amount)
    if size >= 1:
        return f"{sign}${size:,.2f}"
    text = f"{size:.{decimals_for(size)}f}".rstrip("0")
    whole, _, fraction = text.partition(".")
    return f"{sign}${whole}.{fraction.ljust(2, '0')}"


def format_difference(amount: Decimal | None) -> str:
    """Write a difference in US dollars as `format_usd`, with a plus sign where it is above zero."""
    return with_sign(format_usd(amount), amount)


def with_sign(text: str, amount: Decimal | None) -> str:
    """Write a plus sign before a sum above zero; not before one that is only written as less than another."""
    return f"+{text}" if amount is not None and amount > 0 and not text.startswith("<") else text


def format_estimate(amount: float) -> str:
    """Write a sum in US dollars that was estimated in binary arithmetic: as `format_usd`, without its noise."""
    return format_usd(Decimal(f"{amount:.6g}") if abs(amount) < 1 else Decimal(f"{amount:.2f}"))


def format_exact_usd(amount: Decimal | None) -> str:
    """Write a sum in US dollars to its last digit."""
    if amount is None:
        return DASH
    whole, _, fraction = f"{abs(amount):,f}".partition(".")
    return f"{MINUS if amount < 0 else ''}${whole}.{fraction.rstrip('0').ljust(2, '0')}"


def decimals_for(amount: Decimal) -> int:
    """Count the decimals that show an amount with `SIGNIFICANT_DIGITS` digits: at least 2, at most 12."""
    if amount == 0 or abs(amount) >= 1:
        return 2
    return min(max(SIGNIFICANT_DIGITS - 1 - amount.adjusted(), 2), 12)


def column_decimals(amounts: Sequence[Decimal | None]) -> int:
    """Count the decimals for sums that stand below each other: cents beside a dollar, else three digits of the largest.

    The largest sum decides, so that one tiny part does not give all others digits that nobody reads.
    """
    largest = max((abs(amount) for amount in amounts if amount), default=Decimal(0))
    return max(decimals_for(largest) - 1, 2) if largest else 2


def sum_of(amounts: Sequence[Decimal | None]) -> Decimal | None:
    """Add up the sums that are known; None where none is."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if known else None


def format_usd_column(
    amounts: Sequence[Decimal | None], whole: Decimal | None = None, *, beside: Sequence[Decimal | None] = ()
) -> list[str]:
    """Write sums that stand below each other, so that their digits line up: all with the same decimals.

    A sum that rounds to nothing is written as less than the last digit, of either sign. Given what they add up to, the
    sums are rounded so that what is shown adds up to it, too: where that takes a unit of the last digit more or less,
    it goes to the sums whose rounding errors are the largest.

    Args:
        amounts: The sums; None for unknown.
        whole: What they add up to, as shown; None where they are no parts of a shown whole.
        beside: Other sums of the column, which decide on the decimals, too.
    """
    decimals = column_decimals([*amounts, whole, *beside])
    least = Decimal(1).scaleb(-decimals)
    units = {place: amount / least for place, amount in enumerate(amounts) if amount is not None}
    shown = {place: round(unit) for place, unit in units.items()}
    if whole is not None and shown:
        missing = round(whole / least) - sum(shown.values())
        step = 1 if missing > 0 else -1
        # A sum that is written as less than a unit stays so, where another can take it.
        takers = sorted(shown, key=lambda place: (not shown[place], -step * (units[place] - shown[place])))
        for turn in range(abs(missing)):
            shown[takers[turn % len(takers)]] += step

    def write(place: int, amount: Decimal | None) -> str:
        if amount is None:
            return DASH
        if amount and not shown[place]:
            return f"<${least:f}"
        return f"{MINUS if shown[place] < 0 else ''}${abs(shown[place]) * least:,.{decimals}f}"

    return [write(place, amount) for place, amount in enumerate(amounts)]


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
    return f"{round(number, 2).normalize() + 0:,f}".replace("-", MINUS)


def format_share(part: Decimal | float | None, whole: Decimal | float | None) -> str:
    """Write part of whole in percent: more digits for small shares, a dash where there is no whole."""
    if part is None or not whole:
        return DASH
    share = float(part) / float(whole) * 100
    if share == 0:
        return "0%"
    if abs(share) < 0.01:
        return "<0.01%"
    return (f"{share:.2f}%" if abs(share) < 1 else f"{share:,.1f}%").replace("-", MINUS)


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
        return f"{'+' if change > 0 else MINUS}>999%"
    text = f"{change:+.1f}%".replace("-", MINUS)
    return UNCHANGED if text[1:] == UNCHANGED else text
