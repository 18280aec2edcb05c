"""What people read when an alert comes: a title, plain text, HTML and a link to the page that shows it."""

from __future__ import annotations

import html
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from ingest.alerts.metrics import format_metric, metric_named
from ingest.documents.alerts import Alert
from ingest.documents.words import DASH, format_usd

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from pydantic import JsonValue

_TITLES: Final = {"firing": "", "escalated": "Now critical: ", "reminder": "Still firing: ", "resolved": "Resolved: "}
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
    alert = Alert.model_validate(payload["alert"])
    sign = "✓" if event == "resolved" else "‼" if alert.severity == "critical" else "!"
    title_word = "Escalated: " if event == "escalated" and alert.severity != "critical" else _TITLES.get(event, "")
    group = f" [{alert.group_key}]" if alert.group_key else ""
    title = f"{sign} {title_word}{alert.rule_name}{group}"
    facts = _facts(alert, event, zone)
    link = _link(alert, dashboard_url)
    return _compose(title, facts, link)


def _facts(alert: Alert, event: str, zone: ZoneInfo) -> list[tuple[str, str]]:
    name = metric_named(alert.metric).label
    value, threshold = (format_metric(alert.metric, figure) for figure in (alert.value, alert.threshold))
    facts = [(name, f"{value}, {alert.comparator} {threshold}")]
    if event == "resolved":
        ended = {"no_data": "no data left to measure", "recovered": format_metric(alert.metric, alert.resolved_value)}
        facts = [
            (name, ended.get(alert.resolution or "", (alert.resolution or "").replace("_", " "))),
            ("When it fired", facts[0][1]),
        ]
    if explanation := alert.evidence.get("explanation"):
        facts.append(("Why", str(explanation)))
    if "amount" in alert.evidence:
        spent, amount = (Decimal(str(alert.evidence.get(name) or 0)) for name in ("spent", "amount"))
        facts.append(("Spent", f"{format_usd(spent)} of {format_usd(amount)}"))
    scope = [f"{key} {' or '.join(values)}" for key, values in sorted(alert.scope.items())]
    if alert.group_key:
        scope.insert(0, f"{(alert.group_by or 'group').replace('_id', '')} {alert.group_key}")
    facts += [
        ("Scope", ", ".join(scope) or "everything"),
        ("Severity", alert.severity),
        ("Sample", DASH if alert.sample_count is None else f"{alert.sample_count:,}"),
        ("Window", f"{_moment(alert.window_start, zone)} to {_moment(alert.window_end, zone)} {zone.key}"),
        ("Since", _moment(alert.started_at, zone)),
    ]
    if alert.resolved_at:
        facts.append(("Until", _moment(alert.resolved_at, zone)))
    return facts


def _render_test(payload: Mapping[str, JsonValue], dashboard_url: str | None) -> Message:
    rule = payload.get("rule")
    facts = [("This is a test", "nothing is wrong; somebody is checking that messages arrive.")]
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


def _link(alert: Alert, dashboard_url: str | None) -> str | None:
    if dashboard_url is None:
        return None
    names = {key: values for key, values in alert.scope.items() if key in _LINKED}
    if alert.group_by in _LINKED:
        names[alert.group_by] = [alert.group_key]
    query: list[tuple[str, str]] = []
    if alert.window_start is not None and alert.window_end is not None:
        last = max(alert.window_end, alert.window_start)
        days = (("from", alert.window_start), ("to", last))
        query = [("period", "custom"), *((name, day.date().isoformat()) for name, day in days), ("zone", "reporting")]
    query += [(key, value) for key, values in names.items() for value in values]
    return f"{dashboard_url}/{metric_named(alert.metric).page}?{urlencode(query)}"


def _moment(moment: datetime | None, zone: ZoneInfo) -> str:
    return DASH if moment is None else f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"
