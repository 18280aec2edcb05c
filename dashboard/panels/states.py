"""What a page shows in place of figures: a box that says why, with a way out."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Literal

import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Callable


def draw_state(key: str, icon: str, title: str, text: str) -> st.delta_generator.DeltaGenerator:
    """Draw a box in place of figures and return it, for a button below the text."""
    box = st.container(border=True, key=f"state_{key}", horizontal_alignment="center")
    box.markdown(f"## {icon}", text_alignment="center")
    box.html(
        f'<div class="tr-state-title" role="status">{html.escape(title)}</div>'
        f'<div class="tr-state-text">{html.escape(text)}</div>'
    )
    return box


def draw_action(
    box: st.delta_generator.DeltaGenerator,
    label: str,
    key: str,
    choose: Callable[..., None],
    *arguments: object,
    is_primary: bool = False,
) -> None:
    """Draw a button that chooses something else to see. In a fragment a click runs that alone: this runs the page."""
    kind: Literal["primary", "secondary"] = "primary" if is_primary else "secondary"
    if box.button(label, key=key, on_click=choose, args=arguments, type=kind):
        st.rerun()
