"""Archived months come back whole, count once, and go again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from ingest.archive.archiver import Archiver
from ingest.archive.restore import restore_month
from ingest.errors import ArchiveError, DatabaseError
from tests.db.archive.conftest import RETENTION_DAYS, age
from tests.support.events import NOON, roll_up_all, store, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.archive.storage import Storage
    from ingest.database import Database
    from tests.support.doors import Door
    from tests.support.servers import TestDatabase

    Fill = Callable[[Database], None]


def rows_of(database: TestDatabase, table: str) -> list[tuple[object, ...]]:
    """Every column but the batch's number."""
    with psycopg.connect(database.superuser_url) as connection:
        return connection.execute(
            f"select to_jsonb(m) - 'batch_id' from observability_internal.{table} as m"
            " order by created_at, event_id".encode()
        ).fetchall()


def rolled_up(database: TestDatabase) -> object:
    with psycopg.connect(database.superuser_url) as connection:
        return connection.execute(
            "select sum(requests), sum(cost)::text, (select sum(requests) from"
            " observability_internal.performance_by_minute) from observability_internal.usage_by_minute"
        ).fetchone()


def archive(service: Database, storage: Storage) -> list[str | None]:
    return [one.problem for one in Archiver(service, storage, retention_days=RETENTION_DAYS).run()]


def test_a_restored_month_is_what_it_was_and_counts_once(
    service_db: Database, database: TestDatabase, storage: Storage, fill: Fill
) -> None:
    fill(service_db)
    calls, requests = rows_of(database, "ai_usage_metrics"), rows_of(database, "performance_metrics")
    sums = rolled_up(database)
    archive(service_db, storage)
    seen: list[int] = []
    stored = [restore_month(service_db, storage, one, on_batch=seen.append) for one in storage.read_manifests()]
    assert (stored, seen) == ([5, 2], [5, 2])
    assert (rows_of(database, "ai_usage_metrics"), rows_of(database, "performance_metrics")) == (calls, requests)
    roll_up_all(service_db)
    assert rolled_up(database) == sums
    assert [restore_month(service_db, storage, one) for one in storage.read_manifests()] == [0, 0]


@pytest.mark.dated
def test_a_restored_month_is_kept_and_then_archived_in_place_of_the_old_files(
    direct: Door, storage: Storage, fill: Fill
) -> None:
    service = direct.service()
    fill(service)
    archive(service, storage)
    for manifest in storage.read_manifests():
        restore_month(service, storage, manifest, keep_days=10)
    store(service, usage_event(created_at=NOON, user_id="user_late"))
    age(direct.database)
    assert archive(service, storage) == []
    direct.database.execute("update observability_internal.restored_months set keep_until = now()")
    assert archive(service, storage) == [None, None]
    assert [(one.rows, len(one.generations)) for one in storage.read_manifests()] == [(6, 1), (2, 1)]


def test_a_restore_that_died_is_left_alone_by_retention_until_it_is_done(
    direct: Door, storage: Storage, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = direct.service()
    fill(service)
    archive(service, storage)
    monkeypatch.setattr("ingest.archive.restore.BATCH_ROWS", 2)
    usage, _ = storage.read_manifests()

    def die(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_month(service, storage, usage, keep_days=0, on_batch=die)
    assert archive(service, storage) == []
    listed = service.call("list_partitions", retention_days=RETENTION_DAYS)
    assert isinstance(listed, list)
    assert [one["state"] for one in listed if isinstance(one, dict)] == ["restoring"]
    assert restore_month(service, storage, usage, keep_days=0) == 3
    assert archive(service, storage) == [None]
    assert [one.rows for one in storage.read_manifests()] == [5, 2]


def test_another_database_takes_a_month_only_when_told_to_count_it(direct: Door, storage: Storage, fill: Fill) -> None:
    service = direct.service()
    fill(service)
    archive(service, storage)
    sums = rolled_up(direct.database)
    direct.database.execute(
        "truncate observability_internal.archived_months, observability_internal.usage_by_minute,"
        " observability_internal.performance_by_minute"
    )
    for manifest in storage.read_manifests():
        with pytest.raises(DatabaseError, match="not archived from this database"):
            restore_month(service, storage, manifest)
        restore_month(service, storage, manifest, is_counted=False)
    roll_up_all(service)
    assert rolled_up(direct.database) == sums


def test_a_busy_roll_up_is_waited_for(direct: Door, storage: Storage, fill: Fill) -> None:
    service = direct.service()
    fill(service)
    archive(service, storage)
    direct.database.execute("alter function observability.restore_rows set lock_timeout = '50ms'")
    usage, _ = storage.read_manifests()
    waits: list[float] = []
    with psycopg.connect(direct.database.superuser_url) as busy:
        busy.execute("select pg_advisory_xact_lock(hashtextextended('treering.roll_up', 0))")

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            busy.rollback()

        assert restore_month(service, storage, usage, sleep=sleep) == 5
        busy.execute("select pg_advisory_xact_lock(hashtextextended('treering.roll_up', 0))")
        with pytest.raises(ArchiveError, match="at every attempt"):
            restore_month(service, storage, usage, sleep=lambda _: None)
    assert waits == [1.0]


def test_a_month_without_an_archive_cannot_come_back(direct: Door, storage: Storage) -> None:
    manifest = storage.read_manifest("usage", NOON.date().replace(day=1))
    with pytest.raises(ArchiveError, match="there is no archived"):
        restore_month(direct.service(), storage, manifest)


def test_rows_enter_only_a_restore_that_was_begun_and_only_their_month(direct: Door) -> None:
    service = direct.service()
    event = usage_event() | {"received_at": NOON.isoformat(), "environment": "x", "provider": "openai"}
    with pytest.raises(DatabaseError, match="no restore"):
        service.call("restore_rows", kind="usage", month="2026-05-01", events=[event])
    service.call("begin_restore", kind="usage", month="2026-04-01", keep_days=1, archive_ids=[], is_counted=True)
    full = event | {
        "operation": "chat", "status": "ok", "streamed": False, "cached_tokens": 0, "cache_write_tokens": 0,
        "reasoning_tokens": 0, "audio_input_tokens": 0, "audio_output_tokens": 0, "usage_source": "reported",
        "attempt": 1,
    }  # fmt: skip
    with pytest.raises(DatabaseError):
        service.call("restore_rows", kind="usage", month="2026-04-01", events=[full])
