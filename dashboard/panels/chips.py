"""The filters that are set, each as a chip that a click removes, and a link that shows the same to a colleague."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import streamlit as st

from dashboard.panels.filter_bar import current_selection, store_selection
from dashboard.selection.filters import CALL_FILTERS, FILTERS, QUERY_KEYS

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from dashboard.selection.filters import Selection

_NAMES: Final = {"user_id": "user", "tenant_id": "tenant", "error_type": "error", "session_id": "session"}
_LEAST: Final = {"min_cost": "cost ≥ ${}", "min_latency_ms": "latency ≥ {} ms", "min_tokens": "tokens ≥ {}"}
_ROOM: Final = 40


def chips_of(selection: Selection) -> dict[str, tuple[str, str]]:
    """Return the chips of what is set: what each says, with the filter's name and the value that it removes."""
    found: dict[str, tuple[str, str]] = {}
    for name in (*FILTERS, *CALL_FILTERS, "metadata"):
        for value in getattr(selection, name):
            short = value if len(value) <= _ROOM else f"{value[: _ROOM - 1]}…"
            text = short if name in ("metadata", "tags") else f"{_NAMES.get(name, name)}: {short}"
            while text in found:  # two long names that begin alike
                text += "'"
            found[text] = (name, value)
    return found | {_LEAST[name].format(amount): (name, amount) for name, amount in selection.least}


def draw_chips(page: str, selection: Selection) -> None:
    """Draw the chips; nothing without a filter."""
    chips = chips_of(selection)
    if not chips:
        return
    key = f"{page}_chips"
    st.session_state[key] = list(chips)
    st.pills(
        "Filters that are set; choose one to remove it",
        list(chips),
        selection_mode="multi",
        key=key,
        label_visibility="collapsed",
        on_change=_remove,
        args=(key, chips),
    )


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
        if name in _LEAST:
            selection = selection.with_least(name, "")
        else:
            selection = selection.with_filter(name, [one for one in getattr(selection, name) if one != value])
    store_selection(selection)
