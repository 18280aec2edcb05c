"""The functions that the product calls."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

import ingest
from ingest.errors import ConfigurationError, DatabaseUnavailableError, InvalidArgumentError
from ingest.record import capture, recorder
from ingest.record.journal import Journal
from ingest.record.process import make_from_environment
from ingest.record.recorder import IMPORT_LOCK
from tests.unit.record.fakes import FakeDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingest.database import Database


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A process without configuration; nothing is left running afterwards."""
    for name in list(os.environ):
        if name.startswith(("SUPABASE_", "TREERING_", "ENABLE_OBSERVABILITY")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TREERING_HOME", str(tmp_path))
    monkeypatch.setattr(capture._process, "_make", make_from_environment)
    monkeypatch.setattr(capture._process, "is_off", False)
    yield tmp_path
    capture._process.stop(0, is_patient=False)


@pytest.fixture
def database() -> FakeDatabase:
    database = FakeDatabase()
    ingest.configure(database=database, flush_interval_s=3600)
    return database


def record(**fields: object) -> uuid.UUID:
    arguments: dict[str, object] = {"user_id": "user_1", "model": "gpt-4o", "prompt_tokens": 150}
    return ingest.record_usage(**{"completion_tokens": 50, **arguments, **fields})  # type: ignore[arg-type]


def test_an_event_is_stored_with_all_that_was_said(database: FakeDatabase) -> None:
    event_id = record(
        session_id="s", feature="search", environment="staging", cached_tokens=100, reasoning_tokens=20, streamed=True,
        service_tier="default", status="cancelled", latency_ms=12.5, time_to_first_token_ms=3, metadata={"a": 1},
    )  # fmt: skip
    assert ingest.flush(30)
    assert event_id.version == 7
    event = database.usage[str(event_id)]
    cost = event.pop("estimated_cost")
    assert float(str(cost)) == (50 * 2.5 + 100 * 1.25 + 50 * 10) / 1e6
    assert event.pop("price_id")
    created_at = datetime.fromisoformat(str(event.pop("created_at")))
    assert abs((datetime.now(UTC) - created_at).total_seconds()) < 60
    assert event == {
        "event_id": str(event_id), "user_id": "user_1", "model": "gpt-4o", "prompt_tokens": 150,
        "completion_tokens": 50, "session_id": "s", "feature": "search", "environment": "staging",
        "provider": "openai", "operation": "chat", "cached_tokens": 100, "reasoning_tokens": 20,
        "service_tier": "default", "streamed": True, "status": "cancelled", "latency_ms": 12.5,
        "time_to_first_token_ms": 3, "attempt": 1, "usage_source": "reported", "metadata": {"a": 1},
        "cost_source": "priced",
    }  # fmt: skip


def test_a_request_is_stored(database: FakeDatabase) -> None:
    event_id = ingest.record_performance(route="/chat", method="POST", status_code=200, latency_ms=12.5)
    assert ingest.flush(30)
    event = database.performance[str(event_id)]
    assert (event["route"], event["method"], event["status_code"], event["latency_ms"]) == ("/chat", "POST", 200, 12.5)
    assert (event["environment"], event["sample_weight"]) == ("production", 1.0)
    assert "cost_source" not in event


def test_an_id_that_was_returned_recognises_its_repeat(database: FakeDatabase) -> None:
    event_id = record()
    assert record(event_id=event_id) == event_id
    ingest.flush(30)
    first = dict(database.usage[str(event_id)])
    assert len(database.usage) == 1
    record(event_id=str(event_id))
    ingest.flush(30)
    assert ingest.stats().delivered == 3
    assert ingest.stats().stored == 1
    assert first["created_at"] == database.usage[str(event_id)]["created_at"]


@pytest.mark.usefixtures("database")
def test_an_id_whose_repeat_cannot_be_recognised_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    record(event_id=uuid.uuid4())
    record(event_id=uuid.uuid4())
    record(event_id=uuid.uuid4(), created_at=datetime.now(UTC))
    assert [message for message in caplog.messages if "count it twice" in message] == [caplog.messages[0]]


def test_a_time_without_a_zone_is_warned_of(database: FakeDatabase, caplog: pytest.LogCaptureFixture) -> None:
    record(created_at=datetime(2026, 11, 1, 12, 0))  # noqa: DTZ001 -- the case itself
    ingest.flush(30)
    assert "read as UTC" in caplog.text
    assert [event["created_at"] for event in database.usage.values()] == ["2026-11-01T12:00:00+00:00"]


def test_a_time_alone_is_kept(database: FakeDatabase) -> None:
    record(created_at=datetime(2026, 11, 1, 12, 0, tzinfo=UTC), event_id=None)
    ingest.flush(30)
    assert [event["created_at"] for event in database.usage.values()] == ["2026-11-01T12:00:00+00:00"]


@pytest.mark.usefixtures("database")
def test_a_fault_of_ours_costs_the_caller_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> int:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Journal, "append", fail)
    assert record().version == 7
    assert ingest.stats().lost == 1
    assert "could not be recorded: RuntimeError" in caplog.text


