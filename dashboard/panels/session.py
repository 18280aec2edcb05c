"""The page of one session: its sentence, figures, charts and turns. The address alone says what is shown."""

from __future__ import annotations

import html
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import streamlit as st

from dashboard.figures import session_chart, session_words
from dashboard.figures.call_table import ROW_HEIGHT_PX, call_columns, table_height, turn_frame
from dashboard.figures.charts import PICK
from dashboard.figures.kinds import resent_cost
from dashboard.panels.call_details import draw_details
from dashboard.panels.call_links import PAGE as CALLS_PAGE
from dashboard.panels.call_links import calls_query
from dashboard.panels.cards import Bar, Card, draw_bars, draw_cards, draw_legend, draw_title, fallback_note, share_of
from dashboard.panels.frame import draw_error
from dashboard.panels.session_links import PAGE, session_address, session_query
from dashboard.panels.states import draw_state
from dashboard.reads.prices import get_book
from dashboard.reads.sessions import TURNS, get_session
from dashboard.selection.filters import LONGEST_DAYS, Selection
from ingest.documents.document import LIMITED
from ingest.documents.names import plain_markdown, visible_name
from ingest.documents.words import (
    DASH,
    format_count,
    format_exact_usd,
    format_share,
    format_usd,
    format_usd_column,
)
from ingest.errors import DatabaseError, TreeringError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal
    from zoneinfo import ZoneInfo

    import altair as alt

    from dashboard.reads.viewer import Viewer
    from ingest.documents.sessions import Session, SessionTotals

# Parameters of the address.
_SESSION: Final = "session_id"
_USER: Final = "user_id"
_TURN: Final = "turn"
_FIRST: Final = "first"
_PLACE: Final = "session_place"
_TOO_MANY: Final = ("54000", "57014")
_LONGEST_ID: Final = 200
_AGAIN: Final = (
    "What a prompt repeats of the turn before it of the same user and feature, where it did not shrink; where it did, "
    "what was cached"
)


