"""From a suggestion to what came of it: who may decide, what is measured, what comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ingest.errors import InvalidArgumentError, PermissionDeniedError
from ingest.savings.ledger import read_ledger, update_ledger
from ingest.savings.reading import read_savings_plan
from ingest.savings.split import in_holdout
from tests.support.clockwork import Clockwork, at
from tests.support.events import condense_all, store, usage_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database
    from tests.support.doors import Door

MODEL = "gpt-4o-2024-05-13"
KEY = f"cheaper_snapshot/openai/{MODEL}/*"


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
    # Another change to the same calls on the day after: both share what came of them, three to one.
    other = {**suggestion("10.20"), "suggestion_key": "other", "model": MODEL, "feature": "chat"}
    service_db.call("record_savings", suggestions=[other])
    day = (changed + timedelta(days=1)).date().isoformat()
    assert ops.call("decide_saving", suggestion_key="other", decision="accept", accepted_on=day) is True
    assert update_ledger(service_db, read_savings_plan(service_db, to_time=now), now=now) == 2
    shared = {one.suggestion_key: one.measured_expected for one in read_ledger(ops).entries if one.accepted_on}
    assert shared == {KEY: Decimal("22.95"), "other": Decimal("7.65")}


def suggestion(expected: str) -> dict[str, Any]:
    return {
        "suggestion_key": "k", "kind": "batch", "provider": "openai", "model": "m", "feature": "f", "headline": "Do it",
        "needs_evaluation": False, "low": "1", "expected": expected, "high": "99",
    }  # fmt: skip


def test_the_ledger_knows_each_step_and_brings_back_what_is_worth_half_as_much_again(direct: Door) -> None:
    service = direct.service()
    result: dict[str, Any] = {"suggestion_key": "k", "low": "1", "expected": "2", "high": "3"}

    def state() -> str:
        (entry,) = read_ledger(service).entries
        return entry.state

    def found(expected: str) -> str:
        service.call("record_savings", suggestions=[suggestion(expected)])
        return state()

    def decide(decision: str, **more: Any) -> bool:
        return bool(service.call("decide_saving", suggestion_key="k", decision=decision, **more))

    assert found("10") == "open"
    for wrong in (
        {"decision": "dismiss"}, {"decision": "dismiss", "reason": " "}, {"decision": "burn"},
        {"decision": "accept", "holdout_share": "0.9"}, {"decision": "accept", "accepted_on": "2999-01-01"},
    ):  # fmt: skip
        with pytest.raises(InvalidArgumentError):
            service.call("decide_saving", suggestion_key="k", **wrong)
    assert not decide("reopen")
    assert decide("dismiss", reason="people wait")
    assert not decide("accept")
    assert service.call("decide_saving", suggestion_key="none", decision="accept") is False
    assert found("14.9") == "dismissed"
    assert found("15") == "open"
    assert service.call("record_saving_result", state="verified", **result) is False
    assert decide("accept", holdout_share="0.1")
    assert not decide("accept")
    assert service.call("record_saving_result", state="measured", **result) is True
    assert state() == "measured"
    assert service.call("record_saving_result", state="verified", measured_by="holdout", **result) is True
    (entry,) = read_ledger(service).entries
    assert (entry.state, entry.holdout_share, entry.measured_by) == ("verified", Decimal("0.1"), "holdout")
    assert service.call("record_saving_result", state="withdrawn", **result) is True
    # Slow growth counts from the day on which it was withdrawn, at 15 $.
    assert [found(expected) for expected in ("18", "22.4", "22.5")] == ["withdrawn", "withdrawn", "open"]
    with pytest.raises(InvalidArgumentError, match="measured, verified or withdrawn"):
        service.call("record_saving_result", state="open", **result)


def store_split(service: Database, today: datetime) -> None:
    """Ten days before a change and ten after it: 240 users with a call a day, of whom a tenth keeps the old price."""
    events = [
        usage_event(
            user_id=f"user_{number}",
            model=MODEL if day > 10 or in_holdout(f"user_{number}", KEY) else "gpt-4o",
            created_at=today - timedelta(days=day) + timedelta(hours=number % 24, minutes=day),
            prompt_tokens=15_000,
            completion_tokens=1_000,
            # After the change everything costs twice as much for another reason, which before and after cannot tell.
            estimated_cost="0.09" if day > 10 else "0.18" if in_holdout(f"user_{number}", KEY) else "0.095",
        )
        for day in range(1, 21)
        for number in range(240)
    ]
    for begin in range(0, len(events), 1000):
        store(service, *events[begin : begin + 1000])
    condense_all(service)
    service.call("judge_savings", max_days=40)


@pytest.mark.dated
def test_users_who_were_held_out_tell_the_saving_from_what_else_changed(direct: Door, today: datetime) -> None:
    service = direct.service()
    store_split(service, today)
    changed = today - timedelta(days=11)
    update_ledger(service, read_savings_plan(service, to_time=changed), now=changed)
    accepted: dict[str, Any] = {"suggestion_key": KEY, "decision": "accept", "accepted_on": changed.date().isoformat()}
    now = today + timedelta(hours=1)
    held = sum(in_holdout(f"user_{number}", KEY) for number in range(240))
    assert held >= 20
    results = {}
    for share in (None, "0.1"):
        service.call("decide_saving", suggestion_key=KEY, decision="reopen")
        service.call("decide_saving", **accepted, holdout_share=share)
        update_ledger(service, read_savings_plan(service, to_time=now), now=now)
        (entry,) = (one for one in read_ledger(service).entries if one.suggestion_key == KEY)
        results[entry.measured_by] = entry
    assert results["before_after"].state == "withdrawn"
    entry = results["holdout"]
    # 0.085 $ a call less, one call a day of each user who has the change.
    assert (entry.state, entry.measured_expected) == ("verified", Decimal("0.085") * (240 - held) * 30)
    with pytest.raises(PermissionDeniedError):
        direct.viewer("mia").call("get_user_costs", from_day="2026-01-01", to_day="2026-01-02", provider="openai")


def test_a_new_saving_over_so_many_dollars_fires_and_a_smaller_or_an_older_one_does_not(direct: Door) -> None:
    alerts = Clockwork(direct.service())
    alerts.rule("new_saving", "20", window_s=86_400)

    def found(key: str, expected: str, seconds: float) -> None:
        one = {**suggestion(expected), "suggestion_key": key}
        alerts.database.call("record_savings", suggestions=[one], as_of=at(seconds))

    found("small", "19.99", 0)
    assert alerts.evaluate(10) == {"ok": 1}
    found("large", "20.01", 20)
    assert alerts.evaluate(30) == {"fired": 1}
    (alert,) = alerts.alerts()["firing"]
    assert (alert["metric"], Decimal(alert["value"])) == ("new_saving", Decimal("20.01"))
    # Seen again every day, it is new only once.
    found("large", "25", 90_000)
    assert alerts.evaluate(90_010) == {"resolved": 1}
