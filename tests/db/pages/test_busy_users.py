"""A busy user's own pages, which read merged weeks and days, say what the raw calls say."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ingest.errors import DatabaseError
from tests.support.events import condense_all, roll_up_all, usage_event

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door

START = datetime(2026, 4, 3, tzinfo=UTC)  # a Friday: the busy days begin before a week and end after it
BUSY_DAYS = range(2, 11)
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia")
FILTERS: tuple[dict[str, JsonValue], ...] = (
    {},
    {"model": "gpt-4o"},
    {"environment": "production"},
    {"feature": ["chat", "search"], "status": "ok"},
)

# The calls as the page counts them, by the viewer's day.
_RAW = """
select
  date_trunc('day', created_at, %(zone)s) as day, model, count(*) as requests, sum(prompt_tokens) as tokens,
  sum(estimated_cost) as cost, percentile_cont(array[0.5, 0.9, 0.99]) within group (order by latency_ms)
from observability_internal.ai_usage_metrics
where user_id = 'busy' and created_at >= %(start)s and created_at < %(end)s
  and (%(model)s::text is null or model = %(model)s)
  and (%(environment)s::text is null or environment = %(environment)s)
  and (%(features)s::text[] is null or feature = any (%(features)s::text[]))
  and (%(status)s::text is null or status = %(status)s)
