"""The editor of budgets in Settings."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import streamlit as st
from pydantic import ValidationError

from dashboard.editors.scope import draw_scope
from dashboard.figures.alert_words import PERIODS, describe_budget, to_threshold
from dashboard.panels.cards import draw_title
from dashboard.panels.changes import attempt, draw_delete, explain, start_over
from dashboard.panels.chooser import Entry, choose_saved, draw_chooser, open_list
from dashboard.reads.settings import delete_budget, reporting_zone, save_budget
from ingest.alerts.metrics import CALLS
from ingest.alerts.rules import BUDGET_STEPS, BudgetDraft
from ingest.documents.words import format_share, format_usd

if TYPE_CHECKING:
    from dashboard.reads.viewer import Viewer
    from ingest.documents.settings import Budget, Configuration

_STEPS: Final = (Decimal("0.5"), Decimal("0.8"), Decimal("0.9"), Decimal(1))


def draw_budgets(viewer: Viewer, configuration: Configuration) -> None:
    """Draw the budgets beside the editor of the one that is chosen, or of a new one."""
    budgets = {budget.budget_id: budget for budget in configuration.budgets}
    left, right = open_list("budget")
    with left:
        entries = [
            Entry(number, budget.name, describe_budget(budget), budget_badges(budget))
            for number, budget in budgets.items()
        ]
        number = draw_chooser("budget", entries, "New budget")
    budget = budgets.get(number) if number is not None else None
    with right:
        draw_title(budget.name if budget else "New budget")
        if budget:
            _draw_use(budget)
        _draw_form(viewer, configuration, budget)
        if budget:
            number = budget.budget_id
            key = f"settings_budget_{number}_delete"
            draw_delete("budget", budget.name, key, lambda: delete_budget(viewer, number))


def budget_badges(budget: Budget) -> tuple[tuple[str, str], ...]:
    """Return what stands beside a budget's name, as colours and words."""
    badges = []
    if budget.used is not None:
        colour = "red" if budget.used >= 1 else "orange" if budget.used >= Decimal("0.8") else "green"
        badges.append((colour, f"{format_share(budget.used, 1)} used"))
    if budget.forecast is not None:
        badges.append(("red" if budget.forecast > 1 else "gray", f"{format_share(budget.forecast, 1)} expected"))
    if not budget.is_enabled:
        badges.append(("gray", "Off"))
    return tuple(badges)


def _draw_use(budget: Budget) -> None:
    """Draw how much of the amount is spent, and how much is expected by the end of the period."""
    if budget.used is None:
        return
    whole = max(Decimal(1), budget.used, budget.forecast or Decimal(0))
    spent, expected = (float((share or Decimal(0)) / whole) * 100 for share in (budget.used, budget.forecast))
    words = f"{format_usd(budget.used * budget.amount)} of {format_usd(budget.amount)} spent"
    if budget.forecast is not None:
        words += f", {format_usd(budget.forecast * budget.amount)} expected by the end of the {budget.period}"
    st.html(
        f'<div class="tr-outlook" role="img" aria-label="{words}">'
        f'<i class="expected" style="width:{expected:.1f}%"></i><i class="spent" style="width:{spent:.1f}%"></i></div>'
        f'<div class="tr-facts">{words}</div>'
    )


def _draw_form(viewer: Viewer, configuration: Configuration, budget: Budget | None) -> None:
    key = f"settings_budget_{budget.budget_id if budget else 'new'}"
    channels = {channel.channel_id: channel.name for channel in configuration.channels}
    periods = list(PERIODS)
    with st.form(f"{key}_form", border=False):
        name = st.text_input("Name", budget.name if budget else "", key=f"{key}_name", max_chars=100)
        left, right = st.columns(2, gap="small")
        amount = left.text_input("Amount (US$)", f"{budget.amount:f}" if budget else "1000", key=f"{key}_amount")
        period = right.selectbox(
            "Per",
            periods,
            index=periods.index(budget.period if budget else "month"),
            format_func=lambda choice: PERIODS[choice].capitalize(),
            key=f"{key}_period",
        )
        steps = sorted({*_STEPS, *(budget.steps if budget else ())})
        chosen_steps = left.pills(
            "Notify at",
            steps,
            default=list(budget.steps if budget else BUDGET_STEPS),
            selection_mode="multi",
            format_func=lambda step: f"{float(step) * 100:g}%",
            key=f"{key}_steps",
        )
        has_forecast = right.toggle(
            "Notify on forecast overrun",
            value=budget is None or budget.forecast_step is not None,
            key=f"{key}_forecast",
            help="Notifies once the forecast for the end of the period exceeds the amount with near certainty.",
        )
        chosen = st.multiselect(
            "Channels",
            list(channels),
            default=[number for number in (budget.channels if budget else ()) if number in channels],
            format_func=lambda number: channels[number],
            key=f"{key}_channels",
            placeholder="None (shown in the app only)",
        )
        with st.expander("Limit to some calls", key=f"{key}_scope_box"):
            scope = draw_scope(key, budget.scope if budget else {}, configuration.dimensions, CALLS.scope)
        is_enabled = st.toggle("Enabled", value=budget.is_enabled if budget else True, key=f"{key}_enabled")
        is_saved = st.form_submit_button("Save", type="primary", key=f"{key}_save")
    if is_saved:
        forecast = (budget.forecast_step if budget else None) or Decimal(1)
        typed: dict[str, Any] = {
            "name": (name or "").strip(),
            "amount": to_threshold("spend", amount or ""),
            "period": period,
            "timezone": budget.timezone if budget else reporting_zone(),
            "steps": sorted(chosen_steps),
            "forecast_step": forecast if has_forecast else None,
            "channels": list(chosen),
            "scope": scope,
            "is_enabled": is_enabled,
        }
        _save(viewer, budget, typed, key)


def _save(viewer: Viewer, budget: Budget | None, typed: dict[str, Any], key: str) -> None:
    if not typed["name"] or typed["amount"] is None:
        st.error("Enter a name and an amount above zero.")
        return
    try:
        document = BudgetDraft.model_validate(typed).model_dump(mode="json")
    except ValidationError as error:
        st.error(explain(error))
        return
    if budget:
        document["budget_id"] = budget.budget_id
    if attempt(lambda: save_budget(viewer, document), f"{document['name']} saved"):
        choose_saved("budget", document["name"])
        start_over(*([] if budget else [f"{key}_name"]))
