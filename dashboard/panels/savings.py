"""Savings as a plan: what the goal is, what was found towards it, and how to do each of it."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.panels.call_links import calls_address
from dashboard.panels.cards import Bar, draw_bars, draw_title, share_of
from dashboard.panels.changes import attempt
from dashboard.panels.unread import draw_unread
from dashboard.reads.savings import decide_saving, get_ledger, get_savings_plan
from dashboard.selection.filters import DIMENSIONS
from ingest.documents.document import LIMITED
from ingest.documents.words import format_count, format_share, format_usd
from ingest.errors import TreeringError
from ingest.savings.ledger import realised
from ingest.savings.plan import FEWEST_DAYS, GOAL, headline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dashboard.reads.viewer import Viewer
    from dashboard.selection.filters import Selection
    from ingest.documents.savings import LedgerEntry
    from ingest.savings.plan import Plan, Suggestion

MAX_SUGGESTIONS: Final = 8

# Savings are told apart by all dimensions but the status of a call.
SPLIT_BY: Final = tuple(name for name in DIMENSIONS if name != "status")
_UNSPLIT: Final = {
    "status": "status",
    "tenant_id": "tenant",
    "tags": "tag",
    "user_id": "user",
    "metadata": "kind of metadata",
}
_EVIDENCE: Final = {
    "calls": "calls",
    "cost": "spent on them",
    "prompt_tokens": "prompt tokens",
    "completion_tokens": "completion tokens",
    "cached_tokens": "cached tokens",
    "missed_10_tokens": "tokens that the cache could have given",
    "excess_prompt_tokens": "prompt tokens above the limit",
    "excess_output_tokens": "output tokens above four medians",
    "excess_reasoning_tokens": "reasoning tokens above twice the answer",
    "cut_off": "answers cut off",
    "regenerated": "asked for again within a minute",
    "continued": "after which the session went on",
    "liked": "thumbs up",
    "disliked": "thumbs down",
}


def draw_savings(viewer: Viewer, selection: Selection, *, access: str) -> None:
    """Draw the plan: goal, sum, actions by size, and behind each its evidence and its change in code.

    Args:
        viewer: Who is looking.
        selection: Its filters count, its period does not.
        access: member, analyst or ops: analysts see what became of suggestions, ops decide.
    """
    filters = tuple((name, getattr(selection, name)) for name in SPLIT_BY if getattr(selection, name))
    unsplit = [label for name, label in _UNSPLIT.items() if getattr(selection, name)]
    with st.container(border=True, key="panel_costs_savings"):
        if unsplit:
            draw_title("Savings")
            st.caption(f"Savings are not broken down by {' or '.join(unsplit)}. Clear that filter to see them.")
            return
        try:
            plan = get_savings_plan(viewer, filters)
        except TreeringError as error:
            draw_title("Savings")
            draw_unread(error)
            return
        draw_title("Savings", _basis(plan))
        entries = {} if access in LIMITED else _draw_ledger(viewer)
        if not plan.suggestions:
            st.caption(_nothing(plan))
            return
        _draw_goal(plan)
        counted = [one for one in plan.suggestions if not one.needs_evaluation]
        evaluated = [one for one in plan.suggestions if one.needs_evaluation]
        decides = viewer if access == "ops" else None
        _draw_actions(selection, plan, counted, entries, decides)
        if evaluated:
            st.caption(
                f"To evaluate first, in no sum: answers may change. Together up to {_plain(plan.to_evaluate)} a month."
            )
            _draw_actions(selection, plan, evaluated, entries, decides)
        _draw_notes(plan)


def _draw_ledger(viewer: Viewer) -> dict[str, LedgerEntry]:
    """Say what verified suggestions have saved, and return what became of each."""
    try:
        entries = get_ledger(viewer).entries
    except TreeringError:
        return {}  # an older database: the plan stands without decisions
    today = datetime.now(UTC).date()
    total = realised(entries, since=None, today=today)
    if total:
        month = realised(entries, since=today.replace(day=1), today=today)
        st.caption(f"Realised and verified: {_plain(month)} this month, {_plain(total)} since the start.")
    return {entry.suggestion_key: entry for entry in entries}


def _draw_decision(viewer: Viewer, one: Suggestion, entry: LedgerEntry) -> None:
    """Draw the buttons by which ops decide about a suggestion."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        if entry.state != "open":
            if st.button("Reopen", key=f"costs_reopen_{one.key}"):
                attempt(lambda: decide_saving(viewer, one.key, "reopen"), "Reopened")
            return
        if st.button("Accept", key=f"costs_accept_{one.key}", help="The change is made: measure it from today on."):
            attempt(lambda: decide_saving(viewer, one.key, "accept"), "Accepted: measured once five days have passed")
        reason = st.text_input("Reason", key=f"costs_reason_{one.key}", placeholder="why not")
        if st.button("Dismiss", key=f"costs_dismiss_{one.key}", disabled=not reason):
            attempt(lambda: decide_saving(viewer, one.key, "dismiss", reason), "Dismissed")


