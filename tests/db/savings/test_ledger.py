"""From a suggestion to what came of it: who may decide, what is measured, what comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ingest.errors import InvalidArgumentError, PermissionDeniedError
from ingest.savings.ledger import read_ledger, update_ledger
from ingest.savings.reading import read_savings_plan
from tests.support.events import condense_all, store, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database
    from tests.support.doors import Door

KEY = "cheaper_snapshot/openai/gpt-4o-2024-05-13/*"


@pytest.fixture
def today() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def store_change(service: Database, today: datetime) -> None:
    """Twenty days of 24 calls: ten days on the old snapshot for 0.09 $ a call, then on gpt-4o for 0.0475 $."""
    events = [
        usage_event(
            model="gpt-4o" if day <= 10 else "gpt-4o-2024-05-13",
            created_at=today - timedelta(days=day) + timedelta(hours=hour, minutes=day),
            prompt_tokens=15_000,
            completion_tokens=1_000,
            estimated_cost="0.0475" if day <= 10 else "0.09",
        )
        for day in range(1, 21)
        for hour in range(24)
    ]
    store(service, *events)
    condense_all(service)
    answer: Any = service.call("judge_savings", max_days=40)
    assert answer == {"days": 20, "waiting": 0}


@pytest.mark.dated
def test_what_ops_accept_is_measured_and_verified(
    service_db: Database, viewer: Callable[[str], Database], today: datetime
) -> None:
    changed = today - timedelta(days=10)
    store_change(service_db, today)
    for user, role in (("olga", "ops"), ("ana", "analyst")):
        service_db.call("add_member", user_id=user, role=role)
    before = read_savings_plan(service_db, to_time=changed)
    update_ledger(service_db, before, now=changed)
    entry = next(one for one in read_ledger(viewer("ana")).entries if one.suggestion_key == KEY)
    assert (entry.state, entry.accepted_on) == ("open", None)
    # 24 calls a day, 0.0425 $ each: 30.60 $ in 30 days.
    assert entry.expected == Decimal("30.60")
    for person in ("ana", "mia"):
        with pytest.raises(PermissionDeniedError):
            viewer(person).call("decide_saving", suggestion_key=KEY, decision="accept")
    with pytest.raises(PermissionDeniedError):
        read_ledger(viewer("mia"))
    ops = viewer("olga")
    assert (
        ops.call("decide_saving", suggestion_key=KEY, decision="accept", accepted_on=changed.date().isoformat()) is True
    )
    now = today + timedelta(hours=1)
    assert update_ledger(service_db, read_savings_plan(service_db, to_time=now), now=now) == 1
    found = next(one for one in read_ledger(ops).entries if one.suggestion_key == KEY)
    assert (found.state, found.accepted_expected, found.accepted_on) == ("verified", Decimal("30.60"), changed.date())
    assert found.measured_expected == Decimal("30.60")


def suggestion(expected: str) -> dict[str, Any]:
    return {
        "suggestion_key": "k", "kind": "batch", "provider": "openai", "model": "m", "feature": "f", "headline": "Do it",
        "needs_evaluation": False, "low": "1", "expected": expected, "high": "99",
    }  # fmt: skip


def test_what_was_dismissed_comes_back_only_when_it_is_worth_half_as_much_again(direct: Door) -> None:
    service = direct.service()

    def state() -> str:
        (entry,) = read_ledger(service).entries
        return entry.state

    service.call("record_savings", suggestions=[suggestion("10")])
    with pytest.raises(InvalidArgumentError, match="with a reason"):
        service.call("decide_saving", suggestion_key="k", decision="dismiss")
    assert service.call("decide_saving", suggestion_key="k", decision="dismiss", reason="people wait") is True
    assert service.call("decide_saving", suggestion_key="none", decision="accept") is False
    service.call("record_savings", suggestions=[suggestion("14.9")])
    assert state() == "dismissed"
    service.call("record_savings", suggestions=[suggestion("15")])
    assert state() == "open"
    result: dict[str, Any] = {"suggestion_key": "k", "state": "verified", "low": "1", "expected": "2", "high": "3"}
    assert service.call("record_saving_result", **result) is False
    assert service.call("decide_saving", suggestion_key="k", decision="accept") is True
    assert service.call("record_saving_result", **result) is True
    assert state() == "verified"
