"""What rules can say beyond a threshold over a window: metrics, groups, levels, hysteresis, missing data."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from ingest.alerts.rules import preset_rules
from ingest.errors import InvalidArgumentError
from tests.support.clockwork import NOON, Clockwork, at, call
from tests.support.events import performance_event

if TYPE_CHECKING:
    from tests.support.doors import Door

DAY_S = 86_400


def route(clockwork: Clockwork, seconds: float, **fields: Any) -> None:
    event = performance_event(created_at=at(seconds), environment="production", **fields)
    clockwork.database.call("record_performance", events=[event])
    clockwork.database.call("roll_up")


def value(clockwork: Clockwork) -> str | None:
    found = clockwork.alerts()["rules"][0]["value"]
    assert found is None or isinstance(found, str)
    return found


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("spend", "3"),
        ("tokens", "600"),
        ("requests", "4"),
        ("error_rate", "0.25"),
        ("unpriced_share", "0.25"),
        ("estimated_share", "0.5"),
    ],
)
def test_a_metric_of_calls_is_what_the_calls_say(clockwork: Clockwork, metric: str, expected: str) -> None:
    clockwork.rule(metric, "0.9" if expected < "1" else "1000")
    clockwork.record(
        call(0, prompt_tokens=100, completion_tokens=50),
        call(1, prompt_tokens=100, completion_tokens=50, usage_source="heuristic"),
        call(2, prompt_tokens=100, completion_tokens=50, cost=None, usage_source="tokenizer"),
        call(3, prompt_tokens=100, completion_tokens=50, status="error", error_type="timeout"),
    )
    clockwork.evaluate(10)
    assert value(clockwork) is not None
    assert float(value(clockwork) or 0) == float(expected)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("p50_latency_ms", 500),
        ("p90_latency_ms", 900),
        ("p50_time_to_first_token_ms", 50),
        ("p99_time_to_first_token_ms", 99),
    ],
)
def test_quantiles_are_those_of_the_calls_within_one_percent(
    clockwork: Clockwork, metric: str, expected: float
) -> None:
    clockwork.rule(metric, "100000")
    clockwork.record(*[call(0, latency_ms=10 * n, time_to_first_token_ms=n) for n in range(1, 101)])
    clockwork.evaluate(10)
    assert float(value(clockwork) or 0) == pytest.approx(expected, rel=0.02)


def test_routes_are_measured_and_grouped_by_method_and_route(clockwork: Clockwork) -> None:
    clockwork.rule("p90_route_latency_ms", "1000", group_by="route", scope={"environment": "production"})
    clockwork.rule("route_error_rate", "0.4", name="errors", scope={"method": "POST"})
    clockwork.rule("p50_route_time_to_first_byte_ms", "40", name="first byte")
    clockwork.rule("route_requests", "2", name="requests")
    route(clockwork, 0, route="/chat", latency_ms=3000.0, time_to_first_byte_ms=50.0)
    route(clockwork, 0, route="/chat", method="GET", status_code=200, latency_ms=5.0)
    route(clockwork, 1, route="/search", latency_ms=5.0, status_code=503)
    assert clockwork.evaluate(10) == {"fired": 4}
    firing: dict[str, Any] = {
        alert["rule_name"]: (alert["group_key"], float(alert["value"])) for alert in clockwork.alerts()["firing"]
    }
    assert firing["p90_route_latency_ms above 1000"] == ("POST /chat", pytest.approx(3000, rel=0.01))
    assert firing["errors"] == ("", 0.5)
    assert firing["requests"] == ("", 3)
    assert firing["first byte"] == ("", pytest.approx(50, rel=0.01))


@pytest.mark.dated
def test_the_lag_of_the_pipeline_is_the_age_of_what_waits(clockwork: Clockwork) -> None:
    clockwork.rule("pipeline_lag_s", "60", window_s=60)
    now = dt.datetime.now(dt.UTC)
    assert clockwork.ask("evaluate_alerts", as_of=now + dt.timedelta(hours=1))["ok"] == 1
    clockwork.database.call("record_usage", events=[call(0)])
    assert clockwork.ask("evaluate_alerts", as_of=now + dt.timedelta(minutes=10))["fired"] == 1
    assert clockwork.alerts()["firing"][0]["evidence"] == {"pending_rows": 1}
    clockwork.database.call("roll_up")
    assert clockwork.ask("evaluate_alerts", as_of=now + dt.timedelta(minutes=11))["resolved"] == 1


def test_each_group_has_an_alert_of_its_own_that_ends_by_itself(service: Clockwork) -> None:
    service.channel("https://hooks.example.com/x")
    service.rule("spend", "1", window_s=60, group_by="model", channels=[1])
    service.record(call(0, cost="2"), call(0, model="o3", cost="3"), call(0, model="o4-mini", cost="1"))
    assert service.evaluate(10) == {"fired": 2}
    alerts = service.alerts()
    assert sorted((a["group_by"], a["group_key"], a["value"]) for a in alerts["firing"]) == [
        ("model", "gpt-4o", "2"),
        ("model", "o3", "3"),
    ]
    assert (alerts["rules"][0]["state"], alerts["rules"][0]["firing_groups"]) == ("firing", 2)
    service.record(call(100, model="o3", cost="3"))
    assert service.evaluate(110) == {"firing": 2}  # the last whole minute still holds both
    assert service.evaluate(125) == {"firing": 1, "resolved": 1}
    assert [a["group_key"] for a in service.alerts()["firing"]] == ["o3"]
    assert service.evaluate(600) == {"resolved": 1}
    assert service.evaluate(610) == {"ok": 1}
    assert [event for event, _ in service.outbox()] == ["firing", "resolved", "resolved"]


def test_users_are_groups_by_quarters_of_an_hour(clockwork: Clockwork) -> None:
    clockwork.rule("spend", "1", window_s=900, group_by="user_id", scope={"user_id": ["ada", "bob"]})
    clockwork.record(call(0, user_id="ada", cost="2"), call(0, user_id="bob"), call(0, user_id="eve", cost="9"))
    assert clockwork.evaluate(800) == {"fired": 1}
    assert clockwork.evaluate(1700) == {"firing": 1}  # the last whole quarter
    assert clockwork.evaluate(1800) == {"resolved": 1}
    assert clockwork.alerts()["history"][0]["group_key"] == "ada"


def test_the_worst_groups_fire_and_the_rest_is_counted(clockwork: Clockwork) -> None:
    clockwork.rule("spend", "0", group_by="model", group_limit=2)
    clockwork.record(*[call(0, model=f"m{n}", cost=str(n)) for n in range(1, 6)])
    assert clockwork.evaluate(10) == {"fired": 2}
    alerts = clockwork.alerts()
    assert sorted(a["group_key"] for a in alerts["firing"]) == ["m4", "m5"]
    assert alerts["rules"][0]["groups_over_limit"] == 3
    assert clockwork.evaluate(20) == {"firing": 2}  # a firing group keeps its place


def test_a_value_past_the_critical_threshold_escalates_once(service: Clockwork) -> None:
    service.channel("https://hooks.example.com/x")
    service.rule("spend", "1", critical_threshold="5", channels=[1])
    service.record(call(0, cost="2"))
    assert service.evaluate(10) == {"fired": 1}
    assert service.alerts()["firing"][0]["severity"] == "warning"
    service.record(call(11, cost="4"))
    assert service.evaluate(20) == {"firing": 1}
    (alert,) = service.alerts()["firing"]
    assert (alert["severity"], alert["threshold"], alert["value"]) == ("critical", "5", "6")
    assert service.evaluate(30) == {"firing": 1}
    assert [event for event, _ in service.outbox()] == ["firing", "escalated"]
    service.evaluate(1000)
    assert [event for event, _ in service.outbox()] == ["firing", "escalated", "resolved"]


def test_a_value_that_starts_critical_tells_once(clockwork: Clockwork) -> None:
    clockwork.channel("https://hooks.example.com/x")
    clockwork.rule("spend", "1", critical_threshold="5", channels=[1])
    clockwork.record(call(0, cost="20"))
    clockwork.evaluate(10)
    assert clockwork.alerts()["firing"][0]["severity"] == "critical"
    assert [event for event, _ in clockwork.outbox()] == ["firing"]


def test_an_alert_ends_only_past_its_resolve_threshold(clockwork: Clockwork) -> None:
    clockwork.rule("error_rate", "0.5", window_s=60, resolve_threshold="0.2")
    clockwork.record(call(0, status="error"))
    assert clockwork.evaluate(10) == {"fired": 1}
    clockwork.record(call(130), call(130), call(130, status="error"))
    assert clockwork.evaluate(190) == {"firing": 1}  # a third: below the threshold, above the way out
    clockwork.record(*[call(310) for _ in range(9)], call(310, status="error"))
    assert clockwork.evaluate(370) == {"resolved": 1}


def test_a_lower_limit_is_judged_over_whole_windows(clockwork: Clockwork) -> None:
    clockwork.rule("requests", "2", window_s=60, comparator="below", minimum_sample=50)
    clockwork.record(call(0), call(30), call(65))
    assert clockwork.evaluate(61) == {"ok": 1}  # the running minute has one call only, the last whole one two
    assert clockwork.evaluate(125) == {"fired": 1}
    assert clockwork.evaluate(200) == {"firing": 1}  # none at all is fewer, too
    clockwork.record(call(241), call(242))
    assert clockwork.evaluate(301) == {"resolved": 1}


@pytest.mark.parametrize(("no_data", "outcome"), [("ok", "resolved"), ("keep", "firing"), ("firing", "firing")])
def test_missing_data_ends_keeps_or_fires(clockwork: Clockwork, no_data: str, outcome: str) -> None:
    clockwork.rule("error_rate", "0.5", window_s=60, no_data=no_data)
    first = clockwork.evaluate(-600)
    assert first == ({"fired": 1} if no_data == "firing" else {"ok": 1})
    clockwork.record(call(0, status="error"))
    clockwork.evaluate(10)
    assert clockwork.evaluate(600) == {outcome: 1}
    if no_data == "ok":
        assert clockwork.alerts()["history"][0]["resolution"] == "no_data"


def test_a_calendar_day_begins_at_midnight_of_its_zone(clockwork: Clockwork) -> None:
    # Noon UTC is 17:45 in Kathmandu, whose day began at 18:15 UTC of the day before.
    midnight = -(17 * 3600 + 45 * 60)
    clockwork.rule("spend", "2.5", period="day", window_s=DAY_S, timezone="Asia/Kathmandu")
    clockwork.record(call(midnight - 1, cost="100"), call(midnight), call(0))
    assert clockwork.evaluate(10) == {"ok": 1}
    assert value(clockwork) == "2"
    clockwork.record(call(11))
    assert clockwork.evaluate(20) == {"fired": 1}
    assert clockwork.evaluate(midnight + DAY_S - 1) == {"firing": 1}
    assert clockwork.evaluate(midnight + DAY_S) == {"resolved": 1}


def test_a_changed_rule_begins_anew(clockwork: Clockwork) -> None:
    rule = clockwork.rule("spend", "0")
    clockwork.record(call(0))
    clockwork.evaluate(10)
    clockwork.ask("save_alert_rule", rule={"rule_id": rule["rule_id"], "threshold": "0.5"})
    assert len(clockwork.alerts()["firing"]) == 1
    clockwork.ask("save_alert_rule", rule={"rule_id": rule["rule_id"], "group_by": "model"})
    assert [a["resolution"] for a in clockwork.alerts()["history"]] == ["rule_changed"]
    assert clockwork.evaluate(20) == {"fired": 1}
    assert clockwork.alerts()["firing"][0]["group_key"] == "gpt-4o"


def test_every_transition_is_kept_with_its_evidence(clockwork: Clockwork) -> None:
    clockwork.rule("spend", "1", window_s=60, for_s=30)
    clockwork.record(call(0, cost="2"))
    for second in (5, 40, 200):
        clockwork.evaluate(second)
    transitions = clockwork.alerts()["transitions"]
    assert [(t["from_state"], t["to_state"], t["value"], t["threshold"], t["sample_count"]) for t in transitions] == [
        ("firing", "resolved", "0", "1", 0),
        ("pending", "firing", "2", "1", 1),
        ("ok", "pending", "2", "1", 1),
    ]
    assert dt.datetime.fromisoformat(transitions[2]["occurred_at"]) == at(5)
    assert dt.datetime.fromisoformat(transitions[2]["window_end"]) == at(5)


def test_computed_values_count_until_they_expire(door: Door) -> None:
    service = Clockwork(door.service())
    rule = service.rule("anomaly", "3", no_data="ok")
    assert [r["rule_id"] for r in service.database.call("get_computed_rules")] == [rule["rule_id"]]  # type: ignore[union-attr, index, call-overload]
    assert service.evaluate(0) == {"ok": 1}
    figure: Any = {"value": "4.1", "sample_count": 20, "evidence": {"explanation": "4.1 times the usual"}}
    assert (
        service.database.call(
            "record_metric_values", rule_id=rule["rule_id"], figures=[figure], as_of=at(5), valid_s=60
        )
        == 1
    )
    assert service.evaluate(10) == {"fired": 1}
    assert service.alerts()["firing"][0]["evidence"] == {"explanation": "4.1 times the usual"}
    assert service.evaluate(66) == {"resolved": 1}


def test_reading_back_thirty_days_finds_when_a_rule_would_have_fired(clockwork: Clockwork) -> None:
    burst = [call(-3 * DAY_S + second, cost="1") for second in range(0, 120, 10)]
    clockwork.record(call(-20 * DAY_S), *burst, call(-DAY_S, cost="1"))
    draft = {"name": "spend", "metric": "spend", "window_s": 300, "threshold": "5", "critical_threshold": "11"}
    result = clockwork.ask("backtest_rule", rule=draft, days=30, as_of=NOON)
    assert (result["firing_count"], result["step_s"]) == (1, 60)
    (firing,) = result["firings"]
    assert dt.datetime.fromisoformat(firing["started_at"]) == at(-3 * DAY_S + 60)
    assert dt.datetime.fromisoformat(firing["resolved_at"]) == at(-3 * DAY_S + 420)
    assert (firing["value"], firing["severity"]) == ("6", "warning")
    assert clockwork.alerts()["rules"] == []


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"metric": "p99_latency_ms", "threshold": "700"}, 1),
        ({"metric": "p99_latency_ms", "threshold": "900"}, 0),
        ({"metric": "p50_latency_ms", "threshold": "700", "critical_threshold": "790"}, 1),
        ({"metric": "error_rate", "threshold": "0.5"}, 1),
        ({"metric": "error_rate", "threshold": "0.5", "minimum_sample": 2}, 0),
        ({"metric": "spend", "threshold": "0.5", "group_by": "model"}, 2),
        ({"metric": "spend", "threshold": "0.5", "group_by": "user_id", "window_s": 900}, 2),
        ({"metric": "spend", "threshold": "0.5", "period": "day"}, 1),
        ({"metric": "spend", "threshold": "1.5", "window_s": DAY_S}, 1),
        ({"metric": "spend", "threshold": "0.5", "for_s": 600}, 0),
        ({"metric": "p90_route_latency_ms", "threshold": "50"}, 1),
    ],
)
def test_a_back_test_knows_each_kind_of_rule(clockwork: Clockwork, fields: dict[str, Any], count: int) -> None:
    clockwork.record(call(-7000, latency_ms=800, status="error"), call(-3000, model="o3", latency_ms=100))
    route(clockwork, -5000)
    draft = {"name": "x", "window_s": 300, "minimum_sample": 1, **fields}
    result = clockwork.ask("backtest_rule", rule=draft, days=2, as_of=NOON)
    assert result["firing_count"] == count


@pytest.mark.parametrize("metric", ["pipeline_lag_s", "anomaly"])
def test_what_keeps_no_history_cannot_be_tested_back(clockwork: Clockwork, metric: str) -> None:
    draft = {"name": "x", "metric": metric, "window_s": 300, "threshold": "1"}
    with pytest.raises(InvalidArgumentError, match="keeps no history"):
        clockwork.ask("backtest_rule", rule=draft)
    with pytest.raises(InvalidArgumentError, match="days is from 1 to 90"):
        clockwork.ask("backtest_rule", rule=draft, days=0)


def test_a_budget_tells_at_each_step_once_and_begins_anew_with_the_month(service: Clockwork) -> None:
    service.channel("https://hooks.example.com/x")
    budget: dict[str, Any] = {"name": "all", "amount": "10", "forecast_step": None, "timezone": "Europe/Berlin"}
    budget |= {"steps": [0.5, 0.8, 0.9, 1], "channels": [1]}
    service.ask("save_budget", budget=budget)
    service.record(call(0, cost="4.9"))
    assert service.evaluate(10) == {"ok": 1}
    service.record(call(20, cost="0.1"))
    assert service.evaluate(30) == {"fired": 1}  # half is reached
    service.record(call(40, cost="4.5"))
    service.evaluate(50)
    service.evaluate(60)
    (alert,) = service.alerts()["firing"]
    assert (alert["threshold"], alert["value"], alert["severity"]) == ("0.9", "0.95", "warning")
    assert alert["evidence"]["spent"] == "9.5"
    service.record(call(70, cost="1"))
    service.evaluate(80)
    assert service.alerts()["firing"][0]["severity"] == "critical"
    assert [event for event, _ in service.outbox()] == ["firing", "escalated", "escalated"]
    month_end = (dt.datetime(2026, 11, 30, 23, 0, tzinfo=dt.UTC) - NOON).total_seconds()  # midnight in Berlin
    assert service.evaluate(month_end - 1) == {"firing": 1}
    assert service.evaluate(month_end) == {"resolved": 1}


def test_a_forecast_stands_in_by_run_rate_until_the_worker_writes_one(clockwork: Clockwork) -> None:
    budget = clockwork.ask("save_budget", budget={"name": "all", "amount": "100", "scope": {"feature": "chat"}})
    clockwork.record(call(0, cost="95", feature="chat"), call(0, cost="500"))
    assert clockwork.evaluate(10) == {"fired": 1, "pending": 1}
    hours = 12 * 3600  # as long as the forecast of a month must hold
    assert clockwork.evaluate(10 + hours) == {"firing": 1, "fired": 1}
    firing = {a["metric"]: a for a in clockwork.alerts()["firing"]}
    assert firing["budget_used"]["value"] == "0.95"
    # 23 of 30 days have passed: 95 / (23 / 30) = 123.9; of what is to come a quarter is certain enough.
    assert float(firing["budget_forecast"]["value"]) == pytest.approx(95 / (23 / 30) / 100, rel=1e-3)
    assert firing["budget_forecast"]["evidence"]["method"] == "run_rate"
    assert firing["budget_forecast"]["evidence"]["certain"] == pytest.approx(0.95 + 0.289 / 4, rel=1e-3)
    rules = {rule["metric"]: rule["rule_id"] for rule in clockwork.alerts()["rules"]}
    for second in (20 + hours, 20 + hours + DAY_S):
        clockwork.database.call(
            "record_metric_values", rule_id=rules["budget_forecast"], figures=[{"value": "0.8"}], as_of=at(second)
        )
        ends = second > DAY_S  # it must be over for a day
        assert clockwork.evaluate(second + 10) == ({"firing": 1, "resolved": 1} if ends else {"firing": 2})
    (shown,) = clockwork.ask("get_settings")["budgets"]
    assert (shown["used"], shown["forecast"]) == ("0.95", "0.8")
    assert clockwork.database.call("delete_budget", budget_id=budget["budget_id"]) is True
    assert clockwork.alerts()["rules"] == []
    assert clockwork.database.call("delete_budget", budget_id=budget["budget_id"]) is False


def test_a_budget_s_rules_are_changed_with_it_alone(clockwork: Clockwork) -> None:
    clockwork.channel("https://hooks.example.com/x")
    clockwork.ask("save_budget", budget={"name": "all", "amount": "100", "channels": [1]})
    changed = clockwork.ask("save_budget", budget={"budget_id": 1, "amount": "50", "steps": ["0.7"], "period": "week"})
    assert (changed["amount"], changed["steps"], changed["channels"]) == ("50", ["0.7"], [1])
    rules = clockwork.alerts()["rules"]
    assert [(r["metric"], r["period"], r["threshold"], r["channels"]) for r in rules] == [
        ("budget_used", "week", "0.7", [1]),
        ("budget_forecast", "week", "1", [1]),
    ]
    clockwork.ask("save_budget", budget={"budget_id": 1, "forecast_step": None})
    assert len(clockwork.alerts()["rules"]) == 1
    with pytest.raises(InvalidArgumentError, match="belongs to a budget"):
        clockwork.ask("save_alert_rule", rule={"rule_id": rules[0]["rule_id"], "threshold": "1"})
    for wrong in ({"budget_id": 9}, {"name": "x"}, {"name": "x", "amount": "0"}, {"colour": "red"}):
        with pytest.raises(InvalidArgumentError):
            clockwork.ask("save_budget", budget=wrong)


def test_the_database_takes_every_preset_as_it_is(clockwork: Clockwork) -> None:
    for rule in preset_rules("Europe/Berlin"):
        saved = clockwork.ask("save_alert_rule", rule=rule.model_dump(mode="json"))
        assert saved["name"] == rule.name
    assert clockwork.evaluate(0) == {"ok": 10}
