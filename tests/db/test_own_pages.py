"""A member's own pages: the cells are read once, and every part of a page comes from them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.events import roll_up_all, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database
    from tests.support.doors import Door

# 10:15 to 10:15 UTC is 16:00 to 16:00 in Kathmandu (+05:45): the first and last local day are cut.
FROM, TO = datetime(2026, 5, 4, 10, 15, tzinfo=UTC), datetime(2026, 5, 6, 10, 15, tzinfo=UTC)
CALLS = [
    (datetime(2026, 5, 4, 10, 14, tzinfo=UTC), 1, "0.10", 50.0),  # before the range, the same local day as its start
    (datetime(2026, 5, 4, 10, 15, tzinfo=UTC), 2, "0.20", 100.0),
    (datetime(2026, 5, 4, 18, 14, tzinfo=UTC), 4, "0.40", 100.0),  # 23:59 there
    (datetime(2026, 5, 4, 18, 15, tzinfo=UTC), 8, "0.80", 100.0),  # midnight there
    (datetime(2026, 5, 6, 10, 14, tzinfo=UTC), 16, "1.60", 900.0),
    (datetime(2026, 5, 6, 10, 15, tzinfo=UTC), 32, "3.20", 900.0),  # after the range
]
FILTERS = {"timezone": "Asia/Kathmandu", "bucket": "day"}


@pytest.fixture
def page(service_db: Database, viewer: Callable[[str], Database]) -> Callable[[str], dict[str, Any]]:
    """A page of user_a, who made these calls."""
    events = [
        usage_event(
            user_id="user_a", created_at=at, prompt_tokens=tokens, completion_tokens=0, estimated_cost=cost,
            cost_source="priced", latency_ms=latency,
        )
        for at, tokens, cost, latency in CALLS
    ]  # fmt: skip
    assert service_db.call("record_usage", events=events) == len(CALLS)
    roll_up_all(service_db)

    def read(function: str) -> dict[str, Any]:
        document = viewer("user_a").call(function, from_time=FROM, to_time=TO, filters=FILTERS)
        assert isinstance(document, dict)
        return document

    return read


@pytest.mark.parametrize("function", ["get_overview", "get_usage", "get_costs", "get_performance"])
def test_totals_are_those_of_the_range_and_of_the_one_before(
    page: Callable[[str], dict[str, Any]], function: str
) -> None:
    document = page(function)
    assert (document["totals"]["prompt_tokens"], document["totals"]["cost"]) == (2 + 4 + 8 + 16, "3.00")
    assert (document["previous"]["prompt_tokens"], document["previous"]["cost"]) == (1, "0.10")
    assert document["totals"]["latency_ms"]["count"] == 4
    assert document["previous"]["latency_ms"]["p50"] == pytest.approx(50, rel=0.01)


def test_cut_days_keep_their_local_midnight(page: Callable[[str], dict[str, Any]]) -> None:
    points = {
        datetime.fromisoformat(point["bucket_start"]).astimezone(UTC): (point["requests"], point["latency_p50_ms"])
        for point in page("get_performance")["series"]
    }
    assert {start: requests for start, (requests, _) in points.items()} == {
        datetime(2026, 5, 3, 18, 15, tzinfo=UTC): 2,
        datetime(2026, 5, 4, 18, 15, tzinfo=UTC): 1,
        datetime(2026, 5, 5, 18, 15, tzinfo=UTC): 1,
    }
    assert points[datetime(2026, 5, 5, 18, 15, tzinfo=UTC)][1] == pytest.approx(900, rel=0.01)


def test_a_pages_cells_are_one_per_bucket_and_dimensions(page: Callable[[str], dict[str, Any]], direct: Door) -> None:
    page("get_costs")
    with psycopg.connect(direct.database.superuser_url) as connection:
        claims = '{"role": "authenticated", "sub": "user_a"}'
        connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        connection.execute("set local role authenticated")
        cells = connection.execute(
            "select c.bucket_start, c.requests"
            " from observability_internal.make_page_scope(%s, %s, %s) as s"
            " cross join lateral unnest(s.cells) as c order by 1",
            [FROM, TO, Jsonb(FILTERS)],
        ).fetchall()
    assert [requests for _, requests in cells] == [1, 2, 1, 1]
