"""A user's cost by day and the breakdown of a range, as Python helpers over both doors."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from ingest.costs import get_cost_breakdown, get_daily_cost
from ingest.errors import DatabaseError, InvalidArgumentError, PermissionDeniedError
from tests.bench.reprice import fill, stored_sum
from tests.support.events import NOON, store, usage_event
from tests.support.rollups import differences
from tests.support.scripted_database import ScriptedDatabase

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database
    from tests.support.doors import Door

COST = Decimal("0.000875")
SPAN = (NOON - timedelta(days=2), NOON + timedelta(days=2))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_days_are_those_of_the_time_zone_asked_for(service_db: Database) -> None:
    # 18:29 and 18:30 in UTC are the two sides of midnight in Kolkata.
    for moment in ("2026-05-04T18:29:59", "2026-05-04T18:30:00", "2026-05-04T23:00:00"):
        store(service_db, usage_event(created_at=at(moment)))
    store(service_db, usage_event(user_id="user_b"))
    start, end = at("2026-05-01T00:00:00"), at("2026-05-10T00:00:00")
    here = get_daily_cost(service_db, "user_a", from_time=start, to_time=end)
    there = get_daily_cost(service_db, "user_a", from_time=start, to_time=end, timezone="Asia/Kolkata")
    assert [(one.day, one.cost) for one in here.days] == [(date(2026, 5, 4), 3 * COST)]
    assert [(one.day, one.cost) for one in there.days] == [(date(2026, 5, 4), COST), (date(2026, 5, 5), 2 * COST)]
    assert (there.cost, there.requests, there.timezone) == (3 * COST, 3, "Asia/Kolkata")


@pytest.mark.dated
def test_without_a_range_the_last_thirty_days_and_today_count(direct: Door) -> None:
    service = direct.service()
    now = datetime.now(UTC)
    store(service, usage_event(created_at=now), usage_event(created_at=now - timedelta(days=40)))
    found = get_daily_cost(service, "user_a", timezone="Europe/Berlin")
    assert (found.requests, found.cost) == (1, COST)
    assert found.to_time - found.from_time in [timedelta(days=30, hours=hours) for hours in (-1, 0, 1)]


def test_a_day_of_unpriced_calls_has_no_cost_rather_than_none_spent(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(estimated_cost=None, cost_source="unpriced"))
    found = get_daily_cost(service, "user_a", from_time=SPAN[0], to_time=SPAN[1])
    assert [(one.cost, one.unpriced_requests) for one in found.days] == [(None, 1)]
    assert found.cost is None


def test_people_ask_for_their_own_cost_and_analysts_for_everybodys(
    service_db: Database, viewer: Callable[[str], Database]
) -> None:
    service_db.call("add_member", user_id="user_ana", role="analyst")
    store(service_db, usage_event(user_id="user_a"), usage_event(user_id="user_b"))
    own = get_daily_cost(viewer("user_a"), from_time=SPAN[0], to_time=SPAN[1])
    assert (own.user_id, own.requests) == ("user_a", 1)
    assert get_daily_cost(viewer("user_ana"), "user_b", from_time=SPAN[0], to_time=SPAN[1]).requests == 1
    with pytest.raises(PermissionDeniedError):
        get_daily_cost(viewer("user_a"), "user_b", from_time=SPAN[0], to_time=SPAN[1])
    assert get_cost_breakdown(viewer("user_a"), *SPAN).totals.requests == 1
    assert get_cost_breakdown(viewer("user_ana"), *SPAN).totals.requests == 2


def test_strangers_get_no_figures(anonymous: Database) -> None:
    with pytest.raises(PermissionDeniedError):
        get_daily_cost(anonymous, "user_a")
    with pytest.raises(PermissionDeniedError):
        get_cost_breakdown(anonymous, *SPAN)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"user_id": None}, "user_id or tenant_id is needed"),
        ({"timezone": "Mars/Olympus"}, "unknown time zone"),
        ({"from_time": SPAN[1], "to_time": SPAN[0]}, "must begin before"),
    ],
)
def test_a_wrong_question_about_days_is_refused(shared_direct: Door, arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        get_daily_cost(shared_direct.service(), **{"user_id": "user_a", **arguments})  # type: ignore[arg-type]


def test_the_rows_of_every_breakdown_add_up_to_its_total(service_db: Database) -> None:
    store(
        service_db,
        usage_event(),
        usage_event(user_id="user_b", model="gpt-4o-mini", estimated_cost="0.5", feature="tutor", status="error"),
        usage_event(user_id="user_c", provider="azure", environment="staging", operation="embeddings"),
        usage_event(estimated_cost=None, cost_source="unpriced"),
    )
    for group_by in ("model", "feature", "provider", "environment", "operation", "status", "user_id"):
        found = get_cost_breakdown(service_db, *SPAN, group_by=group_by, filters={"limit": "1"})
        assert sum(row.cost or 0 for row in found.rows) == found.totals.cost == Decimal("0.50175")
        assert sum(row.requests for row in found.rows) == found.totals.requests == 4
        assert found.totals.unpriced_requests == 1
        assert [row.is_other for row in found.rows] == [False, True]
        assert found.group_by == group_by


def test_a_range_that_cuts_a_quarter_of_an_hour_still_adds_up_by_user(direct: Door) -> None:
    service = direct.service()
    for minutes in (0, 4, 7, 14, 15, 20):
        store(service, usage_event(created_at=NOON + timedelta(minutes=minutes)))
    found = get_cost_breakdown(service, NOON + timedelta(minutes=5), NOON + timedelta(minutes=17), group_by="user_id")
    assert (found.from_time, found.to_time) == (NOON, NOON + timedelta(minutes=30))
    assert [row.cost for row in found.rows] == [found.totals.cost] == [6 * COST]


def test_filters_narrow_a_breakdown(direct: Door) -> None:
    service = direct.service()
    store(service, usage_event(), usage_event(feature="tutor"))
    found = get_cost_breakdown(service, *SPAN, filters={"feature": ["tutor"]})
    assert [(row.key, row.requests, row.cost) for row in found.rows] == [("gpt-4o", 1, COST)]


def test_a_wrong_dimension_is_refused(direct: Door) -> None:
    with pytest.raises(InvalidArgumentError, match="group_by is"):
        get_cost_breakdown(direct.service(), *SPAN, group_by="colour")


def test_an_answer_of_another_form_is_an_error_of_the_database() -> None:
    with pytest.raises(DatabaseError, match=r"unexpected response from the database \(get_daily_cost: user_id"):
        get_daily_cost(ScriptedDatabase(get_daily_cost=[{"user_id": 7}]), "user_a")


def test_the_sum_in_sql_equals_the_sum_in_python_to_the_last_digit(door: Door) -> None:
    service = door.service()
    assert fill([service], 3_000) == stored_sum(service)
    assert differences(door.database) == []
