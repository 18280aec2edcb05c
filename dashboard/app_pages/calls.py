"""Calls: every single call, newest first, with what it cost and why."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from dashboard.panels import filter_bar
from dashboard.panels.calls import Explorer
from dashboard.panels.chips import draw_chips, draw_link
from dashboard.panels.frame import chosen_zone, draw_header
from dashboard.panels.period_bar import draw_period
from dashboard.panels.views import draw_views
from dashboard.reads.viewer import require_viewer
from dashboard.selection.periods import PERIODS

selection = filter_bar.current_selection()
zone = chosen_zone(selection)
viewer = require_viewer()
explorer = Explorer(viewer, selection, zone)
now = datetime.now(UTC)
with draw_header("Calls"):
    draw_period("calls", selection, now.astimezone(zone).date())
    options, users = explorer.choices()
    filter_bar.draw_filters("calls", selection, options, users, is_calls=True)
    draw_views("calls", viewer, selection, can_share=users is not None)
    draw_link("calls", selection, zone)
    is_live = filter_bar.draw_live("calls") and selection.is_live(now, zone)
draw_chips("calls", selection)


@st.fragment(run_every=PERIODS[selection.period].refresh_s or 15 if is_live else None)
def body() -> None:
    """Read and draw; runs again by itself while live."""
    explorer.draw()


body()
