"""The controls of the list of alerts: state, search, filters, order, by rule; the address bar holds what is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from dashboard.selection.alert_choice import (
    LISTS,
    PAGE_SIZE,
    QUERY_KEYS,
    SEVERITIES,
    SORTS,
    STATES,
    AlertChoice,
    parse_choice,
)
from ingest.documents.names import visible_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.documents.alerts import AlertCounts, AlertList

_STATE: Final = "alerts_choice"
_LABELS: Final = {"severity": "Severity", "rule": "Rules", "of": "Groups"}


def current_choice() -> AlertChoice:
    """Return what is chosen: the address bar when it says something, else what this session had, on its page."""
    held: AlertChoice = st.session_state.get(_STATE, AlertChoice())
    query = {key: st.query_params.get_all(key) for key in QUERY_KEYS if key in st.query_params}
    asked = parse_choice(query) if query else held
    choice = held if asked.to_query() == held.to_query() else asked
    store_choice(choice)
    return choice


def store_choice(choice: AlertChoice) -> None:
    """Make a choice the session's, and write it to the address bar so that the link can be shared."""
    st.session_state[_STATE] = choice
    wanted = choice.to_query()
    for key in QUERY_KEYS:
        if key in wanted:
            values = wanted[key] if isinstance(wanted[key], list) else [wanted[key]]
            if st.query_params.get_all(key) != values:
                st.query_params[key] = wanted[key]
        elif key in st.query_params:
            del st.query_params[key]


def choose(**choices: Any) -> None:
    """Change a part of the choice; the list begins anew."""
    store_choice(current_choice().changed(**choices))


def draw_alert_filters(document: AlertList, choice: AlertChoice) -> None:
    """Draw the controls above the list."""
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", gap="small", key="alerts_bar"
    ):
        _draw_states(document.counts, choice)
        with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
            _draw_search(choice)
            _draw_lists(document, choice)
            st.session_state["alerts_sort"] = choice.sort
            st.selectbox(
                "Order",
                list(SORTS),
                format_func=SORTS.__getitem__,
                key="alerts_sort",
                label_visibility="collapsed",
                width=165,
                on_change=lambda: choose(sort=st.session_state["alerts_sort"]),
            )
            st.session_state["alerts_by_rule"] = choice.is_by_rule
            st.toggle(
                "Group by rule",
                key="alerts_by_rule",
                on_change=lambda: choose(is_by_rule=st.session_state["alerts_by_rule"]),
            )


def draw_turns(choice: AlertChoice, total: int) -> None:
    """Draw which part of the list is shown and the ways to the parts before and after it; nothing where all fit."""
    if total <= PAGE_SIZE and not choice.page:
        return
    start = choice.page * PAGE_SIZE
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="alerts_turns"):
        st.html(
            f'<div class="tr-scope">{start + 1:,} to {min(start + PAGE_SIZE, total):,} of {total:,}</div>',
            width="content",
        )
        for name, label, icon, page, is_off in (
            ("back", "Back", ":material/chevron_left:", choice.page - 1, choice.page == 0),
            ("next", "Next", ":material/chevron_right:", choice.page + 1, start + PAGE_SIZE >= total),
        ):
            st.button(
                label,
                key=f"alerts_{name}",
                type="tertiary",
                icon=icon,
                icon_position="right" if name == "next" else "left",
                disabled=is_off,
                on_click=choose,
                kwargs={"page": page},
            )


def _draw_states(counts: AlertCounts, choice: AlertChoice) -> None:
    st.session_state["alerts_state"] = choice.state
    st.segmented_control(
        "State",
        list(STATES),
        required=True,
        format_func=lambda name: f"{STATES[name]} {getattr(counts, name):,}",
        key="alerts_state",
        label_visibility="collapsed",
        on_change=lambda: choose(state=st.session_state["alerts_state"]),
    )


def _draw_search(choice: AlertChoice) -> None:
    st.session_state["alerts_search"] = choice.search
    with st.container(width=190):
        st.text_input(
            "Search",
            type="search",
            key="alerts_search",
            label_visibility="collapsed",
            placeholder="Rule, group or note",
            max_chars=200,
            on_change=lambda: choose(search=(st.session_state["alerts_search"] or "").strip()),
        )


def _draw_lists(document: AlertList, choice: AlertChoice) -> None:
    count = choice.filter_count
    known: dict[str, Sequence[str]] = {
        "severity": list(SEVERITIES), "rule": document.rule_names, "of": document.group_keys,
    }  # fmt: skip
    with st.popover(f"Filters · {count}" if count else "Filters", icon=":material/filter_list:", key="alerts_filters"):
        for name in LISTS:
            chosen = getattr(choice, name)
            st.session_state[f"alerts_{name}"] = list(chosen)
            st.multiselect(
                _LABELS[name],
                list(SEVERITIES) if name == "severity" else sorted({*known[name], *chosen}),
                key=f"alerts_{name}",
                format_func=lambda value: SEVERITIES.get(value, visible_name(value)),
                placeholder="All",
                accept_new_options=name == "of",
                on_change=_take_list,
                args=(name,),
            )
        st.button(
            "Clear filters",
            key="alerts_clear",
            disabled=not choice.is_narrowed,
            on_click=lambda: store_choice(current_choice().cleared()),
        )


def _take_list(name: str) -> None:
    choose(**{name: tuple(st.session_state[f"alerts_{name}"])})
