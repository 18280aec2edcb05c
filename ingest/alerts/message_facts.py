"""The facts of an alert's message, one line each, for one alert or for groups that fired together."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, Field

from ingest.alerts.metrics import format_metric, metric_named
from ingest.documents.words import DASH, format_usd

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from pydantic import JsonValue

    from ingest.documents.alerts import Alert

Fact = tuple[str, str]

# Line breaks and other control characters, and the marks that turn the direction of text: a name must not look like
# another line of the message.
_BREAKS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_NOUNS: Final = {"user_id": ("user", "users"), "tenant_id": ("tenant", "tenants"), "": ("group", "groups")}


class Member(BaseModel):
    """One of several groups in one message."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    group_key: str = ""
    value: Decimal | None = None
    severity: str = "warning"


class Rest(BaseModel):
    """Groups that a message does not name."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    count: int
    smallest: Decimal | None = None
    largest: Decimal | None = None


class Bundle(BaseModel):
    """What a message is about: one alert, or groups of a rule that fired together.

    Attributes:
        key: The same in all messages about it.
        count: Alerts that this message is about.
        firing: How many of all that fired together still fire.
        alerts: The worst of them, worst first.
        more: Those that are not named.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    key: str | None = None
    count: int = 1
    firing: int = 0
    alerts: tuple[Member, ...] = Field(default=())
    more: Rest | None = None


def bundle_of(payload: Mapping[str, JsonValue], alert: Alert) -> Bundle:
    """Read what a message is about; messages of before there were bundles are about their alert."""
    document = payload.get("bundle")
    if document is None:
        return Bundle(firing=0 if alert.state == "resolved" else 1)
    return Bundle.model_validate(document)


def one_line(name: object) -> str:
    """Return a name without line breaks and other control characters."""
    return _BREAKS.sub(" ", str(name)).strip()


def group_noun(alert: Alert, count: int) -> str:
    """Name what a rule's groups are: `user`, `models`."""
    group_by = alert.group_by or ""
    one, many = _NOUNS.get(group_by, (group_by, f"{group_by}s"))
    return one if count == 1 else many


def alert_facts(
    payload: Mapping[str, JsonValue], alert: Alert, bundle: Bundle, event: str, zone: ZoneInfo
) -> list[Fact]:
    """Write the facts of a message in the order in which they are read."""
    facts = _bundle_facts(alert, bundle, event) if bundle.count > 1 else _figure_facts(alert, event)
    over = payload.get("over_limit")
    if event == "firing" and isinstance(over, dict):
        rest = Rest.model_validate(over)
        facts.append(("Not told one by one", f"{rest.count:,} more in breach, {_span(alert, rest)}"))
    unacknowledged_s = payload.get("unacknowledged_s")
    if isinstance(unacknowledged_s, int):
        facts.append(("Why you", f"nobody acknowledged it within {_length(unacknowledged_s)}."))
    if alert.is_late:
        facts.append(("Late", f"{late_words(alert, zone)}; judged after the fact."))
    if alert.no_data_since is not None and event != "resolved":
        facts.append(("No data", f"since {_moment(alert.no_data_since, zone)}; the alert stays open."))
    facts += _context_facts(payload, alert, bundle, event, zone)
    return facts


def _figure_facts(alert: Alert, event: str) -> list[Fact]:
    name = metric_named(alert.metric).label
    value, threshold = (format_metric(alert.metric, figure) for figure in (alert.value, alert.threshold))
    facts = [(name, f"{value}, {alert.comparator} {threshold}")]
    if event == "resolved":
        ended = {"no_data": "no data left to measure", "recovered": format_metric(alert.metric, alert.resolved_value)}
        if alert.is_late:
            ended["recovered"] = "was over when it was judged"
        facts = [
            (name, ended.get(alert.resolution or "", (alert.resolution or "").replace("_", " "))),
            ("When it fired", facts[0][1]),
        ]
    elif event == "reminder" and alert.latest_value is not None:
        facts = [
            (name, f"{format_metric(alert.metric, alert.latest_value)}, {alert.comparator} {threshold}"),
            ("When it fired", value),
        ]
    if explanation := alert.evidence.get("explanation"):
        facts.append(("Why", one_line(explanation)))
    facts += comparison_facts(alert)
    if "amount" in alert.evidence:
        spent, amount = (Decimal(str(alert.evidence.get(name) or 0)) for name in ("spent", "amount"))
        facts.append(("Spent", f"{format_usd(spent)} of {format_usd(amount)}"))
    return facts


