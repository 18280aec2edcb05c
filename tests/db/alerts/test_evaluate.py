from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.clockwork import Clockwork, at, call

if TYPE_CHECKING:
    from tests.support.doors import Door


def test_a_breach_fires_once_and_recovers_with_the_figures_that_caused_it(service: Clockwork) -> None:
    service.channel("https://hooks.example.com/x")
    rule = service.rule("spend", "2.5", scope={"model": "gpt-4o"}, channels=[1])
    service.record(call(-20), call(-10, cost="1.25"), call(-10, model="o3", cost="50"))
    assert service.evaluate(0) == {"ok": 1}
    service.record(call(5, cost="0.5"))
    assert service.evaluate(10) == {"fired": 1}
    assert service.evaluate(20) == {"firing": 1}
    (alert,) = service.alerts()["firing"]
    assert (
        alert
        | {
            "rule_id": rule["rule_id"],
            "rule_name": "spend above 2.5",
            "metric": "spend",
            "state": "firing",
            "value": "2.75",
            "threshold": "2.5",
            "sample_count": 3,
            "severity": "warning",
        }
        == alert
    )
    assert dt.datetime.fromisoformat(alert["window_start"]) == at(60 - 300)
    assert dt.datetime.fromisoformat(alert["window_end"]) == dt.datetime.fromisoformat(alert["started_at"]) == at(10)
    assert service.evaluate(600) == {"resolved": 1}
    assert service.evaluate(610) == {"ok": 1}
    alerts = service.alerts()
    assert alerts["firing"] == []
    assert [(a["resolution"], a["value"], a["resolved_value"]) for a in alerts["history"]] == [
        ("recovered", "2.75", "0")
    ]
    assert service.outbox() == [("firing", "pending"), ("resolved", "pending")]
    assert [r["state"] for r in alerts["rules"]] == ["resolved"]


def test_a_threshold_must_be_passed_not_met(clockwork: Clockwork) -> None:
    clockwork.rule("spend", "2")
    clockwork.record(call(0), call(0))
    assert clockwork.evaluate(10) == {"ok": 1}


def test_an_error_rate_counts_errors_and_not_cancelled_calls(clockwork: Clockwork) -> None:
    clockwork.rule("error_rate", "0.25", name="a quarter")
    clockwork.rule("error_rate", "0.24", name="less")
    clockwork.record(call(0), call(0), call(0, status="cancelled"), call(0, status="error", error_type="timeout"))
    assert clockwork.evaluate(10) == {"ok": 1, "fired": 1}
    (alert,) = clockwork.alerts()["firing"]
    assert (alert["rule_name"], alert["value"]) == ("less", "0.25")


def test_a_p99_is_that_of_the_calls_within_one_percent(clockwork: Clockwork) -> None:
    clockwork.rule("p99_latency_ms", "900", minimum_sample=101)
    clockwork.record(*[call(0, latency_ms=10 * n) for n in range(1, 101)], call(0, latency_ms=None))
    assert clockwork.evaluate(10) == {"ok": 1}
    clockwork.record(call(0, latency_ms=1))
    assert clockwork.evaluate(20) == {"fired": 1}
    (alert,) = clockwork.alerts()["firing"]
    assert float(alert["value"]) == pytest.approx(990, rel=0.01)
    assert alert["sample_count"] == 101


def test_a_window_of_hours_counts_each_call_once(clockwork: Clockwork) -> None:
    hour = 3600
    clockwork.rule("spend", "6.5", window_s=3 * hour)
    # The window at 12:10:30 is [09:11, 12:11): whole hours from 10 to 12, minutes before and after.
    clockwork.record(call(-3 * hour + 659, cost="100"), call(-3 * hour + 660), call(-2 * hour - 1), call(-2 * hour))
    clockwork.record(call(-1), call(0), call(629))
    assert clockwork.evaluate(690) == {"ok": 1}  # a minute on, the call of 09:11 is in the last whole window only
    assert clockwork.alerts()["rules"][0]["value"] == "5"
    clockwork.record(call(-hour, cost="2.5"))
    assert clockwork.evaluate(690) == {"fired": 1}
    (alert,) = clockwork.alerts()["firing"]
    assert alert["value"] == "7.5"


def test_a_breach_stays_in_sight_when_the_next_minute_begins(clockwork: Clockwork) -> None:
    clockwork.rule("spend", "1.5", window_s=60)
    clockwork.record(call(50), call(55))
    assert clockwork.evaluate(58) == {"fired": 1}
    assert clockwork.evaluate(60) == {"firing": 1}
    assert clockwork.evaluate(119) == {"firing": 1}
    assert clockwork.evaluate(120) == {"resolved": 1}


def test_a_breach_waits_for_its_duration_before_it_fires(clockwork: Clockwork) -> None:
    clockwork.rule("spend", "0.5", for_s=60)
    clockwork.record(call(0))
    assert clockwork.evaluate(10) == {"pending": 1}
    assert clockwork.alerts()["rules"][0]["state"] == "pending"
    assert clockwork.evaluate(69) == {"pending": 1}
    assert clockwork.evaluate(70) == {"fired": 1}
    assert [r["state"] for r in clockwork.alerts()["rules"]] == ["firing"]


