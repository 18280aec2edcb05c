"""No function may run longer than hosted databases let it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from tests.support.servers import TestDatabase


def test_no_function_asks_for_more_than_the_minute_that_the_api_allows(database: TestDatabase) -> None:
    with psycopg.connect(database.superuser_url) as connection:
        limits: dict[str, int] = dict(
            connection.execute(
                "select p.proname, extract(epoch from split_part(s.setting, '=', 2)::interval)::integer"
                " from pg_proc p cross join lateral unnest(p.proconfig) as s (setting)"
                " where p.pronamespace in ('observability'::regnamespace, 'observability_internal'::regnamespace)"
                " and s.setting like 'statement_timeout=%'"
            ).fetchall()
        )
    assert len(limits) > 25
    assert {name: seconds for name, seconds in limits.items() if seconds > 60} == {}
