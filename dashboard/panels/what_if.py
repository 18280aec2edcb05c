"""What-if: the form that prices past calls anew, what comes of it, and what was kept beside what happened."""

from __future__ import annotations

import html
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from dashboard.panels.cards import draw_title
from dashboard.panels.changes import attempt
from dashboard.panels.unread import draw_unread
from dashboard.reads.what_if import ask, delete, get_followed, get_scenarios, keep, prices_of, question_of
from ingest.documents.names import visible_name
from ingest.documents.words import format_count, format_exact_usd, format_usd
from ingest.errors import TreeringError
from ingest.savings.scenarios import Question
from ingest.savings.what_if import LONG_INPUT, Change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboard.reads.viewer import Viewer
    from ingest.documents.pages import Options
    from ingest.documents.what_if import KeptScenario
    from ingest.savings.plan import Suggestion
    from ingest.savings.scenarios import Followed
    from ingest.savings.what_if import Apart, WhatIf
    from pricing import PriceBook

TRIED_DAYS: Final = 30
"""Days that "Try it" prices anew."""

_KEY: Final = "costs_what_if"
_ASKED: Final = f"{_KEY}_asked"
_PERIODS: Final = {7: "Last 7 days", 30: "Last 30 days", 90: "Last 90 days"}
_TIERS: Final = {"": "As recorded", "default": "Default", "batch": "Batch", "flex": "Flex", "priority": "Priority"}
_ABOUT: Final = {
    "": "All calls",
    "job": "Jobs that nobody waits for",
    "hurried": "Priority calls that nobody waits for",
    "repeated": "Repeats of the same prompt",
    "embedded_again": "Texts embedded again",
    "superseded": "Attempts that a retry replaced",
    "failed": "Failed calls that were billed",
    "cancelled": "Cancelled calls",
    LONG_INPUT: "Prompts over 128,000 tokens",
}
_SHARES: Final = {
    "cached_share": ("Cached input (%)", 100, "Part of the input that is read from the prompt cache."),
    "prompt_share": ("Input length (%)", 1000, "100 is as long as recorded."),
    "completion_share": ("Output length (%)", 1000, "100 is as long as recorded."),
    "calls_share": ("Calls made (%)", 100, "Part of the calls that are still made."),
    "hour_writes_share": ("Cached for an hour (%)", 100, "Part of the hour-long cache writes that stay that long."),
}


def draw_what_if(viewer: Viewer, options: Options, *, access: str, is_filtered: bool) -> None:
    """Draw the form, what came of the last question, and what was kept.

    Args:
        viewer: Who is looking.
        options: Models, features and providers that occur.
        access: member, tenant, analyst or ops: the first two ask about their own calls and keep nothing.
        is_filtered: Whether the page has filters, which the form does not take over.
    """
    sees_all = access in ("analyst", "ops")
    with st.container(border=True, key="panel_costs_what_if"):
        own = " The calls are those chosen here, whatever the filters of the page." if is_filtered else ""
        draw_title("What if", f"Past calls priced anew with another model, tier, cache or length. Whole UTC days.{own}")
        try:
            book = prices_of(viewer)
        except TreeringError as error:
            draw_unread(error)
            return
        _draw_form(options, book, is_member=not sees_all)
        asked = st.session_state.get(_ASKED)
        if asked is not None:
            _draw_answer(viewer, asked["question"], asked["days"], keeps=sees_all)
        if sees_all:
            _draw_kept(viewer)


def try_suggestion(viewer: Viewer, suggestion: Suggestion) -> None:
    """Fill the form with a suggestion's change, asked of the last 30 days; a callback."""
    try:
        question = question_of(viewer, suggestion, TRIED_DAYS)
    except TreeringError as error:
        st.toast(f"Not tried: {error}", icon=":material/error:", duration="long")
        return
    st.session_state[_ASKED] = {"question": question, "days": TRIED_DAYS, "origin": suggestion.key}
    change = question.change
    fields: dict[str, Any] = {name: question.filters.get(name, ("",))[0] for name in ("feature", "model")}
    fields |= {
        "user": "", "about": question.about or "", "days": TRIED_DAYS, "tier": change.service_tier or "",
        "to": (suggestion.provider, change.model) if change.model else None,
    }  # fmt: skip
    for name in _SHARES:
        share: Decimal | None = getattr(change, name)
        fields[name] = None if share is None else float(share * 100)
    for name, value in fields.items():
        st.session_state[f"{_KEY}_{name}"] = value


