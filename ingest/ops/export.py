"""Writes recorded calls to a file, page by page."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Literal

from ingest.database import fetch
from ingest.documents.calls import Call, RawCalls
from ingest.documents.cells import safe_text
from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    from ingest.database import Argument, Database

    Row = Mapping[str, JsonValue]

PAGE_SIZE = 1000

# The database refuses longer ranges; a longer export is cut into ranges of this length.
_LONGEST_RANGE = timedelta(days=400)

# Fixed, so that exports of different days can be put together. A column that a newer database adds comes behind.
COLUMNS = tuple(Call.model_fields)


def read_calls(
    database: Database, from_time: datetime, to_time: datetime, filters: Mapping[str, Argument]
) -> Iterator[Row]:
    """Read the calls of a time range, newest first.

    Args:
        database: Opened as somebody who may read them.
        from_time: Beginning, included.
        to_time: End, excluded.
        filters: As for `get_events`, without `limit` and `cursor`.

    Raises:
        ConfigurationError: The range ends before it begins.
        DatabaseError: A call failed.
    """
    if from_time >= to_time:
        raise ConfigurationError("--from must be before --to")
    while to_time > from_time:
        start = max(from_time, to_time - _LONGEST_RANGE)
        yield from _read_range(database, start, to_time, filters)
        to_time = start


def write_calls(rows: Iterator[Row], file: IO[str], file_format: Literal["csv", "jsonl"]) -> int:
    """Write calls as they come.

    Args:
        rows: What `read_calls` yields.
        file: Where to; opened with `newline=""`.
        file_format: csv has a header and metadata as JSON in one cell; jsonl has an object a line, costs as text.

    Returns:
        How many were written.
    """
    count = 0
    if file_format == "jsonl":
        for count, row in enumerate(rows, start=1):  # noqa: B007 -- the last one is the number of rows
            file.write(json.dumps(_in_order(row), ensure_ascii=False) + "\n")
        return count
    writer = csv.writer(file)
    first = next(rows, None)
    columns = list(_in_order(first)) if first is not None else list(COLUMNS)
    writer.writerow(columns)
    if first is None:
        return 0
    writer.writerow([_cell(first.get(name)) for name in columns])
    for count, row in enumerate(rows, start=1):  # noqa: B007 -- as above
        writer.writerow([_cell(row.get(name)) for name in columns])
    return count + 1


def note_calls(
    database: Database,
    from_time: datetime,
    to_time: datetime,
    filters: Mapping[str, Argument],
    *,
    file_format: Literal["csv", "jsonl"],
    count: int,
    exported_by: str,
) -> None:
    """Note who exported which calls, see `observability.log_export`."""
    export: dict[str, Argument] = {
        "via": "command",
        "kind": "calls",
        "format": file_format,
        "from_time": from_time.isoformat(),
        "to_time": to_time.isoformat(),
        "filters": dict(filters),
        "row_count": count,
        "exported_by": exported_by,
    }
    database.call("log_export", export=export)


def parse_time(text: str) -> datetime:
    """Read a moment as people write it: a date or an ISO time; UTC unless it says otherwise.

    Raises:
        ConfigurationError: It is neither.
    """
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"not a time: {text!r}; write 2026-11-23 or 2026-11-23T14:00:00+01:00") from None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def _read_range(
    database: Database, from_time: datetime, to_time: datetime, filters: Mapping[str, Argument]
) -> Iterator[Row]:
    cursor: str | None = None
    while True:
        page_filters = {**filters, "limit": PAGE_SIZE} | ({} if cursor is None else {"cursor": cursor})
        page = fetch(database, RawCalls, "get_events", from_time=from_time, to_time=to_time, filters=page_filters)
        yield from page.events
        cursor = page.next_cursor
        if cursor is None:
            return


def _in_order(row: Row) -> dict[str, JsonValue]:
    known = {name: row[name] for name in COLUMNS if name in row}
    return known | {name: row[name] for name in sorted(row.keys() - known.keys())}


def _cell(value: JsonValue) -> str:
    match value:
        case None:
            return ""
        case str():
            return safe_text(value)
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            return json.dumps(value, ensure_ascii=False)
