"""Saved views: what is chosen on a page under a name, to come back to and to share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.panels.chips import address_query
from dashboard.reads.views import delete_view, get_views, save_view
from ingest.documents.names import plain_markdown
from ingest.errors import TreeringError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboard.reads.viewer import Viewer
    from dashboard.selection.filters import Selection
    from ingest.documents.views import SavedView

_SCRIPTS: Final = Path(__file__).parents[1] / "app_pages"
_PAGES: Final = ("overview", "usage", "costs", "customers", "performance", "calls")
_MAX_NAME: Final = 80
_FAULT: Final = "view_fault"


def draw_views(page: str, viewer: Viewer, selection: Selection, *, can_share: bool) -> None:
    """Draw the button with the views of all pages, this page's first, and the form that saves this one.

    Args:
        page: Short name of the page.
        viewer: Whose views.
        selection: What is chosen now.
        can_share: Whether the viewer may share one with analysts and ops.
    """
    with st.popover("Views", icon=":material/bookmark:", key=f"{page}_views"):
        try:
            views = get_views(viewer)
        except TreeringError as error:
            st.error(f"The saved views cannot be read: {error}")
            return
        _draw_list(page, viewer, sorted(views, key=lambda view: view.page != page))
        _draw_form(page, viewer, selection, can_share=can_share)


def _draw_list(page: str, viewer: Viewer, views: Sequence[SavedView]) -> None:
    shown = [view for view in views if view.page in _PAGES]
    if not shown:
        st.caption("Nothing saved yet. A view keeps the period, the filters and the table of a page.")
        return
    with st.container(key=f"{page}_view_list", gap="small"):
        for view in shown:
            with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                st.page_link(
                    _SCRIPTS / f"{view.page}.py",
                    label=plain_markdown(view.name if view.page == page else f"{view.page.capitalize()}: {view.name}"),
                    query_params={key: list(value) for key, value in view.query.items()},
                    help=None if view.is_own else f"Shared by {plain_markdown(view.owner)}",
                )
                if view.is_shared:
                    st.badge("Shared", color="gray")
                if view.is_own:
                    st.button(
                        "Delete",
                        key=f"{page}_delete_view_{view.view_id}",
                        type="tertiary",
                        icon=":material/close:",
                        help=f"Delete {plain_markdown(view.name)}",
                        on_click=_delete,
                        args=(viewer, view.view_id),
                    )


def _draw_form(page: str, viewer: Viewer, selection: Selection, *, can_share: bool) -> None:
    with st.form(f"{page}_view_form", border=False, clear_on_submit=True):
        st.text_input("Save what is shown as", key=f"{page}_view_name", max_chars=_MAX_NAME, placeholder="Name")
        if can_share:
            st.toggle(
                "Share with analysts and ops",
                key=f"{page}_view_shared",
                help="They see the same choices, each with their own access and in their own time zone.",
            )
        st.form_submit_button("Save view", on_click=_save, args=(page, viewer, selection))
    if fault := st.session_state.pop(_FAULT, ""):
        st.error(fault)


def _save(page: str, viewer: Viewer, selection: Selection) -> None:
    name = st.session_state[f"{page}_view_name"].strip()
    if not name:
        st.session_state[_FAULT] = "Enter a name."
        return
    # The period stands in it even where it is the default: an empty address would show what is chosen now.
    query = {"period": [selection.period], **address_query(selection)}
    try:
        save_view(viewer, page, name, query, is_shared=bool(st.session_state.get(f"{page}_view_shared")))
    except TreeringError as error:
        st.session_state[_FAULT] = str(error)


def _delete(viewer: Viewer, view_id: int) -> None:
    try:
        delete_view(viewer, view_id)
    except TreeringError as error:
        st.session_state[_FAULT] = str(error)
