"""Reads an exported invoice: a CSV file with a line for each day and item."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from ingest.billing.provider_lines import cost_line, quiet_day
from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    import _csv
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ingest.billing.provider_lines import Line

# What the columns are called, in small letters with _ for spaces; the first that the file has counts.
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "day": ("date", "day", "start_time_iso", "start_time"),
    "amount": ("amount", "amount_value", "amount_usd", "cost", "cost_usd"),
    "currency": ("currency", "amount_currency"),
    "line_item": ("line_item", "item", "description"),
    "model": ("model",),
    "project_id": ("project_id", "project"),
    "quantity": ("quantity",),
}

_NEEDED: Final = ("day", "amount")
_FIRST_DAY: Final = date(2015, 1, 1)
_LARGEST: Final = Decimal(10**9)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was not read.

    Attributes:
        number: Line of the file, counted from 1.
        reason: What is wrong with it.
        file: Name of the file.
    """

    number: int
    reason: str
    file: str = ""

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.file}, line {self.number}"


def read_invoice(path: Path, *, today: date) -> Iterator[Line | BadLine]:
    """Yield the lines of an invoice for `store_lines`; a line that cannot be read is reported and the others are read.

    Args:
        path: CSV with a header, separated by commas, semicolons or tabs, UTF-8; for its columns see `COLUMNS`. Amounts
            have a decimal point and no thousands separators. An empty amount without an item is a day of zero.
        today: Current UTC day; later days are refused.

    Raises:
        ConfigurationError: The file cannot be read, or has no column for the day or the amount.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            columns = _columns(header, path)
            reader = csv.reader(file, delimiter=_delimiter(header), strict=True)
            yield from _read(reader, columns, today, str(path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


def _read(reader: _csv.Reader, columns: Mapping[str, int], today: date, file: str) -> Iterator[Line | BadLine]:
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        values = {name: cells[i].strip() for name, i in columns.items() if i < len(cells)}
        try:
            yield _line(values, today)
        except ValueError as error:
            yield BadLine(reader.line_num + 1, str(error), file)


def _line(values: Mapping[str, str], today: date) -> Line:
    day = _parse_day(values.get("day", ""))
    if not _FIRST_DAY <= day <= today:
        raise ValueError(f"the day {day} is not between {_FIRST_DAY} and today")
    amount, item = values.get("amount", ""), values.get("line_item", "")
    if not amount and not item:
        return quiet_day(day, "cost", source="import")
    currency = (values.get("currency") or "usd").lower()
    if not re.fullmatch(r"[a-z]{3}", currency):
        raise ValueError(f"not a currency: {currency!r}")
    quantity = values.get("quantity")
    return cost_line(
        day,
        _parse_amount(amount.removeprefix("$")),
        source="import",
        currency=currency,
        line_item=item,
        model=values.get("model", "").lower(),
        project_id=values.get("project_id"),
        quantity=_parse_amount(quantity) if quantity else None,
    )


def _parse_day(text: str) -> date:
    try:
        if text.isdecimal() and len(text) > 8:
            return datetime.fromtimestamp(int(text), UTC).date()
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"not a day: {text!r}") from None
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)).date()


def _parse_amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"not an amount: {text!r}; write 1234.56") from None
    if not amount.is_finite() or abs(amount) >= _LARGEST:
        raise ValueError(f"not an amount below a billion: {text!r}")
    return amount


def _columns(header: str, path: Path) -> dict[str, int]:
    names = [
        name.strip().lower().replace(" ", "_") for name in next(csv.reader([header], delimiter=_delimiter(header)), [])
    ]
    columns = {
        field: names.index(next(name for name in accepted if name in names))
        for field, accepted in COLUMNS.items()
        if any(name in names for name in accepted)
    }
    for field in _NEEDED:
        if field not in columns:
            raise ConfigurationError(f"{path} has no column for the {field}: one of {', '.join(COLUMNS[field])}")
    return columns


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)
