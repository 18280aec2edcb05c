"""The filters that are set, each as a chip that a click removes, and a link that shows the same to a colleague."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import streamlit as st

from dashboard.panels.filter_bar import current_selection, shown_value, store_selection
from dashboard.selection.filters import ASKED, NOT, QUERY_KEYS
from dashboard.selection.ranges import LIMITS, limit_in_words
from ingest.documents.names import plain_markdown

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from dashboard.selection.filters import Selection

_NAMES: Final = {"user_id": "user", "tenant_id": "tenant", "error_type": "error", "session_id": "session"}
# These name themselves: plan=pro.
_PAIRS: Final = ("metadata", "tags")
_ROOM: Final = 40


def chips_of(selection: Selection) -> dict[str, tuple[str, str]]:
    """Return the chips of what is set: what each says, with the filter's name and the value that it removes.

    The name of what is left out begins with `NOT`.
    """
    found: dict[str, tuple[str, str]] = {}
    for prefix in ("", NOT):
        for name in ASKED:
            for value in selection.excluded_of(name) if prefix else getattr(selection, name):
                text = chip_text(prefix + name, value)
                while text in found:  # two long names that begin alike
                    text += "'"
                found[text] = (prefix + name, value)
    return found | {limit_in_words(name, amount): (name, amount) for name, amount in selection.limits}


def chip_text(filter_name: str, value: str) -> str:
    """Say what a value of a filter leaves, or leaves out where the filter's name begins with `NOT`."""
    name = filter_name.removeprefix(NOT)
    shown = shown_value(name, value)
    short = shown if len(shown) <= _ROOM else f"{shown[: _ROOM - 1]}…"
    said = f"not {short}" if filter_name.startswith(NOT) else short
    return said if name in _PAIRS else f"{_NAMES.get(name, name)}: {said}"


def draw_chips(page: str, selection: Selection) -> None:
    """Draw the chips, and beside them the way to turn one around; nothing without a filter."""
    chips = chips_of(selection)
    if not chips:
        return
    key = f"{page}_chips"
    st.session_state[key] = list(chips)
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key=f"{page}_chip_row"):
        st.pills(
            "Filters that are set; choose one to remove it",
            list(chips),
            format_func=plain_markdown,
            selection_mode="multi",
            key=key,
            label_visibility="collapsed",
            on_change=_remove,
            args=(key, chips),
        )
        turnable = [(name, value) for name, value in chips.values() if name not in LIMITS]
        if turnable:
            _draw_turn(page, {chip_text(_turned_name(name), value): (name, value) for name, value in turnable})


def _draw_turn(page: str, turned: dict[str, tuple[str, str]]) -> None:
    key = f"{page}_turn_chip"
    st.session_state[key] = None
    with st.popover(
        "Turn", icon=":material/swap_horiz:", type="tertiary", key=f"{page}_turn", help="Leave out or show instead"
    ):
        st.pills(
            "Turn around, to", list(turned), format_func=plain_markdown, key=key, on_change=_turn, args=(key, turned)
        )


def _turned_name(name: str) -> str:
    return name.removeprefix(NOT) if name.startswith(NOT) else NOT + name


def draw_link(page: str, selection: Selection, zone: ZoneInfo) -> None:
    """Draw the button with a link to what is shown now, which can hold the present times."""
    # Runs the page when it is opened: what was chosen in a fragment since, as a call or a table, is part of the link.
    with st.popover("Link", icon=":material/link:", key=f"{page}_link", on_change="rerun"):
        is_frozen = st.toggle(
            "Keep these exact times",
            key=f"{page}_link_frozen",
            help="Off: the link shows the same period as seen on the day it is opened.",
        )
        chosen = selection.freeze(datetime.now(UTC), zone) if is_frozen else selection
        st.code(link_to(st.context.url or "", chosen), language=None, wrap_lines=True)
        st.caption("Whoever opens it sees this with their own access and in their own time zone.")


def link_to(address: str, selection: Selection) -> str:
    """Return the address of a page with these choices."""
    return urlunsplit(urlsplit(address)._replace(query=urlencode(address_query(selection), doseq=True)))


def address_query(selection: Selection) -> dict[str, list[str]]:
    """Return the parameters of an address with these choices; what else it holds, as a table or a call, stays."""
    others = {name: st.query_params.get_all(name) for name in st.query_params if name not in QUERY_KEYS}
    chosen = selection.to_query()
    return others | {name: [value] if isinstance(value, str) else value for name, value in chosen.items()}


def _remove(key: str, chips: dict[str, tuple[str, str]]) -> None:
    selection = current_selection()
    for text in chips.keys() - set(st.session_state[key]):
        name, value = chips[text]
        if name in LIMITS:
            selection = selection.with_limit(name, "")
        elif name.startswith(NOT):
            name = name.removeprefix(NOT)
            selection = selection.with_excluded(name, [one for one in selection.excluded_of(name) if one != value])
        else:
            selection = selection.with_filter(name, [one for one in getattr(selection, name) if one != value])
    store_selection(selection)


def _turn(key: str, turned: dict[str, tuple[str, str]]) -> None:
    chosen: str | None = st.session_state[key]
    if chosen is not None:
        name, value = turned[chosen]
        store_selection(current_selection().turned(name.removeprefix(NOT), value))
