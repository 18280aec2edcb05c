"""The controls of a page's header: filters, time zone, live refresh; the address bar holds what is chosen."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.selection.address import parse_query
from dashboard.selection.filters import (
    CALL_FILTERS,
    FILTERS,
    GROUPS,
    MAX_VALUES,
    MAY_LACK,
    NOT,
    QUERY_KEYS,
    STATUSES,
    TAG,
    Selection,
)
from dashboard.selection.metadata import MAX_PAIRS, tidy_each, tidy_pair, tidy_pairs
from dashboard.selection.ranges import LIMITS, tidy_limit
from ingest.documents.names import visible_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ingest.documents.pages import Options

_STATE: Final = "selection"
_LABELS: Final = {
    "model": "Models",
    "feature": "Features",
    "provider": "Providers",
    "environment": "Environments",
    "operation": "Operations",
    "status": "Status",
    "tenant_id": "Tenants",
    "tags": "Tags",
    "user_id": "Users",
    "error_type": "Error types",
    "session_id": "Sessions",
}
# Of these there are more than fit a list: they can be typed.
_TYPED: Final = {"user_id": "All (type an id)", "tenant_id": "All (type an id)", "session_id": "All (type an id)"}
_FAULT: Final = "filter_fault"
_MODES: Final = {"only": "Show only", "not": "Leave out"}
# An empty text in place of a value: calls without one.
_NONE: Final = "(none)"


def current_selection() -> Selection:
    """Return what the viewer has chosen: the address bar when it says something, else what this session had."""
    query = {key: st.query_params.get_all(key) for key in QUERY_KEYS if key in st.query_params}
    # Streamlit empties the address when the page changes: the choice goes along.
    selection = parse_query(query) if query else st.session_state.get(_STATE, Selection())
    store_selection(selection)
    return selection


def kept_selection() -> Selection:
    """Return what the viewer has chosen on other pages, for a page whose address says something else."""
    selection: Selection = st.session_state.get(_STATE, Selection())
    return selection


def store_selection(selection: Selection) -> None:
    """Make a choice the session's, and write it to the address bar so that the link can be shared."""
    st.session_state[_STATE] = selection
    wanted = selection.to_query()
    for key in QUERY_KEYS:
        if key in wanted:
            if st.query_params.get_all(key) != _listed(wanted[key]):
                st.query_params[key] = wanted[key]
        elif key in st.query_params:
            del st.query_params[key]


def follow_choice(selection: Selection) -> None:
    """Run the whole page when something else was chosen than it was drawn for.

    A control inside a fragment runs the fragment alone, which still has the choice of the last whole run.
    """
    if current_selection() != selection:
        st.rerun()


def draw_filters(
    page: str, selection: Selection, options: Options, users: Sequence[str] | None = (), *, is_calls: bool = False
) -> None:
    """Draw the filters behind one button that says how many are set.

    Args:
        page: Short name of the page.
        selection: What is chosen.
        options: The values that occur.
        users: Some users to choose from; None where the viewer sees their own calls alone.
        is_calls: Whether the page shows single calls, which more can be said about.
    """
    count = selection.filter_count
    label = f"Filters · {count}" if count else "Filters"
    known = {
        "model": options.models,
        "feature": options.features,
        "provider": options.providers,
        "environment": options.environments,
        "operation": options.operations,
        "status": STATUSES,
        "tenant_id": options.tenants,
        "tags": [f"{name}={value}" for name, values in options.tags.items() for value in (*values, "")],
        "user_id": users or (),
        "error_type": options.error_types,
    }
    names = [name for name in (*FILTERS, *(CALL_FILTERS if is_calls else ())) if name != "user_id" or users is not None]
    # Products without tenants and tags see nothing of them.
    names = [name for name in names if name not in ("tenant_id", "tags") or known[name] or selection.is_asked(name)]
    with st.popover(label, icon=":material/filter_list:", key=f"{page}_filters"):
        is_out = _draw_mode(page)
        with st.container(key="filter_grid"):
            for name in names:
                _draw_choice(page, name, selection, known.get(name, ()), is_out=is_out)
        _draw_metadata(page, selection, is_out=is_out)
        if is_calls:
            _draw_limits(page, selection)
        if fault := st.session_state.pop(_FAULT, ""):
            st.error(fault)
        zone = f"{page}_zone"
        st.session_state[zone] = selection.is_reporting_zone
        st.toggle(
            "Days in the reporting time zone",
            key=zone,
            on_change=_take_zone,
            args=(page,),
            help="Off: days start at midnight in your time zone. On: at midnight in the team's reporting time zone.",
        )
        if count:
            st.button("Clear filters", key=f"{page}_clear_filters", on_click=clear_filters)


def draw_live(page: str) -> bool:
    """Draw the switch of the live refresh; on at first."""
    st.session_state.setdefault("live", True)
    key = f"{page}_live"
    st.session_state[key] = st.session_state["live"]
    is_live: bool = st.toggle("Live", key=key, on_change=_take_live, args=(page,))
    return is_live


def draw_group(page: str, selection: Selection, options: Options, *, is_user_shown: bool) -> None:
    """Draw the choice of what a chart is split by. A member has only themselves, so no users to split by."""
    hidden = {name for name, is_shown in (("user_id", is_user_shown), ("tenant_id", options.tenants)) if not is_shown}
    names = [*(name for name in GROUPS if name not in hidden), *(TAG + name for name in options.tags)]
    key = f"{page}_group"
    st.session_state[key] = selection.group if selection.group in names else "model"
    st.selectbox(
        "Split by",
        names,
        format_func=lambda name: f"By {GROUPS.get(name, name.removeprefix(TAG)).lower()}",
        key=key,
        label_visibility="collapsed",
        width=150,
        on_change=_take_group,
        args=(page,),
    )


