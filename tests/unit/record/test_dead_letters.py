"""The file of refused events."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

from ingest.record.dead_letters import MAX_FILES, DeadLetters, read_letters

if TYPE_CHECKING:
    from pathlib import Path


def test_each_line_is_an_event_with_its_reason(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "home" / "dead-letter.jsonl")
    letters.write("record_usage", {"event_id": "1"}, "no")
    letters.write("record_usage", {"event_id": "2"}, "never")
    lines = [json.loads(line) for line in letters.path.read_text().splitlines()]
    assert [(line["event"], line["reason"], line["kind"]) for line in lines] == [
        ({"event_id": "1"}, "no", "record_usage"),
        ({"event_id": "2"}, "never", "record_usage"),
    ]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead-letter.jsonl")
    letters.write("record_usage", {}, "no")
    assert stat.S_IMODE(letters.path.stat().st_mode) == 0o600


def test_full_files_are_moved_aside_and_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead-letter.jsonl", max_bytes=150)
    had_to_go = [letters.write("record_usage", {"event_id": str(number)}, "no") for number in range(20)]
    assert had_to_go == [False] * 17 + [True, False, True]  # two letters a file, eight files
    assert [letter.event_id for letter in letters.read()] == [str(number) for number in range(4, 20)]
    assert len(list(tmp_path.glob("*.jsonl"))) == MAX_FILES


def test_a_line_that_was_cut_short_hides_no_other(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead-letter.jsonl")
    letters.path.write_bytes(b'{"refused_at": "2026\n[1]\n{"event": 1, "kind": "x"}\n')
    letters.write("record_usage", {"event_id": "1"}, "no")
    assert [letter.event_id for letter in letters.read()] == ["1"]


def test_nobody_appends_to_what_was_taken(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead-letter.jsonl")
    assert letters.take() == []
    letters.write("record_usage", {"event_id": "1"}, "no")
    (taken,) = letters.take()
    letters.write("record_usage", {"event_id": "2"}, "no")
    assert [letter.event_id for _, letter in read_letters(taken) if letter] == ["1"]
