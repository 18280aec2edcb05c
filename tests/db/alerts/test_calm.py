"""Alerts that do not flap: keep firing for, cool-down, missing data; public bug reports tried on ours."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

from ingest.alerts.messages import render_message
from tests.support.clockwork import Clockwork, at, call

DAY_S = 86_400


def error(second: float, **fields: Any) -> dict[str, Any]:
    return call(second, status="error", error_type="timeout", **fields)


def states(clockwork: Clockwork) -> list[tuple[str, str]]:
    """From and to of each transition, oldest first."""
    return [(t["from_state"], t["to_state"]) for t in reversed(clockwork.alerts()["transitions"])]


def test_an_alert_keeps_firing_until_its_breach_has_been_over_for_long_enough(service: Clockwork) -> None:
    service.channel("https://hooks.example.com/x")
    service.rule("spend", "1.5", window_s=60, keep_firing_s=300, channels=[1])
    service.record(call(0), call(1))
    assert service.evaluate(10) == {"fired": 1}
    assert service.evaluate(120) == {"firing": 1}  # over since now
    assert dt.datetime.fromisoformat(service.alerts()["firing"][0]["recovering_since"]) == at(120)
    service.record(call(400), call(401))
    assert service.evaluate(410) == {"firing": 1}  # back within 300 s: the same alert
    assert service.alerts()["firing"][0]["recovering_since"] is None
    assert service.evaluate(500) == {"firing": 1}
    assert service.evaluate(799) == {"firing": 1}
    assert service.evaluate(800) == {"resolved": 1}
    assert service.outbox() == [("firing", "pending"), ("resolved", "pending")]


def test_within_the_cool_down_a_group_does_not_fire_again(service: Clockwork) -> None:
    service.rule("spend", "1.5", window_s=60, cooldown_s=600, group_by="model")
    service.record(call(0), call(1))
    assert service.evaluate(10) == {"fired": 1}
    assert service.evaluate(120) == {"resolved": 1}
    service.record(call(300), call(301), call(302, model="o3"), call(303, model="o3"))
    assert service.evaluate(310) == {"pending": 1, "fired": 1}  # the other model has not fired before
    service.record(*[call(second) for second in (700, 701, 719)])
    assert service.evaluate(719) == {"pending": 1, "resolved": 1}
    assert service.evaluate(720) == {"fired": 1}


def test_an_open_alert_without_data_stays_open_and_says_so(service: Clockwork) -> None:
    service.rule("error_rate", "0.5", window_s=60)
    service.record(error(0))
    assert service.evaluate(10) == {"fired": 1}
    assert service.evaluate(200) == {"firing": 1}
    assert service.evaluate(3620) == {"firing": 1}
    (alert,) = service.alerts()["firing"]
    assert (dt.datetime.fromisoformat(alert["no_data_since"]), alert["value"]) == (at(200), "1")
    notes = [t["note"] for t in service.alerts()["transitions"]]
    assert notes[0] == "nothing to measure; the alert stays open"
    assert len(notes) == 2
    service.record(call(4000))
    assert service.evaluate(4010) == {"resolved": 1}
    assert service.alerts()["history"][0]["resolution"] == "recovered"


def test_a_reminder_says_since_when_there_is_no_data(clockwork: Clockwork) -> None:
    clockwork.channel("https://hooks.example.com/x")
    clockwork.rule("error_rate", "0.5", window_s=60, renotify_s=3600, channels=[1])
    clockwork.record(error(0))
    clockwork.evaluate(10)
    (first,) = clockwork.claim(11)
    clockwork.finish(first["notification_id"], 12, ok=True)
    clockwork.evaluate(200)
    clockwork.evaluate(3620)
    (reminder,) = clockwork.claim(3621)
    text = render_message(reminder["payload"], dashboard_url=None, zone=ZoneInfo("UTC")).text
    assert "No data: since 2026-11-23 12:03; the alert stays open." in text


def test_a_group_that_never_comes_back_is_let_go_after_a_week(clockwork: Clockwork) -> None:
    clockwork.rule("error_rate", "0.5", window_s=60, group_by="model")
    clockwork.record(error(0))
    clockwork.evaluate(10)
    assert clockwork.evaluate(200) == {"firing": 1}
    assert clockwork.evaluate(200 + 7 * DAY_S - 1) == {"firing": 1}
    assert clockwork.evaluate(200 + 7 * DAY_S) == {"resolved": 1}


def test_missing_data_does_not_fire_what_was_only_pending(clockwork: Clockwork) -> None:
    clockwork.rule("error_rate", "0.5", window_s=60, for_s=300)
    clockwork.record(error(0))
    assert clockwork.evaluate(10) == {"pending": 1}
    assert clockwork.evaluate(400) == {"pending": 1}
    clockwork.record(call(500))
    assert clockwork.evaluate(510) == {"ok": 1}


def test_prometheus_17482_missing_samples_send_no_resolved(clockwork: Clockwork) -> None:
    """https://github.com/prometheus/prometheus/issues/17482: a target that goes away is reported as resolved."""
    clockwork.channel("https://hooks.example.com/x")
    clockwork.rule("p90_latency_ms", "1000", window_s=60, channels=[1])
    clockwork.record(call(0, latency_ms=9000))
    clockwork.evaluate(10)
    for second in (300, 600, 3600):
        assert clockwork.evaluate(second) == {"firing": 1}
    clockwork.record(call(3700, latency_ms=9000))
    assert clockwork.evaluate(3710) == {"firing": 1}
    assert clockwork.outbox() == [("firing", "pending")]


