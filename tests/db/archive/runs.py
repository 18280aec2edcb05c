"""One run of the archive, and what is left in the database after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from ingest.archive.archiver import Archiver, Outcome
from tests.db.archive.conftest import RETENTION_DAYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.archive.storage import Storage
    from ingest.database import Database
    from tests.support.servers import TestDatabase

    Fill = Callable[[Database], None]


def archive(service: Database, storage: Storage, on_step: Callable[[str], None] = lambda _: None) -> list[Outcome]:
    return Archiver(
        service,
        storage,
        retention_days=RETENTION_DAYS,
        on_step=on_step,
        sleep=lambda _: None,
        rows_per_group=2,
        groups_per_part=2,
    ).run()


def count(database: TestDatabase) -> tuple[int, int]:
    with psycopg.connect(database.superuser_url) as connection:
        row = connection.execute(
            "select (select count(*) from observability_internal.ai_usage_metrics),"
            " (select count(*) from observability_internal.performance_metrics)"
        ).fetchone()
    assert row is not None
    return row[0], row[1]


def release(database: TestDatabase) -> None:
    """A dead run's lease ends by itself; here at once."""
    database.execute("delete from observability_internal.leases")
