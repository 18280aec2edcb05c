"""What people read when an alert comes: a title, plain text, HTML and a link to the page that shows it."""

from __future__ import annotations

import html
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field

from ingest.alerts.rules import SHARES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from pydantic import JsonValue

METRIC_NAMES: Final = {
    "spend": "Spend",
    "tokens": "Tokens",
    "requests": "Calls",
    "error_rate": "Error rate",
    "route_requests": "Route requests",
    "route_error_rate": "Route error rate",
    "unpriced_share": "Share of calls without a price",
    "estimated_share": "Share of calls with estimated tokens",
    "provider_drift": "Difference from the bill",
    "pipeline_lag_s": "Pipeline lag",
    "budget_used": "Budget used",
    "budget_forecast": "Budget forecast",
    "anomaly": "Deviation from usual spend",
    **{
        f"p{quantile}_{name}": f"{label} p{quantile}"
        for quantile in (50, 90, 99)
        for name, label in (
            ("latency_ms", "Latency"),
            ("time_to_first_token_ms", "Time to first token"),
            ("route_latency_ms", "Route latency"),
            ("route_time_to_first_byte_ms", "Route time to first byte"),
        )
    },
}
_TITLES: Final = {"firing": "", "escalated": "Now critical: ", "reminder": "Still firing: ", "resolved": "Resolved: "}
FRACTIONS: Final = SHARES | {"provider_drift", "budget_used", "budget_forecast"}
# What the dashboard takes from an address.
_LINKED: Final = ("model", "feature", "provider", "environment")


@dataclass(frozen=True, slots=True)
class Message:
    """A message for people.

    Attributes:
        title: One line.
        text: The whole in plain text, link included.
        html: The same in HTML.
        link: Address of the page with the filters set; None where the dashboard's address is not known.
    """

    title: str
    text: str
    html: str
    link: str | None = None


