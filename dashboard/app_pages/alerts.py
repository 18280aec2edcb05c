"""Alerts: what fires now, what fired before, which messages went out."""

from __future__ import annotations

import html
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.panels import alerts as incidents
from dashboard.panels import filter_bar
from dashboard.panels.alert_filters import current_choice
from dashboard.panels.alert_list import draw_alerts
from dashboard.panels.alert_picks import keep_picks
from dashboard.panels.delivery import draw_link, draw_silent_rules
from dashboard.panels.frame import chosen_zone, draw_error, draw_header
from dashboard.panels.period_bar import draw_period
from dashboard.panels.states import draw_state
from dashboard.reads.alerts import find_alerts
from dashboard.reads.viewer import require_viewer
from ingest.errors import TreeringError

if TYPE_CHECKING:
    from dashboard.selection.alert_choice import AlertChoice
    from dashboard.selection.filters import Window
    from ingest.documents.alerts import AlertList

viewer = require_viewer()
selection = filter_bar.current_selection()
zone = chosen_zone(selection)
with draw_header("Alerts"):
    draw_period("alerts", selection, datetime.now(UTC).astimezone(zone).date())
    is_live = filter_bar.draw_live("alerts")
draw_link(viewer, zone)


@st.fragment(run_every=10 if is_live else None)
def body() -> None:
    """Read and draw; runs again by itself while live."""
    window = selection.without_filters().window(datetime.now(UTC), zone)
    try:
        choice, document = read_list(window)
    except TreeringError as error:
        draw_error("alerts", error)
        return
    incidents.draw_failing(document.failing, zone)
    draw_silent_rules(viewer)
    if not any((document.firing_now, document.times.alerts, document.outbox, document.counts.resolved)):
        draw_calm(document)
        return
    count = document.firing_now
    firing = "1 alert is firing" if count == 1 else f"{count:,} alerts are firing" if count else "Nothing is firing"
    st.html(f'<div class="tr-scope">{firing} · times in {html.escape(zone.key)}</div>')
    incidents.draw_times(document.times, count)
    keep_picks(document)
    can_change = document.access == "ops"
    draw_alerts(viewer, document, choice, window, zone)
    incidents.draw_silences(viewer, document.silences, zone, can_change=can_change)
    incidents.draw_outbox(viewer, document.outbox, zone, can_change=can_change)
    incidents.draw_transitions(document.transitions, zone)


def read_list(window: Window) -> tuple[AlertChoice, AlertList]:
    """Read what is chosen; where no state is, what fires, or what was resolved while nothing fires."""
    choice = current_choice()
    document = find_alerts(viewer, replace(window, filters=choice.filters()))
    if choice.state:
        return choice, document
    if document.firing_now or not document.counts.resolved:
        return replace(choice, state="firing"), document
    choice = replace(choice, state="resolved")
    return choice, find_alerts(viewer, replace(window, filters=choice.filters()))


def draw_calm(document: AlertList) -> None:
    """Say that there is nothing, and lead to the rules."""
    watched = document.active_rules
    rules = "1 rule is active." if watched == 1 else f"{watched} rules are active."
    text = rules if watched else "No alert rules yet. Start from a preset in Settings."
    box = draw_state("alerts_empty", ":material/notifications_off:", "No alerts in this period", text)
    if document.access == "ops":
        box.page_link(
            Path(__file__).with_name("settings.py"),
            label="Alert rules" if watched else "Add alert rules",
            icon=":material/tune:",
            query_params={"tab": "alert-rules"},
        )
    incidents.draw_silences(viewer, document.silences, zone, can_change=document.access == "ops")


body()
