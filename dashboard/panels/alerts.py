"""The parts of the Alerts page around its list: times, failing rules, silences, transitions, messages."""

from __future__ import annotations

import html
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import pandas as pd
import streamlit as st

from dashboard.figures.alert_words import describe_judgement, describe_scope, length_in_words, moment_in_words
from dashboard.panels.cards import Card, draw_cards, draw_title
from dashboard.panels.changes import change, draw_facts, line
from dashboard.panels.tables import draw_download
from dashboard.reads.alerts import end_silences, resend_notification
from ingest.alerts.metrics import format_metric, metric_named
from ingest.documents.words import DASH, format_usd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from pydantic import BaseModel

    from dashboard.reads.viewer import Viewer
    from ingest.documents.alerts import Alert, AlertRule, Message, Silence, Times, Transition

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
_MOST_SILENCES: Final = 10


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


def matter_title(alerts: Sequence[Alert]) -> str:
    """Name what is to be looked at: a rule with its group, or the budget that several alerts are about."""
    first = alerts[0]
    if budget := first.evidence.get("budget"):
        return f"Budget {budget}"
    return f"{first.rule_name}: {first.group_key}" if first.group_key else first.rule_name


def end_in_words(alert: Alert) -> str:
    """Say how a resolved alert ended."""
    return _ENDS.get(alert.resolution or "", alert.state)


def draw_silences(viewer: Viewer, silences: Sequence[Silence], zone: ZoneInfo, *, can_change: bool) -> None:
    """Draw the silences that hold now; those that were made together are one line."""
    together: dict[tuple[int, str, str | None], list[Silence]] = {}
    for silence in silences:
        key = (silence.rule_id, moment_in_words(silence.ends_at, zone), silence.created_by)
        together.setdefault(key, []).append(silence)
    if not together:
        return
    with st.container(border=True, key="panel_alerts_silences", gap="small"):
        draw_title("Silences")
        for several in list(together.values())[:_MOST_SILENCES]:
            _draw_silence(viewer, several, zone, can_change=can_change)
        if len(together) > _MOST_SILENCES:
            st.caption(f"And {len(together) - _MOST_SILENCES:,} more.")


def _draw_silence(viewer: Viewer, several: Sequence[Silence], zone: ZoneInfo, *, can_change: bool) -> None:
    first = several[0]
    groups = (
        "" if first.group_key is None else f": {first.group_key}" if len(several) == 1 else f": {len(several):,} groups"
    )
    by = f" by {first.created_by}" if first.created_by else ""
    note = f" · {first.note}" if first.note else ""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"silence_{first.silence_id}"):
        draw_facts(f"{first.rule_name}{groups}", f"Until {moment_in_words(first.ends_at, zone)}{by}{note}")
        if can_change:
            st.button(
                "End silence",
                key=f"alerts_silence_end_{first.silence_id}",
                type="tertiary",
                icon=":material/notifications_active:",
                on_click=change,
                args=(
                    lambda numbers=tuple(one.silence_id for one in several): end_silences(viewer, numbers),
                    f"Silence of {first.rule_name} ended",
                ),
            )


def draw_transitions(transitions: Sequence[Transition], zone: ZoneInfo) -> None:
    """Draw every change of state with its evidence, newest first, folded away."""
    frame = pd.DataFrame(
        {
            "When": [moment_in_words(one.occurred_at, zone) for one in transitions],
            "Rule": [one.rule_name for one in transitions],
            "Group": [one.group_key or DASH for one in transitions],
            "From": [one.from_state for one in transitions],
            "To": [one.to_state for one in transitions],
            "Value": [format_metric(one.metric or "", one.value) for one in transitions],
            "Threshold": [format_metric(one.metric or "", one.threshold) for one in transitions],
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