class _Alert(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    rule_name: str
    metric: str
    severity: str = "warning"
    comparator: str = "above"
    value: Decimal | None = None
    threshold: Decimal
    scope: dict[str, list[str]] = Field(default_factory=dict)
    group_by: str | None = None
    group_key: str = ""
    sample_count: int = 0
    window_start: datetime
    window_end: datetime
    started_at: datetime
    resolved_at: datetime | None = None
    resolution: str | None = None
    resolved_value: Decimal | None = None
    evidence: dict[str, object] = Field(default_factory=dict)


def format_value(metric: str, value: Decimal | None) -> str:
    """Write a metric's value with its unit."""
    if value is None:
        return "unknown"
    if metric == "spend":
        return f"${value:,.2f}" if value >= 1 else f"${value.normalize():f}"
    if metric in FRACTIONS:
        return f"{float(value) * 100:.3g} %" if value < 10 else f"{float(value) * 100:,.0f} %"
    if metric.endswith("_ms"):
        return f"{float(value) / 1000:.3g} s" if value >= 1000 else f"{float(value):.3g} ms"
    if metric.endswith("_s"):
        return f"{float(value):,.0f} s"
    return f"{float(value):,.6g}" if value != value.to_integral_value() else f"{int(value):,}"


def render_message(payload: Mapping[str, JsonValue], *, dashboard_url: str | None, zone: ZoneInfo) -> Message:
    """Write a message of the outbox for people.

    Args:
        payload: The message as the database wrote it, schema `treering.alert/1`.
        dashboard_url: Address of the dashboard, for the link.
        zone: Zone in which times are written.
    """
    event = str(payload.get("event"))
    if event == "test":
        return _render_test(payload, dashboard_url)
    ready = payload.get("message")
    if isinstance(ready, dict):  # a report comes written
        return Message(str(ready["title"]), str(ready["text"]), str(ready["html"]), dashboard_url)
    alert = _Alert.model_validate(payload["alert"])
    sign = "✓" if event == "resolved" else "‼" if alert.severity == "critical" else "!"
    title_word = "Escalated: " if event == "escalated" and alert.severity != "critical" else _TITLES.get(event, "")
    group = f" [{alert.group_key}]" if alert.group_key else ""
    title = f"{sign} {title_word}{alert.rule_name}{group}"
    facts = _facts(alert, event, zone)
    link = _link(alert, dashboard_url)
    return _compose(title, facts, link)


def _facts(alert: _Alert, event: str, zone: ZoneInfo) -> list[tuple[str, str]]:
    name = METRIC_NAMES.get(alert.metric, alert.metric)
    value = format_value(alert.metric, alert.value)
    facts = [(name, f"{value}, {alert.comparator} {format_value(alert.metric, alert.threshold)}")]
    if event == "resolved":
        ended = {"no_data": "no data left to measure", "recovered": format_value(alert.metric, alert.resolved_value)}
        facts = [
            (name, ended.get(alert.resolution or "", (alert.resolution or "").replace("_", " "))),
            ("When it fired", facts[0][1]),
        ]
    if explanation := alert.evidence.get("explanation"):
        facts.append(("Why", str(explanation)))
    if "amount" in alert.evidence:
        spent, amount = (Decimal(str(alert.evidence.get(name) or 0)) for name in ("spent", "amount"))
        facts.append(("Spent", f"{format_value('spend', spent)} of {format_value('spend', amount)}"))
    scope = [f"{key} {' or '.join(values)}" for key, values in sorted(alert.scope.items())]
    if alert.group_key:
        scope.insert(0, f"{(alert.group_by or 'group').replace('_id', '')} {alert.group_key}")
    facts += [
        ("Scope", ", ".join(scope) or "everything"),
        ("Severity", alert.severity),
        ("Sample", f"{alert.sample_count:,}"),
        ("Window", f"{_moment(alert.window_start, zone)} to {_moment(alert.window_end, zone)} {zone.key}"),
        ("Since", _moment(alert.started_at, zone)),
    ]
    if alert.resolved_at:
        facts.append(("Until", _moment(alert.resolved_at, zone)))
    return facts


def _render_test(payload: Mapping[str, JsonValue], dashboard_url: str | None) -> Message:
    rule = payload.get("rule")
    facts = [("This is a test", "nothing is wrong; someone is checking that messages arrive.")]
    facts.append(("Channel", str(payload.get("channel", ""))))
    title = "[TEST] Treering"
    if isinstance(rule, dict):
        facts.append(("Rule", str(rule["name"])))
        title += f": {rule['name']}"
    link = f"{dashboard_url}/alerts" if dashboard_url else None
    return _compose(title, facts, link)


def _compose(title: str, facts: list[tuple[str, str]], link: str | None) -> Message:
    text = "\n".join([title, "", *(f"{name}: {fact}" for name, fact in facts), *(["", link] if link else [])])
    rows = "".join(
        f'<tr><td style="padding:2px 12px 2px 0;color:#666">{html.escape(name)}</td><td>{html.escape(fact)}</td></tr>'
        for name, fact in facts
    )
    anchor = f'<p><a href="{html.escape(link)}">Open the dashboard</a></p>' if link else ""
    return Message(title, text, f"<h3>{html.escape(title)}</h3><table>{rows}</table>{anchor}", link)


def _link(alert: _Alert, dashboard_url: str | None) -> str | None:
    if dashboard_url is None:
        return None
    if "_ms" in alert.metric or "error_rate" in alert.metric or alert.metric.startswith("route"):
        page = "performance"
    elif alert.metric in ("tokens", "requests", "estimated_share"):
        page = "usage"
    elif alert.metric in ("pipeline_lag_s", "anomaly"):
        page = "alerts"
    else:
        page = "costs"
    names = {key: values for key, values in alert.scope.items() if key in _LINKED}
    if alert.group_by in _LINKED:
        names[alert.group_by] = [alert.group_key]
    query: list[tuple[str, str]] = [
        ("period", "custom"),
        ("from", alert.window_start.date().isoformat()),
        ("to", max(alert.window_end, alert.window_start).date().isoformat()),
        ("zone", "reporting"),
    ]
    query += [(key, value) for key, values in names.items() for value in values]
    return f"{dashboard_url}/{page}?{urlencode(query)}"


def _moment(moment: datetime, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"