@dataclass(frozen=True, slots=True)
class SessionPage:
    """The page as one viewer sees it now.

    Attributes:
        viewer: Who is looking.
        selection: What is chosen on the other pages, where ways to calls begin.
        zone: In which times are written.
    """

    viewer: Viewer
    selection: Selection
    zone: ZoneInfo

    def draw(self) -> None:
        """Read the session that the address names and draw it; or why there is nothing to draw."""
        session_id = st.query_params.get(_SESSION, "")
        if not session_id:
            text = "Open a call that has a session and choose Whole session."
            box = draw_state("session_none", ":material/forum:", "No session is chosen", text)
            box.page_link(CALLS_PAGE, label="Calls", icon=":material/receipt_long:")
            return
        user_id = _user()
        if any(len(name) > _LONGEST_ID or "\x00" in name for name in (session_id, user_id or "")):
            self._draw_absent("")
            return
        try:
            session = get_session(self.viewer, session_id, user_id, _first_turn())
            if not session.turns and (turns := session.totals.turns):  # the address names a turn beyond the last one
                session = get_session(self.viewer, session_id, user_id, (turns - 1) // TURNS * TURNS + 1)
        except TreeringError as error:
            if isinstance(error, DatabaseError) and error.sqlstate in _TOO_MANY:
                self._draw_endless(session_id)
            else:
                draw_error("session", error)
            return
        if not session.totals.turns:
            self._draw_absent(session_words.describe_missing(session, self.zone))
            return
        resent = self._resent(session)
        self._draw_story(session, resent)
        _draw_figures(session, resent)
        _draw_charts(session)
        self._draw_turns(session)

    def _resent(self, session: Session) -> Decimal | None:
        """Estimate the cost of context sent again; None for viewers who may not see prices, and without them."""
        if session.access in LIMITED or session.totals.last_at is None:
            return None
        try:
            return resent_cost(session.totals.kinds, get_book(self.viewer), session.totals.last_at)
        except TreeringError:
            return None

    def _draw_story(self, session: Session, resent: Decimal | None) -> None:
        totals = session.totals
        st.html(f'<p class="tr-headline">{html.escape(session_words.describe_session(totals, resent))}</p>')
        facts = [("Session", session.session_id), *session_words.session_facts(totals, self.zone)]
        items = "".join(
            f"<span><i>{html.escape(name)}</i> {html.escape(visible_name(text))}</span>" for name, text in facts
        )
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key="session_facts"):
            st.html(f'<div class="tr-pairs">{items}</div>', width="content")
            if session.access == "member":
                st.badge("Your own calls", color="gray")
            elif session.access == "tenant":
                st.badge("Calls of your organization", color="gray")
            if session.has_demo_data:
                st.badge("Demo data", icon=":material/science:", color="violet")
        if missing := session_words.describe_missing(session, self.zone):
            st.warning(missing, icon=":material/inventory_2:")
        _draw_users(session)

    def _draw_turns(self, session: Session) -> None:
        opened = _opened(session)
        number = _number(_TURN)
        left, *right = st.columns([3, 2] if opened is not None else 1, gap="small")
        with left, st.container(border=True, key="panel_session_turns"):
            self._draw_bar(session)
            _draw_lines(session)
            _draw_table(session, self.zone)
        if opened is not None:
            with right[0], st.container(border=True, key="panel_calls_details"):
                st.caption(f"Turn {number:,}")
                draw_details(
                    self.viewer,
                    self.selection,
                    self.zone,
                    session.turns[opened],
                    lambda: _open(None),
                    is_member=session.access == "member",
                    is_in_session=True,
                )

    def _draw_bar(self, session: Session) -> None:
        first, last, turns = session.first_turn, session.first_turn + len(session.turns) - 1, session.totals.turns
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            draw_title("Turns", f"{first:,} to {last:,} of {turns:,}" if session.turns else f"{turns:,}")
            with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", width="content"):
                if query := self._calls_of(session):
                    st.page_link(CALLS_PAGE, label="As calls", icon=":material/receipt_long:", query_params=query)
                if turns > TURNS:
                    st.button(
                        "Earlier", key="session_earlier", icon=":material/chevron_left:", disabled=first <= 1,
                        on_click=_turn_to, args=(max(first - TURNS, 1),),
                    )  # fmt: skip
                    st.button(
                        "Later", key="session_later", icon=":material/chevron_right:", icon_position="right",
                        disabled=last >= turns, on_click=_turn_to, args=(first + TURNS,),
                    )  # fmt: skip

    def _calls_of(self, session: Session) -> dict[str, str | list[str]] | None:
        """Return the address of the same calls on the page of calls; None for a session longer than it can show."""
        totals = session.totals
        if totals.first_at is None or totals.last_at is None or (totals.last_at - totals.first_at).days >= LONGEST_DAYS:
            return None
        start = totals.first_at.astimezone(UTC).replace(microsecond=0)
        frozen = (start, totals.last_at.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1))
        chosen = replace(
            Selection(), period="custom", frozen=frozen, is_reporting_zone=self.selection.is_reporting_zone
        )
        user = st.query_params.get(_USER)
        return calls_query(chosen, session_id=session.session_id, **({"user_id": user} if user else {}))

    def _draw_absent(self, missing: str) -> None:
        text = missing or "No call of it is recorded, or none that you may see."
        box = draw_state("session_absent", ":material/search_off:", "No turn of this session", text)
        box.page_link(CALLS_PAGE, label="Calls", icon=":material/receipt_long:")

    def _draw_endless(self, session_id: str) -> None:
        text = "It has too many calls to be read as a conversation. The page of calls shows them page by page."
        box = draw_state("session_endless", ":material/all_inclusive:", "This session is too long", text)
        query = calls_query(self.selection.without_filters(), session_id=session_id)
        box.page_link(CALLS_PAGE, label="Its calls", icon=":material/receipt_long:", query_params=query)


