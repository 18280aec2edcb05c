"""The journal: what has been recorded and not yet stored, on disk, bounded, in the order of arrival.

Only the caller's threads append and only the flusher's thread reads. Where the disk does not serve, the same records
wait in memory, less of them.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING

from ingest.notices import LOGGER
from ingest.record.claim import Claim
from ingest.record.open_calls import OPEN_SUFFIX, OpenCall, OpenCalls, read_open_calls
from ingest.record.segment import HEADER_BYTES, MAX_RECORD_BYTES, RECORD_HEADER, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SEGMENT_BYTES = 4 * 1024 * 1024  # about 12,000 calls; a process that dies idle leaves no more than this allocated
MEMORY_SEGMENT_BYTES = 256 * 1024
MEMORY_MAX_BYTES = 32 * 1024 * 1024  # without a disk the product's own memory is at stake
MIN_JOURNAL_BYTES = 8 * (HEADER_BYTES + RECORD_HEADER.size + MAX_RECORD_BYTES)  # four segments of two records each
SUFFIX = ".journal"
UNREADABLE_SUFFIX = ".unreadable"


class Journal:
    """Records that survive the process, oldest first.

    Args:
        root: Folder shared by all processes; each keeps its records in a folder of its own below it.
        max_bytes: Size beyond which the oldest records are dropped; at least `MIN_JOURNAL_BYTES`.
        on_disk_trouble: Called with the error each time the disk refuses a new segment.

    Attributes:
        appended: Records ever written by this process.
        settled: Of those, how many have been delivered or dropped.
        dropped: Records dropped because the journal was full, adopted ones included.
        adopted: Records taken over from dead processes.
    """

    def __init__(self, root: Path, *, max_bytes: int, on_disk_trouble: Callable[[OSError], None]) -> None:
        if max_bytes < MIN_JOURNAL_BYTES:
            raise ValueError(f"the journal needs at least {MIN_JOURNAL_BYTES} bytes")
        self._root = root
        self._max_bytes = max_bytes
        self._segment_bytes = min(SEGMENT_BYTES, max_bytes // 4)
        self._on_disk_trouble = on_disk_trouble
        # Re-entrant: the garbage collector may run a finalizer that records while its thread is in here.
        self._lock = threading.RLock()
        self._segments: deque[Segment] = deque()
        self._foreign: dict[Segment, Claim] = {}
        self._claims: list[Claim] = []
        self._own: Claim | None = None
        self._open_calls = OpenCalls()
        self._sequence = 0
        self._spare: Segment | None = None
        self._reading: Segment | None = None
        self._is_closed = False
        self.appended = self.settled = self.dropped = self.adopted = 0
        self._active = self._new_segment()
        self._segments.append(self._active)

    @property
    def pending(self) -> int:
        """Records that wait for delivery, adopted ones included."""
        with self._lock:
            return sum(segment.pending_count for segment in tuple(self._segments))

    @property
    def size_bytes(self) -> int:
        """Bytes held, on disk or in memory."""
        with self._lock:
            return sum(segment.size_bytes for segment in tuple(self._segments))

    @property
    def is_on_disk(self) -> bool:
        """Whether new records go to the disk."""
        return self._active.path is not None

    def append(self, payload: bytes) -> int:
        """Keep one record of at most `MAX_RECORD_BYTES`.

        Returns:
            How many records this journal has kept so far; 0 where it is closed and keeps no more.
        """
        with self._lock:
            if self._is_closed:
                return 0
            while not self._active.append(payload):
                self._rotate()
            self.appended += 1
            return self.appended

    def open_call(self, record: bytes) -> OpenCall | None:
        """Keep a call that goes on, in case the process ends before it; None where there is no place for it."""
        own = self._own
        if own is None or self._is_closed:
            return None
        try:
            return self._open_calls.open(own.folder, record)
        except OSError as error:
            self._on_disk_trouble(error)
            return None

    def read(self, max_count: int) -> Iterator[tuple[bytes, int]]:
        """Yield the oldest records, each with the offset to acknowledge; none where nothing waits.

        Raises:
            OSError: The records are there but cannot be read now.
        """
        with self._lock:
            head = next((segment for segment in self._segments if segment.pending_count), None)
            self._reading = head
        if head is None:
            return
        try:
            yield from head.read(max_count)
        except FileNotFoundError:
            with self._lock:
                self._reading = None
                self._drop(head)

    def acknowledge(self, offset: int, count: int) -> None:
        """Forget the first `count` records of the last read that are not forgotten yet, up to `offset`."""
        with self._lock:
            head = self._reading
            assert head is not None
            head.acknowledge(offset, count)
            if head not in self._foreign:
                self.settled += count
            if head is not self._active and not head.pending_count:
                self._reading = None
                self._remove(head)

    def maintain(self) -> None:
        """Do what should not be done while a caller waits: make the next segment, go back to the disk, adopt."""
        active = self._active
        is_needed = not self.is_on_disk or active.end > active.size_bytes // 2
        if is_needed and self._spare is None:
            spare = self._new_segment()
            if spare.path is not None:
                self._spare = spare
                if not self.is_on_disk:
                    with self._lock:
                        self._rotate()
        self._adopt()

    def close(self) -> None:
        """Let go of the folder; what has not been delivered is found there by the next process. Safe to repeat."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._open_calls.close()
            for segment in tuple(self._segments):
                if segment.path is None:
                    self._drop(segment)
            self._discard_delivered()
            for unused in (self._spare, self._active):
                if unused is not None and not unused.pending_count:
                    self._delete(unused)
            for claim in (self._own, *self._claims):
                if claim is not None:
                    claim.release()

    def abandon(self) -> None:
        """Forget everything without touching it: in a forked child, where it is the parent's."""
        self._open_calls.abandon()
        for claim in (self._own, *self._claims):
            if claim is not None:
                claim.forget()

    def _rotate(self) -> None:
        full, spare, self._spare = self._active, self._spare, None
        active = self._new_segment() if spare is None else spare
        self._segments.append(active)
        self._active = active
        full.unmap()  # a long outage should not show up as the product's memory
        self._discard_delivered()
        self._enforce_bounds()

    def _new_segment(self) -> Segment:
        try:
            if self._own is None:
                self._own = Claim.create(self._root)
            self._sequence += 1
            return Segment.create(self._own.folder / f"{self._sequence:012d}{SUFFIX}", self._segment_bytes)
        except OSError as error:
            self._on_disk_trouble(error)
            return Segment.in_memory(min(MEMORY_SEGMENT_BYTES, self._segment_bytes))

    def _enforce_bounds(self) -> None:
        while self.size_bytes > self._max_bytes and self._drop_oldest(in_memory_only=False):
            pass
        while self._memory_bytes() > min(MEMORY_MAX_BYTES, self._max_bytes) and self._drop_oldest(in_memory_only=True):
            pass

    def _memory_bytes(self) -> int:
        return sum(segment.size_bytes for segment in tuple(self._segments) if segment.path is None)

    def _drop_oldest(self, *, in_memory_only: bool) -> bool:
        """Drop one segment, but neither the one being written nor the one being delivered."""
        for segment in tuple(self._segments):
            is_busy = segment is self._active or segment is self._reading
            if not is_busy and not (in_memory_only and segment.path is not None):
                self._drop(segment)
                return True
        return False

    def _drop(self, segment: Segment) -> None:
        lost = segment.pending_count
        self.dropped += lost
        if segment not in self._foreign:
            self.settled += lost
        segment.acked_count += lost
        self._remove(segment)

    def _discard_delivered(self) -> None:
        for segment in tuple(self._segments):
            if segment is not self._active and not segment.pending_count:
                self._remove(segment)

    def _remove(self, segment: Segment) -> None:
        with contextlib.suppress(ValueError):
            self._segments.remove(segment)
        self._delete(segment)
        claim = self._foreign.pop(segment, None)
        if claim is not None and claim not in self._foreign.values():
            self._claims.remove(claim)
            claim.release()

    def _delete(self, segment: Segment) -> None:
        try:
            segment.delete()
        except OSError as error:
            self._on_disk_trouble(error)

    def _adopt(self) -> None:
        for claim in Claim.adopt_all(self._root):
            segments = []
            for path in sorted(claim.folder.glob(f"*{SUFFIX}")):
                with contextlib.suppress(OSError):
                    segment = _adopt_segment(path)
                    if segment is not None:
                        segments.append(segment)
            # What is taken in here goes behind the segments: where the same call is in both, theirs counts.
            self._close_calls(claim)
            if not segments:
                claim.release()
                continue
            with self._lock:
                self._claims.append(claim)
                self._foreign.update(dict.fromkeys(segments, claim))
                self.adopted += sum(segment.pending_count for segment in segments)
                self._segments.extendleft(reversed(segments))
                self._enforce_bounds()

    def _close_calls(self, claim: Claim) -> None:
        """Take in the calls that were open when the process of `claim` ended."""
        for path in sorted(claim.folder.glob(f"*{OPEN_SUFFIX}")):
            with contextlib.suppress(OSError):
                for record in read_open_calls(path):
                    if not self.append(record):
                        return
                path.unlink(missing_ok=True)


def _adopt_segment(path: Path) -> Segment | None:
    """Open a segment; one that holds nothing is removed, and one of another version is set aside for that version."""
    try:
        segment = Segment.adopt(path)
    except ValueError as error:
        aside = path.with_suffix(UNREADABLE_SUFFIX)
        path.replace(aside)
        LOGGER.error("a part of the journal is kept as %s: %s", aside, error)
        return None
    if segment is None:
        path.unlink(missing_ok=True)
    return segment
