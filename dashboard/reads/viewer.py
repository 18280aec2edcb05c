"""Who is looking: the viewer of `treering up`, a person who signed in, or one whom an embedding product names."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import streamlit as st

from dashboard.reads.embedding import TokenRefusedError, embedded_person
from ingest.database import choose_token
from ingest.database.viewer_token import TENANT_CLAIM, read_claims
from ingest.documents.names import plain_markdown

_ICON: Final = Path(__file__).parents[1] / "static" / "icon.svg"
# `treering up` sets this for the app that it starts on 127.0.0.1; nothing else should.
LOCAL_VIEWER_VARIABLE: Final = "TREERING_LOCAL_VIEWER"


@dataclass(frozen=True, slots=True)
class Viewer:
    """The person whose rights every read and write of this session has.

    Attributes:
        user_id: As it stands in the recorded events and in `members`.
        name: What the sidebar shows.
        tenant_id: The tenant whose calls alone they see, where the embedding product or the sign-in names one.
        can_sign_out: False for the viewer of `treering up` and in an embedded page.
        access_token: The sign-in's own token, where `expose_tokens` passes it on.
    """

    user_id: str
    name: str
    tenant_id: str | None = None
    can_sign_out: bool = True
    access_token: str | None = field(default=None, repr=False, compare=False)


def viewer_key(viewer: Viewer) -> tuple[str, str | None]:
    """Return what tells one viewer from another in a cache: `hash_funcs={Viewer: viewer_key}`."""
    return viewer.user_id, viewer.tenant_id


def current_viewer() -> Viewer | None:
    """Return who is looking; None when no one has signed in.

    Raises:
        TokenRefusedError: The page is embedded, with a token that does not hold.
    """
    local = os.environ.get(LOCAL_VIEWER_VARIABLE, "").strip()
    if local:
        return Viewer(user_id=local, name="This machine", can_sign_out=False)
    embedded = embedded_person()
    if embedded is not None:
        return Viewer(embedded.user_id, embedded.name, tenant_id=embedded.tenant_id, can_sign_out=False)
    claims = st.user.to_dict()
    user_id = claims.get("sub")
    if claims.get("is_logged_in") is not True or not isinstance(user_id, str) or not user_id:
        return None
    names = (claims.get(key) for key in ("name", "preferred_username", "email"))
    name = next((name for name in names if isinstance(name, str) and name), user_id)
    token = choose_token(_tokens())
    said = claims.get(TENANT_CLAIM) or (read_claims(token or "") or {}).get(TENANT_CLAIM)
    return Viewer(user_id, name, tenant_id=None if said is None else str(said), access_token=token)


def require_viewer() -> Viewer:
    """Return who is looking, or draw the sign-in page and end this run."""
    try:
        viewer = current_viewer()
    except TokenRefusedError as error:
        st.navigation([st.Page(partial(_draw_refused, str(error)), title="Treering", url_path="refused")]).run()
        st.stop()
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
        st.image(str(_ICON), width=48)
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
        st.caption(f":material/account_circle: {plain_markdown(viewer.name)}")
        if viewer.can_sign_out:
            st.button("Log out", key="account_log_out", on_click=st.logout, icon=":material/logout:", type="tertiary")


def _tokens() -> dict[str, str]:
    return {name: token for name in ("id", "access") if (token := st.user.tokens.get(name))}


def _draw_refused(reason: str) -> None:
    _, middle, _ = st.columns([1, 1.4, 1])
    with middle, st.container(border=True, key="state_embed_refused", horizontal_alignment="center"):
        st.markdown("## :material/link_off:", text_alignment="center")
        st.html('<div class="tr-state-title">Treering cannot be shown here</div>')
        st.html(f'<div class="tr-state-text" role="status">{html.escape(reason)}</div>')
