"""The read of one session."""

from __future__ import annotations

from typing import Final

import streamlit as st

from dashboard.reads.connection import READ_TTL, fetch_as
from dashboard.reads.viewer import Viewer, viewer_key
from ingest.documents.sessions import Session

__all__ = ["TURNS", "get_session"]

TURNS: Final = 50
"""Turns of a page."""
_FROM_MEMORY: Final = 100


@st.cache_data(ttl=READ_TTL, max_entries=_FROM_MEMORY, show_spinner=False, hash_funcs={Viewer: viewer_key})
def get_session(viewer: Viewer, session_id: str, user_id: str | None, first_turn: int) -> Session:
    """Read a session with one page of its turns; within some seconds from memory.

    Args:
        viewer: Who is looking; they get the turns that they may see.
        session_id: As recorded.
        user_id: Whose turns alone; None for all.
        first_turn: Number of the first turn of the page, from 1.
    """
    filters = {"first_turn": first_turn, "limit": TURNS} | ({"user_id": user_id} if user_id else {})
    session = fetch_as(viewer, Session, "get_session", session_id=session_id, filters=filters)
    return session.model_copy(update={"session_id": session_id})
