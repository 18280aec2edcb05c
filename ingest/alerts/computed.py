"""Values of the metrics that the database cannot compute: how unusual spend is, and what a budget will have used.

Each rule with such a metric is asked for by `get_outside_rules` and answered by `record_metric_values`; the rest, from
the threshold to the message, is the database's as for any other rule.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal  # noqa: TC003 -- pydantic reads the annotations at run time
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from ingest.forecasting.anomaly import Verdict, fill_gaps, judge
from ingest.forecasting.forecast import CONFIDENCE, MonthForecast, forecast_month

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from pydantic import JsonValue

    from ingest.database import Database

logger = logging.getLogger(__name__)

# Eight weeks show each hour of the week eight times.
ANOMALY_HISTORY = timedelta(days=56)
FORECAST_HISTORY = timedelta(days=182)

# The job runs every five minutes; a worker that is away for longer leaves no stale verdict standing.
VALID_S = 1800

_HOUR = timedelta(hours=1)


class Budget(BaseModel):
    """What is needed of a budget."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    budget_id: int
    name: str
    amount: Decimal
    period: str
    timezone: str
    scope: dict[str, list[str]] = Field(default_factory=dict)


class Rule(BaseModel):
    """What is needed of a rule."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rule_id: int
    metric: str
    timezone: Annotated[str, BeforeValidator(lambda value: value or "UTC")] = "UTC"
    scope: dict[str, list[str]] = Field(default_factory=dict)
    group_by: str | None = None
    budget_id: int | None = None


class Point(BaseModel):
    """One bucket of a series."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    bucket_start: AwareDatetime
    key: str | None = None
    is_other: bool = False
    requests: int = 0
    cost: Decimal | None = None


_rules = TypeAdapter(list[Rule])
_budgets = TypeAdapter(list[Budget])
_points = TypeAdapter(list[Point])


def write_outside_metrics(database: Database, *, now: datetime) -> int:
    """Compute and store the value of every rule that needs it; a rule that fails does not stop the rest.

    Args:
        database: Opened as service_role.
        now: The time as of which rules are evaluated, aware.

    Returns:
        How many rules were answered.

    Raises:
        Exception: The last failure, after all rules had their turn.
    """
    rules = _rules.validate_python(database.call("get_outside_rules"))
    settings = database.call("get_settings") if any(rule.budget_id is not None for rule in rules) else {}
    assert isinstance(settings, dict)
    budgets = {one.budget_id: one for one in _budgets.validate_python(settings.get("budgets") or [])}
    answered, failure = 0, None
    for rule in rules:
        try:
            if rule.metric == "anomaly":
                figures = anomaly_figures(database, rule, now=now)
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


def anomaly_figures(database: Database, rule: Rule, *, now: datetime) -> list[JsonValue]:
    """How unusual the spend of a rule's scope is, for each of its groups."""
    to_time = _hour_of(now) + _HOUR
    from_time = to_time - ANOMALY_HISTORY
    points = read_series(database, from_time, to_time, rule.scope, bucket="hour", group_by=rule.group_by)
    groups: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        if not point.is_other:
            groups[point.key or ""].append(point)
    zone = ZoneInfo(rule.timezone)
    return [anomaly_figure(key, group, now=now, zone=zone) for key, group in groups.items()]


def anomaly_figure(key: str, points: Sequence[Point], *, now: datetime, zone: ZoneInfo) -> JsonValue:
    """Judge the last whole hour and the running one.

    The value is the score of spend above the usual: an alarm begins at 1. Spend below the usual is 0: a rule on calls
    with a lower limit is for that. The running hour can only grow, so what is too much already counts at once.
    """
    running = _hour_of(now)
    costs = {point.bucket_start.astimezone(UTC): float(point.cost or 0) for point in points}
    series = fill_gaps(costs, min(costs), running + _HOUR, 3600, gap=0.0)
    *_, last, latest = [None, *judge(series, step_s=3600, timezone=zone)]
    assert latest is not None
    shown = latest if latest.state == "above" or last is None else last
    requests = {point.bucket_start.astimezone(UTC): point.requests for point in points}
    covered = [shown.at - _HOUR * number for number in range(max(1, shown.span_s // 3600))]
    return {
        "group_key": key,
        "window_start": covered[-1].isoformat(),
        "window_end": min(shown.at + _HOUR, now).isoformat(),
        "value": _score_above(shown),
        "sample_count": sum(requests.get(at, 0) for at in covered),
        "evidence": {
            "explanation": shown.explain("$", zone),
            "state": shown.state,
            "actual": shown.value,
            "usual": shown.usual,
            "low": shown.low,
            "high": shown.high,
            "season": shown.season,
            "hours": len(covered),
        },
    }


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


def explain_forecast(forecast: MonthForecast) -> str:
    """Say a forecast in a sentence."""
    amounts = f"${forecast.expected:,.2f} by the end of the month"
    if forecast.basis == "run_rate":
        return f"{amounts}, extrapolated linearly: the history is too short for a better forecast"
    return f"{amounts}, ${forecast.low:,.2f} to ${forecast.high:,.2f} with {CONFIDENCE:.0%} confidence"


def read_forecast(
    database: Database, scope: Mapping[str, list[str]], *, now: datetime, zone: ZoneInfo
) -> MonthForecast | None:
    """Forecast the month's spend of a scope; None without any."""
    local = now.astimezone(zone)
    start = (local - FORECAST_HISTORY).replace(hour=0, minute=0, second=0, microsecond=0)
    end = _hour_of(now) + _HOUR
    return forecast_month(spend_by_day(read_series(database, start, end, scope, bucket="day", zone=zone), zone), local)


def spend_by_day(points: Sequence[Point], zone: ZoneInfo) -> dict[date, float]:
    """US dollars by local day."""
    return {point.bucket_start.astimezone(zone).date(): float(point.cost or 0) for point in points}


def read_series(
    database: Database,
    from_time: datetime,
    to_time: datetime,
    scope: Mapping[str, list[str]],
    *,
    bucket: str,
    group_by: str | None = None,
    zone: ZoneInfo | None = None,
) -> list[Point]:
    """Read calls and cost by bucket; empty buckets are absent."""
    filters: dict[str, JsonValue] = {name: list(names) for name, names in scope.items()}
    filters |= {"bucket": bucket, "timezone": "UTC" if zone is None else zone.key}
    if group_by is not None:
        filters["group_by"] = group_by
    document = database.call(
        "get_series", from_time=from_time.isoformat(), to_time=to_time.isoformat(), filters=filters
    )
    assert isinstance(document, dict)
    return _points.validate_python(document["series"])


def _score_above(verdict: Verdict) -> float | None:
    if verdict.usual is None:
        return None  # too early to say
    return round(verdict.score, 4) if verdict.value > verdict.usual else 0.0


def _hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