def draw_session_address() -> None:
    """Draw the button with the link to this session."""
    with st.popover("Link", icon=":material/link:", key="session_link"):
        query = urlencode(
            {name: st.query_params[name] for name in (_SESSION, _USER, _TURN, _FIRST) if name in st.query_params}
        )
        st.code(urlunsplit(urlsplit(st.context.url or "")._replace(query=query)), language=None, wrap_lines=True)
        st.caption("Whoever opens it sees the session with their own access and in their own time zone.")


def _draw_users(session: Session) -> None:
    """Say whose turns are shown where an id is of several users, with the ways to one of them and back to all."""
    chosen = st.query_params.get(_USER)
    if chosen:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(f"Turns of {plain_markdown(chosen)} alone.", width="content")
            st.page_link(
                PAGE, label="All turns", icon=":material/group:", query_params=session_query(session.session_id)
            )
        return
    if session.totals.user_count < 2:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Several users have calls with this session id. See one alone:", width="content")
        for user in session.totals.users[:5]:
            query = session_query(session.session_id, user_id=user)
            st.page_link(PAGE, label=plain_markdown(user), icon=":material/person:", query_params=query)


def _draw_figures(session: Session, resent: Decimal | None) -> None:
    totals = session.totals
    if resent is not None and totals.cost:
        again = Card(
            "Context sent again",
            format_share(resent, totals.cost),
            note=f"of the cost: about {format_usd(resent)}",
            help=f"{_AGAIN}; the recorded cost divided as list prices divide it.",
        )
    else:
        again = Card(
            "Context sent again",
            format_share(totals.resent_tokens, totals.prompt_tokens),
            note="of the prompt tokens",
            help=f"{_AGAIN}.",
        )
    cards = [
        Card("Cost", format_usd(totals.cost), note=_cost_note(totals), help=f"Exactly {format_exact_usd(totals.cost)}"),
        Card("Cost per turn", format_usd(_rounded(totals)), note=_priced_note(totals)),
        again,
        Card(
            "Cached input",
            format_share(totals.cached_tokens, totals.prompt_tokens),
            note=f"{format_count(totals.cached_tokens)} of {format_count(totals.prompt_tokens)} tokens",
        ),
    ]
    draw_cards("session", cards)


def _rounded(totals: SessionTotals) -> Decimal | None:
    return None if totals.cost_per_turn is None else round(totals.cost_per_turn, 12)


def _priced_note(totals: SessionTotals) -> str:
    return "of 1 priced turn" if totals.priced_turns == 1 else f"of {totals.priced_turns:,} priced turns"


def _cost_note(totals: SessionTotals) -> str:
    parts = [fallback_note(totals.fallback_cost)] if totals.fallback_turns else []
    parts += [f"{totals.unpriced_turns:,} unpriced"] if totals.unpriced_turns else []
    parts += [f"{totals.estimated_turns:,} estimated"] if totals.estimated_turns else []
    return " · ".join(parts) or "All priced, all reported"


def _draw_charts(session: Session) -> None:
    points = session.points
    step = points[0].last_turn - points[0].first_turn + 1
    left, right = st.columns(2, gap="small")
    with left, st.container(border=True, key="panel_session_context", height="stretch"):
        below = "prompt tokens by turn" if step == 1 else f"a bar is the largest prompt of {step:,} turns"
        draw_title("Growth of the context", below)
        draw_legend(list(session_chart.CONTEXT_COLOURS), list(session_chart.CONTEXT_COLOURS.values()))
        _draw_chart(session_chart.context_chart(points), "session_context", "Prompt tokens by turn")
    with right, st.container(border=True, key="panel_session_cost", height="stretch"):
        draw_title("Cost", "by turn, and summed" if step == 1 else f"of {step:,} turns a bar, and summed")
        if session.totals.cost is None:
            st.caption("No turn has a price of its own.")
            return
        draw_legend(list(session_chart.COST_COLOURS), list(session_chart.COST_COLOURS.values()))
        _draw_chart(session_chart.cost_chart(points), "session_cost", "Cost by turn, and summed")


