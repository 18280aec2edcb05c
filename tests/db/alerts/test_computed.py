"""Anomalies and forecasts, from the rollups to the message."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from ingest.alerts.computed import write_computed_metrics
from ingest.alerts.messages import render_message
from ingest.errors import DatabaseUnavailableError
from tests.support.events import store, usage_event
from tests.support.scripted_database import ScriptedDatabase

if TYPE_CHECKING:
    from tests.support.clockwork import Clockwork

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)  # a Monday
SECONDS = (NOW - datetime(2026, 11, 23, 12, tzinfo=UTC)).total_seconds()


def spend(service: Clockwork, *, now_cost: str, **fields: Any) -> None:
    """Five weeks: two dollars in an hour of office, twenty cents else, and this hour's."""
    rng = random.Random(1)
    events = []
    for number in range(1, 5 * 168):
        at = NOW.replace(minute=0) - timedelta(hours=number)
        busy = 9 <= at.hour < 18 and at.weekday() < 5
        cost = (2.0 if busy else 0.2) * rng.lognormvariate(0, 0.1)
        events.append(usage_event(created_at=at, estimated_cost=f"{cost:.4f}", **fields))
    events.append(usage_event(created_at=NOW - timedelta(minutes=5), estimated_cost=now_cost, **fields))
    store(service.database, *events)


def states(service: Clockwork) -> list[dict[str, Any]]:
    return list(service.alerts()["firing"])


def test_spend_beyond_the_usual_fires_and_says_why(service: Clockwork) -> None:
    service.channel("https://hooks.example.com/x")
    service.rule("anomaly", "1", channels=[1], name="Unusual spend")
    spend(service, now_cost="8.2")
    assert write_computed_metrics(service.database, now=NOW) == 1
    service.evaluate(SECONDS)
    (alert,) = states(service)
    assert float(alert["value"]) > 1
    why = str(alert["evidence"]["explanation"])
    assert "\N{MULTIPLICATION SIGN} the usual for Monday 09:00, expected" in why
    (message,) = service.claim(SECONDS)
    rendered = render_message(message["payload"], dashboard_url=None, zone=ZoneInfo("UTC"))
    assert why in rendered.text


def test_usual_spend_does_not_fire(service: Clockwork) -> None:
    service.rule("anomaly", "1")
    spend(service, now_cost="1.9")
    write_computed_metrics(service.database, now=NOW)
    service.evaluate(SECONDS)
    assert states(service) == []


def test_each_group_is_judged_by_its_own_history(service: Clockwork) -> None:
    service.rule("anomaly", "1", group_by="feature")
    spend(service, now_cost="9", feature="search")
    spend(service, now_cost="2", feature="chat")
    write_computed_metrics(service.database, now=NOW)
    service.evaluate(SECONDS)
    assert [alert["group_key"] for alert in states(service)] == ["search"]


def test_a_young_series_is_no_anomaly(service: Clockwork) -> None:
    service.rule("anomaly", "1")
    store(service.database, usage_event(created_at=NOW - timedelta(minutes=5), estimated_cost="50"))
    write_computed_metrics(service.database, now=NOW)
    service.evaluate(SECONDS)
    assert states(service) == []


def hold(service: Clockwork) -> dict[str, Any]:
    """Let a forecast of the month last as long as it must before it fires."""
    for hours in (0, 12):
        assert states(service) == [alert for alert in states(service) if alert["metric"] == "budget_used"]
        assert write_computed_metrics(service.database, now=NOW + timedelta(hours=hours)) == 1
        service.evaluate(SECONDS + hours * 3600)
    return next(alert for alert in states(service) if alert["metric"] == "budget_forecast")


def test_a_budget_tells_of_the_month_that_is_expected(service: Clockwork) -> None:
    service.channel("https://hooks.example.com/x")
    service.ask("save_budget", budget={"name": "AI", "amount": "300", "period": "month", "channels": [1]})
    spend(service, now_cost="2")  # some 400 dollars a month
    forecast = hold(service)
    assert 1.2 < float(forecast["value"]) < 1.6
    assert forecast["evidence"]["method"] == "seasonal"
    assert "by the end of the month" in forecast["evidence"]["explanation"]
    assert "80% confidence" in forecast["evidence"]["explanation"]


def test_a_month_without_spend_has_no_forecast(service: Clockwork) -> None:
    service.ask("save_budget", budget={"name": "AI", "amount": "300", "period": "month"})
    assert write_computed_metrics(service.database, now=NOW) == 1
    service.evaluate(SECONDS)
    assert states(service) == []


@pytest.mark.parametrize(("period", "expected"), [("day", 21.0), ("week", 5 * 21 + 2 * 4.8)])
def test_a_budget_of_a_day_or_week_goes_by_the_hours_of_the_week(
    service: Clockwork, period: str, expected: float
) -> None:
    service.ask("save_budget", budget={"name": "AI", "amount": "10", "period": period})
    spend(service, now_cost="2")
    assert write_computed_metrics(service.database, now=NOW) == 1
    service.evaluate(SECONDS)
    (rule,) = [rule for rule in service.alerts()["rules"] if rule["metric"] == "budget_forecast"]
    # Nine hours at $2 and fifteen at $0.20 are $21 on five days, $4.80 on each of two; the noise has a mean of 1.005.
    assert float(rule["value"]) * 10 == pytest.approx(expected, rel=0.05)
    assert rule["state"] == "pending"
    (budget,) = service.ask("get_settings")["budgets"]
    assert float(budget["forecast"]) == pytest.approx(float(rule["value"]))


def test_a_short_month_says_what_the_forecast_rests_on(service: Clockwork) -> None:
    service.ask("save_budget", budget={"name": "AI", "amount": "3", "period": "month"})
    store(service.database, usage_event(created_at=NOW - timedelta(days=2), estimated_cost="5"))
    forecast = hold(service)
    assert "at this pace; the history is too short for a forecast" in forecast["evidence"]["explanation"]


def test_a_rule_that_fails_does_not_stop_the_others() -> None:
    rule = {"name": "x", "metric": "anomaly", "window_s": 3600, "threshold": "1"}
    rules: Any = [{**rule, "rule_id": number} for number in (1, 2)]
    database = ScriptedDatabase(
        get_computed_rules=[rules],
        get_outlier_series=[DatabaseUnavailableError("gone"), {"minimum_change": "1", "groups": []}],
        record_metric_values=[None],
    )
    with pytest.raises(DatabaseUnavailableError, match="gone"):
        write_computed_metrics(database, now=NOW)
    (written,) = database.arguments_of("record_metric_values")
    assert (written["rule_id"], written["figures"]) == (2, [])
