"""Rollups hold each stored row exactly once, and their percentiles agree with the raw rows."""

from __future__ import annotations

import random
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.events import NOON, condense_all, performance_event, roll_up_all, store, usage_event

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door
    from tests.support.servers import TestDatabase

SUMS = """
select sum(requests), sum(prompt_tokens), sum(completion_tokens), coalesce(sum(cached_tokens), 0), sum(cost)::text,
  coalesce(sum(unpriced_requests), 0), coalesce(sum(estimated_requests), 0)
from observability_internal.{}
"""

# Rows of minutes and packed ones.
MINUTES = "minutes_within('-infinity', 'infinity')"
LEVELS = (MINUTES, "usage_by_user", "usage_by_hour", "usage_by_day")


def sums(database: TestDatabase, level: str) -> tuple[object, ...]:
    with psycopg.connect(database.superuser_url) as connection:
        row = connection.execute(SUMS.format(level).encode()).fetchone()
    assert row is not None
    return row


def test_a_late_row_is_added_to_its_old_bucket(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event())
    store(service, usage_event(created_at=NOON + timedelta(days=1)))
    condense_all(service)
    store(service, usage_event())
    condense_all(service)
    for level in LEVELS:
        assert sums(direct.database, level) == (3, 450, 150, 0, "0.002625", 0, 0)


def test_rows_count_once_with_many_writers_and_several_workers(direct: Door) -> None:
    writers, batches = 8, 6

    def write(number: int) -> None:
        service = direct.service()
        for batch in range(batches):
            created_at = NOON + timedelta(minutes=number * batch)
            service.call("record_usage", events=[usage_event(created_at=created_at) for _ in range(20)])

    def work() -> None:
        service = direct.service()
        for _ in range(20):
            service.call("roll_up", max_rows=50)
            service.call("condense_rollups")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    threads += [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    roll_up_all(direct.service())
    condense_all(direct.service())
    calls = writers * batches * 20
    expected = (calls, calls * 150, calls * 50, 0, str(calls * Decimal("0.000875")), 0, 0)
    for level in LEVELS:
        assert sums(direct.database, level) == expected


def test_a_roll_up_that_dies_before_its_commit_changes_nothing(direct: Door) -> None:
    service = direct.service()
    service.call("record_usage", events=[usage_event()])
    with psycopg.connect(direct.database.superuser_url) as doomed:
        doomed.execute("set local role service_role")
        doomed.execute("select observability.roll_up()")
        doomed.rollback()
    assert sums(direct.database, MINUTES)[0] is None
    roll_up_all(service)
    assert sums(direct.database, MINUTES)[0] == 1


def test_only_one_roll_up_runs_at_a_time(direct: Door) -> None:
    service = direct.service()
    service.call("record_usage", events=[usage_event()])
    with psycopg.connect(direct.database.superuser_url) as busy:
        busy.execute("set local role service_role")
        busy.execute("select observability.roll_up()")
        answer = service.call("roll_up")
        assert isinstance(answer, dict)
        assert answer["is_busy"] is True


_TOKENS = st.integers(0, 10**6)
_EVENT = st.fixed_dictionaries(
    {
        "minute": st.integers(0, 60 * 24 * 40),
        "user_id": st.sampled_from(["user_a", "user_b", "user_c"]),
        "model": st.sampled_from(["gpt-4o", "gpt-4o-mini"]),
        "feature": st.sampled_from([None, "chat", "search"]),
        "status": st.sampled_from(["ok", "error", "cancelled"]),
        "prompt_tokens": _TOKENS,
        "completion_tokens": _TOKENS,
        "cost": st.none() | st.decimals(0, 100, places=12),
        "usage_source": st.sampled_from(["reported", "tokenizer", "heuristic"]),
    }
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(_EVENT, max_size=30), max_size=3))
def test_every_level_equals_the_sum_of_the_events(direct: Door, batches: list[list[dict[str, object]]]) -> None:
    direct.database.execute(
        "truncate observability_internal.ai_usage_metrics, observability_internal.usage_by_minute,"
        " observability_internal.packed_minutes, observability_internal.usage_by_hour,"
        " observability_internal.usage_by_day, observability_internal.usage_by_user,"
        " observability_internal.usage_by_user_day, observability_internal.user_counts"
    )
    service = direct.service()
    expected: Counter[str] = Counter()
    cost = Decimal(0)
    for batch in batches:
        events = []
        for drawn in batch:
            fields = dict(drawn)
            minute, amount = fields.pop("minute"), fields.pop("cost")
            assert isinstance(minute, int)
            assert amount is None or isinstance(amount, Decimal)
            expected["requests"] += 1
            expected["prompt_tokens"] += int(str(fields["prompt_tokens"]))
            expected["completion_tokens"] += int(str(fields["completion_tokens"]))
            expected["unpriced"] += amount is None
            expected["estimated"] += fields["usage_source"] != "reported"
            cost += amount or 0
            events.append(
                usage_event(
                    **fields,  # type: ignore[arg-type]
                    created_at=NOON + timedelta(minutes=minute),
                    estimated_cost=None if amount is None else str(amount),
                    cost_source="unpriced" if amount is None else "priced",
                )
            )
        store(service, *events)
    condense_all(service)
    for level in LEVELS:
        row = sums(direct.database, level)
        found = [0 if value is None else value for value in row]
        assert found[:3] == [expected["requests"], expected["prompt_tokens"], expected["completion_tokens"]]
        assert Decimal(str(found[4])) == cost
        assert found[5:] == [expected["unpriced"], expected["estimated"]]


