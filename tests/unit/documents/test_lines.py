"""Files from strangers are read within bounds."""

from __future__ import annotations

import gzip
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from ingest.documents.lines import MAX_LINE_BYTES, read_lines
from ingest.errors import FileTooLargeError, TraceError
from ingest.ops.traces import open_trace

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_lines_come_with_their_ends_whether_packed_or_not(tmp_path: Path, pack: type[bytes]) -> None:
    path = tmp_path / "file"
    path.write_bytes(pack(b"one\ntwo\r\n\nlast"))
    assert list(read_lines(path)) == [b"one\n", b"two\r\n", b"\n", b"last"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_line_may_have_the_longest_length_and_no_more(tmp_path: Path, pack: type[bytes]) -> None:
    path = tmp_path / "file"
    path.write_bytes(pack(b"123456789\n"))
    assert list(read_lines(path, max_line_bytes=10)) == [b"123456789\n"]
    with pytest.raises(FileTooLargeError, match="line 1 is longer than 9 bytes"):
        list(read_lines(path, max_line_bytes=9))


def test_a_packed_file_may_not_unpack_without_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(b"0123456789\n" * 100))
    assert len(list(read_lines(path, max_unpacked_bytes=1100))) == 100
    with pytest.raises(FileTooLargeError, match="unpacks to more than 1,099 bytes"):
        list(read_lines(path, max_unpacked_bytes=1099))


def test_a_line_that_unpacks_to_hundreds_of_megabytes_takes_few_of_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(200):
            file.write(bytes(1024 * 1024))
    assert path.stat().st_size < 2_000_000
    tracemalloc.start()
    with pytest.raises(TraceError, match=f"line 1 is longer than {MAX_LINE_BYTES:,} bytes"):
        open_trace(path, "jsonl")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 16 * 1024 * 1024
