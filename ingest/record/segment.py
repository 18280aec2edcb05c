"""One piece of the journal: records one after another in a memory-mapped file, or in plain memory.

A record is its length, its CRC-32 and its bytes. The file is allocated in full beforehand, so a full disk shows when a
segment is made and not as a crash while it is written; what has not been written yet reads as zeros. The kernel keeps
what was written whatever happens to the process, and a record that was cut short fails its checksum.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import time
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC = b"treerng1"  # the last character is the version of the format
HEADER_BYTES = 16  # the magic, then the offset up to which everything has been delivered
RECORD_HEADER = struct.Struct("<II")
MAX_RECORD_BYTES = 64 * 1024
# The background work lets the other threads run after this many events: a caller who waits for the interpreter's lock
# would otherwise wait for the switch interval, 5 ms.
EVENTS_PER_TURN = 5


class Segment:
    """An append-only run of records that remembers how far it has been delivered.

    One thread at a time may append; another may read and acknowledge meanwhile.

    Args:
        buffer: The bytes, beginning with the header.
        path: The file behind the buffer; None where the records live in memory alone.

    Attributes:
        end: Offset behind the last record.
        acked: Offset up to which the records have been delivered.
        record_count: Records written so far.
        acked_count: Records delivered so far.
        size_bytes: Size of the file or the buffer.
    """

    __slots__ = ("_buffer", "acked", "acked_count", "end", "path", "record_count", "size_bytes")

    def __init__(self, buffer: mmap.mmap | bytearray, path: Path | None) -> None:
        self._buffer: mmap.mmap | bytearray | None = buffer
        self.path = path
        self.size_bytes = len(buffer)
        self.end = self.acked = HEADER_BYTES
        self.record_count = self.acked_count = 0

    @classmethod
    def in_memory(cls, size_bytes: int) -> Segment:
        """Make a segment that does not outlive the process."""
        return cls(bytearray(size_bytes), None)

    @classmethod
    def create(cls, path: Path, size_bytes: int) -> Segment:
        """Make a new file with its whole size allocated.

        Raises:
            OSError: The disk is full, the folder is not writable, or the file exists.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _allocate(descriptor, size_bytes)
            buffer = mmap.mmap(descriptor, size_bytes)
        except (OSError, ValueError):
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        buffer[: len(MAGIC)] = MAGIC
        return cls(buffer, path)

    @classmethod
    def adopt(cls, path: Path) -> Segment | None:
        """Open what another process left behind; None where nothing in it need be delivered.

        Raises:
            OSError: The file cannot be opened.
            ValueError: It is no segment of this format.
        """
        descriptor = os.open(path, os.O_RDWR)
        try:
            if os.fstat(descriptor).st_size <= HEADER_BYTES:
                return None
            buffer = mmap.mmap(descriptor, 0)
        finally:
            os.close(descriptor)
        _check_format(buffer)
        segment = cls(buffer, path)
        segment._find_end()
        del buffer
        segment.unmap()
        os.truncate(path, segment.end)  # the space beyond was allocated for records that never came
        segment.size_bytes = segment.end
        return segment if segment.pending_count else None

    @property
    def pending_count(self) -> int:
        """Records that have not been delivered."""
        return self.record_count - self.acked_count

    def append(self, payload: bytes) -> bool:
        """Write one record; False where it does not fit."""
        start = self.end
        stop = start + RECORD_HEADER.size + len(payload)
        if stop > self.size_bytes:
            return False
        # Reserved before it is written: a finalizer or a signal handler that records in between gets its own place.
        self.end = stop
        self.record_count += 1
        assert self._buffer is not None
        self._buffer[start:stop] = RECORD_HEADER.pack(len(payload), zlib.crc32(payload)) + payload
        return True

    def read(self, max_count: int) -> Iterator[tuple[bytes, int]]:
        """Yield undelivered records, each with the offset behind it; a damaged one is passed over."""
        buffer, offset = self._map(), self.acked
        for _ in range(max_count):
            record = _record_at(buffer, offset, self.end)
            if record is None:
                return
            payload, offset = record
            yield payload, offset

    def acknowledge(self, offset: int, count: int) -> None:
        """Remember, in the file too, that everything before `offset` has been delivered."""
        self.acked = offset
        self.acked_count += count
        try:
            buffer = self._map()
        except OSError:
            return  # the file is gone or out of reach; at worst its records are sent twice and stored once
        with memoryview(buffer) as view, view[:HEADER_BYTES] as header, header.cast("Q") as words:
            words[1] = offset  # one aligned store, so that it is never seen half written

    def unmap(self) -> None:
        """Give the mapping back; it returns by itself when needed."""
        if self.path is not None:
            self._buffer = None

    def delete(self) -> None:
        """Remove the file."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _map(self) -> mmap.mmap | bytearray:
        if self._buffer is None:
            assert self.path is not None
            with self.path.open("r+b") as file:
                self._buffer = mmap.mmap(file.fileno(), 0)
        return self._buffer

    def _find_end(self) -> None:
        """Walk over the records that are there; the count of the delivered ones follows from their place."""
        buffer = self._map()
        acked = _acked_in(buffer)
        offset = HEADER_BYTES
        while record := _record_at(buffer, offset, self.size_bytes):
            offset = record[1]
            self.record_count += 1
            if offset <= acked:
                self.acked, self.acked_count = offset, self.record_count
            if self.record_count % EVENTS_PER_TURN == 0:
                time.sleep(0)
        self.end = offset


def peek(path: Path) -> tuple[int, bytes | None]:
    """Count the undelivered records of a file that another process may be writing, and return the oldest of them.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no segment of this format.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size <= HEADER_BYTES:
            return 0, None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            _check_format(buffer)
            offset, count, oldest = max(_acked_in(buffer), HEADER_BYTES), 0, None
            while record := _record_at(buffer, offset, len(buffer)):
                oldest = oldest or record[0]
                offset = record[1]
                count += 1
            return count, oldest


def _check_format(buffer: mmap.mmap) -> None:
    """Refuse what another version wrote; a file whose process died before it wrote anything is all zeros."""
    magic = buffer[: len(MAGIC)]
    if magic != MAGIC and magic.strip(b"\0"):
        raise ValueError("it is no journal of this version")


def _acked_in(buffer: mmap.mmap | bytearray) -> int:
    return int.from_bytes(buffer[len(MAGIC) : HEADER_BYTES], sys.byteorder)


def _record_at(buffer: mmap.mmap | bytearray, offset: int, limit: int) -> tuple[bytes, int] | None:
    """The first sound record at or behind `offset`, and where it ends."""
    while offset + RECORD_HEADER.size <= limit:
        length, checksum = RECORD_HEADER.unpack_from(buffer, offset)
        start, stop = offset + RECORD_HEADER.size, offset + RECORD_HEADER.size + length
        if not 0 < length <= MAX_RECORD_BYTES or stop > limit:
            return None
        payload = bytes(buffer[start:stop])
        if zlib.crc32(payload) == checksum:
            return payload, stop
        offset = stop
    return None


def _allocate(descriptor: int, size_bytes: int) -> None:
    """Take the space now: a hole would turn a full disk into a bus error at the first write."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size_bytes)
        return
    block = bytes(64 * 1024)
    for start in range(0, size_bytes, len(block)):
        os.write(descriptor, block[: size_bytes - start])
