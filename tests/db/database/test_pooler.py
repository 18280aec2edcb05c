"""Supabase's pooler: transaction mode (port 6543), session mode (5432), and users with the project's ref."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import psycopg
import pytest

from ingest.database import PostgresDatabase
from ingest.database.migrate import apply_migrations
from ingest.errors import PermissionDeniedError
from tests.support.events import NOON, roll_up_all, usage_event
from tests.support.pgbouncer import PgBouncer
from tests.support.project import OWNER, OWNER_PASSWORD, hand_to_owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import TestDatabase

MODES: tuple[Literal["transaction", "session"], ...] = ("transaction", "session")


@pytest.fixture
def project(empty_database: TestDatabase) -> TestDatabase:
    hand_to_owner(empty_database)
    return empty_database


@pytest.fixture(params=MODES)
def pooler(request: pytest.FixtureRequest, project: TestDatabase) -> Iterator[PgBouncer]:
    # One connection for everybody in transaction mode: whatever stayed behind would be the next caller's.
    pooler = PgBouncer(project, OWNER, OWNER_PASSWORD, request.param, 1 if request.param == "transaction" else 12)
    pooler.start()
    yield pooler
    pooler.stop()


def test_everything_works_through_the_pooler_and_nothing_stays_behind_in_it(
    pooler: PgBouncer, project: TestDatabase
) -> None:
    assert len(apply_migrations(pooler.url)) > 40
    assert apply_migrations(pooler.url) == []
    service = PostgresDatabase(pooler.url)
    callers = {user: PostgresDatabase(pooler.url, role="authenticated", claims={"sub": user}) for user in "abc"}
    anonymous = PostgresDatabase(pooler.url, role="anon")
    try:
        service.call("add_member", user_id="c", role="analyst")
        service.call("record_usage", events=[usage_event(user_id=user) for user in "ab"])
        roll_up_all(service)

        def requests(user: str) -> object:
            page = callers[user].call("get_costs", from_time=NOON, to_time=NOON.replace(hour=13))
            assert isinstance(page, dict)
            totals = page["totals"]
            assert isinstance(totals, dict)
            return user, totals["requests"]

        with ThreadPoolExecutor(6) as threads:
            seen = set(threads.map(requests, "abc" * 10))
        assert seen == {("a", 1), ("b", 1), ("c", 2)}
        with pytest.raises(PermissionDeniedError):
            anonymous.call("get_costs", from_time=NOON, to_time=NOON.replace(hour=13))
        page = {"month": NOON.date().replace(day=1), "after_created_at": None, "after_event_id": None, "max_rows": 9}
        rows = list(service.copy_rows("read_usage_page", **page))
        assert len(b"".join(rows).splitlines()) == 3, "the names of the columns and two calls"
    finally:
        for database in (service, anonymous, *callers.values()):
            database.close()
    with psycopg.connect(project.superuser_url) as connection:
        left = connection.execute("select count(*) from pg_prepared_statements").fetchone()
    assert left == (0,)
