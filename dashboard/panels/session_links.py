"""Ways to the page of one session."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import streamlit as st

PAGE: Final = Path(__file__).parents[1] / "app_pages" / "session.py"


def session_query(session_id: str, *, user_id: str | None = None, turn: int | None = None) -> dict[str, str]:
    """Return the address of a session's page, of one user's turns alone if given, with a turn open if given."""
    query = {"session_id": session_id}
    if user_id:
        query["user_id"] = user_id
    return query if turn is None else query | {"turn": str(turn)}


def session_address(session_id: str, *, user_id: str | None = None, turn: int | None = None) -> str:
    """Return the same as a link beside the other pages."""
    return f"session?{urlencode(session_query(session_id, user_id=user_id, turn=turn))}"


def draw_session_link(session_id: str, label: str = "Whole session") -> None:
    """Draw the way to a session's page."""
    st.page_link(PAGE, label=label, icon=":material/forum:", query_params=session_query(session_id))
