"""The parts of the Alerts page: what fires, what is silenced, history, transitions, messages."""

from __future__ import annotations

import html
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import pandas as pd
import streamlit as st

from dashboard.figures.alert_words import describe_judgement, describe_scope, length_in_words, moment_in_words
from dashboard.panels.call_links import draw_alert_link
from dashboard.panels.cards import Card, draw_cards, draw_title
from dashboard.panels.changes import change, draw_facts, line
from dashboard.panels.tables import draw_download
from dashboard.reads.alerts import acknowledge_alert, end_silence, resend_notification, silence_alerts
from ingest.alerts.metrics import format_metric, metric_named
from ingest.documents.words import DASH, format_usd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from zoneinfo import ZoneInfo

    from pydantic import BaseModel

    from dashboard.reads.viewer import Viewer
    from ingest.documents.alerts import Alert, AlertRule, Message, Silence, Times, Transition

SILENCES: Final = {
    "1 hour": timedelta(hours=1),
    "4 hours": timedelta(hours=4),
    "1 day": timedelta(days=1),
    "7 days": timedelta(days=7),
}
_FIGURES: Final = {"Value", "Threshold", "Sample", "Attempts"}
_ENDS: Final = {
    "recovered": "recovered",
    "no_data": "no data left",
    "period_ended": "period ended",
    "rule_changed": "rule changed",
    "rule_disabled": "rule disabled",
    "rule_deleted": "rule deleted",
}
# More dead messages than this are sent again from the newest on.
_MOST_RESENDS: Final = 10


def draw_times(times: Times, firing: int) -> None:
    """Draw how many alerts there were and how fast they were answered."""

    def mean(seconds: float | None) -> str:
        return DASH if seconds is None else length_in_words(seconds)

    draw_cards(
        "alerts",
        [
            Card("Firing now", str(firing)),
            Card("Alerts", str(times.alerts), note="started in this period"),
            Card(
                "Mean time to acknowledge",
                mean(times.mean_time_to_acknowledge_s),
                note=f"of {times.acknowledged} acknowledged",
            ),
            Card("Mean time to resolve", mean(times.mean_time_to_resolve_s), note=f"of {times.recovered} recovered"),
        ],
    )


def draw_failing(rules: Sequence[AlertRule], zone: ZoneInfo) -> None:
    """Draw the rules that could not be evaluated, or that have more groups in breach than may fire."""
    for rule in rules:
        if rule.last_error:
            since = moment_in_words(rule.last_error_at, zone)
            st.error(f"**{rule.name}** could not be evaluated at {since}: {rule.last_error}", icon=":material/report:")
    for rule in rules:
        if rule.groups_over_limit:
            st.warning(
                f"**{rule.name}**: {rule.groups_over_limit:,} more groups are in breach, beyond its limit of "
                f"{rule.group_limit}.",
                icon=":material/filter_list:",
            )


def matters_of(alerts: Sequence[Alert], rules: Sequence[AlertRule]) -> list[tuple[Alert, ...]]:
    """Return what to look at, the most severe first: an alert alone, those of one budget together."""
    budgets = {rule.rule_id: rule.budget_id for rule in rules}
    matters: dict[tuple[str, int], list[Alert]] = {}
    for alert in sorted(alerts, key=lambda one: (one.severity != "critical", one.started_at)):
        budget = budgets.get(alert.rule_id) if alert.rule_id is not None else None
        matters.setdefault(("alert", alert.alert_id) if budget is None else ("budget", budget), []).append(alert)
    return [tuple(together) for together in matters.values()]


