"""A forgotten person is found in nothing that alerts left behind."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.clockwork import Clockwork, at, call
from tests.support.traces import traces

if TYPE_CHECKING:
    from tests.support.doors import Door

GONE = "user_gone"


def forget(service: Clockwork) -> dict[str, Any]:
    report = service.ask("forget_user", user_id=GONE)
    while not report["is_done"]:
        report = service.ask("forget_user", user_id=GONE)
    return report


@pytest.mark.dated
def test_whom_an_alert_was_about_is_found_nowhere_afterwards(direct: Door) -> None:
    service = Clockwork(direct.service())
    service.channel("https://hooks.example.com/x")
    service.rule("spend", "0", name="per user", window_s=3600, group_by="user_id", channels=[1])
    service.rule("spend", "0", name="theirs", window_s=3600, scope={"user_id": [GONE]}, channels=[1])
    service.rule("spend", "0", name="of two", window_s=3600, scope={"user_id": [GONE, "user_left"]}, channels=[1])
    service.ask("save_budget", budget={"name": "theirs", "amount": "1", "scope": {"user_id": GONE}, "channels": [1]})
    service.ask("save_budget", budget={"name": "two", "amount": "1", "scope": {"user_id": [GONE, "user_left"]}})
    far = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    service.ask("silence_alerts", rule_id=1, ends_at=far, group_key=GONE)
    service.record(call(0, user_id=GONE), call(0, user_id="user_left"))
    assert service.evaluate(10)["fired"] >= 4
    assert "observability_internal.alerts" in traces(direct.database, GONE)

    forget(service)

    assert traces(direct.database, GONE) == []
    settings = service.ask("get_settings")
    assert {rule["name"]: rule["scope"] for rule in settings["rules"]} == {
        "per user": {}, "of two": {"user_id": ["user_left"]},
        "Budget two": {"user_id": ["user_left"]}, "Forecast of budget two": {"user_id": ["user_left"]},
    }  # fmt: skip
    groups = {(alert["rule_name"], alert["group_key"]): alert["state"] for alert in service.alerts()["firing"]}
    assert groups["per user", "user_left"] == "firing"
    # What they left behind under the shared name fires nothing either.
    service.evaluate(20)
    assert "(forgotten)" not in {alert["group_key"] for alert in service.alerts()["firing"]}


@pytest.mark.dated
def test_who_looked_after_alerts_is_found_nowhere_afterwards(direct: Door) -> None:
    service = Clockwork(direct.service())
    service.database.call("add_member", user_id=GONE, role="ops")
    gone = Clockwork(direct.viewer(GONE))
    gone.channel("https://hooks.example.com/x")
    gone.rule("spend", "0", channels=[1])
    gone.ask("save_budget", budget={"name": "all", "amount": "100"})
    far = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    service.record(call(0))
    assert service.evaluate(10) == {"fired": 1, "ok": 2}
    gone.ask("acknowledge_alert", alert_id=1, note=f"{GONE} looks at it")
    gone.ask("silence_alerts", rule_id=1, ends_at=far, note=f"ask {GONE}")
    assert service.evaluate(1000)["resolved"] == 1

    forget(service)

    assert traces(direct.database, GONE) == []
    (alert,) = service.ask("get_alerts", from_time=at(-60), to_time=at(3600))["history"]
    assert (alert["acknowledged_by"], alert["acknowledge_note"]) == ("(forgotten)", "(forgotten) looks at it")
    assert service.outbox() == [("firing", "pending"), ("resolved", "pending")]
