"""The part of the Prices tab about contracts: the terms that are stored, a new one, and the end of one."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

import pandas as pd
import streamlit as st

from dashboard.panels.cards import draw_title
from dashboard.reads.terms import add_term, end_term, get_terms
from ingest.errors import TreeringError
from pricing.terms import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dashboard.reads.viewer import Viewer
    from ingest.database import JsonValue
    from ingest.documents.terms import StoredTerm

_KEY: Final = "settings_term"
_LABELS: Final = {
    "discount": "Discount",
    "credit": "Credit",
    "commitment": "Commitment",
    "provisioned": "Provisioned throughput",
    "currency": "Display currency",
}
# By kind: the figure that it needs.
_FIGURES: Final = {
    "discount": "percent", "credit": "amount", "commitment": "amount", "provisioned": "amount", "currency": "rate",
}  # fmt: skip


def draw_terms(viewer: Viewer) -> None:
    """Read the terms and draw them with their forms. Ops only."""
    try:
        terms = get_terms(viewer).terms
    except TreeringError as error:
        st.error(f"The terms could not be read: {error}")
        return
    with st.container(border=True, key="panel_settings_terms"):
        draw_title(
            "Contracts",
            "Discounts, balances, provisioned throughput and a display currency, by UTC day. They change what is due, "
            "not the recorded cost. Terms are appended, never changed; end one to correct it.",
        )
        left, right = st.columns([3, 2], gap="small")
        with left:
            if terms:
                _draw_table(terms)
            else:
                st.caption("No terms: what is due is the list price.")
        with right:
            _draw_form(viewer)
            if terms:
                _draw_end(viewer, terms)


def term_document(kind: str, typed: Mapping[str, str], begins: date, ends: date | None) -> dict[str, JsonValue]:
    """Return what was typed as the document that `add_term` takes; what does not belong to its kind is left out."""
    figure = typed["figure"].strip().replace(",", "")
    document: dict[str, JsonValue] = {
        "kind": kind,
        "valid_from": begins.isoformat(),
        "valid_to": None if ends is None else ends.isoformat(),
        _FIGURES[kind]: figure,
        "name": typed["name"].strip(),
        "source": typed["source"].strip(),
    }
    if kind == "currency":
        document["currency"] = typed["currency"].strip().upper()
    else:
        document |= {name: typed[name].strip().lower() or None for name in ("provider", "model")}
    return document


def fault_of(term: Mapping[str, JsonValue]) -> str:
    """Say what is missing before a term is sent; empty for nothing."""
    if not term["source"]:
        return "Enter the source: a contract or an e-mail."
    if not term[_FIGURES[str(term["kind"])]]:
        return "Enter the figure: percent, US dollars, or units of the currency for a dollar."
    if term["kind"] == "currency" and not term["currency"]:
        return "Enter the ISO code of the currency, such as EUR."
    return ""


def figure_of(term: StoredTerm) -> str:
    """Return the figure of a term with its unit."""
    if term.percent is not None:
        return f"{term.percent.normalize():f}%"
    if term.rate is not None:
        return f"{term.rate.normalize():f} {term.currency} per US$"
    amount = "" if term.amount is None else f"{term.amount.normalize():,f} US$"
    return f"{amount} an hour" if term.kind == "provisioned" else amount


def _draw_table(terms: Sequence[StoredTerm]) -> None:
    frame = pd.DataFrame(
        [
            {
                "Number": term.term_id,
                "Kind": _LABELS[term.kind],
                "About": "/".join(name for name in (term.provider, term.model) if name) or "Everything",
                "Figure": figure_of(term),
                "From": term.valid_from,
                "To (exclusive)": term.valid_to,
                "Name": term.name,
                "Source": term.source,
                "Added by": term.created_by,
            }
            for term in reversed(terms)
        ]
    )
    st.dataframe(frame, key=f"{_KEY}_table", hide_index=True)


def _draw_form(viewer: Viewer) -> None:
    today = datetime.now(UTC).date()
    with (
        st.expander("Add a term", icon=":material/add:", key=f"{_KEY}_new"),
        st.form(f"{_KEY}_form", border=False),
    ):
        what, when, about, more = (st.columns(2, gap="small") for _ in range(4))
        kind = what[0].selectbox("Kind", list(KINDS), format_func=_LABELS.__getitem__, key=f"{_KEY}_kind")
        begins = when[0].date_input("Valid from (UTC)", today, key=f"{_KEY}_from")
        ends = when[1].date_input("Valid to (exclusive)", None, key=f"{_KEY}_to")
        typed = {
            "figure": what[1].text_input("Percent, dollars, or rate", key=f"{_KEY}_figure", max_chars=30) or "",
            "provider": about[0].text_input("Provider", key=f"{_KEY}_provider", placeholder="All") or "",
            "model": about[1].text_input("Model", key=f"{_KEY}_model", placeholder="All") or "",
            "currency": more[0].text_input("Currency", key=f"{_KEY}_currency", placeholder="EUR", max_chars=3) or "",
            "name": more[1].text_input("Name", key=f"{_KEY}_name", max_chars=200) or "",
            "source": st.text_input("Source", key=f"{_KEY}_source", max_chars=500, placeholder="contract 2026-11")
            or "",
        }
        if not st.form_submit_button("Add", type="primary", key=f"{_KEY}_save"):
            return
        term = term_document(kind, typed, begins, ends)
        if fault := fault_of(term):
            st.error(fault)
            return
        try:
            add_term(viewer, term)
        except TreeringError as error:
            st.error(f"Not added: {error}")
            return
    st.toast(f"{_LABELS[kind]} added.", icon=":material/check:")
    st.rerun()


def _draw_end(viewer: Viewer, terms: Sequence[StoredTerm]) -> None:
    by_id = {term.term_id: term for term in reversed(terms)}
    with (
        st.expander("End a term", icon=":material/event_busy:", key=f"{_KEY}_ending"),
        st.form(f"{_KEY}_end_form", border=False),
    ):
        term_id = st.selectbox(
            "Term",
            list(by_id),
            format_func=lambda number: f"{number} · {_LABELS[by_id[number].kind]} {figure_of(by_id[number])}",
            key=f"{_KEY}_end_id",
        )
        day = st.date_input("First day without it (UTC)", datetime.now(UTC).date(), key=f"{_KEY}_end_day")
        if not st.form_submit_button("End", key=f"{_KEY}_end_save"):
            return
        try:
            end_term(viewer, term_id, day)
        except TreeringError as error:
            st.error(f"Not ended: {error}")
            return
    st.toast(f"Term {term_id} ends before {day}.", icon=":material/check:")
    st.rerun()
