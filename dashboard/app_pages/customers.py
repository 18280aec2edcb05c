"""Customers: who costs what, one row per customer, user, tag value or session, and the page of each."""

from __future__ import annotations

import streamlit as st

from dashboard.panels.entities import draw_list
from dashboard.panels.entity import draw_entity, draw_entity_head
from dashboard.panels.entity_links import current_choice
from dashboard.panels.entity_view import EntityView, entity_window, is_open, read_rows
from dashboard.panels.frame import open_page

view = EntityView.of(open_page("customers", "Customers", read_rows))


@st.fragment(run_every=view.refresh_s)
def body() -> None:
    """Read and draw; runs again by itself while live."""
    choice = current_choice()
    if is_open(choice):
        draw_entity_head(choice, view.selection)
    document = view.read()
    if document is None:
        return
    if is_open(choice):
        draw_entity(view, document, choice)
    else:
        draw_list(view.viewer, document, view.selection, entity_window(view.selection), view.zone)


body()