def test_a_breach_that_ends_before_its_duration_tells_nobody(clockwork: Clockwork) -> None:
    clockwork.channel("https://hooks.example.com/x")
    clockwork.rule("spend", "0.5", window_s=60, for_s=120, channels=[1])
    clockwork.record(call(0))
    assert clockwork.evaluate(10) == {"pending": 1}
    assert clockwork.evaluate(130) == {"ok": 1}
    clockwork.record(call(200))
    assert clockwork.evaluate(200) == {"pending": 1}  # counted from the start
    assert clockwork.outbox() == []


def test_a_small_sample_starts_no_alert_and_ends_none(clockwork: Clockwork) -> None:
    clockwork.rule("error_rate", "0.5", window_s=60, minimum_sample=3)
    clockwork.record(call(0, status="error"), call(0, status="error"))
    assert clockwork.evaluate(10) == {"ok": 1}
    clockwork.record(call(20, status="error"))
    assert clockwork.evaluate(30) == {"fired": 1}
    clockwork.record(call(100, status="error"))
    assert clockwork.evaluate(130) == {"firing": 1}
    clockwork.record(call(250))
    assert clockwork.evaluate(300) == {"resolved": 1}


def test_an_unknown_cost_is_no_spend_and_no_breach(clockwork: Clockwork) -> None:
    clockwork.rule("spend", "0")
    clockwork.record(call(0, cost=None))
    assert clockwork.evaluate(10) == {"ok": 1}
    assert clockwork.alerts()["rules"][0]["value"] is None


def test_a_rule_sees_its_scope_only(clockwork: Clockwork) -> None:
    clockwork.rule("spend", "0", scope={"environment": ["production"], "feature": "chat"})
    clockwork.record(call(0, environment="demo", feature="chat"), call(0, feature="search"), call(0))
    assert clockwork.evaluate(10) == {"ok": 1}
    clockwork.record(call(0, feature="chat"))
    assert clockwork.evaluate(20) == {"fired": 1}


def test_a_rule_that_cannot_be_evaluated_shows_it_and_stops_no_other(direct: Door) -> None:
    service = Clockwork(direct.service())
    service.rule("spend", "0", name="broken", scope={"model": "gpt-4o"})
    service.rule("spend", "0", name="sound")
    service.record(call(0))
    direct.database.execute(
        "alter table observability_internal.alert_rules drop constraint"
        ' "a scope is an object of dimensions, each a list of names";'
        "update observability_internal.alert_rules set scope = '{\"model\": 1}' where name = 'broken'"
    )
    assert service.evaluate(10) == {"failed": 1, "fired": 1}
    broken, sound = service.alerts()["rules"]
    assert broken["last_error"] == "22023: the filter model takes a text or a list of texts"
    assert dt.datetime.fromisoformat(broken["last_error_at"]) == at(10)
    assert (sound["state"], sound["last_error"]) == ("firing", None)
    direct.database.execute("update observability_internal.alert_rules set scope = '{}'")
    assert service.evaluate(20) == {"firing": 1, "fired": 1}
    assert [rule["last_error"] for rule in service.alerts()["rules"]] == [None, None]


def test_two_workers_never_evaluate_at_once(direct: Door) -> None:
    service = Clockwork(direct.service())
    service.rule("spend", "0")
    service.record(call(0))
    with psycopg.connect(direct.database.superuser_url) as other:
        other.execute("set role service_role")
        other.execute("select observability.evaluate_alerts(%s)", (at(10),))
        assert service.ask("evaluate_alerts", as_of=at(10))["is_busy"]
        other.rollback()
    assert service.evaluate(20) == {"fired": 1}


@pytest.mark.dated
def test_without_a_time_the_rules_are_evaluated_as_of_now(service: Clockwork) -> None:
    service.rule("spend", "0.5")
    service.record(call(0, created_at=dt.datetime.now(dt.UTC).isoformat()))
    assert service.ask("evaluate_alerts")["fired"] == 1


@pytest.mark.dated
def test_disabling_a_rule_ends_its_alert_and_says_so(clockwork: Clockwork) -> None:
    clockwork.channel("https://hooks.example.com/x")
    rule = clockwork.rule("spend", "0", channels=[1])
    clockwork.record(call(0))
    clockwork.evaluate(10)
    saved = clockwork.ask("save_alert_rule", rule={"rule_id": rule["rule_id"], "is_enabled": False})
    assert (saved["is_enabled"], saved["threshold"], saved["channels"]) == (False, "0", [1])
    assert [a["resolution"] for a in clockwork.alerts()["history"]] == ["rule_disabled"]
    assert clockwork.outbox() == [("firing", "pending"), ("resolved", "pending")]
    assert clockwork.evaluate(20) == {}
    clockwork.ask("save_alert_rule", rule={"rule_id": rule["rule_id"], "is_enabled": True})
    assert clockwork.evaluate(30) == {"fired": 1}


