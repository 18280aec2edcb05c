"""Which event it is: id and time."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from uuid_utils.compat import uuid7

from ingest.record import event_id as event_ids
from ingest.record.event import time_of_uuid7
from ingest.record.event_id import new_id, resolve_identity

AT = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)


def test_an_id_and_a_time_are_taken_as_they_are() -> None:
    event_id = uuid.uuid4()
    assert resolve_identity(event_id, AT) == (event_id, "2026-11-23T20:00:00+00:00", [])
    assert resolve_identity(str(event_id), AT) == (event_id, "2026-11-23T20:00:00+00:00", [])


def test_a_time_is_kept_in_utc() -> None:
    local = datetime(2026, 11, 23, 21, 0, tzinfo=timezone(timedelta(hours=1)))
    identity = resolve_identity(uuid7(), local)
    assert identity is not None
    assert identity[1] == "2026-11-23T20:00:00+00:00"


def test_a_time_alone_gets_a_new_id() -> None:
    first, second = resolve_identity(None, AT), resolve_identity(None, AT)
    assert first is not None
    assert second is not None
    assert first[0] != second[0]
    assert first[0].version == 7


def test_a_uuid7_alone_gives_the_time() -> None:
    event_id = uuid7()
    identity = resolve_identity(event_id, None)
    made_at = time_of_uuid7(event_id.int)
    assert made_at is not None
    assert identity == (event_id, made_at.isoformat(), [])


def test_another_id_alone_is_flagged_since_its_repeat_cannot_be_recognised() -> None:
    identity = resolve_identity(uuid.uuid4(), None)
    assert identity is not None
    assert identity[2] == ["event_id:repeat_not_recognisable"]


def test_a_time_without_a_zone_is_utc() -> None:
    identity = resolve_identity(uuid7(), AT.replace(tzinfo=None))
    assert identity is not None
    assert identity[1:] == ("2026-11-23T20:00:00+00:00", ["created_at:without_zone"])


def test_a_time_as_text_is_read() -> None:
    identity = resolve_identity(uuid7(), "2026-11-23T20:00:00Z")
    assert identity is not None
    assert identity[1:] == ("2026-11-23T20:00:00+00:00", [])


@pytest.mark.parametrize(
    "value", ["yesterday", 12.5, object(), datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))]
)
def test_what_is_no_time_is_flagged(value: object) -> None:
    identity = resolve_identity(None, value)
    assert identity is not None
    assert identity[2] == ["created_at:not_a_time"]


def test_text_that_is_no_uuid_gives_the_same_id_each_time() -> None:
    first, second = resolve_identity("chatcmpl-\ud8001", AT), resolve_identity("chatcmpl-\ud8001", AT)
    assert first == second
    assert first is not None
    assert first[2] == ["event_id:not_a_uuid"]


def test_with_neither_both_are_made_by_the_caller() -> None:
    assert resolve_identity(None, None) is None


def test_new_ids_follow_a_clock_that_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    month_ahead_ms = int((datetime.now(UTC) + timedelta(days=31)).timestamp() * 1000)
    stuck = uuid.UUID(int=month_ahead_ms << 80 | 0x7 << 76 | 0x2 << 62)
    monkeypatch.setattr(event_ids, "uuid7", lambda: stuck)
    made = [new_id() for _ in range(100)]
    assert len(set(made)) == 100
    for one in made:
        moment = time_of_uuid7(one.int)
        assert moment is not None
        assert abs(moment - datetime.now(UTC)) < timedelta(minutes=1)
        assert (one.version, one.variant) == (7, uuid.RFC_4122)


@pytest.mark.parametrize("number", [1_795_435_200, 1_795_435_200.0, 1_795_435_200_000])
def test_a_number_is_taken_as_seconds_or_milliseconds_since_1970_and_flagged(number: float) -> None:
    settled = resolve_identity(None, number)
    assert settled is not None
    assert settled[1:] == ("2026-11-23T12:00:00+00:00", ["created_at:epoch"])


@pytest.mark.parametrize("number", [0, -5, 3.5, 1e300, float("nan"), float("inf"), True])
def test_a_number_that_is_no_time_of_these_days_is_flagged_and_replaced_by_now(number: float) -> None:
    settled = resolve_identity(None, number)
    assert settled is not None
    assert settled[1][:4] >= "2026"
    assert settled[2] == ["created_at:not_a_time"]
