"""Rules that compare: further conditions, last week, and burn rates of an objective over two windows."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from ingest.alerts.messages import render_message
from ingest.errors import InvalidArgumentError
from tests.support.clockwork import NOON, Clockwork, at, call

if TYPE_CHECKING:
    from tests.support.doors import Door

HOUR_S = 3600
WEEK_S = 7 * 24 * HOUR_S


def calls(count: int, second: float, *, errors: int = 0, **fields: Any) -> list[dict[str, Any]]:
    """Calls of one second, the first ones errors."""
    return [call(second, status="error" if number < errors else "ok", **fields) for number in range(count)]


def test_a_condition_must_hold_in_the_same_window(service: Clockwork) -> None:
    service.channel("https://hooks.example.com/x")
    conditions = [{"metric": "requests", "comparator": "above", "threshold": "100"}]
    rule = service.rule("error_rate", "0.1", conditions=conditions, resolve_threshold="0.05", channels=[1])
    assert rule["conditions"] == conditions
    service.record(*calls(100, 0, errors=20))
    assert service.evaluate(10) == {"ok": 1}  # 20 %, but of 100 calls and not more
    service.record(*calls(1, 20))
    assert service.evaluate(30) == {"fired": 1}
    (alert,) = service.alerts()["firing"]
    assert float(alert["value"]) == pytest.approx(20 / 101)
    assert alert["evidence"] == {
        "conditions": [{"metric": "requests", "comparator": "above", "threshold": "100", "value": "101"}],
        "is_met": True,
    }
    (message,) = service.claim(31)
    text = render_message(message["payload"], dashboard_url=None, zone=ZoneInfo("UTC")).text
    assert "And Calls: 101, above 100" in text
    service.record(*calls(50, 400, errors=10))
    assert service.evaluate(410) == {"resolved": 1}  # still 20 %, but few calls
    assert service.alerts()["history"][0]["resolution"] == "recovered"


def test_all_of_several_conditions_must_hold_for_each_group(clockwork: Clockwork) -> None:
    conditions = [
        {"metric": "error_rate", "comparator": "above", "threshold": 0.1},
        {"metric": "p50_latency_ms", "comparator": "below", "threshold": 50},
    ]
    clockwork.rule("requests", "9", conditions=conditions, group_by="model")
    clockwork.record(*calls(10, 0, errors=2, latency_ms=20, model="quick"))
    clockwork.record(*calls(10, 0, errors=2, latency_ms=200, model="slow"))
    clockwork.record(*calls(10, 0, errors=1, latency_ms=20, model="sound"))
    assert clockwork.evaluate(10) == {"fired": 1}
    assert clockwork.alerts()["firing"][0]["group_key"] == "quick"


def test_without_calls_a_condition_on_a_share_does_not_hold(clockwork: Clockwork) -> None:
    share = [{"metric": "error_rate", "comparator": "below", "threshold": "0.5"}]
    count = [{"metric": "tokens", "comparator": "below", "threshold": "5"}]
    clockwork.rule("requests", "1", window_s=60, comparator="below", conditions=share, name="share")
    clockwork.rule("requests", "1", window_s=60, comparator="below", conditions=count, name="count")
    assert clockwork.evaluate(60) == {"ok": 1, "fired": 1}
    assert clockwork.alerts()["firing"][0]["rule_name"] == "count"


@pytest.mark.parametrize(
    "conditions",
    [
        [{"metric": "luck", "comparator": "above", "threshold": 1}],
        [{"metric": "pipeline_lag_s", "comparator": "above", "threshold": 1}],
        [{"metric": "route_requests", "comparator": "above", "threshold": 1}],
        [{"metric": "error_rate", "comparator": "above", "threshold": 2}],
        [{"metric": "requests", "comparator": "near", "threshold": 1}],
        [{"metric": "requests", "threshold": 1}],
        [{"metric": "requests", "comparator": "above", "threshold": 1, "colour": "red"}],
        [{"metric": "requests", "comparator": "above", "threshold": 1}] * 6,
        {"metric": "requests"},
    ],
)
def test_a_condition_that_makes_no_sense_is_refused(shared_door: Door, conditions: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        Clockwork(shared_door.service()).rule("spend", "1", conditions=conditions)


def test_a_change_is_measured_against_the_same_minutes_of_last_week(service: Clockwork) -> None:
    service.rule("spend_vs_last_week", "1.5", window_s=HOUR_S, critical_threshold="2")
    service.record(*calls(4, -WEEK_S - 1800), *calls(50, -WEEK_S + 10), *calls(50, -WEEK_S - HOUR_S - 10))
    service.record(*calls(6, -1800))
    assert service.evaluate(0) == {"ok": 1}  # 6 against 4 is 1.5, which is not above
    service.record(*calls(1, -60))
    assert service.evaluate(1) == {"fired": 1}
    (alert,) = service.alerts()["firing"]
    assert (alert["value"], alert["sample_count"], alert["severity"]) == ("1.75", 7, "warning")
    assert alert["evidence"] == {"now": "7", "last_week": "4", "last_week_sample": 4}


def test_a_fall_to_nothing_is_seen_and_a_week_without_calls_says_nothing(clockwork: Clockwork) -> None:
    clockwork.rule("requests_vs_last_week", "0.5", window_s=HOUR_S, comparator="below", minimum_sample=10)
    clockwork.record(*calls(9, -WEEK_S - 1800))
    assert clockwork.evaluate(0) == {"ok": 1}
    assert clockwork.alerts()["rules"][0]["value"] is None  # nine calls are too few to compare with
    clockwork.record(*calls(1, -WEEK_S - 1800))
    assert clockwork.evaluate(1) == {"fired": 1}
    assert clockwork.alerts()["firing"][0]["value"] == "0"


def test_the_hour_of_last_week_is_the_local_one_where_the_clocks_changed(clockwork: Clockwork) -> None:
    # Berlin left summer time on 25 October 2026: noon of the 26th is 11:00 UTC, of the 19th 10:00 UTC.
    noon = dt.datetime(2026, 10, 26, 11, 0, tzinfo=dt.UTC)
    second = (noon - NOON).total_seconds()
    clockwork.rule("requests_vs_last_week", "1", window_s=HOUR_S, timezone="Europe/Berlin")
    clockwork.record(*calls(2, second - 10), *calls(1, second - WEEK_S - HOUR_S - 10), *calls(8, second - WEEK_S - 10))
    clockwork.evaluate(second)
    assert clockwork.alerts()["rules"][0]["value"] == "2"


def test_a_burn_rate_fires_where_both_windows_burn_and_ends_with_the_short_one(service: Clockwork) -> None:
    # 99 % may be wanted: a rate of errors of 20 % burns twenty times as fast as allowed.
    service.channel("https://hooks.example.com/x")
    service.rule(
        "error_burn_rate",
        "14.4",
        window_s=HOUR_S,
        objective="0.99",
        severity="critical",
        minimum_sample=20,
        channels=[1],
    )
    service.record(*calls(100, -1800, errors=20))
    assert service.evaluate(0) == {"ok": 1}  # it is over: nothing burns in the last five minutes
    service.record(*calls(10, -60, errors=1))
    assert service.evaluate(5) == {"ok": 1}  # the short window burns at 10
    service.record(*calls(10, 10, errors=3))
    assert service.evaluate(20) == {"fired": 1}
    (alert,) = service.alerts()["firing"]
    # 24 of 120 in the hour, 4 of 20 in five minutes: 0.2 / 0.01 each.
    assert float(alert["value"]) == pytest.approx(20)
    assert (alert["severity"], alert["sample_count"]) == ("critical", 120)
    assert {key: alert["evidence"][key] for key in ("objective", "short_window_s", "long", "short")} == {
        "objective": "0.99", "short_window_s": 300, "long": "20", "short": "20"
    }  # fmt: skip
    (message,) = service.claim(21)
    text = render_message(message["payload"], dashboard_url=None, zone=ZoneInfo("UTC")).text
    assert "Objective: 99% good" in text
    assert "Long and short window: 20\N{MULTIPLICATION SIGN} and 20\N{MULTIPLICATION SIGN}" in text
    assert service.evaluate(400) == {"resolved": 1}  # the hour still burns at 20, the last five minutes do not


@pytest.mark.parametrize(("limit_ms", "value"), [("900", 50.0), ("1100", 10.0)])
def test_a_burn_rate_of_latency_counts_what_is_slower_than_the_objective(
    clockwork: Clockwork, limit_ms: str, value: float
) -> None:
    clockwork.rule(
        "latency_burn_rate", "1", window_s=HOUR_S, objective="0.98", objective_ms=limit_ms, group_by="feature"
    )
    for latency_ms, count in ((1000, 8), (2000, 2)):
        clockwork.record(*calls(count, 0, latency_ms=latency_ms, feature="chat"))
    clockwork.record(*calls(10, 0, latency_ms=100, feature="search"))
    assert clockwork.evaluate(10) == {"fired": 1}
    (alert,) = clockwork.alerts()["firing"]
    # All ten are slower than 900 ms, two than 1,100: 1 / 0.02 and 0.2 / 0.02.
    assert alert["group_key"] == "chat"
    assert float(alert["value"]) == pytest.approx(value)


@pytest.mark.parametrize(
    ("metric", "fields"),
    [
        ("error_burn_rate", {}),
        ("error_burn_rate", {"objective": "1"}),
        ("error_burn_rate", {"objective": "0.99", "objective_ms": "5"}),
        ("latency_burn_rate", {"objective": "0.99"}),
        ("error_burn_rate", {"objective": "0.99", "window_s": 660}),
        ("error_burn_rate", {"objective": "0.99", "comparator": "below"}),
        ("spend", {"objective": "0.99"}),
        ("spend_vs_last_week", {"period": "day", "window_s": 86_400}),
        ("spend_vs_last_week", {"window_s": 604_860}),
        ("spend", {"keep_firing_s": 86_401}),
        ("spend", {"cooldown_s": -1}),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(shared_door: Door, metric: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        Clockwork(shared_door.service()).rule(metric, "1", **{"window_s": HOUR_S, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"metric": "spend_vs_last_week"},
        {"metric": "error_burn_rate", "objective": "0.99", "window_s": HOUR_S},
        {"metric": "spend", "conditions": [{"metric": "requests", "comparator": "above", "threshold": 1}]},
    ],
)
def test_what_compares_is_not_back_tested_and_says_so(shared_door: Door, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="are not back-tested"):
        Clockwork(shared_door.service()).ask(
            "backtest_rule", rule={"name": "x", "threshold": "1", "window_s": 300, **fields}, as_of=at(0)
        )


@pytest.mark.parametrize(
    ("utc", "zone_says"),
    [
        ("2026-11-01T01:10", "02:10, of which last Sunday had two"),
        ("2026-04-05T01:10", "03:10, and the window begins in an hour that last Sunday did not have"),
        ("2026-04-05T00:30", "02:30, which last Sunday did not have"),
        ("2026-03-29T01:10", "03:10, twenty minutes after 01:50"),
    ],
)
def test_last_week_is_measured_over_a_window_as_long_wherever_the_clocks_changed(
    clockwork: Clockwork, utc: str, zone_says: str
) -> None:
    second = (dt.datetime.fromisoformat(f"{utc}+00:00") - NOON).total_seconds()
    clockwork.rule(
        "requests_vs_last_week", "0.9", window_s=1200, comparator="below", timezone="Europe/Berlin", name=zone_says
    )
    clockwork.record(*[call(second - 60 * minute - 30) for minute in range(20)])
    clockwork.record(*[call(second - WEEK_S - 60 * minute - 30) for minute in range(-100, 120)])
    assert clockwork.evaluate(second) == {"ok": 1}
    assert clockwork.alerts()["rules"][0]["value"] == "1"