def test_grafana_105571_a_missing_series_is_neither_resolved_nor_fired_anew(clockwork: Clockwork) -> None:
    """https://github.com/grafana/grafana/issues/105571: "keep last state" and yet Resolved, then Firing again."""
    clockwork.channel("https://hooks.example.com/x")
    clockwork.rule("error_rate", "0.5", window_s=60, group_by="feature", channels=[1])
    clockwork.record(error(0, feature="edge"), call(0, feature="cloud"))
    assert clockwork.evaluate(10) == {"fired": 1}
    clockwork.record(call(400, feature="cloud"))
    assert clockwork.evaluate(410) == {"firing": 1}  # the other series goes on, this one is gone
    clockwork.record(error(900, feature="edge"))
    assert clockwork.evaluate(910) == {"firing": 1}
    assert clockwork.outbox() == [("firing", "pending")]


def test_grafana_46912_a_pending_alert_begins_anew_when_its_value_was_fine(clockwork: Clockwork) -> None:
    """https://github.com/grafana/grafana/issues/46912: a value that flaps at the rate of the checks stays pending."""
    clockwork.rule("error_rate", "0.5", window_s=60, for_s=300)
    clockwork.evaluate(0)
    outcomes = []
    for number in range(8):
        second = 120 * number + 60
        clockwork.record(call(second) if number % 2 else error(second))
        outcomes.append(clockwork.evaluate(second + 60))
    assert outcomes == [{"pending": 1}, {"ok": 1}] * 4


def test_prometheus_13957_keep_firing_for_outlives_the_worker(clockwork: Clockwork) -> None:
    """https://github.com/prometheus/prometheus/issues/13957: after a restart the alert ends at once, or begins anew."""
    clockwork.channel("https://hooks.example.com/x")
    clockwork.rule("spend", "1.5", window_s=60, keep_firing_s=600, channels=[1])
    clockwork.record(call(0), call(1))
    clockwork.evaluate(10)
    clockwork.evaluate(120)
    # All of the state is in the database; another worker, or the same after its restart, goes on with it.
    successor = Clockwork(clockwork.database)
    assert successor.evaluate(719) == {"firing": 1}
    assert successor.evaluate(720) == {"resolved": 1}
    assert states(successor) == [("ok", "firing"), ("firing", "resolved")]


def test_grafana_16290_missing_data_respects_the_time_before_firing(clockwork: Clockwork) -> None:
    """https://github.com/grafana/grafana/issues/16290: no data fires at once, whatever "for" says."""
    clockwork.rule("error_rate", "0.5", window_s=60, for_s=300, no_data="firing")
    clockwork.record(call(0))
    assert clockwork.evaluate(10) == {"ok": 1}
    assert clockwork.evaluate(200) == {"pending": 1}
    assert clockwork.evaluate(499) == {"pending": 1}
    assert clockwork.evaluate(500) == {"fired": 1}


def test_posthog_91700_an_empty_trailing_minute_is_no_drop(clockwork: Clockwork) -> None:
    """https://github.com/PostHog/posthog/issues/91700: the bucket that has just begun reads as zero and fires."""
    clockwork.rule("requests", "2", window_s=60, comparator="below")
    clockwork.rule("requests_vs_last_week", "0.5", window_s=60, comparator="below", name="change")
    clockwork.record(*[call(second - 7 * DAY_S) for second in (0, 20, 40, 60, 80, 100)])
    clockwork.record(*[call(second) for second in (0, 20, 40, 60, 80, 100)])
    for second in (60, 61, 119, 120, 125):
        assert clockwork.evaluate(second) == {"ok": 2}
