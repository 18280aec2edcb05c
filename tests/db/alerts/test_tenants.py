"""Alert rules and budgets by tenant and tag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ingest.alerts.rules import BudgetDraft, RuleDraft
from ingest.errors import InvalidArgumentError
from tests.support.clockwork import Clockwork, call

if TYPE_CHECKING:
    from tests.support.doors import Door

QUARTER_S = 900
PRO = {"plan": "pro"}


@pytest.fixture
def spent(direct: Door) -> Clockwork:
    """Acme spends 6 dollars in a quarter of an hour, bolt 3, and nobody's calls cost 20."""
    service = Clockwork(direct.service())
    service.record(
        call(-600, cost="2", tenant_id="acme", user_id="user-1"),
        call(-500, cost="4", tenant_id="acme", user_id="user-2", tags=PRO),
        call(-400, cost="3", tenant_id="bolt", user_id="user-1", tags=PRO),
        call(-300, cost="20", user_id="user-3"),
    )
    return service


def firing(service: Clockwork) -> list[tuple[str, str, float]]:
    found: list[dict[str, Any]] = service.alerts()["firing"]
    return sorted((alert["rule_name"], alert["group_key"], float(alert["value"])) for alert in found)


def test_a_rule_groups_by_tenant_or_tag_and_leaves_calls_without_one_aside(spent: Clockwork) -> None:
    for name, group in (("tenants", "tenant_id"), ("plans", "tags.plan")):
        rule = {"name": name, "metric": "spend", "threshold": "2.5", "window_s": QUARTER_S, "group_by": group}
        spent.ask("save_alert_rule", rule=RuleDraft.model_validate(rule).model_dump(mode="json"))
    spent.evaluate(30)
    assert firing(spent) == [("plans", "pro", 7.0), ("tenants", "acme", 6.0), ("tenants", "bolt", 3.0)]


def test_a_scope_by_tenant_and_tag_measures_its_calls_alone(spent: Clockwork) -> None:
    scopes = {"acme": {"tenant_id": ["acme"]}, "acme pro": {"tenant_id": ["acme"], "tags.plan": ["pro"]},
              "both": {"tenant_id": ["acme", "bolt"], "user_id": ["user-1"]}}  # fmt: skip
    for name, scope in scopes.items():
        spent.rule("spend", "1", name=name, window_s=QUARTER_S, scope=scope)
    spent.evaluate(30)
    assert firing(spent) == [("acme", "", 6.0), ("acme pro", "", 4.0), ("both", "", 5.0)]
    past = spent.ask("backtest_rule", rule=spent_rule(scopes["acme pro"]), days=1, as_of="2026-11-23T12:00:30+00:00")
    assert [float(one["value"]) for one in past["firings"]] == [4.0]


def spent_rule(scope: dict[str, list[str]]) -> dict[str, Any]:
    return {"name": "past", "metric": "spend", "threshold": "1", "window_s": QUARTER_S, "scope": scope}


def test_a_tenant_has_a_budget_of_its_own(spent: Clockwork) -> None:
    budget = BudgetDraft(name="Acme", amount="6", period="day", scope={"tenant_id": ["acme"]}, forecast_step=None)
    spent.ask("save_budget", budget=budget.model_dump(mode="json", exclude_none=True))
    spent.evaluate(30)
    assert 1.0 in {value for _, _, value in firing(spent)}


@pytest.mark.parametrize(
    "fields",
    [{"scope": {"tags.Plan": ["x"]}}, {"group_by": "tags."}, {"group_by": "tenant_id", "window_s": 300}],
)
def test_a_rule_that_names_no_tag_or_too_short_a_window_is_refused(direct: Door, fields: dict[str, Any]) -> None:
    rule = {"name": "a", "metric": "spend", "threshold": "1", "window_s": QUARTER_S, **fields}
    with pytest.raises(InvalidArgumentError):
        direct.service().call("save_alert_rule", rule=rule)
    with pytest.raises(ValueError, match=r"scope|group_by|quarter"):
        RuleDraft.model_validate(rule)