def clear_filters() -> None:
    """Forget all filters, keep the period."""
    store_selection(current_selection().without_filters())


def clear_filter(name: str) -> None:
    """Forget one filter, and what is left out by it."""
    store_selection(current_selection().with_filter(name, ()).with_excluded(name, ()))


def clear_limits() -> None:
    """Forget the ranges of cost, latency and tokens."""
    store_selection(replace(current_selection(), limits=()))


def show_days_around(moment: datetime) -> None:
    """Choose the week that ends on the day of a moment."""
    day = moment.date()
    store_selection(replace(current_selection(), period="custom", first_day=day - timedelta(days=6), last_day=day))


def shown_value(name: str, value: str) -> str:
    """Return a value of a filter as people read it; a call without one has "(none)"."""
    if name == "tags" and value.endswith("="):
        return visible_name(value) + _NONE
    return visible_name(value) or _NONE


def _draw_mode(page: str) -> bool:
    """Draw whether values are chosen to see them or to leave them out; return whether they are left out."""
    key = f"{page}_filter_mode"
    st.session_state.setdefault(key, "only")
    mode = st.segmented_control(
        "Values", list(_MODES), format_func=_MODES.__getitem__, key=key, required=True, label_visibility="collapsed"
    )
    if mode != "not":
        return False
    st.caption(f"Calls with these values are left out. Calls without a value stay in, unless {_NONE} is chosen.")
    return True


def _draw_choice(page: str, name: str, selection: Selection, known: Sequence[str], *, is_out: bool) -> None:
    chosen = selection.excluded_of(name) if is_out else getattr(selection, name)
    key = f"{page}_{NOT if is_out else ''}{name}"
    st.session_state[key] = list(chosen)
    lacking = [""] if name in MAY_LACK and (known or name in _TYPED) else []
    values = [*known, *(value for value in chosen if value not in known)] if name == "status" else sorted(
        {*known, *chosen} - {""}
    )  # fmt: skip
    st.multiselect(
        _LABELS[name],
        [*values, *(lacking or [value for value in chosen if not value])],
        key=key,
        format_func=lambda value: shown_value(name, value),
        placeholder="None" if is_out else _TYPED.get(name, "All"),
        accept_new_options=name in _TYPED,
        max_selections=MAX_VALUES,
        on_change=_take_filter,
        args=(key, name),
        kwargs={"is_out": is_out},
    )


def _draw_metadata(page: str, selection: Selection, *, is_out: bool) -> None:
    chosen, each = (selection.excluded_of("metadata"), "any") if is_out else (selection.metadata, "all")
    key = f"{page}_{NOT if is_out else ''}metadata"
    st.session_state[key] = list(chosen)
    st.multiselect(
        "Metadata",
        list(chosen),
        key=key,
        placeholder="None (type plan=pro)" if is_out else "Any (type plan=pro)",
        accept_new_options=True,
        max_selections=MAX_PAIRS,
        on_change=_take_metadata,
        args=(key,),
        kwargs={"is_out": is_out},
        help=f"Calls whose metadata has {each} of these, in at most 7 days. `seats=5` is a number "
        'and `beta=true` a boolean, as recorded; in quotes they are text: `order="17"`.',
    )


def _draw_limits(page: str, selection: Selection) -> None:
    """Draw both limits of each figure, side by side."""
    amounts = dict(selection.limits)
    with st.container(key="filter_limits"):
        for name, label in LIMITS.items():
            key = f"{page}_{name}"
            st.session_state[key] = amounts.get(name, "")
            st.text_input(label, key=key, placeholder="Any", on_change=_take_limit, args=(page, name), max_chars=20)


def _take_limit(page: str, name: str) -> None:
    typed: str = st.session_state[f"{page}_{name}"]
    if typed.strip() and tidy_limit(name, typed) is None:
        whole = "whole " if name.endswith("_tokens") else ""
        st.session_state[_FAULT] = (
            f"{LIMITS[name]}: a {whole}number of zero or more, such as {'100' if whole else '0.5'}."
        )
    store_selection(current_selection().with_limit(name, typed))


def _take_filter(key: str, name: str, *, is_out: bool) -> None:
    selection, values = current_selection(), st.session_state[key]
    store_selection(selection.with_excluded(name, values) if is_out else selection.with_filter(name, values))


def _take_metadata(key: str, *, is_out: bool) -> None:
    typed: list[str] = st.session_state[key]
    wrong = [text for text in typed if tidy_pair(text) is None]
    if wrong:
        st.session_state[_FAULT] = f"{wrong[0]} is not a pair of a key and a text, number or boolean, such as plan=pro."
    selection = current_selection()
    store_selection(
        selection.with_excluded("metadata", tidy_each(typed))
        if is_out
        else selection.with_filter("metadata", tidy_pairs(typed))
    )


def _take_zone(page: str) -> None:
    store_selection(replace(current_selection(), is_reporting_zone=st.session_state[f"{page}_zone"]))


def _take_live(page: str) -> None:
    st.session_state["live"] = st.session_state[f"{page}_live"]


def _take_group(page: str) -> None:
    store_selection(replace(current_selection(), group=st.session_state[f"{page}_group"]))


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
