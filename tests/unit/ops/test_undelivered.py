"""What `status` and `doctor` say of events that the database does not have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from ingest.database.health import Level
from ingest.ops import undelivered
from ingest.ops.undelivered import judge_undelivered
from ingest.record.dead_letters import DeadLetters
from ingest.record.survey import Survey

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def judge(home: Path, survey: Survey, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Level, str]]:
    monkeypatch.setattr(undelivered, "survey_journals", lambda _: survey)
    return {finding.part: (finding.level, str(finding)) for finding in judge_undelivered(home, NOW)}


def test_nothing_undelivered_is_fine(tmp_path: Path) -> None:
    findings = judge_undelivered(tmp_path, NOW)
    assert [(finding.part, finding.level) for finding in findings] == [
        ("undelivered events", Level.OK),
        ("dead letters", Level.OK),
    ]


@pytest.mark.parametrize(
    ("age_s", "left", "level"),
    [(10, 0, Level.OK), (10, 1, Level.WARNING), (120, 0, Level.WARNING), (3600, 0, Level.CRITICAL)],
)
def test_the_age_of_the_oldest_and_the_end_of_its_process_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age_s: int, left: int, level: Level
) -> None:
    survey = Survey(waiting=2, left=left, oldest_at=NOW - timedelta(seconds=age_s))
    found, message = judge(tmp_path, survey, monkeypatch)["undelivered events"]
    assert found is level
    assert ("treering worker" in message) is bool(left)


def test_an_unreadable_journal_is_critical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    level, message = judge(tmp_path, Survey(unreadable=["/a (no)", "/b (no)"]), monkeypatch)["unreadable journal"]
    assert level is Level.CRITICAL
    assert "/a (no) and 1 more" in message


def test_dead_letters_are_counted_with_the_last_reason(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead-letter.jsonl")
    letters.write("record_usage", {"event_id": "1"}, "first")
    letters.write("record_usage", {"event_id": "2"}, "second")
    finding = judge_undelivered(tmp_path, NOW)[-1]
    assert (finding.part, finding.level) == ("dead letters", Level.WARNING)
    assert finding.message.startswith("2, the last refused for: second")
