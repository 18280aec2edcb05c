from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from ingest.errors import DatabaseUnavailableError
from ingest.worker.lane import Job
from ingest.worker.lease import LEASE_TTL_S
from ingest.worker.worker import Worker, default_name
from tests.support.scripted_database import ScriptedDatabase

if TYPE_CHECKING:
    import pytest


def test_the_heartbeat_tells_who_leads_what_ran_and_what_failed() -> None:
    database = ScriptedDatabase(acquire_lease=[True])
    worker = Worker(database, [], name="w", describe=lambda: {"journal": {"adopted": 3}})
    worker.counts.add_run("roll_up")
    worker.counts.add_failure("alerts", RuntimeError("x"))
    worker.beat()
    (arguments,) = database.arguments_of("record_heartbeat")
    details = arguments["details"]
    assert arguments["worker"] == "w"
    assert isinstance(details, dict)
    assert details["runs"] == {"roll_up": 1}
    assert details["failures"] == {"alerts": 1}
    assert details["is_leader"] is True
    assert details["journal"] == {"adopted": 3}


def test_a_heartbeat_that_fails_is_logged_once_and_so_is_its_return(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    away = DatabaseUnavailableError("away")
    worker = Worker(ScriptedDatabase(acquire_lease=[away, away, True]), [])
    for _ in range(4):
        worker.beat()
    assert [record.message for record in caplog.records] == [
        "no heartbeat: away",
        f"{worker.name}: leading",
        "the database is back",
    ]


def test_losing_the_lease_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    worker = Worker(ScriptedDatabase(acquire_lease=[True, False]), [], name="w")
    worker.beat()
    worker.beat()
    assert [record.message for record in caplog.records] == ["w: leading", "w: standing by while another worker leads"]


def test_stopping_finishes_the_job_at_work_then_gives_the_lease_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.worker.worker.RENEWAL_PERIOD_S", 0.01)
    database = ScriptedDatabase(acquire_lease=[True])
    begun, may_end = threading.Event(), threading.Event()

    def long_job() -> bool:
        begun.set()
        assert may_end.wait(30)
        database.call("long_job")
        return False

    worker = Worker(database, [[Job("long", 1, long_job)]])
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert begun.wait(30)
    worker.stop_requested.set()
    heartbeats = len(database.arguments_of("record_heartbeat"))
    while len(database.arguments_of("record_heartbeat")) <= heartbeats + 2:  # it goes on beating meanwhile
        assert thread.is_alive()
    may_end.set()
    thread.join(30)
    assert database.called.index("long_job") < database.called.index("release_lease")
    details = database.arguments_of("record_heartbeat")[-1]["details"]
    assert isinstance(details, dict)
    assert details["is_stopping"] is True
    assert database.called[-1] == "record_heartbeat"


def test_a_goodbye_that_fails_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    database = ScriptedDatabase(acquire_lease=[True], release_lease=[DatabaseUnavailableError("away")])
    worker = Worker(database, [])
    worker.stop_requested.set()
    worker.run()
    assert f"expires within {LEASE_TTL_S} s" in caplog.text


def test_two_workers_of_one_process_have_two_names() -> None:
    assert default_name() != default_name()
