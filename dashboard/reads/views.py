"""What the app reads and writes of saved views."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.reads.connection import change, fetch_as
from dashboard.reads.viewer import Viewer, viewer_key
from ingest.documents.views import SavedViews

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.documents.views import SavedView

__all__ = ["delete_view", "get_views", "save_view"]

# A view that somebody else shares may appear later by this.
_TTL: Final = timedelta(minutes=1)


@st.cache_data(ttl=_TTL, max_entries=200, show_spinner=False, hash_funcs={Viewer: viewer_key})
def get_views(viewer: Viewer) -> Sequence[SavedView]:
    """Read the viewer's own views and those that are shared with them."""
    return fetch_as(viewer, SavedViews, "get_views").views


def save_view(viewer: Viewer, page: str, name: str, query: Mapping[str, Sequence[str]], *, is_shared: bool) -> None:
    """Keep the choices of a page; a view of the same name on the same page is replaced.

    Raises:
        InvalidArgumentError: The viewer has too many views, or the name is too long.
    """
    choices = {key: list(values) for key, values in query.items()}
    change(viewer, "save_view", view={"page": page, "name": name, "query": choices, "is_shared": is_shared})
    get_views.clear()


def delete_view(viewer: Viewer, view_id: int) -> None:
    """Delete a view of the viewer's, or as ops any shared one."""
    change(viewer, "delete_view", view_id=view_id)
    get_views.clear()
