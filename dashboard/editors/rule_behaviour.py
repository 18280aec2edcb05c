"""The part of a rule's form about conditions, objectives, and how slowly the rule ends and fires again."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard.figures.alert_words import COOL_DOWNS, KEPT, length_in_words, to_typed
from ingest.alerts.conditions import read_conditions, write_conditions
from ingest.alerts.metrics import metric_named

if TYPE_CHECKING:
    from ingest.documents.alerts import AlertRule


def draw_behaviour(key: str, rule: AlertRule | None, metric: str) -> dict[str, Any]:
    """Draw the fields and return what is typed, which `read_behaviour` reads.

    Args:
        key: What the widgets' keys begin with.
        rule: The rule; None for a new one.
        metric: The metric that is chosen.
    """
    typed: dict[str, Any] = {}
    left, right = st.columns(2, gap="small")
    for column, name, label, lengths, text in (
        (left, "keep_firing_s", "Keep firing for", KEPT, "How long the value must be back before the alert ends."),
        (right, "cooldown_s", "Cool-down", COOL_DOWNS, "How long the rule does not fire again after an alert ended."),
    ):
        current = getattr(rule, name) if rule else 0
        choices = sorted({*lengths, current})
        typed[name] = column.selectbox(
            label,
            choices,
            index=choices.index(current),
            format_func=lambda seconds: length_in_words(seconds) if seconds else "None",
            key=f"{key}_{name}",
            help=text,
        )
    measured = metric_named(metric)
    typed["conditions"] = ""
    if measured.can_have_conditions:
        typed["conditions"] = st.text_input(
            "Only if also",
            write_conditions(rule.conditions) if rule and rule.metric == metric else "",
            key=f"{key}_conditions_{metric}",
            placeholder="Calls > 100, Error rate > 10%",
            help="Further conditions on the same calls, separated by commas; all of them must hold.",
        )
    return typed


def draw_objective(key: str, rule: AlertRule | None, metric: str) -> dict[str, str]:
    """Draw the objective of a burn rate; nothing for other metrics."""
    measured = metric_named(metric)
    if not measured.is_burn:
        return {}
    left, right = st.columns(2, gap="small")
    typed = {
        "objective": left.text_input(
            "Objective (%)",
            to_typed("error_rate", rule.objective) if rule and rule.objective else "99.5",
            key=f"{key}_objective_{metric}",
            help="The share of calls that are to be good. 14.4 over 1 hour spends 2% of the error budget of 30 days.",
        )
    }
    if measured.has_objective_ms:
        typed["objective_ms"] = right.text_input(
            "Good up to (ms)",
            to_typed("p99_latency_ms", rule.objective_ms) if rule and rule.objective_ms else "10000",
            key=f"{key}_objective_ms_{metric}",
        )
    return typed


def read_behaviour(typed: dict[str, Any]) -> dict[str, Any]:
    """Return the typed fields as the rule takes them.

    Raises:
        ValueError: A condition or the objective is not written as it should be.
    """
    read = {**typed, "conditions": [one.model_dump() for one in read_conditions(typed["conditions"] or "")]}
    for name, divisor in (("objective", 100), ("objective_ms", 1)):
        if name in typed:
            try:
                read[name] = Decimal(typed[name].strip().removesuffix("%")) / divisor
            except ArithmeticError as error:
                raise ValueError("the objective must be a number") from error
    return read
