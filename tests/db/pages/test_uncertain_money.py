"""Money at the fallback price stands beside the certain sum; a refund lowers it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ingest.costs import get_cost_breakdown, get_daily_cost
from tests.support.clockwork import Clockwork, call
from tests.support.events import NOON, condense_all, store, usage_event
from tests.support.rollups import differences

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database
    from tests.support.doors import Door

WINDOW = {"from_time": NOON.replace(hour=0), "to_time": NOON.replace(day=5, hour=0)}
FALLBACK: dict[str, Any] = {"model": "gpt-99", "estimated_cost": "0.1", "cost_source": "fallback", "user_id": "user_b"}
REFUND: dict[str, Any] = {"estimated_cost": "-0.5", "provider_cost": "-0.5", "cost_source": "provider"}


def by_key(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {row["key"]: row["cost"] for row in rows}


@pytest.mark.parametrize("is_condensed", [False, True])
def test_rows_points_and_totals_leave_the_fallback_price_out(service_db: Database, *, is_condensed: bool) -> None:
    store(service_db, usage_event(), usage_event(**FALLBACK))
    if is_condensed:
        condense_all(service_db)
    document: Any = service_db.call("get_costs", **WINDOW, filters={"group_by": "model"})
    assert (document["totals"]["cost"], document["totals"]["fallback_cost"]) == ("0.000875", "0.1")
    assert by_key(document["by_model"]) == {"gpt-4o": "0.000875", "gpt-99": None}
    assert by_key(document["by_user"]) == {"user_a": "0.000875", "user_b": None}
    assert by_key(document["series"]) == {"gpt-4o": "0.000875", "gpt-99": None}


def test_nothing_but_the_fallback_price_is_unknown_and_not_zero(service_db: Database) -> None:
    store(service_db, usage_event(**FALLBACK))
    document: Any = service_db.call("get_overview", **WINDOW, filters={})
    assert (document["totals"]["cost"], document["totals"]["fallback_cost"]) == (None, "0.1")
    assert get_cost_breakdown(service_db, from_time=WINDOW["from_time"], to_time=WINDOW["to_time"]).totals.cost is None


def test_a_member_sees_the_same(service_db: Database, viewer: Callable[[str], Database]) -> None:
    store(service_db, usage_event(user_id="user_b"), usage_event(**FALLBACK))
    document: Any = viewer("user_b").call("get_costs", **WINDOW, filters={})
    assert (document["totals"]["cost"], document["totals"]["fallback_cost"]) == ("0.000875", "0.1")


def test_a_users_days_leave_it_out_too(service_db: Database) -> None:
    store(service_db, usage_event(**FALLBACK))
    found = get_daily_cost(service_db, "user_b", from_time=WINDOW["from_time"], to_time=WINDOW["to_time"])
    assert (found.cost, found.fallback_cost) == (None, Decimal("0.1"))
    assert [(day.cost, day.fallback_cost) for day in found.days] == [(None, Decimal("0.1"))]


def test_a_refund_lowers_every_sum(door: Door, service_db: Database) -> None:
    store(service_db, usage_event(estimated_cost="2"), usage_event(**REFUND))
    condense_all(service_db)
    document: Any = service_db.call("get_costs", **WINDOW, filters={"group_by": "model"})
    assert document["totals"]["cost"] == "1.5"
    assert by_key(document["by_user"]) == {"user_a": "1.5"}
    assert by_key(document["series"]) == {"gpt-4o": "1.5"}
    assert get_cost_breakdown(service_db, from_time=WINDOW["from_time"], to_time=WINDOW["to_time"]).rows[
        0
    ].cost == Decimal("1.5")
    assert differences(door.database) == []


def test_a_month_of_refunds_alone_is_below_zero(service_db: Database) -> None:
    store(service_db, usage_event(**REFUND))
    document: Any = service_db.call("get_costs", **WINDOW, filters={})
    assert document["totals"]["cost"] == "-0.5"


def test_an_alert_on_spend_counts_the_fallback_price(clockwork: Clockwork) -> None:
    clockwork.rule("spend", "1.5", window_s=300)
    clockwork.record(call(0, cost="1"), call(1, cost="1", cost_source="fallback"))
    assert clockwork.evaluate(10)["fired"] == 1
