"""Values of the metrics that the database cannot compute: how unusual something is, and what a budget will have used.

Each rule with such a metric is asked for by `get_computed_rules` and answered by `record_metric_values`; the rest, from
the threshold to the message, is the database's as for any other rule.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from ingest.alerts.metrics import metric_named
from ingest.alerts.unusual import unusual_figures
from ingest.database import fetch
from ingest.documents.alerts import AlertRule
from ingest.documents.settings import Budget, Configuration
from ingest.forecasting.series import explain_forecast, read_forecast

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import JsonValue

    from ingest.database import Database

logger = logging.getLogger("treering.alerts")

# The job runs every five minutes; a worker that is away for longer leaves no stale verdict standing.
VALID_S = 1800


def write_computed_metrics(database: Database, *, now: datetime) -> int:
    """Compute and store the value of every rule that needs it; a rule that fails does not stop the rest.

    Args:
        database: Opened as service_role.
        now: The time as of which rules are evaluated, aware.

    Returns:
        How many rules were answered.

    Raises:
        Exception: The last failure, after all rules had their turn.
    """
    rules = fetch(database, list[AlertRule], "get_computed_rules")
    budgets = _read_budgets(database) if any(rule.budget_id is not None for rule in rules) else {}
    answered, failure = 0, None
    for rule in rules:
        try:
            if metric_named(rule.metric).minimum_change:
                figures = unusual_figures(database, rule, now=now)
            elif rule.budget_id in budgets and budgets[rule.budget_id].period == "month":
                figures = forecast_figures(database, budgets[rule.budget_id], now=now)
            else:
                continue  # a day's or a week's budget goes by the run rate, which the database knows
            database.call(
                "record_metric_values", rule_id=rule.rule_id, figures=figures, as_of=now.isoformat(), valid_s=VALID_S
            )
            answered += 1
        except Exception as error:  # noqa: BLE001 -- raised below
            logger.warning("rule %d could not be computed: %s", rule.rule_id, error)
            failure = error
    if failure is not None:
        raise failure
    return answered


def _read_budgets(database: Database) -> dict[int, Budget]:
    settings = fetch(database, Configuration, "get_settings")
    return {budget.budget_id: budget for budget in settings.budgets}


def forecast_figures(database: Database, budget: Budget, *, now: datetime) -> list[JsonValue]:
    """The share of a monthly budget that its month will have used."""
    forecast = read_forecast(database, budget.scope, now=now, zone=ZoneInfo(budget.timezone))
    if forecast is None:
        return []
    local = now.astimezone(ZoneInfo(budget.timezone))
    start = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return [
        {
            "window_start": start.isoformat(),
            "window_end": now.isoformat(),
            "value": round(forecast.expected / float(budget.amount), 6),
            "evidence": {
                "budget": budget.name,
                "amount": str(budget.amount),
                "spent": f"{forecast.spent:.6g}",
                "forecast": f"{forecast.expected:.6g}",
                "low": forecast.low,
                "high": forecast.high,
                "method": forecast.basis,
                "explanation": explain_forecast(forecast),
            },
        }
    ]
