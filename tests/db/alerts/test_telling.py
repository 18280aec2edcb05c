"""Who is told what: groups together, the worst first, channels that come later, routes, mute times, edits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ingest.errors import InvalidArgumentError, PermissionDeniedError
from tests.support.clockwork import Clockwork, at, call

if TYPE_CHECKING:
    from tests.support.doors import Door


def payloads(clockwork: Clockwork, seconds: float) -> list[dict[str, Any]]:
    """Claim and send what is due, by channel; in the order in which it leaves."""
    claimed = clockwork.claim(seconds, max_count=1000)
    for message in claimed:
        clockwork.finish(int(message["notification_id"]), seconds, ok=True)
    return [{**message["payload"], "channel": message["channel_name"]} for message in claimed]


def spend_of(*amounts: float, first: int = 1) -> list[dict[str, Any]]:
    return [call(0, model=f"m{number}", cost=str(amount)) for number, amount in enumerate(amounts, first)]


@pytest.fixture
def pager(clockwork: Clockwork) -> Clockwork:
    clockwork.channel("https://hooks.example.com/x")
    return clockwork


def test_groups_of_one_rule_travel_in_one_message_the_worst_first(service: Clockwork) -> None:
    service.channel("https://hooks.example.com/x")
    service.rule("spend", "1.5", group_by="model", group_limit=12, channels=[1])
    service.record(*spend_of(*range(1, 17)))
    assert service.evaluate(10) == {"fired": 12}
    (message,) = payloads(service, 10)
    # 15 groups spend more than $1.50, from $2 to $16: twelve fire, ten are named, two told by number, three are over
    # the limit.
    bundle = message["bundle"]
    assert message["alert"]["group_key"] == "m16"
    assert (bundle["count"], bundle["firing"]) == (12, 12)
    assert [one["value"] for one in bundle["alerts"]] == [str(value) for value in range(16, 6, -1)]
    assert bundle["more"] == {"count": 2, "smallest": "5", "largest": "6"}
    assert message["over_limit"] == {"count": 3, "smallest": "2", "largest": "4"}


def test_who_is_among_the_worst_is_told_even_where_the_places_are_taken(pager: Clockwork) -> None:
    pager.rule("spend", "1", group_by="model", group_limit=2, channels=[1])
    pager.record(*spend_of(2, 3))
    assert pager.evaluate(10) == {"fired": 2}
    pager.record(*spend_of(5000, 2.5, first=3))
    assert pager.evaluate(20) == {"firing": 2, "fired": 1}
    assert [message["alert"]["group_key"] for message in payloads(pager, 20)] == ["m2", "m3"]
    assert pager.alerts()["rules"][0]["groups_over_limit"] == 1


def test_ends_of_one_evaluation_are_one_message_and_the_last_says_that_none_is_left(pager: Clockwork) -> None:
    pager.rule("spend", "1", window_s=60, group_by="model", channels=[1])
    pager.record(*spend_of(2, 3, 4))
    pager.evaluate(10)
    pager.record(call(100, model="m1", cost="2"))
    payloads(pager, 10)
    assert pager.evaluate(125) == {"firing": 1, "resolved": 2}
    (some,) = payloads(pager, 125)
    assert (some["event"], some["bundle"]["count"], some["bundle"]["firing"]) == ("resolved", 2, 1)
    pager.evaluate(600)
    (last,) = payloads(pager, 600)
    assert (last["bundle"]["count"], last["bundle"]["firing"]) == (1, 0)
    assert last["bundle"]["key"] == some["bundle"]["key"]


def test_a_channel_that_is_added_while_it_fires_hears_of_it_and_of_the_end(pager: Clockwork) -> None:
    pager.channel("https://hooks.example.com/y", name="late")
    rule = pager.rule("spend", "0", window_s=60, channels=[1])
    pager.record(call(0))
    pager.evaluate(10)
    payloads(pager, 10)
    pager.ask("save_alert_rule", rule={"rule_id": rule["rule_id"], "channels": [1, 2]})
    pager.evaluate(20)
    pager.evaluate(30)
    assert [(one["event"], one["channel"]) for one in payloads(pager, 30)] == [("firing", "late")]
    pager.evaluate(300)
    assert [(one["event"], one["channel"]) for one in payloads(pager, 300)] == [
        ("resolved", "pager"), ("resolved", "late")
    ]  # fmt: skip


def test_the_end_is_not_told_to_who_never_heard_of_the_beginning(pager: Clockwork) -> None:
    pager.rule("spend", "0", window_s=60, channels=[1])
    pager.record(call(0))
    pager.evaluate(10)
    (message,) = pager.claim(10)
    pager.evaluate(300)
    pager.finish(int(message["notification_id"]), 300, ok=False, error="answered 400", is_final=True)
    assert pager.claim(300) == []
    assert pager.outbox() == [("firing", "dead"), ("resolved", "skipped")]


def test_value_and_severity_move_on_and_a_rise_is_told(pager: Clockwork) -> None:
    pager.rule("spend", "1", critical_threshold=10, window_s=60, renotify_s=60, channels=[1])
    pager.record(call(0, cost="2"))
    pager.evaluate(10)
    pager.record(call(11, cost="3"))
    pager.evaluate(15)
    assert [one["alert"]["value"] for one in payloads(pager, 15)] == ["2"]
    pager.evaluate(75)
    (reminder,) = payloads(pager, 75)
    assert (reminder["event"], reminder["alert"]["value"], reminder["alert"]["latest_value"]) == ("reminder", "2", "5")
    pager.record(call(76, cost="20"))
    pager.evaluate(80)
    (raised,) = payloads(pager, 80)
    assert (raised["event"], raised["alert"]["severity"], raised["alert"]["value"]) == ("escalated", "critical", "20")
    pager.evaluate(119)
    firing = pager.alerts()["firing"][0]
    assert (firing["severity"], firing["latest_value"]) == ("critical", "20")


def test_an_edit_takes_effect_on_what_fires(pager: Clockwork) -> None:
    rule = pager.rule("spend", "1", window_s=3600, channels=[1])
    pager.record(call(0, cost="5"))
    pager.evaluate(10)
    payloads(pager, 10)
    pager.ask("save_alert_rule", rule={"rule_id": rule["rule_id"], "severity": "critical", "name": "spend, urgent"})
    pager.evaluate(20)
    (raised,) = payloads(pager, 20)
    assert (raised["event"], raised["alert"]["severity"], raised["alert"]["rule_name"]) == (
        "escalated", "critical", "spend, urgent"
    )  # fmt: skip
    edited = pager.alerts()["transitions"][0]
    assert (edited["severity"], edited["note"]) == ("critical", "the rule was changed by service_role")
    pager.ask("save_alert_rule", rule={"rule_id": rule["rule_id"], "threshold": "50"})
    pager.evaluate(30)
    (end,) = payloads(pager, 30)
    # It is still $5: nothing has recovered, somebody has moved the threshold.
    assert (end["event"], end["alert"]["resolution"], end["alert"]["resolved_value"]) == (
        "resolved",
        "rule_changed",
        "5",
    )


def test_description_and_runbook_travel_with_the_message(service: Clockwork) -> None:
    service.channel("https://hooks.example.com/x")
    about = {"description": "Ask finance.", "runbook_url": "https://wiki.example.com/spend", "labels": {"team": "chat"}}
    rule = service.rule("spend", "0", channels=[1], **about)
    assert {key: rule[key] for key in about} == about
    service.record(call(0))
    service.evaluate(10)
    assert service.claim(10)[0]["payload"]["rule"] == about
    for wrong in ({"runbook_url": "javascript:alert(1)"}, {"labels": {"team": 1}}, {"description": "x" * 2001}):
        with pytest.raises(InvalidArgumentError):
            service.rule("spend", "0", name="wrong", **wrong)


def test_routes_send_by_severity_label_and_group(service: Clockwork) -> None:
    for name in ("chat", "phone", "gpt"):
        service.channel(f"https://hooks.example.com/{name}", name=name)
    service.ask("save_alert_route", route={"name": "team", "labels": {"team": "chat"}, "channels": [1]})
    service.ask("save_alert_route", route={"name": "phone", "severity": "critical", "channels": [2]})
    service.ask("save_alert_route", route={"name": "gpt", "scope": {"model": ["m1"]}, "channels": [3]})
    service.rule("spend", "1", group_by="model", labels={"team": "chat", "tier": "1"})
    service.rule("spend", "2", name="critical", severity="critical")
    service.record(*spend_of(1.5, 1.6))
    service.evaluate(10)
    told = sorted((one["channel"], one["alert"]["rule_name"], one["bundle"]["count"]) for one in payloads(service, 10))
    assert told == [("chat", "spend above 1", 2), ("gpt", "spend above 1", 1), ("phone", "critical", 1)]
    with pytest.raises(InvalidArgumentError, match="channels that exist"):
        service.ask("save_alert_route", route={"name": "wrong", "channels": [9]})
    assert service.database.call("delete_alert_route", route_id=3) is True
    assert [route["name"] for route in service.ask("get_settings")["routes"]] == ["phone", "team"]


def test_an_alert_that_nobody_acknowledges_reaches_the_next_ones(pager: Clockwork) -> None:
    pager.channel("https://hooks.example.com/boss", name="boss")
    pager.ask("save_alert_route", route={"name": "escalation", "after_s": 600, "channels": [2]})
    for number in (1, 2):
        pager.rule("spend", "0", name=f"rule {number}", window_s=3600, channels=[1])
    pager.record(call(0))
    pager.evaluate(10)
    assert [one["channel"] for one in payloads(pager, 10)] == ["pager", "pager"]
    pager.ask("acknowledge_alert", alert_id=1)
    pager.evaluate(609)
    assert payloads(pager, 609) == []
    pager.evaluate(610)
    pager.evaluate(700)
    (escalated,) = payloads(pager, 700)
    assert (escalated["channel"], escalated["alert"]["alert_id"], escalated["unacknowledged_s"]) == ("boss", 2, 600)


# NOON is a Monday, 12:00 UTC, 13:00 in Berlin.
HOURS = {"weekdays": [1], "from_time": "12:00", "to_time": "13:00"}
MUTES: list[tuple[dict[str, Any], bool]] = [
    ({"starts_at": at(-60).isoformat(), "ends_at": at(600).isoformat()}, True),
    ({"starts_at": at(-60).isoformat(), "ends_at": at(5).isoformat()}, False),
    (HOURS, True),
    ({**HOURS, "starts_at": at(600).isoformat(), "ends_at": at(900).isoformat()}, False),
    ({**HOURS, "timezone": "Europe/Berlin"}, False),
    ({**HOURS, "weekdays": [2]}, False),
    ({"weekdays": [7], "from_time": "22:00", "to_time": "13:00"}, True),  # from Sunday night on
    ({"weekdays": [1], "from_time": "22:00", "to_time": "13:00"}, False),
    ({**HOURS, "labels": {"team": "chat"}}, True),
    ({**HOURS, "labels": {"team": "search"}}, False),
    ({**HOURS, "rules": [1]}, True),
    ({**HOURS, "rules": [2]}, False),
    ({**HOURS, "is_enabled": False}, False),
]


def test_a_mute_time_holds_for_its_rules_in_its_hours_and_window(direct: Door) -> None:
    service = Clockwork(direct.service())
    service.rule("spend", "0", labels={"team": "chat", "tier": "1"})
    with psycopg.connect(direct.database.superuser_url, autocommit=True) as connection:
        for mute, is_muted in MUTES:
            saved = service.ask("save_alert_mute", mute={"name": "quiet", **mute})
            row = connection.execute(
                "select observability_internal.is_muted(r, %s) from observability_internal.alert_rules as r", (at(10),)
            ).fetchone()
            assert row == (is_muted,), mute
            service.database.call("delete_alert_mute", mute_id=saved["mute_id"])


def test_what_still_fires_after_a_maintenance_window_is_told_then(door: Door) -> None:
    service = Clockwork(door.service())
    service.channel("https://hooks.example.com/x")
    window = {"starts_at": at(0).isoformat(), "ends_at": at(600).isoformat()}
    mute = service.ask("save_alert_mute", mute={"name": "upgrade", **window})
    service.rule("spend", "0", window_s=7200, channels=[1])
    service.record(call(0))
    service.evaluate(10)
    service.evaluate(599)
    assert payloads(service, 599) == []
    service.evaluate(600)
    assert [one["event"] for one in payloads(service, 600)] == ["firing"]
    assert service.database.call("delete_alert_mute", mute_id=mute["mute_id"]) is True
    for wrong in ({}, {"weekdays": [1]}, {"weekdays": [8], "from_time": "1:00", "to_time": "2:00"}, {"ends_at": "now"}):
        with pytest.raises(InvalidArgumentError):
            service.ask("save_alert_mute", mute={"name": "wrong", **wrong})


def test_only_ops_change_routes_and_mute_times(door: Door) -> None:
    service = Clockwork(door.service())
    service.database.call("add_member", user_id="anna", role="analyst")
    analyst = Clockwork(door.viewer("anna"))
    for function, name in (("save_alert_route", "route"), ("save_alert_mute", "mute")):
        with pytest.raises(PermissionDeniedError):
            analyst.ask(function, **{name: {"name": "mine"}})


def test_an_escalation_waits_from_the_first_message_not_from_a_muted_beginning(pager: Clockwork) -> None:
    pager.channel("https://hooks.example.com/boss", name="boss")
    pager.rule("spend", "0", name="Spend", window_s=4 * 3600, channels=[1])
    pager.ask("save_alert_route", route={"name": "Boss", "after_s": 1800, "channels": [2]})
    window = {"starts_at": at(-10).isoformat(), "ends_at": at(3600).isoformat()}
    pager.ask("save_alert_mute", mute={"name": "Works", **window})
    pager.record(call(0))
    assert pager.evaluate(10) == {"fired": 1}
    assert pager.evaluate(3599) == {"firing": 1}
    assert pager.outbox() == []

    def told() -> list[str]:
        return sorted(row["channel_name"] for row in pager.alerts()["outbox"])

    pager.evaluate(3600)
    assert told() == ["pager"]
    pager.evaluate(3600 + 1799)
    assert told() == ["pager"]
    pager.evaluate(3600 + 1800)
    assert told() == ["boss", "pager"]


def test_a_mute_time_for_a_rule_that_is_deleted_does_not_become_one_for_all(door: Door) -> None:
    service = Clockwork(door.service())
    first, second = service.rule("spend", "1", name="a"), service.rule("spend", "2", name="b")
    hours = {"weekdays": [1], "from_time": "01:00", "to_time": "02:00"}
    service.ask(
        "save_alert_mute", mute={"name": "one", "rules": [first["rule_id"]], "labels": {"team": "chat"}, **hours}
    )
    service.ask("save_alert_mute", mute={"name": "both", "rules": [first["rule_id"], second["rule_id"]], **hours})
    service.ask("save_alert_mute", mute={"name": "all", **hours})
    service.database.call("delete_alert_rule", rule_id=first["rule_id"])
    mutes = {mute["name"]: mute["rules"] for mute in service.ask("get_settings")["mutes"]}
    assert mutes == {"both": [second["rule_id"]], "all": []}