def test_figures_tell_what_happened(database: FakeDatabase) -> None:
    assert ingest.stats().pending == 0
    database.refuses = lambda event: InvalidArgumentError("no", sqlstate="22P02") if event["user_id"] == "bad" else None
    record()
    record(user_id="bad")
    record(cached_tokens=151)
    record(model="gpt-99")
    assert ingest.stats().pending == 4
    assert ingest.flush(30)
    figures = ingest.stats()
    assert (figures.recorded, figures.stored, figures.refused, figures.pending) == (4, 3, 1, 0)
    assert (figures.corrected, figures.fallback_priced, figures.failed_calls) == (1, 1, 0)
    assert figures.is_on_disk
    assert figures.journal_bytes > 0
    assert figures.last_error is None


def test_refused_events_are_found_in_the_home(database: FakeDatabase, home: Path) -> None:
    database.refuses = lambda _: InvalidArgumentError("no", sqlstate="22P02")
    event_id = record()
    assert ingest.flush(30)
    line = json.loads((home / "dead-letter.jsonl").read_text())
    assert (line["event"]["event_id"], line["reason"]) == (str(event_id), "no")


def test_before_anything_is_recorded_there_is_nothing_to_do(home: Path) -> None:
    assert ingest.flush()
    assert ingest.shutdown()
    assert ingest.stats() == recorder.Stats()
    assert list(home.iterdir()) == []


