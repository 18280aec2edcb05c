"""Calls whose answers are still coming, on disk: each survives the process as a cancelled one.

A file of slots in the process's own folder of the journal. A slot holds the record of a call as it would be if the
process ended now; it is written when the answer begins, told now and then how much has come, and freed once the call
itself is in the journal. Whoever adopts the folder of a dead process records what the slots hold; both records have
the same event id, so that a process that died in between counts once.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import threading
import zlib
from collections import deque
from typing import TYPE_CHECKING

from pydantic_core import from_json

from ingest.record.encoding import USAGE, encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPEN_SUFFIX = ".open"
SLOT_BYTES = 2048  # the record of a call is 500 to 900 bytes without metadata
SLOTS_PER_FILE = 256
MAX_FILES = 16  # 4,096 streams at once; those beyond are recorded when they end, as all are
_HEADER = struct.Struct("<IIQd")  # length and CRC-32 of the record, characters delivered, milliseconds until then
_PROGRESS = struct.Struct("<Qd")
_PROGRESS_AT = 8
MAX_RECORD_BYTES = SLOT_BYTES - _HEADER.size
_FLAG = "stream:process_ended"
_CHARACTERS_PER_TOKEN = 4


class OpenCall:
    """The slot of one call."""

    __slots__ = ("_offset", "_slots")

    def __init__(self, slots: _Slots, offset: int) -> None:
        self._slots = slots
        self._offset = offset

    def write(self, record: bytes) -> bool:
        """Put the record of the call here, in place of the one before; False where it is too long."""
        buffer, start = self._slots.buffer, self._offset
        if buffer is None or len(record) > MAX_RECORD_BYTES:
            return False
        body = start + _HEADER.size
        buffer[start : start + 4] = bytes(4)  # empty until it is whole
        buffer[body : body + len(record)] = record
        _HEADER.pack_into(buffer, start, len(record), zlib.crc32(record), 0, 0.0)
        return True

    def note(self, characters: int, elapsed_ms: float) -> None:
        """Say how much of the answer has come, and how long after the call began."""
        if self._slots.buffer is not None:
            _PROGRESS.pack_into(self._slots.buffer, self._offset + _PROGRESS_AT, characters, elapsed_ms)

    def close(self) -> None:
        """Free the slot: the call itself is recorded."""
        self._slots.free(self._offset)


class OpenCalls:
    """The slots of a process."""

    def __init__(self) -> None:
        self._files: list[_Slots] = []
        self._lock = threading.RLock()  # re-entrant: the garbage collector may run a finalizer that opens a call
        self._is_closed = False

    def open(self, folder: Path, record: bytes) -> OpenCall | None:
        """Take a slot for a call; None where none is free.

        Args:
            folder: Where to make a file when it is needed.
            record: The call as a record of the journal.

        Raises:
            OSError: The disk does not take another file.
        """
        if len(record) > MAX_RECORD_BYTES or self._is_closed:
            return None
        for slots in reversed(self._files):
            call = slots.take()
            if call is not None:
                call.write(record)
                return call
        with self._lock:
            if self._is_closed or len(self._files) >= MAX_FILES:
                return None
            slots = _Slots.create(folder / f"{len(self._files):04d}{OPEN_SUFFIX}")
            self._files.append(slots)
        call = slots.take()
        if call is not None:
            call.write(record)
        return call

    def close(self) -> None:
        """Remove the files: calls that go on are recorded when they end, by whatever records then."""
        with self._lock:
            self._is_closed = True
            for slots in self._files:
                slots.delete()

    def abandon(self) -> None:
        """Let go of the files without touching them: in a forked child, where they are the parent's."""
        with self._lock:
            self._is_closed = True
            for slots in self._files:
                slots.buffer = None


class _Slots:
    """One file of slots.

    Attributes:
        buffer: Its bytes; None once it is gone.
    """

    def __init__(self, buffer: mmap.mmap, path: Path) -> None:
        self.buffer: mmap.mmap | None = buffer
        self._path = path
        # The one that was freed last is taken first: its page is in the processor's cache.
        self._free = deque(range(len(buffer) - SLOT_BYTES, -1, -SLOT_BYTES))

    @classmethod
    def create(cls, path: Path) -> _Slots:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            block = bytes(SLOT_BYTES)  # written, not skipped over: a hole on a full disk would be a bus error later
            for _ in range(SLOTS_PER_FILE):
                os.write(descriptor, block)
            return cls(mmap.mmap(descriptor, SLOTS_PER_FILE * SLOT_BYTES), path)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def take(self) -> OpenCall | None:
        try:
            return OpenCall(self, self._free.pop())
        except IndexError:
            return None

    def free(self, offset: int) -> None:
        if self.buffer is not None:
            self.buffer[offset : offset + 4] = bytes(4)
            self._free.append(offset)

    def delete(self) -> None:
        self.buffer = None
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def read_open_calls(path: Path) -> Iterator[bytes]:
    """Yield a record of each call that was open when the process of this file ended: cancelled, tokens estimated.

    Raises:
        OSError: The file cannot be read.
    """
    content = path.read_bytes()
    for start in range(0, len(content) - SLOT_BYTES + 1, SLOT_BYTES):
        length, checksum, characters, elapsed_ms = _HEADER.unpack_from(content, start)
        body = start + _HEADER.size
        record = content[body : body + length]
        if 0 < length <= MAX_RECORD_BYTES and zlib.crc32(record) == checksum:
            yield _close(record, characters, elapsed_ms)


def _close(record: bytes, characters: int, elapsed_ms: float) -> bytes:
    fields = from_json(record[1:])
    fields["completion_tokens"] = -(-characters // _CHARACTERS_PER_TOKEN)
    fields["latency_ms"] = round(elapsed_ms, 3) or None
    fields["flags"] = [*fields.get("flags", ()), _FLAG]
    return encode(USAGE, fields)
