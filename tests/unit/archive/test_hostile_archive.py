"""An archive that a stranger wrote cannot lead its reader out of it, nor fill the memory."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.archive import parts
from ingest.archive.parts import read_groups
from ingest.archive.storage import Storage
from ingest.errors import ArchiveError

if TYPE_CHECKING:
    from pathlib import Path

MONTH = dt.date(2026, 5, 1)
FOLDER = "/hostile/usage/month=2026-05"


def write_manifest(file: str) -> Storage:
    part = {
        "file": file,
        "rows": 1,
        "size_bytes": 1,
        "sha256": "0" * 64,
        "min_created_at": "2026-05-01T00:00:00Z",
        "max_created_at": "2026-05-01T00:00:00Z",
        "columns": {},
    }
    generation = {"archive_id": "a", "written_at": "2026-06-01T00:00:00Z", "parts": [part]}
    manifest = {"kind": "usage", "month": "2026-05-01", "generations": [generation]}
    fsspec.filesystem("memory").pipe_file(f"{FOLDER}/manifest.json", json.dumps(manifest).encode())
    return Storage("memory://hostile")


@pytest.mark.parametrize(
    "file",
    [
        "/etc/cron.d/x.parquet",
        "../../x.parquet",
        "a/b.parquet",
        "a\\b.parquet",
        "..parquet",
        ".hidden.parquet",
        "a..parquet",
        "a.parquet\n",
        "manifest.json",
        "",
        f"{'a' * 130}.parquet",
    ],
)
def test_a_part_has_a_name_and_no_path(file: str) -> None:
    storage = write_manifest(file)
    with pytest.raises(ArchiveError, match="not a valid manifest: 1 errors"):
        storage.read_manifest("usage", MONTH)


@pytest.mark.parametrize("file", ["part-01234567-00000.parquet", "part-01234567-00000.89abcdef-00000.parquet"])
def test_the_names_that_are_written_here_are_read(file: str) -> None:
    (part,) = write_manifest(file).read_manifest("usage", MONTH).parts()
    assert part.file == file


def test_a_manifest_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = write_manifest("part-01234567-00000.parquet")
    monkeypatch.setattr("ingest.archive.storage._MAX_MANIFEST_BYTES", 100)
    with pytest.raises(ArchiveError, match="longer than 100 bytes"):
        storage.read_manifest("usage", MONTH)


def test_a_row_group_that_unpacks_to_more_than_it_may_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "part.parquet"
    pq.write_table(pa.table({"x": [0] * 1000}), path)
    assert [table.num_rows for table in read_groups(path)] == [1000]
    monkeypatch.setattr(parts, "_MAX_GROUP_ROWS", 999)
    with pytest.raises(ArchiveError, match="unpacks to more"):
        list(read_groups(path))
