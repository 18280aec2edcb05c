"""Why a period was dearer, from real rows and for whom."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from ingest.errors import PermissionDeniedError
from ingest.savings.drivers import get_cost_drivers
from tests.support.events import NOON, store, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database

HOUR = timedelta(hours=1)


def test_the_parts_add_up_to_what_the_rollups_say_and_members_get_their_own(
    service_db: Database, viewer: Callable[[str], Database], anonymous: Database
) -> None:
    store(
        service_db,
        usage_event(created_at=NOON - HOUR),
        usage_event(),
        usage_event(feature=None, estimated_cost="0.5"),
        usage_event(user_id="user_b", completion_tokens=150, estimated_cost="0.001875"),
        usage_event(user_id="user_b", model="mystery", estimated_cost=None, cost_source="unpriced"),
    )
    found = get_cost_drivers(service_db, NOON, NOON + HOUR)
    assert (found.cost, found.previous_cost) == (Decimal("0.50275"), Decimal("0.000875"))
    assert sum(found.parts.values()) == found.difference == Decimal("0.501875")
    assert (found.contributions[0].feature, found.contributions[0].driver) == ("", "mix")
    assert found.uncertain_requests == 1
    own = get_cost_drivers(viewer("user_b"), NOON, NOON + HOUR)
    assert (own.cost, own.previous_cost) == (Decimal("0.001875"), Decimal(0))
    assert own.parts["volume"] == Decimal("0.001875")
    assert get_cost_drivers(service_db, NOON, NOON + HOUR, filters={"feature": "chat"}).cost == Decimal("0.00275")
    apart = get_cost_drivers(service_db, NOON, NOON + HOUR, before=(NOON - 2 * HOUR, NOON - HOUR))
    assert (apart.cost, apart.previous_cost) == (found.cost, Decimal(0))
    same = get_cost_drivers(service_db, NOON, NOON + HOUR, before=(NOON - HOUR, NOON))
    assert (same.parts, same.uncertain_requests) == (found.parts, 1)
    with pytest.raises(PermissionDeniedError):
        get_cost_drivers(anonymous, NOON, NOON + HOUR)
