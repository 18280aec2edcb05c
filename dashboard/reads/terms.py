"""What the app reads and writes of contracts: the terms, and the running month by them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.reads.connection import change, connected
from dashboard.reads.viewer import Viewer, viewer_key
from ingest.prices.terms import read_statement, read_terms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from ingest.database import JsonValue
    from ingest.documents.terms import Terms
    from pricing.terms import Statement

__all__ = ["add_term", "end_term", "get_statement", "get_terms"]

# A balance reads its whole history; what is left of it changes by the hour.
_TTL: Final = timedelta(minutes=5)


def get_terms(viewer: Viewer) -> Terms:
    """Read every term. Never cached: an editor shows what is stored. Analysts and ops."""
    with connected(viewer) as database:
        return read_terms(database)


def add_term(viewer: Viewer, term: Mapping[str, JsonValue]) -> None:
    """Append a term, see `observability.add_term`. Ops only."""
    change(viewer, "add_term", term=dict(term))
    get_statement.clear()


def end_term(viewer: Viewer, term_id: int, valid_to: date) -> None:
    """End a term before a UTC day. Ops only."""
    change(viewer, "end_term", term_id=term_id, valid_to=valid_to.isoformat())
    get_statement.clear()


@st.cache_data(ttl=_TTL, max_entries=100, show_spinner=False, hash_funcs={Viewer: viewer_key})
def get_statement(viewer: Viewer, from_day: date, to_day: date) -> Statement | None:
    """Work out UTC days by contract; None without a term. Analysts and ops."""
    with connected(viewer) as database:
        terms = [stored.term for stored in read_terms(database).terms]
        return read_statement(database, from_day, to_day, terms) if terms else None
