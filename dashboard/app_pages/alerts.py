"""Alerts: what fires now, what fired before, which messages went out."""

from __future__ import annotations

import html
from datetime import UTC, datetime

import streamlit as st

from dashboard.panels import alerts as incidents
from dashboard.panels import filter_bar
from dashboard.panels.delivery import draw_link, draw_silent_rules
from dashboard.panels.frame import chosen_zone, draw_error, draw_header, draw_state
from dashboard.panels.period_bar import draw_period
from dashboard.reads.alerts import get_alerts
from dashboard.reads.viewer import require_viewer
from ingest.errors import TreeringError

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
    try:
        document = get_alerts(viewer, selection.without_filters().window(datetime.now(UTC), zone))
    except TreeringError as error:
        draw_error("alerts", error)
        return
    can_change = document.access == "ops"
    incidents.draw_failing(document.rules, zone)
    draw_silent_rules(viewer)
    if not document.firing and not document.history and not document.outbox:
        watched = sum(1 for rule in document.rules if rule.is_enabled)
        rules = "1 rule is active." if watched == 1 else f"{watched} rules are active."
        text = rules if watched else "No alert rules yet. Start from a preset in Settings."
        draw_state("alerts_empty", ":material/notifications_off:", "No alerts in this period", text)
        incidents.draw_silences(viewer, document.silences, zone, can_change=can_change)
        return
    matters = incidents.matters_of(document.firing, document.rules)
    count = len(matters)
    firing = "1 alert is firing" if count == 1 else f"{count} alerts are firing" if count else "Nothing is firing"
    st.html(f'<div class="tr-scope">{firing} · times in {html.escape(zone.key)}</div>')
    incidents.draw_times(document.times, count)
    incidents.draw_firing(viewer, matters, zone, can_change=can_change)
    incidents.draw_silences(viewer, document.silences, zone, can_change=can_change)
    incidents.draw_history(document.history, zone)
    incidents.draw_outbox(viewer, document.outbox, zone, can_change=can_change)
    metrics = {alert.rule_name: alert.metric for alert in (*document.history, *document.firing)}
    metrics |= {rule.name: rule.metric for rule in document.rules}
    incidents.draw_transitions(document.transitions, metrics, zone)


body()