def draw_tried(viewer: Viewer, suggestion: Suggestion) -> None:
    """Draw, in a suggestion, the button that tries it."""
    st.button(
        "Try it",
        key=f"costs_try_{suggestion.key}",
        icon=":material/science:",
        on_click=try_suggestion,
        args=(viewer, suggestion),
        help=f"Prices the last {TRIED_DAYS} days anew",
    )


def draw_answer_of(viewer: Viewer, suggestion: Suggestion) -> None:
    """Draw, in the suggestion that was tried last, what came."""
    asked = st.session_state.get(_ASKED)
    if asked is None or asked.get("origin") != suggestion.key:
        return
    try:
        found = ask(viewer, asked["question"], asked["days"])
    except TreeringError as error:
        draw_unread(error)
        return
    st.html(f'<div class="tr-facts" role="status">{_sentence(found)}</div>')


def _draw_form(options: Options, book: PriceBook, *, is_member: bool) -> None:
    models = [(provider, name) for provider in options.providers for name in book.models(provider)]
    st.session_state.setdefault(f"{_KEY}_days", 7 if is_member else TRIED_DAYS)
    chosen = st.session_state.get(f"{_KEY}_to")
    models = list(dict.fromkeys((*models, *((chosen,) if chosen else ()))))
    with st.form(f"{_KEY}_form", border=False):
        st.html('<div class="tr-heading">Calls</div>')
        with st.container(key="grid_what_if_calls"):
            values = {
                "feature": _select("feature", "Feature", ("", *options.features), {"": "All features"}),
                "model": _select("model", "Model", ("", *options.models), {"": "All models"}),
                "about": _select("about", "Which of them", tuple(_ABOUT), _ABOUT),
                "days": _select("days", "Period", (7,) if is_member else tuple(_PERIODS), _PERIODS),
            }
            user = "" if is_member else st.text_input("User", key=f"{_KEY}_user", placeholder="All users") or ""
        st.html('<div class="tr-heading">Change</div>')
        with st.container(key="grid_what_if_change"):
            to = st.selectbox(
                "Answered by", models, index=None, key=f"{_KEY}_to", placeholder="Model as recorded",
                format_func=lambda one: f"{visible_name(one[1])} ({visible_name(one[0])})",
            )  # fmt: skip
            tier = _select("tier", "Service tier", tuple(_TIERS), _TIERS)
            shares = {
                name: st.number_input(
                    label, 0.0, float(most), value=None, key=f"{_KEY}_{name}", placeholder="As recorded", help=words,
                    format="%g",
                )
                for name, (label, most, words) in _SHARES.items()
            }  # fmt: skip
        is_asked = st.form_submit_button("Price anew", type="primary", key=f"{_KEY}_ask")
    if is_asked:
        _ask_form(values, user.strip(), to, tier, shares)


def _ask_form(
    values: dict[str, Any], user: str, to: tuple[str, str] | None, tier: str, shares: dict[str, float | None]
) -> None:
    if user and values["about"] not in ("", LONG_INPUT):
        st.error("Calls of a user are not judged: choose all calls, or no user.")
        return
    changed: dict[str, Any] = {
        name: None if share is None else Decimal(repr(share)) / 100 for name, share in shares.items()
    }
    try:
        change = Change(
            model=to[1] if to else None, provider=to[0] if to else None, service_tier=tier or None, **changed
        )
    except ValueError as error:
        st.error(f"{str(error)[0].upper()}{str(error)[1:]}.")
        return
    filters = {name: (values[name],) for name in ("feature", "model") if values[name]}
    if user:
        filters["user_id"] = (user,)
    question = Question(change, filters, values["about"] or None)
    st.session_state[_ASKED] = {"question": question, "days": values["days"]}


def _draw_answer(viewer: Viewer, question: Question, days: int, *, keeps: bool) -> None:
    try:
        found = ask(viewer, question, days)
    except TreeringError as error:
        draw_unread(error)
        return
    if not found.days:
        st.caption("No whole day (UTC) of these calls with a certain price.")
    else:
        with st.container(key="grid_what_if_answer"):
            for label, value, note in (
                ("As recorded", found.cost, f"{format_count(found.calls)} calls in {_days(found.days)}"),
                ("Changed", found.changed_cost, _each(found.changed_unit_cost)),
                ("Difference", found.difference, f"{format_usd(found.difference_per_month)} a month"),
            ):
                with st.container(gap=None):
                    st.metric(label, format_usd(value), help=f"Exactly {format_exact_usd(value)}")
                    st.html(f'<div class="tr-note">{html.escape(note)}</div>')
    for line in _apart_lines(found):
        st.html(f'<div class="tr-facts">{html.escape(line)}</div>')
    if keeps and found.days:
        _draw_keep(viewer, question, found)


