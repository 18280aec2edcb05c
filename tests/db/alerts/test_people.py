"""What people do about alerts: acknowledge, silence, be reminded, send again, try."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from ingest.errors import InvalidArgumentError
from tests.support.clockwork import Clockwork, at, call, fire

if TYPE_CHECKING:
    from tests.support.doors import Door

HOUR = dt.timedelta(hours=1)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def test_ops_acknowledge_with_their_name_and_a_note(door: Door) -> None:
    service = Clockwork(door.service())
    fire(service)
    service.database.call("add_member", user_id="olga", role="ops")
    ops = Clockwork(door.viewer("olga"))
    alert = ops.ask("acknowledge_alert", alert_id=1, note=" on it ")
    assert (alert["acknowledged_by"], alert["acknowledge_note"], alert["state"]) == ("olga", "on it", "firing")
    transition = ops.ask("get_alerts", from_time=now() - HOUR, to_time=now() + HOUR)["transitions"][0]
    assert (transition["to_state"], transition["actor"], transition["note"]) == ("acknowledged", "olga", "on it")
    with pytest.raises(InvalidArgumentError, match="no alert 9 is firing"):
        ops.ask("acknowledge_alert", alert_id=9)


def test_reminders_come_until_somebody_acknowledges(clockwork: Clockwork) -> None:
    clockwork.channel("https://hooks.example.com/x")
    clockwork.rule("spend", "0", window_s=3600, renotify_s=600, channels=[1])
    clockwork.record(call(0))
    clockwork.evaluate(10)
    clockwork.finish(int(clockwork.claim(10)[0]["notification_id"]), 10, ok=True)
    clockwork.evaluate(600)
    assert clockwork.outbox() == [("firing", "sent")]
    clockwork.evaluate(610)
    clockwork.evaluate(1220)  # the reminder before has not got through: no second one piles up
    assert clockwork.outbox() == [("firing", "sent"), ("reminder", "pending")]
    clockwork.ask("acknowledge_alert", alert_id=1)
    clockwork.finish(int(clockwork.claim(1220)[0]["notification_id"]), 1220, ok=True)
    clockwork.evaluate(2400)
    assert clockwork.outbox() == [("firing", "sent"), ("reminder", "sent")]


@pytest.mark.dated
def test_a_silence_keeps_quiet_and_what_still_fires_then_is_told(door: Door) -> None:
    service = Clockwork(door.service())
    service.channel("https://hooks.example.com/x")
    service.rule("spend", "0", window_s=14_400, channels=[1])
    moment = now()
    silence = service.ask("silence_alerts", rule_id=1, ends_at=moment + HOUR, note="known")
    service.record(call(0, created_at=moment.isoformat()))
    assert service.ask("evaluate_alerts", as_of=moment + dt.timedelta(minutes=1))["fired"] == 1
    seen = service.ask("get_alerts", from_time=moment - HOUR, to_time=moment + HOUR)
    assert (len(seen["firing"]), seen["outbox"]) == (1, [])
    assert seen["firing"][0]["silenced_until"] == silence["ends_at"] == seen["silences"][0]["ends_at"]
    service.ask("evaluate_alerts", as_of=moment + 2 * HOUR)
    seen = service.ask("get_alerts", from_time=moment - HOUR, to_time=moment + 3 * HOUR)
    assert [message["event"] for message in seen["outbox"]] == ["firing"]


@pytest.mark.dated
def test_a_silence_may_be_of_one_group_and_end_early(clockwork: Clockwork) -> None:
    clockwork.channel("https://hooks.example.com/x")
    clockwork.rule("spend", "0", window_s=14_400, group_by="model", channels=[1])
    moment = now()
    clockwork.ask("silence_alerts", rule_id=1, ends_at=moment + HOUR, group_key="o3")
    stamp = moment.isoformat()
    clockwork.record(call(0, created_at=stamp), call(0, model="o3", created_at=stamp))
    clockwork.ask("evaluate_alerts", as_of=moment + dt.timedelta(minutes=1))
    assert len(clockwork.ask("get_alerts", from_time=moment - HOUR, to_time=moment + HOUR)["outbox"]) == 1
    assert clockwork.database.call("end_silence", silence_id=1) is True
    assert clockwork.database.call("end_silence", silence_id=1) is False
    clockwork.ask("evaluate_alerts", as_of=moment + dt.timedelta(minutes=2))
    assert len(clockwork.ask("get_alerts", from_time=moment - HOUR, to_time=moment + HOUR)["outbox"]) == 2


@pytest.mark.parametrize("ends_at", [None, "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"])
def test_a_silence_ends_in_the_next_90_days(clockwork: Clockwork, ends_at: str | None) -> None:
    clockwork.rule("spend", "0")
    with pytest.raises(InvalidArgumentError):
        clockwork.ask("silence_alerts", rule_id=1, ends_at=ends_at)


@pytest.mark.dated
def test_a_dead_message_is_sent_again_with_the_same_key(door: Door) -> None:
    service = Clockwork(door.service())
    number = fire(service)
    (first,) = service.claim(10)
    service.finish(number, 10, ok=False, error="answered 404", is_final=True)
    assert service.alerts()["outbox"][0]["can_resend"]
    service.database.call("add_member", user_id="olga", role="ops")
    ops = door.viewer("olga")
    assert ops.call("resend_notification", notification_id=number) is True
    assert ops.call("resend_notification", notification_id=number) is False  # it waits already
    claimed: Any = service.database.call("claim_notifications", worker="worker-1")
    assert [(m["idempotency_key"], m["attempt"]) for m in claimed] == [(first["idempotency_key"], 1)]


@pytest.mark.dated
def test_a_test_is_marked_and_goes_to_every_channel_of_the_rule(door: Door) -> None:
    service = Clockwork(door.service())
    service.channel("https://hooks.example.com/x")
    service.channel("https://hooks.example.com/y", name="phone")
    service.rule("spend", "5", channels=[1, 2])
    service.database.call("add_member", user_id="olga", role="ops")
    written: Any = door.viewer("olga").call("send_test_notification", rule_id=1)
    assert [message["channel_name"] for message in written] == ["pager", "phone"]
    claimed: Any = service.database.call("claim_notifications", worker="w")
    assert {(m["payload"]["event"], m["payload"]["rule"]["name"]) for m in claimed} == {("test", "spend above 5")}
    numbers = [message["notification_id"] for message in written]
    states: Any = service.database.call("get_notification_states", notification_ids=numbers)
    assert [state["state"] for state in states] == ["pending", "pending"]
    for wrong in ({}, {"rule_id": 9}, {"rule_id": 1, "channel_id": 1}):
        with pytest.raises(InvalidArgumentError):
            service.database.call("send_test_notification", **wrong)


def test_a_channel_gets_no_more_than_its_rate(clockwork: Clockwork) -> None:
    clockwork.channel("https://hooks.example.com/x", max_per_minute=2)
    for number in range(5):
        clockwork.rule("spend", "0", name=f"rule {number}", channels=[1])
    clockwork.record(call(0))
    clockwork.evaluate(10)
    assert len(clockwork.claim(10)) == 2
    assert clockwork.claim(30) == []
    assert len(clockwork.claim(71)) == 2
    assert len(clockwork.claim(132, max_count=1)) == 1


def test_times_to_acknowledge_and_to_resolve_are_means_of_the_period(clockwork: Clockwork) -> None:
    clockwork.rule("spend", "0", window_s=60)
    for minute in (0, 10):
        clockwork.record(call(60 * minute))
        clockwork.evaluate(60 * minute + 10)
        clockwork.evaluate(60 * minute + 10 + (120 if minute else 240))
    times = clockwork.alerts()["times"]
    assert (times["alerts"], times["recovered"], times["acknowledged"]) == (2, 2, 0)
    assert (times["mean_time_to_resolve_s"], times["mean_time_to_acknowledge_s"]) == (180, None)
    assert clockwork.ask("get_alerts", from_time=at(-10), to_time=at(20))["times"]["alerts"] == 1
