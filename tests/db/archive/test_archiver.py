"""Months past retention leave the database only after Parquet has proved to hold them."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from ingest.archive.archiver import verify_month
from ingest.errors import ArchiveError, DatabaseError
from tests.db.archive.conftest import MAY, RETENTION_DAYS, age
from tests.db.archive.runs import archive, count, release
from tests.support.events import NOON, store, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.archive.storage import Storage
    from ingest.database import Database
    from tests.support.doors import Door
    from tests.support.servers import TestDatabase

    Fill = Callable[[Database], None]

STEPS = ("part", "verified", "manifest", "dropped", "confirmed")


class Died(BaseException):
    """Stands for the end of the process: nothing of ours catches it."""


def test_a_month_past_retention_goes_to_parquet_and_its_rollups_stay(
    service_db: Database, database: TestDatabase, storage: Storage, fill: Fill
) -> None:
    fill(service_db)
    before = service_db.call("get_costs", from_time=NOON, to_time=NOON + dt.timedelta(days=20))
    outcomes = archive(service_db, storage)
    assert [(one.kind, one.month, one.rows, one.problem) for one in outcomes] == [
        ("usage", MAY, 5, None),
        ("performance", MAY, 2, None),
    ]
    assert count(database) == (0, 0)
    usage, performance = storage.read_manifests()
    assert (usage.rows, usage.total_tokens, len(list(usage.parts()))) == (5, 1000, 2)
    # 0.000875 twice, 123456789 and a digit at the 24th place, and a value with 32 places.
    assert usage.cost == Decimal("123456789.00175000000000000000000100012345")
    assert performance.rows == 2
    assert [verify_month(storage, one) for one in (usage, performance)] == [[], []]
    after = service_db.call("get_costs", from_time=NOON, to_time=NOON + dt.timedelta(days=20))
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert after["totals"] == before["totals"]


@pytest.mark.dated
def test_a_recent_month_and_one_with_recent_arrivals_stay(direct: Door, storage: Storage, fill: Fill) -> None:
    service = direct.service()
    fill(service)
    now = dt.datetime.now(dt.UTC)
    store(service, usage_event(created_at=now), usage_event(created_at=NOON))  # the second arrives today
    assert [one.kind for one in archive(service, storage)] == ["performance"]
    listed = service.call("list_partitions", retention_days=RETENTION_DAYS)
    assert isinstance(listed, list)
    assert {(one["month"], one["state"]) for one in listed if isinstance(one, dict)} == {
        (str(MAY), "late rows"),
        (str(now.date().replace(day=1)), "recent"),
    }


def test_rows_that_are_not_rolled_up_stay(direct: Door, storage: Storage, fill: Fill) -> None:
    service = direct.service()
    fill(service)
    service.call("record_usage", events=[usage_event()])
    age(direct.database)
    assert [one.kind for one in archive(service, storage)] == ["performance"]
    watch_id = service.call("watch_partition", kind="usage", month=str(MAY))
    with pytest.raises(DatabaseError, match="not in the rollups yet"):
        service.call(
            "drop_archived_partition",
            kind="usage",
            month=str(MAY),
            retention_days=RETENTION_DAYS,
            archive_id="00000000-0000-0000-0000-000000000001",
            watch_id=watch_id,
            row_count=6,
        )


@pytest.mark.parametrize(
    "change",
    [
        "update observability_internal.ai_usage_metrics set price_id = 'other' where user_id = 'user_c'",
        "delete from observability_internal.ai_usage_metrics where user_id = 'user_c'",
        "update observability_internal.ai_usage_metrics set estimated_cost = 1 where user_id = 'user_c'",
        """insert into observability_internal.ai_usage_metrics
           (event_id, created_at, received_at, batch_id, user_id, model)
           select gen_random_uuid(), created_at, received_at, batch_id, user_id, model
           from observability_internal.ai_usage_metrics where user_id = 'user_c'""",
    ],
)
def test_a_month_that_changes_while_it_is_archived_stays_and_goes_with_the_next_run(
    direct: Door, storage: Storage, fill: Fill, change: str
) -> None:
    service = direct.service()
    fill(service)

    def change_it(step: str) -> None:
        if step == "manifest" and not changed:
            changed.append(step)
            with psycopg.connect(direct.database.superuser_url, autocommit=True) as connection:
                connection.execute(change.encode())

    changed: list[str] = []
    problem = archive(service, storage, change_it)[0].problem
    assert problem is not None
    assert "has changed since it was archived" in problem
    left = count(direct.database)[0]
    assert left in (4, 5, 6)
    assert [one.problem for one in archive(service, storage)] == [None]
    usage, _ = storage.read_manifests()
    assert (usage.rows, verify_month(storage, usage)) == (left, [])


@pytest.mark.parametrize("step", STEPS)
def test_death_after_any_step_loses_nothing_and_the_next_run_goes_on(
    direct: Door, storage: Storage, fill: Fill, step: str
) -> None:
    service = direct.service()
    fill(service)

    def die(done: str) -> None:
        if done == step:
            raise Died

    with pytest.raises(Died):
        archive(service, storage, die)
    in_database = count(direct.database)[0]
    archived = sum(one.rows for one in storage.read_manifests() if one.kind == "usage")
    assert in_database == 5 or archived == 5
    release(direct.database)
    assert [one.problem for one in archive(service, storage) if one.problem] == []
    assert count(direct.database) == (0, 0)
    manifests = list(storage.read_manifests())
    assert [one.rows for one in manifests] == [5, 2]
    assert all(generation.dropped_at for one in manifests for generation in one.generations)
    for one in manifests:
        assert verify_month(storage, one) == []
        assert storage.sweep(one) == 0


def test_a_run_killed_by_the_kernel_loses_nothing(direct: Door, storage: Storage, fill: Fill, tmp_path: Path) -> None:
    service = direct.service()
    fill(service)
    script = tmp_path / "victim.py"
    script.write_text(
        "import sys\n"
        "from ingest.archive.archiver import Archiver\n"
        "from ingest.archive.storage import Storage\n"
        "from ingest.database import PostgresDatabase\n"
        "def on_step(step):\n"
        "    print(step, flush=True)\n"
        "    if step == sys.argv[3]: sys.stdin.read()\n"
        "Archiver(PostgresDatabase(sys.argv[1]), Storage(sys.argv[2]), retention_days=90, on_step=on_step,"
        " rows_per_group=2, groups_per_part=1).run()\n"
    )
    for step in ("part", "manifest", "dropped"):
        command = [sys.executable, str(script), direct.database.authenticator_url, storage.url, step]
        victim = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
        )
        assert victim.stdout is not None
        while victim.stdout.readline().strip() != step:
            assert victim.poll() is None
        os.kill(victim.pid, signal.SIGKILL)
        victim.communicate()
        archived = sum(one.rows for one in storage.read_manifests() if one.kind == "usage")
        assert count(direct.database)[0] == 5 or archived == 5
        release(direct.database)
    archive(service, storage)
    assert count(direct.database) == (0, 0)
    assert [(one.rows, verify_month(storage, one)) for one in storage.read_manifests()] == [(5, []), (2, [])]


def test_rows_late_for_an_archived_month_append_parts(direct: Door, storage: Storage, fill: Fill) -> None:
    service = direct.service()
    fill(service)
    archive(service, storage)
    store(service, usage_event(created_at=NOON, user_id="user_late"))
    age(direct.database)
    assert [(one.rows, one.problem) for one in archive(service, storage)] == [(1, None)]
    usage, _ = storage.read_manifests()
    assert (usage.rows, len(usage.generations), verify_month(storage, usage)) == (6, 2, [])


def test_an_empty_month_goes_without_an_archive(direct: Door, storage: Storage) -> None:
    service = direct.service()
    direct.database.execute("select observability_internal.ensure_partition('ai_usage_metrics', '2026-05-01')")
    assert [(one.rows, one.problem) for one in archive(service, storage)] == [(0, None)]
    assert service.call("list_partitions", retention_days=1) == []
    assert list(storage.read_manifests()) == []


def test_a_damaged_file_keeps_the_rows_in_the_database(direct: Door, storage: Storage, fill: Fill) -> None:
    service = direct.service()
    fill(service)

    def die_and_damage(step: str) -> None:
        if step == "manifest":
            raise Died

    with pytest.raises(Died):
        archive(service, storage, die_and_damage)
    (usage,) = storage.read_manifests()
    path = Path(storage.path_of("usage", MAY, next(usage.parts()).file))
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    release(direct.database)
    problem = archive(service, storage)[0].problem
    assert problem is not None
    assert "SHA-256 does not match" in problem
    assert count(direct.database)[0] == 5
    path.unlink()
    assert "is missing" in verify_month(storage, usage)[0]


def test_rows_that_this_database_never_dropped_are_not_doubled(direct: Door, storage: Storage, fill: Fill) -> None:
    service = direct.service()
    fill(service)
    archive(service, storage)
    direct.database.execute("delete from observability_internal.archived_months")
    store(service, usage_event(created_at=NOON))  # as a backup would have brought some rows back
    age(direct.database)
    problem = archive(service, storage)[0].problem
    assert problem is not None
    assert "restored from a backup" in problem


def test_a_column_that_this_version_does_not_know_keeps_the_rows(direct: Door, storage: Storage, fill: Fill) -> None:
    service = direct.service()
    fill(service)
    direct.database.execute("alter table observability_internal.ai_usage_metrics add column mood text")
    problem = archive(service, storage)[0].problem
    assert problem == "this version does not know the columns mood: upgrade Treering"


def test_a_manifest_of_another_version_is_refused(storage: Storage) -> None:
    folder = Path(storage.url) / "usage" / "month=2026-05"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"schema_version": "treering.archive/9"}))
    with pytest.raises(ArchiveError, match="not a valid manifest"):
        list(storage.read_manifests())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"retention_days": 0}, "retention"),
        ({"retention_days": 36_500}, "not past its retention"),
        ({"kind": "other"}, "kind is usage or performance"),
        ({"watch_id": None}, "its watch"),
        ({"retention_days": 90}, "has changed since it was archived"),  # of another watch
    ],
)
def test_the_database_refuses_a_drop_that_is_not_due(
    service_db: Database, fill: Fill, arguments: dict[str, str | int | None], message: str
) -> None:
    fill(service_db)
    given: dict[str, object] = {
        "kind": "usage",
        "month": str(MAY),
        "retention_days": 90,
        "archive_id": "00000000-0000-0000-0000-000000000001",
        "watch_id": "00000000-0000-0000-0000-000000000002",
        "row_count": 5,
        **arguments,
    }
    with pytest.raises(DatabaseError, match=message):
        service_db.call("drop_archived_partition", **given)  # type: ignore[arg-type]
