"""Reads the rows of a month out of the database as Arrow tables, page by page, in the order of time."""

from __future__ import annotations

import binascii
import datetime as dt
import io
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ingest.archive.schema import EXACT_SUFFIX, MONEY, SCHEMAS
from ingest.database import JsonValue, PostgresDatabase, fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.archive.schema import Kind
    from ingest.database import Database

# Pages through the API are JSON and cost more memory a row.
API_PAGE_ROWS = 2_000

_UUID_CHARACTERS = 36
_LAST_DIGIT = Decimal(1).scaleb(-MONEY.scale)
# As Postgres rounds: half away from zero.
_EXACT = Context(prec=MONEY.precision, rounding=ROUND_HALF_UP)


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
    schema = SCHEMAS[kind]
    blocks.seek(0)
    table = csv.read_csv(
        blocks,
        # One thread: the time goes into the database, and threads hold on to memory.
        read_options=csv.ReadOptions(use_threads=False, block_size=1 << 20),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=_text_schema(schema),
            include_columns=_text_schema(schema).names,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,  # Postgres quotes the empty text and leaves null bare
            true_values=["t"],
            false_values=["f"],
        ),
    )
    return _archived(table, schema)


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
        if pa.types.is_timestamp(field.type):
            values = [dt.datetime.fromisoformat(value) for value in values]
        elif pa.types.is_floating(field.type):
            values = [None if value is None else float(value) for value in values]
        columns.append(pa.array(values, field.type))
    return _archived(pa.table(columns, schema=_text_schema(schema)), schema)


def _text_schema(schema: pa.Schema) -> pa.Schema:
    """What the database sends: ids and money as text, and nothing beside them."""
    return pa.schema(
        pa.field(field.name, pa.string() if field.name == "event_id" or field.type == MONEY else field.type)
        for field in schema
        if not field.name.endswith(EXACT_SUFFIX)
    )


def _archived(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns: dict[str, pa.Array | pa.ChunkedArray] = {name: table.column(name) for name in table.column_names}
    columns["event_id"] = _binary_ids(table.column("event_id"))
    for field in schema:
        if field.type == MONEY:
            columns[field.name], columns[field.name + EXACT_SUFFIX] = _split_money(table.column(field.name))
    return pa.table([columns[field.name] for field in schema], names=schema.names).cast(schema)


def _binary_ids(ids: pa.ChunkedArray) -> pa.Array:
    whole = pa.concat_arrays(ids.chunks) if ids.num_chunks else pa.array([], pa.string())
    if not len(whole):
        return pa.array([], pa.binary(16))
    # All ids have 36 characters, so that the texts lie end to end in one buffer.
    text = whole.buffers()[2][: _UUID_CHARACTERS * len(whole)].to_pybytes()
    digits = binascii.unhexlify(text.replace(b"-", b""))
    return pa.Array.from_buffers(pa.binary(16), len(whole), [None, pa.py_buffer(digits)])


def _split_money(texts: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.Array | pa.ChunkedArray]:
    """Return values as `MONEY` and, where a value has more digits than that holds, its full text; null elsewhere."""
    longest = pc.max(pc.utf8_length(texts)).as_py() or 0
    if longest <= MONEY.scale:
        return texts.cast(MONEY), pa.nulls(len(texts), pa.string())
    values, exact = [], []
    for text in texts.to_pylist():
        value = None if text is None else Decimal(text)
        rounded = None if value is None else _EXACT.quantize(value, _LAST_DIGIT)
        values.append(rounded)
        exact.append(None if value == rounded else text)
    return pa.chunked_array([pa.array(values, MONEY)]), pa.array(exact, pa.string())