def heavy_tail(rng: random.Random) -> float:
    return float(rng.paretovariate(1.1) * 50)


def bimodal(rng: random.Random) -> float:
    return rng.gauss(120, 10) if rng.random() < 0.7 else rng.gauss(9000, 900)


@pytest.mark.parametrize("draw", [heavy_tail, bimodal, lambda rng: rng.lognormvariate(6, 1)])
@pytest.mark.parametrize("count", [1, 2, 7, 900])
def test_percentiles_are_within_one_percent_of_the_raw_rows(direct: Door, draw: object, count: int) -> None:
    assert callable(draw)
    rng = random.Random(count)
    service = direct.service()
    for _ in range(3):  # several increments merge into the same minutes
        events = [
            usage_event(
                created_at=NOON + timedelta(minutes=rng.randrange(5)),
                latency_ms=max(draw(rng), 0.01),
                time_to_first_token_ms=None,
            )
            for _ in range(-(-count // 3))
        ]
        store(service, *events)
    with psycopg.connect(direct.database.superuser_url) as connection:
        exact = connection.execute(
            "select percentile_cont(array[0.5, 0.9, 0.99]) within group (order by latency_ms)"
            " from observability_internal.ai_usage_metrics"
        ).fetchone()
    assert exact is not None
    document = service.call("get_performance", from_time=NOON, to_time=NOON + timedelta(hours=1))
    assert isinstance(document, dict)
    totals = document["totals"]
    assert isinstance(totals, dict)
    latency = totals["latency_ms"]
    assert isinstance(latency, dict)
    found = [latency["p50"], latency["p90"], latency["p99"]]
    assert found == pytest.approx(exact[0], rel=0.0101)


def test_weighted_requests_count_as_many_as_they_stand_for(direct: Door) -> None:
    service = direct.service()
    events = [
        performance_event(latency_ms=100.0, sample_weight=1),
        performance_event(latency_ms=900.0, sample_weight=9),
    ]
    assert service.call("record_performance", events=events) == 2
    roll_up_all(service)
    document = service.call("get_performance", from_time=NOON, to_time=NOON + timedelta(hours=1))
    assert isinstance(document, dict)
    routes = document["routes"]
    assert isinstance(routes, dict)
    latency = routes["latency_ms"]
    assert isinstance(latency, dict)
    assert (routes["requests"], latency["count"]) == (10, 10)
    assert latency["p50"] == pytest.approx(900, rel=0.01)


def aggregates(service: Database, period: str) -> list[dict[str, JsonValue]]:
    service.call("refresh_aggregates")
    document = service.call(
        "get_cost_aggregates",
        period=period,
        from_time=NOON - timedelta(days=40),
        to_time=NOON + timedelta(days=40),
    )
    assert isinstance(document, dict)
    rows = document["rows"]
    assert isinstance(rows, list)
    return [row for row in rows if isinstance(row, dict)]


@pytest.mark.parametrize(("period", "starts"), [("hour", 3), ("day", 2), ("week", 1), ("month", 1)])
def test_cost_aggregates_count_distinct_users_of_each_period(direct: Door, period: str, starts: int) -> None:
    service = direct.service()
    for hours, user in ((0, "user_a"), (0, "user_b"), (1, "user_a"), (24, "user_a")):
        store(service, usage_event(created_at=NOON + timedelta(hours=hours), user_id=user))
    rows = aggregates(service, period)
    assert len(rows) == starts
    assert rows[0]["user_count"] == 2
    assert sum(Decimal(str(row["total_cost"])) for row in rows) == 4 * Decimal("0.000875")
    assert sum(int(str(row["request_count"])) for row in rows) == 4


@pytest.mark.dated
def test_hours_of_the_view_and_older_ones_are_each_there_once(direct: Door) -> None:
    service = direct.service()
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    days = (1, 20, 30, 33, 60)
    for back in days:
        store(service, usage_event(created_at=hour - timedelta(days=back)), usage_event(user_id="user_b"))
    service.call("refresh_aggregates")
    document: Any = service.call(
        "get_cost_aggregates", period="hour", from_time=hour - timedelta(days=61), to_time=hour
    )
    found = [
        (row["bucket_start"], row["request_count"], row["total_cost"], row["user_count"]) for row in document["rows"]
    ]
    expected = [((hour - timedelta(days=back)).isoformat(), 1, "0.000875", 1) for back in reversed(days)]
    assert found == expected


_REQUEST = st.tuples(st.floats(0.0, 1e6), st.integers(1, 40))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(_REQUEST, min_size=1, max_size=25), is_condensed=st.booleans())
def test_weighted_percentiles_are_those_of_the_requests_they_stand_for(
    direct: Door, requests: list[tuple[float, int]], is_condensed: bool
) -> None:
    direct.database.execute(
        "truncate observability_internal.performance_metrics, observability_internal.performance_by_minute,"
        " observability_internal.performance_by_hour, observability_internal.performance_by_day"
    )
    service = direct.service()
    events = [performance_event(latency_ms=latency, sample_weight=weight) for latency, weight in requests]
    service.call("record_performance", events=events)
    roll_up_all(service)
    if is_condensed:
        condense_all(service)
    with psycopg.connect(direct.database.superuser_url) as connection:
        exact = connection.execute(
            "select percentile_cont(array[0.5, 0.9, 0.99]) within group (order by greatest(latency_ms, 0.001))"
            " from observability_internal.performance_metrics cross join generate_series(1, sample_weight::integer)"
        ).fetchone()
    assert exact is not None
    document = service.call(
        "get_performance", from_time=NOON, to_time=NOON + timedelta(days=1), filters={"bucket": "hour"}
    )
    assert isinstance(document, dict)
    routes: Any = document["routes"]
    expected = pytest.approx(exact[0], rel=0.0101)
    for found in (routes["latency_ms"], *routes["series"], *routes["by_route"]):
        names = ("p50", "p90", "p99") if "p50" in found else ("latency_p50_ms", "latency_p90_ms", "latency_p99_ms")
        assert [found[name] for name in names] == expected
    assert routes["latency_ms"]["count"] == sum(weight for _, weight in requests)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    latencies=st.lists(st.floats(0.001, 1e8) | st.sampled_from([1.0, 1e3]), min_size=1, max_size=40),
    is_condensed=st.booleans(),
)
def test_percentiles_of_calls_are_within_one_percent(direct: Door, latencies: list[float], is_condensed: bool) -> None:
    direct.database.execute(
        "truncate observability_internal.ai_usage_metrics, observability_internal.usage_by_minute,"
        " observability_internal.packed_minutes, observability_internal.usage_by_user"
    )
    service = direct.service()
    store(service, *[usage_event(latency_ms=value, time_to_first_token_ms=value / 2) for value in latencies])
    if is_condensed:
        condense_all(service)
    with psycopg.connect(direct.database.superuser_url) as connection:
        exact = connection.execute(
            "select percentile_cont(array[0.5, 0.9, 0.99]) within group (order by greatest(latency_ms, 0.001)),"
            " percentile_cont(array[0.5, 0.9, 0.99]) within group (order by greatest(time_to_first_token_ms, 0.001))"
            " from observability_internal.ai_usage_metrics"
        ).fetchone()
    assert exact is not None
    for filters in ({}, {"model": "gpt-4o"}, {"status": "ok"}, {"user_id": "user_a"}):
        document = service.call("get_performance", from_time=NOON, to_time=NOON + timedelta(days=1), filters=filters)
        assert isinstance(document, dict)
        totals: Any = document["totals"]
        for measure, expected in zip(("latency_ms", "time_to_first_token_ms"), exact, strict=True):
            found = [totals[measure][name] for name in ("p50", "p90", "p99")]
            assert found == pytest.approx(expected, rel=0.0101)
