"""What is found in the journals of a home folder."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from ingest.record.encoding import USAGE, encode
from ingest.record.journal import MIN_JOURNAL_BYTES, Journal
from ingest.record.segment import HEADER_BYTES, Segment
from ingest.record.survey import survey_journals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# 2026-11-23T12:00:00Z is 1,795,435,200 s after 1970: the first 48 bits of a UUIDv7 are its milliseconds.
EVENT_ID = f"{1_795_435_200_000:012x}"[:8] + "-" + f"{1_795_435_200_000:012x}"[8:] + "-7000-8000-000000000000"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal", max_bytes=MIN_JOURNAL_BYTES, on_disk_trouble=lambda _: None)
    yield journal
    journal.close()


def test_a_home_without_a_journal_has_nothing(tmp_path: Path) -> None:
    survey = survey_journals(tmp_path / "nowhere")
    assert (survey.waiting, survey.left, survey.oldest_at, survey.unreadable) == (0, 0, None, [])


def test_events_of_a_running_process_wait_and_those_of_an_ended_one_are_left(tmp_path: Path, journal: Journal) -> None:
    for _ in range(3):
        journal.append(encode(USAGE, {"event_id": EVENT_ID}))
    survey = survey_journals(tmp_path)
    assert (survey.waiting, survey.left) == (3, 0)
    assert survey.oldest_at == datetime(2026, 11, 23, 12, tzinfo=UTC)
    records = list(journal.read(1))
    journal.acknowledge(records[0][1], 1)
    assert survey_journals(tmp_path).waiting == 2
    journal.abandon()  # as a killed process does
    survey = survey_journals(tmp_path)
    assert (survey.waiting, survey.left) == (0, 2)


def test_looking_changes_nothing(tmp_path: Path, journal: Journal) -> None:
    journal.append(encode(USAGE, {"event_id": EVENT_ID}))
    before = {path: path.stat() for path in tmp_path.rglob("*")}
    survey_journals(tmp_path)
    after = {path: path.stat() for path in tmp_path.rglob("*")}
    assert {path: (stat.st_size, stat.st_mtime_ns) for path, stat in before.items()} == {
        path: (stat.st_size, stat.st_mtime_ns) for path, stat in after.items()
    }


def test_a_segment_of_another_version_is_named_before_and_after_it_was_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "journal" / "0001-1-dead"
    folder.mkdir(parents=True)
    path = folder / "000000000001.journal"
    path.write_bytes(b"treerng9" + b"x" * 100)
    assert [str(path) in text for text in survey_journals(tmp_path).unreadable] == [True]
    journal = Journal(tmp_path / "journal", max_bytes=MIN_JOURNAL_BYTES, on_disk_trouble=lambda _: None)
    journal.maintain()
    journal.close()
    aside = path.with_suffix(".unreadable")
    assert aside.read_bytes() == b"treerng9" + b"x" * 100
    assert [str(aside) in text for text in survey_journals(tmp_path).unreadable] == [True]
    assert str(aside) in caplog.text


def test_a_segment_whose_process_died_before_it_wrote_is_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "journal" / "0001-1-dead"
    folder.mkdir(parents=True)
    (folder / "000000000001.journal").write_bytes(bytes(4096))
    (folder / "000000000002.journal").write_bytes(b"")
    survey = survey_journals(tmp_path)
    assert (survey.left, survey.unreadable) == (0, [])
    assert Segment.adopt(folder / "000000000001.journal") is None
    assert HEADER_BYTES < 4096


def test_a_folder_where_the_journal_should_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file")
    assert survey_journals(tmp_path).unreadable == [f"{tmp_path / 'journal'} (Not a directory)"]
