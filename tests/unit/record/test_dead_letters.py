"""The file of refused events."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

from ingest.record.dead_letters import DeadLetters

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


def test_a_full_file_is_moved_over_the_one_before(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead-letter.jsonl", max_bytes=150)
    for number in range(6):
        letters.write("record_usage", {"event_id": str(number)}, "no")
    kept = [path.name for path in tmp_path.iterdir()]
    assert kept == ["dead-letter.1.jsonl"]
    assert [json.loads(line)["event"]["event_id"] for line in (tmp_path / kept[0]).read_text().splitlines()] == [
        "4",
        "5",
    ]
