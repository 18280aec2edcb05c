"""The sums of calls stand in one table, and what a call adds to them in one view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from ingest.database import PostgresDatabase
from ingest.database.migrate import apply_migrations, find_migrations_folder
from tests.support.events import condense_all, store, usage_event

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue

    from tests.support.servers import TestDatabase

LEVELS = ("minutes_within('-infinity', 'infinity')", "usage_by_user", "usage_by_hour", "usage_by_day")

# A column and its value, each before the line that follows the last of today's.
IN_TABLE = ("rollup_tables", "  latency bigint[],\n", "  failed_requests bigint,\n")
IN_VIEW = (
    "counted_calls",
    "  ((ceil(ln(case when m.latency_ms",
    "  case when m.status = 'error' then 1 end as failed_requests,\n",
)

READS = {
    "of all": "observability_internal.read_sums(observability_internal.make_page_scope({range}, '{{}}'))",
    "of a user": "(observability_internal.read_usage("
    'observability_internal.make_page_scope({range}, \'{{"user_id": "user_a"}}\'), null)).sums',
    "of raw calls": "(observability_internal.read_usage("
    'observability_internal.make_page_scope({range}, \'{{"metadata": {{"team": "search"}}}}\'), null)).sums',
    "of a window": "array(select c from observability_internal.alert_cells(null, {range}) as c)",
}
RANGE = "'2026-05-04 00:00+00', '2026-05-05 00:00+00'"
DIFFERENCE = """
select observability_internal.add_usage_difference(array(
  select jsonb_populate_record(null::observability_internal.usage_difference, to_jsonb(r) || jsonb_build_object(
    'created_at', r.bucket, 'requests', 0, 'prompt_tokens', 0, 'completion_tokens', 0, 'cost', 0, 'failed_requests', 5
  ))
  from observability_internal.usage_by_user as r where r.failed_requests > 0
))
"""


@pytest.fixture
def counting(empty_database: TestDatabase, tmp_path: Path) -> TestDatabase:
    """A database of migrations in which the two files hold one more sum."""
    for path in find_migrations_folder().glob("*.sql"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    for name, before, line in (IN_TABLE, IN_VIEW):
        (path,) = tmp_path.glob(f"*_{name}.sql")
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(before, line + before, 1), encoding="utf-8")
    apply_migrations(empty_database.superuser_url, folder=tmp_path)
    return empty_database


def failed(database: TestDatabase, query: sql.SQL | bytes) -> object:
    """The one value of a query, as the worker may ask it."""
    with psycopg.connect(database.superuser_url) as connection:
        connection.execute("set local role service_role")
        connection.execute("""select set_config('request.jwt.claims', '{"role": "service_role"}', true)""")
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def at(database: TestDatabase, level: str) -> object:
    query = f"select sum(failed_requests)::integer from observability_internal.{level}"
    return failed(database, query.encode())


def test_a_sum_that_is_added_is_counted_at_every_level_read_corrected_and_erased(counting: TestDatabase) -> None:
    service = PostgresDatabase(counting.authenticator_url)
    service.call("ensure_partitions")
    broken: dict[str, JsonValue] = {"status": "error", "metadata": {"team": "search"}}
    store(service, usage_event(**broken), usage_event())
    store(service, usage_event(user_id="user_b", **broken))
    condense_all(service)
    assert {level: at(counting, level) for level in LEVELS} == dict.fromkeys(LEVELS, 2)
    for name, read in READS.items():
        query = f"select sum(s.failed_requests)::integer from unnest({read.format(range=RANGE)}) as s"
        assert (name, failed(counting, sql.SQL(query))) == (name, 1 if name == "of a user" else 2)
    counting.execute(DIFFERENCE)
    condense_all(service)
    assert {level: at(counting, level) for level in LEVELS} == dict.fromkeys(LEVELS, 12)
    erased = None
    while not isinstance(erased, dict) or not erased["is_done"]:
        erased = service.call("forget_user", user_id="user_a")
    query = (
        "select sum(r.failed_requests)::integer from observability_internal.usage_by_user as r"
        " inner join observability_internal.users as u using (user_key)"
        " where u.user_id = observability_internal.forgotten_user()"
    )
    assert failed(counting, sql.SQL(query)) == 1
    service.close()
