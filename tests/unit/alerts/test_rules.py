from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ingest.alerts.rules import BudgetDraft, RuleDraft, preset_rules

RULE: dict[str, Any] = {"name": "x", "metric": "spend", "threshold": "1"}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"metric": "luck"}, "unknown metric luck: choose one of spend, tokens"),
        ({"window_s": 90}, "multiple of 60"),
        ({"threshold": "NaN"}, "threshold"),
        ({"metric": "error_rate", "threshold": "1.5"}, "a rate or share is a fraction"),
        ({"critical_threshold": "1"}, "a critical threshold lies beyond"),
        ({"comparator": "below", "critical_threshold": "2"}, "a critical threshold lies beyond"),
        ({"resolve_threshold": "2"}, "on the safe side"),
        ({"comparator": "below", "resolve_threshold": "0.5"}, "on the safe side"),
        ({"timezone": "Mars/Olympus"}, "an IANA time zone"),
        ({"scope": {"route": ["/x"]}}, "spend has no scope route"),
        ({"metric": "pipeline_lag_s", "scope": {"model": ["x"]}}, "pipeline_lag_s has no scope model"),
        ({"metric": "p99_route_latency_ms", "group_by": "model"}, "groups only by environment, route"),
        ({"group_by": "route"}, "spend has groups only by"),
        ({"metric": "pipeline_lag_s", "group_by": "model"}, "pipeline_lag_s has no groups"),
        ({"metric": "provider_drift", "group_by": "model"}, "provider_drift has no groups"),
        ({"metric": "budget_used"}, "a budget's metric has a budget"),
        ({"budget_id": 1}, "a budget's metric has a budget"),
        ({"group_by": "user_id", "window_s": 300}, "quarter of an hour"),
        ({"scope": {"user_id": ["a"]}, "window_s": 300}, "quarter of an hour"),
        ({"period": "day", "comparator": "below"}, "starts empty"),
        ({"minimum_change": "1"}, "only a rule on what is unusual"),
        ({"metric": "anomaly", "minimum_change": "-1"}, "greater than or equal to 0"),
        ({"metric": "anomaly_requests_below", "group_by": "user_id", "window_s": 900}, "has groups only by"),
        ({"no_data": "firing", "group_by": "model"}, "does not fire on missing data"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_before_it_is_sent(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        RuleDraft.model_validate({**RULE, **fields})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"amount": "0"}, "greater than 0"),
        ({"steps": ["0.9", "0.5"]}, "distinct and ascending"),
        ({"steps": []}, "at least 1"),
        ({"scope": {"route": ["/x"]}}, "a budget has no scope route"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        BudgetDraft.model_validate({"name": "x", "amount": "100", **fields})


def test_presets_are_valid_and_named_once() -> None:
    rules = preset_rules("Europe/Berlin", [1])
    assert len({rule.name for rule in rules}) == len(rules) == 10
    assert {(rule.timezone, *rule.channels) for rule in rules} == {("Europe/Berlin", 1)}


def test_money_travels_as_text() -> None:
    assert RuleDraft.model_validate(RULE).model_dump(mode="json")["threshold"] == "1"
