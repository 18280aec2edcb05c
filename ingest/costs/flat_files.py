"""A statement as files for programs: CSV and Parquet, money to the last digit."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from ingest.costs.columns import columns_of
from ingest.documents.cells import count_digits, exact_text, safe_text
from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.costs.statement import CostStatement

__all__ = ["write_csv", "write_parquet"]

# A call's cost has at most 12 decimals or so; a sum with more widens the column rather than being rounded.
_DECIMALS: Final = 18
_PRECISION: Final = 38
_WIDEST: Final = 76


def write_csv(statement: CostStatement) -> bytes:
    """Write the lines as CSV in UTF-8: a header, an empty cell for unknown, no total, so that a sum is the total."""
    columns = columns_of(statement)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([column.name for column in columns])
    for line in statement.lines:
        writer.writerow([_cell(column.value(line)) for column in columns])
    return text.getvalue().encode()


def write_parquet(statement: CostStatement) -> bytes:
    """Write the lines as Parquet: money as decimal128(38, 18), null for unknown; the schema's metadata says of what.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigurationError("Parquet needs pyarrow: pip install 'treering[statements]'") from error
    columns = columns_of(statement)
    values: dict[str, list[Any]] = {column.name: [column.value(line) for line in statement.lines] for column in columns}
    types = {"text": pa.string(), "count": pa.int64()}
    schema = pa.schema(
        [
            pa.field(
                column.name,
                _decimal_type(values[column.name]) if column.kind == "money" else types[column.kind],
            )
            for column in columns
        ],
        metadata={
            "treering.statement": statement.period,
            "treering.timezone": statement.timezone,
            "treering.generated_at": statement.generated_at.isoformat(),
        },
    )
    file = io.BytesIO()
    parquet.write_table(pa.table(values, schema=schema), file)
    return file.getvalue()


def _decimal_type(amounts: Sequence[Decimal | None]) -> Any:
    import pyarrow as pa

    digits = [count_digits(amount) for amount in amounts if amount is not None]
    decimals = max([_DECIMALS, *(behind for _, behind in digits)])
    whole = max([1, *(before for before, _ in digits)])
    if whole + decimals <= _PRECISION:
        return pa.decimal128(_PRECISION, decimals)
    return pa.decimal256(_WIDEST, decimals)


def _cell(value: str | int | Decimal | None) -> str:
    match value:
        case None:
            return ""
        case str():
            return safe_text(value)
        case Decimal():
            return exact_text(value)
        case _:
            return str(value)
