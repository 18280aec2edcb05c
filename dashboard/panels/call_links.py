"""Ways to the calls behind a figure: addresses and links of the Calls page with the filters set."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import streamlit as st

from dashboard.panels.entity_links import PAGE as CUSTOMERS
from dashboard.panels.entity_links import entity_query
from dashboard.panels.filter_bar import store_selection
from dashboard.selection.filters import FILTERS, LONGEST_DAYS, TAG, Selection
from ingest.alerts.metrics import CALLS, metric_named
from ingest.documents.names import plain_markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.documents.alerts import Alert
    from ingest.documents.pages import Costs, Row, SpeedRow, Usage

PAGE: Final = Path(__file__).parents[1] / "app_pages" / "calls.py"
TAG_RANKING: Final = "Tag "
# What a ranking is by, and the filter that leaves one of its rows.
FILTER_OF: Final = {
    "Model": "model",
    "Feature": "feature",
    "Tenant": "tenant_id",
    "User": "user_id",
    "Provider": "provider",
    "Environment": "environment",
    "Operation": "operation",
    "Status": "status",
}


def filter_of(ranking: str) -> str:
    """Return the filter that leaves one row of a ranking; rankings by a tag are called "Tag plan"."""
    return FILTER_OF.get(ranking) or TAG + ranking.removeprefix(TAG_RANKING)


def rankings_by_tenant(document: Usage | Costs) -> dict[str, tuple[Row, ...]]:
    """Return the rankings by tenant and by each tag, of what the calls of a page have."""
    tags = {TAG_RANKING + name: rows for name, rows in document.by_tag.items()}
    return {"Tenant": document.by_tenant, **tags} if document.by_tenant else tags


def calls_query(selection: Selection, **filters: str) -> dict[str, str | list[str]]:
    """Return the address of the calls that a choice leaves, restricted further; charts and their split aside."""
    for name, value in filters.items():
        selection = selection.with_filter(name, [value])
    return {name: value for name, value in selection.to_query().items() if name != "group"}


def calls_address(selection: Selection, **filters: str) -> str:
    """Return the same as a link beside the other pages."""
    return f"calls?{urlencode(calls_query(selection, **filters), doseq=True)}"


def draw_calls_link(
    page: str, selection: Selection, ranking: str, rows: Sequence[Row] | Sequence[SpeedRow], chosen: int | None
) -> None:
    """Draw, below a table, the way to the calls of its chosen row, or how to choose one."""
    row = rows[chosen] if chosen is not None and chosen < len(rows) else None
    with st.container(key=f"calls_link_{page}"):
        if row is None or not row.key or row.is_other:
            st.caption("Select a row to see its calls.")
            return
        by = filter_of(ranking)
        only = selection.with_filter(by, [row.key])
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.page_link(
                PAGE,
                label=f"Calls of {plain_markdown(row.key)}",
                icon=":material/receipt_long:",
                query_params=calls_query(only),
            )
            if by in ("user_id", "tenant_id") or by.startswith(TAG):
                st.page_link(
                    CUSTOMERS,
                    label=f"Page of {plain_markdown(row.key)}",
                    icon=":material/groups:",
                    query_params=entity_query(selection, by, row.key),
                )
            if st.button(
                f"Only {plain_markdown(row.key)}",
                key=f"{page}_only",
                type="tertiary",
                icon=":material/filter_alt:",
                on_click=store_selection,
                args=(only,),
            ):
                st.rerun()  # the chips in the header are outside of the fragment


def alert_query(alert: Alert) -> dict[str, str | list[str]]:
    """Return the address of the calls that an alert is about: its window, its scope and its group."""
    start, end = alert.window_start, alert.window_end
    selection = Selection()
    if start is not None and end is not None and start < end and (end - start).days < LONGEST_DAYS:
        selection = replace(selection, period="custom", frozen=(start.astimezone(UTC), end.astimezone(UTC)))
    for name, values in alert.scope.items():
        if name in FILTERS:
            selection = selection.with_filter(name, values)
    if alert.group_by in FILTERS and alert.group_key:
        selection = selection.with_filter(str(alert.group_by), [alert.group_key])
    return selection.to_query()


def draw_alert_link(alert: Alert) -> None:
    """Draw the way to the calls of an alert; nothing for one that is not about calls."""
    if metric_named(alert.metric).of.scope != CALLS.scope:
        return
    st.page_link(PAGE, label="Its calls", icon=":material/receipt_long:", query_params=alert_query(alert))
