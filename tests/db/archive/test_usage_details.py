"""Usage details and refunds go into the archive and come back; archives of older versions stay readable."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.archive.query import DuckDB
from ingest.archive.restore import restore_month, to_events
from ingest.archive.schema import SCHEMAS
from ingest.archive.storage import Storage
from tests.db.archive.conftest import age
from tests.db.archive.runs import archive
from tests.db.archive.test_restore import rows_of
from tests.support.events import store, usage_event

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.servers import TestDatabase

LONG_AGO = dt.datetime(2024, 3, 5, 12, tzinfo=dt.UTC)
DETAILS: JsonValue = {"cache_write_1h_tokens": 4, "units": {"web_search": 2}}


def test_details_and_refunds_come_back_as_they_were(
    service_db: Database, database: TestDatabase, storage: Storage
) -> None:
    refund = {"estimated_cost": "-0.5", "provider_cost": "-0.5", "cost_source": "provider"}
    store(
        service_db,
        usage_event(created_at=LONG_AGO, usage_details=DETAILS),
        usage_event(created_at=LONG_AGO, **refund),
    )
    age(database)
    before = rows_of(database, "ai_usage_metrics")
    assert [one.problem for one in archive(service_db, storage)] == [None]
    assert rows_of(database, "ai_usage_metrics") == []
    (manifest,) = storage.read_manifests()
    assert restore_month(service_db, storage, manifest) == 2
    assert rows_of(database, "ai_usage_metrics") == before


def test_files_with_and_without_details_are_read_together(tmp_path: Path) -> None:
    names = [name for name in SCHEMAS["usage"].names if name != "usage_details"]
    old = pa.schema([SCHEMAS["usage"].field(name) for name in names])
    row = dict.fromkeys(SCHEMAS["usage"].names) | {"event_id": b"\0" * 16, "status": "ok", "model": "gpt-4o"}
    row |= {"created_at": LONG_AGO, "received_at": LONG_AGO, "user_id": "a", "prompt_tokens": 1, "completion_tokens": 1}
    pq.write_table(pa.Table.from_pylist([row], schema=old), tmp_path / "old.parquet")
    pq.write_table(pa.Table.from_pylist([row], schema=SCHEMAS["usage"]), tmp_path / "new.parquet")
    assert "usage_details" not in to_events(pq.read_table(tmp_path / "old.parquet"))[0]
    for order in (["old", "new"], ["new", "old"]):
        engine = DuckDB()
        table = engine.read(Storage(str(tmp_path)), [str(tmp_path / f"{name}.parquet") for name in order])
        assert engine.run(table.aggregate(rows=table.count())) == [{"rows": 2}]
