"""The journal's files."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.record.segment import HEADER_BYTES, RECORD_HEADER, Segment

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 4096


def payloads(segment: Segment, max_count: int = 1000) -> list[bytes]:
    return [payload for payload, _ in segment.read(max_count)]


def test_records_come_back_in_the_order_they_were_written(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path / "a", SIZE)
    assert all(segment.append(record) for record in (b"one", b"two", b"three"))
    assert payloads(segment) == [b"one", b"two", b"three"]
    assert payloads(segment, 2) == [b"one", b"two"]


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_record_that_does_not_fit_is_not_written(tmp_path: Path, in_memory: bool) -> None:
    size = HEADER_BYTES + RECORD_HEADER.size + 10
    segment = Segment.in_memory(size) if in_memory else Segment.create(tmp_path / "a", size)
    assert not segment.append(b"x" * 11)
    assert segment.append(b"x" * 10)
    assert not segment.append(b"")
    assert payloads(segment) == [b"x" * 10]


def test_another_process_finds_what_was_not_delivered(tmp_path: Path) -> None:
    first = Segment.create(tmp_path / "a", SIZE)
    for record in (b"one", b"two", b"three"):
        first.append(record)
    (_, offset), *_ = first.read(1)
    first.acknowledge(offset, 1)
    second = Segment.adopt(tmp_path / "a")
    assert second is not None
    assert second.pending_count == 2
    assert payloads(second) == [b"two", b"three"]


def test_an_adopted_file_gives_back_the_space_it_does_not_need(tmp_path: Path) -> None:
    Segment.create(tmp_path / "a", SIZE).append(b"one")
    adopted = Segment.adopt(tmp_path / "a")
    assert adopted is not None
    assert adopted.size_bytes == (tmp_path / "a").stat().st_size == HEADER_BYTES + RECORD_HEADER.size + 3


def test_a_file_whose_records_were_all_delivered_is_not_adopted(tmp_path: Path) -> None:
    first = Segment.create(tmp_path / "a", SIZE)
    first.append(b"one")
    first.acknowledge(first.end, 1)
    assert Segment.adopt(tmp_path / "a") is None


@pytest.mark.parametrize("content", [b"", b"treerng1", bytes(SIZE)])
def test_a_file_that_holds_nothing_is_not_adopted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert Segment.adopt(tmp_path / "a") is None


@pytest.mark.parametrize("content", [b"something else" * 100, b"treerng9" + bytes(SIZE)])
def test_a_file_of_another_kind_or_version_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match="no journal of this version"):
        Segment.adopt(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content


@settings(deadline=None)
@given(records=st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=20), data=st.data())
def test_whatever_is_cut_off_the_end_the_records_before_it_are_found(
    tmp_path_factory: pytest.TempPathFactory, records: list[bytes], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("torn") / "a"
    segment = Segment.create(path, SIZE)
    ends = []
    for record in records:
        segment.append(record)
        ends.append(segment.end)
    cut = data.draw(st.integers(min_value=HEADER_BYTES + 1, max_value=segment.end))
    content = path.read_bytes()
    path.write_bytes(content[:cut] + bytes(SIZE - cut))
    whole = [record for record, end in zip(records, ends, strict=True) if content[cut:end].strip(b"\0") == b""]
    adopted = Segment.adopt(path)
    found = payloads(adopted) if adopted else []
    assert found == whole[: len(found)]
    assert len(found) >= sum(end <= cut for end in ends)


@settings(deadline=None)
@given(position=st.integers(min_value=0, max_value=2), bit=st.integers(min_value=0, max_value=7))
def test_a_damaged_record_is_passed_over_and_the_next_ones_are_found(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "a"
    segment = Segment.create(path, SIZE)
    records = [b"one", b"two", b"six"]
    for record in records:
        segment.append(record)
    content = bytearray(path.read_bytes())
    content[HEADER_BYTES + (RECORD_HEADER.size + 3) * position + RECORD_HEADER.size] ^= 1 << bit
    path.write_bytes(content)
    adopted = Segment.adopt(path)
    assert adopted is not None
    assert payloads(adopted) == [record for at, record in enumerate(records) if at != position]


def test_an_impossible_length_ends_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    segment = Segment.create(path, SIZE)
    segment.append(b"one")
    end = segment.end
    segment.append(b"two")
    content = bytearray(path.read_bytes())
    content[end : end + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    adopted = Segment.adopt(path)
    assert adopted is not None
    assert payloads(adopted) == [b"one"]


def test_an_unmapped_segment_can_be_read_again(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path / "a", SIZE)
    segment.append(b"one")
    segment.unmap()
    assert payloads(segment) == [b"one"]


def test_acknowledging_a_file_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path / "a", SIZE)
    segment.append(b"one")
    segment.unmap()
    segment.delete()
    segment.acknowledge(segment.end, 1)
    assert segment.pending_count == 0


def test_memory_is_not_given_back_before_it_is_delivered() -> None:
    segment = Segment.in_memory(SIZE)
    segment.append(b"one")
    segment.unmap()
    segment.delete()
    assert payloads(segment) == [b"one"]


def test_a_full_disk_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="No space left"):
        Segment.create(tmp_path / "a", SIZE)
    assert list(tmp_path.iterdir()) == []


def test_space_is_taken_beforehand_where_the_system_has_no_call_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    size = 200_000
    segment = Segment.create(tmp_path / "a", size)
    assert segment.size_bytes == (tmp_path / "a").stat().st_size == size
    assert (tmp_path / "a").stat().st_blocks * 512 >= size


def test_the_scan_of_a_long_file_lets_other_threads_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = Segment.create(tmp_path / "a", SIZE)
    for _ in range(23):
        segment.append(b"one")
    turns: list[float] = []
    monkeypatch.setattr("ingest.record.segment.time.sleep", turns.append)
    assert Segment.adopt(tmp_path / "a") is not None
    assert turns == [0, 0, 0, 0]
