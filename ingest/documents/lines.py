"""Reads lines of files from strangers, gzipped or not, with a bound on what they take when unpacked."""

from __future__ import annotations

import contextlib
import gzip
from typing import IO, TYPE_CHECKING

from ingest.errors import FileTooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_LINE_BYTES = 1024 * 1024
# Gzip makes at most a thousandth: more than this is no export of anybody's, and would fill a disk or an hour.
MAX_UNPACKED_BYTES = 16 * 1024**3
_GZIP = b"\x1f\x8b"


def read_lines(
    path: Path, *, max_line_bytes: int = MAX_LINE_BYTES, max_unpacked_bytes: int = MAX_UNPACKED_BYTES
) -> Iterator[bytes]:
    """Yield the lines of a file with their ends; gzip is recognised by its content.

    Args:
        path: The file.
        max_line_bytes: Longest line.
        max_unpacked_bytes: Longest content of a gzipped file; a plain one has the size that it has.

    Raises:
        FileTooLargeError: It goes beyond a bound.
        OSError: It cannot be read.
        EOFError: The gzipped data end early.
        zlib.error: The gzipped data are damaged.
    """
    total_bytes = number = 0
    with _open_plain(path) as (file, is_packed):
        # Read in pieces of the bound: a line that unpacks to gigabytes never comes into memory.
        while line := file.readline(max_line_bytes + 1):
            number += 1
            total_bytes += len(line)
            if len(line) > max_line_bytes:
                raise FileTooLargeError(f"line {number} is longer than {max_line_bytes:,} bytes")
            if is_packed and total_bytes > max_unpacked_bytes:
                raise FileTooLargeError(f"it unpacks to more than {max_unpacked_bytes:,} bytes")
            yield line


@contextlib.contextmanager
def _open_plain(path: Path) -> Iterator[tuple[IO[bytes], bool]]:
    with path.open("rb") as file:
        is_packed = file.read(2) == _GZIP
        file.seek(0)
        if not is_packed:
            yield file, False
            return
        with gzip.open(file, "rb") as unpacked:
            yield unpacked, True  # type: ignore[misc]  # it reads as any file does
