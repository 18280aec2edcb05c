"""Runs of the archive beside each other and beside writers and readers."""

from __future__ import annotations

import datetime as dt
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from ingest.archive.archiver import Archiver
from ingest.errors import ArchiveError
from tests.db.archive.conftest import RETENTION_DAYS
from tests.db.archive.runs import archive
from tests.support.events import NOON, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.archive.storage import Storage
    from ingest.database import Database
    from tests.support.doors import Door

    Fill = Callable[[Database], None]


def test_two_runs_at_once_are_refused(direct: Door, storage: Storage, fill: Fill) -> None:
    service = direct.service()
    fill(service)
    assert service.call("acquire_lease", name="archive", holder="another", ttl_s=60)
    with pytest.raises(ArchiveError, match="another archive run"):
        archive(service, storage)


def test_a_table_in_use_is_waited_for_and_nobody_waits_long_for_the_archive(
    direct: Door, storage: Storage, fill: Fill
) -> None:
    service = direct.service()
    fill(service)
    waits: list[float] = []
    with psycopg.connect(direct.database.superuser_url) as reader:
        reader.execute("select count(*) from observability_internal.ai_usage_metrics")

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                reader.rollback()

        outcomes = Archiver(service, storage, retention_days=RETENTION_DAYS, sleep=sleep).run()
    assert len(waits) == 2
    assert [one.problem for one in outcomes] == [None, None]


def test_a_table_that_is_always_in_use_stays(
    direct: Door, storage: Storage, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = direct.service()
    fill(service)
    monkeypatch.setattr("ingest.archive.archiver._LOCK_ATTEMPTS", 2)
    with psycopg.connect(direct.database.superuser_url) as reader:
        reader.execute("select count(*) from observability_internal.ai_usage_metrics")
        assert archive(service, storage)[0].problem == "the table was in use at every attempt"


def test_writers_and_readers_go_on_while_months_are_archived(direct: Door, storage: Storage, fill: Fill) -> None:
    service = direct.service()
    fill(service)
    failures: list[Exception] = []
    stop = threading.Event()

    def write() -> None:
        mine = direct.service()
        while not stop.is_set():
            try:
                mine.call("record_usage", events=[usage_event(created_at=dt.datetime.now(dt.UTC))])
                mine.call("roll_up")
                mine.call("get_overview", from_time=NOON, to_time=NOON + dt.timedelta(days=200))
            except Exception as error:  # noqa: BLE001 -- reported below
                failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    outcomes = Archiver(service, storage, retention_days=RETENTION_DAYS).run()
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [one.problem for one in outcomes] == [None, None]


def test_a_change_that_was_begun_before_the_watch_is_summed_and_later_ones_are_noted(
    direct: Door, storage: Storage, fill: Fill
) -> None:
    service = direct.service()
    fill(service)
    change = b"update observability_internal.ai_usage_metrics set price_id = 'other' where user_id = 'user_c'"
    with psycopg.connect(direct.database.superuser_url) as writer:
        writer.execute(change)
        outcomes = Archiver(service, storage, retention_days=RETENTION_DAYS, sleep=lambda _: writer.commit()).run()
    assert [one.problem for one in outcomes] == [None, None]


def test_a_writer_with_an_old_snapshot_is_refused_while_the_month_is_watched(direct: Door, fill: Fill) -> None:
    service = direct.service()
    fill(service)
    with psycopg.connect(direct.database.superuser_url) as writer:
        writer.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        writer.execute("select")
        service.call("watch_partition", kind="usage", month="2026-05-01")
        with pytest.raises(psycopg.errors.SerializationFailure, match="is being archived"):
            writer.execute("delete from observability_internal.ai_usage_metrics")
