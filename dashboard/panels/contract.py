"""The running month by contract, on Costs: list price, discounts, what is due, and what balances hold."""

from __future__ import annotations

import html
from datetime import timedelta
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.panels.cards import draw_title
from dashboard.reads.terms import get_statement
from ingest.documents.words import DASH, format_exact_usd, format_usd
from ingest.errors import FunctionNotFoundError, TreeringError

if TYPE_CHECKING:
    from datetime import datetime

    from dashboard.reads.viewer import Viewer
    from pricing.terms import Balance, Statement


def draw_contract(viewer: Viewer, now: datetime) -> None:
    """Draw the UTC month so far by contract; nothing without terms. Analysts and ops."""
    today = now.date()
    try:
        statement = get_statement(viewer, today.replace(day=1), today + timedelta(days=1))
    except FunctionNotFoundError:
        return  # an older database has no terms
    except TreeringError as error:
        st.warning(f"The terms of your contracts could not be read: {error}")
        return
    if statement is None:
        return
    with st.container(border=True, key="panel_costs_contract"):
        draw_title(
            f"{today:%B} by contract",
            "Days of UTC, every call with a known price, whatever the filters. Recorded costs stay at list price.",
        )
        columns = st.columns(len(figures_of(statement)), gap="small")
        for column, (label, text, exact) in zip(columns, figures_of(statement), strict=True):
            column.metric(label, text, help=exact)
        for balance in statement.balances:
            st.html(f'<div class="tr-facts">{html.escape(balance_line(balance))}</div>')


def figures_of(statement: Statement) -> list[tuple[str, str, str]]:
    """Return label, text and exact text of each figure that a statement has."""
    figures = [("List price", statement.list_cost), ("Discounts", -statement.discount)]
    if statement.provisioned:
        figures.append(("Provisioned", statement.provisioned))
    figures.append(("Net", statement.net))
    if statement.balances:
        figures += [("From balances", -statement.drawn), ("Due", statement.due)]
    lines = [(label, format_usd(amount), f"Exactly {format_exact_usd(amount)}") for label, amount in figures]
    if statement.currency is not None:
        due = statement.due_in_currency
        text = DASH if due is None else f"{due:,.2f} {statement.currency}"
        note = "A day has no rate, or another currency." if due is None else "At each day's rate."
        lines.append((f"Due in {statement.currency}", text, note))
    return lines


def balance_line(balance: Balance) -> str:
    """Say what is left of a balance and when it is used up."""
    term = balance.term
    name = f"{term.kind.capitalize()} {term.name}".strip()
    text = f"{name}: {format_usd(balance.left)} of {format_usd(term.amount)} left"
    if balance.runs_out_on is not None:
        return f"{text}, used up on {balance.runs_out_on:%d %b %Y} at the pace of the last 28 days."
    return f"{text}, valid until {term.valid_to - timedelta(days=1):%d %b %Y}." if term.valid_to else f"{text}."
