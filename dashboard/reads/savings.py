"""What the app reads of savings: the plan, cached, because it is of a month and its evidence is the dearest read."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.reads.connection import change, connected, fetch_as
from dashboard.reads.prices import get_book
from dashboard.reads.viewer import Viewer, viewer_key
from dashboard.selection.filters import Filters, to_document
from ingest.documents.savings import Ledger
from ingest.errors import PermissionDeniedError
from ingest.savings.reading import read_savings_plan

if TYPE_CHECKING:
    from ingest.savings.plan import Plan
    from pricing import PriceBook

SAVINGS_TTL: Final = timedelta(minutes=10)


def get_savings_plan(viewer: Viewer, filters: Filters) -> Plan:
    """Return what could be saved, from the whole days of the last 30; members' from their own calls of seven.

    Args:
        viewer: Who is looking.
        filters: Pairs of a dimension and the values that it is restricted to, or `not_` and those that are left out.
    """
    return _read_plan(viewer, filters)


def get_ledger(viewer: Viewer) -> Ledger:
    """Return what became of each suggestion; never from memory, so that a decision shows at once. Analysts and ops."""
    return fetch_as(viewer, Ledger, "get_saving_ledger")


def decide_saving(viewer: Viewer, suggestion_key: str, decision: str, **more: str | None) -> None:
    """Accept, dismiss or reopen a suggestion. Ops only.

    Args:
        viewer: Who decides.
        suggestion_key: About which.
        decision: accept, dismiss or reopen.
        more: What else `decide_saving` takes: reason, accepted_on, holdout_share.
    """
    change(viewer, "decide_saving", suggestion_key=suggestion_key, decision=decision, **more)


@st.cache_data(ttl=SAVINGS_TTL, max_entries=100, show_spinner=False, hash_funcs={Viewer: viewer_key})
def _read_plan(viewer: Viewer, filters: Filters) -> Plan:
    book: PriceBook | None
    try:
        book = get_book(viewer)
    except PermissionDeniedError:  # a member: list prices will do
        book = None
    with connected(viewer) as database:
        return read_savings_plan(database, filters=to_document(filters), book=book)
