"""What a panel says where its own read failed and the rest of the page stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ingest.errors import FunctionNotFoundError

if TYPE_CHECKING:
    from ingest.errors import TreeringError


def draw_unread(error: TreeringError) -> None:
    """Say in one line why a panel is empty."""
    if isinstance(error, FunctionNotFoundError):
        st.caption("The database is older than this app: apply the migrations with `treering migrate`.")
    else:
        st.caption(f"This could not be read: {error}")
