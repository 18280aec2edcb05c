"""Savings as a plan: what the goal is, what was found towards it, and how to do each of it."""

from __future__ import annotations

import html
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.panels.call_links import PAGE as CALLS_PAGE
from dashboard.panels.call_links import calls_address, calls_query
from dashboard.panels.cards import Bar, draw_bars, draw_title, share_of
from dashboard.panels.ledger import draw_decided, draw_decision, draw_realised, outcome
from dashboard.panels.unread import draw_unread
from dashboard.panels.what_if import draw_answer_of, draw_tried
from dashboard.reads.savings import get_ledger, get_savings_plan
from dashboard.selection.filters import DIMENSIONS
from ingest.documents.words import format_count, format_share, format_usd
from ingest.errors import TreeringError
from ingest.savings.plan import FEWEST_DAYS, GOAL, headline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dashboard.reads.viewer import Viewer
    from dashboard.selection.filters import Filters, Selection
    from ingest.documents.savings import LedgerEntry
    from ingest.savings.plan import Plan, Suggestion

MAX_SUGGESTIONS: Final = 8

# Savings are told apart by these dimensions and by no others.
SPLIT_BY: Final = (*DIMENSIONS, "operation")
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
    "tool_retries": "calls of tools that were repeated",
    "liked": "thumbs up",
    "disliked": "thumbs down",
}


@dataclass(frozen=True, slots=True)
class _Context:
    """What each action is drawn with."""

    viewer: Viewer
    selection: Selection
    plan: Plan
    entries: Mapping[str, LedgerEntry]
    decides: bool


def savings_filters(selection: Selection) -> Filters | None:
    """Return the filters that savings are read with; None where one is set that they are not broken down by."""
    return None if selection.is_asked(*_UNSPLIT) else selection.asked(*SPLIT_BY)


def draw_savings(viewer: Viewer, selection: Selection, *, access: str) -> None:
    """Draw the plan: goal, sum, actions by size, and behind each its evidence and its change in code.

    Args:
        viewer: Who is looking.
        selection: Its filters count, its period does not.
        access: member, analyst or ops: analysts see what became of suggestions, ops decide.
    """
    filters = savings_filters(selection)
    with st.container(border=True, key="panel_costs_savings"):
        if filters is None:
            unsplit = [label for name, label in _UNSPLIT.items() if selection.is_asked(name)]
            draw_title("Savings")
            st.caption(f"Savings are not broken down by {' or '.join(unsplit)}. Clear that filter to see them.")
            return
        try:
            plan = get_savings_plan(viewer, filters)
        except TreeringError as error:
            draw_title("Savings")
            draw_unread(error)
            return
        draw_title("Savings", _basis(plan), anchor="savings")
        _draw_plan(viewer, selection, plan, access)


def _draw_plan(viewer: Viewer, selection: Selection, plan: Plan, access: str) -> None:
    entries = _read_entries(viewer, access)
    states = {entry.suggestion_key: entry.state for entry in entries}
    dismissed = [one for one in plan.suggestions if states.get(one.key) == "dismissed"]
    shown = [one for one in plan.suggestions if states.get(one.key) != "dismissed"]
    draw_realised(entries)
    if selection.is_asked() and any(states.values()):
        st.caption("What was realised and decided is of all calls, whatever the filters.")
    if shown:
        counted = [one for one in shown if not one.needs_evaluation]
        evaluated = [one for one in shown if one.needs_evaluation]
        _draw_goal(plan, counted)
        context = _Context(viewer, selection, plan, {entry.suggestion_key: entry for entry in entries}, access == "ops")
        _draw_actions(context, counted)
        if evaluated:
            st.caption(
                "To evaluate first, in no sum: answers may change. Together up to "
                f"{_plain(_sum(evaluated, 'saved_per_month'))} a month."
            )
            _draw_actions(context, evaluated)
    else:
        st.caption(_nothing(plan))
    _draw_notes(plan, dismissed)
    draw_decided(viewer, entries, decides=access == "ops")


def _read_entries(viewer: Viewer, access: str) -> tuple[LedgerEntry, ...]:
    if access not in ("analyst", "ops"):
        return ()
    try:
        return get_ledger(viewer).entries
    except TreeringError:
        return ()  # an older database: the plan stands without decisions


def _sum(suggestions: Iterable[Suggestion], name: str) -> Decimal:
    return sum((getattr(one, name) for one in suggestions), Decimal(0))


def _draw_goal(plan: Plan, counted: Sequence[Suggestion]) -> None:
    low, found, high = (format_usd(_sum(counted, name)) for name in ("low", "saved_per_month", "high"))
    st.html(
        f'<div class="tr-figure">{found}'
        f"<span>a month found ({low} to {high}); "
        f"{format_share(GOAL, 1)} of the spend would be {format_usd(plan.goal)}</span></div>"
    )


def _draw_actions(context: _Context, suggestions: Sequence[Suggestion]) -> None:
    if not suggestions:
        return
    shown = suggestions[:MAX_SUGGESTIONS]
    draw_bars(
        [
            Bar(headline(one), format_usd(one.saved_per_month),
                share_of(one.saved_per_month, context.plan.spend_per_month),
                address=_address(context.selection, one))
            for one in shown
        ],
        ("Action", "US$ a month, share of spend"),
    )  # fmt: skip
    for number, one in enumerate(shown):
        title = f"{number + 1}. {_escaped(headline(one))}: {_plain(one.saved_per_month)}, effort {one.effort}"
        with st.expander(title, key=f"costs_saving_{one.key}"):
            _draw_action(context, one)
    if len(suggestions) > MAX_SUGGESTIONS:
        rest = _sum(suggestions[MAX_SUGGESTIONS:], "saved_per_month")
        st.caption(f"{len(suggestions) - MAX_SUGGESTIONS} smaller ones come to {_plain(rest)} a month.")


def _draw_action(context: _Context, one: Suggestion) -> None:
    st.html(_details(one))
    if one.snippet:
        st.code(one.snippet, language="python")
    entry = context.entries.get(one.key)
    if entry is not None and entry.state != "open":
        st.html(f'<div class="tr-facts">{html.escape(outcome(entry))}</div>')
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.page_link(
            CALLS_PAGE,
            label="Its calls",
            icon=":material/receipt_long:",
            query_params=calls_query(context.selection, **_filters_of(one)),
        )
        draw_tried(context.viewer, one)
        if entry is not None and entry.state == "open" and context.decides:
            draw_decision(context.viewer, entry)
    draw_answer_of(context.viewer, one)


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
    return calls_address(selection, **_filters_of(one))


def _filters_of(one: Suggestion) -> dict[str, str]:
    return {"provider": one.provider, "model": one.model, **({"feature": one.feature} if one.feature else {})}


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


def _draw_notes(plan: Plan, dismissed: Sequence[Suggestion]) -> None:
    notes = []
    if dismissed:
        notes.append(f"Dismissed actions come to {_plain(_sum(dismissed, 'saved_per_month'))} a month, in no sum.")
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
