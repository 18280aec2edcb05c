"""When the flusher sends, waits and tries again."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest

from ingest.errors import DatabaseUnavailableError, PermissionDeniedError
from ingest.notices import Notices
from ingest.record.dead_letters import DeadLetters
from ingest.record.delivery import Delivery
from ingest.record.encoding import USAGE, encode
from ingest.record.flusher import MAINTENANCE_INTERVAL_S, MAX_BACKOFF_S, Backoff, Flusher
from ingest.record.journal import MIN_JOURNAL_BYTES, Journal
from tests.unit.record.fakes import FakeClock, FakeDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from ingest.database import Argument, Database, JsonValue
    from ingest.record.delivery import Batch

INTERVAL_S = 2.0


class Bench:
    """A flusher with everything around it, stepped by hand."""

    def __init__(self, tmp_path: Path, open_database: Callable[[], Database] | None = None) -> None:
        self.clock = FakeClock()
        self.database = FakeDatabase()
        self.journal = Journal(tmp_path / "journal", max_bytes=MIN_JOURNAL_BYTES, on_disk_trouble=lambda _: None)
        notices = Notices(self.clock)
        self.flusher = Flusher(
            self.journal,
            lambda: Delivery(lambda _: None, DeadLetters(tmp_path / "dead-letter.jsonl"), notices),
            open_database or (lambda: self.database),
            notices,
            Backoff(random.Random(1)),
            batch_size=10,
            interval_s=INTERVAL_S,
            clock=self.clock,
        )

    def record(self, count: int) -> None:
        for number in range(count):
            self.journal.append(encode(USAGE, {"event_id": f"{self.journal.appended:032x}", "user_id": str(number)}))

    def fail(self, error: Exception) -> float:
        self.database.failures = [error]
        with pytest.raises(type(error)) as raised:
            self.flusher.step()
        return self.flusher._fail(raised.value)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_with_nothing_to_do_it_sleeps_until_maintenance(bench: Bench) -> None:
    assert bench.flusher.step() == MAINTENANCE_INTERVAL_S
    assert bench.flusher.is_idle


def test_a_few_events_wait_for_more_and_then_go_together(bench: Bench) -> None:
    bench.record(2)
    assert bench.flusher.step() == INTERVAL_S
    bench.clock.now += INTERVAL_S / 2
    bench.record(1)
    assert bench.flusher.step() == INTERVAL_S / 2
    assert bench.database.calls == []
    bench.clock.now += INTERVAL_S / 2
    assert bench.flusher.step() == 0
    assert bench.database.calls == [("record_usage", 3)]
    assert bench.journal.pending == 0


def test_a_full_batch_goes_at_once(bench: Bench) -> None:
    bench.record(25)
    assert bench.flusher.step() == 0
    assert bench.database.calls == [("record_usage", 10), ("record_usage", 10)]
    assert bench.flusher.step() == INTERVAL_S


def test_the_next_batch_is_prepared_while_one_is_sent(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.record(30)
    prepared = threading.Semaphore(0)
    prepare, call = Delivery.prepare, bench.database.call

    def prepare_and_tell(delivery: Delivery, records: Iterable[tuple[bytes, int]]) -> Batch | None:
        batch = prepare(delivery, records)
        prepared.release()
        return batch

    def call_once_the_next_is_there(function: str, /, **arguments: Argument) -> JsonValue:
        # Its own batch and, but for the last, the one after it.
        needed = 2 if not bench.database.calls else 1 if len(bench.database.calls) == 1 else 0
        assert all(prepared.acquire(timeout=60) for _ in range(needed))
        return call(function, **arguments)

    monkeypatch.setattr(Delivery, "prepare", prepare_and_tell)
    monkeypatch.setattr(bench.database, "call", call_once_the_next_is_there)
    assert bench.flusher.step() == 0
    assert bench.database.calls == [("record_usage", 10)] * 3
    assert len(bench.database.usage) == 30


def test_what_was_prepared_meanwhile_is_kept_when_sending_fails(bench: Bench) -> None:
    bench.record(30)
    bench.fail(DatabaseUnavailableError("away"))
    while bench.journal.pending:
        bench.clock.now += max(bench.flusher.step(), 0.001)
    assert bench.database.calls == [("record_usage", 10)] * 4
    assert len(bench.database.usage) == 30


def test_a_failed_batch_is_sent_again_after_a_pause_that_grows(bench: Bench) -> None:
    bench.record(10)
    delays = [bench.fail(DatabaseUnavailableError("away"))]
    for _ in range(9):
        assert bench.flusher.step() == pytest.approx(delays[-1])
        bench.clock.now += delays[-1]
        delays.append(bench.fail(DatabaseUnavailableError("away")))
    assert delays[0] <= 0.25
    assert MAX_BACKOFF_S / 2 <= delays[-1] <= MAX_BACKOFF_S
    bench.clock.now += delays[-1]
    assert bench.flusher.step() == 0
    assert len(bench.database.usage) == 10
    assert bench.journal.pending == 0
    bench.record(10)
    assert bench.fail(DatabaseUnavailableError("away")) <= 0.25


def test_the_last_failure_is_told_until_a_success(bench: Bench) -> None:
    bench.record(10)
    bench.clock.now += bench.fail(DatabaseUnavailableError("away"))
    told = [bench.flusher.last_error]
    bench.flusher.step()
    assert [*told, bench.flusher.last_error] == ["DatabaseUnavailableError: away", None]


def test_while_a_pause_lasts_nothing_is_sent(bench: Bench) -> None:
    bench.record(10)
    delay_s = bench.fail(PermissionDeniedError("no"))
    bench.record(10)
    bench.clock.now += delay_s / 2
    assert bench.flusher.step() == pytest.approx(delay_s / 2)
    assert len(bench.database.calls) == 1


def test_a_database_that_cannot_be_reached_is_opened_anew(bench: Bench) -> None:
    bench.record(10)
    bench.fail(DatabaseUnavailableError("away"))
    assert bench.database.closed == 1


def test_a_database_that_refuses_stays_open(bench: Bench) -> None:
    bench.record(10)
    bench.fail(PermissionDeniedError("no"))
    assert bench.database.closed == 0


def test_until_there_is_a_database_events_stay_in_the_journal(tmp_path: Path) -> None:
    database = FakeDatabase()
    answers: list[Database | None] = [None, None, database]

    def open_database() -> Database:
        answer = answers.pop(0)
        if answer is None:
            raise DatabaseUnavailableError("not yet")
        return answer

    bench = Bench(tmp_path, open_database)
    bench.record(10)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailableError) as raised:
            bench.flusher.step()
        bench.clock.now += bench.flusher._fail(raised.value)
    bench.flusher.step()
    assert len(database.usage) == 10


def test_a_flush_does_not_wait_for_more_nor_for_the_pause(bench: Bench) -> None:
    bench.record(1)
    bench.clock.now += INTERVAL_S
    bench.flusher.step()
    bench.record(1)
    assert bench.flusher.step() == INTERVAL_S
    results: list[bool] = []
    waiter = threading.Thread(target=lambda: results.append(bench.flusher.wait_settled(30)))
    waiter.start()
    bench.flusher._bell.get(timeout=30)  # it has asked
    assert bench.flusher.step() == 0
    waiter.join(30)
    assert results == [True]


def test_a_flush_ends_at_its_deadline(bench: Bench) -> None:
    bench.record(1)
    assert not bench.flusher.wait_settled(0)


def test_an_impatient_flush_ends_at_the_first_failure(bench: Bench) -> None:
    bench.record(1)
    results: list[bool] = []
    waiter = threading.Thread(target=lambda: results.append(bench.flusher.wait_settled(60, is_patient=False)))
    waiter.start()
    bench.flusher._bell.get(timeout=30)
    bench.fail(DatabaseUnavailableError("away"))
    waiter.join(30)
    assert results == [False]


def test_maintenance_comes_round_again(bench: Bench, tmp_path: Path) -> None:
    bench.flusher.step()
    left = Journal(tmp_path / "journal", max_bytes=MIN_JOURNAL_BYTES, on_disk_trouble=lambda _: None)
    left.append(encode(USAGE, {"event_id": "f" * 32}))
    left.close()
    bench.flusher.step()
    assert bench.journal.adopted == 0
    bench.clock.now += MAINTENANCE_INTERVAL_S
    bench.flusher.step()
    assert bench.journal.adopted == 1


def test_a_fault_does_not_end_the_thread(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [RuntimeError("a fault of ours")]
    step = bench.flusher.step

    def fail_once() -> float:
        if faults:
            raise faults.pop()
        bench.clock.now += MAX_BACKOFF_S
        step()
        bench.flusher.stop()
        return 0

    bench.record(10)
    monkeypatch.setattr(bench.flusher, "step", fail_once)
    thread = threading.Thread(target=bench.flusher.run)
    thread.start()
    bench.flusher.ring()
    thread.join(30)
    assert len(bench.database.usage) == 10
    assert bench.flusher.failed_calls == 1
    assert bench.database.closed == 1


def test_a_database_that_cannot_be_closed_is_no_trouble(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("broken pipe")

    bench.record(10)
    bench.flusher.step()
    monkeypatch.setattr(bench.database, "close", fail)
    bench.flusher.stop()
    bench.flusher.run()
    assert "could not be closed" in caplog.text
