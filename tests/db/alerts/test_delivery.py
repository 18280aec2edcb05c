"""When messages leave, how long a refusal is tried, digests, and what is known of messages that do not arrive."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from ingest.errors import InvalidArgumentError
from tests.support.clockwork import NOON, Clockwork, at, call, fire

if TYPE_CHECKING:
    from tests.support.doors import Door


def seconds(moment: str) -> float:
    return (dt.datetime.fromisoformat(moment) - NOON).total_seconds()


def test_an_address_or_key_that_is_not_known_is_tried_for_an_hour(clockwork: Clockwork) -> None:
    number = fire(clockwork)
    now, attempts = 10.0, 0
    while True:
        assert len(clockwork.claim(now)) == 1
        attempts += 1
        answer = clockwork.finish(number, now, ok=False, error="answered 404", is_refused=True)
        if answer["state"] == "dead":
            break
        now = seconds(answer["next_attempt_at"])
    assert now == pytest.approx(3610, abs=0.01)
    assert 8 <= attempts <= 13  # 5 s, 10 s, …, the last an hour after the first


def test_a_channel_waits_as_long_as_its_service_asks(service: Clockwork) -> None:
    service.channel("https://hooks.example.com/x")
    service.channel("https://hooks.example.com/y", name="other")
    for name in ("one", "two"):
        service.rule("spend", "0", name=name, channels=[1, 2])
    service.record(call(0))
    service.evaluate(10)
    first = next(one for one in service.claim(10, max_count=1) if one["channel_name"] == "pager")
    answer = service.finish(int(first["notification_id"]), 10, ok=False, error="answered 429", retry_after_s=120)
    assert seconds(answer["next_attempt_at"]) >= 130
    # All of its messages wait, those of other channels do not.
    assert {one["channel_name"] for one in service.claim(129)} == {"other"}
    assert [one["channel_name"] for one in service.claim(131, max_count=5)].count("pager") == 2


def test_critical_messages_pass_all_others_and_have_a_rate_of_their_own(clockwork: Clockwork) -> None:
    clockwork.channel("https://hooks.example.com/x", max_per_minute=2)
    for number in range(4):
        clockwork.rule("spend", "0", name=f"rule {number}", channels=[1])
    clockwork.rule("spend", "0.5", name="critical", severity="critical", channels=[1])
    clockwork.record(call(0))
    clockwork.evaluate(10)
    names = [one["payload"]["alert"]["rule_name"] for one in clockwork.claim(10)]
    assert names == ["critical", "rule 0", "rule 1"]


def test_a_channel_never_has_more_under_way_than_its_share(service: Clockwork) -> None:
    for name in ("stalled", "quick"):
        service.channel("https://hooks.example.com/x", name=name)
    for number in range(4):
        service.rule("spend", "0", name=f"rule {number}", channels=[1, 2])
    service.record(call(0))
    service.evaluate(10)
    claimed = service.claim(10, max_count=50, max_per_channel=3, under_way={"1": 2})
    assert [one["channel_name"] for one in claimed].count("stalled") == 1
    assert [one["channel_name"] for one in claimed].count("quick") == 3


def test_only_the_messages_that_are_asked_for_are_claimed(service: Clockwork) -> None:
    fire(service)
    service.ask(
        "save_alert_rule", rule={"name": "b", "metric": "spend", "threshold": 0, "window_s": 60, "channels": [1]}
    )
    service.evaluate(20)
    assert [one["notification_id"] for one in service.claim(20, notification_ids=[2])] == [2]
    assert [one["notification_id"] for one in service.claim(20)] == [1]


def test_what_exceeds_the_limit_by_the_hour_is_told_in_one_digest(clockwork: Clockwork) -> None:
    clockwork.channel("https://hooks.example.com/x", max_per_hour=3)
    for number in range(15):
        clockwork.rule("spend", "0", name=f"rule {number:02}", channels=[1], severity="warning")
    clockwork.record(call(0))
    clockwork.evaluate(10)

    def send(now: float) -> list[Any]:
        claimed = clockwork.claim(now, max_count=100)
        for one in claimed:
            clockwork.finish(int(one["notification_id"]), now, ok=True)
        return claimed

    assert [one["event"] for one in send(10)] == ["firing", "firing"]
    (digest,) = send(11)
    payload = digest["payload"]
    assert (digest["event"], payload["count"], len(payload["entries"])) == ("digest", 13, 10)
    assert payload["entries"][0]["rule_name"] == "rule 02"
    clockwork.rule("spend", "0", name="critical", channels=[1], severity="critical")
    clockwork.rule("spend", "0", name="later", channels=[1])
    clockwork.evaluate(20)
    assert [one["payload"]["alert"]["rule_name"] for one in send(20)] == ["critical"]
    assert send(3600) == []
    assert [one["payload"]["alert"]["rule_name"] for one in send(3611)] == ["later"]
    states = [state for _, state in clockwork.outbox()]
    assert (states.count("sent"), states.count("folded")) == (5, 13)


def test_a_paging_service_gets_every_message_and_the_acknowledgement(clockwork: Clockwork) -> None:
    key = "pagerduty://" + "a1b2" * 8 + "@apikey"
    clockwork.channel(key, kind="apprise", name="pagerduty", max_per_hour=2)
    clockwork.channel("https://hooks.example.com/x", name="chat")
    for number in range(3):
        clockwork.rule("spend", "0", name=f"rule {number}", channels=[1, 2])
    clockwork.record(call(0))
    clockwork.evaluate(10)
    claimed = clockwork.claim(10)
    assert [one["channel_name"] for one in claimed].count("pagerduty") == 3
    for one in claimed:
        clockwork.finish(int(one["notification_id"]), 10, ok=True)
    clockwork.ask("acknowledge_alert", alert_id=1)
    (acknowledged,) = clockwork.claim(None)
    assert (acknowledged["event"], acknowledged["channel_name"]) == ("acknowledged", "pagerduty")
    assert acknowledged["payload"]["bundle"]["key"] == claimed[0]["payload"]["bundle"]["key"]


def test_messages_that_do_not_arrive_are_known_by_channel(door: Door) -> None:
    service = Clockwork(door.service())
    number = fire(service)
    service.rule("requests", "1e9", name="to nobody")

    def health(at_second: float) -> dict[str, Any]:
        return service.ask("get_delivery_health", as_of=at(at_second))

    assert (health(300)["overdue"], health(311)["overdue"], health(311)["dead"]) == (0, 1, 0)
    service.claim(320)
    service.finish(number, 320, ok=False, error="answered 400", is_final=True)
    known = health(330)
    assert (known["overdue"], known["dead"], known["silent_rules"]) == (0, 1, ["to nobody"])
    (channel,) = known["channels"]
    assert (channel["channel_name"], channel["last_error"], channel["dead"]) == ("pager", "answered 400", 1)
    assert seconds(channel["failing_since"]) == 320
    assert health(320 + 86_401)["dead"] == 0
    service.database.call("add_member", user_id="olga", role="analyst")
    assert Clockwork(door.viewer("olga")).ask("get_delivery_health", as_of=at(330))["dead"] == 1
    member = Clockwork(door.viewer("user-1")).ask("get_delivery_health", as_of=at(330))
    assert (member["dead"], member["channels"], member["silent_rules"]) == (0, [], [])


def test_the_fallback_channel_is_told_once_an_hour_and_of_news_only(service: Clockwork) -> None:
    number = fire(service)
    assert service.database.call("get_delivery_report", as_of=at(300)) is None
    service.claim(310)
    service.finish(number, 310, ok=False, error="answered 400", is_final=True)
    report: Any = service.database.call("get_delivery_report", as_of=at(311))
    assert report["dead"] == 1
    service.database.call("note_delivery_report", as_of=at(311))
    assert service.database.call("get_delivery_report", as_of=at(400)) is None
    assert service.database.call("get_delivery_report", as_of=at(4000)) is None  # nothing has died since


def test_a_rule_may_watch_the_outbox_itself(clockwork: Clockwork) -> None:
    fire(clockwork)
    clockwork.rule("undelivered_messages", "0", name="outbox")
    clockwork.evaluate(20)
    assert [alert["rule_name"] for alert in clockwork.alerts()["firing"]] == ["spend above 0"]
    clockwork.evaluate(400)
    fired = {alert["rule_name"]: alert for alert in clockwork.alerts()["firing"]}
    assert fired["outbox"]["evidence"] == {"dead": 0, "overdue": 1}
    for wrong in ({"group_by": "model"}, {"scope": {"model": ["a"]}}):
        with pytest.raises(InvalidArgumentError):
            clockwork.rule("undelivered_messages", "0", name="wrong", **wrong)
