"""Settings: members, alert rules, budgets, channels, reports and prices, for ops; everybody sees their own access."""

from __future__ import annotations

import html

import streamlit as st

from dashboard.editors.budgets import draw_budgets
from dashboard.editors.channels import draw_channels
from dashboard.editors.members import ROLES, draw_members
from dashboard.editors.on_call import draw_on_call
from dashboard.editors.prices import draw_prices
from dashboard.editors.reports import draw_reports
from dashboard.editors.rule_list import draw_rules
from dashboard.panels.bound import to_name
from dashboard.panels.changes import clear_saved_fields
from dashboard.panels.frame import draw_error, draw_header
from dashboard.panels.states import draw_state
from dashboard.reads.settings import get_configuration
from dashboard.reads.viewer import require_viewer
from ingest.errors import TreeringError

TABS = ("Alert rules", "Budgets", "On call", "Channels", "Reports", "Members", "Prices")


def take_tab() -> None:
    """Write the chosen tab to the address, so that it can be linked to."""
    st.query_params["tab"] = to_name(st.session_state["settings_tabs"])


def body() -> None:
    """Read and draw."""
    viewer = require_viewer()
    try:
        configuration = get_configuration(viewer)
    except TreeringError as error:
        draw_error("settings", error)
        return
    role = ROLES.get(configuration.access, configuration.access)
    st.html(f'<div class="tr-scope">You are {html.escape(viewer.user_id)} · {html.escape(role)}</div>')
    if configuration.access != "ops":
        draw_state(
            "settings_locked",
            ":material/lock:",
            "Settings require the role ops",
            "Only people with the role ops can change members, alert rules, channels, reports and prices. "
            "Ask one of them for access, or add yourself with the service key: treering members add.",
        )
        return
    clear_saved_fields()
    asked = st.query_params.get("tab", "")
    rules, budgets, on_call, channels, reports, members, prices = st.tabs(
        TABS,
        key="settings_tabs",
        default=next((tab for tab in TABS if to_name(tab) == asked), None),
        on_change=take_tab,
    )
    # Only the tab that is looked at is drawn.
    if rules.open:
        with rules:
            draw_rules(viewer, configuration)
    if budgets.open:
        with budgets:
            draw_budgets(viewer, configuration)
    if on_call.open:
        with on_call:
            draw_on_call(viewer, configuration)
    if channels.open:
        with channels:
            draw_channels(viewer, configuration.channels, configuration.rules)
    if reports.open:
        with reports:
            draw_reports(viewer, configuration.channels)
    if members.open:
        with members:
            draw_members(viewer, configuration.members)
    if prices.open:
        with prices:
            draw_prices(viewer)


draw_header("Settings")
body()
