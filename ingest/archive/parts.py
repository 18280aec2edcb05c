"""Writes tables to Parquet parts, and reads parts back to prove what is in them."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.archive.manifest import Part
from ingest.archive.schema import GROUPS_PER_PART, SCHEMAS
from ingest.archive.storage import hash_file
from ingest.archive.sums import add_sums, find_differences, sum_table
from ingest.errors import ArchiveError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator

    from ingest.archive.schema import Kind
    from ingest.archive.storage import Storage

# Far above what is written here: ROWS_PER_GROUP rows, of at most 9 KiB each with the longest metadata.
_MAX_GROUP_ROWS = 1_000_000
_MAX_GROUP_BYTES = 1024 * 1024 * 1024

# Values that hardly repeat: a dictionary of them would only cost time.
_UNIQUE = frozenset({"event_id", "created_at", "received_at", "latency_ms", "time_to_first_token_ms", "response_id"})


def write_parts(
    storage: Storage,
    kind: Kind,
    month: dt.date,
    tables: Iterable[pa.Table],
    *,
    prefix: str,
    groups_per_part: int = GROUPS_PER_PART,
    on_part: Callable[[], None] = lambda: None,
) -> list[Part]:
    """Write tables, a row group each, to as many parts as needed; at most one table is in memory.

    Args:
        storage: Where to.
        kind: Which rows they are.
        month: Its first day.
        tables: In the order of time.
        prefix: Beginning of the files' names; unique to this run.
        groups_per_part: Row groups of each part but the last.
        on_part: Told after each part.
    """
    parts: list[Part] = []
    waiting = iter(tables)
    while True:
        with tempfile.TemporaryDirectory(prefix="treering-archive-") as folder:
            local = Path(folder) / "part.parquet"
            if not _write_part(local, kind, waiting, groups_per_part):
                return parts
            name = f"{prefix}-{len(parts):05d}.parquet"
            storage.put(local, kind, month, name)
            # Its sums are taken from what Parquet gives back, not from what was handed to it.
            parts.append(_describe(local, name))
        on_part()


def verify_part(storage: Storage, kind: Kind, month: dt.date, part: Part) -> None:
    """Read a part back from where it is stored.

    Raises:
        ArchiveError: It is missing, or not the one that the manifest describes.
    """
    with storage.fetch(kind, month, part.file) as local:
        if hash_file(local) != part.sha256:
            raise ArchiveError(f"{part.file} of {kind} {month:%Y-%m} is damaged: its SHA-256 does not match")
        found = _describe(local, part.file)
    if found.rows != part.rows or find_differences(part.columns, found.columns):
        raise ArchiveError(f"{part.file} of {kind} {month:%Y-%m} does not match its manifest")


def read_groups(path: Path) -> Iterator[pa.Table]:
    """Read a part, one row group at a time.

    Raises:
        ArchiveError: A row group is larger than any that is written here.
    """
    with contextlib.closing(pq.ParquetFile(path)) as file:
        for index in range(file.num_row_groups):
            group = file.metadata.row_group(index)
            if group.num_rows > _MAX_GROUP_ROWS or group.total_byte_size > _MAX_GROUP_BYTES:
                raise ArchiveError(f"{path.name} unpacks to more than a row group may hold")
            yield file.read_row_group(index, use_threads=False)
            pa.default_memory_pool().release_unused()


def _write_part(path: Path, kind: Kind, tables: Iterator[pa.Table], most_groups: int) -> int:
    schema = SCHEMAS[kind]
    groups = 0
    writer: pq.ParquetWriter | None = None
    try:
        for table in tables:
            if writer is None:
                writer = pq.ParquetWriter(
                    path,
                    schema,
                    compression="zstd",
                    compression_level=6,
                    use_dictionary=[name for name in schema.names if name not in _UNIQUE],
                    write_page_checksum=True,
                )
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
            groups += 1
            if groups == most_groups:
                break
    finally:
        if writer is not None:
            writer.close()
    return groups


def _describe(path: Path, name: str) -> Part:
    rows = 0
    sums = []
    times: list[pa.Scalar] = []
    for table in read_groups(path):
        rows += table.num_rows
        sums.append(sum_table(table))
        span = pa.compute.min_max(table.column("created_at"))
        times += [span["min"], span["max"]]
    moments = [time.as_py() for time in times]
    return Part(
        file=name,
        rows=rows,
        size_bytes=path.stat().st_size,
        sha256=hash_file(path),
        min_created_at=min(moments),
        max_created_at=max(moments),
        columns=add_sums(sums),
    )
