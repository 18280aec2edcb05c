"""The router of the dashboard: who is looking, which pages there are."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.panels.delivery import draw_delivery
from dashboard.panels.health import draw_health
from dashboard.panels.style import draw_style
from dashboard.reads.viewer import draw_account, require_viewer

HERE = Path(__file__).parent

st.set_page_config(
    page_title="Treering", page_icon=HERE / "static" / "icon.svg", layout="wide", initial_sidebar_state=220
)
draw_style((HERE / "static" / "style.css").read_text(encoding="utf-8"))
st.logo(HERE / "static" / "logo.svg", icon_image=HERE / "static" / "icon.svg", size="large")

viewer = require_viewer()
pages = HERE / "app_pages"
page = st.navigation(
    {
        "Monitor": [
            st.Page(pages / "overview.py", title="Overview", icon=":material/space_dashboard:", default=True),
            st.Page(pages / "usage.py", title="Usage", icon=":material/bar_chart:"),
            st.Page(pages / "costs.py", title="Costs", icon=":material/payments:"),
            st.Page(pages / "customers.py", title="Customers", icon=":material/groups:"),
            st.Page(pages / "performance.py", title="Performance", icon=":material/speed:"),
            st.Page(pages / "calls.py", title="Calls", icon=":material/receipt_long:"),
            st.Page(pages / "session.py", title="Session", icon=":material/forum:", visibility="hidden"),
        ],
        "Operate": [
            st.Page(pages / "alerts.py", title="Alerts", icon=":material/notifications:"),
            st.Page(pages / "settings.py", title="Settings", icon=":material/settings:"),
        ],
    }
)
with st.sidebar:
    draw_account(viewer)
draw_health(viewer)
draw_delivery(viewer)
page.run()
