"""A forgotten person is found nowhere, and the totals stay."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import psycopg
import pyarrow.parquet as pq
import pytest
from psycopg import sql

from ingest.archive.archiver import Archiver, verify_month
from ingest.archive.forget import Erasure, forget_user
from ingest.archive.restore import restore_month
from ingest.errors import ArchiveError, DatabaseError
from tests.db.archive.conftest import RETENTION_DAYS
from tests.support.events import NOON, condense_all, roll_up_all, usage_event
from tests.support.traces import traces

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from ingest.archive.storage import Storage
    from ingest.database import Database
    from tests.support.doors import Door
    from tests.support.servers import TestDatabase

    Fill = Callable[[Database], None]


def keys_left(database: TestDatabase, user_key: int) -> list[str]:
    """Every table that still has rows under the person's key."""
    with psycopg.connect(database.superuser_url) as connection:
        tables = connection.execute(
            "select c.relname, a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid"
            " where a.attname in ('user_key', 'user_keys') and c.relkind = 'r'"
            " and c.relnamespace = 'observability_internal'::regnamespace"
        ).fetchall()
        assert len(tables) >= 3
        return [
            name
            for name, column in tables
            if connection.execute(
                sql.SQL(
                    "select 1 from observability_internal.{} where %s = any (array[]::integer[] || {}) limit 1"
                ).format(sql.Identifier(name), sql.Identifier(column)),
                [user_key],
            ).fetchone()
        ]


def key_of(database: TestDatabase, user_id: str) -> int:
    with psycopg.connect(database.superuser_url) as connection:
        row = connection.execute(
            "select user_key from observability_internal.users where user_id = %s", [user_id]
        ).fetchone()
    assert row is not None
    return int(row[0])


def by_user(database: TestDatabase) -> list[tuple[object, ...]]:
    """What the rollup by user says, and the same from the raw rows."""
    with psycopg.connect(database.superuser_url) as connection:
        return connection.execute(
            "select u.user_id, sum(r.requests), sum(r.prompt_tokens),"
            " trim_scale(sum(r.cost + coalesce(r.fallback_cost, 0)))::text,"
            " coalesce(sum(observability_internal.histogram_weight(r.latency)), 0)"
            " from observability_internal.usage_by_user r join observability_internal.users u using (user_key)"
            " group by u.user_id order by u.user_id"
        ).fetchall()


def raw_by_user(database: TestDatabase) -> list[tuple[object, ...]]:
    with psycopg.connect(database.superuser_url) as connection:
        return connection.execute(
            "select user_id, count(*), sum(prompt_tokens), trim_scale(coalesce(sum(estimated_cost), 0))::text,"
            " count(latency_ms)::double precision from observability_internal.ai_usage_metrics group by 1 order by 1"
        ).fetchall()


def totals(service: Database) -> dict[str, JsonValue]:
    document = service.call("get_costs", from_time=NOON, to_time=NOON + dt.timedelta(days=20))
    assert isinstance(document, dict)
    found = document["totals"]
    assert isinstance(found, dict)
    return found


def test_a_forgotten_person_is_found_nowhere_and_the_totals_stay(
    service_db: Database, database: TestDatabase, storage: Storage, fill: Fill
) -> None:
    fill(service_db)
    service_db.call("record_usage", events=[usage_event(user_id="user_a", model=None)])  # rejected
    service_db.call("add_member", user_id="user_a", role="ops")
    database.execute(
        "insert into observability_internal.model_prices"
        " (provider, model, source, input_per_mtok, valid_from, created_by) values ('p', 'm', 's', 1, now(), 'user_a');"
        " update observability_internal.members set added_by = 'user_a'"
    )
    key, before = key_of(database, "user_a"), totals(service_db)
    erasure = forget_user(service_db, storage, "user_a")
    assert erasure == Erasure(usage_rows=2, performance_rows=1, other_rows=3)
    assert traces(database, "user_a") == []
    assert keys_left(database, key) == []
    assert totals(service_db) == before
    assert by_user(database) == raw_by_user(database)
    assert forget_user(service_db, storage, "user_a") == Erasure()


def test_what_only_the_rollups_and_the_archive_hold_goes_too(direct: Door, storage: Storage, fill: Fill) -> None:
    service = direct.service()
    fill(service)
    Archiver(service, storage, retention_days=RETENTION_DAYS).run()
    key, before = key_of(direct.database, "user_a"), totals(service)
    old = {part.file for one in storage.read_manifests() for part in one.parts()}
    costs = [one.estimated_cost for one in storage.read_manifests()]
    erasure = forget_user(service, storage, "user_a")
    assert erasure == Erasure(rollup_rows=2, archive_rows=3, archive_parts=2)
    assert totals(service) == before
    assert keys_left(direct.database, key) == []
    manifests = list(storage.read_manifests())
    assert [one.estimated_cost for one in manifests] == costs
    for one in manifests:
        assert verify_month(storage, one) == []
        for part in one.parts():
            assert part.file not in old
            rows = pq.read_table(storage.path_of(one.kind, one.month, part.file)).to_pylist()
            assert "user_a" not in str(rows)
            assert "quoted" not in str(rows)
    assert storage.filesystem.find(storage.url)
    assert all(file not in str(storage.filesystem.find(storage.url)) for file in old)


