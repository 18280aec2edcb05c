"""The app's style sheet on the page."""

from __future__ import annotations

from typing import Final

import streamlit as st

# On a phone the sidebar covers the page that was just chosen in it, and Streamlit leaves it open.
_CLOSE_SIDEBAR: Final = """
if (!window.treeringClosesSidebar) {
  window.treeringClosesSidebar = true;
  document.addEventListener("click", (event) => {
    if (window.innerWidth < 768 && event.target.closest('[data-testid="stSidebarNavLink"]')) {
      setTimeout(() => document.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click(), 100);
    }
  }, true);
}
"""


def draw_style(style: str) -> None:
    """Put the style sheet into an element of the page.

    Streamlit puts HTML of styles alone where toasts go, and a toast from a fragment's button replaces what is there.

    Args:
        style: The rules; `.st-key-style` among them takes no room.
    """
    with st.container(key="style"):
        st.html(f"<style>{style}</style><script>{_CLOSE_SIDEBAR}</script>", unsafe_allow_javascript=True)
