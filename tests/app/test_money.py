"""How figures read."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ingest.documents import words as money


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "—"),
        ("0", "$0.00"),
        ("96.791325", "$96.79"),
        ("1234567.891", "$1,234,567.89"),
        ("1", "$1.00"),
        ("0.5", "$0.50"),
        ("0.000875", "$0.000875"),
        ("0.00000015", "$0.00000015"),
        ("0.123456", "$0.1235"),
        ("-3.5", "\N{MINUS SIGN}$3.50"),
        ("-0.000875", "\N{MINUS SIGN}$0.000875"),
    ],
)
def test_a_sum_has_enough_digits_and_unknown_is_a_dash(amount: str | None, text: str) -> None:
    assert money.format_usd(None if amount is None else Decimal(amount)) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "—"),
        ("96.791325000", "$96.791325"),
        ("1000", "$1,000.00"),
        ("0.00000015", "$0.00000015"),
        ("-2", "\N{MINUS SIGN}$2.00"),
    ],
)
def test_an_exact_sum_keeps_its_last_digit(amount: str | None, text: str) -> None:
    assert money.format_exact_usd(None if amount is None else Decimal(amount)) == text


@pytest.mark.parametrize(
    ("amounts", "decimals"),
    [
        ([], 2),
        ([None], 2),
        (["12.5", "100"], 2),
        (["90.98", "0.0284"], 2),
        (["-0.25", "0.004"], 3),
        (["0.00000015"], 9),
    ],
)
def test_a_column_has_the_decimals_that_its_largest_sum_needs(amounts: list[str | None], decimals: int) -> None:
    assert money.column_decimals([None if amount is None else Decimal(amount) for amount in amounts]) == decimals


def test_a_zero_needs_no_more_than_cents() -> None:
    assert money.decimals_for(Decimal(0)) == 2


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "—"),
        (0, "0"),
        (19_366, "19,366"),
        (26_450_535, "26,450,535"),
        (123_456_789, "123.5 M"),
        (2_640_000_000, "2.64 B"),
    ],
)
def test_a_count_is_full_until_it_no_longer_fits(count: int | None, text: str) -> None:
    assert money.format_count(count) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (None, 5, "—"),
        (1, 0, "—"),
        (1, None, "—"),
        (0, 5, "0%"),
        (1, 8, "12.5%"),
        (1, 200, "0.50%"),
        (1, 1_000_000, "<0.01%"),
    ],
)
def test_a_share_without_a_whole_is_a_dash(part: int | None, whole: int | None, text: str) -> None:
    assert money.format_share(part, whole) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(None, "—"), (0.42, "0.4 ms"), (1840.4, "1,840 ms"), (14_950.0, "14.9 s"), (240_000.0, "4.0 min")],
)
def test_a_duration_has_the_unit_that_suits_it(milliseconds: float | None, text: str) -> None:
    assert money.format_duration(milliseconds) == text


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [
        (None, 1, None),
        (1, None, None),
        (1, 0, None),
        (11, 10, "+10.0%"),
        (9, 10, "\N{MINUS SIGN}10.0%"),
        (100, 1, "+>999%"),
        (10_000, 10_001, "0.0%"),
    ],
)
def test_a_change_needs_something_to_compare_with(now: int | None, before: int | None, text: str | None) -> None:
    assert money.format_change(now, before) == text
