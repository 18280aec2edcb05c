"""What the money of a period goes to by kind of token, and at which hours."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.figures.heat_map import heat_map
from dashboard.figures.kinds import split_by_kind
from dashboard.panels.cards import Bar, draw_bars, draw_title, share_of
from dashboard.reads.pages import get_hours
from dashboard.reads.prices import get_book
from ingest.documents.document import LIMITED
from ingest.documents.words import format_exact_usd, format_usd_column
from ingest.errors import FunctionNotFoundError, TreeringError

if TYPE_CHECKING:
    from dashboard.panels.frame import View
    from ingest.documents.pages import Costs


def draw_shape(view: View[Costs], document: Costs) -> None:
    """Draw both beside each other; a member sees the hours alone, for prices are not theirs to see."""
    if document.access in LIMITED:
        _draw_hours(view)
        return
    left, right = st.columns(2, gap="small")
    with left:
        _draw_kinds(view, document)
    with right:
        _draw_hours(view)


def _draw_kinds(view: View[Costs], document: Costs) -> None:
    with st.container(border=True, key="panel_costs_kinds", height="stretch"):
        draw_title("By kind of token", "recorded fees, and the rest of the cost divided as list prices divide it")
        if not document.token_kinds:
            st.caption("No call of this period has a price.")
            return
        try:
            kinds = split_by_kind(
                document.token_kinds,
                get_book(view.viewer),
                document.to_time,
                fees=document.model_fees,
                whole=document.totals.cost,
            )
        except TreeringError as error:
            st.caption(f"The prices could not be read: {error}")
            return
        whole = sum(kinds.values(), Decimal(0))
        texts = format_usd_column(list(kinds.values()), whole)
        bars = [
            Bar(name, text, share_of(amount, whole), exact=format_exact_usd(amount))
            for (name, amount), text in zip(kinds.items(), texts, strict=True)
        ]
        draw_bars(bars, ("Kind", "Cost, share"))
        if document.model_fees is None:
            st.caption("Fees of tools and requests are spread over the kinds: the calls they belong to are archived.")


def _draw_hours(view: View[Costs]) -> None:
    with st.container(border=True, key="panel_costs_hours", height="stretch"):
        draw_title("By hour of the week", view.zone.key.replace("_", " "))
        try:
            hours = get_hours(view.viewer, view.selection.window(datetime.now(UTC), view.zone))
        except FunctionNotFoundError:
            st.caption("The database is older than this app: apply the migrations with `treering migrate`.")
            return
        except TreeringError as error:
            st.caption(f"This could not be read: {error}")
            return
        st.altair_chart(heat_map(hours.hours), key="costs_hours_chart", alt="Spend by weekday and hour")
