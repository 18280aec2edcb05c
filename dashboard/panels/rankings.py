"""Panels that rank: who and what costs most, which errors occur."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.panels.call_links import calls_address
from dashboard.panels.cards import Bar, draw_bars, draw_title, name_of, share_of
from ingest.documents.words import format_count, format_exact_usd, format_usd_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboard.selection.filters import Selection
    from ingest.documents.pages import ErrorRow, Overview, Row


def draw_top(page: str, document: Overview, selection: Selection) -> None:
    """Draw the most expensive models, features and users side by side; a member has no users to compare."""
    panels = [("Models", "model", document.top_models), ("Features", "feature", document.top_features)]
    if document.access != "member":
        panels.append(("Users", "user_id", document.top_users))
    for column, (name, key, rows) in zip(st.columns(len(panels), gap="small"), panels, strict=True):
        with column, st.container(border=True, key=f"panel_{page}_top_{name.lower()}", height="stretch"):
            draw_title(f"Top {name.lower()}")
            bars = [
                replace(bar, address=calls_address(selection, **{key: row.key})) if row.key else bar
                for bar, row in zip(cost_bars(rows), rows, strict=True)
            ]
            draw_bars(bars, (name.removesuffix("s"), "Cost, share"))


def draw_errors(page: str, rows: Sequence[ErrorRow], selection: Selection) -> None:
    """Draw how often each type of error occurred."""
    with st.container(border=True, key=f"panel_{page}_errors", height="stretch"):
        draw_title("Errors by type")
        if not rows:
            st.caption("No calls failed in this period.")
            return
        whole = sum(row.requests for row in rows)
        bars = [
            Bar(
                row.error_type or "unknown",
                format_count(row.requests),
                share_of(row.requests, whole),
                address=calls_address(selection, error_type=row.error_type) if row.error_type else "",
            )
            for row in rows
        ]
        draw_bars(bars, ("Error", "Calls, share"), is_bad=True)


def cost_bars(rows: Sequence[Row]) -> list[Bar]:
    """Return one bar per line with its share of the whole cost; of the requests where nothing has a price."""
    whole = sum((row.cost or Decimal(0) for row in rows), Decimal(0))
    if whole:
        return [
            Bar(
                name_of(row.key, is_other=row.is_other, keys=row.keys),
                text,
                share_of(row.cost, whole),
                row.is_other,
                exact=format_exact_usd(row.cost),
            )
            for row, text in zip(rows, format_usd_column([row.cost for row in rows], whole), strict=True)
        ]
    calls = sum(row.requests for row in rows)
    return [
        Bar(
            name_of(row.key, is_other=row.is_other, keys=row.keys),
            "1 call" if row.requests == 1 else f"{format_count(row.requests)} calls",
            share_of(row.requests, calls),
            row.is_other,
        )
        for row in rows
    ]
