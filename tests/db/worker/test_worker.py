from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ingest.alerts.notifier import ChannelNotifier
from ingest.cli import worker as worker_command
from ingest.costs import get_cost_breakdown
from ingest.settings import load_settings
from ingest.worker.jobs import Tools, plan_lanes
from ingest.worker.worker import Worker
from tests.support.cli import door_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingest.database import Database
    from tests.support.doors import Door


@contextmanager
def running_worker(door: Door, home: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "ingest.cli", "worker"]
    env = {**os.environ, **door_environment(door, home)}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return line
    raise AssertionError(f"the worker ended without saying {text!r}")


def status(database: Database) -> Any:
    return database.call("get_status")


def event(number: int) -> dict[str, Any]:
    return {
        "event_id": f"01980000-0000-7000-8000-{number:012d}",
        "created_at": "2026-11-20T10:00:00Z",
        "user_id": "u",
        "model": "gpt-4o",
        "prompt_tokens": 1,
        "completion_tokens": 1,
    }


def test_a_worker_leads_rolls_up_and_gives_the_lease_back_on_sigterm(door: Door, tmp_path: Path) -> None:
    service = door.service()
    service.call("record_usage", events=[event(1)])
    with running_worker(door, tmp_path) as process:
        read_until(process, "leading")
        while status(service)["pending_batches"] or not status(service)["refreshed_at"]:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        read_until(process, "stopping")
        assert process.wait(120) == 0
    # The call came without a cost; 1 x 2.50 and 1 x 10.00 a million.
    found = get_cost_breakdown(service, datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC))
    assert (found.totals.cost, found.totals.unpriced_requests) == (Decimal("0.0000125"), 0)
    (worker,) = status(service)["workers"]
    assert worker["details"]["is_stopping"] is True
    assert worker["details"]["failures"] == {}
    assert worker["is_leader"] is False
    assert service.call("acquire_lease", name="worker", holder="next", ttl_s=5) is True


def test_the_second_worker_follows(direct: Door, tmp_path: Path) -> None:
    service = direct.service()
    service.call("acquire_lease", name="worker", holder="another", ttl_s=600)
    with running_worker(direct, tmp_path) as process:
        while not status(service)["workers"]:
            assert process.poll() is None
        service.call("record_usage", events=[event(1)])
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
    assert status(service)["pending_batches"] == 1


@pytest.mark.dated
def test_a_follower_takes_over_when_the_leaders_lease_has_expired(direct: Door) -> None:
    service = direct.service()
    lost = Worker(service, [], name="lost")
    tools = Tools(service, load_settings(supabase_url="https://x.supabase.co"), "follower", ChannelNotifier())
    follower = Worker(service, plan_lanes(tools), name="follower")
    lost.beat()
    follower.beat()
    assert (lost.lease.is_held, follower.lease.is_held) == (True, False)
    direct.database.execute("update observability_internal.leases set expires_at = now() - interval '1 second'")
    service.call("record_usage", events=[event(1)])
    follower.beat()
    for lane in follower.lanes:
        lane.run_due()
    assert status(service)["pending_batches"] == 0
    assert not lost.lease.renew()


def test_the_command_runs_until_it_is_asked_to_stop(
    direct: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in door_environment(direct, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TZ", "UTC")
    service = direct.service()
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def stop_when_seen() -> None:
        while not status(service)["refreshed_at"]:
            pass
        signal.pthread_kill(main_thread, signal.SIGTERM)

    watcher = threading.Thread(target=stop_when_seen)
    watcher.start()
    worker_command.worker(home=tmp_path)
    watcher.join()
    (seen,) = status(service)["workers"]
    assert seen["details"]["journal"] == {"adopted": 0, "pending": 0, "last_error": None}
