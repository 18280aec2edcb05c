"""Why a period is dearer or cheaper than an earlier one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.reads.connection import connected
from dashboard.reads.viewer import Viewer, viewer_key
from dashboard.selection.periods import ceil
from ingest.savings.drivers import CostDrivers, get_cost_drivers

if TYPE_CHECKING:
    from dashboard.selection.filters import Window

__all__ = ["get_drivers"]

# Reasons change more slowly than sums.
_STEP_S: Final = 60
_TTL: Final = timedelta(seconds=_STEP_S)


def get_drivers(viewer: Viewer, window: Window, before: Window | None = None) -> CostDrivers:
    """Read why a window costs more or less than an earlier one.

    Args:
        viewer: Who is looking; a member gets the reasons of their own calls.
        window: Its end is taken to the full minute, so that refreshes share one answer.
        before: The earlier one; default: that of equal length directly before.
    """
    filters = tuple(pair for pair in window.filters if pair[0] not in ("bucket", "group_by"))
    return _read(viewer, replace(_to_the_minute(window), filters=filters), _to_the_minute(before) if before else None)


def _to_the_minute(window: Window) -> Window:
    end = ceil(window.to_time, _STEP_S)
    return replace(window, from_time=window.from_time + (end - window.to_time), to_time=end)


@st.cache_data(ttl=_TTL, max_entries=100, show_spinner=False, hash_funcs={Viewer: viewer_key})
def _read(viewer: Viewer, window: Window, before: Window | None) -> CostDrivers:
    moments = (before.from_time, before.to_time) if before else None
    with connected(viewer) as database:
        return get_cost_drivers(database, window.from_time, window.to_time, before=moments, filters=window.document())
