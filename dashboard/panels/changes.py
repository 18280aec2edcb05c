"""What all editors share: a line with its facts, and a change that says what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.panels.cards import draw_title
from ingest.documents.names import plain_markdown
from ingest.errors import TreeringError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import ValidationError

_SAVED_FIELDS: Final = "settings_saved_fields"


def clear_saved_fields() -> None:
    """Empty the fields that were saved; what was refused stays, to be corrected. Call before the forms are drawn."""
    for key in st.session_state.pop(_SAVED_FIELDS, ()):
        st.session_state[key] = ""


def start_over(*fields: str) -> None:
    """Redraw the page with these fields empty."""
    st.session_state[_SAVED_FIELDS] = fields
    st.rerun()


def line(name: str) -> st.delta_generator.DeltaGenerator:
    """Return the container of one entry of a list."""
    return st.container(border=True, horizontal=True, vertical_alignment="center", key=f"line_{name}", gap="small")


def draw_facts(title: str, facts: str) -> None:
    """Draw what an entry is."""
    with st.container(gap=None, width="stretch"):
        draw_title(title, facts)


def change(make: Callable[[], None], done: str) -> None:
    """Make a change from a button."""
    attempt(make, done)


def draw_delete(kind: str, name: str, key: str, delete: Callable[[], None], note: str = "") -> None:
    """Draw, apart from the form above it, the way to delete what is edited, which is confirmed.

    Args:
        kind: What it is, such as "budget".
        name: Its name.
        key: Of the button that deletes.
        delete: What that does.
        note: What goes with it, in a sentence.
    """
    with (
        st.container(horizontal=True, horizontal_alignment="right", key=f"delete_{key}"),
        st.popover(f"Delete {kind}", type="tertiary", icon=":material/delete:", key=f"{key}_ask"),
    ):
        st.markdown(f"Delete **{plain_markdown(name)}**? {note or 'This cannot be undone.'}")
        st.button(f"Delete this {kind}", key=key, type="primary", on_click=change, args=(delete, f"{name} deleted"))


def attempt(make: Callable[[], None], done: str) -> bool:
    """Make a change; say what came of it. Returns whether the database took it."""
    try:
        make()
    except TreeringError as error:
        st.toast(f"Not changed: {error}", icon=":material/error:", duration="long")
        return False
    st.toast(done, icon=":material/check:")
    return True


def explain(error: ValidationError) -> str:
    """Say what is wrong with a form, without the values, which may be secret."""
    problems = []
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        message = detail["msg"].removeprefix("Value error, ")
        field = str(detail["loc"][0]).removesuffix("_s").replace("_", " ") if detail["loc"] else ""
        problems.append(f"{field}: {message}" if field else message)
    text = "; ".join(problems)
    return f"{text[0].upper()}{text[1:]}."
