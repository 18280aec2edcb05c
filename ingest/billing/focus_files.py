"""Reads the rows of FOCUS exports: CSV, gzipped CSV, Parquet. One row is a mapping of column to value."""

from __future__ import annotations

import codecs
import csv
import hashlib
import zlib
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from ingest.documents.lines import MAX_UNPACKED_BYTES, read_lines
from ingest.errors import ConfigurationError, FileTooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from pyarrow import parquet

# FOCUS 1.2, and 1.0 and 1.1 where these columns are the same. What one of them lacks can only be guessed.
NEEDED: Final = (
    "BilledCost",
    "BillingCurrency",
    "ChargeCategory",
    "ChargeClass",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "EffectiveCost",
    "ProviderName",
    "ServiceName",
)
# The first that is there and not empty is the meter's name.
METERS: Final = ("SkuMeter", "x_SkuMeterName", "x_UsageType", "x_SkuDescription", "ChargeDescription")
USEFUL: Final = (
    *METERS,
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "SubAccountId",
    "x_SkuMeterSubcategory",
    "x_BilledCostInUsd",
    "x_EffectiveCostInUsd",
    "x_ListCostInUsd",
    "x_CurrencyConversionRate",
)

_PARQUET: Final = b"PAR1"
# A Parquet file of kilobytes can unpack to anything: what it says of itself is judged first, then what comes out.
MAX_ROWS: Final = 50_000_000
MAX_GROUP_BYTES: Final = 1024**3
MAX_TEXT_BYTES: Final = 16 * 1024
_BATCH_ROWS: Final = 1_024


class Row:
    """One row of an export.

    Args:
        place: Where it stands, for messages.
        values: Its values by column; a missing one is null.
    """

    __slots__ = ("_values", "place")

    def __init__(self, place: str, values: Mapping[str, object]) -> None:
        self.place = place
        self._values = values

    def text(self, column: str) -> str:
        """Return a text, "" for null."""
        value = self._values.get(column)
        text = "" if value is None else str(value).strip()
        return "" if text.lower() == "null" else text

    def amount(self, column: str) -> Decimal | None:
        """Return a number, None for null.

        Raises:
            ConfigurationError: It is none.
        """
        text = self.text(column)
        if not text:
            return None
        try:
            number = Decimal(text)
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite():
            raise ConfigurationError(f"{self.place}: {column} is not a number: {text!r}")
        return number

    def moment(self, column: str) -> datetime:
        """Return an aware time; one without a zone is UTC, as FOCUS demands.

        Raises:
            ConfigurationError: It is none.
        """
        value = self._values.get(column)
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(self.text(column))
        except ValueError:
            raise ConfigurationError(f"{self.place}: {column} is not a time: {self.text(column)!r}") from None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def read_rows(paths: Sequence[Path]) -> Iterator[Row]:
    """Yield the rows of the files of one export.

    Args:
        paths: Its files; a large export has several.

    Raises:
        ConfigurationError: A file cannot be read, lacks a column that is needed, or is given twice.
    """
    seen: dict[str, Path] = {}
    for path in paths:
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                start = file.read(4)
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error}") from error
        if digest in seen:
            raise ConfigurationError(f"{path} has the same rows as {seen[digest]}: they would count twice")
        seen[digest] = path
        yield from _read_parquet(path) if start == _PARQUET else _read_csv(path)


def _read_csv(path: Path) -> Iterator[Row]:
    try:
        lines = codecs.iterdecode(read_lines(path), "utf-8-sig")
        reader = csv.reader(lines, strict=True)
        columns = _check(path, next(reader, []))
        for cells in reader:
            if len(cells) != len(columns):
                raise ConfigurationError(
                    f"{path}, line {reader.line_num}: {len(cells)} values for {len(columns)} columns"
                )
            yield Row(f"{path}, line {reader.line_num}", dict(zip(columns, cells, strict=True)))
    except (OSError, EOFError, zlib.error, FileTooLargeError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigurationError(f"{path}: Parquet needs pip install 'treering[archive]'") from error
    number = 0
    try:
        metadata = parquet.read_metadata(path)
        columns = _check(path, metadata.schema.to_arrow_schema().names)
        wanted = [name for name in (*NEEDED, *USEFUL) if name in columns]
        _check_size(metadata, frozenset(wanted))
        # Texts stay in their dictionaries: a long one that each row repeats never comes into memory as often.
        with parquet.ParquetFile(path, read_dictionary=wanted) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=wanted):
                _check_texts(batch)
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}, row {number}", values)
    except (OSError, pa.ArrowException, FileTooLargeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


def _check_texts(batch: pa.RecordBatch) -> None:
    """Refuse rows with a longer text than any export has.

    Raises:
        FileTooLargeError: There is one.
    """
    import pyarrow as pa
    from pyarrow import compute

    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        texts = column.dictionary if pa.types.is_dictionary(column.type) else column
        if pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type) or pa.types.is_binary(texts.type):
            longest = compute.max(compute.binary_length(texts)).as_py() or 0
            if longest > MAX_TEXT_BYTES:
                raise FileTooLargeError(f"{name} has a text of {longest:,} bytes, longer than {MAX_TEXT_BYTES:,}")


def _check_size(metadata: parquet.FileMetaData, wanted: frozenset[str]) -> None:
    """Refuse a file that says of itself that it unpacks to more than a reader should take.

    Raises:
        FileTooLargeError: It has too many rows, or what is read of it unpacks to too much, in all or in one group.
    """
    if metadata.num_rows > MAX_ROWS:
        raise FileTooLargeError(f"it has {metadata.num_rows:,} rows, more than {MAX_ROWS:,}")
    total_bytes = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = [group.column(index) for index in range(group.num_columns)]
        size_bytes = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in wanted)
        if size_bytes > MAX_GROUP_BYTES:
            raise FileTooLargeError(f"a group of its rows unpacks to more than {MAX_GROUP_BYTES:,} bytes")
        total_bytes += size_bytes
    if total_bytes > MAX_UNPACKED_BYTES:
        raise FileTooLargeError(f"it unpacks to more than {MAX_UNPACKED_BYTES:,} bytes")


def _check(path: Path, columns: Sequence[str]) -> Sequence[str]:
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise ConfigurationError(f"{path} is not a FOCUS export: it has no column {', '.join(missing)}")
    if not any(name in columns for name in METERS):
        raise ConfigurationError(f"{path} names no SKU: it has none of the columns {', '.join(METERS)}")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise ConfigurationError(f"{path} has a column twice: {', '.join(twice)}")
    return columns
