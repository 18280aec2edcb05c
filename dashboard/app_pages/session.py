"""Session: one conversation turn by turn, how its context grows, and what that costs."""

from __future__ import annotations

from dashboard.panels.filter_bar import kept_selection
from dashboard.panels.frame import chosen_zone, draw_header
from dashboard.panels.session import SessionPage, draw_session_address
from dashboard.reads.viewer import require_viewer

selection = kept_selection()
page = SessionPage(require_viewer(), selection, chosen_zone(selection))
with draw_header("Session"):
    draw_session_address()
page.draw()