def test_turned_off_it_leaves_no_trace(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENABLE_OBSERVABILITY", "false")
    threads = threading.active_count()
    assert record().version == 7
    assert record().version == 7
    assert ingest.record_performance(route="/", method="GET", status_code=200, latency_ms=1).version == 7
    assert ingest.flush()
    assert threading.active_count() <= threads  # one of an earlier test may have ended
    assert list(home.iterdir()) == []
    ingest.configure(enable_observability=True, database=FakeDatabase())
    record()
    assert ingest.stats().recorded == 1
    ingest.configure(enable_observability=False)
    assert ingest.stats() == recorder.Stats()


def test_without_a_database_the_journal_keeps_all_until_there_is_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = FakeDatabase()
    opened: list[str] = []

    class Opened:
        def __init__(self, conninfo: str) -> None:
            opened.append(conninfo)

        def __getattr__(self, name: str) -> object:
            return getattr(database, name)

    monkeypatch.setattr("ingest.database.opening.PostgresDatabase", Opened)
    event_id = record()
    assert not ingest.flush(0.2)
    assert "no database" in str(ingest.stats().last_error)
    (home / "database.uri").write_text("postgresql://authenticator@localhost/postgres\n")
    assert ingest.flush(30)
    assert str(event_id) in database.usage
    assert opened == ["postgresql://authenticator@localhost/postgres"]


def test_a_wrong_setting_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_URL", "not an address")
    with pytest.raises(ConfigurationError, match="SUPABASE_URL"):
        ingest.configure()


def test_a_wrong_setting_that_nobody_was_told_of_loses_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("METRICS_RETENTION_DAYS", "many")
    event_id = record()
    assert not ingest.flush(0.2)
    assert "METRICS_RETENTION_DAYS" in caplog.text
    assert (home / "journal").is_dir()
    ingest.shutdown(0)
    monkeypatch.delenv("METRICS_RETENTION_DAYS")
    database = FakeDatabase()
    ingest.configure(database=database, flush_interval_s=0)
    database.called.wait(30)
    ingest.shutdown(30)
    assert str(event_id) in database.usage


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": 10_001}, {"flush_interval_s": -1}])
def test_a_size_out_of_range_is_told(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ingest.configure(database=FakeDatabase(), **wrong)  # type: ignore[arg-type]  # one of several arguments


def test_configuring_again_takes_what_was_not_delivered_along(database: FakeDatabase) -> None:
    database.failures = [DatabaseUnavailableError("away")] * 100
    event_id = record()
    other = FakeDatabase()
    ingest.configure(database=other, flush_interval_s=0)
    other.called.wait(30)
    ingest.shutdown(30)
    assert str(event_id) in other.usage


def test_recording_after_the_end_starts_again(database: FakeDatabase) -> None:
    first = record()
    assert ingest.shutdown(30)
    assert ingest.shutdown(30)
    second = record()
    assert ingest.flush(30)
    assert database.usage.keys() == {str(first), str(second)}


def test_an_event_in_the_moment_of_the_end_is_taken_by_the_next_recorder(
    database: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    record()
    closing = capture._process.recorder
    assert closing is not None
    closing.shutdown(30)
    start = capture._process.start
    monkeypatch.setattr(capture._process, "recorder", closing)

    def replace() -> object:
        capture._process.recorder = None
        return start()

    recorders = iter([closing])
    monkeypatch.setattr(capture._process, "start", lambda: next(recorders, None) or replace())
    capture._process.recorder = None
    event_id = record()
    assert ingest.flush(30)
    assert str(event_id) in database.usage


def test_a_database_given_as_an_object_stays_open(database: FakeDatabase) -> None:
    record()
    ingest.shutdown(30)
    assert database.closed == 0


def test_a_database_given_as_a_function_is_opened_and_closed() -> None:
    database = FakeDatabase()

    def open_database() -> Database:
        return database

    ingest.configure(database=open_database)
    record()
    assert ingest.shutdown(30)
    assert (len(database.usage), database.closed) == (1, 1)


def test_threads_record_at_once(database: FakeDatabase) -> None:
    def work() -> None:
        for _ in range(500):
            record()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ingest.flush(60)
    assert len(database.usage) == 2000


def test_an_event_loop_is_not_blocked_by_a_flush(database: FakeDatabase) -> None:
    async def product() -> bool:
        record()
        return await ingest.aflush(30)

    assert asyncio.run(product())
    assert len(database.usage) == 1


def test_an_interpreter_that_ends_starts_no_thread_and_keeps_all(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    record()
    assert not ingest.flush(30)
    assert not ingest.shutdown(30)
    assert ingest.stats() == recorder.Stats()
    assert len(list(home.rglob("*.journal"))) == 1


def test_an_unwritable_home_is_told_once_and_costs_nothing_else(
    database: FakeDatabase, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "file").touch()
    ingest.configure(database=database, home=home / "file", flush_interval_s=3600)
    for _ in range(3):
        record()
    assert not ingest.stats().is_on_disk
    assert ingest.flush(30)
    assert len(database.usage) == 3
    warnings = [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert len([entry for entry in warnings if "kept in memory" in entry.getMessage()]) == 1


def test_a_fork_waits_for_imports_and_the_child_begins_anew(database: FakeDatabase) -> None:
    record()
    process = capture._process
    process._before_fork()
    assert IMPORT_LOCK.locked()
    process._after_fork()
    assert not IMPORT_LOCK.locked()
    parent = process.recorder
    assert parent is not None
    process._before_fork()
    process._after_fork_in_child()
    assert process.recorder is None
    second = record()
    assert ingest.flush(30)
    assert str(second) in database.usage
    assert process.recorder is not parent
    parent.shutdown(0)


def test_a_fork_does_not_wait_for_ever_for_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.record.process._IMPORT_TIMEOUT_S", 0)
    process = capture._process
    with IMPORT_LOCK:
        process._before_fork()
        process._after_fork()
        assert IMPORT_LOCK.locked()