def draw_firing(viewer: Viewer, matters: Sequence[tuple[Alert, ...]], zone: ZoneInfo, *, can_change: bool) -> None:
    """Draw what fires now with what ops can do about it, and the way to the calls."""
    for alerts in matters:
        first = alerts[0]
        with st.container(border=True, key=f"panel_alert_{first.alert_id}", gap="xsmall"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.badge(
                    first.severity.capitalize(),
                    icon=":material/local_fire_department:",
                    color="red" if first.severity == "critical" else "orange",
                )
                draw_title(matter_title(alerts))
                if first.acknowledged_at:
                    st.badge(f"Acknowledged by {first.acknowledged_by}", icon=":material/visibility:", color="blue")
                if first.silenced_until:
                    until = moment_in_words(first.silenced_until, zone)
                    st.badge(f"Silenced until {until}", icon=":material/notifications_paused:", color="gray")
            for alert in alerts:
                st.html(f'<div class="tr-facts">{describe_alert(alert, zone)}</div>')
            with st.container(horizontal=True, gap="small"):
                if can_change:
                    _draw_actions(viewer, alerts)
                draw_alert_link(first)
                if first.runbook_url:
                    st.link_button("Runbook", first.runbook_url, type="tertiary", icon=":material/menu_book:")
            if first.description:
                st.html(f'<div class="tr-facts">{html.escape(first.description)}</div>')


def matter_title(alerts: Sequence[Alert]) -> str:
    """Name what is to be looked at: a rule with its group, or the budget that several alerts are about."""
    first = alerts[0]
    if budget := first.evidence.get("budget"):
        return f"Budget {budget}"
    return f"{first.rule_name}: {first.group_key}" if first.group_key else first.rule_name


def draw_silences(viewer: Viewer, silences: Sequence[Silence], zone: ZoneInfo, *, can_change: bool) -> None:
    """Draw the silences that hold now."""
    for silence in silences:
        with line(f"silence_{silence.silence_id}"):
            group = f": {silence.group_key}" if silence.group_key else ""
            by = f" by {silence.created_by}" if silence.created_by else ""
            note = f" · {silence.note}" if silence.note else ""
            draw_facts(
                f"{silence.rule_name}{group} is silenced", f"Until {moment_in_words(silence.ends_at, zone)}{by}{note}"
            )
            if can_change:
                st.button(
                    "End silence",
                    key=f"alerts_silence_end_{silence.silence_id}",
                    type="tertiary",
                    icon=":material/notifications_active:",
                    on_click=change,
                    args=(
                        lambda number=silence.silence_id: end_silence(viewer, number),
                        f"Silence of {silence.rule_name} ended",
                    ),
                )


def draw_history(alerts: Sequence[Alert], zone: ZoneInfo) -> None:
    """Draw past alerts as a table."""
    frame = pd.DataFrame(
        {
            "Rule": [alert.rule_name for alert in alerts],
            "Group": [alert.group_key or DASH for alert in alerts],
            "Severity": [alert.severity for alert in alerts],
            "Value": [format_metric(alert.metric, alert.value) for alert in alerts],
            "Threshold": [format_metric(alert.metric, alert.threshold) for alert in alerts],
            "Started": [moment_in_words(alert.started_at, zone) for alert in alerts],
            "Lasted": [
                length_in_words((alert.resolved_at - alert.started_at).total_seconds()) if alert.resolved_at else DASH
                for alert in alerts
            ],
            "End": [_ENDS.get(alert.resolution or "", alert.state) for alert in alerts],
            "Acknowledged": [
                f"{alert.acknowledged_by}{f': {alert.acknowledge_note}' if alert.acknowledge_note else ''}"
                if alert.acknowledged_at
                else DASH
                for alert in alerts
            ],
        }
    )
    _draw_panel("History", "history", alerts, frame)


def draw_transitions(transitions: Sequence[Transition], metrics: Mapping[str, str], zone: ZoneInfo) -> None:
    """Draw every change of state with its evidence, folded away.

    Args:
        transitions: The changes, newest first.
        metrics: What each rule measures, by its name; figures of a rule that is gone are plain numbers.
        zone: Zone in which times are written.
    """
    frame = pd.DataFrame(
        {
            "When": [moment_in_words(one.occurred_at, zone) for one in transitions],
            "Rule": [one.rule_name for one in transitions],
            "Group": [one.group_key or DASH for one in transitions],
            "From": [one.from_state for one in transitions],
            "To": [one.to_state for one in transitions],
            "Value": [format_metric(metrics.get(one.rule_name, ""), one.value) for one in transitions],
            "Threshold": [format_metric(metrics.get(one.rule_name, ""), one.threshold) for one in transitions],
            "Sample": [DASH if one.sample_count is None else f"{one.sample_count:,}" for one in transitions],
            "By": [one.actor or DASH for one in transitions],
            "Note": [(one.note or DASH).replace("_", " ") for one in transitions],
        }
    )
    with st.expander("Every change of state", icon=":material/timeline:", key="alerts_transitions_more"):
        _draw_panel("Transitions", "transitions", transitions, frame)


def draw_outbox(viewer: Viewer, messages: Sequence[Message], zone: ZoneInfo, *, can_change: bool) -> None:
    """Draw the messages and what became of them; dead ones can be sent again."""
    frame = pd.DataFrame(
        {
            "Rule": [message.rule_name or DASH for message in messages],
            "Channel": [message.channel_name or DASH for message in messages],
            "Event": [f"{message.event}{' (critical)' if message.is_critical else ''}" for message in messages],
            "State": [message.state for message in messages],
            "Attempts": [message.attempts for message in messages],
            "Created": [moment_in_words(message.created_at, zone) for message in messages],
            "Sent": [moment_in_words(message.sent_at, zone) for message in messages],
            "Next attempt": [moment_in_words(message.next_attempt_at, zone) for message in messages],
            "Last error": [message.last_error or DASH for message in messages],
        }
    )
    _draw_panel("Messages", "outbox", messages, frame)
    dead = [message for message in messages if message.can_resend]
    for message in dead[:_MOST_RESENDS] if can_change else []:
        with line(f"dead_{message.notification_id}"):
            what = f"{message.event} of {message.rule_name}" if message.rule_name else message.event
            draw_facts(
                f"Not delivered to {message.channel_name}: {what}",
                f"{moment_in_words(message.created_at, zone)} · {message.last_error or DASH}",
            )
            st.button(
                "Send again",
                key=f"alerts_resend_{message.notification_id}",
                type="tertiary",
                icon=":material/replay:",
                on_click=change,
                args=(
                    lambda number=message.notification_id: resend_notification(viewer, number),
                    "Message queued",
                ),
            )


def describe_alert(alert: Alert, zone: ZoneInfo) -> str:
    """Return the line of facts of an alert as HTML: figure, threshold, sample, reason, scope."""
    metric = metric_named(alert.metric)
    value, threshold = (format_metric(alert.metric, figure) for figure in (alert.value, alert.threshold))
    text = f"{html.escape(metric.label)} <b>{value}</b>, threshold {threshold}"
    if alert.current_value is not None and alert.current_value != alert.value:
        text += f", now {format_metric(alert.metric, alert.current_value)}"
    if alert.sample_count is not None and metric.of.counted:
        text += f" · {alert.sample_count:,} {metric.of.counted}"
    if metric.of.is_budget and alert.evidence.get("spent"):
        spent, amount = (Decimal(str(alert.evidence[name])) for name in ("spent", "amount"))
        text += f" · {format_usd(spent)} of {format_usd(amount)}"
    if explanation := alert.evidence.get("explanation"):
        text += f" · {html.escape(str(explanation))}"
    text += html.escape(describe_judgement(alert, zone))
    text += html.escape(describe_scope(alert.scope).replace(", ", " · ", 1))
    text += f" · since {moment_in_words(alert.started_at, zone)}"
    if alert.acknowledge_note:
        text += f" · “{html.escape(alert.acknowledge_note)}”"
    return text


def _draw_actions(viewer: Viewer, alerts: Sequence[Alert]) -> None:
    first, title = alerts[0], matter_title(alerts)
    waiting = [alert for alert in alerts if alert.acknowledged_at is None]
    if waiting:
        with st.popover("Acknowledge", icon=":material/visibility:", key=f"alerts_acknowledge_{first.alert_id}"):
            note = f"alerts_note_{first.alert_id}"
            st.text_input("Note", key=note, max_chars=500)
            st.button(
                "Acknowledge",
                key=f"alerts_acknowledge_save_{first.alert_id}",
                type="primary",
                on_click=change,
                args=(lambda: _acknowledge(viewer, waiting, _typed(note)), f"{title} acknowledged"),
            )
    if first.rule_id is None:
        return
    with st.popover("Silence", icon=":material/notifications_paused:", key=f"alerts_silence_{first.alert_id}"):
        length = st.selectbox("For", list(SILENCES), key=f"alerts_silence_for_{first.alert_id}")
        if first.group_key:
            st.toggle(f"Only {first.group_key}", value=True, key=f"alerts_silence_one_{first.alert_id}")
        st.text_input("Reason", key=f"alerts_silence_note_{first.alert_id}", max_chars=500)
        st.button(
            "Silence",
            key=f"alerts_silence_save_{first.alert_id}",
            type="primary",
            on_click=change,
            args=(lambda: _silence(viewer, alerts), f"{title} is silenced for {length}"),
        )


def _acknowledge(viewer: Viewer, alerts: Sequence[Alert], note: str) -> None:
    for alert in alerts:
        acknowledge_alert(viewer, alert.alert_id, note)


def _silence(viewer: Viewer, alerts: Sequence[Alert]) -> None:
    first = alerts[0]
    length = SILENCES[st.session_state[f"alerts_silence_for_{first.alert_id}"]]
    group = first.group_key if st.session_state.get(f"alerts_silence_one_{first.alert_id}") else None
    reason = _typed(f"alerts_silence_note_{first.alert_id}")
    for rule_id in sorted({alert.rule_id for alert in alerts if alert.rule_id is not None}):
        silence_alerts(viewer, rule_id, group, datetime.now(UTC) + length, reason)


def _typed(key: str) -> str:
    # A callback looks at the widget itself: what was typed just before the click is not in the last drawing yet.
    return str(st.session_state.get(key) or "")


def _draw_panel(title: str, name: str, rows: Sequence[BaseModel], frame: pd.DataFrame) -> None:
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
