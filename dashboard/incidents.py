"""How alerts, rules and messages read: names of metrics, figures with their units, tables."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

import pandas as pd
import streamlit as st

from dashboard.cards import draw_title
from dashboard.money import DASH, format_duration, format_share, format_usd
from dashboard.tables import draw_download

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal
    from zoneinfo import ZoneInfo

    from dashboard.documents import Alert, AlertRule, Notification

METRICS: Final = {
    "spend": "Spend",
    "error_rate": "Error rate",
    "p99_latency_ms": "Latency p99",
    "provider_drift": "Difference from the bill",
}
FRACTIONS: Final = frozenset({"error_rate", "provider_drift"})
WINDOWS: Final = {
    60: "1 minute",
    300: "5 minutes",
    900: "15 minutes",
    3600: "1 hour",
    21_600: "6 hours",
    86_400: "1 day",
    604_800: "7 days",
}
DELAYS: Final = (0, 60, 300, 900, 3600)
_FIGURES: Final = {"Value", "Threshold"}


def format_figure(metric: str, value: Decimal | None) -> str:
    """Write a metric's value with its unit."""
    if value is None:
        return DASH
    if metric == "spend":
        return format_usd(value)
    if metric in FRACTIONS:
        return format_share(value, 1)
    return format_duration(float(value)) if metric.endswith("_ms") else f"{value.normalize():,f}"


def describe_rule(rule: AlertRule) -> str:
    """Write a rule as a sentence."""
    text = f"{METRICS.get(rule.metric, rule.metric)} over {format_figure(rule.metric, rule.threshold)}"
    text += f" in {length_in_words(rule.window_s)}"
    if rule.for_s:
        text += f" for {length_in_words(rule.for_s)}"
    for name, values in sorted(rule.scope.items()):
        text += f", {name} {' or '.join(values)}"
    if rule.minimum_sample > 1:
        text += f", at least {rule.minimum_sample:,} {_counted(rule.metric)}"
    return text


def _counted(metric: str) -> str:
    return "days" if metric == "provider_drift" else "calls"


def length_in_words(seconds: int) -> str:
    """Write the length of a window or of a delay."""
    return WINDOWS.get(seconds) or (f"{seconds // 60} minutes" if seconds % 60 == 0 else f"{seconds} s")


def draw_firing(alerts: Sequence[Alert], zone: ZoneInfo) -> None:
    """Draw the alerts that fire now, the most severe first."""
    for alert in sorted(alerts, key=lambda alert: (alert.severity != "critical", alert.started_at)):
        with st.container(border=True, key=f"panel_alert_{alert.alert_id}", gap="xsmall"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.badge(
                    alert.severity.capitalize(),
                    icon=":material/local_fire_department:",
                    color="red" if alert.severity == "critical" else "orange",
                )
                draw_title(alert.rule_name)
            value, threshold = (format_figure(alert.metric, figure) for figure in (alert.value, alert.threshold))
            sample = f" · {alert.sample_count:,} {_counted(alert.metric)}" if alert.sample_count is not None else ""
            st.html(
                f'<div class="tr-facts">{html.escape(METRICS.get(alert.metric, alert.metric))} <b>{value}</b>, '
                f"threshold {threshold}{sample} · since {moment_in_words(alert.started_at, zone)}</div>"
            )


def draw_history(alerts: Sequence[Alert], zone: ZoneInfo) -> None:
    """Draw past and present alerts as a table."""
    frame = pd.DataFrame(
        {
            "Rule": [alert.rule_name for alert in alerts],
            "State": [alert.state for alert in alerts],
            "Severity": [alert.severity for alert in alerts],
            "Value": [format_figure(alert.metric, alert.value) for alert in alerts],
            "Threshold": [format_figure(alert.metric, alert.threshold) for alert in alerts],
            "Started": [moment_in_words(alert.started_at, zone) for alert in alerts],
            "Resolved": [moment_in_words(alert.resolved_at, zone) for alert in alerts],
        }
    )
    _draw_panel("History", "history", alerts, frame)


def draw_outbox(messages: Sequence[Notification], zone: ZoneInfo) -> None:
    """Draw the messages and what became of them."""
    frame = pd.DataFrame(
        {
            "Channel": [message.channel_name or DASH for message in messages],
            "Event": [message.event for message in messages],
            "State": [message.state for message in messages],
            "Attempts": [message.attempts for message in messages],
            "Created": [moment_in_words(message.created_at, zone) for message in messages],
            "Sent": [moment_in_words(message.sent_at, zone) for message in messages],
            "Last error": [message.last_error or DASH for message in messages],
        }
    )
    _draw_panel("Messages", "outbox", messages, frame)


def moment_in_words(moment: datetime | None, zone: ZoneInfo) -> str:
    """Write a moment in the viewer's time zone, a dash for none."""
    if moment is None:
        return DASH
    local = moment.astimezone(zone)
    return f"{local.day} {local:%b %Y}, {local:%H:%M}"


def _draw_panel(title: str, name: str, rows: Sequence[Alert | Notification], frame: pd.DataFrame) -> None:
    with st.container(border=True, key=f"panel_alerts_{name}"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            draw_title(title)
            if rows:
                draw_download("alerts", name, rows)
        if not rows:
            st.caption("None in this period.")
            return
        right = {column: st.column_config.TextColumn(column, alignment="right") for column in _FIGURES & {*frame}}
        st.dataframe(frame, key=f"alerts_{name}_table", hide_index=True, height="content", column_config=right)
