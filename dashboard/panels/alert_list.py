"""The list of the Alerts page: a card for each alert, or for each rule, with what somebody on call wants to know."""

from __future__ import annotations

import html
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.figures.alert_words import length_in_words, moment_in_words
from dashboard.panels.alert_filters import choose, draw_alert_filters, draw_turns
from dashboard.panels.alert_picks import draw_actions, is_picked, pick, pick_all, picked_ids
from dashboard.panels.alerts import describe_alert, end_in_words, matter_title
from dashboard.panels.call_links import draw_alert_link
from dashboard.panels.tables import to_csv
from dashboard.reads.alerts import find_alerts
from dashboard.selection.alert_choice import MOST
from ingest.alerts.metrics import format_metric
from ingest.documents.names import visible_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from dashboard.reads.viewer import Viewer
    from dashboard.selection.alert_choice import AlertChoice
    from dashboard.selection.filters import Window
    from ingest.documents.alerts import Alert, AlertList, RuleAlerts

_READ_AT_ONCE: Final = 200


def matters_of(alerts: Sequence[Alert]) -> list[tuple[Alert, ...]]:
    """Return the lines of the list in their order: an alert alone, those of one budget together."""
    lines: dict[str, list[Alert]] = {}
    for alert in alerts:
        lines.setdefault(alert.matter, []).append(alert)
    return [tuple(line) for line in lines.values()]


def draw_alerts(viewer: Viewer, document: AlertList, choice: AlertChoice, window: Window, zone: ZoneInfo) -> None:
    """Draw the controls and one page of the list.

    Args:
        viewer: Who is looking.
        document: What was found.
        choice: What was asked for.
        window: The period, for the file of all that was found.
        zone: Zone in which times are written.
    """
    can_change = document.access == "ops"
    with st.container(border=True, key="panel_alerts_list"):
        draw_alert_filters(document, choice)
        if not document.total:
            _draw_nothing(document, choice)
            return
        _draw_head(viewer, document, choice, window, can_change=can_change)
        is_chosen_from = can_change and document.total > 1
        picked = _picked_line(document) if can_change else None
        if can_change and picked is None and picked_ids():
            draw_actions(viewer, document, "")
        for rule in document.by_rule:
            _draw_rule(rule, zone, is_chosen_from=is_chosen_from)
            if picked == tuple(rule.firing_ids):
                draw_actions(viewer, document, rule.rule_name)
        for alerts in matters_of(document.alerts):
            _draw_alert(alerts, zone, is_chosen_from=is_chosen_from)
            if picked == tuple(one.alert_id for one in alerts):
                draw_actions(viewer, document, matter_title(alerts))
        draw_turns(choice, document.total)


def alert_chips(alert: Alert, zone: ZoneInfo, now: datetime) -> list[tuple[str, str]]:
    """Return what stands beside an alert's title: colour and words."""
    chips = [("red" if alert.severity == "critical" else "orange", alert.severity.capitalize())]
    if alert.state == "resolved" and alert.resolved_at is not None:
        lasted = length_in_words((alert.resolved_at - alert.started_at).total_seconds())
        chips.append(("green", f"{end_in_words(alert).capitalize()} after {lasted}"))
    else:
        chips.append(("gray", f"for {length_in_words(max((now - alert.started_at).total_seconds(), 0))}"))
    if alert.acknowledged_at:
        chips.append(("blue", f"Acknowledged by {alert.acknowledged_by}"))
    if alert.silenced_until:
        chips.append(("gray", f"Silenced until {moment_in_words(alert.silenced_until, zone)}"))
    return chips


def read_all(viewer: Viewer, choice: AlertChoice, window: Window) -> list[Alert]:
    """Read all alerts that match, page by page, at most `MOST`."""
    found: list[Alert] = []
    while len(found) < MOST:
        asked = replace(window, filters=choice.filters(_READ_AT_ONCE, len(found)))
        page = find_alerts(viewer, asked).alerts
        found += page
        if len(page) < _READ_AT_ONCE:
            break
    return found


def _picked_line(document: AlertList) -> tuple[int, ...] | None:
    """Return the alerts of the one line that is selected, below which its actions stand; None for none or several."""
    lines = [
        *(tuple(one.alert_id for one in alerts) for alerts in matters_of(document.alerts)),
        *(tuple(rule.firing_ids) for rule in document.by_rule),
    ]
    picked = [line for line in lines if is_picked(line)]
    return picked[0] if len(picked) == 1 and len(picked_ids()) == len(picked[0]) else None


def _draw_nothing(document: AlertList, choice: AlertChoice) -> None:
    if choice.is_narrowed:
        st.caption("No alert matches the search and the filters.")
        return
    watched = "1 rule is active" if document.active_rules == 1 else f"{document.active_rules} rules are active"
    if choice.state in ("firing", "unacknowledged"):
        st.caption(f"Nothing is firing. {watched}.")
    else:
        st.caption("None in this period." if choice.state == "resolved" else "None now.")


