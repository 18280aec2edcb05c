"""Minutes that were not judged in time are judged afterwards, up to a day back, and marked late."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from ingest.alerts.messages import render_message
from ingest.alerts.rules import RuleDraft
from tests.support.clockwork import Clockwork, at, call

if TYPE_CHECKING:
    from tests.support.doors import Door

HOUR_S = 3600
MIDNIGHT_S = 12 * HOUR_S


def burst(count: int = 25, second: float = 130, **fields: Any) -> list[dict[str, Any]]:
    """Errors only, all in the minute that begins at second 120."""
    return [call(second + number, status="error", error_type="timeout", **fields) for number in range(count)]


def late(clockwork: Clockwork) -> list[tuple[float, float, str]]:
    """Beginning and end in seconds, and value, of each late alert, newest first."""
    return [
        (seconds(alert["pending_since"]), seconds(alert["breached_until"]), alert["value"])
        for alert in clockwork.alerts()["history"]
        if alert["is_late"]
    ]


def seconds(moment: str) -> float:
    return (dt.datetime.fromisoformat(moment) - at(0)).total_seconds()


def test_one_error_in_a_new_minute_is_measured_over_the_full_length(clockwork: Clockwork) -> None:
    clockwork.rule("error_rate", "0.5", name="half", window_s=60)
    clockwork.rule("error_rate", "0.03", name="some", window_s=60)
    clockwork.rule("p50_latency_ms", "1000", name="slow", window_s=60)
    clockwork.record(*[call(10 + number) for number in range(30)])
    assert clockwork.evaluate(60) == {"ok": 3}
    clockwork.record(call(62, status="error", error_type="timeout", latency_ms=9000))
    assert clockwork.evaluate(64) == {"ok": 2, "fired": 1}
    (alert,) = clockwork.alerts()["firing"]
    assert (alert["rule_name"], alert["sample_count"]) == ("some", 31)
    assert float(alert["value"]) == pytest.approx(1 / 31)
    assert (seconds(alert["window_start"]), seconds(alert["window_end"])) == (0, 64)


@pytest.mark.parametrize(
    ("metric", "sample"),
    [("error_rate", 20), ("route_error_rate", 20), ("p90_latency_ms", 50), ("p99_latency_ms_vs_last_week", 50),
     ("error_rate_vs_last_week", 20), ("spend", 1), ("requests_vs_last_week", 1)],
)  # fmt: skip
def test_a_rule_that_names_no_sample_needs_what_its_metric_does(shared_door: Door, metric: str, sample: int) -> None:
    rule: dict[str, Any] = {"name": metric, "metric": metric, "threshold": "1", "window_s": 300}
    service = Clockwork(shared_door.service())
    saved = service.ask("save_alert_rule", rule=rule)
    service.database.call("delete_alert_rule", rule_id=saved["rule_id"])
    assert (saved["minimum_sample"], saved["no_data"]) == (sample, "keep")
    assert RuleDraft.model_validate(rule).minimum_sample == sample
    assert RuleDraft.model_validate({**rule, "minimum_sample": 3}).minimum_sample == 3


def test_calls_that_come_late_are_judged_when_they_come_and_told_once(service: Clockwork) -> None:
    service.channel("https://hooks.example.com/x")
    service.rule("error_rate", "0.5", name="Errors", minimum_sample=20, channels=[1])
    assert service.evaluate(0) == {"ok": 1}
    service.record(call(700))
    assert service.evaluate(900) == {"ok": 1}
    service.record(*burst())
    assert service.evaluate(910) == {"ok": 1, "late": 1}
    # The minute of the burst is in the windows of 300 s that end from 180 to 420.
    assert late(service) == [(180, 420, "1")]
    (alert,) = service.alerts()["history"]
    assert (alert["sample_count"], alert["resolution"], seconds(alert["started_at"])) == (25, "recovered", 910)
    assert service.outbox() == [("firing", "pending")]  # that it is over is part of the message
    (message,) = service.claim(911)
    rendered = render_message(message["payload"], dashboard_url=None, zone=ZoneInfo("UTC"))
    assert rendered.title == "! Errors (late)"
    assert "Late: 2026-11-23 12:03 to 2026-11-23 12:07; judged after the fact." in rendered.text
    service.record(*burst(second=131))
    assert service.evaluate(920) == {"ok": 1}  # more of the same breach is no news


def test_minutes_without_a_worker_are_judged_when_one_is_back(clockwork: Clockwork) -> None:
    clockwork.rule("error_rate", "0.5", minimum_sample=20)
    clockwork.evaluate(0)
    clockwork.record(*burst(), call(300 + 120 + 60))
    assert clockwork.evaluate(3000) == {"ok": 1, "late": 1}
    assert late(clockwork) == [(180, 420, "1")]
    assert clockwork.evaluate(3005) == {"ok": 1}


@pytest.mark.parametrize(
    ("fields", "first_s", "back_s", "count"),
    [
        ({"for_s": 240}, 0, 3000, 1),  # in breach from 180 to 420
        ({"for_s": 241}, 0, 3000, 0),
        ({}, 600, 3000, 0),  # the rule did not exist then
        ({}, 0, 86_400 + 400, 1),
        ({}, 0, 2 * 86_400, 0),  # more than a day back
        ({"minimum_sample": 26}, 0, 3000, 0),
        ({"window_s": 2 * HOUR_S}, 0, 3000, 0),  # the window still holds the minute, so nothing is late
        ({"metric": "p99_latency_ms", "threshold": "99"}, 0, 3000, 1),
        ({"metric": "spend", "threshold": "24"}, 0, 3000, 1),
        ({"metric": "spend", "threshold": "24", "group_by": "model"}, 0, 3000, 1),
        ({"conditions": [{"metric": "requests", "comparator": "above", "threshold": "30"}]}, 0, 3000, 0),
    ],
)
def test_late_judgement_knows_duration_age_and_kind(
    clockwork: Clockwork, fields: dict[str, Any], first_s: float, back_s: float, count: int
) -> None:
    clockwork.ask(
        "save_alert_rule",
        rule={"name": "x", "metric": "error_rate", "threshold": "0.5", "window_s": 300, "minimum_sample": 20, **fields},
    )
    clockwork.evaluate(first_s)
    clockwork.record(*burst())
    outcome = clockwork.evaluate(back_s)
    assert outcome.get("late", 0) == count
    assert [state for _, state in clockwork.outbox()] == []


def test_a_disabled_rule_is_not_judged_for_the_time_it_was_off(clockwork: Clockwork) -> None:
    rule = clockwork.rule("error_rate", "0.5", minimum_sample=20)
    clockwork.evaluate(0)
    clockwork.ask("save_alert_rule", rule={"rule_id": rule["rule_id"], "is_enabled": False})
    clockwork.record(*burst())
    clockwork.evaluate(1000)
    clockwork.ask("save_alert_rule", rule={"rule_id": rule["rule_id"], "is_enabled": True})
    assert clockwork.evaluate(3000) == {"ok": 1}


def test_a_breach_that_goes_on_when_a_worker_is_back_waits_no_second_time(clockwork: Clockwork) -> None:
    clockwork.rule("error_rate", "0.5", for_s=600)
    clockwork.evaluate(0)
    for minute in range(2, 50):
        clockwork.record(call(60 * minute, status="error", error_type="timeout"))
    assert clockwork.evaluate(3000) == {"pending": 1}
    assert clockwork.evaluate(3005) == {"fired": 1}


def test_a_paging_service_that_opened_a_late_incident_hears_its_end(clockwork: Clockwork) -> None:
    clockwork.channel(f"pagerduty://{'a1b2' * 8}@apikey", kind="apprise", name="on call")
    clockwork.channel("https://hooks.example.com/x")
    clockwork.rule("error_rate", "0.5", minimum_sample=20, channels=[1, 2])
    clockwork.evaluate(0)
    clockwork.record(*burst())
    clockwork.evaluate(3000)
    told = [(row["channel_name"], row["event"]) for row in clockwork.alerts()["outbox"]]
    assert sorted(told) == [("on call", "firing"), ("on call", "resolved"), ("pager", "firing")]


def test_a_budget_is_looked_at_once_more_after_its_day_and_when_late_calls_come(service: Clockwork) -> None:
    service.channel("https://hooks.example.com/x")
    budget = {"name": "Day", "amount": "10", "period": "day", "forecast_step": None, "channels": [1]}
    service.ask("save_budget", budget=budget)
    service.record(call(0, cost="7.9"))
    assert service.evaluate(10) == {"ok": 1}
    assert service.evaluate(MIDNIGHT_S + 60) == {"ok": 1}
    service.record(call(MIDNIGHT_S - 30, cost="0.2"))
    assert service.evaluate(MIDNIGHT_S + 14 * 60) == {"ok": 1}
    assert service.evaluate(MIDNIGHT_S + 15 * 60) == {"ok": 1, "late": 1}
    assert late(service) == [(-MIDNIGHT_S, MIDNIGHT_S, "0.81")]
    assert service.evaluate(MIDNIGHT_S + 16 * 60) == {"ok": 1}
    service.record(call(MIDNIGHT_S - 600, cost="1"))  # 91 %: the step of 80 % has been told
    assert service.evaluate(MIDNIGHT_S + HOUR_S) == {"ok": 1}
    service.record(call(MIDNIGHT_S - 600, cost="1"))
    assert service.evaluate(MIDNIGHT_S + 2 * HOUR_S) == {"ok": 1, "late": 1}
    assert late(service)[0] == (-MIDNIGHT_S, MIDNIGHT_S, "1.01")
    assert service.outbox() == [("firing", "pending")] * 2


def test_an_evaluation_that_cannot_judge_everything_late_goes_on_next_time(direct: Door) -> None:
    service = Clockwork(direct.service())
    service.rule("error_rate", "0.5", minimum_sample=20)
    service.evaluate(0)
    service.record(*burst())
    direct.database.execute("alter function observability_internal.late_breaches rename to gone")
    assert service.evaluate(3000) == {"ok": 1}
    assert "late_breaches" in service.alerts()["rules"][0]["last_error"]
    direct.database.execute("alter function observability_internal.gone rename to late_breaches")
    assert service.evaluate(3005) == {"ok": 1, "late": 1}


def test_neither_a_disabled_nor_a_new_rule_is_judged_for_calls_that_come_late(clockwork: Clockwork) -> None:
    clockwork.rule("error_rate", "0.5", name="on", minimum_sample=1000)
    off = clockwork.rule("error_rate", "0.5", name="off", minimum_sample=20)
    clockwork.evaluate(0)
    clockwork.evaluate(3000)
    clockwork.ask("save_alert_rule", rule={"rule_id": off["rule_id"], "is_enabled": False})
    clockwork.record(*burst())
    clockwork.rule("error_rate", "0.5", name="new", minimum_sample=20)
    assert clockwork.evaluate(3010) == {"ok": 2}


def test_a_cool_down_begins_when_a_late_breach_ended_not_when_it_was_told(clockwork: Clockwork) -> None:
    now = 10 * HOUR_S
    clockwork.rule("error_rate", "0.5", minimum_sample=20, cooldown_s=6 * HOUR_S)
    clockwork.evaluate(0)
    clockwork.evaluate(now)
    clockwork.record(*burst())
    assert clockwork.evaluate(now + 5) == {"ok": 1, "late": 1}
    clockwork.record(*burst(second=now + 70))
    assert clockwork.evaluate(now + 100) == {"fired": 1}


@pytest.mark.parametrize("cooldown_s", [0, 600])
def test_a_later_alert_open_or_ended_hides_no_late_breach_of_hours_before(
    clockwork: Clockwork, cooldown_s: int
) -> None:
    now = 5 * HOUR_S
    clockwork.channel("https://hooks.example.com/x")
    clockwork.rule("error_rate", "0.3", minimum_sample=20, cooldown_s=cooldown_s, channels=[1])
    clockwork.evaluate(0)
    clockwork.evaluate(now)
    clockwork.record(*burst(second=now + 10))
    assert clockwork.evaluate(now + 40) == {"fired": 1}
    clockwork.record(*burst(), *[call(130 + number) for number in range(25)])  # a half, less than what fires
    assert clockwork.evaluate(now + 45) == {"firing": 1, "late": 1}
    assert late(clockwork) == [(180, 420, "0.5")]
    assert len(clockwork.alerts()["firing"]) == 1
    clockwork.record(call(now + HOUR_S))
    assert clockwork.evaluate(now + HOUR_S + 5) == {"resolved": 1}
    # Minutes around both alerts, which have told of theirs, and of a breach that nobody has heard of.
    clockwork.record(call(60), *burst(second=2 * HOUR_S + 10), call(now + 1800))
    assert clockwork.evaluate(now + HOUR_S + 10) == {"ok": 1, "late": 1}
    assert clockwork.evaluate(now + HOUR_S + 15) == {"ok": 1}
    assert [event for event, _ in clockwork.outbox()] == ["firing", "firing", "resolved", "firing"]


def test_a_late_message_tells_of_the_groups_beyond_its_limit(clockwork: Clockwork) -> None:
    clockwork.channel("https://hooks.example.com/x")
    clockwork.rule("spend", "1", group_by="model", group_limit=2, channels=[1])
    clockwork.evaluate(0)
    clockwork.evaluate(3000)
    clockwork.record(*[call(130, model=f"model-{number}", cost=str(number)) for number in range(2, 7)])
    assert clockwork.evaluate(3010) == {"ok": 1, "late": 2}
    (message,) = clockwork.claim(3011)
    assert [alert["value"] for alert in message["payload"]["bundle"]["alerts"]] == ["6", "5"]
    assert message["payload"]["over_limit"] == {"count": 3, "smallest": "2", "largest": "4"}


def test_minutes_without_a_call_and_without_a_worker_are_below_a_lower_limit(clockwork: Clockwork) -> None:
    clockwork.rule("requests", "1", comparator="below")
    clockwork.record(*[call(60 * number) for number in range(30)])
    assert clockwork.evaluate(1770) == {"ok": 1}
    clockwork.record(*[call(7200 + 60 * number) for number in range(30)])
    assert clockwork.evaluate(9000) == {"ok": 1, "late": 1}
    # The last call before is of the minute from 1740, the first one after of that from 7200.
    assert late(clockwork) == [(2100, 7200, "0")]
    assert clockwork.evaluate(9005) == {"ok": 1}


def test_the_budget_of_yesterday_is_told_late_although_that_of_today_fires(clockwork: Clockwork) -> None:
    clockwork.ask("save_budget", budget={"name": "Day", "amount": "10", "period": "day", "forecast_step": None})
    clockwork.record(call(0, cost="5"))
    clockwork.evaluate(10)
    clockwork.evaluate(MIDNIGHT_S + 1200)
    clockwork.record(call(MIDNIGHT_S + 1210, cost="9"))
    assert clockwork.evaluate(MIDNIGHT_S + 1220) == {"fired": 1}
    clockwork.record(call(60, cost="6"))
    assert clockwork.evaluate(MIDNIGHT_S + 1230) == {"firing": 1, "late": 1}
    assert late(clockwork) == [(-MIDNIGHT_S, MIDNIGHT_S, "1.1")]


def test_long_windows_are_judged_late_by_their_sixtieth_part_up_to_now(clockwork: Clockwork) -> None:
    clockwork.rule("spend", "24", name="was", window_s=6 * HOUR_S)
    clockwork.rule("spend", "24", name="is", window_s=6 * HOUR_S, for_s=HOUR_S, scope={"model": ["o3"]})
    clockwork.evaluate(0)
    clockwork.record(*burst(), *burst(second=15 * HOUR_S + 70, model="o3"))
    assert clockwork.evaluate(20 * HOUR_S) == {"fired": 1, "late": 1, "pending": 1}
    # The minute from 120 is in the windows that end from 180 to 21,720: every sixth minute, counted from now.
    assert late(clockwork) == [(360, 21_600, "25")]
    assert clockwork.evaluate(20 * HOUR_S + 5) == {"fired": 1, "firing": 1}
