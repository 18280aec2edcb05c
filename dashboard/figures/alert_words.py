"""How alerts, rules and budgets read in the app: sentences, thresholds as typed, lengths of time. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from ingest.alerts.conditions import describe_conditions
from ingest.alerts.message_facts import comparison_facts
from ingest.alerts.metrics import METRICS, format_metric, metric_named
from ingest.documents.words import DASH, format_usd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from ingest.documents.alerts import Alert, AlertRule
    from ingest.documents.settings import Budget

# Metrics that a rule of its own can have; budgets keep theirs themselves.
RULE_METRICS: Final = tuple(metric.name for metric in METRICS.values() if not metric.of.is_budget)
WINDOWS: Final = {
    60: "1 minute",
    300: "5 minutes",
    900: "15 minutes",
    3600: "1 hour",
    21_600: "6 hours",
    86_400: "1 day",
    172_800: "2 days",
    604_800: "7 days",
    2_678_400: "31 days",
}
PERIODS: Final = {"day": "calendar day", "week": "calendar week", "month": "calendar month"}
DELAYS: Final = (0, 60, 300, 900, 3600)
KEPT: Final = (0, 300, 900, 3600, 6 * 3600, 24 * 3600)
COOL_DOWNS: Final = (0, 900, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600)
REMINDERS: Final = (0, 3600, 4 * 3600, 24 * 3600)
GROUPS: Final = {
    "": "One alert for all",
    "user_id": "By user",
    "tenant_id": "By tenant",
    "feature": "By feature",
    "model": "By model",
    "provider": "By provider",
    "environment": "By environment",
    "route": "By route",
}


def group_in_words(group_by: str) -> str:
    """Write what a rule has one alert for each of; tags.plan is the tag plan."""
    return GROUPS.get(group_by) or f"By {group_by.removeprefix('tags.')}"


def to_threshold(metric: str, typed: str) -> Decimal | None:
    """Read a threshold as typed, in the metric's unit on the form; None when it is not a number of zero or more."""
    try:
        number = Decimal(typed.strip().replace(",", "").removesuffix("%").strip())
    except ArithmeticError:
        return None
    if not number.is_finite() or number < 0:
        return None
    return number / metric_named(metric).unit.factor


def to_typed(metric: str, threshold: Decimal | None) -> str:
    """Write a threshold as it is typed on the form."""
    if threshold is None:
        return ""
    return f"{(threshold * metric_named(metric).unit.factor).normalize():f}"


def describe_rule(rule: AlertRule) -> str:
    """Write a rule as a sentence."""
    metric = metric_named(rule.metric)
    word = "over" if rule.comparator == "above" else "under"
    text = f"{metric.label} {word} {format_metric(rule.metric, rule.threshold)}"
    if rule.critical_threshold is not None:
        text += f" (critical {format_metric(rule.metric, rule.critical_threshold)})"
    if metric.of.has_window:
        text += f" in a {PERIODS[rule.period]}" if rule.period else f" in {length_in_words(rule.window_s)}"
    if rule.group_by:
        text += f" {group_in_words(rule.group_by).lower()}"
    if rule.for_s:
        text += f" for {length_in_words(rule.for_s)}"
    if rule.objective is not None:
        text += f", objective {to_typed('error_rate', rule.objective)}%"
        if rule.objective_ms is not None:
            text += f" within {format_metric('p99_latency_ms', rule.objective_ms)}"
    text += describe_conditions(rule.conditions)
    text += describe_scope(rule.scope)
    if rule.minimum_sample > 1 and metric.of.counted:
        text += f", at least {rule.minimum_sample:,} {metric.of.counted}"
    return text


def describe_judgement(alert: Alert, zone: ZoneInfo) -> str:
    """Write what an alert was compared with, and how it stands, as the end of a line."""
    parts = [f"{name.lower()}: {fact}" for name, fact in comparison_facts(alert)]
    if alert.is_late:
        begun, ended = (moment_in_words(moment, zone) for moment in (alert.pending_since, alert.breached_until))
        parts.append(f"late: from {begun} to {ended}, judged after the fact")
    if alert.no_data_since is not None:
        parts.append(f"no data since {moment_in_words(alert.no_data_since, zone)}, stays open")
    if alert.recovering_since is not None:
        parts.append(f"recovering since {moment_in_words(alert.recovering_since, zone)}")
    return "".join(f" · {part}" for part in parts)


def describe_scope(scope: Mapping[str, Sequence[str]]) -> str:
    """Write a scope as the end of a sentence; nothing where it is everything."""
    return "".join(f", {name.removesuffix('_id')} {' or '.join(values)}" for name, values in sorted(scope.items()))


def describe_budget(budget: Budget) -> str:
    """Write a budget as a sentence."""
    steps = ", ".join(f"{float(step) * 100:g}%" for step in budget.steps)
    text = f"{format_usd(budget.amount)} per {PERIODS[budget.period].split()[-1]}, notifies at {steps}"
    if budget.forecast_step is not None:
        text += f" and when {float(budget.forecast_step) * 100:g}% is forecast"
    return text + describe_scope(budget.scope)


def length_in_words(seconds: float) -> str:
    """Write the length of a window, of a delay or of an alert."""
    whole = round(seconds)
    if whole in WINDOWS:
        return WINDOWS[whole]
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if whole >= size and whole % size == 0:
            return f"{whole // size} {unit}"
    for size, unit, below, small in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // below} {small}"
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"


def moment_in_words(moment: datetime | None, zone: ZoneInfo) -> str:
    """Write a moment in the viewer's time zone, a dash for none."""
    if moment is None:
        return DASH
    local = moment.astimezone(zone)
    return f"{local.day} {local:%b %Y}, {local:%H:%M}"
