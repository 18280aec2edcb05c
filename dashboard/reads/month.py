"""The running month: one reading that every figure of it comes from, with its forecast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard.reads.connection import READ_TTL, fetch_as
from dashboard.reads.viewer import Viewer, viewer_key
from dashboard.selection.filters import FILTERS, to_document
from ingest.documents.month import Month
from ingest.forecasting.forecast import MonthForecast, forecast_month

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from dashboard.selection.filters import Selection

__all__ = ["Outlook", "days_of", "get_outlook"]

_FROM_MEMORY: Final = 100


@dataclass(frozen=True, slots=True)
class Outlook:
    """The month as read, and where it will end; None without spend or with a filter by metadata."""

    month: Month
    forecast: MonthForecast | None


def get_outlook(viewer: Viewer, selection: Selection, zone: ZoneInfo) -> Outlook:
    """Read the month of what is selected, in the viewer's zone; within some seconds from memory.

    Args:
        viewer: Who is looking; a member's month is of their own calls.
        selection: Its filters count, its period does not.
        zone: Whose days and months.
    """
    return _read(viewer, (*selection.asked(*FILTERS, "metadata"), ("timezone", zone.key)))


def days_of(month: Month) -> dict[datetime, float]:
    """Return what each local day cost, by its midnight in the month's zone, in order."""
    zone = ZoneInfo(month.timezone)
    return {point.bucket_start.astimezone(zone): float(point.cost or 0) for point in month.series}


@st.cache_data(ttl=READ_TTL, max_entries=_FROM_MEMORY, show_spinner=False, hash_funcs={Viewer: viewer_key})
def _read(viewer: Viewer, filters: Sequence[tuple[str, str | tuple[str, ...]]]) -> Outlook:
    month = fetch_as(viewer, Month, "get_month", filters=to_document(filters))
    spend = {moment.date(): cost for moment, cost in days_of(month).items()}
    local = month.generated_at.astimezone(ZoneInfo(month.timezone))
    return Outlook(month, forecast_month(spend, local) if month.month.cost is not None else None)
