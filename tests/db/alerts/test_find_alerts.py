"""The list of alerts: searched, ordered and cut into pages by the database, and what is done to many at once."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from ingest.errors import InvalidArgumentError, PermissionDeniedError
from tests.support.clockwork import DAY, Clockwork, call

if TYPE_CHECKING:
    from tests.support.doors import Door


def people(page: dict[str, Any]) -> list[str]:
    return [alert["group_key"] for alert in page["alerts"]]


@pytest.fixture
def crowd(door: Door) -> tuple[Clockwork, Clockwork]:
    """38 people over $2, ten of them over $30 and so critical, and one busy model; the service and ops."""
    service = Clockwork(door.service())
    service.rule(
        "spend", "2", name="Spend per user", group_by="user_id", group_limit=500, critical_threshold="30",
        window_s=3600, runbook_url="https://wiki.example.com/spend",
    )  # fmt: skip
    service.rule("requests", "1", name="Busy model", group_by="model", window_s=3600)
    service.record(*(call(0, user_id=f"user-{cost:02}", cost=str(cost)) for cost in range(1, 41)))
    service.evaluate(10)
    service.database.call("add_member", user_id="olga", role="ops")
    return service, Clockwork(door.viewer("olga"))


def find(clockwork: Clockwork, **filters: Any) -> dict[str, Any]:
    return clockwork.ask("find_alerts", **DAY, filters=filters)


def test_alerts_are_searched_ordered_and_cut_into_pages(crowd: tuple[Clockwork, Clockwork]) -> None:
    _, ops = crowd
    first = find(ops, limit=10)
    assert (first["total"], first["counts"]["firing"], len(first["firing_ids"])) == (39, 39, 39)
    assert {alert["severity"] for alert in first["alerts"]} == {"critical"}
    assert sorted(people(first)) == [f"user-{cost}" for cost in range(31, 41)]
    assert first["alerts"][0]["runbook_url"] == "https://wiki.example.com/spend"
    assert first["rule_names"] == ["Busy model", "Spend per user"]
    assert len(first["group_keys"]) == 39
    second = find(ops, limit=10, offset=10)
    assert not set(people(first)) & set(people(second))
    assert people(find(ops, sort="excess", limit=3)) == ["gpt-4o", "user-40", "user-39"]  # 40, 20 and 19.5 times
    assert people(find(ops, sort="rule", limit=1)) == ["gpt-4o"]
    assert sorted(people(find(ops, text=" USER-3", limit=100))) == [f"user-{cost}" for cost in range(30, 40)]
    assert people(find(ops, rule=["Busy model"])) == ["gpt-4o"]
    assert people(find(ops, group=["user-07"], severity=["warning"])) == ["user-07"]
    assert find(ops, text="100%_'")["total"] == 0
    assert find(ops, state="resolved")["alerts"] == []


def test_alerts_are_told_by_rule_with_the_worst_of_each(crowd: tuple[Clockwork, Clockwork]) -> None:
    _, ops = crowd
    page = find(ops, by_rule=True)
    assert (page["total"], page["alerts"]) == (2, [])
    spend, busy = page["by_rule"]
    assert (spend["rule_name"], spend["alerts"], spend["unacknowledged"], spend["critical"]) == (
        "Spend per user", 38, 38, 10
    )  # fmt: skip
    assert (spend["worst"]["group_key"], spend["worst"]["value"]) == ("user-40", "40")
    assert (busy["rule_name"], len(busy["firing_ids"])) == ("Busy model", 1)
    assert find(ops, by_rule=True, limit=1, offset=1)["by_rule"] == [busy]


def test_many_are_acknowledged_at_once_and_nobody_is_overruled(crowd: tuple[Clockwork, Clockwork]) -> None:
    service, ops = crowd
    (mine,) = find(service, group=["user-40"])["firing_ids"]
    ops.database.call("acknowledge_alert", alert_id=mine, note="first")
    spend = find(ops, rule=["Spend per user"])["firing_ids"]
    assert ops.database.call("acknowledge_selected_alerts", alert_ids=[*spend, 999_999], note=" a batch ") == 37
    counts = find(ops)["counts"]
    assert counts == {"firing": 39, "unacknowledged": 1, "acknowledged": 38, "silenced": 0, "resolved": 0}
    notes = {alert["acknowledge_note"] for alert in find(ops, state="acknowledged", limit=100)["alerts"]}
    assert notes == {"first", "a batch"}
    assert people(find(ops, text="a batch", sort="excess", limit=1)) == ["user-39"]
    assert ops.database.call("acknowledge_selected_alerts", alert_ids=spend) == 0


def test_many_are_silenced_by_group_or_with_their_whole_rules(crowd: tuple[Clockwork, Clockwork]) -> None:
    _, ops = crowd
    until = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    some = find(ops, text="user-3")["firing_ids"]
    assert ops.database.call("silence_selected_alerts", alert_ids=some, ends_at=until, note="known") == 10
    assert find(ops)["counts"]["silenced"] == 10
    whole: dict[str, Any] = {"alert_ids": find(ops)["firing_ids"], "ends_at": until, "whole_rules": True}
    assert ops.database.call("silence_selected_alerts", **whole) == 2
    page = find(ops, state="silenced", limit=1)
    assert (page["total"], len(page["silences"])) == (39, 12)
    assert page["alerts"][0]["silenced_until"] is not None


def test_what_recovered_is_found_in_its_period_and_a_budget_is_one_line(door: Door) -> None:
    service = Clockwork(door.service())
    service.rule("spend", "0", name="Any spend")
    budget = {"name": "All", "amount": "10", "steps": ["0.5", "1"], "forecast_step": "1"}
    service.database.call("save_budget", budget=budget)
    service.record(call(0, cost="30"))
    service.evaluate(10)
    service.evaluate(900)  # nothing within five minutes any more
    page = find(service)
    assert (page["total"], page["alerts"][0]["matter"]) == (1, "budget 1")
    assert find(service, state="resolved")["alerts"][0]["rule_name"] == "Any spend"
    later: dict[str, Any] = {name: moment + dt.timedelta(days=2) for name, moment in DAY.items()}
    assert service.ask("find_alerts", **later, filters={"state": "resolved"})["total"] == 0


@pytest.mark.parametrize(
    "filters", [{"state": "x"}, {"sort": "x"}, {"limit": 201}, {"offset": -1}, {"text": "x" * 201}, {"model": ["x"]}]
)
def test_a_request_that_makes_no_sense_is_refused(shared_door: Door, filters: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        shared_door.service().call("find_alerts", **DAY, filters=filters)


def test_members_find_nothing_and_change_nothing(crowd: tuple[Clockwork, Clockwork], door: Door) -> None:
    _, ops = crowd
    some = find(ops)["firing_ids"][:1]
    member = Clockwork(door.viewer("user-40"))
    page = find(member)
    assert (page["alerts"], page["total"], page["rule_names"], page["firing_ids"]) == ([], 0, [], [])
    until = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    with pytest.raises(PermissionDeniedError):
        member.database.call("acknowledge_selected_alerts", alert_ids=some)
    with pytest.raises(PermissionDeniedError):
        member.database.call("silence_selected_alerts", alert_ids=some, ends_at=until)
    with pytest.raises(InvalidArgumentError):
        ops.database.call("acknowledge_selected_alerts", alert_ids=[])
