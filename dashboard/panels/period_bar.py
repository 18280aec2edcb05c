"""The controls of time: period, calendar, grain and comparison."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.panels.filter_bar import current_selection, store_selection
from dashboard.selection.filters import LONGEST_DAYS
from dashboard.selection.periods import CALENDAR, COMPARISONS, GRAINS, PERIODS, ROLLING, can_show

if TYPE_CHECKING:
    from dashboard.selection.filters import Selection

_CALENDAR: Final = "calendar"
_LABELS: Final = {**{name: PERIODS[name].label for name in ROLLING}, _CALENDAR: "Calendar", "custom": "Custom"}
_FIRST_OF_CALENDAR: Final = "this_month"


def draw_period(page: str, selection: Selection, today: date) -> None:
    """Draw the period selector, with the periods of the calendar, or with two days for a custom period."""
    key = f"{page}_period"
    is_calendar = selection.period in CALENDAR
    st.session_state[key] = _CALENDAR if is_calendar else selection.period
    st.segmented_control(
        "Period",
        list(_LABELS),
        format_func=lambda name: _LABELS[name],
        key=key,
        required=True,
        label_visibility="collapsed",
        on_change=_take_period,
        args=(page, today),
    )
    if is_calendar:
        chosen = f"{page}_calendar"
        st.session_state[chosen] = selection.period
        st.selectbox(
            "Calendar",
            CALENDAR,
            format_func=lambda name: PERIODS[name].label,
            key=chosen,
            label_visibility="collapsed",
            width=140,
            on_change=_take_calendar,
            args=(page,),
        )
    if selection.frozen:
        st.button(
            "Frozen times",
            key=f"{page}_thaw",
            icon=":material/ac_unit:",
            help="This link shows exactly these times. Click for the last 7 days.",
            on_click=_thaw,
        )
    elif selection.period == "custom":
        days = f"{page}_days"
        st.session_state[days] = (selection.first_day, selection.last_day)
        st.date_input(
            "Days",
            key=days,
            # A link made east of here, or by hand, may end on a day that has not begun here.
            max_value=max(today, selection.last_day or today),
            format="YYYY-MM-DD",
            label_visibility="collapsed",
            width=230,
            on_change=_take_days,
            args=(page,),
        )


def draw_comparison(page: str, selection: Selection, moments: tuple[datetime, datetime]) -> None:
    """Draw what to compare with and what a bar of a chart is, behind one button; moments are the period's own."""
    is_default = selection.compare == "before" and not selection.grain
    label = "Compare" if is_default else COMPARISONS[selection.compare]
    with st.popover(label, icon=":material/compare_arrows:", key=f"{page}_view"):
        for name, title, options in (("compare", "Compare with", COMPARISONS), ("grain", "A bar is", GRAINS)):
            key = f"{page}_{name}"
            st.session_state[key] = getattr(selection, name)
            st.radio(
                title,
                list(options),
                format_func=options.__getitem__,
                key=key,
                horizontal=name == "grain",
                on_change=_take,
                args=(page, name),
            )
        if not can_show(selection.grain, moments):
            st.caption("This period is too long for that: its bars are chosen automatically.")


def _take(page: str, name: str) -> None:
    chosen: dict[str, str] = {name: st.session_state[f"{page}_{name}"]}
    store_selection(replace(current_selection(), **chosen))  # type: ignore[arg-type]


def _take_period(page: str, today: date) -> None:
    period = st.session_state[f"{page}_period"]
    selection = current_selection()
    if period == _CALENDAR:
        period = selection.period if selection.period in CALENDAR else _FIRST_OF_CALENDAR
    selection = replace(selection, period=period, frozen=None)
    if period == "custom" and not (selection.first_day and selection.last_day):
        selection = replace(selection, first_day=today - timedelta(days=6), last_day=today)
    store_selection(selection)


def _take_calendar(page: str) -> None:
    store_selection(replace(current_selection(), period=st.session_state[f"{page}_calendar"]))


def _take_days(page: str) -> None:
    days: tuple[date, ...] = st.session_state[f"{page}_days"]
    if len(days) == 2:  # after the first click on the calendar there is one
        last = min(days[1], days[0] + timedelta(days=LONGEST_DAYS - 1))
        store_selection(replace(current_selection(), first_day=days[0], last_day=last))


def _thaw() -> None:
    store_selection(replace(current_selection(), period="week", frozen=None))
