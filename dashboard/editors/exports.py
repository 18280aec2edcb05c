"""Who exported what, under Settings → Reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.panels.cards import draw_title
from dashboard.reads.settings import reporting_zone
from dashboard.reads.statement import get_exports
from ingest.documents.names import visible_name
from ingest.errors import FunctionNotFoundError, TreeringError

if TYPE_CHECKING:
    from dashboard.reads.viewer import Viewer
    from ingest.documents.statement import ExportRecord

_KINDS: Final = {"statement": "Statement", "focus": "FOCUS", "calls": "Calls", "entities": "Customers page"}


def draw_exports(viewer: Viewer) -> None:
    """Draw the newest exports. Ops only."""
    with st.container(border=True, key="settings_exports"):
        draw_title("Exports", "Every file of figures or calls that was handed out, the newest first.")
        try:
            exports = get_exports(viewer)
        except FunctionNotFoundError:
            return  # an older database notes none
        except TreeringError as error:
            st.caption(f"This could not be read: {error}")
            return
        if not exports:
            st.caption("Nothing has been exported yet.")
            return
        zone = reporting_zone()
        st.dataframe(
            [_row(one) for one in exports],
            key="settings_exports_table",
            hide_index=True,
            column_config={
                "When": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm", timezone=zone),
                "From": st.column_config.DatetimeColumn(format="D MMM YYYY", timezone=zone),
                "To": st.column_config.DatetimeColumn(format="D MMM YYYY", timezone=zone),
                "Rows": st.column_config.NumberColumn(format="localized"),
            },
        )


def _row(export: ExportRecord) -> dict[str, object]:
    return {
        "When": export.exported_at,
        "Who": visible_name(export.exported_by),
        "Through": export.via,
        "What": f"{_KINDS.get(export.kind, export.kind)}, {export.format}",
        "By": ", ".join(export.dimensions),
        "From": export.from_time,
        "To": export.to_time,
        "Rows": export.row_count,
        "SHA-256": export.sha256,
    }
