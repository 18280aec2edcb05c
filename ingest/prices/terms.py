"""Statements by contract: reads terms and sums, and lets `pricing.terms` do the arithmetic."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ingest.database import fetch
from ingest.documents.terms import CostSums, Terms
from pricing.terms import Statement, history_from, make_statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from ingest.database import Database
    from pricing.terms import Term

__all__ = ["read_statement", "read_terms"]

# The function reads 1,100 days: a balance that began earlier is counted from there in two reads or more.
_SPAN: Final = timedelta(days=1_000)


def read_terms(database: Database) -> Terms:
    """Read every term. Analysts and ops.

    Raises:
        PermissionDeniedError: The caller is neither.
    """
    return fetch(database, Terms, "get_terms")


def read_statement(database: Database, from_day: date, to_day: date, terms: Sequence[Term] | None = None) -> Statement:
    """Work out what UTC days in [from_day, to_day) cost by contract. Analysts and ops.

    Args:
        database: Opened as whoever asks.
        from_day: First day.
        to_day: First day after.
        terms: Terms to apply; None reads those that are stored.
    """
    if terms is None:
        terms = [stored.term for stored in read_terms(database).terms]
    start = history_from(terms, from_day)
    sums = []
    while start < to_day:
        end = min(start + _SPAN, to_day)
        found = fetch(database, CostSums, "get_cost_sums", from_day=start.isoformat(), to_day=end.isoformat())
        sums += [one.day_sum for one in found.sums]
        start = end
    return make_statement(sums, terms, from_day, to_day)
