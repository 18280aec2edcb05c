"""Rules, budgets, routes and mute times as a file: download, and upload with the changes shown first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.panels.changes import attempt
from dashboard.reads.settings import apply_alerts
from ingest.alerts.as_code import compare_alerts, export_alerts, read_alerts
from ingest.errors import InvalidArgumentError

if TYPE_CHECKING:
    from dashboard.reads.viewer import Viewer
    from ingest.documents.settings import Configuration


def draw_alerts_file(viewer: Viewer, configuration: Configuration) -> None:
    """Draw the download of what is configured, and the upload that shows what it would change."""
    with st.expander("As a file", icon=":material/code:", key="settings_alerts_file"):
        st.download_button(
            "Download YAML",
            export_alerts(configuration),
            "alerts.yaml",
            "application/yaml",
            key="settings_alerts_download",
            icon=":material/download:",
            help="Rules, budgets, routes and mute times; channels by name, without their addresses.",
        )
        file = st.file_uploader("Upload", ["yaml", "yml", "json"], key="settings_alerts_upload", max_upload_size=1)
        if file is None:
            return
        try:
            changes = compare_alerts(read_alerts(file.getvalue().decode(), configuration), configuration)
        except (InvalidArgumentError, UnicodeDecodeError) as error:
            st.error(f"Not applied: {error}")
            return
        if not changes:
            st.success("Nothing to change.", icon=":material/check:")
            return
        st.code("\n".join(change.describe() for change in changes), language=None)
        is_applied = st.button(
            "Apply 1 change" if len(changes) == 1 else f"Apply {len(changes)} changes",
            key="settings_alerts_apply",
            type="primary",
        )
        if is_applied and attempt(lambda: apply_alerts(viewer, changes), f"{len(changes)} changed"):
            st.rerun()
