"""Which alerts are selected, and what is done to them: acknowledge and silence, one or a thousand at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.panels.cards import draw_title
from dashboard.panels.changes import attempt
from dashboard.reads.alerts import acknowledge_alerts, silence_alerts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from dashboard.reads.viewer import Viewer
    from ingest.documents.alerts import AlertList

SILENCES: Final = {
    "1 hour": timedelta(hours=1),
    "4 hours": timedelta(hours=4),
    "1 day": timedelta(days=1),
    "7 days": timedelta(days=7),
}
_PICKED: Final = "alerts_picked"


def picked_ids() -> frozenset[int]:
    """Return the numbers of the alerts that are selected."""
    picked: frozenset[int] = st.session_state.get(_PICKED, frozenset())
    return picked


def is_picked(ids: Collection[int]) -> bool:
    """Whether all of these are selected."""
    return bool(ids) and picked_ids().issuperset(ids)


def pick(ids: Collection[int]) -> None:
    """Select these, or no longer."""
    picked = picked_ids()
    st.session_state[_PICKED] = picked.difference(ids) if is_picked(ids) else picked.union(ids)


def pick_all(ids: Collection[int]) -> None:
    """Select exactly these."""
    st.session_state[_PICKED] = frozenset(ids)


def keep_picks(document: AlertList) -> None:
    """Forget what no longer fires or is no longer found; a single line is selected by itself."""
    found = frozenset(document.firing_ids)
    st.session_state[_PICKED] = found if document.total == 1 else picked_ids() & found


def draw_actions(viewer: Viewer, document: AlertList, title: str) -> None:
    """Draw what can be done to what is selected. Ops only.

    Args:
        viewer: Who does it.
        document: What the list shows.
        title: Name of the one line that is selected; empty for several.
    """
    ids = sorted(picked_ids())
    several = f"{len(ids):,} alerts"
    with st.container(border=True, key="panel_alerts_actions", gap="small"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            draw_title(title or f"{several} selected", several if title and len(ids) > 1 else "")
            if document.total > 1:
                st.button(
                    "Clear selection", key="alerts_pick_none", type="tertiary", icon=":material/close:",
                    on_click=pick_all, args=((),),
                )  # fmt: skip
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="alerts_deeds"):
            with st.container(width=300):
                st.text_input("Note", key="alerts_note", max_chars=500, placeholder="What you found, or who is on it")
            st.button(
                "Acknowledge",
                key="alerts_acknowledge",
                type="primary",
                icon=":material/visibility:",
                on_click=_act,
                args=(
                    lambda: acknowledge_alerts(viewer, ids, _typed("alerts_note")),
                    f"{title or several} acknowledged",
                ),
            )
            _draw_silence(viewer, ids, title or several)


def _draw_silence(viewer: Viewer, ids: Sequence[int], title: str) -> None:
    length = st.selectbox("Silence for", list(SILENCES), key="alerts_silence_for", width=110)
    st.button(
        "Silence",
        key="alerts_silence",
        icon=":material/notifications_paused:",
        on_click=_act,
        args=(lambda: _silence(viewer, ids), f"{title} silenced for {length}"),
    )
    st.toggle(
        "Whole rule",
        key="alerts_silence_whole",
        help="Also all other groups of the rule. Off: only what is selected. The note goes along.",
    )


def _silence(viewer: Viewer, ids: Sequence[int]) -> None:
    ends_at = datetime.now(UTC) + SILENCES[st.session_state["alerts_silence_for"]]
    is_whole = bool(st.session_state.get("alerts_silence_whole"))
    silence_alerts(viewer, ids, ends_at, _typed("alerts_note"), is_whole_rule=is_whole)


def _act(make: Callable[[], None], done: str) -> None:
    if attempt(make, done):
        st.session_state[_PICKED] = frozenset()
        st.session_state["alerts_note"] = ""


def _typed(key: str) -> str:
    # A callback looks at the widget itself: what was typed just before the click is not in the last drawing yet.
    return str(st.session_state.get(key) or "")
