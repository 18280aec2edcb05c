"""Puts archived months back into the database, with their event ids, each row once."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ingest.archive.parts import read_groups, verify_part
from ingest.archive.schema import EXACT_SUFFIX, MONEY, MONEY_COLUMNS
from ingest.database import fetch
from ingest.errors import ArchiveError, DatabaseError, DatabaseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from ingest.archive.manifest import Manifest
    from ingest.archive.storage import Storage
    from ingest.database import Database

BATCH_ROWS = 2_000  # the database takes 5,000; through the API a batch of these is 1 to 2 MB
KEEP_DAYS = 30
_ATTEMPTS = 30


def restore_month(
    database: Database,
    storage: Storage,
    manifest: Manifest,
    *,
    keep_days: int = KEEP_DAYS,
    is_counted: bool = True,
    on_batch: Callable[[int], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Put the rows of a month back. Safe to repeat, also after dying half-way.

    The rows are in the rollups already and are stored as such. Retention leaves the month alone for `keep_days` and
    then archives it again, in place of what is there now.

    Args:
        database: Opened as service_role.
        storage: Where the files are.
        manifest: The month.
        keep_days: For how long it stays.
        is_counted: False adds the rows to the rollups: for a database that has never held them.
        on_batch: Told the rows read so far.
        sleep: Waits this many seconds.

    Returns:
        How many rows were missing and are back.

    Raises:
        ArchiveError: A file is missing or damaged; nothing of it is restored.
        DatabaseError: The database does not know these archives (and `is_counted` was not set to False), or failed.
    """
    archive_ids: list[JsonValue] = [generation.archive_id for generation in manifest.generations]
    if not archive_ids:
        raise ArchiveError(f"there is no archived {manifest.kind} for {manifest.month:%Y-%m}")
    for part in manifest.parts():
        verify_part(storage, manifest.kind, manifest.month, part)
    month = manifest.month.isoformat()
    database.call(
        "begin_restore",
        kind=manifest.kind,
        month=month,
        keep_days=keep_days,
        archive_ids=archive_ids,
        is_counted=is_counted,
    )
    stored = seen = 0
    for part in manifest.parts():
        with storage.fetch(manifest.kind, manifest.month, part.file) as path:
            for table in read_groups(path):
                for start in range(0, table.num_rows, BATCH_ROWS):
                    events = to_events(table.slice(start, BATCH_ROWS))
                    stored += _store(database, manifest, events, is_counted=is_counted, sleep=sleep)
                    seen += len(events)
                    on_batch(seen)
    database.call("finish_restore", kind=manifest.kind, month=month, archive_ids=archive_ids)
    return stored


def to_events(table: pa.Table) -> list[dict[str, JsonValue]]:
    """Turn archived rows into what the database takes: money, times, metadata and usage details as exact text."""
    columns: dict[str, list[Any]] = {}
    for field in table.schema:
        if field.name.removesuffix(EXACT_SUFFIX) in MONEY_COLUMNS and field.name.endswith(EXACT_SUFFIX):
            continue
        values = table.column(field.name).to_pylist()
        if field.type == MONEY:
            exact = table.column(field.name + EXACT_SUFFIX).to_pylist()
            values = [
                full if full is not None else None if value is None else _plain(f"{value:f}")
                for value, full in zip(values, exact, strict=True)
            ]
        elif pa.types.is_timestamp(field.type):
            values = [value.isoformat() for value in values]
        elif field.name == "event_id":
            values = [str(uuid.UUID(bytes=value)) for value in values]
        columns[field.name] = values
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _store(
    database: Database,
    manifest: Manifest,
    events: list[dict[str, JsonValue]],
    *,
    is_counted: bool,
    sleep: Callable[[float], None],
) -> int:
    for _ in range(_ATTEMPTS):
        try:
            return fetch(
                database,
                int,
                "restore_rows",
                kind=manifest.kind,
                month=manifest.month.isoformat(),
                events=events,
                is_counted=is_counted,
            )
        except DatabaseError as error:
            if not error.retryable or isinstance(error, DatabaseUnavailableError):
                raise
            sleep(1.0)
    raise ArchiveError("the roll-up held its lock at every attempt; run the restore again to continue")
