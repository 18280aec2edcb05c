"""Reads the rows of a month out of the database as Arrow tables, page by page, in the order of time."""

from __future__ import annotations

import binascii
import datetime as dt
import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
from pyarrow import csv

from ingest.archive.schema import MONEY, SCHEMAS
from ingest.database import JsonValue, PostgresDatabase, fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.archive.schema import Kind
    from ingest.database import Database

# Pages through the API are JSON and cost more memory a row.
API_PAGE_ROWS = 2_000

_HEX = pa.string()


def read_month(database: Database, kind: Kind, month: dt.date, *, page_rows: int) -> Iterator[pa.Table]:
    """Read a month, oldest row first.

    A direct connection is read by COPY into Arrow's own CSV reader, without a Python object a value; Supabase's API by
    pages of JSON.

    Args:
        database: Opened as service_role.
        kind: Which rows.
        month: Its first day.
        page_rows: Rows of each table but the last.

    Raises:
        DatabaseError: A page could not be read.
    """
    read = _read_by_copy if isinstance(database, PostgresDatabase) else _read_by_api
    after: tuple[dt.datetime, str] | None = None
    while True:
        table = read(cast("PostgresDatabase", database), kind, month, after, page_rows)
        is_last = table.num_rows < page_rows
        if table.num_rows:
            after = _last_key(table)
            yield table
        del table
        # What Arrow keeps for later would be most of the memory in use.
        pa.default_memory_pool().release_unused()
        if is_last:
            return


def _last_key(table: pa.Table) -> tuple[dt.datetime, str]:
    last = table.num_rows - 1
    return table.column("created_at")[last].as_py(), table.column("event_id")[last].as_py().hex()


def _read_by_copy(
    database: PostgresDatabase, kind: Kind, month: dt.date, after: tuple[dt.datetime, str] | None, page_rows: int
) -> pa.Table:
    created_at, event_id = after or (None, None)
    blocks = io.BytesIO()
    for block in database.copy_rows(
        f"read_{kind}_page",
        month=month,
        after_created_at=created_at,
        after_event_id=event_id,
        max_rows=page_rows,
    ):
        blocks.write(block)
    schema = _text_schema(SCHEMAS[kind])
    if not blocks.tell():
        return SCHEMAS[kind].empty_table()
    blocks.seek(0)
    table = csv.read_csv(
        blocks,
        # One thread: the time goes into the database, and threads hold on to memory.
        read_options=csv.ReadOptions(column_names=schema.names, use_threads=False, block_size=1 << 20),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=schema,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,  # Postgres quotes the empty text and leaves null bare
            true_values=["t"],
            false_values=["f"],
        ),
    )
    return _with_binary_ids(table, SCHEMAS[kind])


def _read_by_api(
    database: Database, kind: Kind, month: dt.date, after: tuple[dt.datetime, str] | None, page_rows: int
) -> pa.Table:
    schema = SCHEMAS[kind]
    tables = []
    wanted = page_rows
    while wanted:
        size = min(wanted, API_PAGE_ROWS)
        created_at, event_id = after or (None, None)
        rows = fetch(
            database,
            list[dict[str, JsonValue]],
            "read_archive_page",
            kind=kind,
            month=month.isoformat(),
            after_created_at=created_at,
            after_event_id=event_id,
            max_rows=size,
        )
        if rows:
            tables.append(_to_table(rows, schema))
            after = _last_key(tables[-1])
        if len(rows) < size:
            break
        wanted -= size
    return pa.concat_tables(tables).combine_chunks() if tables else schema.empty_table()


def _to_table(rows: list[dict[str, JsonValue]], schema: pa.Schema) -> pa.Table:
    columns = []
    for field in _text_schema(schema):
        values: list[Any] = [row[field.name] for row in rows]
        if field.type == MONEY:
            values = [None if value is None else Decimal(value) for value in values]
        elif pa.types.is_timestamp(field.type):
            values = [dt.datetime.fromisoformat(value) for value in values]
        elif pa.types.is_floating(field.type):
            values = [None if value is None else float(value) for value in values]
        columns.append(pa.array(values, field.type))
    return _with_binary_ids(pa.table(columns, schema=_text_schema(schema)), schema)


def _text_schema(schema: pa.Schema) -> pa.Schema:
    return schema.set(schema.get_field_index("event_id"), pa.field("event_id", _HEX))


def _with_binary_ids(table: pa.Table, schema: pa.Schema) -> pa.Table:
    index = schema.get_field_index("event_id")
    hexadecimal = table.column(index).combine_chunks()
    if isinstance(hexadecimal, pa.ChunkedArray):
        hexadecimal = hexadecimal.chunk(0)
    # All ids have 32 digits, so that the texts lie end to end in one buffer.
    digits = hexadecimal.buffers()[2][: 32 * len(hexadecimal)]
    ids = pa.Array.from_buffers(pa.binary(16), len(hexadecimal), [None, pa.py_buffer(binascii.unhexlify(digits))])
    return table.set_column(index, pa.field("event_id", pa.binary(16)), ids).cast(schema)