def _draw_chart(chart: alt.LayerChart, key: str, title: str) -> None:
    st.altair_chart(chart, key=key, alt=title, on_select=lambda: _take_bar(key), selection_mode=PICK)


def _draw_lines(session: Session) -> None:
    """Draw what a phone shows in place of the table; the style sheet shows one of both."""
    costs = format_usd_column([call.estimated_cost for call in session.turns])
    bars = []
    for number, (call, cost) in enumerate(zip(session.turns, costs, strict=True), start=session.first_turn):
        name = " · ".join((f"{number:,}", call.model, f"{call.prompt_tokens:,} tokens"))
        share = share_of(call.estimated_cost if call.cost_source != "fallback" else None, session.totals.cost)
        bars.append(Bar(name, cost, share, address=session_address(session.session_id, user_id=_user(), turn=number)))
    with st.container(key="narrow_session"):
        draw_bars(bars, ("Turn, model, prompt", "Cost, share"))


def _draw_table(session: Session, zone: ZoneInfo) -> None:
    frame = turn_frame(session.turns, session.first_turn, has_users=session.totals.user_count > 1)
    key = f"session_table_{st.session_state.get(_PLACE, 0)}"
    config = call_columns(session.turns, zone)
    with st.container(key="wide_session"):
        st.dataframe(
            frame,
            key=key,
            hide_index=True,
            height=table_height(len(frame)),
            row_height=ROW_HEIGHT_PX,
            column_config={name: config[name] for name in frame.columns},
            placeholder=DASH,
            selection_mode="single-row",
            on_select=lambda: _take_row(key, list(frame["turn"])),
        )
        if _opened(session) is None:
            st.caption(
                "Select a row (on the keyboard: Shift+Space), or a bar of a chart, to see the full record of a turn "
                "and how its cost was calculated."
            )


def _first_turn() -> int:
    """Return where the page of turns begins: as asked, or so that the open turn is on it."""
    if "turn" in st.query_params and (turn := _number(_TURN)):
        return (turn - 1) // TURNS * TURNS + 1
    return _number(_FIRST) or 1


def _opened(session: Session) -> int | None:
    """Return the place of the open turn on its page; None without one."""
    place = _number(_TURN) - session.first_turn
    return place if _number(_TURN) and 0 <= place < len(session.turns) else None


def _number(name: str) -> int:
    """Return a number of the address; 0 where it says none, for an address is free text."""
    text = st.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0


def _user() -> str | None:
    return st.query_params.get(_USER) or None


def _open(turn: int | None) -> None:
    """Open a turn, or close the open one; the table then begins without a chosen row."""
    st.session_state[_PLACE] = st.session_state.get(_PLACE, 0) + 1
    if turn is None:
        st.query_params[_FIRST] = str(_first_turn())
        st.query_params.pop(_TURN, None)
    else:
        st.query_params[_TURN] = str(turn)


def _turn_to(first: int) -> None:
    st.session_state[_PLACE] = st.session_state.get(_PLACE, 0) + 1
    st.query_params.pop(_TURN, None)
    st.query_params[_FIRST] = str(first)


def _take_row(key: str, turns: Sequence[int]) -> None:
    rows: list[int] = st.session_state[key].selection.rows
    if rows and rows[0] < len(turns):
        st.query_params[_TURN] = str(turns[rows[0]])
    else:
        _open(None)


def _take_bar(key: str) -> None:
    picked = st.session_state[key]["selection"].get(PICK, [])
    if picked:
        _open(int(picked[0]["turn"]))
