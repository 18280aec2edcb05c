"""Values of the metrics that the database cannot compute: how unusual something is, and what a budget will have used.

Each rule with such a metric is asked for by `get_computed_rules` and answered by `record_metric_values`; the rest, from
the threshold to the message, is the database's as for any other rule.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from ingest.alerts.metrics import metric_named
from ingest.alerts.unusual import unusual_figures
from ingest.database import fetch
from ingest.documents.alerts import AlertRule
from ingest.documents.settings import Budget, Configuration
from ingest.forecasting.forecast import MonthForecast
from ingest.forecasting.period import PeriodForecast, forecast_period
from ingest.forecasting.series import (
    HOUR,
    explain_forecast,
    explain_period,
    hour_of,
    read_forecast,
    read_series,
)

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.database import Database

logger = logging.getLogger("treering.alerts")

# What the profile of an hour of the week is made of, and the back-tests of its error.
PERIOD_HISTORY = timedelta(days=56)

# How many times as wide as the interval that is shown the one is that decides. A month's holds 80 % and no more.
_TIMES = 2.0
_MONTH_TIMES = 2.3

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
            elif rule.budget_id in budgets:
                figures = forecast_figures(database, budgets[rule.budget_id], now=now)
            else:
                continue  # deleted meanwhile
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
    """The share of a budget that its running day, week or month will have used."""
    zone = ZoneInfo(budget.timezone)
    start, end = period_of(budget.period, now, zone)
    forecast: MonthForecast | PeriodForecast | None
    if budget.period == "month":
        forecast = read_forecast(database, budget.scope, now=now, zone=zone)
        explanation = None if forecast is None else explain_forecast(forecast)
    else:
        points = read_series(database, hour_of(now) - PERIOD_HISTORY, hour_of(now) + HOUR, budget.scope, bucket="hour")
        spend = {point.bucket_start: float(point.cost or 0) for point in points}
        forecast = forecast_period(spend, now, start, end)
        explanation = None if forecast is None else explain_period(forecast, budget.period)
    if forecast is None:
        return []
    return [forecast_figure(budget, forecast, explanation, start=start, now=now)]


def forecast_figure(
    budget: Budget, forecast: MonthForecast | PeriodForecast, explanation: str | None, *, start: datetime, now: datetime
) -> JsonValue:
    """Write a forecast as a figure.

    Whether it fires goes by `certain`: the lower end of an interval at least twice as wide (of what is to come, as a
    ratio) as the one that is shown. Of months that end within their budget hardly one is told otherwise; see
    docs/alerts.md.
    """
    amount = float(budget.amount)
    rest = forecast.expected - forecast.spent
    is_month = isinstance(forecast, MonthForecast) and forecast.basis == "seasonal"
    times = _MONTH_TIMES if is_month else _TIMES
    share = (forecast.low - forecast.spent) / rest if rest > 0 else 0.0
    certain = forecast.spent + rest * share**times
    return {
        "window_start": start.isoformat(),
        "window_end": now.isoformat(),
        "value": round(forecast.expected / amount, 6),
        "evidence": {
            "budget": budget.name,
            "amount": str(budget.amount),
            "spent": f"{forecast.spent:.6g}",
            "forecast": f"{forecast.expected:.6g}",
            "low": forecast.low,
            "high": forecast.high,
            "certain": round(certain / amount, 6),
            "method": forecast.basis,
            "explanation": explanation,
        },
    }


def period_of(period: str, now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Beginning and end of the calendar day, week (from Monday) or month of a moment in a zone, in UTC."""
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    start = {"day": today, "week": today - timedelta(days=today.weekday()), "month": today.replace(day=1)}[period]
    days = {"day": 1, "week": 7, "month": 32}[period]
    end = start + timedelta(days=days)
    if period == "month":
        end = end.replace(day=1)
    return start.replace(tzinfo=zone).astimezone(UTC), end.replace(tzinfo=zone).astimezone(UTC)
