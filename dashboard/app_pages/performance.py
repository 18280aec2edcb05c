"""Performance: how fast calls and routes are, and what fails."""

from __future__ import annotations

import streamlit as st

from dashboard.panels.bound import draw_choice
from dashboard.panels.frame import open_page
from dashboard.panels.speed import draw_calls, draw_routes
from dashboard.reads.pages import get_performance

view = open_page("performance", "Performance", get_performance)


@st.fragment(run_every=view.refresh_s)
def body() -> None:
    """Read and draw; runs again by itself while live."""
    document = view.read()
    if document is None:
        return
    part = draw_choice("Part", ["Model calls", "Routes"], name="part", key="performance_part")
    if part == "Routes":
        draw_routes("performance", document, view.selection, view.zone)
    else:
        draw_calls("performance", document, view.selection, view.zone)


body()
