"""One line above the page that tells ops what is wrong with the deployment, and what to do."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.reads.health import get_faults

if TYPE_CHECKING:
    from dashboard.reads.viewer import Viewer


def draw_health(viewer: Viewer) -> None:
    """Draw the worst fault of the deployment; nothing where there is none, and for who is not ops."""
    faults = get_faults(viewer)
    if not faults:
        return
    worst = faults[0]
    fix = f" <span>Fix: {html.escape(worst.fix)}</span>" if worst.fix else ""
    others = f" <span>{len(faults) - 1} more: treering doctor</span>" if len(faults) > 1 else ""
    st.html(
        f'<div class="tr-health tr-health-{worst.level.name.lower()}" role="status">'
        f"<b>{html.escape(worst.part.capitalize())}:</b> {html.escape(worst.message)}.{fix}{others}</div>"
    )
