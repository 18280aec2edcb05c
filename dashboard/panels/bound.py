"""Choices within a page that the address holds: which table, which measure, which tab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Sequence


def draw_choice(label: str, options: Sequence[str], *, name: str, key: str) -> str:
    """Draw a choice of one, the first by default, and return it.

    Args:
        label: What is chosen, for a screen reader.
        options: The choices as people read them.
        name: Parameter of the address; a shared link opens the page with the same choice.
        key: Of the widget.
    """
    asked = st.query_params.get(name, "")
    # A link within the page changes the address and not the widget.
    is_new = st.session_state.get(f"{key}_asked", asked) != asked
    st.session_state[f"{key}_asked"] = asked
    if is_new or st.session_state.get(key) not in options:
        st.session_state[key] = next((option for option in options if to_name(option) == asked), options[0])
    chosen = st.segmented_control(
        label,
        list(options),
        required=True,
        key=key,
        label_visibility="collapsed",
        on_change=_take,
        args=(name, key, options[0]),
    )
    return chosen or options[0]


def to_name(option: str) -> str:
    """Write an option as an address holds it."""
    return option.lower().replace(" ", "-")


def _take(name: str, key: str, default: str) -> None:
    chosen = st.session_state[key]
    if chosen != default:
        st.query_params[name] = to_name(chosen)
    elif name in st.query_params:
        del st.query_params[name]
    st.session_state[f"{key}_asked"] = st.query_params.get(name, "")
