"""Rollups equal the raw rows, whatever happens to the processes, and can be rebuilt."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ingest.errors import InvalidArgumentError
from tests.db.rollups.verification import DAY, fill, rebuild, verify
from tests.support.events import condense_all, roll_up_all

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.database import Database
    from tests.support.doors import Door


def test_rollups_equal_the_raw_rows_at_every_level(service_db: Database) -> None:
    fill(service_db)
    roll_up_all(service_db)
    fill(service_db, seed=2)  # waits: in neither side
    assert (verify(service_db)["is_exact"], set(verify(service_db)["levels"])) == (
        True,
        {"minute", "user", "minute of requests"},
    )
    roll_up_all(service_db)
    condense_all(service_db)
    result = verify(service_db)
    assert result["is_exact"], result["differences"]
    assert result["requests"] == 120
    assert result["levels"] == dict.fromkeys(
        ["minute", "user", "hour", "day", "user day", "merged day", "minute of requests", "day of requests"], 3
    )


@pytest.mark.parametrize(
    ("statement", "level"),
    [
        ("update observability_internal.packed_minutes set requests[1] = requests[1] + 1", "minute"),
        ("update observability_internal.packed_minutes set cost[1] = cost[1] + 0.00000001", "minute"),
        ("update observability_internal.packed_minutes set latency[1] = null", "minute"),
        ("delete from observability_internal.packed_minutes", "minute"),
        ("update observability_internal.usage_by_user set prompt_tokens = prompt_tokens + 1 where dim_id = 1", "user"),
        ("delete from observability_internal.usage_by_user", "user"),
        ("update observability_internal.usage_by_hour set requests = requests - 1", "hour"),
        ("update observability_internal.usage_by_day set requests = requests - 1", "day"),
        ("update observability_internal.usage_by_user_day set cost[1] = cost[1] + 1", "user day"),
        ("update observability_internal.latency_by_group set latency = null where level = 'day'", "merged day"),
        ("update observability_internal.performance_by_minute set requests = requests + 1", "minute of requests"),
        ("update observability_internal.performance_by_day set requests = requests + 1", "day of requests"),
    ],
)
def test_a_difference_at_any_level_is_found_and_shown_in_the_status(direct: Door, statement: str, level: str) -> None:
    service = direct.service()
    fill(service)
    roll_up_all(service)
    condense_all(service)
    with psycopg.connect(direct.database.superuser_url) as connection:
        assert connection.execute(statement.encode()).rowcount
    result = verify(service)
    assert not result["is_exact"]
    assert {difference["level"] for difference in result["differences"]} == {level}
    status = service.call("get_status")
    assert isinstance(status, dict)
    shown = status["verification"]
    assert isinstance(shown, dict)
    assert (shown["is_exact"], shown["difference_count"]) == (False, result["difference_count"])


def test_rebuilding_puts_right_what_was_wrong(direct: Door) -> None:
    service = direct.service()
    fill(service)
    roll_up_all(service)
    condense_all(service)
    fill(service, seed=2)
    direct.database.execute(
        "update observability_internal.packed_minutes set requests[1] = 7;"
        " update observability_internal.usage_by_minute set requests = 7;"
        " delete from observability_internal.usage_by_user where user_key = 1;"
        " insert into observability_internal.usage_by_minute select bucket + interval '1 day', dim_id, 1, 1, 1, 1, 1,"
        " 1, 1, 1, 1, 1, 1, 1, 1, 1 from observability_internal.usage_by_minute on conflict do nothing"
    )
    assert rebuild(service) == {
        "is_done": True, "to_time": "2026-05-07T00:00:00+00:00", "days": 3, "skipped_days": 0, "usage_rows": 60,
        "performance_rows": 20,
    }  # fmt: skip
    assert verify(service)["is_exact"]
    roll_up_all(service)
    condense_all(service)
    result = verify(service)
    assert (result["is_exact"], result["requests"]) == (True, 120)


def test_days_whose_raw_rows_are_archived_keep_their_rollups(direct: Door) -> None:
    service = direct.service()
    fill(service)
    roll_up_all(service)
    direct.database.execute(
        "drop table observability_internal.ai_usage_metrics_202605, observability_internal.performance_metrics_202605"
    )
    rebuilt = rebuild(service)
    assert (rebuilt["days"], rebuilt["skipped_days"], rebuilt["usage_rows"]) == (0, 3, 0)
    result = verify(service)
    assert (result["is_exact"], result["levels"]) == (True, {})
    document = service.call("get_overview", from_time=DAY, to_time=DAY + timedelta(days=3))
    assert isinstance(document, dict)
    totals = document["totals"]
    assert isinstance(totals, dict)
    assert totals["requests"] == 60


def test_a_comparison_in_slices_finds_what_one_call_finds(service_db: Database) -> None:
    fill(service_db)
    roll_up_all(service_db)
    condense_all(service_db)
    whole = verify(service_db)
    part: Any = service_db.call("verify_rollups", from_time=DAY, to_time=DAY + timedelta(days=1))
    assert (part["is_done"], part["levels"]["minute"]) == (True, 1)
    arguments = {"from_time": part["to_time"], "to_time": DAY + timedelta(days=3), "continues": part["checked_at"]}
    rest: Any = service_db.call("verify_rollups", **arguments)
    assert {name: figure for name, figure in rest.items() if name != "checked_at"} == {
        name: figure for name, figure in whole.items() if name != "checked_at"
    }
    assert rest["checked_at"] == part["checked_at"]
    with pytest.raises(InvalidArgumentError, match="no comparison to continue"):
        service_db.call("verify_rollups", **arguments)


def test_a_difference_in_an_earlier_slice_stays_in_the_status(direct: Door) -> None:
    service = direct.service()
    fill(service)
    roll_up_all(service)
    direct.database.execute(
        "update observability_internal.usage_by_minute set requests = requests + 1 where bucket < '2026-05-05'"
    )
    part: Any = service.call("verify_rollups", from_time=DAY, to_time=DAY + timedelta(days=1))
    rest: Any = service.call(
        "verify_rollups", from_time=part["to_time"], to_time=DAY + timedelta(days=3), continues=part["checked_at"]
    )
    assert (rest["is_exact"], rest["difference_count"]) == (False, 1)
    status: Any = service.call("get_status")
    assert status["verification"]["is_exact"] is False


@pytest.mark.parametrize("days", [0, -1, 40])
def test_an_endless_rebuild_is_refused(direct: Door, days: int) -> None:
    with pytest.raises(InvalidArgumentError, match="at most 31 days"):
        rebuild(direct.service(), days)


def test_an_endless_comparison_is_refused(direct: Door) -> None:
    with pytest.raises(InvalidArgumentError, match="at most 400 days"):
        direct.service().call("verify_rollups", from_time=DAY, to_time=DAY + timedelta(days=401))


DIFFERENCE = """
select observability_internal.add_usage_difference(array(
  select row(m.created_at, d.dim_id, u.user_key, null, null, null, null, null, null, null, null,
    -m.estimated_cost, 0.5, null, null, 1, null)::observability_internal.usage_difference
  from observability_internal.ai_usage_metrics m
  join observability_internal.users u using (user_id)
  join observability_internal.dimensions d on d.model = m.model
))
"""


def test_a_difference_reaches_every_level(direct: Door) -> None:
    service = direct.service()
    fill(service)
    roll_up_all(service)
    condense_all(service)
    with psycopg.connect(direct.database.superuser_url) as connection:
        connection.execute("select pg_advisory_xact_lock(hashtextextended('treering.roll_up', 0))")
        connection.execute(DIFFERENCE)
        connection.execute(
            "update observability_internal.ai_usage_metrics set estimated_cost = 0.5, cost_source = 'fallback'"
        )
    for _ in range(2):
        result = verify(service)
        assert (result["is_exact"], result["cost"]) == (True, "0")
        document = service.call("get_costs", from_time=DAY, to_time=DAY + timedelta(days=3))
        assert isinstance(document, dict)
        totals: JsonValue = document["totals"]
        assert isinstance(totals, dict)
        assert (totals["cost"], totals["fallback_cost"], totals["fallback_requests"]) == (None, "30.0", 60)
        condense_all(service)
    assert len(result["levels"]) == 8


def test_a_difference_of_a_call_that_was_never_counted_is_refused(direct: Door) -> None:
    with (
        psycopg.connect(direct.database.superuser_url) as connection,
        pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="lack rows of the calls"),
    ):
        connection.execute(
            "select observability_internal.add_usage_difference(array[row(now(), 1, 1, 1, null, null, null, null, null,"
            " null, null, null, null, null, null, null, null)::observability_internal.usage_difference])"
        )