def test_deleting_a_rule_ends_its_alert_and_keeps_it(clockwork: Clockwork) -> None:
    clockwork.channel("https://hooks.example.com/x")
    rule = clockwork.rule("spend", "0", channels=[1])
    clockwork.record(call(0))
    clockwork.evaluate(10)
    assert clockwork.database.call("delete_alert_rule", rule_id=rule["rule_id"]) is True
    assert clockwork.database.call("delete_alert_rule", rule_id=rule["rule_id"]) is False
    (alert,) = clockwork.alerts()["history"]
    assert (alert["resolution"], alert["rule_id"], alert["rule_name"]) == ("rule_deleted", None, "spend above 0")
    assert clockwork.outbox() == [("firing", "pending"), ("resolved", "pending")]


def test_ops_who_delete_a_firing_rule_end_its_alert_too(door: Door) -> None:
    service, ops = Clockwork(door.service()), door.viewer("olga")
    service.database.call("add_member", user_id="olga", role="ops")
    rule = service.rule("spend", "0")
    service.record(call(0))
    service.evaluate(10)
    ops.call("delete_alert_rule", rule_id=rule["rule_id"])
    assert [a["resolution"] for a in service.alerts()["history"]] == ["rule_deleted"]


def test_a_rule_under_evaluation_cannot_be_disabled_in_between(direct: Door) -> None:
    service = Clockwork(direct.service())
    service.rule("spend", "0")
    service.record(call(0))
    with psycopg.connect(direct.database.superuser_url) as evaluating:
        evaluating.execute("set role service_role")
        evaluating.execute("select observability.evaluate_alerts(%s)", (at(10),))
        with pytest.raises(psycopg.errors.LockNotAvailable):
            direct.database.execute(
                "set lock_timeout = '50ms'; update observability_internal.alert_rules set is_enabled = false"
            )


RULE = """
create function pg_temp.rule(window_s integer, metric text) returns observability_internal.alert_rules
language sql as $$
  select observability_internal.read_rule(
    jsonb_build_object('window_s', window_s, 'metric', metric, 'scope', '{"model": ["o3"]}'::jsonb), null
  );
$$;
"""


def test_a_window_measures_exactly_the_calls_inside_it(direct: Door) -> None:
    chance = random.Random(7)  # seeded: the same calls in every run
    service = Clockwork(direct.service())
    calls = [
        call(
            chance.uniform(-6 * 3600, 3600),
            cost=str(Decimal(chance.randint(1, 10**9)).scaleb(-9)),
            status=chance.choice(["ok", "ok", "error"]),
            model=chance.choice(["gpt-4o", "o3"]),
        )
        for _ in range(400)
    ]
    service.record(*calls)
    with psycopg.connect(direct.database.superuser_url) as connection:
        connection.execute(RULE)
        for _ in range(40):
            as_of, window_s = at(chance.randint(-3600, 3600)), 60 * chance.choice([1, 5, 59, 60, 61, 150, 240])
            rows = connection.execute(
                "select spend.value, errors.value, spend.sample_count"
                " from observability_internal.alert_windows(pg_temp.rule(%(window)s, 'spend'), %(as_of)s) as w"
                " left join lateral observability_internal.measure_calls("
                "pg_temp.rule(%(window)s, 'spend'), w.window_start, w.window_end) as spend on true"
                " left join lateral observability_internal.measure_calls("
                "pg_temp.rule(%(window)s, 'error_rate'), w.window_start, w.window_end) as errors on true"
                " order by w.window_start desc",
                {"window": window_s, "as_of": as_of},
            ).fetchall()
            minute = as_of.replace(second=0)
            for end, (spend, error_rate, sample) in zip([minute + dt.timedelta(minutes=1), minute], rows, strict=True):
                inside = [
                    c
                    for c in calls
                    if c["model"] == "o3"
                    and end - dt.timedelta(seconds=window_s) <= dt.datetime.fromisoformat(c["created_at"]) < end
                ]
                errors = sum(c["status"] == "error" for c in inside)
                if not inside:
                    assert (spend, error_rate, sample) == (None, None, None)
                    continue
                assert sample == len(inside)
                assert spend == sum(Decimal(c["estimated_cost"]) for c in inside)
                assert error_rate == pytest.approx(Decimal(errors) / len(inside))


@pytest.mark.parametrize("is_budget", [False, True])
def test_what_ends_because_its_window_or_budget_was_changed_has_not_recovered(
    clockwork: Clockwork, *, is_budget: bool
) -> None:
    clockwork.record(*[call(number, cost="2") for number in range(6)])
    if is_budget:
        budget = {"name": "Day", "amount": "10", "period": "day", "forecast_step": None}
        number = clockwork.ask("save_budget", budget=budget)["budget_id"]
    else:
        number = clockwork.rule("spend", "10", window_s=3600)["rule_id"]
    assert clockwork.evaluate(600) == {"fired": 1}
    if is_budget:
        clockwork.ask("save_budget", budget={"budget_id": number, "amount": "100"})
    else:
        clockwork.ask("save_alert_rule", rule={"rule_id": number, "window_s": 60})
    clockwork.evaluate(610)
    clockwork.evaluate(610 + 3600)
    (alert,) = clockwork.alerts()["history"]
    assert alert["resolution"] == "rule_changed"
