"""Tenants and tags through the archive and through the erasure of a person."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from ingest.archive.forget import FORGOTTEN, forget_user
from ingest.archive.query import DuckDB, query
from ingest.archive.restore import restore_month
from tests.db.archive.conftest import age
from tests.db.archive.runs import archive
from tests.db.archive.test_restore import rows_of
from tests.support.events import NOON, condense_all, store, usage_event
from tests.support.rollups import differences
from tests.support.traces import traces

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.archive.storage import Storage
    from ingest.database import Database
    from tests.support.doors import Door
    from tests.support.servers import TestDatabase

DAY = dt.timedelta(days=1)
# What each call cost is one binary digit, so that every sum tells of which calls it is.
CALLS: list[tuple[str, str | None, JsonValue]] = [
    ("user_ann", "acme", {"plan": "pro"}),
    ("user_ann", "bolt", {"plan": "pro"}),
    ("user_ann", None, None),
    ("user_ann", "user_ann", None),
    ("user_ann", "user_ann", {"plan": "pro"}),
    ("bob", "acme", {"plan": "pro"}),
]


@pytest.fixture
def filled(service_db: Database, database: TestDatabase) -> Database:
    store(
        service_db,
        *(
            usage_event(
                user_id=user,
                tenant_id=tenant,
                tags=tags,
                estimated_cost=str(2**place),
                created_at=NOON + place * DAY / 4,
            )
            for place, (user, tenant, tags) in enumerate(CALLS)
        ),
    )
    age(database)
    return service_db


def costs(service: Database, group_by: str) -> dict[str, str]:
    document = service.call("get_cost_breakdown", from_time=NOON - DAY, to_time=NOON + 5 * DAY, group_by=group_by)
    assert isinstance(document, dict)
    return {str(row["key"]): str(row["cost"]) for row in document["rows"]}  # type: ignore[index,union-attr,call-overload]


BY_TENANT = {"acme": "33", "bolt": "2", "": "4", "user_ann": "24"}
AFTERWARDS = {"acme": "33", "bolt": "2", "": "28"}
BY_PLAN = {"pro": "51", "": "12"}


def test_a_persons_calls_stay_with_their_tenants_but_for_one_that_bears_the_persons_id(
    filled: Database, database: TestDatabase
) -> None:
    condense_all(filled)
    assert (costs(filled, "tenant_id"), costs(filled, "tags.plan")) == (BY_TENANT, BY_PLAN)
    erasure = forget_user(filled, None, "user_ann")
    assert (erasure.usage_rows, traces(database, "user_ann")) == (5, [])
    for _ in range(2):
        assert (costs(filled, "tenant_id"), costs(filled, "tags.plan")) == (AFTERWARDS, BY_PLAN)
        assert costs(filled, "user_id") == {FORGOTTEN: "31", "bob": "32"}
        condense_all(filled)
    assert differences(database) == []
    checked = filled.call("verify_rollups", from_time=NOON, to_time=NOON + 5 * DAY)
    assert isinstance(checked, dict)
    assert checked["is_exact"], checked["differences"]


def test_tenants_and_tags_come_back_from_the_archive_as_they_were(
    filled: Database, database: TestDatabase, storage: Storage
) -> None:
    before = rows_of(database, "ai_usage_metrics")
    assert [one.problem for one in archive(filled, storage)] == [None]
    rows = query(storage, DuckDB(), NOON, NOON + 5 * DAY, "tenant")
    assert {row["key"] or "": format(row["cost"].normalize(), "f") for row in rows} == BY_TENANT
    (manifest,) = storage.read_manifests()
    assert restore_month(filled, storage, manifest) == len(CALLS)
    assert rows_of(database, "ai_usage_metrics") == before


def test_the_archive_and_the_rollups_of_its_months_forget_a_person_alike(direct: Door, storage: Storage) -> None:
    service = direct.service()
    store(
        service,
        *(
            usage_event(user_id=user, tenant_id=tenant, tags=tags, estimated_cost=str(2**place))
            for place, (user, tenant, tags) in enumerate(CALLS)
        ),
    )
    age(direct.database)
    archive(service, storage)
    forget_user(service, storage, "user_ann")
    assert traces(direct.database, "user_ann") == []
    assert (costs(service, "tenant_id"), costs(service, "tags.plan")) == (AFTERWARDS, BY_PLAN)
    (manifest,) = storage.read_manifests()
    found = [
        row
        for part in manifest.parts()
        for row in pq.read_table(storage.path_of(manifest.kind, manifest.month, part.file)).to_pylist()
    ]
    assert sorted(str(row["tenant_id"]) for row in found) == ["None", "None", "None", "acme", "acme", "bolt"]
    assert restore_month(service, storage, manifest) == len(CALLS)
    assert (costs(service, "tenant_id"), costs(service, "tags.plan")) == (AFTERWARDS, BY_PLAN)
