"""Dead letters that are sent again or given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from uuid_utils.compat import uuid7

from ingest.errors import DatabaseUnavailableError, InvalidArgumentError
from ingest.notices import Notices
from ingest.record.dead_letters import DeadLetters
from ingest.record.delivery import Delivery
from ingest.record.encoding import USAGE, encode
from ingest.record.redelivery import drop_letters, retry_letters
from tests.unit.record.fakes import FakeDatabase

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def letters(tmp_path: Path) -> DeadLetters:
    letters = DeadLetters(tmp_path / "dead-letter.jsonl")
    for event_id in "abc":
        letters.write("record_usage", {"event_id": event_id, "user_id": event_id}, "no")
    letters.write("record_performance", {"event_id": "d"}, "no")
    return letters


def deliver_to(letters: DeadLetters) -> Delivery:
    return Delivery(lambda _: None, letters, Notices())


def ids(letters: DeadLetters) -> list[str]:
    return [letter.event_id for letter in letters.read()]


def test_all_go_to_their_functions_and_are_gone(letters: DeadLetters) -> None:
    database = FakeDatabase()
    done = retry_letters(letters, deliver_to(letters), database)
    assert (done.taken, done.stored, done.known, done.refused) == (4, 4, 0, 0)
    assert (sorted(database.usage), sorted(database.performance)) == (["a", "b", "c"], ["d"])
    assert ids(letters) == []


def test_only_those_named_go(letters: DeadLetters) -> None:
    database = FakeDatabase()
    assert retry_letters(letters, deliver_to(letters), database, ["b"]).stored == 1
    assert (sorted(database.usage), ids(letters)) == (["b"], ["a", "c", "d"])


def test_what_is_refused_again_stays(letters: DeadLetters) -> None:
    database = FakeDatabase()
    database.refuses = lambda event: (
        InvalidArgumentError("still no", sqlstate="23514") if event["event_id"] == "b" else None
    )
    done = retry_letters(letters, deliver_to(letters), database)
    assert (done.taken, done.stored, done.refused, ids(letters)) == (4, 3, 1, ["b"])


def test_nothing_is_lost_when_the_database_goes_away(letters: DeadLetters) -> None:
    database = FakeDatabase()
    database.failures = [DatabaseUnavailableError("away")]
    with pytest.raises(DatabaseUnavailableError):
        retry_letters(letters, deliver_to(letters), database)
    assert ids(letters) == ["a", "b", "c", "d"]
    assert retry_letters(letters, deliver_to(letters), database).stored == 4


def test_a_record_of_a_newer_version_is_read_once_that_version_runs(tmp_path: Path, letters: DeadLetters) -> None:
    drop_letters(letters)
    event_id = str(uuid7())
    newer = Delivery(lambda _: None, letters, Notices())
    record = encode(USAGE, {"event_id": event_id, "user_id": "\N{LATIN SMALL LETTER U WITH DIAERESIS}"})
    newer.prepare([(b"?" + record[1:], 1)])
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"P3s", b"dXs"))  # base64 of "?{" and "u{": as if "?" were known by now
    database = FakeDatabase()
    assert retry_letters(letters, deliver_to(letters), database).stored == 1
    assert database.usage[event_id]["user_id"] == "\N{LATIN SMALL LETTER U WITH DIAERESIS}"


def test_those_named_or_all_are_dropped(letters: DeadLetters) -> None:
    assert drop_letters(letters, ["a", "nobody's"]) == 1
    assert ids(letters) == ["b", "c", "d"]
    assert drop_letters(letters) == 3
    assert ids(letters) == []