def _draw_head(viewer: Viewer, document: AlertList, choice: AlertChoice, window: Window, *, can_change: bool) -> None:
    what = "rule" if choice.is_by_rule else "alert"
    found = f"1 {what}" if document.total == 1 else f"{document.total:,} {what}s"
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="alerts_head"
    ):
        with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
            if can_change and document.total > 1 and document.firing_ids:
                is_all = len(picked_ids()) == len(document.firing_ids)
                st.session_state["alerts_pick_all"] = is_all
                st.checkbox(
                    f"Select all {len(document.firing_ids):,}",
                    key="alerts_pick_all",
                    on_change=pick_all,
                    args=(() if is_all else document.firing_ids,),
                )
            else:
                st.html(f'<div class="tr-scope">{found}</div>', width="content")
        st.download_button(
            "CSV",
            lambda: to_csv(read_all(viewer, choice, window)),
            file_name="treering-alerts.csv",
            mime="text/csv",
            key="alerts_csv",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
            help=f"All that match, at most {MOST:,}",
        )


def _draw_alert(alerts: Sequence[Alert], zone: ZoneInfo, *, is_chosen_from: bool) -> None:
    first = alerts[0]
    now = datetime.now(UTC)
    ids = tuple(alert.alert_id for alert in alerts if alert.state == "firing")
    tone = "resolved" if first.state == "resolved" else first.severity
    with _card(f"alert_{tone}_{first.alert_id}"):
        if is_chosen_from and ids:
            _draw_pick(f"alerts_pick_{first.alert_id}", matter_title(alerts), ids)
        facts = "".join(f'<div class="tr-facts">{describe_alert(alert, zone)}</div>' for alert in alerts)
        if first.description:
            facts += f'<div class="tr-facts tr-aside">{html.escape(first.description)}</div>'
        is_group = bool(first.group_key) and not first.evidence.get("budget")
        title, of = (first.rule_name, first.group_key) if is_group else (matter_title(alerts), "")
        _draw_words(title, alert_chips(first, zone, now), facts, of)
        draw_alert_link(first)
        _draw_runbook(first.runbook_url)


def _draw_rule(rule: RuleAlerts, zone: ZoneInfo, *, is_chosen_from: bool) -> None:
    worst = rule.worst
    number = f"{rule.rule_id or 0}_{worst.alert_id}"
    tone = "resolved" if worst.state == "resolved" else rule.severity
    parts = [
        f"{getattr(rule, name):,} {name}"
        for name in ("unacknowledged", "acknowledged", "silenced")
        if getattr(rule, name)
    ]
    chips = [("red" if rule.critical else "orange", f"{rule.critical:,} critical" if rule.critical else "Warning")]
    since = moment_in_words(rule.started_at, zone)
    newest = "" if rule.alerts == 1 else f" · newest {moment_in_words(rule.newest_at, zone)}"
    of = f"{html.escape(worst.group_key)} at " if worst.group_key else ""
    value, threshold = (format_metric(worst.metric, figure) for figure in (worst.value, worst.threshold))
    count = "1 alert" if rule.alerts == 1 else f"{rule.alerts:,} alerts"
    facts = (
        f'<div class="tr-facts">{" · ".join((count, *parts))} · since {since}{newest}</div>'
        f'<div class="tr-facts">Worst: {of}<b>{value}</b>, threshold {threshold}</div>'
    )
    with _card(f"alert_{tone}_rule_{number}"):
        if is_chosen_from and rule.firing_ids:
            _draw_pick(f"alerts_pick_rule_{number}", rule.rule_name, rule.firing_ids)
        _draw_words(rule.rule_name, chips, facts)
        st.button(
            "Show",
            key=f"alerts_show_{number}",
            type="tertiary",
            icon=":material/unfold_more:",
            help="Show the alerts of this rule",
            on_click=choose,
            kwargs={"rule": (rule.rule_name,), "is_by_rule": False},
        )
        _draw_runbook(rule.runbook_url)


def _card(key: str) -> st.delta_generator.DeltaGenerator:
    return st.container(border=True, horizontal=True, vertical_alignment="center", gap="small", key=key)


def _draw_pick(key: str, title: str, ids: tuple[int, ...]) -> None:
    st.session_state[key] = is_picked(ids)
    st.checkbox(f"Select {title}", key=key, label_visibility="collapsed", on_change=pick, args=(ids,))


def _draw_words(title: str, chips: Sequence[tuple[str, str]], facts: str, of: str = "") -> None:
    said = "".join(f'<span class="tr-chip {colour}">{html.escape(words)}</span>' for colour, words in chips)
    name, group = html.escape(title), html.escape(visible_name(of))
    about = f'<span class="tr-of" title="{group}">{group}</span>' if group else ""
    st.html(
        f'<div class="tr-alert"><span class="tr-title" role="heading" aria-level="2" title="{name}">{name}</span>'
        f'{about}<span class="tr-chips">{said}</span></div>{facts}'
    )


def _draw_runbook(address: str | None) -> None:
    if address:
        st.link_button("Runbook", address, type="tertiary", icon=":material/menu_book:")
