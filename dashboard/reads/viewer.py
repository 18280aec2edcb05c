"""Who is looking: the one viewer of `treering up` on this machine, or the person signed in with OpenID Connect."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

import streamlit as st

# `treering up` sets this for the app that it starts on 127.0.0.1; nothing else should.
LOCAL_VIEWER_VARIABLE: Final = "TREERING_LOCAL_VIEWER"


@dataclass(frozen=True, slots=True)
class Viewer:
    """The person whose rights every read and write of this session has.

    Attributes:
        user_id: As it stands in the recorded events and in `members`.
        name: What the sidebar shows.
        is_local: True for the viewer of `treering up`, who cannot sign out.
        access_token: The sign-in's own token, where `expose_tokens` passes it on.
    """

    user_id: str
    name: str
    is_local: bool = False
    access_token: str | None = field(default=None, repr=False, compare=False)


def current_viewer() -> Viewer | None:
    """Return who is looking; None when no one has signed in."""
    local = os.environ.get(LOCAL_VIEWER_VARIABLE, "").strip()
    if local:
        return Viewer(user_id=local, name="This machine", is_local=True)
    claims = st.user.to_dict()
    user_id = claims.get("sub")
    if claims.get("is_logged_in") is not True or not isinstance(user_id, str) or not user_id:
        return None
    names = (claims.get(key) for key in ("name", "preferred_username", "email"))
    name = next((name for name in names if isinstance(name, str) and name), user_id)
    return Viewer(user_id=user_id, name=name, access_token=st.user.tokens.get("id"))


def require_viewer() -> Viewer:
    """Return who is looking, or draw the sign-in page and end this run."""
    viewer = current_viewer()
    if viewer is None:
        st.navigation([st.Page(draw_sign_in, title="Sign in")], position="hidden").run()
        st.stop()
    return viewer


def is_sign_in_configured() -> bool:
    """Whether `.streamlit/secrets.toml` names an OpenID Connect provider."""
    return "is_logged_in" in st.user.to_dict()


def draw_sign_in() -> None:
    """Draw the page that a visitor sees first."""
    _, middle, _ = st.columns([1, 1.4, 1])
    with middle, st.container(border=True, key="state_sign_in", horizontal_alignment="center"):
        st.html('<div class="tr-state-title">Treering</div>')
        if is_sign_in_configured():
            st.html(
                '<div class="tr-state-text">See what your LLM calls cost, how fast they are and who uses them.</div>'
            )
            st.button("Sign in", type="primary", key="sign_in_start", on_click=st.login, icon=":material/login:")
            return
        st.html(
            '<div class="tr-state-text">Sign-in is not set up yet. Copy <code>.streamlit/secrets.toml.example</code> '
            "to <code>.streamlit/secrets.toml</code>, fill in your provider and restart the app. "
            "On one machine, <code>treering up</code> needs no sign-in.</div>"
        )


def draw_account(viewer: Viewer) -> None:
    """Show in the sidebar who is looking, with a way out."""
    with st.container(key="account", gap="xsmall"):
        st.caption(f":material/account_circle: {_plain(viewer.name)}")
        if not viewer.is_local:
            st.button("Log out", key="account_log_out", on_click=st.logout, icon=":material/logout:", type="tertiary")


def _plain(text: str) -> str:
    """Escape a name so that Markdown formats none of it."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]()<>#+-.!|:$~" else sign for sign in text)
