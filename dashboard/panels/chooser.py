"""A list to choose from and the editor of what is chosen, side by side; on a phone one below the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import streamlit as st

from ingest.documents.names import plain_markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamlit.delta_generator import DeltaGenerator

# A list that is longer gets a search, and scrolls by itself.
MANY: Final = 8
_LIST_HEIGHT_PX: Final = 560


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list.

    Attributes:
        number: Its id in the database.
        title: Its name.
        facts: What it is, in a sentence.
        badges: Colour, as Streamlit names it, and words.
    """

    number: int
    title: str
    facts: str = ""
    badges: tuple[tuple[str, str], ...] = ()


def open_list(kind: str) -> tuple[DeltaGenerator, DeltaGenerator]:
    """Return the place of the list and that of the editor."""
    left, right = st.columns([2, 3], gap="medium")
    return left, right.container(border=True, key=f"panel_settings_{kind}")


def draw_chooser(kind: str, entries: Sequence[Entry], new: str) -> int | None:
    """Draw the list and the button of a new entry; return the number that is chosen, None for a new one.

    The first entry is chosen at first, and an entry that was just saved under its name.

    Args:
        kind: Part of the keys of the widgets.
        entries: The lines.
        new: What the button says; empty for a list that nothing is added to.
    """
    key = _key(kind)
    _settle(kind, entries)
    with st.container(gap="small", key=f"list_{kind}"):
        if new:
            st.button(
                new, key=f"{key}_new", icon=":material/add:", width="stretch", on_click=_choose, args=(kind, None)
            )
        shown = _found(key, entries) if len(entries) > MANY else entries
        if not shown:
            if entries:
                st.caption("None of this name.")
            return chosen_number(kind)
        titles = {entry.number: _title(entry) for entry in shown}
        with st.container(height=_LIST_HEIGHT_PX, border=False) if len(shown) > MANY else st.container():
            st.radio(
                f"{kind.capitalize()}s",
                list(titles),
                index=None,
                format_func=lambda number: titles.get(number, ""),
                captions=[plain_markdown(entry.facts) for entry in shown],
                key=key,
                label_visibility="collapsed",
                width="stretch",
                persist_state="page",
            )
    return chosen_number(kind)


def chosen_number(kind: str) -> int | None:
    """Return the number that is chosen; None for a new entry."""
    number: int | None = st.session_state.get(_key(kind))
    return number


def choose_saved(kind: str, name: str) -> None:
    """Choose the entry of this name when the list is drawn next."""
    st.session_state[f"{_key(kind)}_saved"] = name


def _key(kind: str) -> str:
    return f"settings_{kind}_chosen"


def _choose(kind: str, number: int | None) -> None:
    st.session_state[_key(kind)] = number


def _settle(kind: str, entries: Sequence[Entry]) -> None:
    key = _key(kind)
    saved = st.session_state.pop(f"{key}_saved", None)
    numbers = [entry.number for entry in entries]
    if saved is not None:
        named = [entry.number for entry in entries if entry.title == saved]
        st.session_state[key] = named[-1] if named else st.session_state.get(key)
    elif key not in st.session_state:
        st.session_state[key] = numbers[0] if numbers else None
    if st.session_state[key] not in (None, *numbers):
        st.session_state[key] = None  # it was deleted


def _found(key: str, entries: Sequence[Entry]) -> list[Entry]:
    typed = st.text_input(
        "Search", type="search", key=f"{key}_search", label_visibility="collapsed", placeholder="Search"
    )
    words = (typed or "").strip().lower()
    # What is chosen stays in the list: a choice that is not drawn is lost.
    chosen = st.session_state[key]
    return [one for one in entries if one.number == chosen or words in f"{one.title} {one.facts}".lower()]


def _title(entry: Entry) -> str:
    badges = " ".join(f":{colour}-badge[{plain_markdown(words)}]" for colour, words in entry.badges)
    return f"{plain_markdown(entry.title)} {badges}".strip()