def _draw_keep(viewer: Viewer, question: Question, found: WhatIf) -> None:
    with st.popover("Keep", key=f"{_KEY}_keep_box", icon=":material/bookmark_add:"):
        st.caption("Kept what-ifs are shown below beside what the calls cost from then on.")
        name = st.text_input("Name", key=f"{_KEY}_name", max_chars=200)
        if st.button("Keep it", key=f"{_KEY}_keep", type="primary", disabled=not (name or "").strip()):
            attempt(lambda: keep(viewer, (name or "").strip(), question, found), "Kept")


def _draw_kept(viewer: Viewer) -> None:
    try:
        kept = get_scenarios(viewer)
    except TreeringError:
        return  # an older database keeps none
    if not kept:
        return
    st.html('<div class="tr-heading">Kept, and what happened since</div>')
    for scenario in kept:
        number = scenario.scenario_id
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"line_scenario_{number}"):
            with st.container(gap=None, width="stretch"):
                draw_title(
                    visible_name(scenario.name),
                    f"Kept on {scenario.created_at:%d %b %Y} by {visible_name(scenario.created_by)}",
                )
                st.html(f'<div class="tr-facts">{html.escape(_followed_line(viewer, scenario))}</div>')
            st.button(
                "Delete", key=f"{_KEY}_delete_{number}", type="tertiary", icon=":material/delete:",
                on_click=_delete, args=(viewer, scenario),
            )  # fmt: skip


def _delete(viewer: Viewer, scenario: KeptScenario) -> None:
    attempt(lambda: delete(viewer, scenario.scenario_id), "Deleted")


def _followed_line(viewer: Viewer, scenario: KeptScenario) -> str:
    promised = (
        f"A useful call cost {format_usd(scenario.cost / scenario.units)}, expected "
        f"{format_usd(scenario.changed_cost / scenario.units)}"
    )
    try:
        since: Followed | None = get_followed(viewer, scenario)
    except TreeringError as error:
        return f"{promised}. The days since could not be read: {error}"
    if since is None:
        return f"{promised}. No whole day (UTC) with calls since."
    left = ""
    if since.left:
        left = f" The same change would now {'save' if since.left < 0 else 'add'} {format_usd(abs(since.left))}."
    return (
        f"{promised}, since then {format_usd(since.unit_cost)}. In {_days(since.days)} {format_usd(since.cost)}: "
        f"expected {format_usd(since.expected_cost)}, unchanged {format_usd(since.unchanged_cost)}.{left}"
    )


def _sentence(found: WhatIf) -> str:
    return (
        f"In {_days(found.days)}: <b>{format_usd(found.cost)}</b> as recorded, <b>{format_usd(found.changed_cost)}</b> "
        f"with the change, <b>{format_usd(found.difference_per_month)}</b> a month."
    )


def _apart_lines(found: WhatIf) -> list[str]:
    lines = []
    if found.unpriced_calls:
        lines.append(f"{found.unpriced_calls:,} calls have no price with the change and stay as they are.")
    for one, words in ((found.fallback, "at the fallback price"), (found.unpriced, "without a price")):
        if one.calls:
            lines.append(f"Apart, in no sum: {one.calls:,} calls {words}{_apart(one)}.")
    if found.unexamined >= Decimal("0.01"):
        lines.append(f"Calls for {format_usd(found.unexamined)} are not examined.")
    return lines


def _apart(one: Apart) -> str:
    now = "" if one.cost is None else f", {format_usd(one.cost)}"
    return now if one.changed_cost is None else f"{now}, with the change {format_usd(one.changed_cost)}"


def _each(unit_cost: Decimal | None) -> str:
    return "" if unit_cost is None else f"{format_usd(unit_cost)} a useful call"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _select(name: str, label: str, choices: Sequence[Any], words: dict[Any, str]) -> Any:
    key = f"{_KEY}_{name}"
    kept = st.session_state.get(key)
    # A tried suggestion may be about a name that this period does not have.
    offered = list(choices) if kept is None or kept in choices else [*choices, kept]
    return st.selectbox(label, offered, key=key, format_func=lambda one: words.get(one) or visible_name(str(one)))