def test_condensed_levels_lose_the_person_and_keep_their_sums(
    service_db: Database, database: TestDatabase, storage: Storage, fill: Fill
) -> None:
    def counts() -> list[tuple[object, ...]]:
        with psycopg.connect(database.superuser_url) as connection:
            return connection.execute("select * from observability_internal.user_counts order by 1, 2, 3").fetchall()

    fill(service_db)
    service_db.call("record_usage", events=[usage_event(user_id="user_z", created_at=NOON)])
    roll_up_all(service_db)
    condense_all(service_db)
    forget_user(service_db, storage, "user_z")  # so that rows of two people meet under the shared key
    key, before, people = key_of(database, "user_a"), totals(service_db), counts()
    assert set(keys_left(database, key)) == {"usage_by_user", "usage_by_user_day", "usage_by_user_week", "users"}
    forget_user(service_db, storage, "user_a")
    assert keys_left(database, key) == []
    after = totals(service_db)
    assert after == {**before, "users": 3}
    assert counts() == people
    assert by_user(database) == raw_by_user(database)
    checked = service_db.call("verify_rollups", from_time=NOON, to_time=NOON + dt.timedelta(days=20))
    assert isinstance(checked, dict)
    assert checked["is_exact"], checked["differences"]


def test_an_erasure_without_the_persons_cells_is_refused(direct: Door, storage: Storage, fill: Fill) -> None:
    service = direct.service()
    fill(service)
    direct.database.execute("delete from observability_internal.usage_by_user")
    with pytest.raises(DatabaseError, match="lacks rows of these calls"):
        forget_user(service, storage, "user_a")
    assert traces(direct.database, "user_a") != []


def test_a_month_that_was_restored_matches_its_archive_after_the_erasure(
    direct: Door, storage: Storage, fill: Fill
) -> None:
    service = direct.service()
    fill(service)
    Archiver(service, storage, retention_days=RETENTION_DAYS).run()
    for one in storage.read_manifests():
        restore_month(service, storage, one)
    forget_user(service, storage, "user_a")
    assert [restore_month(service, storage, one) for one in storage.read_manifests()] == [0, 0]


def test_the_record_of_an_erasure_tells_who_only_to_those_who_ask_by_name(
    direct: Door, storage: Storage, fill: Fill
) -> None:
    service = direct.service()
    fill(service)
    forget_user(service, storage, "user_a")
    with psycopg.connect(direct.database.superuser_url) as connection:
        records = connection.execute(
            "select person_hash = encode(sha256(convert_to(person_salt || 'user_a', 'UTF8')), 'hex'), event_salt,"
            " finished_at is not null, counts->>'usage_rows' from observability_internal.erasures"
        ).fetchall()
    assert records == [(True, None, True, "2")]


def test_an_erasure_that_died_goes_on_where_it_was(direct: Door, storage: Storage, fill: Fill) -> None:
    service = direct.service()
    fill(service)
    Archiver(service, storage, retention_days=RETENTION_DAYS).run()

    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        forget_user(service, storage, "user_a", on_part=die)
    direct.database.execute("delete from observability_internal.leases")
    assert forget_user(service, storage, "user_a").archive_rows == 3
    assert [verify_month(storage, one) for one in storage.read_manifests()] == [[], []]
    with psycopg.connect(direct.database.superuser_url) as connection:
        row = connection.execute("select count(*) from observability_internal.erasures").fetchone()
    assert row == (1,)


def test_rows_that_wait_for_their_roll_up_are_counted_first(direct: Door, storage: Storage) -> None:
    service = direct.service()
    service.call("record_usage", events=[usage_event() for _ in range(3)])
    waits: list[float] = []
    assert forget_user(service, storage, "user_a", sleep=waits.append).usage_rows == 3
    assert waits == [1.0]
    assert by_user(direct.database) == raw_by_user(direct.database)
    roll_up_all(service)
    assert by_user(direct.database) == raw_by_user(direct.database)


def test_a_roll_up_that_never_ends_is_reported(direct: Door) -> None:
    service = direct.service()
    with psycopg.connect(direct.database.superuser_url) as busy:
        busy.execute("select pg_advisory_xact_lock(hashtextextended('treering.roll_up', 0))")
        with pytest.raises(ArchiveError, match="waited too long"):
            forget_user(service, None, "user_a", sleep=lambda _: None)


def test_many_rows_go_in_batches_and_rollups_agree_after_each(direct: Door) -> None:
    service = direct.service()
    for number in range(3):
        events = [
            usage_event(created_at=NOON + dt.timedelta(minutes=7 * i), latency_ms=float(i + 1), user_id=f"user_{i % 3}")
            for i in range(60 + number)
        ]
        service.call("record_usage", events=events)
    roll_up_all(service)
    while True:
        answer = service.call("forget_user", user_id="user_1", max_rows=7)
        assert isinstance(answer, dict)
        assert by_user(direct.database) == raw_by_user(direct.database)
        if answer["is_done"]:
            return


def test_an_erasure_and_a_run_of_the_archive_exclude_each_other(direct: Door, storage: Storage) -> None:
    service = direct.service()
    assert service.call("acquire_lease", name="archive", holder="another", ttl_s=60)
    with pytest.raises(ArchiveError, match="in progress"):
        forget_user(service, storage, "user_a")


@pytest.mark.parametrize("user_id", ["", "(forgotten)"])
def test_nobody_in_particular_cannot_be_forgotten(direct: Door, user_id: str) -> None:
    with pytest.raises(DatabaseError, match="a user id is needed"):
        forget_user(direct.service(), None, user_id)