def _state(entry: LedgerEntry | None) -> str:
    """Say what became of a suggestion; nothing while it is open."""
    if entry is None or entry.state == "open":
        return ""
    if entry.state == "dismissed":
        return f"Dismissed: {entry.reason}."
    measured = ""
    if entry.measured_expected is not None:
        interval = f"{format_usd(entry.measured_low)} to {format_usd(entry.measured_high)}"
        measured = f", measured {format_usd(entry.measured_expected)} a month ({interval})"
    return f"{entry.state.capitalize()} since {entry.accepted_on:%d %b %Y}{measured}."


def _draw_goal(plan: Plan) -> None:
    st.html(
        f'<div class="tr-figure">{format_usd(plan.total())}'
        f"<span>a month found ({format_usd(plan.total('low'))} to {format_usd(plan.total('high'))}); "
        f"{format_share(GOAL, 1)} of the spend would be {format_usd(plan.goal)}</span></div>"
    )


def _draw_actions(
    selection: Selection,
    plan: Plan,
    suggestions: Sequence[Suggestion],
    entries: Mapping[str, LedgerEntry],
    decides: Viewer | None,
) -> None:
    if not suggestions:
        return
    shown = suggestions[:MAX_SUGGESTIONS]
    draw_bars(
        [
            Bar(headline(one), format_usd(one.saved_per_month),
                share_of(one.saved_per_month, plan.spend_per_month), address=_address(selection, one))
            for one in shown
        ],
        ("Action", "US$ a month, share of spend"),
    )  # fmt: skip
    for number, one in enumerate(shown):
        with st.expander(f"{number + 1}. {_escaped(headline(one))}", key=f"costs_saving_{one.key}"):
            st.html(_details(one))
            if one.snippet:
                st.code(one.snippet, language="python")
            entry = entries.get(one.key)
            if entry is not None and _state(entry):
                st.caption(_escaped(_state(entry)))
            if entry is not None and decides is not None:
                _draw_decision(decides, one, entry)
    if len(suggestions) > MAX_SUGGESTIONS:
        rest = sum((one.saved_per_month for one in suggestions[MAX_SUGGESTIONS:]), Decimal(0))
        st.caption(f"{len(suggestions) - MAX_SUGGESTIONS} smaller ones come to {_plain(rest)} a month.")


def _details(one: Suggestion) -> str:
    facts = ", ".join(_fact(name, value) for name, value in one.evidence.items() if name != "days")
    who = " · ".join(filter(None, (one.feature, one.model, one.provider)))
    return (
        f"<div><b>{format_usd(one.saved_per_month)}</b> a month ({format_usd(one.low)} to {format_usd(one.high)}), "
        f"confidence {one.confidence}, risk {one.risk}, effort {one.effort}.</div>"
        f'<div class="tr-facts">Who: {html.escape(who)}</div>'
        f'<div class="tr-facts">Assumptions: {html.escape(" ".join(one.assumptions))}</div>'
        f'<div class="tr-facts">Evidence: {html.escape(facts)}, in {one.evidence["days"]} days.</div>'
    )


def _fact(name: str, value: int | Decimal) -> str:
    label = _EVIDENCE.get(name, name.replace("_", " "))
    return f"{format_usd(value)} {label}" if isinstance(value, Decimal) else f"{format_count(value)} {label}"


def _address(selection: Selection, one: Suggestion) -> str:
    chosen = {"provider": one.provider, "model": one.model, **({"feature": one.feature} if one.feature else {})}
    return calls_address(selection, **chosen)


def _basis(plan: Plan) -> str:
    if not plan.days:
        return ""
    days = "1 whole day" if plan.days == 1 else f"{plan.days} whole days"
    few = f" Fewer than {FEWEST_DAYS}: a month may differ much." if plan.days < FEWEST_DAYS else ""
    return (
        f"From {days} (UTC) with calls, {format_usd(plan.spend_per_month)} a month, at list and your own prices.{few}"
    )


def _nothing(plan: Plan) -> str:
    if not plan.days:
        return "No savings found: no whole day (UTC) with priced calls lies in the last 30 days."
    return "No savings found. Nothing of what was looked for comes to 1% of the spend and a dollar a month."


def _draw_notes(plan: Plan) -> None:
    notes = []
    if plan.largest_user is not None:
        user, share = plan.largest_user
        notes.append(f"One user ({_escaped(user)}) makes {format_share(share, 1)} of the spend.")
    if plan.too_small:
        notes.append(f"Actions too small to list come to {_plain(plan.too_small)} a month, in no sum.")
    if plan.unexamined >= Decimal("0.01"):
        notes.append(f"Calls for {_plain(plan.unexamined)} are not examined yet: the worker does so day by day.")
    if notes:
        st.caption(" ".join(notes))


def _plain(amount: Decimal) -> str:
    # A dollar sign would begin a formula.
    return format_usd(amount).replace("$", r"\$")


def _escaped(text: str) -> str:
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]()<>#+-.!|:$~" else sign for sign in text)
