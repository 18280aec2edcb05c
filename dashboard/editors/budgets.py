"""The editor of budgets in Settings."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import streamlit as st
from pydantic import ValidationError

from dashboard.editors.scope import draw_scope
from dashboard.figures.alert_words import PERIODS, describe_budget, to_threshold
from dashboard.panels.changes import attempt, change, draw_facts, explain, line, start_over
from dashboard.reads.settings import delete_budget, reporting_zone, save_budget
from ingest.alerts.metrics import CALLS
from ingest.alerts.rules import BUDGET_STEPS, BudgetDraft
from ingest.documents.words import format_share

if TYPE_CHECKING:
    from dashboard.reads.viewer import Viewer
    from ingest.documents.settings import Budget, Configuration

_STEPS: Final = (Decimal("0.5"), Decimal("0.8"), Decimal("0.9"), Decimal(1))


def draw_budgets(viewer: Viewer, configuration: Configuration) -> None:
    """Draw the budgets, each with its editor, and the editor of a new one."""
    for budget in configuration.budgets:
        with line(f"budget_{budget.budget_id}"):
            draw_facts(budget.name, describe_budget(budget))
            if budget.used is not None:
                st.badge(
                    f"{format_share(budget.used, 1)} used",
                    color="red" if budget.used >= 1 else "orange" if budget.used >= Decimal("0.8") else "green",
                )
            if budget.forecast is not None:
                st.badge(f"{format_share(budget.forecast, 1)} expected", color="red" if budget.forecast > 1 else "gray")
            if not budget.is_enabled:
                st.badge("Off", color="gray")
            with st.popover("Edit", type="tertiary", key=f"settings_budget_edit_{budget.budget_id}"):
                _draw_form(viewer, configuration, budget)
                st.button(
                    "Delete budget",
                    key=f"settings_budget_{budget.budget_id}_delete",
                    type="tertiary",
                    icon=":material/delete:",
                    on_click=change,
                    args=(
                        lambda number=budget.budget_id: delete_budget(viewer, number),
                        f"{budget.name} deleted",
                    ),
                )
    with st.expander(
        "New budget", icon=":material/add:", expanded=not configuration.budgets, key="settings_budget_new"
    ):
        _draw_form(viewer, configuration, None)


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
        start_over(*([] if budget else [f"{key}_name"]))
