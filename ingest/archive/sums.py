"""Exact sums of every column: the database and the Parquet files must agree on all of them.

All figures are whole numbers or decimals, so no order of addition changes them. A text counts by its length in bytes, a
duration in whole microseconds, a time in whole milliseconds since 1970, a truth value as 0 or 1.
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact
from typing import TYPE_CHECKING, cast

import pyarrow as pa
import pyarrow.compute as pc

from ingest.archive.schema import EXACT_SUFFIX, MONEY
from ingest.documents.pipeline import ColumnSum

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


# Wider than any sum can become; a sum that would be rounded all the same is an error and not a wrong figure.
EXACT = Context(prec=20_000, traps=[Inexact])

_UUID_TEXT_LENGTH = 36
# Above this, a row group's sum might leave the 38 digits of Arrow's decimals.
_SAFE_MONEY = Decimal(10**8)


def sum_table(table: pa.Table) -> dict[str, ColumnSum]:
    """Sum each column; the `_exact` ones count with the column that they belong to."""
    return {
        name: _sum_column(table, name)
        for name in table.column_names
        if not (name.endswith(EXACT_SUFFIX) and name.removesuffix(EXACT_SUFFIX) in table.column_names)
    }


def add_sums(several: Iterable[Mapping[str, ColumnSum]]) -> dict[str, ColumnSum]:
    """Add the sums of disjoint sets of rows."""
    total: dict[str, ColumnSum] = {}
    for sums in several:
        for name, one in sums.items():
            before = total.get(name, ColumnSum(count=0, sum="0"))
            total[name] = ColumnSum(
                count=before.count + one.count, sum=_text(EXACT.add(Decimal(before.sum), Decimal(one.sum)))
            )
    return total


def find_differences(expected: Mapping[str, ColumnSum], found: Mapping[str, ColumnSum]) -> list[str]:
    """Name the columns whose sums differ, missing ones included."""
    return [
        name
        for name in sorted(expected.keys() | found.keys())
        if name not in expected
        or name not in found
        or expected[name].count != found[name].count
        or Decimal(expected[name].sum) != Decimal(found[name].sum)
    ]


def _sum_column(table: pa.Table, name: str) -> ColumnSum:
    column = table.column(name)
    count = len(column) - column.null_count
    if column.type == MONEY:
        return ColumnSum(count=count, sum=_text(_sum_money(column, table.column(name + EXACT_SUFFIX))))
    return ColumnSum(count=count, sum=str(_sum_whole(column, count)))


def _sum_whole(column: pa.ChunkedArray, count: int) -> int:
    kind = column.type
    if pa.types.is_fixed_size_binary(kind):
        return count * _UUID_TEXT_LENGTH
    if pa.types.is_string(kind):
        return _scalar(pc.sum(pc.binary_length(column)))
    if pa.types.is_floating(kind):
        return _scalar(pc.sum(pc.cast(pc.floor(pc.multiply(column, 1000.0)), pa.int64())))
    if pa.types.is_timestamp(kind):
        # Times are after 2015, so that cutting off is rounding down.
        return _scalar(pc.sum(pc.divide(pc.cast(column, pa.int64()), 1000)))
    return _scalar(pc.sum(column))


def _sum_money(column: pa.ChunkedArray, exact: pa.ChunkedArray) -> Decimal:
    kept = column.filter(pc.is_null(exact)) if exact.null_count < len(exact) else column
    total = Decimal(0)
    if len(kept) > kept.null_count:
        if pc.max(kept).as_py() < _SAFE_MONEY:
            total = cast("Decimal", pc.sum(kept).as_py())
        else:
            for value in kept.drop_null():
                total = EXACT.add(total, value.as_py())
    for text in exact.drop_null():
        total = EXACT.add(total, Decimal(text.as_py()))
    return total


def _scalar(value: pa.Scalar) -> int:
    return int(value.as_py() or 0)


def _text(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