group by grouping sets ((1), (2), ())
"""


def fill(service: Database) -> None:
    """Two weeks of one user with many calls on most days and of one with few."""
    rng = random.Random(11)
    events = []
    for day in range(14):
        for number in range(200 if day in BUSY_DAYS else 15):
            status = rng.choice(["ok", "ok", "ok", "error"])
            events.append(
                usage_event(
                    created_at=START + timedelta(days=day, seconds=rng.randrange(86_400)),
                    user_id="busy" if number % 20 else "calm",
                    model=rng.choice(["gpt-4o", "gpt-4o-mini", "o4-mini"]),
                    feature=rng.choice(["chat", "search", "title"]),
                    environment=rng.choice(["production", "staging"]),
                    status=status,
                    error_type="timeout" if status == "error" else None,
                    prompt_tokens=rng.randrange(1000),
                    estimated_cost=str(Decimal(rng.randrange(10**6)).scaleb(-8)),
                    latency_ms=rng.lognormvariate(6, 1),
                    time_to_first_token_ms=rng.choice([None, rng.lognormvariate(5, 1)]),
                )
            )
    assert service.call("record_usage", events=events) == len(events)
    roll_up_all(service)
    condense_all(service)


@pytest.fixture
def filled(door: Door) -> Door:
    fill(door.service())
    return door


def raw(door: Door, start: datetime, end: datetime, zone: str, filters: dict[str, Any]) -> dict[Any, Any]:
    """Figures of the raw calls by day, by model and in total (key None)."""
    feature = filters.get("feature")
    parameters = {
        "start": start, "end": end, "zone": zone, "model": filters.get("model"), "features": feature,
        "environment": filters.get("environment"), "status": filters.get("status"),
    }  # fmt: skip
    with psycopg.connect(door.database.superuser_url) as connection:
        rows = connection.execute(_RAW, parameters).fetchall()
    return {day or model: figures for day, model, *figures in rows}


def levels(door: Door) -> dict[str, int]:
    with psycopg.connect(door.database.superuser_url) as connection:
        return dict(
            connection.execute(
                "select r.level, count(distinct r.bucket) from observability_internal.latency_by_user r group by 1"
            ).fetchall()
        )


def assert_says(row: Any, expected: Any) -> None:
    requests, tokens, cost, quantiles = expected
    assert (row["requests"], Decimal(row["cost"])) == (requests, cost)
    assert row.get("prompt_tokens", tokens) == tokens
    assert [row[f"latency_p{q}_ms"] for q in (50, 90, 99)] == pytest.approx(quantiles, rel=0.011)


def test_any_range_in_any_zone_says_what_the_raw_calls_say(filled: Door) -> None:
    assert levels(filled) == {"day": len(BUSY_DAYS), "week": 1}
    rng = random.Random(3)
    me = filled.viewer("busy")
    for number in range(12):
        zone, filters = rng.choice(ZONES), FILTERS[number % len(FILTERS)]
        start = START + timedelta(minutes=15 * rng.randrange(3 * 96))
        end = start + timedelta(days=rng.randrange(2, 11), minutes=15 * rng.randrange(96))
        expected = raw(filled, start, end, zone, filters)
        asked = {**filters, "timezone": zone, "bucket": "day"}
        page: Any = me.call("get_performance", from_time=start, to_time=end, filters=asked)
        requests, tokens, cost, quantiles = expected[None]
        totals = page["totals"]
        assert (totals["requests"], totals["prompt_tokens"], Decimal(totals["cost"])) == (requests, tokens, cost)
        assert [totals["latency_ms"][f"p{q}"] for q in (50, 90, 99)] == pytest.approx(quantiles, rel=0.011)
        points = {datetime.fromisoformat(point["bucket_start"]): point for point in page["series"]}
        assert points.keys() == {key for key in expected if isinstance(key, datetime)}
        for day, point in points.items():
            assert_says(point, expected[day])
        for row in page["by_model"]:
            found = expected[row["key"]]
            assert row["requests"] == found[0]
            assert [row[f"latency_p{q}_ms"] for q in (50, 90, 99)] == pytest.approx(found[3], rel=0.011)


def test_a_late_call_is_in_the_percentiles_before_its_day_is_condensed_again(filled: Door) -> None:
    span: dict[str, Any] = {"from_time": START, "to_time": START + timedelta(days=14)}
    me, service = filled.viewer("busy"), filled.service()

    def count() -> int:
        page: Any = me.call("get_overview", **span)
        return int(page["totals"]["latency_ms"]["count"])

    before = count()
    late = usage_event(created_at=START + timedelta(days=5), user_id="busy")
    assert service.call("record_usage", events=[late]) == 1
    roll_up_all(service)
    assert count() == before + 1
    condense_all(service)
    assert count() == before + 1


def test_another_member_sees_nothing_of_it(filled: Door) -> None:
    with psycopg.connect(filled.database.superuser_url) as connection:
        for person, rows in (("busy", True), ("calm", False), ("stranger", False)):
            connection.execute("reset role")
            claims = f'{{"role": "authenticated", "sub": "{person}"}}'
            connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
            connection.execute("set local role authenticated")
            found = connection.execute("select count(*) > 0 from observability_internal.latency_by_user").fetchone()
            assert found == (rows,)
    page: Any = filled.viewer("stranger").call("get_usage", from_time=START, to_time=START + timedelta(days=14))
    assert page["options"]["models"] == []
    with pytest.raises(DatabaseError):
        filled.viewer("stranger").call(
            "get_usage", from_time=START, to_time=START + timedelta(days=14), filters={"user_id": "busy"}
        )


def test_a_member_is_offered_the_names_of_the_own_calls_only(filled: Door) -> None:
    service = filled.service()
    service.call("record_usage", events=[usage_event(created_at=START, user_id="other", model="secret-model")])
    roll_up_all(service)
    span: dict[str, Any] = {"from_time": START, "to_time": START + timedelta(days=14)}
    mine: Any = filled.viewer("busy").call("get_usage", **span)
    theirs: Any = filled.viewer("other").call("get_usage", **span)
    assert mine["options"]["models"] == ["gpt-4o", "gpt-4o-mini", "o4-mini"]
    assert theirs["options"]["models"] == ["secret-model"]


def test_forgetting_a_busy_user_leaves_no_histogram_of_theirs(filled: Door) -> None:
    service = filled.service()
    while True:
        answer: Any = service.call("forget_user", user_id="busy", max_rows=500)
        if answer["is_done"]:
            break
    assert levels(filled) == {}
    condense_all(service)
    checked: Any = service.call("verify_rollups", from_time=START, to_time=START + timedelta(days=14))
    assert checked["is_exact"], checked["differences"]
    assert levels(filled) == {}


def test_rebuilding_keeps_them(filled: Door) -> None:
    service = filled.service()
    before: Any = filled.viewer("busy").call(
        "get_performance", from_time=START, to_time=START + timedelta(days=14), filters={"bucket": "day"}
    )
    service.call("rebuild_rollups", from_time=START, to_time=START + timedelta(days=14))
    condense_all(service)
    after: Any = filled.viewer("busy").call(
        "get_performance", from_time=START, to_time=START + timedelta(days=14), filters={"bucket": "day"}
    )
    assert [after[part] for part in ("totals", "series", "by_model", "by_feature")] == [
        before[part] for part in ("totals", "series", "by_model", "by_feature")
    ]
    checked: Any = service.call("verify_rollups", from_time=START, to_time=START + timedelta(days=14))
    assert (checked["is_exact"], checked["levels"]["busy user day"]) == (True, len(BUSY_DAYS))


def test_a_wrong_histogram_of_a_busy_user_is_found(filled: Door) -> None:
    filled.database.execute(
        "update observability_internal.latency_by_user set latency = latency || latency where level = 'day'"
    )
    checked: Any = filled.service().call("verify_rollups", from_time=START, to_time=START + timedelta(days=14))
    assert {difference["level"] for difference in checked["differences"]} == {"busy user day"}
