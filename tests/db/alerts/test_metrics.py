"""The table of metrics in Python and what the database checks and measures are the same."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ingest.alerts.metrics import CALL_SCOPE, CALLS, METRICS, ROUTE_SCOPE, ROUTES, Metric, Unit
from ingest.errors import InvalidArgumentError
from tests.support.clockwork import NOON, Clockwork, at, call
from tests.support.events import performance_event

if TYPE_CHECKING:
    from tests.support.doors import Door

DAY_S = 86_400
COUNTED = (Unit.USD, Unit.TOKENS, Unit.CALLS, Unit.REQUESTS)
GROUPS = ("user_id", "tenant_id", "feature", "model", "provider", "environment", "route")

# Four calls of 150 tokens: three cost a dollar, one has no price; two counted tokens; one failed. Two requests, one
# failed. Yesterday 3 dollars were recorded and 4 billed. A budget of 12 dollars a day; of it half the day has passed.
MEASURED = {
    "spend": 3.0,
    "tokens": 600.0,
    "requests": 4.0,
    "error_rate": 0.25,
    "unpriced_share": 0.25,
    "estimated_share": 0.5,
    "route_requests": 2.0,
    "route_error_rate": 0.5,
    "provider_drift": 0.25,
    "pipeline_lag_s": 0.0,
    "new_saving": 0.0,
    "undelivered_messages": 0.0,
    "budget_used": 0.25,
    "budget_forecast": 0.5,
    **{metric.name: 1.5 for metric in METRICS.values() if metric.minimum_change},
    **{f"p{quantile}_latency_ms": 100.0 for quantile in (50, 90, 99)},
    **{f"p{quantile}_time_to_first_token_ms": 40.0 for quantile in (50, 90, 99)},
    **{f"p{quantile}_route_latency_ms": 300.0 for quantile in (50, 90, 99)},
    **{f"p{quantile}_route_time_to_first_byte_ms": 60.0 for quantile in (50, 90, 99)},
    # Last week two calls at $1, one of them an error, half as slow, and one request.
    "spend_vs_last_week": 1.5,
    "tokens_vs_last_week": 2.0,
    "requests_vs_last_week": 2.0,
    "error_rate_vs_last_week": 0.5,
    **{f"p{quantile}_latency_ms_vs_last_week": 2.0 for quantile in (50, 90, 99)},
    "route_requests_vs_last_week": 2.0,
    # Half of the calls may be bad: a quarter fails and all are too slow, of the requests half fail.
    "error_burn_rate": 0.5,
    "latency_burn_rate": 2.0,
    "route_error_burn_rate": 1.0,
    "route_latency_burn_rate": 2.0,
}


def objective_of(metric: Metric) -> dict[str, str]:
    """What a rule on a burn rate needs."""
    if not metric.is_burn:
        return {}
    return {"objective": "0.5", **({"objective_ms": "50"} if metric.has_objective_ms else {})}


def test_the_database_knows_the_names_and_kinds_of_the_table(direct: Door) -> None:
    with psycopg.connect(direct.database.superuser_url) as connection:
        row = connection.execute("select observability_internal.metric_kinds()").fetchone()
    assert row is not None
    kinds = row[0]
    assert kinds.keys() == METRICS.keys()
    shares = {metric.name for metric in METRICS.values() if metric.unit is Unit.SHARE}
    assert {name for name, kind in kinds.items() if kind == "share"} == shares
    amounts = {metric.name for metric in METRICS.values() if metric.unit in COUNTED and metric.of in (CALLS, ROUTES)}
    assert {name for name, kind in kinds.items() if kind == "amount"} == amounts
    assert {kind for name, kind in kinds.items() if re.match("p[0-9]+_.*ms$", name)} == {"quantile"}
    assert {name for name, kind in kinds.items() if kind == "change"} == {
        name for name in METRICS if name.endswith("_vs_last_week")
    }
    assert {name for name, kind in kinds.items() if kind == "burn"} == {
        metric.name for metric in METRICS.values() if metric.is_burn
    }


def test_the_database_measures_every_metric_of_the_table(service: Clockwork) -> None:
    assert MEASURED.keys() == METRICS.keys()
    for metric in METRICS.values():
        if not metric.of.is_budget:
            window_s = max(metric.of.shortest_window_s, 300)
            service.rule(metric.name, "1", name=metric.name, window_s=window_s, **objective_of(metric))
    service.ask("save_budget", budget={"name": "Day", "amount": "12", "period": "day"})
    spent: dict[str, Any] = {
        "latency_ms": 100.0,
        "time_to_first_token_ms": 40.0,
        "prompt_tokens": 100,
        "completion_tokens": 50,
    }
    service.record(
        call(0, **spent),
        call(0, **spent, usage_source="heuristic"),
        call(0, **spent, cost=None, usage_source="tokenizer"),
        call(0, **spent, status="error", error_type="timeout"),
        call(-DAY_S, cost="3"),
        call(-7 * DAY_S, **{**spent, "latency_ms": 50.0}),
        call(-7 * DAY_S, **{**spent, "latency_ms": 50.0}, status="error", error_type="timeout"),
    )
    for created_at, status_code in ((NOON, 200), (NOON, 503), (at(-7 * DAY_S), 200)):
        request = performance_event(
            created_at=created_at, latency_ms=300.0, time_to_first_byte_ms=60.0, status_code=status_code
        )
        service.database.call("record_performance", events=[request])
    service.database.call("roll_up")
    bill = {"source": "api", "kind": "cost", "line_item": "gpt-4o, input", "currency": "usd", "amount": "4"}
    service.database.call("record_provider_costs", rows=[{**bill, "day": at(-DAY_S).date().isoformat()}])
    computed: Any = {"value": 1.5, "window_start": NOON.isoformat(), "window_end": NOON.isoformat()}
    for name in (metric.name for metric in METRICS.values() if metric.minimum_change):
        service.database.call(
            "record_metric_values", rule_id=number_of(service, name), figures=[computed], as_of=NOON.isoformat()
        )
    service.evaluate(70)  # a comparison with last week sees whole minutes only
    measured = {rule["metric"]: rule["value"] for rule in rules(service)}
    assert {name: float(value) for name, value in measured.items()} == pytest.approx(MEASURED, rel=0.01)


def rules(clockwork: Clockwork) -> list[dict[str, Any]]:
    return list(clockwork.alerts()["rules"])


def number_of(clockwork: Clockwork, name: str) -> int:
    (number,) = (rule["rule_id"] for rule in rules(clockwork) if rule["name"] == name)
    return int(number)


def is_taken(clockwork: Clockwork, metric: Metric, **fields: Any) -> bool:
    rule = {"name": "x", "metric": metric.name, "threshold": "1", "window_s": metric.of.longest_window_s}
    rule |= objective_of(metric) | fields
    try:
        saved = clockwork.ask("save_alert_rule", rule=rule)
    except InvalidArgumentError:
        return False
    clockwork.database.call("delete_alert_rule", rule_id=saved["rule_id"])
    return True


@pytest.mark.parametrize("name", [metric.name for metric in METRICS.values() if not metric.of.is_budget])
def test_the_database_takes_the_groups_and_scopes_of_the_table_and_no_others(
    shared_clockwork: Clockwork, name: str
) -> None:
    metric = METRICS[name]
    scopes = {scope for scope in CALL_SCOPE | ROUTE_SCOPE if is_taken(shared_clockwork, metric, scope={scope: ["x"]})}
    assert scopes == metric.of.scope
    groups = {group for group in GROUPS if is_taken(shared_clockwork, metric, group_by=group)}
    # The difference from a bill has no groups; the database ignores them, the form does not offer them.
    assert groups == metric.of.groups or (name == "provider_drift" and not metric.of.groups)


def test_a_window_too_short_for_a_bill_is_refused(shared_clockwork: Clockwork) -> None:
    shortest = METRICS["provider_drift"].of.shortest_window_s
    assert dt.timedelta(seconds=shortest) == dt.timedelta(days=2)
    assert is_taken(shared_clockwork, METRICS["provider_drift"], window_s=shortest)
    assert not is_taken(shared_clockwork, METRICS["provider_drift"], window_s=shortest - DAY_S)
