"""What became of suggestions: what was realised, decisions, and what was measured by which comparison."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

import streamlit as st

from dashboard.panels.cards import draw_title
from dashboard.panels.changes import attempt
from dashboard.reads.savings import decide_saving
from ingest.documents.words import format_share, format_usd
from ingest.savings.ledger import realised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboard.reads.viewer import Viewer
    from ingest.documents.savings import LedgerEntry

_COLOURS: Final[dict[str, Literal["green", "blue", "gray", "orange"]]] = {
    "verified": "green",
    "measured": "blue",
    "accepted": "blue",
    "withdrawn": "orange",
    "dismissed": "gray",
}
_METHODS: Final = {"holdout": "against users held out", "before_after": "before and after"}
HOLDOUT_SHARE: Final = Decimal("0.1")


def draw_realised(entries: Sequence[LedgerEntry]) -> None:
    """Draw what verified suggestions have saved this month and since the start; nothing before any was accepted."""
    if not any(one.accepted_on for one in entries):
        return
    today = datetime.now(UTC).date()
    month = realised(entries, since=today.replace(day=1), today=today)
    total = realised(entries, since=None, today=today)
    verified = sum(one.state == "verified" for one in entries)
    count = "1 verified action" if verified == 1 else f"{verified} verified actions"
    st.html(
        f'<div class="tr-figure">{format_usd(month)}<span>realised this month, {format_usd(total)} since the start, '
        f"by {count}</span></div>"
    )


def draw_decided(viewer: Viewer, entries: Sequence[LedgerEntry], *, decides: bool) -> None:
    """Draw the suggestions that were decided about; the plan no longer has most of them.

    Args:
        viewer: Who is looking.
        entries: The ledger.
        decides: Whether the viewer may open them again.
    """
    decided = [one for one in entries if one.state != "open"]
    if not decided:
        return
    st.html('<div class="tr-heading">Decided</div>')
    for one in sorted(decided, key=lambda one: (list(_COLOURS).index(one.state), one.suggestion_key)):
        with st.container(
            horizontal=True, vertical_alignment="center", gap="small", key=f"line_saving_{one.suggestion_key}"
        ):
            with st.container(gap=None, width="stretch"):
                draw_title(one.headline)
                st.html(f'<div class="tr-facts">{html.escape(outcome(one))}</div>')
            st.badge(one.state.capitalize(), color=_COLOURS[one.state])
            if decides and st.button("Reopen", key=f"costs_reopen_{one.suggestion_key}", type="tertiary"):
                _decide(viewer, one, "reopen", "Reopened")


def draw_decision(viewer: Viewer, entry: LedgerEntry) -> None:
    """Draw what ops decide about an open suggestion with."""
    key = entry.suggestion_key
    with st.popover("Accept", key=f"costs_accept_box_{key}", icon=":material/check:"):
        st.caption("The change is made: it is measured from that day on, each day, once there are five days.")
        day = st.date_input("Day of the change (UTC)", "today", max_value="today", key=f"costs_day_{key}")
        is_split = st.toggle(
            f"{format_share(HOLDOUT_SHARE, 1)} of the users keep the old way",
            key=f"costs_holdout_{key}",
            help="The backend asks in_holdout for each user; savings are then measured against these users.",
        )
        if is_split:
            st.code(
                f'from ingest import in_holdout\n\nif in_holdout(user_id, "{key}"):\n    ...  # the old way', "python"
            )
        if st.button("Accept", key=f"costs_accept_{key}", type="primary"):
            share = str(HOLDOUT_SHARE) if is_split else None
            _decide(viewer, entry, "accept", "Accepted", accepted_on=str(day) if day else None, holdout_share=share)
    with st.popover("Dismiss", key=f"costs_dismiss_box_{key}", icon=":material/close:"):
        st.caption("It comes back when it is worth half as much again.")
        reason = st.text_input("Reason", key=f"costs_reason_{key}", placeholder="Why not")
        if st.button("Dismiss", key=f"costs_dismiss_{key}", disabled=not reason):
            _decide(viewer, entry, "dismiss", "Dismissed", reason=reason)


def outcome(entry: LedgerEntry) -> str:
    """Say what became of a suggestion that was decided about."""
    if entry.state == "dismissed":
        return f"Dismissed: {entry.reason}"
    parts = [] if entry.accepted_on is None else [f"Changed on {entry.accepted_on:%d %b %Y}"]
    if entry.accepted_expected is not None:
        parts.append(f"expected {format_usd(entry.accepted_expected)} a month")
    if entry.measured_expected is None:
        parts.append("not measured yet" + (", users are held out" if entry.holdout_share else ""))
    else:
        interval = f"{format_usd(entry.measured_low)} to {format_usd(entry.measured_high)}"
        method = _METHODS.get(entry.measured_by or "", "")
        parts.append(f"measured {format_usd(entry.measured_expected)} ({interval}) {method}".strip())
    return ", ".join(parts)


def _decide(viewer: Viewer, entry: LedgerEntry, decision: str, done: str, **more: str | None) -> None:
    if attempt(lambda: decide_saving(viewer, entry.suggestion_key, decision, **more), done):
        st.rerun()
