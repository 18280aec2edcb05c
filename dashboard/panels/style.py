"""The app's style sheet on the page."""

from __future__ import annotations

import streamlit as st


def draw_style(style: str) -> None:
    """Put the style sheet into an element of the page.

    Streamlit puts HTML of styles alone where toasts go, and a toast from a fragment's button replaces what is there.

    Args:
        style: The rules; `.st-key-style` among them takes no room.
    """
    with st.container(key="style"):
        st.html(f"<style>{style}</style><span hidden></span>")
