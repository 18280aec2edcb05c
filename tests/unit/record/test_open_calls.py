"""Calls that go on, and what is left of them when their process ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from uuid_utils.compat import uuid7

from ingest.record.encoding import USAGE, decode, encode
from ingest.record.journal import MIN_JOURNAL_BYTES, Journal
from ingest.record.open_calls import MAX_FILES, MAX_RECORD_BYTES, SLOTS_PER_FILE, OpenCalls, read_open_calls
from ingest.record.survey import survey_journals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingest.record.event import Event

RECORD = encode(USAGE, {"event_id": uuid7().hex, "model": "gpt-4o", "prompt_tokens": 3, "completion_tokens": 0})


def left(folder: Path) -> list[Event]:
    return [decode(record)[1] for path in sorted(folder.glob("*.open")) for record in read_open_calls(path)]


def test_a_call_is_left_with_what_had_come_of_it(tmp_path: Path) -> None:
    call = OpenCalls().open(tmp_path, RECORD)
    assert call is not None
    assert [event["completion_tokens"] for event in left(tmp_path)] == [0]
    call.note(9, 1234.5)
    (event,) = left(tmp_path)
    assert (event["completion_tokens"], event["latency_ms"]) == (3, 1234.5)  # nine characters, four to a token
    assert event["metadata"]["treering_flags"][0] == "stream:process_ended"  # type: ignore[index, call-overload]


def test_a_call_that_ended_leaves_nothing_and_its_place_is_used_again(tmp_path: Path) -> None:
    calls = OpenCalls()
    for _ in range(3 * SLOTS_PER_FILE):
        call = calls.open(tmp_path, RECORD)
        assert call is not None
        call.close()
    assert left(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 1


def test_more_calls_take_more_files_up_to_a_limit(tmp_path: Path) -> None:
    calls = OpenCalls()
    opened = [calls.open(tmp_path, RECORD) for _ in range(MAX_FILES * SLOTS_PER_FILE + 2)]
    assert sum(call is not None for call in opened) == len(left(tmp_path)) == MAX_FILES * SLOTS_PER_FILE
    assert opened[-1] is None


def test_what_is_too_long_is_not_kept(tmp_path: Path) -> None:
    assert OpenCalls().open(tmp_path, bytes(MAX_RECORD_BYTES + 1)) is None


def test_a_slot_that_was_being_written_is_passed_over(tmp_path: Path) -> None:
    calls = OpenCalls()
    calls.open(tmp_path, RECORD)
    calls.open(tmp_path, RECORD)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content[: len(content) - 1])  # cut short as well
    assert len(list(read_open_calls(path))) == 1


def test_after_the_end_nothing_is_written_any_more(tmp_path: Path) -> None:
    calls = OpenCalls()
    call = calls.open(tmp_path, RECORD)
    assert call is not None
    calls.close()
    call.note(1, 1.0)
    call.close()
    assert not call.write(RECORD)
    assert calls.open(tmp_path, RECORD) is None
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def journals(tmp_path: Path) -> Iterator[tuple[Journal, Journal]]:
    first, second = (
        Journal(tmp_path / "journal", max_bytes=MIN_JOURNAL_BYTES, on_disk_trouble=lambda _: None) for _ in range(2)
    )
    yield first, second
    second.close()


def test_the_next_process_records_them_behind_what_was_recorded(
    tmp_path: Path, journals: tuple[Journal, Journal]
) -> None:
    first, second = journals
    assert first.open_call(RECORD) is not None
    first.append(RECORD)  # it died after the call was recorded and before its slot was freed
    second.maintain()
    assert second.pending == 0  # the first one lives
    first.abandon()
    assert survey_journals(tmp_path).left == 2
    second.maintain()
    assert [record for record, _ in second.read(9)] == [RECORD]
    assert (second.adopted, second.appended, second.pending) == (1, 1, 2)
    assert (survey_journals(tmp_path).left, survey_journals(tmp_path).waiting) == (0, 2)


def test_a_process_that_ends_in_order_leaves_no_file(tmp_path: Path, journals: tuple[Journal, Journal]) -> None:
    first, _ = journals
    call = first.open_call(RECORD)
    first.close()
    assert call is not None
    call.close()
    assert list(tmp_path.rglob("*.open")) == []
