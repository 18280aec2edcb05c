"""Batches on their way to the database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from ingest.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    FunctionNotFoundError,
    InvalidArgumentError,
    PermissionDeniedError,
)
from ingest.notices import Notices
from ingest.record.dead_letters import DeadLetters
from ingest.record.delivery import MAX_ENCODING_FAILURES, Delivery
from ingest.record.encoding import PERFORMANCE, USAGE, encode
from tests.unit.record.fakes import FakeDatabase

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.record.event import Event


def leave(event: Event) -> None:
    event["cost_source"] = "unpriced"


def bad_value() -> InvalidArgumentError:
    return InvalidArgumentError("bad", sqlstate="22P02")


def make(tmp_path: Path) -> Delivery:
    return Delivery(leave, DeadLetters(tmp_path / "dead-letter.jsonl"), Notices())


def records(count: int, kind: bytes = USAGE, **fields: object) -> list[tuple[bytes, int]]:
    return [
        (encode(kind, {"event_id": uuid7().hex, "user_id": str(number), **fields}), number + 1)
        for number in range(count)
    ]


def send(delivery: Delivery, database: FakeDatabase, taken: list[tuple[bytes, int]]) -> None:
    batch = delivery.prepare(taken)
    assert batch is not None
    delivery.send(batch, database)


def letters(tmp_path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (tmp_path / "dead-letter.jsonl").read_text().splitlines()]


def test_each_kind_goes_to_its_function(tmp_path: Path) -> None:
    database, delivery = FakeDatabase(), make(tmp_path)
    send(delivery, database, records(3) + records(2, PERFORMANCE))
    assert database.calls == [("record_usage", 3), ("record_performance", 2)]
    assert (len(database.usage), len(database.performance)) == (3, 2)
    assert (delivery.tally.delivered, delivery.tally.stored) == (5, 5)


def test_a_repeat_is_delivered_and_not_stored(tmp_path: Path) -> None:
    database, delivery = FakeDatabase(), make(tmp_path)
    taken = records(3)
    send(delivery, database, taken)
    send(delivery, database, taken)
    assert (delivery.tally.delivered, delivery.tally.stored) == (6, 3)


def test_nothing_makes_no_batch(tmp_path: Path) -> None:
    assert make(tmp_path).prepare([]) is None


@settings(deadline=None)
@given(bad=st.sets(st.integers(min_value=0, max_value=29)), count=st.integers(min_value=1, max_value=30))
def test_only_the_bad_events_of_a_batch_are_refused(
    tmp_path_factory: pytest.TempPathFactory, bad: set[int], count: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("refused")
    database, delivery = FakeDatabase(), make(tmp_path)
    database.refuses = lambda event: bad_value() if int(str(event["user_id"])) in bad else None
    send(delivery, database, records(count))
    refused = bad & set(range(count))
    assert {int(str(event["user_id"])) for event in database.usage.values()} == set(range(count)) - refused
    assert delivery.tally.refused == len(refused)
    if refused:
        assert [letter["reason"] for letter in letters(tmp_path)] == ["bad"] * len(refused)


@pytest.mark.parametrize(
    "error",
    [
        DatabaseUnavailableError("away"),
        PermissionDeniedError("no"),
        FunctionNotFoundError("none"),
        DatabaseError("the API answered 402"),
        InvalidArgumentError("raised by a trigger", sqlstate="P0001"),
        ConnectionResetError("a database of the caller's own"),
    ],
)
def test_a_failure_that_people_or_time_put_right_refuses_nothing(tmp_path: Path, error: Exception) -> None:
    database, delivery = FakeDatabase(), make(tmp_path)
    batch = delivery.prepare(records(3))
    assert batch is not None
    database.failures = [error] * 10
    for _ in range(10):
        with pytest.raises(type(error)):
            delivery.send(batch, database)
    delivery.send(batch, database)
    assert len(database.usage) == 3
    assert not (tmp_path / "dead-letter.jsonl").exists()


def test_an_outage_in_the_middle_goes_on_where_it_stopped(tmp_path: Path) -> None:
    database, delivery = FakeDatabase(), make(tmp_path)
    batch = delivery.prepare(records(4))
    assert batch is not None
    database.failures = [
        bad_value(),
        bad_value(),
        bad_value(),
    ]
    database.failures.append(DatabaseUnavailableError("away"))
    with pytest.raises(DatabaseUnavailableError):
        delivery.send(batch, database)
    delivery.send(batch, database)
    assert len(database.usage) == 3
    assert len(letters(tmp_path)) == delivery.tally.refused == 1


def test_a_failure_of_another_kind_is_tried_again_some_times_and_then_the_event_is_to_blame(tmp_path: Path) -> None:
    database, delivery = FakeDatabase(), make(tmp_path)
    batch = delivery.prepare(records(2))
    assert batch is not None
    database.refuses = lambda event: TypeError("a fault of ours") if event["user_id"] == "1" else None
    for _ in range(MAX_ENCODING_FAILURES):
        with pytest.raises(TypeError):
            delivery.send(batch, database)
    delivery.send(batch, database)
    assert [event["user_id"] for event in database.usage.values()] == ["0"]
    assert delivery.tally.refused == 1


def test_a_record_that_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    database, delivery = FakeDatabase(), make(tmp_path)
    send(delivery, database, [(b"z{}", 1), *records(2), (b"u{", 4)])
    assert len(database.usage) == 2
    assert [letter["kind"] for letter in letters(tmp_path)] == ["unreadable", "unreadable"]


def test_where_nothing_can_be_set_aside_it_is_counted_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "dead-letter.jsonl").mkdir()
    delivery = make(tmp_path)
    assert delivery.prepare([(b"z{}", 1)]) is not None
    assert delivery.tally.refused == 1
    assert "is lost" in caplog.text


def test_what_was_put_right_and_what_has_no_price_is_counted(tmp_path: Path) -> None:
    delivery = make(tmp_path)
    delivery.prepare(records(1) + records(1, user_id=None))
    assert delivery.tally.unpriced == 2
    assert delivery.tally.corrected == 2  # no model, no counts

    def fall_back(event: Event) -> None:
        event["cost_source"] = "fallback"

    delivery = Delivery(fall_back, DeadLetters(tmp_path / "dead-letter.jsonl"), Notices())
    delivery.prepare(records(1))
    assert delivery.tally.fallback_priced == 1


def test_other_threads_run_after_every_five_events_and_every_fifteen_while_a_batch_becomes_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[float] = []
    monkeypatch.setattr("ingest.record.delivery.time.sleep", turns.append)
    batch = make(tmp_path).prepare(records(50))
    assert turns == [0] * 10
    assert batch is not None
    [(_, events)] = batch.parts
    text = json.dumps(events)
    assert turns == [0] * 13
    assert text == json.dumps([dict(event) for event in events])