def late_words(alert: Alert, zone: ZoneInfo) -> str:
    """Say from when to when the breach of a late alert lasted."""
    return f"{_moment(alert.pending_since, zone)} to {_moment(alert.breached_until, zone)}"


def comparison_facts(alert: Alert) -> list[Fact]:
    """Say what a figure was compared with: last week, an objective, further conditions."""
    evidence, facts = alert.evidence, []
    if "last_week" in evidence:
        name = alert.metric.removesuffix("_vs_last_week")
        now, before = (format_metric(name, _decimal(evidence.get(key))) for key in ("now", "last_week"))
        facts.append(("Now and last week", f"{now} and {before}"))
    if "objective" in evidence:
        limit = f" within {format_metric('p99_latency_ms', _decimal(evidence['objective_ms']))}" if evidence.get(
            "objective_ms"
        ) else ""  # fmt: skip
        facts.append(("Objective", f"{(Decimal(str(evidence['objective'])) * 100).normalize():f}% good{limit}"))
        long, short = (format_metric(alert.metric, _decimal(evidence.get(key))) for key in ("long", "short"))
        facts.append(("Long and short window", f"{long} and {short}"))
    for condition in evidence.get("conditions") or ():
        value, threshold = (
            format_metric(condition["metric"], _decimal(condition[key])) for key in ("value", "threshold")
        )
        facts.append(
            (f"And {metric_named(condition['metric']).label}", f"{value}, {condition['comparator']} {threshold}")
        )
    return facts


def _decimal(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def _bundle_facts(alert: Alert, bundle: Bundle, event: str) -> list[Fact]:
    threshold = format_metric(alert.metric, alert.threshold)
    facts = [(metric_named(alert.metric).label, f"{alert.comparator} {threshold}")]
    for member in bundle.alerts:
        critical = " (critical)" if member.severity == "critical" != alert.severity else ""
        facts.append((one_line(member.group_key) or DASH, format_metric(alert.metric, member.value) + critical))
    if bundle.more is not None and bundle.more.count:
        facts.append(("and", f"{bundle.more.count:,} more, {_span(alert, bundle.more)}"))
    if event == "resolved" and bundle.firing:
        facts.append(("Still firing", f"{bundle.firing:,}"))
    return facts


def _context_facts(
    payload: Mapping[str, JsonValue], alert: Alert, bundle: Bundle, event: str, zone: ZoneInfo
) -> list[Fact]:
    facts: list[Fact] = []
    scope = [f"{key} {' or '.join(map(one_line, values))}" for key, values in sorted(alert.scope.items())]
    if alert.group_key and bundle.count == 1:
        scope.insert(0, f"{group_noun(alert, 1)} {one_line(alert.group_key)}")
    if event == "acknowledged":
        note = f": {one_line(alert.acknowledge_note)}" if alert.acknowledge_note else ""
        facts.append(("Acknowledged", f"by {one_line(alert.acknowledged_by or 'somebody')}{note}"))
    facts += [
        ("Scope", ", ".join(scope) or "everything"),
        ("Severity", alert.severity),
        ("Sample", DASH if alert.sample_count is None else f"{alert.sample_count:,}"),
        ("Window", f"{_moment(alert.window_start, zone)} to {_moment(alert.window_end, zone)} {zone.key}"),
        ("Since", _moment(alert.started_at, zone)),
    ]
    if alert.resolved_at:
        facts.append(("Until", _moment(alert.resolved_at, zone)))
    rule = payload.get("rule")
    if isinstance(rule, dict) and rule.get("description"):
        facts.append(("About this rule", one_line(rule["description"])))
    return facts


def _length(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds / 3600:g} h"


def _span(alert: Alert, rest: Rest) -> str:
    smallest, largest = (format_metric(alert.metric, figure) for figure in (rest.smallest, rest.largest))
    return f"from {smallest} to {largest}"


def _moment(moment: datetime | None, zone: ZoneInfo) -> str:
    return DASH if moment is None else f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"
